//! `leadline org`.

use super::apply::{self, Applying};
use super::checks;
use super::plans::{self, Live, Planned};
use crate::Global;
use crate::connect::Site;
use crate::exit::{Code, Done, Failure};
use crate::output::{self, Format};
use futures::{StreamExt, TryStreamExt};
use leadline_activities::engine::Engine;
use leadline_activities::ports::stacks::ShareCredentials;
use leadline_domain::gates::{Approver, SignedEvidence};
use leadline_domain::{EnvId, Fault, FaultCode, Ingress, OrgId, ShareId};
use leadline_provisioning::Plan;
use leadline_workflows::contracts::WatchStatus;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Show what onboarding would change. Exit 2 if anything.
    Plan {
        /// Organization.
        #[arg(required_unless_present = "all")]
        org: Option<OrgId>,
        /// Every organization of the environment, a line each.
        #[arg(long, conflicts_with_all = ["org", "allow"])]
        all: bool,
        /// Environment.
        #[arg(long)]
        env: EnvId,
        /// Allow the replacement or removal of this stateful resource, by logical id.
        #[arg(long, value_name = "ID")]
        allow: Vec<String>,
        /// Ask nobody: as if nothing were there yet.
        #[arg(long)]
        offline: bool,
        /// Also put back what was changed outside leadline (`leadline org drift`). Another plan, with a digest of its own.
        #[arg(long, conflicts_with_all = ["all", "offline"])]
        repair: bool,
    },
    /// Make everything the organization owns, prove it, and watch its shares.
    Onboard {
        /// Organization.
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        org: Option<OrgId>,
        /// Every organization placed in the environment, several at a time.
        #[arg(long, conflicts_with_all = ["credentials", "allow"])]
        all: bool,
        /// Environment.
        #[arg(long)]
        env: EnvId,
        /// TOML file with a table for each share: `user`, `password`, and `domain` if there is one. They go into the
        /// secrets that the stack makes, and nowhere else. Not needed if the secrets hold them already.
        #[arg(long, value_name = "FILE")]
        credentials: Option<PathBuf>,
        /// With --all: folder with such a file for each organization that needs one, `<org>.toml`.
        #[arg(long, value_name = "DIR", requires = "all")]
        credentials_dir: Option<PathBuf>,
        /// With --all: how many at a time; else as many as the environment says (`provisioning.at_once`).
        #[arg(long, value_name = "N", requires = "all")]
        parallel: Option<std::num::NonZeroUsize>,
        /// Allow the replacement or removal of this stateful resource, by logical id.
        #[arg(long, value_name = "ID")]
        allow: Vec<String>,
        /// Also put back what was changed outside leadline (`leadline org drift`): the plan that `org plan --repair` shows.
        #[arg(long, conflicts_with = "all")]
        repair: bool,
    },
    /// Where the last onboarding stands, and the off-boarding if there is one: step, gates, what it waits for,
    /// certificates. Exit 3 if it waits for a human, failed, or never began.
    Status {
        /// Organization.
        org: OrgId,
        /// Environment.
        #[arg(long)]
        env: EnvId,
    },
    /// Agree to the plan that waits, by its digest.
    Approve {
        /// Organization.
        org: OrgId,
        /// Environment.
        #[arg(long)]
        env: EnvId,
        /// Digest of the plan you have read.
        #[arg(long)]
        digest: String,
    },
    /// Try again now whatever waits: the watch of each share, and every file, by whatever way it came. For when something
    /// was mended.
    Retry {
        /// Organization.
        org: OrgId,
        /// Environment.
        #[arg(long)]
        env: EnvId,
    },
    /// Tell an onboarding that waits for a human that it can go on.
    Resume {
        /// Organization.
        org: OrgId,
        /// Environment.
        #[arg(long)]
        env: EnvId,
    },
    /// Cancel an onboarding that waits. What was executed stays as it is.
    Cancel {
        /// Organization.
        org: OrgId,
        /// Environment.
        #[arg(long)]
        env: EnvId,
    },
    /// Prove that the organization's credentials reach its own resources and nothing else. Exit 3 on a surprise.
    Probe {
        /// Organization.
        org: OrgId,
        /// Environment.
        #[arg(long)]
        env: EnvId,
        /// Show every try, not only those that are not as they have to be.
        #[arg(long)]
        all: bool,
    },
    /// Compare plan, last applied template and what is there. Exit 3 if something was changed outside leadline, 2 if only the
    /// plan is ahead.
    Drift {
        /// Organization.
        org: OrgId,
        /// Environment.
        #[arg(long)]
        env: EnvId,
    },
    /// Exchange the credentials of a share without losing a file.
    Rotate(super::rotate::Args),
    /// End the watches of an organization, carry what is under way to its end, list what there is, and hold it. It is
    /// deleted only after the retention period, with a separate approval.
    Offboard(super::offboard::Args),
    /// The organizations placed in an environment.
    List {
        /// Environment.
        #[arg(long)]
        env: EnvId,
    },
    /// One organization: what it owns, its shares, and how the watch of each gets on.
    Show {
        /// Organization.
        org: OrgId,
        /// Environment.
        #[arg(long)]
        env: EnvId,
    },
}

