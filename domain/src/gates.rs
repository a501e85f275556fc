//! Gates in front of an environment: what has to be shown, and who has to agree, before a plan is applied there.
//!
//! [`Approval`] is the only thing that lets a change set be executed, and [`Approval::grant`] the only thing that makes
//! one: from the gates of the environment, the evidence that was collected, and the people who agreed to exactly this
//! plan.

use crate::fault::{Fault, FaultCode};
use crate::ids::{EnvId, OrgId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What an environment asks for (`environments/promotion.toml`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gates {
    /// The environment that must have passed first.
    pub from: EnvId,
    /// Canary recordings must have passed there within this time, hours.
    pub canary_within_h: u32,
    /// Probes there must be green and not older than this, hours.
    pub probes_within_h: u32,
    /// Recorded histories must replay without a difference.
    pub replay_clean: bool,
    /// How many people must approve.
    pub approvals: u32,
    /// Whoever asks does not count as one of them.
    pub four_eyes: bool,
    /// Whose signature evidence has to have: the public key (Ed25519, hexadecimal) of `from`. Absent: evidence is believed
    /// as it comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_key: Option<String>,
}

/// Someone who agreed to a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approver {
    /// Who, as the operator gives it; compared without regard to case and surrounding blanks.
    pub name: String,
    /// Digest of the plan that was agreed to.
    pub digest: String,
}

/// A check that ran, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// When it ended, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Whether all was well.
    pub passed: bool,
    /// Where to look: a workflow id and run id.
    pub source: String,
}

/// A canary recording that was sent through a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// The path: `smb/<share>`, or another way in: `web`, `hl7v2`, `fhir`, `dicom/stow`, `dicom/c-store`.
    pub path: String,
    /// Format name.
    pub format: String,
    /// How it went.
    pub run: Run,
}

/// What was applied in the environment before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Digest of the inputs that were applied.
    pub inputs: String,
    /// When.
    pub run: Run,
}

/// What is known of an organization in the environment that has to pass first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// That environment.
    pub env: EnvId,
    /// Digest of the inputs of the plan that is to be promoted: what the organization's file says everywhere, and what
    /// this version of leadline makes of it there.
    pub inputs: String,
    /// The last plan that was applied there to its end.
    pub applied: Option<Applied>,
    /// The last isolation probe there.
    pub probes: Option<Run>,
    /// Every enabled path there with every format that it takes: what canaries have to have passed.
    pub required: BTreeSet<(String, String)>,
    /// Enabled paths there that no canary can be sent through, each with why and what to do.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub untried: BTreeMap<String, String>,
    /// The last canary of each path and format.
    pub canaries: Vec<Canary>,
    /// The last replay of histories.
    pub replay: Option<Run>,
}

/// Evidence as a worker of the environment it is from gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedEvidence {
    /// What is shown.
    pub evidence: Evidence,
    /// Signature of [`statement`], hexadecimal.
    pub signature: String,
}

/// What is signed: the evidence, and whom it is about.
#[must_use]
pub fn statement(org: &OrgId, evidence: &Evidence) -> Vec<u8> {
    // Structs of texts, numbers, lists and sets have no way to fail, and one way to be written.
    serde_json::to_vec(&("leadline evidence 1", org, evidence)).unwrap_or_default()
}

/// A gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// The same inputs were applied in the environment before.
    Applied,
    /// Its isolation probe is green and recent.
    Probes,
    /// Canaries of all formats passed through all its paths, recently.
    Canaries,
    /// Histories replay.
    Replay,
    /// Enough people agreed.
    Approvals,
}

/// How a gate stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateState {
    /// Which.
    pub gate: Gate,
    /// Whether it is open.
    pub open: bool,
    /// Why, in a sentence.
    pub why: String,
}

/// What is to be applied, and on whose word.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Digest of the plan.
    pub digest: &'a str,
    /// Whether it is an organization's plan; one of the environment itself needs no evidence from another.
    pub organization: bool,
    /// Who asks.
    pub requested_by: &'a str,
    /// What was collected.
    pub evidence: Option<&'a Evidence>,
    /// Who agreed.
    pub approvers: &'a [Approver],
}

/// Permission to apply one plan. Only [`Approval::grant`] makes one:
///
/// ```compile_fail,E0451
/// # use leadline_domain::gates::{Approval, Request};
/// # let request = Request { digest: "d", organization: true, requested_by: "ann", evidence: None, approvers: &[] };
/// let approval = Approval { digest: "d".to_owned() };
/// ```
///
/// ```
/// # use leadline_domain::gates::{Approval, Request};
/// # let request = Request { digest: "d", organization: true, requested_by: "ann", evidence: None, approvers: &[] };
/// let approval = Approval::grant(None, &request, 0).unwrap();
/// # assert_eq!(approval.digest(), "d");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    digest: String,
}

impl Approval {
    /// Grants it if every gate is open; an environment without gates (`None`) lets everything in.
    ///
    /// # Errors
    /// How each gate stands, if one is closed.
    pub fn grant(gates: Option<&Gates>, request: &Request<'_>, now_ms: i64) -> Result<Self, Vec<GateState>> {
        let states = gates.map(|g| states(g, request, now_ms)).unwrap_or_default();
        if fault(&states).is_none() { Ok(Self { digest: request.digest.to_owned() }) } else { Err(states) }
    }

