//! Histories made from recorded ones: a signal put in where a server may put it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Numbers of the kinds of events, as `temporal.api.enums.v1.EventType` has them.
mod kind {
    pub const COMPLETED: i64 = 2;
    pub const FAILED: i64 = 3;
    pub const TASK_SCHEDULED: i64 = 5;
    pub const TASK_STARTED: i64 = 6;
    pub const TASK_COMPLETED: i64 = 7;
    pub const ACTIVITY_SCHEDULED: i64 = 10;
    pub const ACTIVITY_ENDS: [i64; 4] = [12, 13, 14, 16];
    pub const TIMER_FIRED: i64 = 18;
    pub const MARKER: i64 = 25;
    pub const SIGNAL: i64 = 26;
    pub const CONTINUED: i64 = 28;
}

/// Events that a history did not have are numbered from here until all are numbered anew.
const NEW: i64 = 1_000_000;
/// The number of the beginning of a workflow task that was put in.
const STARTED: i64 = NEW + 2;

/// A signal.
#[derive(Clone, Debug)]
pub struct Signal {
    pub name: String,
    pub input: Value,
}

impl Signal {
    /// Whether something is sent with it.
    pub fn brings(&self) -> bool {
        self.input["payloads"].as_array().is_some_and(|p| !p.is_empty())
    }
}

/// When a signal is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In a workflow task of its own while the step is under way.
    Under,
    /// In the workflow task that tells the step's end, as the event before it.
    Before,
    /// In the same, as the event after it.
    After,
    /// In the next workflow task.
    Next,
    /// While a local activity is under way whose end is told after the signal, in the same workflow task.
    UnderLocal { marker: usize },
    /// Together with the end of a local activity.
    WithLocal { marker: usize },
}

/// A history with a signal in it.
pub struct Told {
    pub json: Vec<u8>,
    /// The event that begins the workflow task in which the last of the two is told, the signal or the step's end.
    pub until: u32,
}

/// The end of a step, and when a signal may come with it: whichever of these it is must come to the same.
#[derive(Debug)]
pub struct Place {
    pub what: String,
    pub whens: Vec<When>,
    end: usize,
}

/// A recorded history.
pub struct Recorded {
    pub name: String,
    pub workflow: String,
    events: Vec<Value>,
}

fn attributes(e: &Value) -> &Value {
    e["attributes"].as_object().and_then(|a| a.values().next()).expect("attributes")
}

fn attributes_mut(e: &mut Value) -> &mut Value {
    e["attributes"].as_object_mut().and_then(|a| a.values_mut().next()).expect("attributes")
}

fn number(v: &Value) -> i64 {
    v.as_i64().unwrap_or(0)
}

impl Recorded {
    pub fn new(name: &str, json: &[u8]) -> Self {
        let v: Value = serde_json::from_slice(json).expect("JSON");
        let events = v["events"].as_array().expect("events").clone();
        let workflow = attributes(&events[0])["workflow_type"]["name"].as_str().expect("a type").to_owned();
        Self { name: name.to_owned(), workflow, events }
    }

    fn kind(&self, at: usize) -> i64 {
        self.events.get(at).map_or(0, |e| number(&e["event_type"]))
    }

    fn index(&self, id: i64) -> usize {
        usize::try_from(id - 1).expect("an id")
    }

    /// A signal as it was sent once, with what was sent.
    pub fn sent(&self, name: &str) -> Option<Value> {
        let found = self.events.iter().find(|e| attributes(e)["signal_name"] == name)?;
        Some(attributes(found)["input"].clone())
    }

    /// Where the commands of the workflow task that completed at `done` end.
    fn commands_end(&self, done: usize) -> usize {
        let of = self.events[done]["event_id"].clone();
        let mut end = done + 1;
        while end < self.events.len() && attributes(&self.events[end])["workflow_task_completed_event_id"] == of {
            end += 1;
        }
        end
    }

    fn next_done(&self, from: usize) -> Option<usize> {
        (from..self.events.len()).find(|i| self.kind(*i) == kind::TASK_COMPLETED)
    }

    /// Whether a workflow task is neither asked for nor under way just before `at`.
    fn idle(&self, at: usize) -> bool {
        let tasks = [kind::TASK_SCHEDULED, kind::TASK_STARTED, kind::TASK_COMPLETED];
        let last = (0..at).rev().map(|i| self.kind(i)).find(|k| tasks.contains(k));
        last == Some(kind::TASK_COMPLETED)
    }

    /// Whether the workflow does nothing but wait after the task that completed at `done`.
    fn waits(&self, done: usize) -> bool {
        let end = self.commands_end(done);
        let ends = [kind::COMPLETED, kind::FAILED, kind::CONTINUED];
        let scheduled = (0..end).filter(|i| self.kind(*i) == kind::ACTIVITY_SCHEDULED).count();
        let ended = (0..end).filter(|i| kind::ACTIVITY_ENDS.contains(&self.kind(*i))).count();
        scheduled == ended && !(done..end).any(|i| ends.contains(&self.kind(i)))
    }

    fn is_local(&self, at: usize) -> bool {
        self.kind(at) == kind::MARKER && attributes(&self.events[at])["marker_name"] == "core_local_activity"
    }

