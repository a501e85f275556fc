//! What `env plan` and `org plan` share: the stacks as they are, and how plans are shown.

use super::apply;
use crate::connect::Site;
use crate::exit::{Code, Failure};
use crate::output::{self, Format};
use leadline_activities::adapters::aws::RequestCounts;
use leadline_activities::deps::Deps;
use leadline_activities::ports::stacks::StackState;
use leadline_domain::OrgId;
use leadline_provisioning::config::Organization;
use leadline_provisioning::plan::ChangeKind;
use leadline_provisioning::{CurrentStack, Plan, Refusal, plan_org};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// CloudFormation answers about ten questions a second; many plans ask more and are told to slow down.
const ATTEMPTS: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// A stack and what is planned for it.
pub(crate) struct Planned {
    pub(crate) stack: String,
    pub(crate) org: Option<OrgId>,
    pub(crate) plan: Result<Plan, Refusal>,
}

/// Stacks as they are, or none.
pub(crate) enum Live {
    Asked(Arc<Deps>),
    /// All of them were asked for at once; one that is not as planned is asked for again by itself.
    Listed {
        deps: Arc<Deps>,
        all: BTreeMap<String, StackState>,
        counts: Arc<RequestCounts>,
    },
    /// Nobody is asked: every stack is new.
    Offline,
}

impl Live {
    pub(crate) async fn open(site: &Site, offline: bool) -> Result<Self, Failure> {
        if offline {
            return Ok(Self::Offline);
        }
        Ok(Self::Asked(site.deps().await?))
    }

    /// For plans of many.
    pub(crate) async fn list(site: &Site, offline: bool) -> Result<Self, Failure> {
        if offline {
            return Ok(Self::Offline);
        }
        let aws = site.aws_here().await?;
        let deps = site.deps_on(&aws)?;
        let counts = aws.counts();
        let all = patiently(async || deps.stacks.all().await.map_err(Failure::from)).await?;
        Ok(Self::Listed { deps, all, counts })
    }

    /// Requests to CloudFormation so far; `None` where they are not counted.
    pub(crate) fn requests(&self) -> Option<u64> {
        let Self::Listed { counts, .. } = self else { return None };
        Some(counts.of("CloudFormation"))
    }

    /// The plan of an organization's stack as things are.
    pub(crate) async fn plan(&self, site: &Site, o: &Organization, allow: &[String]) -> Result<Planned, Failure> {
        let (config, e) = (site.config(), site.environment());
        let stack = o.scope(e)?.stack();
        let planned = |plan| Planned { stack: stack.clone(), org: Some(o.id.clone()), plan };
        if let Self::Listed { all, .. } = self {
            let wanted = plan_org(config, e, o, None, allow);
            let (Some(s), Ok(plan)) = (all.get(&stack), &wanted) else { return Ok(planned(wanted)) };
            if let Some(plan) = plan.applied(&s.status, &s.tags, &s.outputs) {
                return Ok(planned(Ok(plan)));
            }
        }
        let now = self.stack(&stack).await?;
        Ok(planned(plan_org(config, e, o, now.as_ref(), allow)))
    }

    pub(crate) async fn stack(&self, stack: &str) -> Result<Option<CurrentStack>, Failure> {
        let (Self::Asked(deps) | Self::Listed { deps, .. }) = self else { return Ok(None) };
        patiently(async || apply::current(deps, stack).await).await
    }
}

/// Asks again, later and later, while what stands in the way passes by itself.
async fn patiently<T>(ask: impl AsyncFn() -> Result<T, Failure>) -> Result<T, Failure> {
    let mut wait = FIRST_WAIT;
    for _ in 1..ATTEMPTS {
        match ask().await {
            Err(f) if f.passes() => {
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            done => return done,
        }
    }
    ask().await
}

/// Prints a plan, or why there is none.
fn show(p: &Planned, format: Format) {
    match (&p.plan, format) {
        (Ok(plan), Format::Json) => output::json(plan),
        (Ok(plan), Format::Text) => output::line(plan.to_string().trim_end()),
        (Err(r), Format::Json) => output::json(&json!({"stack": p.stack, "org": p.org, "refused": r})),
        (Err(r), Format::Text) => output::note(&format!("leadline: there is no plan for stack {}: {r}", p.stack)),
    }
}

/// Prints plans in full; the code is that of all of them.
pub(crate) fn show_each(planned: &[Planned], format: Format) -> Code {
    planned.iter().for_each(|p| show(p, format));
    worst(planned)
}

/// A refusal counts more than a change.
fn worst(planned: &[Planned]) -> Code {
    let codes: Vec<Code> = planned.iter().map(code).collect();
    [Code::Failed, Code::Changes].into_iter().find(|c| codes.contains(c)).unwrap_or(Code::Ok)
}

fn code(p: &Planned) -> Code {
    match &p.plan {
        Err(_) => Code::Failed,
        Ok(plan) if plan.is_empty() => Code::Ok,
        Ok(_) => Code::Changes,
    }
}

/// Prints many plans, a line each; the code is that of all of them.
pub(crate) fn show_all(planned: &[Planned], format: Format) -> Code {
    let mut rows = Vec::new();
    for p in planned {
        let org = p.org.as_ref().map(ToString::to_string).unwrap_or_default();
        match (&p.plan, format) {
            (Ok(plan), Format::Json) => output::json(&json!({
                "org": p.org, "stack": p.stack, "changes": plan.changes(), "loses": plan.loses(), "digest": plan.digest(),
            })),
            (Ok(plan), Format::Text) => {
                rows.push(vec![org, p.stack.clone(), words(plan), plan.digest()[..16].to_owned()])
            }
            (Err(_), Format::Json) => show(p, format),
            (Err(r), Format::Text) => rows.push(vec![org, p.stack.clone(), format!("REFUSED: {r}"), String::new()]),
        }
    }
    output::table(&["ORGANIZATION", "STACK", "CHANGES", "PLAN"], &rows);
    worst(planned)
}

fn words(plan: &Plan) -> String {
    let counted = [
        (ChangeKind::Create, "to create"),
        (ChangeKind::Update, "to change"),
        (ChangeKind::Replace, "to replace"),
        (ChangeKind::Remove, "to remove"),
    ]
    .map(|(k, word)| (plan.changes().iter().filter(|c| c.kind == k).count(), word));
    let said: Vec<String> = counted.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    if said.is_empty() { "none".into() } else { said.join(", ") }
}
