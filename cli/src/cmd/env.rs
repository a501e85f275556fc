//! `leadline env`.

use super::apply::{self, Applying};
use super::checks;
use super::plans::{self, Planned};
use crate::Global;
use crate::connect::Site;
use crate::exit::{Code, Done, Failure};
use crate::output::{self, Format};
use leadline_activities::adapters::aws::AwsSecrets;
use leadline_activities::codec;
use leadline_activities::ports::signing::Signing as _;
use leadline_domain::EnvId;
use leadline_domain::gates::Approver;
use leadline_provisioning::{KeyDiff, Plan, Severity, env_diff, plan_backup, plan_env, render};
use serde_json::json;
use std::time::Instant;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Report everything that is wrong with the files and the templates they lead to, with what to do.
    Check,
    /// Show in what two environments differ, defaults included.
    Diff {
        /// One environment.
        a: EnvId,
        /// The other.
        b: EnvId,
    },
    /// Show what applying would change. Exit 2 if anything.
    Plan {
        #[command(flatten)]
        which: Which,
        /// Allow the replacement or removal of this stateful resource, by logical id.
        #[arg(long, value_name = "ID")]
        allow: Vec<String>,
        /// Ask nobody: as if nothing were there yet.
        #[arg(long)]
        offline: bool,
        /// Also put back what was changed outside leadline (`leadline env drift`), but for the stack of copies.
        #[arg(long, conflicts_with = "offline")]
        repair: bool,
    },
    /// Where the last apply stands: step, gates, what it waits for. Exit 3 if it waits for a human, failed, or never began.
    Status {
        #[command(flatten)]
        which: Which,
    },
    /// Agree to the plan that waits, by its digest.
    Approve {
        #[command(flatten)]
        which: Which,
        /// Digest of the plan you have read.
        #[arg(long)]
        digest: String,
    },
    /// Compare plan, last applied template and what is there. Exit 3 if something was changed outside leadline, 2 if only the
    /// plan is ahead.
    Drift {
        #[command(flatten)]
        which: Which,
    },
    /// Bring the environment's stacks to their plans, as workflows.
    Apply {
        #[command(flatten)]
        which: Which,
        /// Allow the replacement or removal of this stateful resource, by logical id.
        #[arg(long, value_name = "ID")]
        allow: Vec<String>,
        /// Also put back what was changed outside leadline: the plan that `env plan --repair` shows.
        #[arg(long)]
        repair: bool,
    },
    /// Print the public key that `promotion.toml` of others trusts (`evidence_key`); the key is made if there is none yet.
    EvidenceKey {
        #[command(flatten)]
        which: Which,
    },
    /// Print the ids of the keys that payloads in Temporal are encrypted with, the one that encrypts first.
    PayloadKeys {
        #[command(flatten)]
        which: Which,
        /// Add a new key, which encrypts from now on. Old ones stay, and read what they wrote; whoever runs learns of the
        /// new one when it meets it.
        #[arg(long)]
        rotate: bool,
    },
    /// Tell an apply that waits for a human that it can go on.
    Resume {
        #[command(flatten)]
        which: Which,
    },
    /// Cancel an apply that waits. What was executed stays as it is.
    Cancel {
        #[command(flatten)]
        which: Which,
    },
}

/// An environment, named with or without `--env`.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// Environment.
    #[arg(value_name = "ENV")]
    named: Option<EnvId>,
    /// Environment, as an option.
    #[arg(long, value_name = "ENV")]
    env: Option<EnvId>,
}

impl Which {
    fn id(self) -> Result<EnvId, Failure> {
        self.named.or(self.env).ok_or_else(|| Failure::command("name an environment"))
    }

    fn site(self, g: &Global) -> Result<Site, Failure> {
        Site::load(g, &self.id()?)
    }
}

pub(crate) async fn run(g: &Global, c: Command) -> Done {
    match c {
        Command::Check => Ok(check(g)),
        Command::Diff { a, b } => diff(g, &a, &b),
        Command::Drift { which } => checks::drift(g, None, &which.id()?).await,
        Command::Status { which } => apply::tell_status(&applying(&which.site(g)?).await?, None, g.output).await,
        Command::Approve { which, digest } => {
            let approver = Approver { name: g.operator()?, digest };
            applying(&which.site(g)?).await?.approve(approver).await?;
            output::note("approved");
            Ok(Code::Ok)
        }
        Command::Resume { which } => {
            let site = which.site(g)?;
            applying(&site).await?.resume().await?;
            output::note(&format!("the apply of {} tries again", site.environment().id));
            Ok(Code::Ok)
        }
        Command::Plan { which, allow, offline, repair } => {
            let site = which.site(g)?;
            Ok(plans::show_each(&plan(&site, &allow, offline, repair).await?, g.output))
        }
        Command::Apply { which, allow, repair } => apply(g, &which.site(g)?, &allow, repair).await,
        Command::EvidenceKey { which } => {
            let site = which.site(g)?;
            let secret = site.evidence_key(&site.aws_here().await?).key().await?;
            output::line(&leadline_activities::evidence::public_key(&secret)?);
            Ok(Code::Ok)
        }
        Command::PayloadKeys { which, rotate } => payload_keys(g, &which.site(g)?, rotate).await,
        Command::Cancel { which } => applying(&which.site(g)?).await?.cancel(g.operator()?).await,
    }
}

