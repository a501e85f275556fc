//! What `env apply` and `org onboard` share: from a plan to a workflow, followed until it ends.

use crate::Global;
use crate::connect::Site;
use crate::exit::{Code, Done, Failure};
use crate::output::{self, Format};
use leadline_activities::deps::Deps;
use leadline_activities::provision::stack_plan;
use leadline_domain::gates::{Approver, GateState, SignedEvidence};
use leadline_domain::{EnvId, Fault, FaultCode, OrgId};
use leadline_provisioning::{CurrentStack, Plan, Refusal};
use leadline_workflows::contracts::{ApplyInput, Operator};
use leadline_workflows::offboard::OffboardStatus;
use leadline_workflows::onboard::{ApplyStatus, WAITING};
use leadline_workflows::{OnboardOrganization, UpdateEnvironment, UpdateOrganization, ids};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use temporalio_client::errors::{
    WorkflowGetResultError, WorkflowInteractionError, WorkflowStartError, WorkflowUpdateError,
};
use temporalio_client::{
    Client, WorkflowDescribeOptions, WorkflowExecuteUpdateOptions, WorkflowExecutionStatus, WorkflowGetResultOptions,
    WorkflowHandle, WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowQueryOptions, WorkflowSignalOptions,
    WorkflowStartOptions,
};

/// A fault that stands so long after it was mended was not mended.
const MENDED: Duration = Duration::from_secs(10);
/// How long a worker has to answer.
const ANSWER: Duration = Duration::from_secs(60);

/// The stack as it is.
pub(crate) async fn current(deps: &Deps, stack: &str) -> Result<Option<CurrentStack>, Failure> {
    let Some(state) = deps.stacks.describe(stack).await? else { return Ok(None) };
    let Some(text) = deps.stacks.template(stack).await? else { return Ok(None) };
    let template = serde_json::from_str(&text)
        .map_err(|_| Fault::new(FaultCode::StackNameTaken, format!("the template of stack {stack} is not JSON")))?;
    Ok(Some(CurrentStack { template, tags: state.tags, status: state.status }))
}

pub(crate) fn refused(r: &Refusal) -> Failure {
    Failure::command(format!("there is no plan: {r}"))
}

/// The plan with everything put back that was changed outside leadline, as whoever runs this command sees it now.
///
/// What is gone is made again; if it held data, only if `allow` names it.
pub(crate) async fn repairing(deps: &Deps, org: Option<&OrgId>, plan: Plan, allow: &[String]) -> Result<Plan, Failure> {
    let report = leadline_activities::drift::find(deps, org).await?;
    let lost: Vec<String> = report
        .gone()
        .filter(|d| plan.holds_data(&d.resource) && !allow.contains(&d.resource))
        .map(|d| format!("\n  {}, with what it held\n    --allow {}", d.place(), d.resource))
        .collect();
    if !lost.is_empty() {
        let detail =
            format!("what is gone cannot be put back, only made again, empty; name each to allow it:{}", lost.concat());
        return Err(Fault::new(FaultCode::DriftDataLost, detail).into());
    }
    let gone: Vec<String> = report.gone().map(|d| d.resource.clone()).collect();
    Ok(plan.repairing(report.repairable()).remaking(gone))
}

/// Who asks for a plan. Only where gates stand does it have to be known.
pub(crate) fn requester(g: &Global, site: &Site) -> Result<String, Failure> {
    match g.operator() {
        Err(_) if !site.config().promotion().to.contains_key(&site.environment().id) => Ok(String::new()),
        r => r,
    }
}

/// A provisioning workflow that was started.
pub(crate) enum Applying {
    Environment(WorkflowHandle<Client, UpdateEnvironment>),
    /// An onboarding or an update, which answer to the same names.
    Organization(WorkflowHandle<Client, OnboardOrganization>),
}