    /// Every end of a step.
    pub fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for end in 0..self.events.len() {
            let k = self.kind(end);
            let what = format!("{} {}", self.name, self.events[end]["event_id"]);
            if kind::ACTIVITY_ENDS.contains(&k) {
                let mut whens = vec![When::Before, When::After];
                if self.idle(self.index(number(&attributes(&self.events[end])["started_event_id"]))) {
                    whens.push(When::Under);
                }
                if self.next_done(end).is_some_and(|d| self.waits(d)) {
                    whens.push(When::Next);
                }
                places.push(Place { what, whens, end });
            } else if k == kind::TIMER_FIRED {
                places.push(Place { what, whens: vec![When::Before, When::After], end });
            } else if k == kind::TASK_COMPLETED {
                let markers = (end..self.commands_end(end)).filter(|i| self.is_local(*i));
                let mut whens: Vec<When> =
                    markers.flat_map(|marker| [When::UnderLocal { marker }, When::WithLocal { marker }]).collect();
                if !whens.is_empty() {
                    if self.waits(end) {
                        whens.push(When::Next);
                    }
                    places.push(Place { what, whens, end });
                }
            }
        }
        places
    }

    /// The history with a signal in it.
    pub fn with(&self, place: &Place, when: When, signal: &Signal) -> Told {
        let mut events = self.events.clone();
        let end = place.end;
        let task = (end..events.len()).find(|i| self.kind(*i) == kind::TASK_STARTED);
        let mut until = task.map_or(0, |i| number(&self.events[i]["event_id"]));
        match when {
            When::Before => self.insert(&mut events, end, signal, false),
            When::After => self.insert(&mut events, end + 1, signal, false),
            When::Under => {
                let started = self.index(number(&attributes(&self.events[end])["started_event_id"]));
                self.insert(&mut events, started, signal, true);
            }
            When::Next => {
                let done = self.next_done(end).expect("a task");
                self.insert(&mut events, self.commands_end(done), signal, true);
                until = STARTED;
            }
            When::UnderLocal { marker } | When::WithLocal { marker } => {
                let first = i64::from(matches!(when, When::UnderLocal { .. }));
                self.split(&mut events, end, marker, first, signal);
                until = STARTED;
            }
        }
        let ids = renumber(&mut events);
        let until = u32::try_from(ids[&until]).expect("an id");
        Told { json: serde_json::to_vec(&json!({ "events": events })).expect("JSON"), until }
    }

    /// Puts a signal before the event `at`, with a workflow task of its own if `task`.
    fn insert(&self, events: &mut Vec<Value>, at: usize, signal: &Signal, task: bool) {
        // The workflow's time is that of the task before.
        let started = (0..at).rev().find(|i| self.kind(*i) == kind::TASK_STARTED).unwrap_or(0);
        let mut new = vec![self.signalled(signal)];
        if task {
            new.extend(self.task(started));
        }
        events.splice(at..at, new);
    }

    fn signalled(&self, signal: &Signal) -> Value {
        let mut e = self.events[0].clone();
        e["event_id"] = json!(NEW);
        e["event_type"] = json!(kind::SIGNAL);
        e["attributes"] = json!({ "WorkflowExecutionSignaledEventAttributes": {
            "signal_name": signal.name, "input": signal.input, "identity": "told", "header": null,
            "skip_generate_workflow_task": false, "external_workflow_execution": null, "request_id": "told",
        }});
        e
    }

    /// A workflow task like the one that started at `started`.
    fn task(&self, started: usize) -> [Value; 3] {
        let scheduled = self.index(number(&attributes(&self.events[started])["scheduled_event_id"]));
        let done = self.next_done(started).expect("a task");
        let mut task = [scheduled, started, done].map(|i| self.events[i].clone());
        for (e, id) in task.iter_mut().zip(NEW + 1..) {
            e["event_id"] = json!(id);
        }
        attributes_mut(&mut task[1])["scheduled_event_id"] = json!(NEW + 1);
        attributes_mut(&mut task[2])["scheduled_event_id"] = json!(NEW + 1);
        attributes_mut(&mut task[2])["started_event_id"] = json!(STARTED);
        task
    }

    /// Two workflow tasks of the one that completed at `done`: the second begins with the signal, while the local
    /// activity of `marker` is under way, and is told of its end in its activation number `first`, counted from 0.
    fn split(&self, events: &mut Vec<Value>, done: usize, marker: usize, first: i64, signal: &Signal) {
        let from = activation(&self.events[marker]).unwrap_or(0);
        for e in &mut events[marker..self.commands_end(done)] {
            attributes_mut(e)["workflow_task_completed_event_id"] = json!(NEW + 3);
            if let Some(index) = activation(e) {
                set_activation(e, index - from + first);
            }
        }
        self.insert(events, marker, signal, true);
    }
}

/// What the SDK notes in the marker of a local activity.
fn noted(e: &Value) -> Option<Value> {
    let data = attributes(e)["details"]["data"]["payloads"][0]["data"].as_str()?;
    serde_json::from_slice(&STANDARD.decode(data).ok()?).ok()
}

/// The activation, of those of its workflow task, that told of the end of a local activity.
fn activation(e: &Value) -> Option<i64> {
    noted(e)?["activation_index"].as_i64()
}

fn set_activation(e: &mut Value, index: i64) {
    let mut data = noted(e).expect("a marker");
    data["activation_index"] = json!(index);
    let text = STANDARD.encode(serde_json::to_vec(&data).expect("JSON"));
    attributes_mut(e)["details"]["data"]["payloads"][0]["data"] = json!(text);
}

/// Numbers events in their order, and whatever refers to one. Returns the new numbers by the old ones.
fn renumber(events: &mut [Value]) -> BTreeMap<i64, usize> {
    let ids: BTreeMap<i64, usize> = events.iter().zip(1..).map(|(e, n)| (number(&e["event_id"]), n)).collect();
    for e in events {
        let id = ids[&number(&e["event_id"])];
        e["event_id"] = json!(id);
        for (key, v) in attributes_mut(e).as_object_mut().expect("attributes") {
            if key.ends_with("event_id") && number(v) > 0 {
                *v = json!(ids[&number(v)]);
            }
        }
    }
    ids
}
