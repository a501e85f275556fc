//! What is looked at again and again: isolation and drift.

// The activities macro makes constants that it does not document.
#![allow(missing_docs)]

use crate::alarms::Finder;
use crate::deps::Deps;
use crate::engine::Engine;
use crate::faults::ended;
use crate::heartbeat::until_cancelled;
use crate::metrics::METRICS;
use crate::ports::checks::{EnvBucket, Owned};
use crate::ports::registration::Check;
use crate::registry::OrgConfig;
use futures::{StreamExt, TryStreamExt};
use leadline_domain::isolation::{self, Evidence, Verdict};
use leadline_domain::{DriftReport, Fault, FaultCode, OrgId};
use leadline_provisioning::policy::STATEFUL;
use leadline_workflows::checks::{DriftInput, ProbeOthers, ProbeScope, definitions};
use std::sync::Arc;
use temporalio_sdk::activities::{ActivityContext, ActivityError, activities};

/// Organizations that are tried at once by one activity.
const PARALLEL: usize = 8;

/// The workflow that runs the probe for itself, on schedule or by command.
const PROBE: &str = "IsolationProbe";

/// Implements `leadline_workflows::checks::Checking`.
pub struct CheckActivities {
    deps: Arc<Deps>,
}

impl CheckActivities {
    /// Works with these parts.
    #[must_use]
    pub fn new(deps: Arc<Deps>) -> Self {
        Self { deps }
    }
}

#[activities]
impl CheckActivities {
    /// See the contract.
    #[activity(definition = definitions::ProbeScope)]
    pub async fn probe_scope(self: Arc<Self>, ctx: ActivityContext, org: OrgId) -> Result<ProbeScope, ActivityError> {
        let work = async { tried(&self.deps, &ctx, &org, scope(&self.deps, &org).await).await };
        ended("probe_scope", until_cancelled(&ctx, work).await?)
    }

    /// See the contract.
    #[activity(definition = definitions::ProbeOwn)]
    pub async fn probe_own(self: Arc<Self>, ctx: ActivityContext, org: OrgId) -> Result<Vec<Evidence>, ActivityError> {
        let work = async {
            let found = tried(&self.deps, &ctx, &org, own(&self.deps, &org).await).await?;
            told(&self.deps, &ctx, &org, found).await
        };
        ended("probe_own", until_cancelled(&ctx, work).await?)
    }

    /// See the contract.
    #[activity(definition = definitions::ProbeOthers)]
    pub async fn probe_others(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: ProbeOthers,
    ) -> Result<Vec<Evidence>, ActivityError> {
        let work = async {
            let found = tried(&self.deps, &ctx, &input.org, others(&self.deps, &input).await).await?;
            told(&self.deps, &ctx, &input.org, found).await
        };
        ended("probe_others", until_cancelled(&ctx, work).await?)
    }

    /// See the contract.
    #[activity(definition = definitions::FindDrift)]
    pub async fn find_drift(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: DriftInput,
    ) -> Result<DriftReport, ActivityError> {
        let work = async {
            let (alarms, finder, org) = (&self.deps.alarms, Finder::of(&ctx), input.org.as_ref());
            let report = alarms.ran(&finder, org, crate::drift::find_all(&self.deps, org).await).await?;
            METRICS.drift(&report.stack, report.drifted().count() as u64);
            if let Some(fault) = report.alarm(|d| STATEFUL.contains(&d.resource_type.as_str())) {
                METRICS.fault(fault.code);
                tracing::error!(%fault, "drift");
                alarms.raise(&finder, org, fault).await?;
            }
            Ok(report)
        };
        ended("find_drift", until_cancelled(&ctx, work).await?)
    }

    /// See the contract.
    #[activity(definition = definitions::ScheduleChecks)]
    pub async fn schedule_checks(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: DriftInput,
    ) -> Result<Vec<String>, ActivityError> {
        let engine = Engine::new(ctx.client());
        ended("schedule_checks", until_cancelled(&ctx, schedule(&self.deps, &engine, input.org.as_ref())).await?)
    }
}

/// Counts what was found, and tells people of it: of something that can be reached and must not be, whoever asked; of
/// what is not proven only where the probe runs for itself. An onboarding waits with it, and says so to whoever asked.
async fn told(deps: &Deps, ctx: &ActivityContext, org: &OrgId, found: Vec<Evidence>) -> Result<Vec<Evidence>, Fault> {
    let count = |v: Verdict| found.iter().filter(|e| e.verdict() == v).count() as u64;
    METRICS.probed(org.as_str(), "as_expected", count(Verdict::AsExpected));
    METRICS.probed(org.as_str(), "nothing_there", count(Verdict::NothingThere));
    METRICS.probed(org.as_str(), "unproven", count(Verdict::Unproven));
    METRICS.probed(org.as_str(), "broken", count(Verdict::Broken));
    if let Some(fault) = isolation::fault(org, &found) {
        METRICS.fault(fault.code);
        tracing::error!(%fault, "isolation probe");
        if fault.code == FaultCode::IsolationBroken {
            METRICS.broken("L6");
        }
        if fault.code == FaultCode::IsolationBroken || by_itself(ctx) {
            deps.alarms.raise(&Finder::of(ctx), Some(org), fault).await?;
        }
    }
    Ok(found)
}