impl Applying {
    /// Starts the workflow of a plan; one at a time for an environment or organization. One that applies the same plan
    /// already is told to go on, and followed.
    pub(crate) async fn start(
        site: &Site,
        client: &Client,
        plan: &Plan,
        requested_by: String,
        inputs: String,
        evidence: Option<SignedEvidence>,
    ) -> Result<Self, Failure> {
        let queue = site.environment().scope().main_queue();
        let (evidence, signature) = evidence.map(|e| (e.evidence, e.signature)).unzip();
        let input = ApplyInput { plan: stack_plan(plan), requested_by, inputs, evidence, signature };
        let applying = Self::of(client, plan.env(), plan.org());
        let id = applying.id();
        let options = WorkflowStartOptions::new(&queue, &id)
            .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicate)
            .id_conflict_policy(WorkflowIdConflictPolicy::Fail)
            .build();
        let started = match plan.org() {
            Some(_) if plan.is_new() => client.start_workflow(OnboardOrganization::run, input, options).await.map(drop),
            Some(_) => client.start_workflow(UpdateOrganization::run, input, options).await.map(drop),
            None => client.start_workflow(UpdateEnvironment::run, input, options).await.map(drop),
        };
        match started {
            Ok(()) => Ok(applying),
            Err(WorkflowStartError::AlreadyStarted { .. }) => {
                let Ok(Some(s)) = tokio::time::timeout(ANSWER, applying.status()).await else {
                    let detail = format!("{id} is under way, and no worker answers to say with which plan: start one");
                    return Err(Fault::new(FaultCode::ApplyUnderWay, detail).into());
                };
                if s.plan != plan.digest() {
                    let detail = format!(
                        "{id} is under way with plan {} at the step \"{}\": wait for it, or end it with `leadline {}`",
                        s.plan,
                        s.step,
                        plan.org().map_or(format!("env cancel {}", plan.env()), |o| format!(
                            "org cancel {o} --env {}",
                            plan.env()
                        ))
                    );
                    return Err(Fault::new(FaultCode::ApplyUnderWay, detail).into());
                }
                output::note("  this plan is being applied already; following it");
                applying.resume().await?;
                Ok(applying)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// That of an environment or organization, whether it was started or not.
    pub(crate) fn of(client: &Client, env: &EnvId, org: Option<&OrgId>) -> Self {
        match org {
            Some(org) => Self::Organization(client.get_workflow_handle(ids::onboard(env, org))),
            None => Self::Environment(client.get_workflow_handle(ids::update_environment(env))),
        }
    }

    /// Workflow id.
    pub(crate) fn id(&self) -> String {
        match self {
            Self::Environment(h) => h.info().workflow_id.clone(),
            Self::Organization(h) => h.info().workflow_id.clone(),
        }
    }

    /// Where it stands, or stood when it ended; `None` if it was never started or no worker answers.
    pub(crate) async fn status(&self) -> Option<ApplyStatus> {
        let o = WorkflowQueryOptions::default();
        match self {
            Self::Environment(h) => h.query(UpdateEnvironment::status, (), o).await.ok(),
            Self::Organization(h) => h.query(OnboardOrganization::status, (), o).await.ok(),
        }
    }

    /// How and when it ended, if it did.
    pub(crate) async fn ended(&self) -> Result<Ended, Failure> {
        let o = WorkflowDescribeOptions::default();
        let d = match self {
            Self::Environment(h) => h.describe(o).await,
            Self::Organization(h) => h.describe(o).await,
        };
        let d = match d {
            Ok(d) => d,
            Err(WorkflowInteractionError::NotFound(_)) => return Ok(Ended::Never),
            Err(e) => return Err(e.into()),
        };
        let at_ms = d.close_time().map(millis);
        Ok(match (d.status(), at_ms) {
            (WorkflowExecutionStatus::Running, _) | (_, None) => Ended::Running,
            (WorkflowExecutionStatus::Completed, Some(at_ms)) => Ended::Well { at_ms },
            (_, Some(at_ms)) => Ended::Badly { at_ms },
        })
    }

    /// Agrees to the plan of this digest.
    pub(crate) async fn approve(&self, approver: Approver) -> Result<(), Failure> {
        let o = WorkflowExecuteUpdateOptions::default();
        approved(match self {
            Self::Environment(h) => answered(h.execute_update(UpdateEnvironment::approve, approver, o)).await?,
            Self::Organization(h) => answered(h.execute_update(OnboardOrganization::approve, approver, o)).await?,
        })
    }

    /// Wants no more of it.
    pub(crate) async fn cancel(&self, name: String) -> Done {
        let who = Operator { name };
        let o = WorkflowExecuteUpdateOptions::default();
        let r = match self {
            Self::Environment(h) => answered(h.execute_update(UpdateEnvironment::cancel, who, o)).await?,
            Self::Organization(h) => answered(h.execute_update(OnboardOrganization::cancel, who, o)).await?,
        };
        let refused = |why: String| Failure::from(Fault::new(FaultCode::ApplyNotCancelled, why));
        match r {
            Ok(_) => {}
            Err(WorkflowUpdateError::NotFound(_)) => return Err(refused(format!("{} is not under way", self.id()))),
            // The validator gives a fault as text.
            Err(WorkflowUpdateError::Failed(f)) => {
                return Err(refused(f.message.trim_start_matches("apply.not_cancelled: ").to_owned()));
            }
            Err(e) => return Err(e.into()),
        }
        // It ends before its next step, and says what is left.
        match self.result().await {
            Ok(_) => Err(refused("it came to its end before".into())),
            Err(e) => {
                output::note(&format!("{} ended: {}", self.id(), Failure::from(e)));
                Ok(Code::Ok)
            }
        }
    }

    /// What it came to; waits for its end.
    pub(crate) async fn result(&self) -> Result<ApplyStatus, WorkflowGetResultError> {
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
            Self::Environment(h) => h.signal(UpdateEnvironment::resume, (), o).await,
            Self::Organization(h) => h.signal(OnboardOrganization::resume, (), o).await,
        };
        Ok(r?)
    }

    /// Follows it to its end, telling each step; `paused` may mend what it waits for and says whether it did.
    pub(crate) async fn follow<F: Future<Output = Result<bool, Failure>>>(
        &self,
        deps: &Deps,
        plan: &Plan,
        paused: impl Fn(Fault) -> F,
    ) -> Result<ApplyStatus, Failure> {
        let result = self.result();
        tokio::pin!(result);
        let mut told = String::new();
        let mut events = Events::begin(deps, plan.stack()).await;
        let mut waiting: Option<Fault> = None;
        let mut mended: Option<Instant> = None;
        loop {
            tokio::select! {
                r = &mut result => return Ok(r?),
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
                if s.step == "waiting for approval" {
                    told_gates(plan, &s);
                }
                told.clone_from(&s.step);
            }
            events.tell(deps, plan.stack()).await;
            if s.paused != waiting {
                if let Some(f) = s.paused.clone() {
                    if paused(f.clone()).await? {
                        self.resume().await?;
                        mended = Some(Instant::now());
                    } else {
                        output::note(&format!("  waits: {f}; see docs/faults/{}.md", f.code));
                    }
                }
                waiting = s.paused;
            } else if let (Some(f), Some(at)) = (&waiting, mended)
                && at.elapsed() > MENDED
            {
                // What this command could do was not all of it, e.g. the credentials of another share.
                output::note(&format!("  still waits: {f}; see docs/faults/{}.md", f.code));
                mended = None;
            }
        }
    }
}

/// An update is taken by a worker: without one it would be waited for without end.
pub(crate) async fn answered<T>(update: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::time::timeout(ANSWER, update).await.map_err(|_| {
        let seconds = ANSWER.as_secs();
        let detail = format!("no worker of the environment answered within {seconds} s: start one, then ask for the status and say it again");
        Failure::from(Fault::new(FaultCode::EngineUnreachable, detail))
    })
}

/// How an approval went.
pub(crate) fn approved<T>(r: Result<T, WorkflowUpdateError>) -> Result<(), Failure> {
    let why = match r {
        Ok(_) => return Ok(()),
        Err(WorkflowUpdateError::NotFound(_)) => "nothing waits for an approval here".to_owned(),
        // The validator gives a fault as text.
        Err(WorkflowUpdateError::Failed(f)) => f.message.trim_start_matches("approval.refused: ").to_owned(),
        Err(e) => return Err(e.into()),
    };
    Err(Fault::new(FaultCode::ApprovalRefused, why).into())
}

/// A gate on a line of its own.
pub(crate) fn gate_line(g: &GateState) -> String {
    format!("gate {} {}", if g.open { "open    " } else { "closed  " }, g.why)
}

/// Gates as remarks, while they are waited at.
pub(crate) fn note_gates(gates: &[GateState]) {
    for g in gates {
        output::note(&format!("    {} {}", if g.open { "open  " } else { "closed" }, g.why));
    }
}

fn told_gates(plan: &Plan, s: &ApplyStatus) {
    note_gates(&s.gates);
    let env = plan.env();
    let what = plan.org().map_or_else(|| format!("env approve {env}"), |org| format!("org approve {org} --env {env}"));
    let other = if s.requested_by.is_empty() { String::new() } else { format!(" (not {})", s.requested_by) };
    output::note(&format!("    approve: leadline {what} --digest {} --as NAME{other}", s.plan));
}

/// What CloudFormation does with a stack, told as it happens.
struct Events {
    seen: BTreeSet<String>,
}

impl Events {
    /// Those so far are not told.
    async fn begin(deps: &Deps, stack: &str) -> Self {
        let so_far = deps.stacks.events(stack).await.unwrap_or_default();
        Self { seen: so_far.into_iter().map(|e| e.id).collect() }
    }

