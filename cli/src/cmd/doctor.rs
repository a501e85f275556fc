//! `leadline doctor`: every connection that a worker needs, and how to mend what is wrong.

use crate::Global;
use crate::connect::Site;
use crate::exit::{Code, Done, Failure};
use crate::output::{self, Format};
use leadline_activities::adapters::aws::{Aws, who_am_i};
use leadline_activities::deps::Deps;
use leadline_activities::engine::Engine;
use leadline_activities::ports::queue::Queue;
use leadline_domain::{EnvId, Fault, FaultCode};
use serde_json::json;

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Environment.
    #[arg(long)]
    env: EnvId,
}

struct Check {
    what: String,
    result: Result<String, Fault>,
}

pub(crate) async fn run(g: &Global, a: Args) -> Done {
    let site = Site::load(g, &a.env)?;
    let mut checks = vec![Check { what: "environment files".into(), result: Ok("valid".into()) }];
    let aws = site.aws().await;
    let e = site.environment();
    let here = site.in_aws(&aws, true).await.map(|()| format!("account {}, {}", e.account, e.region));
    let elsewhere = here.as_ref().is_err_and(|f| f.code == FaultCode::EnvironmentWrongPlace);
    checks.push(Check { what: "place in AWS".into(), result: here });
    // What another account holds says nothing of this environment.
    if !elsewhere {
        look(&site, &aws, &mut checks).await?;
    }
    let well = checks.iter().all(|c| c.result.is_ok());
    tell(&checks, g.output);
    Ok(if well { Code::Ok } else { Code::NotWell })
}

/// Every connection, where the environment is.
async fn look(site: &Site, aws: &Aws, checks: &mut Vec<Check>) -> Result<(), Failure> {
    let mut check = |what: String, result: Result<String, Fault>| checks.push(Check { what, result });
    let deps = site.deps_on(aws)?;
    let scope = site.environment().scope();
    let env = &site.environment().id;
    check(
        format!("stack {}", scope.stack()),
        stack(&deps, &scope.stack(), &format!("leadline env apply --env {env}")).await,
    );
    if site.environment().backup.is_some() {
        let made = stack(&deps, &scope.backup_stack(), &format!("leadline env apply --env {env}")).await;
        check(format!("stack {}", scope.backup_stack()), made);
    }
    check("AWS credentials".into(), who_am_i(aws).await);
    check(format!("queue {}", scope.ingest_queue()), queue(deps.ingest_queue.as_ref()).await);
    check(format!("queue {}", scope.audit_queue()), queue(deps.audit_queue.as_ref()).await);
    let keys = site.payload_keys().await.map(|_| "can be read".to_owned());
    check("payload keys".into(), keys.map_err(|e| e.fault().clone()));
    let t = &site.environment().temporal;
    let engine = site.temporal_and_mark().await;
    let answers = match &engine {
        Ok((_, true)) => Ok(format!("answers; {} is the environment's", t.namespace)),
        Ok((_, false)) => Ok(format!("answers; {} is not marked yet, `leadline env apply` does it", t.namespace)),
        Err(e) => Err(e.fault().clone()),
    };
    check(format!("Temporal at {}", t.address), answers);
    if let Ok((client, _)) = engine {
        let there = Engine::new(client).check().await.map(|()| "is there, with its search attributes".to_owned());
        check(format!("Temporal's namespace {}", t.namespace), there);
    }
    for o in site.config().organizations(env) {
        let org = deps.registry.org(&o.id);
        if let Ok(c) = &org {
            let make = format!("leadline org onboard {} --env {env} --credentials FILE", o.id);
            let made = stack(&deps, &c.scope.stack(), &make).await;
            let missing = made.as_ref().is_err_and(|f| f.code == FaultCode::StackMissing);
            check(format!("stack {}", c.scope.stack()), made);
            // Nothing of it is there: what is in it need not be asked for.
            if missing {
                continue;
            }
        }
        let store = match &org {
            Ok(c) => match deps.stores.open(&c.scope).await {
                Ok(s) => s.check().await.map(|()| format!("bucket {} answers", c.scope.bucket())),
                Err(f) => Err(f),
            },
            Err(f) => Err(f.clone()),
        };
        check(format!("store of {}", o.id), store);
        for (id, share) in org.map(|c| c.shares).unwrap_or_default() {
            let listed = match deps.shares.open(&o.id, &id).await {
                Ok(s) => s.list(&share.folder, &share.except()).await.map(|l| format!("{} files wait", l.files.len())),
                Err(f) => Err(f),
            };
            check(format!("share {}/{id} at {}", o.id, share.address), listed);
        }
    }
    Ok(())
}

fn tell(checks: &[Check], format: Format) {
    match format {
        Format::Json => {
            for c in checks {
                let (ok, detail) = match &c.result {
                    Ok(s) => (true, s.clone()),
                    Err(f) => (false, f.to_string()),
                };
                let code = c.result.as_ref().err().map(|f| f.code.as_str());
                output::json(&json!({"check": c.what, "ok": ok, "detail": detail, "code": code}));
            }
        }
        Format::Text => {
            for c in checks {
                match &c.result {
                    Ok(s) => output::line(&format!("ok    {}: {s}", c.what)),
                    Err(f) => {
                        output::line(&format!("FAIL  {}: {f}", c.what));
                        f.code.meaning().lines().for_each(|l| output::line(&format!("      {l}")));
                        output::line(&format!("      {} What to do: docs/faults/{}.md", f.code.consequence(), f.code));
                    }
                }
            }
        }
    }
}

/// A stack that is there and at rest; `make` is the command that makes it.
async fn stack(deps: &Deps, name: &str, make: &str) -> Result<String, Fault> {
    match deps.stacks.describe(name).await? {
        None => Err(Fault::new(FaultCode::StackMissing, format!("there is no such stack yet: run `{make}`"))),
        Some(s) if s.status.ends_with("_COMPLETE") && !s.status.contains("ROLLBACK") => Ok(s.status),
        Some(s) => Err(Fault::new(FaultCode::StackFailed, format!("{} {}", s.status, s.reason))),
    }
}

/// A queue that we can look at and send to.
async fn queue(queue: &dyn Queue) -> Result<String, Fault> {
    let (waiting, _) = queue.depth().await?;
    queue.may_send().await?;
    Ok(format!("{waiting} messages wait, sending is allowed"))
}