pub(crate) async fn run(g: &Global, c: Command) -> Done {
    match c {
        Command::Plan { org: Some(org), env, allow, offline, repair, all: _ } => {
            let site = Site::load(g, &env)?;
            let live = Live::open(&site, offline).await?;
            let o = site.config().organization(&env, &org).ok_or_else(|| unknown(&org, &env))?;
            let mut p = live.plan(&site, o, &allow).await?;
            if let (true, Live::Asked(deps), Ok(plan)) = (repair, &live, &p.plan) {
                p.plan = Ok(apply::repairing(deps, Some(&org), plan.clone(), &allow).await?);
            }
            Ok(plans::show_each(&[p], g.output))
        }
        Command::Plan { env, offline, .. } => plan_all(g, &env, offline).await,
        Command::Onboard { org: Some(org), env, credentials, allow, repair, .. } => {
            let how = How { file: credentials.as_deref(), allow: &allow, repair, evidence: None };
            onboard(g, &Site::load(g, &env)?, &org, how).await
        }
        Command::Onboard { org: None, env, credentials_dir, parallel, .. } => {
            super::onboard_all::run(g, &env, credentials_dir.as_deref(), parallel).await
        }
        Command::Status { org, env } => {
            let site = Site::load(g, &env)?;
            let client = site.temporal().await?;
            let leaving = super::offboard::of(&client, &env, &org).await;
            apply::tell_status(&Applying::of(&client, &env, Some(&org)), leaving, g.output).await
        }
        Command::Approve { org, env, digest } => {
            let site = Site::load(g, &env)?;
            let approver = Approver { name: g.operator()?, digest };
            Applying::of(&site.temporal().await?, &env, Some(&org)).approve(approver).await?;
            output::note("approved");
            Ok(Code::Ok)
        }
        Command::Retry { org, env } => retry(g, &org, &env).await,
        Command::Cancel { org, env } => {
            let site = Site::load(g, &env)?;
            Applying::of(&site.temporal().await?, &env, Some(&org)).cancel(g.operator()?).await
        }
        Command::Resume { org, env } => resume(g, &org, &env).await,
        Command::Probe { org, env, all } => checks::probe(g, &org, &env, all).await,
        Command::Drift { org, env } => checks::drift(g, Some(&org), &env).await,
        Command::Rotate(a) => super::rotate::run(g, a).await,
        Command::Offboard(a) => super::offboard::run(g, a).await,
        Command::List { env } => list(g, &env).await,
        Command::Show { org, env } => show(g, &org, &env).await,
    }
}

pub(crate) fn unknown(org: &OrgId, env: &EnvId) -> Failure {
    Fault::new(FaultCode::ConfigUnknownOrg, format!("organization {org} is not placed in {env}")).into()
}

/// The plan of an organization as things are.
pub(super) async fn plan(site: &Site, org: &OrgId, allow: &[String]) -> Result<Plan, Failure> {
    let env = &site.environment().id;
    let o = site.config().organization(env, org).ok_or_else(|| unknown(org, env))?;
    let plan = Live::open(site, false).await?.plan(site, o, allow).await?.plan;
    plan.map_err(|r| apply::refused(&r))
}

