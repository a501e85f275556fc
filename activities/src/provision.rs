//! Provisioning steps: change sets, outputs, probes, watches.

// The activities macro makes constants that it does not document.
#![allow(missing_docs)]

use crate::deps::Deps;
use crate::engine::Engine;
use crate::faults::ended;
use crate::heartbeat::{beating, until_cancelled};
use crate::ports::checks::Planned;
use crate::ports::stacks::{ChangeSetState, ResourceChange, StackEvent, Stacks};
use leadline_domain::gates::{self, Approval, Gates, Request, SignedEvidence};
use leadline_domain::{Fault, FaultCode, OrgId};
use leadline_provisioning::plan::{
    Announced, Identity, Wanted, failed_because, strays, unnamed_losses, unnamed_remakes,
};
use leadline_provisioning::{Plan, template};
use leadline_workflows::contracts::{ApplyInput, ExecuteInput, Prepared, StackPlan, definitions};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use temporalio_sdk::activities::{ActivityContext, ActivityError, activities};

/// Time between two looks at a change set or a stack.
const POLL: Duration = Duration::from_millis(500);
/// A change set that is not computed after this time is given up and made again.
const PREPARE: Duration = Duration::from_secs(100);

/// Implements `leadline_workflows::contracts::Provisioning`.
pub struct ProvisioningActivities {
    deps: Arc<Deps>,
}

impl ProvisioningActivities {
    /// Works with these parts.
    #[must_use]
    pub fn new(deps: Arc<Deps>) -> Self {
        Self { deps }
    }
}

#[activities]
impl ProvisioningActivities {
    /// See the contract.
    #[activity(definition = definitions::PrepareStack)]
    pub async fn prepare_stack(
        self: Arc<Self>,
        ctx: ActivityContext,
        plan: StackPlan,
    ) -> Result<Prepared, ActivityError> {
        let work = async {
            crate::offboard::stays(&self.deps, &Engine::new(ctx.client()), &plan).await?;
            prepare(&self.deps, &plan).await
        };
        ended("prepare_stack", until_cancelled(&ctx, work).await?)
    }

    /// See the contract.
    #[activity(definition = definitions::ExecuteStack)]
    pub async fn execute_stack(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: ExecuteInput,
    ) -> Result<BTreeMap<String, String>, ActivityError> {
        ended("execute_stack", until_cancelled(&ctx, granted(&self.deps, &input)).await?)
    }

    /// See the contract.
    #[activity(definition = definitions::DiscardStack)]
    pub async fn discard_stack(
        self: Arc<Self>,
        ctx: ActivityContext,
        plan: StackPlan,
    ) -> Result<String, ActivityError> {
        ended("discard_stack", beating(&ctx, discard(&*self.deps.stacks, &plan, &change_set(&plan))).await)
    }

    /// See the contract.
    #[activity(definition = definitions::RestoreSettings)]
    pub async fn restore_settings(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: ExecuteInput,
    ) -> Result<Vec<String>, ActivityError> {
        let work = async {
            let approval = approve(&self.deps, &input)?;
            approved(&self.deps, &input.apply.plan, &approval)?;
            crate::restore::restore(&self.deps, &input.apply.plan, &approval).await
        };
        ended("restore_settings", until_cancelled(&ctx, work).await?)
    }

    /// See the contract.
    #[activity(definition = definitions::ProbeOrganization)]
    pub async fn probe_organization(
        self: Arc<Self>,
        ctx: ActivityContext,
        org: OrgId,
    ) -> Result<Vec<String>, ActivityError> {
        ended("probe_organization", until_cancelled(&ctx, probe(&self.deps, &org)).await?)
    }

    /// See the contract.
    #[activity(definition = definitions::RegisterShares)]
    pub async fn register_shares(
        self: Arc<Self>,
        ctx: ActivityContext,
        org: OrgId,
    ) -> Result<Vec<String>, ActivityError> {
        let engine = Engine::new(ctx.client());
        ended("register_shares", until_cancelled(&ctx, register(&self.deps, &engine, &org)).await?)
    }
}

