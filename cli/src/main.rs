//! The leadline binary: one program, many roles. `leadline help` teaches; exit codes are in [`exit`].

mod cmd;
mod connect;
mod exit;
mod output;
mod sdk_metrics;
mod telemetry;

use clap::{Parser, Subcommand};
use output::Format;
use std::path::PathBuf;

/// Carries ECG recordings from clinics to the cloud, unattended.
///
/// Data goes to standard output, everything else to standard error.
#[derive(Parser)]
#[command(name = "leadline", version, after_help = exit::HELP)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Heading of these in the help of each command, behind its own.
const GLOBAL: &str = "Global options";

/// What every command understands.
#[derive(clap::Args, Clone)]
pub(crate) struct Global {
    /// Folder with environment and organization files.
    #[arg(long, global = true, help_heading = GLOBAL, env = "LEADLINE_ENVIRONMENTS",
        default_value = "environments", value_name = "DIR")]
    pub(crate) environments: PathBuf,
    /// How data is printed.
    #[arg(long, global = true, help_heading = GLOBAL, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
    /// Your name, for what asks who you are: onboarding, applying, approving. Default: the name you are logged on with.
    #[arg(long = "as", global = true, help_heading = GLOBAL, env = "LEADLINE_OPERATOR", value_name = "NAME")]
    operator: Option<String>,
    /// How logs are printed.
    #[arg(long, global = true, help_heading = GLOBAL, value_enum, default_value_t = telemetry::LogFormat::Human, env = "LEADLINE_LOG_FORMAT")]
    pub(crate) log_format: telemetry::LogFormat,
}

impl Global {
    /// Who runs this command.
    pub(crate) fn operator(&self) -> Result<String, exit::Failure> {
        let named = self.operator.clone().or_else(|| std::env::var("USER").ok());
        named
            .map(|n| n.trim().to_owned())
            .filter(|n| !n.is_empty())
            .ok_or_else(|| exit::Failure::command("say who you are: --as NAME, or the variable LEADLINE_OPERATOR"))
    }
}

#[derive(Subcommand)]
enum Command {
    /// Run a worker: watches shares, carries files, provisions.
    Worker(cmd::worker::Args),
    /// Serve the ways in besides SMB: uploads, FHIR and STOW-RS over HTTP, HL7 v2 over MLLP, DICOM; take in the
    /// processor's reports.
    Gateway(cmd::gateway::Args),
    /// Start a local Temporal server and AWS endpoint in the foreground.
    Dev(cmd::dev::Args),
    /// Issue OpenID Connect tokens on this machine, for development: whoever asks may be anyone.
    DevIssuer(cmd::dev_issuer::Args),
    /// Let Temporal's UI and CLI read payloads: serves Temporal's codec protocol.
    CodecServer(cmd::codec_server::Args),
    /// Check every connection that a worker needs, and say how to mend what is wrong.
    Doctor(cmd::doctor::Args),
    /// Environments: check the files, plan and apply the stack.
    #[command(subcommand)]
    Env(cmd::env::Command),
    /// Organizations: plan, onboard, prove apart, compare with what is there, rotate credentials, off-board.
    #[command(subcommand)]
    Org(cmd::org::Command),
    /// Send made-up recordings of every format that an organization delivers by every way in that it has open, and follow
    /// each.
    Canary(cmd::canary::Args),
    /// Bring an organization from one environment to the next, on evidence.
    Promote(cmd::promote::Args),
    /// Replay histories with this program: would it break workflows that run?
    Replay(cmd::replay::Args),
    /// Files: what became of them, and why.
    #[command(subcommand)]
    File(cmd::file::Command),
    /// What the processor said of recordings.
    #[command(subcommand)]
    Outcome(cmd::outcome::Command),
    /// Stand in for the processor: for tests and demonstrations.
    Processor(cmd::processor::Args),
    /// Copy or move recordings between an organization's own storages.
    Transfer(cmd::transfer::Args),
    /// The ingest and audit queues, as a consumer sees them.
    #[command(subcommand)]
    Queue(cmd::queue::Command),
    /// Say what files are, whether they are complete, and which recordings they hold.
    Inspect(cmd::inspect::Args),
    /// Make a plausible recording for tests and demonstrations.
    Synth(cmd::synth::Args),
    /// Print a JSON Schema.
    Schema(cmd::schema::Args),
    /// Print what to do about a fault; without a code, all codes with what they mean.
    Fault {
        /// Code, as messages name it.
        code: Option<String>,
    },
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> std::process::ExitCode {
    let cli = match Cli::try_parse() {
        Ok(c) => c,
        Err(e) => {
            let _ = e.print();
            return if e.use_stderr() { exit::Code::Usage.into() } else { exit::Code::Ok.into() };
        }
    };
    if let Err(e) = telemetry::init(cli.global.log_format) {
        output::note(&format!("leadline: {e}"));
        return exit::Code::Usage.into();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(r) => r,
        Err(e) => return exit::report(&format!("cannot start: {e}")),
    };
    let g = &cli.global;
    let done = runtime.block_on(async {
        match cli.command {
            Command::Worker(a) => cmd::worker::run(g, a).await,
            Command::Gateway(a) => cmd::gateway::run(g, a).await,
            Command::Dev(a) => cmd::dev::run(g, a).await,
            Command::DevIssuer(a) => cmd::dev_issuer::run(a).await,
            Command::CodecServer(a) => cmd::codec_server::run(g, a).await,
            Command::Doctor(a) => cmd::doctor::run(g, a).await,
            Command::Env(c) => cmd::env::run(g, c).await,
            Command::Org(c) => cmd::org::run(g, c).await,
            Command::Canary(a) => cmd::canary::run(g, a).await,
            Command::Promote(a) => cmd::promote::run(g, a).await,
            Command::Replay(a) => cmd::replay::run(g, a).await,
            Command::File(c) => cmd::file::run(g, c).await,
            Command::Outcome(c) => cmd::outcome::run(g, c).await,
            Command::Processor(a) => cmd::processor::run(g, a).await,
            Command::Transfer(a) => cmd::transfer::run(g, a).await,
            Command::Queue(c) => cmd::queue::run(g, c).await,
            Command::Inspect(a) => cmd::inspect::run(g, &a),
            Command::Synth(a) => cmd::synth::run(&a),
            Command::Schema(a) => cmd::schema::run(&a),
            Command::Fault { code } => cmd::fault::run(g, code.as_deref()),
            Command::Completions { shell } => {
                let mut c = <Cli as clap::CommandFactory>::command();
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut c, "leadline", &mut script);
                output::raw(&script);
                Ok(exit::Code::Ok)
            }
        }
    });
    // Threads that still wait for a socket must not hold up the end.
    runtime.shutdown_background();
    match done {
        Ok(code) => code.into(),
        Err(e) => exit::report(&e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, ValueEnum as _};

    #[test]
    fn options_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn completions_know_the_commands_in_every_shell() {
        for shell in clap_complete::Shell::value_variants() {
            let mut out = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "leadline", &mut out);
            let out = String::from_utf8_lossy(&out);
            for command in Cli::command().get_subcommands().filter(|c| !c.is_hide_set()) {
                assert!(out.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
        }
    }
}
