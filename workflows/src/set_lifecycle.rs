//! SetLifecycle: one durable workflow for files that belong together. Each member goes the way of any file, by the same
//! `step` and the same activities, up to its storing; there it waits for the others. What is complete as a whole is
//! stored, claimed by its manifest and enqueued as one delivery.

// The workflow macros make constants that they do not document.
#![allow(missing_docs)]

use crate::contracts::{
    AddUpInput, AddedUp, ClaimInput, EnqueueInput, Ingest, JudgeMember, JudgedMember, Judgement, SetClaim,
};
use crate::options::{fault_of, short, upload};
use crate::recording_lifecycle::{FileReport, carry_out, file_ref, fired, long_history, now_ms, record_so_far, store};
use crate::set_lane::{Lane, Lanes};
use leadline_domain::lifecycle::{Command, Outcome};
use leadline_domain::message::{Delivery, SET};
use leadline_domain::set::{Manifest, Member, MemberRole, SetDecision, SetKind, SetSpec, SetWait, decide};
use leadline_domain::settle::{SettleRule, StructureVerdict};
use leadline_domain::{Fault, FaultCode, OrgId, RecordingId, ShareId};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    ContinueAsNewOptions, SyncWorkflowContext, WorkflowContext, WorkflowContextView, WorkflowResult, join_all, select,
};

/// What a set begins with; its members join by signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetInput {
    /// Whose.
    pub org: OrgId,
    /// Where.
    pub share: ShareId,
    /// What it needs.
    pub spec: SetSpec,
    /// When it is done waiting.
    pub settle: SettleRule,
    /// What to go on from, of a set that goes on with a fresh history; absent for one that begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Box<SetSoFar>>,
}

/// Where a set stands between two histories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetSoFar {
    /// Members under way, each with its state.
    pub members: Vec<Member>,
    /// Those that are over, the latest of each file.
    pub over: Vec<MemberReport>,
    /// When a member last joined, workflow time.
    pub joined_ms: i64,
    /// The recording that the set became last.
    pub recording: Option<RecordingId>,
}

/// One member: how it ended, or where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberReport {
    /// What it is to the set.
    pub role: MemberRole,
    /// What the set's spec calls it.
    pub label: String,
    /// Extension in lower case, without the dot.
    pub extension: String,
    /// The file.
    pub report: FileReport,
}

/// How a set ended, or where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetReport {
    /// Kind of rule.
    pub kind: SetKind,
    /// What it waits for, if it does.
    pub why: Option<SetWait>,
    /// A failure of the set's own steps that is being waited out.
    pub fault: Option<Fault>,
    /// The recording that the set became last.
    pub recording: Option<RecordingId>,
    /// Its members.
    pub members: Vec<MemberReport>,
}

/// The lifecycle of a set.
#[workflow]
pub struct SetLifecycle {
    input: SetInput,
    joins: Vec<Member>,
    /// Somebody asks to try again; it counts from before the step that is under way.
    nudged: bool,
    report: SetReport,
}

#[workflow_methods]
impl SetLifecycle {
    #[init]
    fn new(_ctx: &WorkflowContextView, input: SetInput) -> Self {
        let report = SetReport { kind: input.spec.kind, why: None, fault: None, recording: None, members: Vec::new() };
        Self { input, joins: Vec::new(), nudged: false, report }
    }