/// A plan as workflows carry it.
#[must_use]
pub fn stack_plan(plan: &Plan) -> StackPlan {
    StackPlan {
        env: plan.env().clone(),
        org: plan.org().cloned(),
        stack: plan.stack().to_owned(),
        region: plan.region().to_owned(),
        template: plan.template_text(),
        tags: plan.tags().clone(),
        repairs: plan.repairs().to_vec(),
        remakes: plan.remakes().to_vec(),
        allows: plan.allows().to_vec(),
        deletes: plan.deletes().map(str::to_owned),
        digest: plan.digest().to_owned(),
    }
}

/// A worker serves one environment; a plan for another is a mistake that must not reach AWS. Nor must one that was made
/// from other files, by another version, or by hand: whoever approved it has approved what these files do not say.
pub(crate) fn belongs_here(deps: &Deps, plan: &StackPlan) -> Result<(), Fault> {
    let here = deps.registry.env();
    if plan.env != *here.env() {
        let detail = format!("plan for environment {} on a worker of {}", plan.env, here.env());
        return Err(Fault::new(FaultCode::StackPlanMismatch, detail));
    }
    let expected = match &plan.org {
        Some(org) => deps.registry.scope(org)?.stack(),
        None if plan.stack == here.backup_stack() => here.backup_stack(),
        None => here.stack(),
    };
    if plan.stack != expected {
        return Err(Fault::new(
            FaultCode::StackPlanMismatch,
            format!("plan names stack {}, expected {expected}", plan.stack),
        ));
    }
    let template: Value = serde_json::from_str(&plan.template)
        .map_err(|_| Fault::new(FaultCode::StackPlanMismatch, "the template of the plan is not JSON"))?;
    let identity = Identity {
        stack: &plan.stack,
        account: here.account(),
        // Copies are in a region of their own.
        region: if plan.stack == here.backup_stack() { &plan.region } else { here.region() },
        template: &template,
        tags: &plan.tags,
        repairs: &plan.repairs,
        remakes: &plan.remakes,
        allows: &plan.allows,
        deletes: plan.deletes.as_deref(),
    };
    if identity.digest() != plan.digest {
        return Err(Fault::new(
            FaultCode::StackPlanMismatch,
            format!("plan {} is not the digest of what it would do here", plan.digest),
        ));
    }
    own_words(deps, plan, &template)
}

/// Differences that a fault names.
const NAMED: usize = 5;

