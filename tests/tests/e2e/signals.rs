//! Signals that come with the end of a step. The server may put one before it, after it, or into the workflow task after
//! it, and a replay may tell in one go what was told in two. So a workflow has to do the same whichever it is. Here each
//! signal is put into the recorded histories at every end of a step, in each of these orders, and what the workflow has
//! done once both are told is compared, as is where it turns from what is recorded.

mod told;

use leadline_tests::harness::tools::root;
use leadline_tests::histories;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use temporalio_client::WorkflowHistory;
use temporalio_common::data_converters::DataConverter;
use temporalio_sdk::workflow_interceptors::{
    CancellableWorkflowOutboundFuture, ExecuteWorkflowInput, ExecuteWorkflowResult, ScheduleActivityInput,
    ScheduleActivityResult, ScheduleLocalActivityInput, StartTimerInput, WorkflowInterceptor,
    WorkflowInterceptorConstructor, WorkflowInterceptorContext, WorkflowInterceptorFuture, WorkflowNext,
};
use temporalio_sdk::workflow_replayer::WorkflowReplayer;
use temporalio_workflow::TimerResult;
use told::{Place, Recorded, Signal, Told, When};

/// What the workflow of a replay has done, in order.
#[derive(Clone, Default)]
struct Deeds(Arc<Mutex<Vec<Deed>>>);

/// The event that began the workflow task, and what was done in it.
type Deed = (u32, String);

impl Deeds {
    fn add(&self, ctx: &WorkflowInterceptorContext, what: String) {
        self.0.lock().expect("deeds").push((ctx.history_length(), what));
    }

    fn take(&self) -> Vec<Deed> {
        std::mem::take(&mut *self.0.lock().expect("deeds"))
    }
}

type Begun<O> = CancellableWorkflowOutboundFuture<O>;

impl WorkflowInterceptor for Deeds {
    fn execute<'a>(
        &'a self,
        ctx: WorkflowInterceptorContext,
        input: ExecuteWorkflowInput,
        next: WorkflowNext<'a, ExecuteWorkflowInput, WorkflowInterceptorFuture<'a, ExecuteWorkflowResult>>,
    ) -> WorkflowInterceptorFuture<'a, ExecuteWorkflowResult> {
        WorkflowInterceptorFuture::new(async move {
            let ended = next.run(input).await;
            self.add(&ctx, if ended.is_ok() { "completed".into() } else { "not completed".into() });
            ended
        })
    }

    fn start_timer(
        &self,
        ctx: WorkflowInterceptorContext,
        input: StartTimerInput,
        next: WorkflowNext<'static, StartTimerInput, Begun<TimerResult>>,
    ) -> Begun<TimerResult> {
        self.add(&ctx, format!("timer {:?}", input.options().duration));
        next.run(input)
    }

    fn schedule_activity(
        &self,
        ctx: WorkflowInterceptorContext,
        input: ScheduleActivityInput,
        next: WorkflowNext<'static, ScheduleActivityInput, Begun<ScheduleActivityResult>>,
    ) -> Begun<ScheduleActivityResult> {
        self.add(&ctx, format!("activity {}", input.activity_type()));
        next.run(input)
    }

    fn schedule_local_activity(
        &self,
        ctx: WorkflowInterceptorContext,
        input: ScheduleLocalActivityInput,
        next: WorkflowNext<'static, ScheduleLocalActivityInput, Begun<ScheduleActivityResult>>,
    ) -> Begun<ScheduleActivityResult> {
        self.add(&ctx, format!("local activity {}", input.activity_type()));
        next.run(input)
    }
}

/// How a history with a signal in it was replayed.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// All that was done when both the signal and the step's end were told.
    done: Vec<String>,
    replays: bool,
    /// What was done first that the recorded history has not, and after how much that it has; absent if there is nothing.
    turns: Option<(usize, String)>,
}

struct Replays {
    replayer: WorkflowReplayer,
    deeds: Deeds,
}

impl Replays {
    fn new() -> Self {
        let deeds = Deeds::default();
        let plain = leadline_activities::worker::replayer(DataConverter::default()).expect("a replayer");
        let mut options = plain.options().clone();
        let each = deeds.clone();
        options.workflow_interceptor(WorkflowInterceptorConstructor::new(move |_| each.clone()));
        Self { replayer: WorkflowReplayer::new(options).expect("a replayer"), deeds }
    }

    /// Whether a history replays, and what was done.
    async fn run(&self, history: &Told) -> (bool, Vec<Deed>) {
        self.deeds.take();
        let history = WorkflowHistory::from_json(&history.json).expect("a history");
        let replays = self.replayer.replay_workflow(history).await.is_ok();
        (replays, self.deeds.take())
    }