async fn plan_all(g: &Global, env: &EnvId, offline: bool) -> Done {
    let start = Instant::now();
    let site = Site::load(g, env)?;
    let live = Live::list(&site, offline).await?;
    let each = site.config().organizations(env).map(|o| live.plan(&site, o, &[]));
    let all: Vec<Planned> = futures::stream::iter(each)
        .buffered(usize::from(site.environment().provisioning.at_once))
        .try_collect()
        .await?;
    let code = plans::show_all(&all, g.output);
    let ms = i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX);
    let asked = live.requests().map(|n| format!("; {n} requests to CloudFormation")).unwrap_or_default();
    output::note(&format!("{} organizations planned in {}{asked}", all.len(), output::duration(ms)));
    Ok(code)
}

pub(super) type Given = BTreeMap<ShareId, ShareCredentials>;

pub(super) fn read(path: &Path) -> Result<Given, Failure> {
    // The text is not quoted in errors: it holds passwords.
    let text = std::fs::read_to_string(path).map_err(|e| Failure::machine(format!("{}: {e}", path.display())))?;
    toml::from_str(&text).map_err(|_| {
        Failure::command(format!("{} is not a table of `user` and `password` for each share", path.display()))
    })
}

/// How an organization is onboarded.
#[derive(Default)]
pub(super) struct How<'a> {
    /// File with credentials.
    pub(super) file: Option<&'a Path>,
    /// Stateful resources that may be lost.
    pub(super) allow: &'a [String],
    /// Put back what was changed outside leadline.
    pub(super) repair: bool,
    /// Comes with a promotion.
    pub(super) evidence: Option<SignedEvidence>,
}

/// Applies the plan of an organization.
pub(super) async fn onboard(g: &Global, site: &Site, org: &OrgId, how: How<'_>) -> Done {
    let How { file, allow, repair, evidence } = how;
    let env = &site.environment().id;
    let given = file.map(read).transpose()?.unwrap_or_default();
    let mut plan = plan(site, org, allow).await?;
    let o = site.config().organization(env, org).ok_or_else(|| unknown(org, env))?;
    if let Some(id) = given.keys().find(|id| !o.has_secret(id)) {
        return Err(Failure::command(format!("credentials name share {id}, which organization {org} does not have")));
    }
    let scope = o.scope(site.environment())?;
    let deps = site.deps().await?;
    if repair {
        plan = apply::repairing(&deps, Some(org), plan, allow).await?;
    }
    output::note(&format!("plan {} for stack {}", plan.digest(), plan.stack()));
    let client = site.temporal().await?;
    let inputs = leadline_provisioning::inputs(site.config(), site.environment(), o).map_err(|r| apply::refused(&r))?;
    let applying = Applying::start(site, &client, &plan, apply::requester(g, site)?, inputs, evidence).await?;
    let (deps, scope, given) = (&deps, &scope, &given);
    let status = applying
        .follow(deps, &plan, |f| async move {
            if f.code != FaultCode::SecretMissing || given.is_empty() {
                return apply::cannot_mend(f).await;
            }
            for (share, credentials) in given {
                output::note(&format!("  writing the credentials of share {share} into its secret"));
                deps.secrets.put_share_credentials(scope, share, credentials).await?;
            }
            Ok(true)
        })
        .await?;
    apply::done(&status, g.output)
}

async fn resume(g: &Global, org: &OrgId, env: &EnvId) -> Done {
    let site = Site::load(g, env)?;
    Engine::new(site.temporal().await?).resume_onboarding(env, org).await?;
    output::note(&format!("the onboarding of {org} tries again"));
    Ok(Code::Ok)
}

async fn retry(g: &Global, org: &OrgId, env: &EnvId) -> Done {
    let site = Site::load(g, env)?;
    let o = site.config().organization(env, org).ok_or_else(|| unknown(org, env))?;
    let engine = Engine::new(site.temporal().await?);
    let received = Ingress::RECEIVED.into_iter().filter_map(Ingress::share);
    let watched: Vec<ShareId> = o.watched().map(|(id, _)| id.clone()).collect();
    for share in watched.iter().cloned().chain(received) {
        let files = engine.retry_share(org, &share).await?;
        let what = if watched.contains(&share) { "the watch and " } else { "" };
        match g.output {
            Format::Json => output::json(&json!({"organization": org, "share": share, "files": files})),
            Format::Text => output::line(&format!("{org}/{share}: {what}{files} files try again")),
        }
    }
    Ok(Code::Ok)
}