/// Compares what is to be applied with what this worker's own files ask for.
fn own_words(deps: &Deps, plan: &StackPlan, given: &Value) -> Result<(), Fault> {
    let own = match (&plan.org, &plan.deletes) {
        (Some(org), Some(certificate)) => Planned::from(&deps.plans.opening(org, certificate)?),
        (org, _) if plan.stack != deps.registry.env().backup_stack() => deps.plans.planned(org.as_ref())?,
        _ => deps.plans.copies()?.ok_or_else(|| {
            Fault::new(
                FaultCode::StackPlanMismatch,
                "the files of this worker know of no copies, and so of no stack of them",
            )
        })?,
    };
    if plan.region != own.region {
        let detail = format!("plan for region {}, the files of this worker say {}", plan.region, own.region);
        return Err(Fault::new(FaultCode::StackPlanMismatch, detail));
    }
    let mut places =
        strays(Wanted { template: &own.template, tags: &own.tags }, Wanted { template: given, tags: &plan.tags });
    // CloudFormation is given the text: one that says something twice may say something else to it.
    if places.is_empty() && plan.template != template::sent(&own.template) {
        places.push("its text".to_owned());
    }
    if places.is_empty() {
        return Ok(());
    }
    let more = places.len().saturating_sub(NAMED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    places.truncate(NAMED);
    let detail = format!("not what the files of this worker ask for: {}{more}", places.join("; "));
    Err(Fault::new(FaultCode::StackPlanMismatch, detail))
}

/// Refuses to lose what nobody named.
fn lose_nothing(plan: &StackPlan, unnamed: &[String]) -> Result<(), Fault> {
    if unnamed.is_empty() {
        return Ok(());
    }
    let detail = format!("stack {}, allowed by nobody: {}", plan.stack, unnamed.join("; "));
    Err(Fault::new(FaultCode::StackLosesData, detail))
}

/// The name of a plan's change set: its digest, so that a repeat finds it and another plan does not.
fn change_set(plan: &StackPlan) -> String {
    format!("leadline-{}", plan.digest.get(..32).unwrap_or(&plan.digest))
}

pub(crate) async fn prepare(deps: &Deps, plan: &StackPlan) -> Result<Prepared, Fault> {
    belongs_here(deps, plan)?;
    let template: Value = serde_json::from_str(&plan.template).unwrap_or_default();
    lose_nothing(plan, &unnamed_remakes(&template, &plan.remakes, &plan.allows))?;
    clear_failed_creation(deps, &plan.stack).await?;
    let changes = computed(&*deps.stacks, plan, &change_set(plan), &plan.template, &plan.allows).await?;
    Ok(Prepared { changes: said(changes.as_deref()), gates: deps.registry.gates() })
}

/// A change set in words. One that touches no resource is still one to execute: CloudFormation makes it where only outputs or
/// attributes of the template differ.
fn said(changes: Option<&[ResourceChange]>) -> Vec<String> {
    match changes {
        None => Vec::new(),
        Some([]) => vec!["Modify outputs".to_owned()],
        Some(all) => all.iter().map(words).collect(),
    }
}

/// Makes a change set of a plan's stack and waits until it is computed. `None`, and it is gone again, if there is nothing to
/// change; refused, and gone too, if it would lose what is not among `allows`.
async fn computed(
    stacks: &dyn Stacks,
    plan: &StackPlan,
    name: &str,
    template: &str,
    allows: &[String],
) -> Result<Option<Vec<ResourceChange>>, Fault> {
    stacks.create_change_set(&plan.stack, name, template, &plan.tags).await?;
    let deadline = tokio::time::Instant::now() + PREPARE;
    loop {
        match stacks.change_set(&plan.stack, name).await? {
            ChangeSetState::Ready(changes) => {
                let refused = lose_nothing(plan, &unnamed_losses(changes.iter().map(announced), allows));
                if refused.is_err() {
                    discard(stacks, plan, name).await?;
                }
                return refused.map(|()| Some(changes));
            }
            ChangeSetState::Empty => {
                stacks.discard(&plan.stack, name).await?;
                return Ok(None);
            }
            ChangeSetState::Failed(reason) => {
                stacks.discard(&plan.stack, name).await?;
                return Err(Fault::new(failed_because(&reason), format!("change set of {}: {reason}", plan.stack)));
            }
            ChangeSetState::Pending if tokio::time::Instant::now() > deadline => {
                return Err(Fault::new(
                    FaultCode::StackBusy,
                    format!("change set of {} is still being computed", plan.stack),
                ));
            }
            ChangeSetState::Pending => tokio::time::sleep(POLL).await,
        }
    }
}

/// ROLLBACK_COMPLETE is only ever reached by a creation that failed: the stack holds nothing, takes no change set, and has
/// to go before it can be made.
async fn clear_failed_creation(deps: &Deps, stack: &str) -> Result<(), Fault> {
    let deadline = tokio::time::Instant::now() + PREPARE;
    let mut asked = false;
    while let Some(s) = deps.stacks.describe(stack).await? {
        match s.status.as_str() {
            "ROLLBACK_COMPLETE" if !asked => {
                tracing::warn!(stack, "removing what a failed creation left");
                deps.stacks.delete(stack).await?;
                asked = true;
            }
            "ROLLBACK_COMPLETE" | "DELETE_IN_PROGRESS" if asked && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(POLL).await;
            }
            _ => return Ok(()),
        }
    }
    Ok(())
}

fn announced(c: &ResourceChange) -> Announced<'_> {
    Announced { id: &c.logical_id, resource_type: &c.resource_type, action: &c.action, replacement: &c.replacement }
}