/// The last apply of an environment.
async fn applying(site: &Site) -> Result<Applying, Failure> {
    Ok(Applying::of(&site.temporal().await?, &site.environment().id, None))
}

async fn payload_keys(g: &Global, site: &Site, rotate: bool) -> Done {
    // Made by whoever asks first.
    let mut keys = site.payload_keys().await?;
    if rotate {
        let name = site.payload_keys_secret();
        let secrets = AwsSecrets::new(site.aws_here().await?);
        let id = secrets.change_environment_secret(&name, codec::rotated).await?;
        output::note(&format!(
            "key {id} encrypts from now on; the others stay in secret {name} and read what they wrote"
        ));
        keys = site.payload_keys().await?;
    }
    match g.output {
        Format::Json => output::json(&json!({"current": keys.current(), "keys": keys.ids().collect::<Vec<_>>()})),
        Format::Text => {
            output::line(&format!("{} (encrypts)", keys.current()));
            keys.ids().filter(|id| *id != keys.current()).for_each(output::line);
        }
    }
    Ok(Code::Ok)
}

/// Files first; templates only of files that are right.
fn check(g: &Global) -> Code {
    let start = Instant::now();
    let (config, mut findings) = leadline_provisioning::load(&g.environments);
    let rendered = config.as_ref().map(render).unwrap_or_default();
    findings.extend(rendered.findings);
    let folder = g.environments.display().to_string();
    let folder = folder.trim_end_matches('/');
    for f in &findings {
        match g.output {
            Format::Json => output::json(f),
            // As an editor opens it from here.
            Format::Text if f.file == "." => output::line(&f.to_string().replacen('.', folder, 1)),
            Format::Text => output::line(&format!("{folder}/{f}")),
        }
    }
    let errors = findings.iter().filter(|f| f.severity == Severity::Error).count();
    if g.output == Format::Text {
        let ms = i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX);
        output::note(&format!(
            "{}, {}; {} made and held to the rules in {}",
            output::count(errors, "error"),
            output::count(findings.len() - errors, "warning"),
            output::count(rendered.templates, "template"),
            output::duration(ms)
        ));
    }
    if errors == 0 { Code::Ok } else { Code::NotWell }
}

fn diff(g: &Global, a: &EnvId, b: &EnvId) -> Done {
    let (first, second) = (Site::load(g, a)?, Site::load(g, b)?);
    let differ = env_diff(first.environment(), second.environment());
    let short = |v: &serde_json::Value| match v {
        serde_json::Value::Null => "-".to_owned(),
        v => {
            let text = v.to_string();
            let cut: String = text.chars().take(60).collect();
            if cut.len() < text.len() { cut + "..." } else { cut }
        }
    };
    match g.output {
        Format::Json => differ.iter().for_each(output::json),
        Format::Text => {
            let row = |d: &KeyDiff| vec![d.key.clone(), short(&d.a), short(&d.b)];
            let rows: Vec<Vec<String>> = differ.iter().map(row).collect();
            output::table(&["KEY", a.as_str(), b.as_str()], &rows);
        }
    }
    Ok(Code::Ok)
}

/// One plan for each of the environment's stacks: its own, and that of the copies where there are any.
async fn plan(site: &Site, allow: &[String], offline: bool, repair: bool) -> Result<Vec<Planned>, Failure> {
    let e = site.environment();
    let scope = e.scope();
    let live = plans::Live::open(site, offline).await?;
    let now = live.stack(&scope.stack()).await?;
    let mut own = plan_env(site.config(), e, now.as_ref(), allow);
    if let (true, plans::Live::Asked(deps), Ok(plan)) = (repair, &live, &own) {
        own = Ok(apply::repairing(deps, None, plan.clone(), allow).await?);
    }
    let mut out = vec![Planned { stack: scope.stack(), org: None, plan: own }];
    let now = if e.backup.is_some() { live.stack(&scope.backup_stack()).await? } else { None };
    if let Some(plan) = plan_backup(site.config(), e, now.as_ref(), allow) {
        out.push(Planned { stack: scope.backup_stack(), org: None, plan });
    }
    Ok(out)
}

async fn apply(g: &Global, site: &Site, allow: &[String], repair: bool) -> Done {
    // All plans first: nothing is begun if one is refused.
    let planned = plan(site, allow, false, repair).await?;
    let plans =
        planned.into_iter().map(|p| p.plan.map_err(|r| apply::refused(&r))).collect::<Result<Vec<Plan>, _>>()?;
    let client = site.temporal().await?;
    for plan in plans {
        output::note(&format!("plan {} for stack {}", plan.digest(), plan.stack()));
        let who = apply::requester(g, site)?;
        let applying = Applying::start(site, &client, &plan, who, String::new(), None).await?;
        let deps = site.deps().await?;
        let status = applying.follow(&deps, &plan, apply::cannot_mend).await?;
        apply::done(&status, g.output)?;
    }
    Ok(Code::Ok)
}
