//! Provisioning steps: change sets, outputs, probes, watches.

// The activities macro makes constants that it does not document.
#![allow(missing_docs)]

use crate::deps::Deps;
use crate::engine::Engine;
use crate::faults::ended;
use crate::heartbeat::until_cancelled;
use crate::ports::stacks::{ChangeSetState, ResourceChange};
use leadline_domain::gates::{self, Approval};
use leadline_domain::{Fault, FaultCode, OrgId};
use leadline_workflows::contracts::{ExecuteInput, Prepared, StackPlan, definitions};
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
        let r = match crate::offboard::stays(&Engine::new(ctx.client()), &plan).await {
            Ok(()) => prepare(&self.deps, &plan).await,
            Err(f) => Err(f),
        };
        ended("prepare_stack", r)
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
    #[activity(definition = definitions::ProbeOrganization)]
    pub async fn probe_organization(
        self: Arc<Self>,
        _ctx: ActivityContext,
        org: OrgId,
    ) -> Result<Vec<String>, ActivityError> {
        ended("probe_organization", probe(&self.deps, &org).await)
    }

    /// See the contract.
    #[activity(definition = definitions::RegisterShares)]
    pub async fn register_shares(
        self: Arc<Self>,
        ctx: ActivityContext,
        org: OrgId,
    ) -> Result<Vec<String>, ActivityError> {
        ended("register_shares", register(&self.deps, &Engine::new(ctx.client()), &org).await)
    }
}

/// A worker serves one environment; a plan for another is a mistake that must not reach AWS.
fn belongs_here(deps: &Deps, plan: &StackPlan) -> Result<(), Fault> {
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
    Ok(())
}

/// The name of a plan's change set: its digest, so that a repeat finds it and another plan does not.
fn change_set(plan: &StackPlan) -> String {
    format!("leadline-{}", plan.digest.get(..32).unwrap_or(&plan.digest))
}

async fn prepare(deps: &Deps, plan: &StackPlan) -> Result<Prepared, Fault> {
    belongs_here(deps, plan)?;
    let name = change_set(plan);
    clear_failed_creation(deps, &plan.stack).await?;
    deps.stacks.create_change_set(&plan.stack, &name, &plan.template, &plan.tags).await?;
    let deadline = tokio::time::Instant::now() + PREPARE;
    loop {
        match deps.stacks.change_set(&plan.stack, &name).await? {
            ChangeSetState::Ready(changes) => {
                return Ok(Prepared { changes: changes.iter().map(words).collect(), gates: deps.registry.gates() });
            }
            ChangeSetState::Empty => {
                deps.stacks.discard(&plan.stack, &name).await?;
                return Ok(Prepared { changes: Vec::new(), gates: deps.registry.gates() });
            }
            ChangeSetState::Failed(reason) => {
                deps.stacks.discard(&plan.stack, &name).await?;
                return Err(Fault::new(FaultCode::StackFailed, format!("change set of {}: {reason}", plan.stack)));
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

fn words(c: &ResourceChange) -> String {
    let replace = if c.replacement == "True" { " (replacement)" } else { "" };
    format!("{} {} {}{replace}", c.action, c.resource_type, c.logical_id)
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().and_then(|d| i64::try_from(d.as_millis()).ok()).unwrap_or_default()
}

/// Judges the gates once more, by this worker's own configuration and clock, and carries the plan out.
async fn granted(deps: &Deps, input: &ExecuteInput) -> Result<BTreeMap<String, String>, Fault> {
    let plan = &input.apply.plan;
    let request = input.apply.request(&input.approvers);
    let approval = Approval::grant(deps.registry.gates().as_ref(), &request, now_ms()).map_err(|states| {
        gates::fault(&states)
            .unwrap_or_else(|| Fault::new(FaultCode::BugInvariant, "no approval, and no gate is closed"))
    })?;
    if input.changes { execute(deps, plan, &approval).await } else { outputs(deps, &plan.stack).await }
}

/// Nothing is executed without an approval of this very plan, which only [`Approval::grant`] makes.
async fn execute(deps: &Deps, plan: &StackPlan, approval: &Approval) -> Result<BTreeMap<String, String>, Fault> {
    belongs_here(deps, plan)?;
    if approval.digest() != plan.digest {
        return Err(Fault::new(FaultCode::StackPlanMismatch, "the approval is for another plan"));
    }
    deps.stacks.execute(&plan.stack, &change_set(plan)).await?;
    loop {
        let Some(stack) = deps.stacks.describe(&plan.stack).await? else {
            return Err(Fault::new(FaultCode::StackFailed, format!("stack {} is gone", plan.stack)));
        };
        match stack.status.as_str() {
            "CREATE_COMPLETE" | "UPDATE_COMPLETE" => return Ok(stack.outputs),
            s if s.contains("ROLLBACK") || s.ends_with("_FAILED") => {
                let reason = first_failure(deps, &plan.stack).await.unwrap_or(stack.reason);
                if s.ends_with("_IN_PROGRESS") {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
                return Err(Fault::new(FaultCode::StackFailed, format!("stack {} is {s}: {reason}", plan.stack)));
            }
            _ => tokio::time::sleep(POLL).await,
        }
    }
}

async fn first_failure(deps: &Deps, stack: &str) -> Option<String> {
    let events = deps.stacks.events(stack).await.ok()?;
    events.into_iter().rev().find(|e| e.status.ends_with("_FAILED")).map(|e| format!("{}: {}", e.logical_id, e.reason))
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
    let env = deps.registry.env();
    let mut out = Vec::new();
    for (share, config) in &deps.registry.org(org)?.shares {
        out.push(engine.start_watch(&env.task_queue(&config.group), org, share).await?);
    }
    Ok(out)
}
