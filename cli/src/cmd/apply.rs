//! What `env apply` and `org onboard` share: from a plan to a workflow, followed until it ends.

use crate::connect::Site;
use crate::exit::{Code, Done, Failure};
use crate::output::{self, Format};
use leadline_activities::deps::Deps;
use leadline_activities::engine::status_fault;
use leadline_domain::{Fault, FaultCode, WorkerGroup};
use leadline_provisioning::{CurrentStack, Plan, Refusal};
use leadline_workflows::contracts::StackPlan;
use leadline_workflows::onboard::ApplyStatus;
use leadline_workflows::{ApplyEnvironment, OnboardOrganization, ids};
use std::time::Duration;
use temporalio_client::errors::{WorkflowGetResultError, WorkflowStartError};
use temporalio_client::{
    Client, WorkflowGetResultOptions, WorkflowHandle, WorkflowIdConflictPolicy, WorkflowIdReusePolicy,
    WorkflowQueryOptions, WorkflowSignalOptions, WorkflowStartOptions,
};

/// The stack as it is.
pub(crate) async fn current(deps: &Deps, stack: &str) -> Result<Option<CurrentStack>, Failure> {
    let Some(state) = deps.stacks.describe(stack).await? else { return Ok(None) };
    let Some(text) = deps.stacks.template(stack).await? else { return Ok(None) };
    let template = serde_json::from_str(&text)
        .map_err(|_| Failure::new(format!("the template of stack {stack} is not JSON: it was not made by leadline")))?;
    Ok(Some(CurrentStack { template, tags: state.tags, status: state.status }))
}

pub(crate) fn refused(r: &Refusal) -> Failure {
    Failure::new(format!("there is no plan: {r}"))
}

pub(crate) fn stack_plan(plan: &Plan) -> StackPlan {
    StackPlan {
        env: plan.env().clone(),
        org: plan.org().cloned(),
        stack: plan.stack().to_owned(),
        template: plan.template_text(),
        tags: plan.tags().clone(),
        digest: plan.digest().to_owned(),
    }
}

/// A provisioning workflow that was started.
pub(crate) enum Applying {
    Environment(WorkflowHandle<Client, ApplyEnvironment>),
    Organization(WorkflowHandle<Client, OnboardOrganization>),
}

impl Applying {
    /// Starts the workflow of a plan; one at a time for an environment or organization. One that applies the same plan
    /// already is told to go on, and followed.
    pub(crate) async fn start(site: &Site, client: &Client, plan: &Plan) -> Result<Self, Failure> {
        let main = WorkerGroup::parse("main").map_err(|e| Failure::new(e.to_string()))?;
        let queue = site.environment().scope().task_queue(&main);
        let input = stack_plan(plan);
        let id = match plan.org() {
            Some(org) => ids::onboard(plan.env(), org),
            None => ids::apply_environment(plan.env()),
        };
        let options = WorkflowStartOptions::new(&queue, &id)
            .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicate)
            .id_conflict_policy(WorkflowIdConflictPolicy::Fail)
            .build();
        let (started, applying) = if plan.org().is_some() {
            let started = client.start_workflow(OnboardOrganization::run, input, options).await.map(drop);
            (started, Self::Organization(client.get_workflow_handle(&id)))
        } else {
            let started = client.start_workflow(ApplyEnvironment::run, input, options).await.map(drop);
            (started, Self::Environment(client.get_workflow_handle(&id)))
        };
        match started {
            Ok(()) => Ok(applying),
            Err(WorkflowStartError::AlreadyStarted { .. }) => {
                if applying.status().await.is_none_or(|s| s.plan != plan.digest()) {
                    return Err(Failure::new(format!(
                        "{id} is under way with another plan: wait for it, or end it in Temporal"
                    )));
                }
                output::note("  this plan is being applied already; following it");
                applying.resume().await?;
                Ok(applying)
            }
            Err(WorkflowStartError::Rpc(s)) => Err(status_fault(&s).into()),
            Err(e) => Err(Failure::new(e.to_string())),
        }
    }

    async fn status(&self) -> Option<ApplyStatus> {
        let o = WorkflowQueryOptions::default();
        match self {
            Self::Environment(h) => h.query(ApplyEnvironment::status, (), o).await.ok(),
            Self::Organization(h) => h.query(OnboardOrganization::status, (), o).await.ok(),
        }
    }

    async fn result(&self) -> Result<ApplyStatus, WorkflowGetResultError> {
        let o = WorkflowGetResultOptions::default();
        match self {
            Self::Environment(h) => h.get_result(o).await,
            Self::Organization(h) => h.get_result(o).await,
        }
    }

    /// Tells it that what blocked it is mended.
    pub(crate) async fn resume(&self) -> Result<(), Failure> {
        let o = WorkflowSignalOptions::default();
        let r = match self {
            Self::Environment(h) => h.signal(ApplyEnvironment::resume, (), o).await,
            Self::Organization(h) => h.signal(OnboardOrganization::resume, (), o).await,
        };
        r.map_err(|e| Failure::new(e.to_string()))
    }

    /// Follows it to its end, telling each step; `paused` may mend what it waits for and says whether it did.
    pub(crate) async fn follow<F: Future<Output = Result<bool, Failure>>>(
        &self,
        paused: impl Fn(Fault) -> F,
    ) -> Result<ApplyStatus, Failure> {
        let result = self.result();
        tokio::pin!(result);
        let mut told = String::new();
        let mut waiting: Option<Fault> = None;
        loop {
            tokio::select! {
                r = &mut result => return r.map_err(|e| Failure::new(format!("provisioning ended: {e}"))),
                () = tokio::time::sleep(Duration::from_millis(300)) => {}
            }
            let Ok(Some(s)) = tokio::time::timeout(Duration::from_secs(5), self.status()).await else {
                if told.is_empty() {
                    told = "no worker".into();
                    output::note("  waiting for a worker of this environment (leadline worker)");
                }
                continue;
            };
            if s.step != told && s.step != "done" {
                output::note(&format!("  {}", s.step));
                for c in &s.changes {
                    if s.step.starts_with("executing") {
                        output::note(&format!("    {c}"));
                    }
                }
                told.clone_from(&s.step);
            }
            if s.paused != waiting {
                if let Some(f) = s.paused.clone() {
                    if paused(f.clone()).await? {
                        self.resume().await?;
                    } else {
                        output::note(&format!("  waits: {f}; see docs/faults/{}.md", f.code));
                    }
                }
                waiting = s.paused;
            }
        }
    }
}

/// Nothing that this command can mend.
pub(crate) async fn cannot_mend(f: Fault) -> Result<bool, Failure> {
    match f.code {
        FaultCode::StackFailed | FaultCode::StackTerminal => {
            output::note("  it waits; once mended it goes on within a minute, or at once by `leadline org resume ORG`");
            Err(f.into())
        }
        _ => Ok(false),
    }
}

pub(crate) fn done(status: &ApplyStatus, format: Format) -> Done {
    match format {
        Format::Json => output::json(status),
        Format::Text => {
            for (k, v) in &status.outputs {
                output::line(&format!("{k} = {v}"));
            }
            for p in &status.probes {
                output::line(&format!("probe: {p}"));
            }
            for w in &status.watches {
                output::line(&format!("watching: {w}"));
            }
        }
    }
    Ok(Code::Ok)
}
