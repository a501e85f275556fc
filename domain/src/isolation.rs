//! Proof of isolation: what is tried with an organization's credentials, what is expected, and what an answer proves.

use crate::fault::{Fault, FaultCode};
use crate::ids::OrgId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is tried. Each is an action of the data plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// List objects.
    List,
    /// Ask for an object's size.
    Head,
    /// Get an object.
    Get,
    /// Get a version of an object.
    GetVersion,
    /// Put an object.
    Put,
    /// Delete an object.
    Delete,
    /// Begin a multipart upload to the staging area.
    BeginUpload,
    /// Begin a multipart upload of a recording.
    BeginRecording,
    /// List uploads.
    ListUploads,
    /// Send a part of an upload.
    UploadPart,
    /// List the parts of an upload.
    ListParts,
    /// Put the parts of an upload together.
    CompleteUpload,
    /// Give an upload up.
    AbortUpload,
    /// Copy an object out of the bucket.
    CopyFrom,
    /// Copy an object into the bucket.
    CopyTo,
    /// Have the key make a data key.
    GenerateDataKey,
    /// Have the key decrypt what it encrypted.
    Decrypt,
    /// Read a secret.
    ReadSecret,
    /// Take the role.
    TakeRole,
    /// Send a message.
    Send,
    /// Receive a message.
    Receive,
    /// Delete a message.
    DeleteMessage,
    /// Publish to a topic.
    Publish,
}

/// Whose resource it is tried on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The organization's own.
    Own,
    /// Another organization's.
    Organization(OrgId),
    /// The environment's, which only its workers may touch.
    Environment,
}

/// What has to come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// It is allowed.
    Granted,
    /// It is refused for want of permission.
    Denied,
}

impl Target {
    /// What has to come of a try.
    #[must_use]
    pub fn expected(&self) -> Expected {
        match self {
            Self::Own => Expected::Granted,
            Self::Organization(_) | Self::Environment => Expected::Denied,
        }
    }
}

/// What an answer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Permission was refused.
    Denied,
    /// Permission was given: it succeeded, or failed for a reason that only those learn who may (no such object, a
    /// condition that is not met).
    Granted,
    /// There is no such resource.
    Absent,
    /// Neither: nothing is shown.
    Unclear,
}

/// One try and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was tried.
    pub action: Action,
    /// Whose.
    pub target: Target,
    /// On which resource, by its name.
    pub resource: String,
    /// What had to come of it.
    pub expected: Expected,
    /// What came of it.
    pub outcome: Outcome,
    /// What the service said: a code of its own, or a status.
    pub answer: String,
    /// What the try left behind, if it succeeded against expectation and could not be undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
}

/// What a piece of evidence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it has to be.
    AsExpected,
    /// There is nothing of the other organization to reach.
    NothingThere,
    /// Neither proven nor disproven, or the organization's own access is refused.
    Unproven,
    /// Something of others can be reached.
    Broken,
}

impl Evidence {
    /// A try and its outcome; what is expected follows from whose resource it is.
    #[must_use]
    pub fn new(action: Action, target: &Target, resource: &str, outcome: Outcome, answer: &str) -> Self {
        Self {
            action,
            target: target.clone(),
            resource: resource.to_owned(),
            expected: target.expected(),
            outcome,
            answer: answer.to_owned(),
            left: None,
        }
    }

    /// What it means.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match (self.expected, self.outcome) {
            (Expected::Granted, Outcome::Granted) | (Expected::Denied, Outcome::Denied) => Verdict::AsExpected,
            (Expected::Denied, Outcome::Absent) => Verdict::NothingThere,
            (Expected::Denied, Outcome::Granted) => Verdict::Broken,
            (Expected::Granted, Outcome::Denied | Outcome::Absent) | (_, Outcome::Unclear) => Verdict::Unproven,
        }
    }
}

/// What an endpoint does not hold anybody to, so that a try there proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotEnforced {
    /// What.
    pub what: String,
    /// Why it is not seen here, and where it is.
    pub why: String,
}

/// Evidence that is kept in a report in full. The history holds all of it.
const ROWS: usize = 2_000;
/// Tries that a fault names.
const NAMED: usize = 5;

/// Everything that one run of the probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// Whose credentials were used.
    pub org: OrgId,
    /// Tries.
    pub tried: u64,
    /// Those that ended as they have to.
    pub as_expected: u64,
    /// The organizations whose resources were tried.
    pub others: Vec<OrgId>,
    /// Organizations that are configured, but whose resources are not made yet: nothing to try.
    pub not_onboarded: Vec<OrgId>,
    /// Those of the others that are being deleted: what could not be prepared there counts as nothing to reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaving: Vec<OrgId>,
    /// What is not as it has to be comes first; the rest up to a limit.
    pub evidence: Vec<Evidence>,
    /// What this endpoint does not enforce. Empty on AWS.
    pub not_enforced: Vec<NotEnforced>,
}

impl ProbeReport {
    /// Nothing tried yet.
    #[must_use]
    pub fn new(org: OrgId) -> Self {
        Self {
            org,
            tried: 0,
            as_expected: 0,
            others: Vec::new(),
            not_onboarded: Vec::new(),
            leaving: Vec::new(),
            evidence: Vec::new(),
            not_enforced: Vec::new(),
        }
    }

    /// Adds evidence.
    pub fn add(&mut self, found: Vec<Evidence>) {
        for e in found {
            self.tried += 1;
            if e.verdict() == Verdict::AsExpected {
                self.as_expected += 1;
                if self.evidence.len() < ROWS {
                    self.evidence.push(e);
                }
            } else {
                self.evidence.push(e);
            }
        }
        // Stable: within a verdict the order of the tries stays.
        self.evidence.sort_by_key(|e| std::cmp::Reverse(e.verdict()));
    }