    /// Runs until every member has an outcome and no further one has joined.
    #[run(name = "SetLifecycle")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<SetReport> {
        let mut input = ctx.state_mut(|s| SetInput { resume: s.input.resume.take(), ..s.input.clone() });
        let mut set = match input.resume.take() {
            Some(so_far) => Set::resumed(&input, *so_far, now_ms(ctx)),
            None => {
                ctx.wait_condition(|s| !s.joins.is_empty()).await?;
                Set { lanes: Lanes::new(now_ms(ctx)), judged: None, recording: None, failures: 0 }
            }
        };
        set.joined(ctx, &input);
        let mut delivered = set.recording.is_some() && set.lanes.are_decided();
        loop {
            if !std::mem::take(&mut delivered)
                && let Some(complete) = set.gather(ctx, &input).await?
            {
                set.deliver(ctx, &input, complete).await?;
                // Ends the workflow task, which puts the delivery into the history before a copy is moved. Else a task
                // that fails, as one does that would end the workflow while a member joins, began again with the look
                // at files that are not there any more.
                record_so_far(ctx).await;
            }
            set.finish(ctx, &input).await?;
            // What joined meanwhile is another set, together with what is still lying there.
            let now = now_ms(ctx);
            if !set.joined(ctx, &input) {
                return Ok(ctx.state(|s| s.report.clone()));
            }
            set.lanes.reopen(&input, now);
            set.judged = None;
        }
    }

    /// Files that the watch has seen, in the version in which it has seen them.
    #[signal]
    pub fn join(&mut self, _ctx: &mut SyncWorkflowContext<Self>, members: Vec<Member>) {
        self.joins.extend(members);
    }

    /// A human mended what blocked it: try again now.
    #[signal]
    pub fn nudge(&mut self, _ctx: &mut SyncWorkflowContext<Self>) {
        self.nudged = true;
    }

    /// Where it stands.
    #[query]
    pub fn report(&self, _ctx: &WorkflowContextView) -> SetReport {
        self.report.clone()
    }
}

type Context = WorkflowContext<SetLifecycle>;

/// What a complete set makes.
enum Complete {
    /// One object: an ordinary recording, stored and claimed already.
    One,
    /// Several: claimed by their manifest.
    Several,
}

/// What the members of a set say of each other.
struct Judged {
    verdict: StructureVerdict,
    evidence: Vec<String>,
    base: Option<String>,
    trace: Option<String>,
}

struct Set {
    lanes: Lanes,
    judged: Option<Judged>,
    recording: Option<RecordingId>,
    /// How often in a row the members could not be judged.
    failures: u32,
}

impl Set {
    fn resumed(input: &SetInput, so_far: SetSoFar, now: i64) -> Self {
        let recording = so_far.recording.clone();
        Self { lanes: Lanes::resumed(input, so_far, now), judged: None, recording, failures: 0 }
    }

    /// Takes what has joined; `true`: something has that is not a mere repeat.
    fn joined(&mut self, ctx: &Context, input: &SetInput) -> bool {
        let now = now_ms(ctx);
        let joins = ctx.state_mut(|s| std::mem::take(&mut s.joins));
        let mut any = false;
        for member in joins {
            any |= self.lanes.join(input, member, now);
        }
        if any {
            self.judged = None;
        }
        any
    }

    /// Until the set is complete and stored, or has no member left that could make it so.
    async fn gather(&mut self, ctx: &Context, input: &SetInput) -> WorkflowResult<Option<Complete>> {
        let mut last_look = false;
        loop {
            self.joined(ctx, input);
            self.afresh(ctx, input)?;
            self.lanes.wake(now_ms(ctx), false);
            self.advance(ctx, |c| !matches!(c, Command::Store { .. } | Command::Enqueue(_))).await;
            self.lanes.sweep();
            if ctx.state(|s| !s.joins.is_empty()) {
                continue;
            }
            if self.lanes.lanes.is_empty() {
                return Ok(None);
            }
            let now = now_ms(ctx);
            let seen = self.lanes.seen(now, self.judged.as_ref().map(|j| j.verdict));
            let ms = match decide(&input.spec, &input.settle, &seen) {
                // What was held for long may have changed or gone meanwhile.
                SetDecision::GiveUp if !last_look => {
                    last_look = true;
                    self.lanes.look_again();
                    continue;
                }
                SetDecision::GiveUp => {
                    if let Some(judged) = self.judged.take() {
                        self.lanes.testify(&judged.evidence);
                    }
                    self.lanes.give_up(FaultCode::SetIncomplete, now);
                    return Ok(None);
                }
                SetDecision::Complete if self.judged.is_none() && input.spec.kind == SetKind::Wfdb => {
                    match self.judge(ctx).await {
                        Ok(()) => {
                            self.failures = 0;
                            continue;
                        }
                        Err(fault) => {
                            self.failures = self.failures.saturating_add(1);
                            let ms = fault.wait_ms(self.failures);
                            self.publish(ctx, None, Some(fault));
                            Some(ms)
                        }
                    }
                }
                SetDecision::Complete => {
                    if let Some(complete) = self.store(ctx).await {
                        return Ok(Some(complete));
                    }
                    continue;
                }
                SetDecision::Wait { ms, why } => {
                    last_look = false;
                    self.publish(ctx, Some(why), None);
                    ms
                }
            };
            let wait = [ms, self.lanes.next_wake(now)].into_iter().flatten().min();
            let (now, nudged) = pause(ctx, wait, true).await?;
            self.lanes.wake(now, nudged);
        }
    }