/// Tells people of a probe that could not run, where it runs for itself: it shows nothing then.
async fn tried<T>(deps: &Deps, ctx: &ActivityContext, org: &OrgId, ended: Result<T, Fault>) -> Result<T, Fault> {
    if by_itself(ctx) { deps.alarms.ran(&Finder::of(ctx), Some(org), ended).await } else { ended }
}

fn by_itself(ctx: &ActivityContext) -> bool {
    ctx.info().workflow_type.as_deref() == Some(PROBE)
}

async fn scope(deps: &Deps, org: &OrgId) -> Result<ProbeScope, Fault> {
    // Known here, or this worker has no business with it.
    deps.registry.scope(org)?;
    let made = deps.isolation.stacks().await?;
    let all = deps.registry.snapshot();
    let others = all.orgs.iter().filter(|(id, _)| *id != org);
    let stacks = others.map(|(id, c)| (id.clone(), made.get(&c.scope.stack()).copied()));
    Ok(ProbeScope { not_enforced: deps.isolation.not_enforced(), ..sorted(stacks) })
}

/// Which organizations are tried, and which are not made yet: by whether there is a stack of each, and whether it was opened
/// for deletion. One that is being deleted is tried too, for what of it may still be reached must not be.
fn sorted(stacks: impl Iterator<Item = (OrgId, Option<bool>)>) -> ProbeScope {
    let mut scope = ProbeScope { others: vec![], not_onboarded: vec![], leaving: vec![], not_enforced: vec![] };
    for (id, opened) in stacks {
        if opened == Some(true) {
            scope.leaving.push(id.clone());
        }
        if opened.is_some() { scope.others.push(id) } else { scope.not_onboarded.push(id) }
    }
    scope
}

fn owned(c: OrgConfig, leaving: bool) -> Owned {
    Owned { secrets: c.secrets, storages: c.storages, leaving }
}

/// The buckets that the environment is to have: copies to be fetched, and copies to be kept.
fn buckets(deps: &Deps) -> Result<Vec<EnvBucket>, Fault> {
    let (env, own) = (deps.registry.env(), deps.plans.planned(None)?);
    let delivers = !own.template["Resources"]["DeliveryBucket"].is_null();
    let delivery = delivers.then(|| EnvBucket { name: env.delivery_bucket(), region: own.region });
    let copies = deps.plans.copies()?.map(|c| EnvBucket { name: env.backup_bucket(), region: c.region });
    Ok(delivery.into_iter().chain(copies).collect())
}

async fn own(deps: &Deps, org: &OrgId) -> Result<Vec<Evidence>, Fault> {
    let config = deps.registry.org(org)?;
    let scope = config.scope.clone();
    let mut found = deps.isolation.own(&scope, &owned(config, false)).await?;
    found.extend(deps.isolation.environment(&scope, &deps.registry.env(), &buckets(deps)?).await?);
    Ok(found)
}

async fn others(deps: &Deps, input: &ProbeOthers) -> Result<Vec<Evidence>, Fault> {
    let own = deps.registry.scope(&input.org)?;
    let own = &own;
    // In the order of the input, whichever answers first.
    let tried: Vec<Vec<Evidence>> = futures::stream::iter(input.others.clone())
        .map(|id| async move {
            match deps.registry.org(&id) {
                Ok(c) => {
                    let scope = c.scope.clone();
                    deps.isolation.other(own, &scope, &owned(c, input.leaving.contains(&id))).await
                }
                // It left the configuration between two steps: the next run does not know it.
                Err(_) => Ok(Vec::new()),
            }
        })
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    Ok(tried.concat())
}

async fn schedule(deps: &Deps, engine: &Engine, org: Option<&OrgId>) -> Result<Vec<String>, Fault> {
    let env = deps.registry.env();
    let queue = env.main_queue();
    let all: &[Check] =
        if org.is_some() { &[Check::Drift, Check::Isolation, Check::Outcomes] } else { &[Check::Drift] };
    let mut made = Vec::new();
    for check in all {
        made.push(deps.registrations.schedule(engine, &queue, env.env(), org, *check).await?);
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organization_that_is_being_deleted_is_tried_and_told_apart() {
        let id = |s: &str| OrgId::parse(s).unwrap();
        let stacks = [("there", Some(false)), ("opened", Some(true)), ("not-yet", None)];
        let scope = sorted(stacks.map(|(org, opened)| (id(org), opened)).into_iter());
        assert_eq!(scope.others, [id("there"), id("opened")]);
        assert_eq!((scope.leaving, scope.not_onboarded), (vec![id("opened")], vec![id("not-yet")]));
    }
}