/// The plan is given up. Its change set is removed, and a stack that is nothing but one in review; what was executed stays.
async fn discard(stacks: &dyn Stacks, plan: &StackPlan, name: &str) -> Result<String, Fault> {
    stacks.discard(&plan.stack, name).await?;
    match stacks.describe(&plan.stack).await? {
        Some(s) => Ok(format!("stack {} stays, {}", plan.stack, s.status)),
        None => {
            // One that no change set was ever executed on: for the names it takes it is none, but it is listed.
            stacks.delete(&plan.stack).await?;
            Ok(format!("there is no stack {}", plan.stack))
        }
    }
}

fn words(c: &ResourceChange) -> String {
    let replace = if c.replacement == "True" { " (replacement)" } else { "" };
    format!("{} {} {}{replace}", c.action, c.resource_type, c.logical_id)
}

pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().and_then(|d| i64::try_from(d.as_millis()).ok()).unwrap_or_default()
}

/// Judges the gates once more, by this worker's own configuration and clock.
fn approve(deps: &Deps, input: &ExecuteInput) -> Result<Approval, Fault> {
    // What deletes is approved where it is deleted, and nowhere else.
    if input.apply.plan.deletes.is_some() {
        return Err(Fault::new(FaultCode::StackPlanMismatch, "a plan that deletes is not applied"));
    }
    asked_here(deps, &input.apply)?;
    let gates = deps.registry.gates();
    if let Some(g) = &gates {
        believe(deps, g, &input.apply)?;
    }
    grant(gates.as_ref(), &input.apply.request(&input.approvers))
}

/// What was applied is shown to the environment after this one by the digest of what it was made from: that one has to be
/// what this worker's own files say, not what whoever asked made of it.
fn asked_here(deps: &Deps, input: &ApplyInput) -> Result<(), Fault> {
    let Some(org) = &input.plan.org else { return Ok(()) };
    if input.inputs != deps.plans.inputs(deps.registry.env().env(), org)? {
        let detail = format!("it is asked for with other files of {org} than this worker has");
        return Err(Fault::new(FaultCode::StackPlanMismatch, detail));
    }
    Ok(())
}

/// Evidence comes by the hands of whoever asks. It counts only if a worker of the environment it is from signed it, where
/// the gates name its key, and only if it is about what this worker's own files say.
fn believe(deps: &Deps, gates: &Gates, input: &ApplyInput) -> Result<(), Fault> {
    let (Some(org), Some(evidence)) = (&input.plan.org, &input.evidence) else { return Ok(()) };
    if let Some(key) = &gates.evidence_key {
        let signature = input.signature.clone().unwrap_or_default();
        crate::evidence::verify(key, org, &SignedEvidence { evidence: evidence.clone(), signature })?;
    }
    if evidence.inputs != deps.plans.inputs(&gates.from, org)? {
        let detail = format!("it is about other files of {org} than this worker has");
        return Err(Fault::new(FaultCode::EvidenceRefused, detail));
    }
    Ok(())
}

/// An approval, or the fault of the gates that are closed.
pub(crate) fn grant(gates: Option<&Gates>, request: &Request<'_>) -> Result<Approval, Fault> {
    Approval::grant(gates, request, now_ms()).map_err(|states| {
        gates::fault(&states)
            .unwrap_or_else(|| Fault::new(FaultCode::BugInvariant, "no approval, and no gate is closed"))
    })
}

/// Carries the plan out, if it may be.
async fn granted(deps: &Deps, input: &ExecuteInput) -> Result<BTreeMap<String, String>, Fault> {
    let plan = &input.apply.plan;
    let approval = approve(deps, input)?;
    if input.changes { execute(deps, plan, &approval).await } else { outputs(deps, &plan.stack).await }
}

/// Whether the approval is one of this very plan, and the plan one of here.
fn approved(deps: &Deps, plan: &StackPlan, approval: &Approval) -> Result<(), Fault> {
    belongs_here(deps, plan)?;
    if approval.digest() != plan.digest {
        return Err(Fault::new(FaultCode::StackPlanMismatch, "the approval is for another plan"));
    }
    Ok(())
}

/// Nothing is executed without an approval of this very plan, which only [`Approval::grant`] makes.
pub(crate) async fn execute(
    deps: &Deps,
    plan: &StackPlan,
    approval: &Approval,
) -> Result<BTreeMap<String, String>, Fault> {
    executed(deps, plan, approval, &change_set(plan)).await
}