    /// Digest of the plan that may be applied.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// A name as names are compared: whoever is one person when approvals are counted is one when somebody is told to leave
/// their own plan alone, accents included.
fn normal(name: &str) -> String {
    name.trim().to_lowercase()
}

/// Whether someone may be counted as an approver.
///
/// # Errors
/// In words, why not.
pub fn may_approve(gates: &Gates, requested_by: &str, digest: &str, approver: &Approver) -> Result<(), String> {
    if approver.name.trim().is_empty() {
        return Err("an approval needs a name".into());
    }
    if approver.digest != digest {
        return Err(format!("the approval names plan {}, which is not the plan that waits: {digest}", approver.digest));
    }
    if gates.four_eyes && normal(&approver.name) == normal(requested_by) {
        return Err(format!("{} asked for this plan: someone else has to approve it", approver.name.trim()));
    }
    Ok(())
}

/// How every gate stands.
#[must_use]
pub fn states(gates: &Gates, request: &Request<'_>, now_ms: i64) -> Vec<GateState> {
    let mut out = Vec::new();
    if request.organization {
        match request.evidence {
            Some(e) if e.env == gates.from => shown(gates, e, now_ms, &mut out),
            Some(e) => out.push(closed(Gate::Applied, format!("the evidence is of {}, not of {}", e.env, gates.from))),
            None => out.push(closed(
                Gate::Applied,
                format!("there is no evidence from {}: `leadline promote` collects it", gates.from),
            )),
        }
    }
    let counted: BTreeSet<String> = request
        .approvers
        .iter()
        .filter(|a| may_approve(gates, request.requested_by, request.digest, a).is_ok())
        .map(|a| normal(&a.name))
        .collect();
    out.push(GateState {
        gate: Gate::Approvals,
        open: counted.len() >= gates.approvals as usize,
        why: format!("{} of {} people approved plan {}", counted.len(), gates.approvals, request.digest),
    });
    out
}

/// The fault of the gates that are closed; `None` if all are open.
#[must_use]
pub fn fault(states: &[GateState]) -> Option<Fault> {
    let why: Vec<&str> = states.iter().filter(|s| !s.open).map(|s| s.why.as_str()).collect();
    (!why.is_empty()).then(|| Fault::new(FaultCode::GateClosed, why.join("; ")))
}

fn closed(gate: Gate, why: String) -> GateState {
    GateState { gate, open: false, why }
}

fn shown(gates: &Gates, e: &Evidence, now_ms: i64, out: &mut Vec<GateState>) {
    let env = &e.env;
    out.push(match &e.applied {
        None => closed(Gate::Applied, format!("nothing was applied in {env}")),
        Some(a) if !a.run.passed => closed(Gate::Applied, format!("applying in {env} did not end well")),
        Some(a) if a.inputs != e.inputs => {
            closed(Gate::Applied, format!("what was applied in {env} is not what is to be promoted: it changed since"))
        }
        Some(_) => GateState { gate: Gate::Applied, open: true, why: format!("the same inputs were applied in {env}") },
    });
    out.push(recent(Gate::Probes, "the isolation probe", e.probes.as_ref(), gates.probes_within_h, now_ms));
    out.push(canaries(gates, e, now_ms));
    if gates.replay_clean {
        out.push(recent(Gate::Replay, "the replay of histories", e.replay.as_ref(), gates.canary_within_h, now_ms));
    }
}

/// Every way in that is enabled, with every format that it takes; one that could not be tried is not passed over. What was
/// carried before the last apply shows nothing of what was applied.
fn canaries(gates: &Gates, e: &Evidence, now_ms: i64) -> GateState {
    let (env, hours) = (&e.env, gates.canary_within_h);
    let mut why = Vec::new();
    let mut missing = Vec::new();
    let applied_ms = e.applied.as_ref().map_or(i64::MIN, |a| a.run.at_ms);
    for (path, format) in &e.required {
        let run = e.canaries.iter().filter(|c| c.path == *path && c.format == *format).map(|c| &c.run);
        match run.max_by_key(|r| r.at_ms) {
            Some(r) if r.passed && fresh(r, hours, now_ms) && r.at_ms >= applied_ms => {}
            Some(r) if r.passed && r.at_ms < applied_ms => {
                missing.push(format!("{format} by {path} (the last was before the last apply)"));
            }
            Some(r) if !r.passed => missing.push(format!("{format} by {path} (the last did not: {})", r.source)),
            _ => missing.push(format!("{format} by {path}")),
        }
    }
    if !missing.is_empty() {
        why.push(format!("no canary passed within {hours} h: {}", missing.join(", ")));
    }
    why.extend(e.untried.iter().map(|(path, what)| format!("no canary can be sent by {path}: {what}")));
    if e.required.is_empty() && e.untried.is_empty() {
        why.push(format!("no way into {env} takes a format that canaries have"));
    }
    if !why.is_empty() {
        return closed(Gate::Canaries, why.join("; "));
    }
    let paths: BTreeSet<&str> = e.required.iter().map(|(path, _)| path.as_str()).collect();
    let paths: Vec<&str> = paths.into_iter().collect();
    let why = format!("{} canaries passed within {hours} h, by {}", e.required.len(), paths.join(", "));
    GateState { gate: Gate::Canaries, open: true, why }
}

fn fresh(r: &Run, hours: u32, now_ms: i64) -> bool {
    (0..=i64::from(hours) * 3_600_000).contains(&now_ms.saturating_sub(r.at_ms))
}

fn recent(gate: Gate, what: &str, run: Option<&Run>, hours: u32, now_ms: i64) -> GateState {
    match run {
        None => closed(gate, format!("{what} has not run")),
        Some(r) if !r.passed => closed(gate, format!("{what} did not pass: {}", r.source)),
        Some(r) if !fresh(r, hours, now_ms) => closed(gate, format!("{what} is older than {hours} h")),
        Some(_) => GateState { gate, open: true, why: format!("{what} passed within {hours} h") },
    }
}

#[cfg(test)]
#[path = "gates_tests.rs"]
mod tests;