    /// Evidence of a verdict.
    pub fn with(&self, v: Verdict) -> impl Iterator<Item = &Evidence> {
        self.evidence.iter().filter(move |e| e.verdict() == v)
    }

    /// The same without the tries that ended as they have to: for a status that is asked for again and again.
    #[must_use]
    pub fn brief(mut self) -> Self {
        self.evidence.retain(|e| e.verdict() != Verdict::AsExpected);
        self
    }

    /// What is wrong, if anything: something can be reached that must not be, or it is not proven that it cannot.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        fault(&self.org, &self.evidence)
    }
}

/// What evidence adds up to; `None` if everything is as it has to be.
#[must_use]
pub fn fault(org: &OrgId, evidence: &[Evidence]) -> Option<Fault> {
    let of = |v: Verdict| evidence.iter().filter(|e| e.verdict() == v).map(ToString::to_string).collect::<Vec<_>>();
    let (code, found) = match (of(Verdict::Broken), of(Verdict::Unproven)) {
        (broken, _) if !broken.is_empty() => (FaultCode::IsolationBroken, broken),
        (_, unproven) if !unproven.is_empty() => (FaultCode::IsolationUnproven, unproven),
        _ => return None,
    };
    let more = found.len().saturating_sub(NAMED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let named = found.into_iter().take(NAMED).collect::<Vec<_>>().join("; ");
    Some(Fault::new(code, format!("with the credentials of {org}: {named}{more}")))
}

impl Action {
    /// As it is written in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Head => "head",
            Self::Get => "get",
            Self::GetVersion => "get version",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::BeginUpload => "begin upload",
            Self::BeginRecording => "begin recording",
            Self::ListUploads => "list uploads",
            Self::UploadPart => "upload part",
            Self::ListParts => "list parts",
            Self::CompleteUpload => "complete upload",
            Self::AbortUpload => "abort upload",
            Self::CopyFrom => "copy from",
            Self::CopyTo => "copy to",
            Self::GenerateDataKey => "generate data key",
            Self::Decrypt => "decrypt",
            Self::ReadSecret => "read secret",
            Self::TakeRole => "take role",
            Self::Send => "send",
            Self::Receive => "receive",
            Self::DeleteMessage => "delete message",
            Self::Publish => "publish",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("its own"),
            Self::Organization(o) => write!(f, "{o}"),
            Self::Environment => f.write_str("the environment"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied => "denied",
            Self::Granted => "GRANTED",
            Self::Absent => "nothing there",
            Self::Unclear => "unclear",
        })
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} on {} of {}: {} ({})",
            self.action.as_str(),
            self.resource,
            self.target,
            self.outcome,
            self.answer
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn org(s: &str) -> OrgId {
        OrgId::parse(s).unwrap()
    }

    #[test]
    fn what_each_outcome_means() {
        let other = Target::Organization(org("kings-road"));
        for (target, outcome, verdict) in [
            (&Target::Own, Outcome::Granted, Verdict::AsExpected),
            (&Target::Own, Outcome::Denied, Verdict::Unproven),
            (&Target::Own, Outcome::Absent, Verdict::Unproven),
            (&other, Outcome::Denied, Verdict::AsExpected),
            (&other, Outcome::Granted, Verdict::Broken),
            (&other, Outcome::Absent, Verdict::NothingThere),
            (&other, Outcome::Unclear, Verdict::Unproven),
            (&Target::Environment, Outcome::Granted, Verdict::Broken),
            (&Target::Environment, Outcome::Denied, Verdict::AsExpected),
        ] {
            let e = Evidence::new(Action::Get, target, "bucket", outcome, "x");
            assert_eq!(e.verdict(), verdict, "{e}");
        }
    }

    #[test]
    fn a_breach_outweighs_everything_and_is_named() {
        let mut r = ProbeReport::new(org("st-mary"));
        let other = Target::Organization(org("kings-road"));
        r.add(vec![Evidence::new(Action::List, &Target::Own, "own", Outcome::Granted, "success")]);
        assert_eq!(r.fault(), None);
        r.add(vec![Evidence::new(Action::List, &Target::Own, "own", Outcome::Denied, "AccessDenied")]);
        assert_eq!(r.fault().unwrap().code, FaultCode::IsolationUnproven);
        r.add(vec![Evidence::new(Action::Get, &other, "b/x", Outcome::Granted, "NoSuchKey")]);
        let f = r.fault().unwrap();
        assert_eq!(f.code, FaultCode::IsolationBroken);
        assert!(f.detail.contains("get on b/x of kings-road: GRANTED (NoSuchKey)"), "{f}");
        assert_eq!((r.tried, r.as_expected), (3, 1));
        assert_eq!(r.evidence[0].action, Action::Get, "what is wrong comes first");
        let brief = r.clone().brief();
        assert_eq!((brief.evidence.len(), brief.fault(), brief.tried), (2, r.fault(), 3));
    }

    #[test]
    fn a_report_of_very_many_stays_small_and_keeps_what_is_wrong() {
        let mut r = ProbeReport::new(org("st-mary"));
        let other = Target::Organization(org("kings-road"));
        for _ in 0..3 {
            r.add(vec![Evidence::new(Action::Get, &other, "b", Outcome::Denied, "AccessDenied"); ROWS]);
        }
        r.add(vec![Evidence::new(Action::Put, &other, "b", Outcome::Granted, "success")]);
        assert_eq!(r.evidence.len(), ROWS + 1);
        assert_eq!(r.tried, 3 * ROWS as u64 + 1);
        assert!(r.fault().is_some());
    }
}