    /// Goes on with a fresh history where this one is long, unless somebody is between an outcome and the recording of it.
    fn afresh(&mut self, ctx: &Context, input: &SetInput) -> WorkflowResult<()> {
        if self.lanes.rest() && long_history(ctx) {
            // What has joined meanwhile must not be left behind.
            self.joined(ctx, input);
            let resume = Some(Box::new(self.lanes.so_far(self.recording.clone())));
            let next = SetInput { resume, ..input.clone() };
            match ctx.continue_as_new(next, ContinueAsNewOptions::default())? {}
        }
        Ok(())
    }

    /// Drives each member for as long as its next command is one of `these` and no wait.
    async fn advance(&mut self, ctx: &Context, these: fn(&Command) -> bool) {
        join_all(self.lanes.lanes.iter_mut().map(|lane| async move {
            while these(&lane.next) && !matches!(lane.next, Command::Wait { .. } | Command::Finish) {
                let event = carry_out(ctx, &lane.member.intake, &lane.lifecycle, lane.next.clone()).await;
                lane.take(event, now_ms(ctx));
            }
        }))
        .await;
    }

    /// Asks the headers of a record what they say of the other files, and adds up the samples of large ones for that.
    async fn judge(&mut self, ctx: &Context) -> Result<(), Fault> {
        let mut added = false;
        loop {
            let member = |l: &mut Lane| JudgeMember {
                role: l.member.role,
                file: file_ref(&l.member.intake, &l.lifecycle),
                digest: l.lifecycle.digest,
                summed: l.summed().map(|(summed, _)| summed.clone()),
            };
            let members: Vec<JudgeMember> = self.lanes.contents().map(member).collect();
            match ctx.execute_local_activity(Ingest::judge_set, members, short()).await {
                Ok(Judgement::Judged { members, .. }) if !added && members.iter().any(|m| m.to_add.is_some()) => {
                    added = true;
                    if self.add_up(ctx, members).await? {
                        continue;
                    }
                    self.lanes.look_again();
                }
                Ok(Judgement::Judged { verdict, evidence, base, members, trace }) => {
                    self.lanes.place(members);
                    self.judged = Some(Judged { verdict, evidence, base, trace });
                }
                Ok(Judgement::Changed) => self.lanes.look_again(),
                Err(e) => return Err(fault_of(&e)),
            }
            return Ok(());
        }
    }

    /// Adds up what is to be, one file after the other. `false`: one of them is not any more what it was.
    async fn add_up(&mut self, ctx: &Context, members: Vec<JudgedMember>) -> Result<bool, Fault> {
        for (lane, judged) in self.lanes.contents().zip(members) {
            let Some(layout) = judged.to_add else { continue };
            let input = AddUpInput { file: file_ref(&lane.member.intake, &lane.lifecycle), layout };
            match ctx.execute_activity(Ingest::add_up, input, upload()).await {
                Ok(AddedUp::Sums { summed, digest }) => lane.added_up(summed, digest),
                Ok(AddedUp::Changed) => return Ok(false),
                Err(e) => return Err(fault_of(&e)),
            }
        }
        Ok(true)
    }