async fn list(g: &Global, env: &EnvId) -> Done {
    let site = Site::load(g, env)?;
    let mut all = site.deps().await?.stacks.all().await?;
    let mut rows = Vec::new();
    for o in site.config().organizations(env) {
        let scope = o.scope(site.environment())?;
        let stack = all.remove(&scope.stack()).map_or("not onboarded".into(), |s| s.status);
        let shares = o.watched().count();
        match g.output {
            Format::Json => output::json(&json!({
                "organization": o.id, "jurisdiction": o.jurisdiction, "stack": stack, "bucket": scope.bucket(), "shares": shares,
            })),
            Format::Text => {
                rows.push(vec![o.id.to_string(), o.jurisdiction.clone(), stack, scope.bucket(), shares.to_string()]);
            }
        }
    }
    output::table(&["ORGANIZATION", "JURISDICTION", "STACK", "BUCKET", "SHARES"], &rows);
    Ok(Code::Ok)
}

async fn show(g: &Global, org: &OrgId, env: &EnvId) -> Done {
    let site = Site::load(g, env)?;
    let o = site.config().organization(env, org).ok_or_else(|| unknown(org, env))?;
    let scope = o.scope(site.environment())?;
    let deps = site.deps().await?;
    let stack = deps.stacks.describe(&scope.stack()).await?;
    let status = stack.as_ref().map_or("not onboarded", |s| s.status.as_str());
    let engine = Engine::new(site.temporal().await?);
    let mut watches = BTreeMap::new();
    for (id, _) in o.watched() {
        watches.insert(id.clone(), engine.watch_status(org, id).await?);
    }
    if g.output == Format::Json {
        output::json(&json!({
            "organization": o, "stack": scope.stack(), "status": status, "bucket": scope.bucket(),
            "role": scope.role_arn(), "key": scope.key_alias(), "outputs": stack.as_ref().map(|s| &s.outputs),
            "watches": watches,
        }));
        return Ok(Code::Ok);
    }
    let say = |k: &str, v: &str| output::line(&format!("{k:<14}{v}"));
    say("organization", &format!("{} ({})", o.id, o.name));
    say("jurisdiction", &o.jurisdiction);
    say("stack", &format!("{} {status}", scope.stack()));
    say("bucket", &scope.bucket());
    say("role", &scope.role_arn());
    say("key", &scope.key_alias());
    for c in &o.contacts {
        let role = c.role.as_ref().map_or(String::new(), |r| format!(" ({r})"));
        say("contact", &format!("{}{role} {}", c.name, c.email));
    }
    let rows: Vec<Vec<String>> = o
        .shares
        .iter()
        .map(|(id, s)| {
            let watch = watches.get(id).map_or("not watched".into(), |w| watch(w.as_ref()));
            vec![id.to_string(), s.place(), s.group.to_string(), scope.share_secret(id), watch]
        })
        .collect();
    output::line("");
    output::table(&["SHARE", "PLACE", "GROUP", "SECRET", "WATCH"], &rows);
    Ok(Code::Ok)
}

fn watch(w: Option<&WatchStatus>) -> String {
    match w {
        None => "not running, or no worker has it".into(),
        Some(WatchStatus { fault: Some(f), .. }) => format!("waits: {f}; see docs/faults/{}.md", f.code),
        Some(s) => format!("watching, {} files there, {} pending{}", s.listed, s.pending, passed_over(&s.skipped)),
    }
}

/// What the last listing passed over: nobody looks for what is not said to be there.
fn passed_over(skipped: &BTreeMap<String, u64>) -> String {
    let each: Vec<String> = skipped.iter().map(|(why, n)| format!("{n} {why}")).collect();
    if each.is_empty() { String::new() } else { format!("; passed over: {}", each.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_over_is_said() {
        let skipped = BTreeMap::from([("Link".to_owned(), 2), ("TemporaryName".to_owned(), 1)]);
        let status = WatchStatus { listed: 3, skipped, ..WatchStatus::default() };
        assert_eq!(watch(Some(&status)), "watching, 3 files there, 0 pending; passed over: 2 Link, 1 TemporaryName");
        let plain = WatchStatus { listed: 3, ..WatchStatus::default() };
        assert_eq!(watch(Some(&plain)), "watching, 3 files there, 0 pending");
    }
}
