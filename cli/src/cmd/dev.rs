//! `leadline dev`: a local Temporal server and AWS endpoint in the foreground, the ones that tests and the demo use; an
//! issuer of tokens and the gateway with them, where the environment has one.

use super::dev_ways::Ways;
use crate::Global;
use crate::exit::{Code, Done, Failure};
use crate::output;
use leadline_domain::EnvId;
use leadline_workflows::ids::SEARCH_ATTRIBUTES;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// The launcher of the AWS endpoint, by names within the state folder: written there, so that the binary needs no checkout.
const LAUNCHER: [(&str, &str); 3] = [
    ("aws-endpoint.py", include_str!("../../../script/aws-endpoint.py")),
    ("aws_endpoint/durability.py", include_str!("../../../script/aws_endpoint/durability.py")),
    ("aws_endpoint/templates.py", include_str!("../../../script/aws_endpoint/templates.py")),
];
const READY: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(10);

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder for databases and logs; kept from run to run.
    #[arg(long, default_value = ".state", value_name = "DIR")]
    state: PathBuf,
    /// Folder of the tools, as `script/bootstrap` made it.
    #[arg(long, env = "LEADLINE_TOOLS", value_name = "DIR")]
    tools: Option<PathBuf>,
    /// Port of Temporal's frontend.
    #[arg(long, default_value_t = 7233)]
    temporal_port: u16,
    /// Port of Temporal's UI.
    #[arg(long, default_value_t = 8233)]
    ui_port: u16,
    /// Port of the AWS endpoint.
    #[arg(long, default_value_t = 4566)]
    aws_port: u16,
    /// The environment whose gateway and issuer are started too.
    #[arg(long, default_value = "test")]
    env: EnvId,
}

pub(crate) async fn run(g: &Global, a: Args) -> Done {
    let tools = a.tools.clone().or_else(default_tools).ok_or_else(|| Failure::machine("no HOME: say --tools"))?;
    let temporal = tools.join("bin/temporal");
    if !temporal.exists() {
        return Err(Failure::machine(format!("no tools in {}: run script/bootstrap first", tools.display())));
    }
    let unwritable = |e: std::io::Error| Failure::machine(format!("state folder: {e}"));
    for folder in ["aws", "aws_endpoint"] {
        std::fs::create_dir_all(a.state.join(folder)).map_err(unwritable)?;
    }
    for (name, text) in LAUNCHER {
        std::fs::write(a.state.join(name), text).map_err(unwritable)?;
    }

    let ways = Ways::bind(g, &a.env).await?;

    let mut server = Command::new(&temporal);
    server.args(["server", "start-dev", "--ip", "127.0.0.1", "--log-level", "warn"]);
    server.arg("--port").arg(a.temporal_port.to_string()).arg("--ui-port").arg(a.ui_port.to_string());
    server.arg("--db-filename").arg(a.state.join("temporal.db"));
    server.args(["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"]);
    for name in SEARCH_ATTRIBUTES {
        server.arg("--search-attribute").arg(format!("{name}=Keyword"));
    }
    let here = local(&g.environments, a.temporal_port, a.aws_port);
    for (namespace, _) in here.iter().filter(|(n, _)| n != "default") {
        server.args(["--namespace", namespace]);
    }
    let mut aws = Command::new(tools.join("bin/python"));
    aws.arg(a.state.join("aws-endpoint.py"))
        .arg("--port")
        .arg(a.aws_port.to_string())
        .arg("--data")
        .arg(a.state.join("aws"));

    let mut running = [
        ("Temporal", a.temporal_port, spawn(server, &a.state.join("temporal.log"))?),
        ("AWS endpoint", a.aws_port, spawn(aws, &a.state.join("aws.log"))?),
    ];
    for (name, port, child) in &mut running {
        ready(name, *port, child).await?;
    }
    output::note(&format!("Temporal      127.0.0.1:{}", a.temporal_port));
    output::note(&format!("Temporal UI   http://127.0.0.1:{}", a.ui_port));
    output::note(&format!("AWS endpoint  http://127.0.0.1:{}", a.aws_port));
    if let Some(w) = &ways {
        w.tell();
    }
    output::note(&format!("state         {}; Ctrl-C stops all of it", a.state.display()));
    for (_, login) in &here {
        output::note(login);
    }
    let a_gateway = ways.is_some();
    let (told, stopped) = watch::channel(false);
    let log = a.state.join("gateway.log");
    let serving = async {
        match ways {
            Some(w) => w.serve(g, &log, stopped).await,
            None => std::future::pending().await,
        }
    };
    let mut serving = std::pin::pin!(serving);
    let [(_, _, t), (_, _, w)] = &mut running;
    let ended = tokio::select! {
        () = super::worker::signal() => None,
        r = t.wait() => Some(("Temporal", r)),
        r = w.wait() => Some(("the AWS endpoint", r)),
        r = &mut serving => {
            r?;
            None
        }
    };
    let _ = told.send(true);
    if a_gateway {
        // The gateway first: what it has begun ends while there is something to end it on.
        let _ = tokio::time::timeout(GRACE, serving).await;
    }
    for (_, _, child) in &mut running {
        stop(child).await;
    }
    match ended {
        None => Ok(Code::Ok),
        Some((name, _)) => {
            Err(Failure::machine(format!("{name} ended by itself; its log is in {}", a.state.display())))
        }
    }
}

/// The environments that are served by these two: the Temporal namespace of each, which is made, and whom AWS takes a command
/// for. Files that are wrong are `env check`'s business.
fn local(folder: &Path, temporal: u16, aws: u16) -> Vec<(String, String)> {
    let (config, _) = leadline_provisioning::load(folder);
    let Some(config) = config else { return Vec::new() };
    let at = |address: &str, port: u16| address.trim_end_matches('/').ends_with(&format!(":{port}"));
    let endpoint = |e: &leadline_provisioning::config::Environment| {
        e.aws.endpoint_url.as_deref().is_some_and(|u| u.starts_with("http://") && at(u, aws))
    };
    let here = config.environments().values().filter(|e| endpoint(e) && at(&e.temporal.address, temporal));
    here.map(|e| {
        let login = format!(
            "{:<13} for its commands: export AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY=local",
            e.id.as_str(),
            e.account
        );
        (e.temporal.namespace.clone(), login)
    })
    .collect()
}

fn default_tools() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("leadline/tools"))
}

fn spawn(mut c: Command, log: &Path) -> Result<Child, Failure> {
    let out = std::fs::File::options().create(true).append(true).open(log);
    let out = out.map_err(|e| Failure::machine(format!("{}: {e}", log.display())))?;
    let err = out.try_clone().map_err(|e| Failure::machine(e.to_string()))?;
    // A group of its own: Ctrl-C reaches this process only, which then stops them in order.
    c.stdin(Stdio::null()).stdout(out).stderr(err).kill_on_drop(true).process_group(0);
    c.spawn().map_err(|e| Failure::machine(format!("cannot start {:?}: {e}", c.as_std().get_program())))
}

async fn ready(name: &str, port: u16, child: &mut Child) -> Result<(), Failure> {
    let end = tokio::time::Instant::now() + READY;
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        if let Ok(Some(s)) = child.try_wait() {
            return Err(Failure::machine(format!("{name} ended at once ({s}); is port {port} taken? see its log")));
        }
        if tokio::time::Instant::now() > end {
            return Err(Failure::machine(format!("{name} does not answer on port {port}")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

pub(super) async fn stop(child: &mut Child) {
    let Some(pid) = child.id() else { return };
    let _ = Command::new("kill").arg(pid.to_string()).status().await;
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}