    async fn tell(&mut self, deps: &Deps, stack: &str) {
        let mut new = deps.stacks.events(stack).await.unwrap_or_default();
        new.retain(|e| !self.seen.contains(&e.id));
        for e in new {
            let reason = if e.reason.is_empty() { String::new() } else { format!(": {}", e.reason) };
            output::note(&format!("    {:<28} {}{reason}", e.status, e.logical_id));
            self.seen.insert(e.id);
        }
    }
}

/// How an apply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// None was ever started, or it was so long ago that Temporal has forgotten it.
    Never,
    /// It has not.
    Running,
    /// The plan was applied.
    Well { at_ms: i64 },
    /// It failed, was cancelled or terminated.
    Badly { at_ms: i64 },
}

/// Milliseconds since 1970 UTC.
pub(crate) fn millis(t: std::time::SystemTime) -> i64 {
    t.duration_since(std::time::UNIX_EPOCH).ok().and_then(|d| i64::try_from(d.as_millis()).ok()).unwrap_or_default()
}

/// Prints where an apply stands, for `org status` and `env status`.
pub(crate) async fn tell_status(applying: &Applying, offboarding: Option<OffboardStatus>, format: Format) -> Done {
    let ended = applying.ended().await?;
    let status = if ended == Ended::Never { None } else { applying.status().await };
    let state = match ended {
        Ended::Never => "never started",
        Ended::Running => "under way",
        Ended::Well { .. } => "done",
        Ended::Badly { .. } if status.as_ref().is_some_and(|s| s.cancelled_by.is_some()) => "cancelled",
        Ended::Badly { .. } => "failed",
    };
    if format == Format::Json {
        output::json(
            &serde_json::json!({"workflow": applying.id(), "state": state, "status": status, "offboarding": offboarding}),
        );
    } else {
        output::line(&format!("{} {state}", applying.id()));
        if let Some(s) = &status {
            output::line(&format!("plan          {}", s.plan));
            output::line(&format!("requested by  {}", s.requested_by));
            output::line(&format!("step          {}", s.step));
            for g in &s.gates {
                output::line(&gate_line(g));
            }
            for c in &s.changes {
                output::line(&format!("change        {c}"));
            }
            if let Some(who) = &s.cancelled_by {
                output::line(&format!("cancelled by  {who}"));
            }
            if let Some(f) = &s.paused {
                output::line(&format!("waits         {f}; see docs/faults/{}.md", f.code));
            }
        } else if ended != Ended::Never {
            output::line("no worker of this environment answers: start one to see more");
        }
        if let Some(o) = &offboarding {
            output::line(&format!("off-boarding  {}", o.step));
            super::offboard::tell_lines(o);
        }
    }
    let waits = status.is_some_and(|s| s.paused.is_some() || s.step == WAITING);
    let leaves = offboarding.as_ref().is_some_and(super::offboard::waits);
    Ok(match ended {
        Ended::Well { .. } if !leaves => Code::Ok,
        Ended::Running if !waits && !leaves => Code::Ok,
        _ => Code::NotWell,
    })
}

/// Nothing that this command can mend.
pub(crate) async fn cannot_mend(f: Fault) -> Result<bool, Failure> {
    match f.code {
        FaultCode::StackFailed | FaultCode::StackNameTaken | FaultCode::StackTerminal => {
            output::note(
                "  it waits; once mended it goes on within a minute, or at once when this command is given again",
            );
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
            for r in &status.restored {
                output::line(&format!("put back: {r}"));
            }
            for p in &status.probes {
                output::line(&format!("probe: {p}"));
            }
            if let Some(r) = &status.isolation {
                output::line(&format!("isolation: {}", super::checks::summary(r)));
            }
            for w in &status.watches {
                output::line(&format!("watching: {w}"));
            }
        }
    }
    Ok(Code::Ok)
}