    async fn see(&self, recorded: &[Deed], history: &Told) -> Seen {
        let (replays, deeds) = self.run(history).await;
        let same = recorded.iter().zip(&deeds).take_while(|(a, b)| a.1 == b.1).count();
        let done = deeds.iter().filter(|d| d.0 <= history.until).map(|d| d.1.clone()).collect();
        Seen { done, replays, turns: deeds.get(same).map(|d| (same, d.1.clone())) }
    }
}

/// The texts of the sources in a folder.
fn texts(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("sources").flatten().map(|e| e.path());
    entries
        .flat_map(|p| if p.is_dir() { texts(&p) } else { vec![std::fs::read_to_string(p).expect("a source")] })
        .collect()
}

/// The signals that each type of workflow takes, as the sources have them.
fn signals() -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for text in texts(&root().join("workflows/src")) {
        let (mut of, mut signal) = (String::new(), false);
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("impl ").and_then(|l| l.strip_suffix(" {")) {
                name.clone_into(&mut of);
            }
            if let Some(rest) = line.strip_prefix("pub fn ").filter(|_| std::mem::take(&mut signal)) {
                let name = rest.split('(').next().expect("a name");
                found.entry(of.clone()).or_default().insert(name.to_owned());
            }
            signal |= line.starts_with("#[signal");
        }
        // Several that a macro writes: each is named once as a type and once as what Temporal calls it.
        let Some(each) = found.remove("$name") else { continue };
        for line in text.lines().map(str::trim) {
            if let Some((name, _)) = line.split_once(", \"").filter(|(n, r)| r.starts_with(&format!("{n}\","))) {
                found.insert(name.to_owned(), each.clone());
            }
        }
    }
    found
}

/// What takes signals and does nothing in steps: it waits for them, or for a watch that lasts as long as it does.
const NO_STEPS: [&str; 2] = ["FollowedSubscription", "ShareWatch"];

#[tokio::test]
async fn whenever_a_signal_comes_with_the_end_of_a_step() {
    let signals = signals();
    let replays = Replays::new();
    let nobody = Signal { name: "nobody_listens".into(), input: json!({}) };
    let (mut wrong, mut tried) = (Vec::new(), BTreeSet::<(String, String)>::new());
    for (name, json) in histories::recorded() {
        let history = Recorded::new(&name, &json);
        let Some(names) = signals.get(&history.workflow) else { continue };
        let (mut recorded, places) = (None, history.places());
        for place in &places {
            // What no server could have written does not replay even if nobody listens.
            let mut whens: Vec<When> = Vec::new();
            for when in &place.whens {
                let (ok, deeds) = replays.run(&history.with(place, *when, &nobody)).await;
                if ok {
                    whens.push(*when);
                    recorded.get_or_insert(deeds);
                } else {
                    assert!(
                        matches!(when, When::UnderLocal { .. } | When::WithLocal { .. }),
                        "{}: {when:?}",
                        place.what
                    );
                }
            }
            let Some(recorded) = &recorded else { continue };
            for name in names {
                let Some(signal) = signal(&history, name) else { continue };
                let mut seen: Vec<(When, Seen)> = Vec::new();
                for when in &whens {
                    seen.push((*when, replays.see(recorded, &history.with(place, *when, &signal)).await));
                    tried.insert((history.workflow.clone(), name.clone()));
                }
                if !alike(&seen, signal.brings()) {
                    wrong.push(told(place, name, &seen));
                }
            }
        }
    }
    for (workflow, _) in signals.iter().filter(|(w, _)| !NO_STEPS.contains(&w.as_str())) {
        assert!(tried.iter().any(|(w, _)| w == workflow), "no recorded history of {workflow} has the end of a step");
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Whether the workflow did the same whenever the signal came. One that brings something is acted on in the order in which
/// it comes, so that only what a replay may tell in one go is compared: it and the end of the same step.
fn alike(seen: &[(When, Seen)], brings: bool) -> bool {
    let local = |w: &When| match w {
        When::UnderLocal { marker } | When::WithLocal { marker } => Some(*marker),
        _ => None,
    };
    let comparable = |a: &When, b: &When| !brings || local(a) == local(b) && *a != When::Next && *b != When::Next;
    seen.iter().all(|(a, x)| seen.iter().all(|(b, y)| !comparable(a, b) || x == y))
}

fn told(place: &Place, name: &str, seen: &[(When, Seen)]) -> String {
    let each: Vec<String> = seen
        .iter()
        .map(|(when, s)| {
            let last = s.done.last().map_or("nothing", String::as_str);
            format!(
                "    {when:?}: {} done, the last {last}; replays: {}, turns: {:?}",
                s.done.len(),
                s.replays,
                s.turns
            )
        })
        .collect();
    format!("{} {name}\n{}", place.what, each.join("\n"))
}

/// A signal with what was sent with it once.
fn signal(history: &Recorded, name: &str) -> Option<Signal> {
    let bare = |n: &&str| !["join", "advance"].contains(n);
    let input: Value = history.sent(name).or_else(|| Some(name).filter(bare).map(|_| json!({})))?;
    Some(Signal { name: name.to_owned(), input })
}
