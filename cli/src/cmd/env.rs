//! `leadline env`.

use super::apply::{self, Applying};
use super::checks;
use crate::Global;
use crate::connect::Site;
use crate::exit::{Code, Done, Failure};
use crate::output::{self, Format};
use leadline_domain::EnvId;
use leadline_domain::gates::Approver;
use leadline_provisioning::{Plan, Severity, plan_env};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Report everything that is wrong with the files, with what to do.
    Check,
    /// Show what applying would change. Exit 2 if anything.
    Plan {
        /// Environment.
        #[arg(long)]
        env: EnvId,
        /// Allow the replacement or removal of this stateful resource, by logical id.
        #[arg(long, value_name = "ID")]
        allow: Vec<String>,
    },
    /// Where the last apply stands: step, gates, what it waits for. Exit 3 if it waits for a human or failed.
    Status {
        /// Environment.
        #[arg(long)]
        env: EnvId,
    },
    /// Agree to the plan that waits, by its digest.
    Approve {
        /// Environment.
        #[arg(long)]
        env: EnvId,
        /// Digest of the plan you have read.
        #[arg(long)]
        digest: String,
    },
    /// Compare plan, last applied template and what is there. Exit 3 if something was changed past us, 2 if only the
    /// plan is ahead.
    Drift {
        /// Environment.
        env: EnvId,
    },
    /// Bring the environment's stack to its plan, as a workflow.
    Apply {
        /// Environment.
        #[arg(long)]
        env: EnvId,
        /// Allow the replacement or removal of this stateful resource, by logical id.
        #[arg(long, value_name = "ID")]
        allow: Vec<String>,
    },
}

pub(crate) async fn run(g: &Global, c: Command) -> Done {
    match c {
        Command::Check => {
            let (_, findings) = leadline_provisioning::load(&g.environments);
            for f in &findings {
                match g.output {
                    Format::Json => output::json(f),
                    Format::Text => output::line(&f.to_string()),
                }
            }
            let errors = findings.iter().filter(|f| f.severity == Severity::Error).count();
            if g.output == Format::Text {
                output::note(&format!("{errors} errors, {} warnings", findings.len() - errors));
            }
            Ok(if errors == 0 { Code::Ok } else { Code::NotWell })
        }
        Command::Drift { env } => checks::drift(g, None, &env).await,
        Command::Plan { env, allow } => {
            let site = Site::load(g, &env)?;
            Ok(apply::show(&plan(&site, &allow).await?, g.output))
        }
        Command::Status { env } => {
            let site = Site::load(g, &env)?;
            apply::tell_status(&Applying::of(&site.temporal().await?, &env, None), g.output).await
        }
        Command::Approve { env, digest } => {
            let site = Site::load(g, &env)?;
            let approver = Approver { name: g.operator()?, digest };
            Applying::of(&site.temporal().await?, &env, None).approve(approver).await?;
            output::note("approved");
            Ok(Code::Ok)
        }
        Command::Apply { env, allow } => {
            let site = Site::load(g, &env)?;
            let plan = plan(&site, &allow).await?;
            output::note(&format!("plan {} for stack {}", plan.digest(), plan.stack()));
            let client = site.temporal().await?;
            let applying =
                Applying::start(&site, &client, &plan, apply::requester(g, &site)?, String::new(), None).await?;
            let (deps, _) = site.deps().await?;
            let status = applying.follow(&deps, plan.stack(), apply::cannot_mend).await?;
            apply::done(&status, g.output)
        }
    }
}

async fn plan(site: &Site, allow: &[String]) -> Result<Plan, Failure> {
    let e = site.environment();
    let (deps, _) = site.deps().await?;
    let now = apply::current(&deps, &e.scope().stack()).await?;
    plan_env(e, now.as_ref(), allow).map_err(|r| apply::refused(&r))
}