/// Brings a plan's stack to a template on the way to the plan's own. `part` tells this change set from the plan's others:
/// letters. `gone` is what the stack only believes to be there: it may let go of it.
pub(crate) async fn part_way(
    deps: &Deps,
    plan: &StackPlan,
    approval: &Approval,
    part: &str,
    template: &str,
    gone: &[String],
) -> Result<(), Fault> {
    let name = format!("{}-{part}", change_set(plan));
    let allows = [&plan.allows, gone].concat();
    if computed(&*deps.stacks, plan, &name, template, &allows).await?.is_some() {
        executed(deps, plan, approval, &name).await?;
    }
    Ok(())
}

/// The one place that executes a change set.
async fn executed(
    deps: &Deps,
    plan: &StackPlan,
    approval: &Approval,
    name: &str,
) -> Result<BTreeMap<String, String>, Fault> {
    approved(deps, plan, approval)?;
    deps.stacks.execute(&plan.stack, name).await?;
    loop {
        let Some(stack) = deps.stacks.describe(&plan.stack).await? else {
            return Err(Fault::new(FaultCode::StackFailed, format!("stack {} is gone", plan.stack)));
        };
        match stack.status.as_str() {
            "CREATE_COMPLETE" | "UPDATE_COMPLETE" => return Ok(stack.outputs),
            s if s.contains("ROLLBACK") || s.ends_with("_FAILED") => {
                if s.ends_with("_IN_PROGRESS") {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
                let reason = first_failure(deps, &plan.stack).await.unwrap_or(stack.reason);
                return Err(Fault::new(failed_because(&reason), format!("stack {} is {s}: {reason}", plan.stack)));
            }
            _ => tokio::time::sleep(POLL).await,
        }
    }
}

async fn first_failure(deps: &Deps, stack: &str) -> Option<String> {
    let events = deps.stacks.events(stack).await.ok()?;
    // Those of this operation only; what failed first is why the others did.
    let begins = |e: &StackEvent| {
        e.logical_id == stack && matches!(e.status.as_str(), "CREATE_IN_PROGRESS" | "UPDATE_IN_PROGRESS")
    };
    let own = events.iter().rposition(begins).unwrap_or(0);
    let first = events[own..].iter().find(|e| e.status.ends_with("_FAILED"))?;
    Some(format!("{}: {}", first.logical_id, first.reason))
}

async fn outputs(deps: &Deps, stack: &str) -> Result<BTreeMap<String, String>, Fault> {
    match deps.stacks.describe(stack).await? {
        Some(s) => Ok(s.outputs),
        None => Err(Fault::new(FaultCode::StackFailed, format!("there is no stack {stack}"))),
    }
}

/// With the organization's own role: its store answers, and each share has its credentials.
async fn probe(deps: &Deps, org: &OrgId) -> Result<Vec<String>, Fault> {
    let config = deps.registry.org(org)?;
    let mut found = Vec::new();
    deps.stores.open(&config.scope).await?.check().await?;
    found.push(format!("role {} reaches bucket {}", config.scope.role_name(), config.scope.bucket()));
    for share in config.shares.keys() {
        deps.secrets.share_credentials(&config.scope, share).await?;
        found.push(format!("role {} reads the credentials of share {share}", config.scope.role_name()));
    }
    Ok(found)
}

async fn register(deps: &Deps, engine: &Engine, org: &OrgId) -> Result<Vec<String>, Fault> {
    let (env, config) = (deps.registry.env(), deps.registry.org(org)?);
    let mut out = Vec::new();
    // One that was only switched off waits for it to be switched on again.
    for id in deps.registrations.unwatch(engine, org, &config.every_share().cloned().collect()).await? {
        tracing::info!(watch = id, "ended: its share is in no file any more");
    }
    for (share, config) in &config.shares {
        out.push(deps.registrations.watch(engine, &env.task_queue(&config.group), org, share).await?);
    }
    Ok(out)
}

#[cfg(test)]
#[path = "provision_tests.rs"]
mod tests;