    /// Stores every member, each if it still is what it was. `None`: one was not.
    async fn store(&mut self, ctx: &Context) -> Option<Complete> {
        let tried = self.lanes.contents().count();
        let one = tried == 1;
        join_all(self.lanes.contents().map(|lane| async move {
            if let Command::Store { large } = lane.next {
                lane.expect_what_was_judged();
                let how = Some(lane.shelved(one));
                let event = store(ctx, &lane.member.intake, &lane.lifecycle, large, how).await;
                lane.take(event, now_ms(ctx));
            }
        }))
        .await;
        if one {
            // Claimed, or linked: from here on it is an ordinary recording.
            let decided = self.lanes.lanes.iter().any(|l| matches!(l.next, Command::Enqueue(_) | Command::Archive));
            if !decided {
                self.judged = None;
            }
            return decided.then_some(Complete::One);
        }
        if self.lanes.all_stored(tried) {
            return Some(Complete::Several);
        }
        self.judged = None;
        None
    }

    /// Nothing can stop it any more: each step is repeated until it is done.
    async fn deliver(&mut self, ctx: &Context, input: &SetInput, complete: Complete) -> WorkflowResult<()> {
        if let Some(judged) = &self.judged {
            self.lanes.testify(&judged.evidence);
        }
        match complete {
            Complete::One => self.one(ctx).await,
            Complete::Several => self.several(ctx, input).await,
        }
    }

    async fn one(&mut self, ctx: &Context) -> WorkflowResult<()> {
        let recording = loop {
            self.advance(ctx, |c| matches!(c, Command::Enqueue(_))).await;
            let outcome = self.lanes.lanes.iter().filter(|l| !l.is_marker()).find_map(|l| l.lifecycle.outcome.clone());
            match outcome {
                Some(Outcome::Delivered { recording, .. }) => break (recording, true),
                Some(Outcome::Duplicate { of }) => break (of, false),
                _ => {
                    let wait = self.lanes.next_wake(now_ms(ctx));
                    self.publish(ctx, None, self.lanes.fault());
                    let (now, nudged) = pause(ctx, wait, false).await?;
                    self.lanes.wake(now, nudged);
                }
            }
        };
        self.released(ctx, &recording.0, recording.1);
        Ok(())
    }

    async fn several(&mut self, ctx: &Context, input: &SetInput) -> WorkflowResult<()> {
        // The claim follows from the versions of the members. Were it made before the history has them, a worker that dies
        // after it would leave the next one to look again, find a member touched meanwhile, and take the claim for that of
        // another set. One that had come to this point before keeps its way.
        if ctx.patched("set-claim") {
            record_so_far(ctx).await;
        }
        let (objects, claim) = self.lanes.objects();
        let (base, trace) = self.judged.as_ref().map_or((None, None), |j| (j.base.clone(), j.trace.clone()));
        let manifest = Manifest::new(input.spec.kind, base, &objects);
        let claimed_at_ms = now_ms(ctx);
        let delivery = Delivery {
            digest: manifest.digest(),
            size: manifest.to_json().len() as u64,
            format: SET.into(),
            identity: objects.iter().find(|o| o.role == MemberRole::Primary).and_then(|o| o.identity.clone()),
            objects,
            claimed_at_ms,
        };
        let recording = RecordingId::new(&input.org, &delivery.digest);
        let mut marks = self.lanes.primary().and_then(|l| l.structure.as_ref()).map(|s| (*s.marks).clone());
        if let Some(marks) = &mut marks
            && trace.is_some()
        {
            marks.trace = trace;
        }
        let claim = ClaimInput { org: input.org.clone(), manifest, claim, marks };
        let mut attempts = 0;
        let claimed = loop {
            match ctx.execute_local_activity(Ingest::claim_set, claim.clone(), short()).await {
                Ok(c) => break c,
                Err(e) => self.failed(ctx, fault_of(&e), &mut attempts).await?,
            }
        };
        let ours = claimed != SetClaim::Duplicate;
        if let SetClaim::Linked { related } = claimed
            && let Some(primary) = self.lanes.primary()
        {
            primary.related = related;
        }
        if ours {
            self.send(ctx, EnqueueInput { org: input.org.clone(), deliveries: vec![delivery] }).await?;
        }
        self.released(ctx, &recording, ours);
        Ok(())
    }

    async fn send(&mut self, ctx: &Context, message: EnqueueInput) -> WorkflowResult<()> {
        let mut attempts = 0;
        loop {
            let sent = ctx.execute_local_activity(Ingest::enqueue, message.clone(), short()).await;
            match sent.map(|mut each| each.pop().flatten()) {
                Ok(None) => return Ok(()),
                Ok(Some(fault)) => self.failed(ctx, fault, &mut attempts).await?,
                Err(e) => self.failed(ctx, fault_of(&e), &mut attempts).await?,
            }
        }
    }

    /// Members without an outcome have that of the set; the clinic's copies may go.
    fn released(&mut self, ctx: &Context, recording: &RecordingId, delivered: bool) {
        let now = now_ms(ctx);
        self.recording = Some(recording.clone());
        self.lanes.release(|l| if delivered { l.delivered_in(recording, now) } else { l.duplicate_in(recording) }, now);
    }

    /// Waits after a failed step of the set's own.
    async fn failed(&mut self, ctx: &Context, fault: Fault, attempts: &mut u32) -> WorkflowResult<()> {
        *attempts = attempts.saturating_add(1);
        let ms = fault.wait_ms(*attempts);
        self.publish(ctx, None, Some(fault));
        pause(ctx, Some(ms), false).await.map(drop)
    }

    /// Until every member is archived, as far as it is to be, and on record.
    async fn finish(&mut self, ctx: &Context, input: &SetInput) -> WorkflowResult<()> {
        loop {
            self.advance(ctx, |_| true).await;
            self.lanes.sweep();
            self.publish(ctx, None, self.lanes.fault());
            if self.lanes.lanes.is_empty() {
                return Ok(());
            }
            self.afresh(ctx, input)?;
            let (now, nudged) = pause(ctx, self.lanes.next_wake(now_ms(ctx)), false).await?;
            self.lanes.wake(now, nudged);
        }
    }

    fn publish(&self, ctx: &Context, why: Option<SetWait>, fault: Option<Fault>) {
        let details = match (&fault, why) {
            (Some(f), _) => f.to_string(),
            (None, Some(w)) => w.sentence().to_owned(),
            (None, None) => String::new(),
        };
        ctx.set_current_details(details);
        let (members, recording) = (self.lanes.reports(), self.recording.clone());
        ctx.state_mut(|s| {
            s.report.members = members;
            s.report.why = why;
            s.report.fault = fault;
            s.report.recording = recording;
        });
    }
}

/// Waits for a time, a nudge or, if `joins`, for members to join. Gives the time, and whether it was a nudge. A timer that
/// has run out counts as all of the wait: it may have been started by a release that waits for less.
async fn pause(ctx: &Context, ms: Option<u64>, joins: bool) -> WorkflowResult<(i64, bool)> {
    let mut until = i64::MIN;
    let due = now_ms(ctx).saturating_add_unsigned(ms.unwrap_or(0));
    let woken = move |s: &SetLifecycle| s.nudged || joins && !s.joins.is_empty();
    match ms {
        Some(ms) => select! {
            t = ctx.timer(Duration::from_millis(ms)) => {
                fired(&t)?;
                until = due;
            }
            r = ctx.wait_condition(woken) => r?,
        },
        None => ctx.wait_condition(woken).await?,
    }
    Ok((now_ms(ctx).max(until), ctx.state_mut(|s| std::mem::take(&mut s.nudged))))
}
