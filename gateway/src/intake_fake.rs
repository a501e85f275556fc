//! An [`Intake`] in memory, for tests: what it takes is delivered at once, or becomes what was planned.

use crate::intake::{Intake, Kept, Received};
use async_trait::async_trait;
use bytes::Bytes;
use leadline_domain::lifecycle::{Lifecycle, Outcome};
use leadline_domain::settle::Basis;
use leadline_domain::{Digest, Fault, FaultCode, Ingress, OrgId, RecordingId, StagedName, Structure, intake};
use leadline_workflows::recording_lifecycle::FileReport;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Place = (OrgId, Ingress, StagedName);

/// See the module.
#[derive(Default)]
pub struct FakeIntake(Mutex<State>);

#[derive(Default)]
struct State {
    received: Vec<Received>,
    reports: BTreeMap<Place, FileReport>,
    kept: BTreeMap<Place, Bytes>,
    digests: BTreeSet<(OrgId, Digest)>,
    planned: VecDeque<Planned>,
}

/// What becomes of the next thing taken.
pub enum Planned {
    /// It fails so, and is not taken.
    Fails(Fault),
    /// It has this outcome, with this structure.
    Becomes(Outcome, Option<Structure>),
    /// It stays under way.
    Stays,
}

impl FakeIntake {
    /// An empty one.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Every call of `take` that succeeded, in order, repeats among them.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.state().received.clone()
    }

    /// How many raw messages are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.state().kept.len()
    }

    /// How many lifecycles there are.
    #[must_use]
    pub fn lifecycles(&self) -> usize {
        self.state().reports.len()
    }

    /// What becomes of the next thing that is new.
    pub fn plan(&self, p: Planned) {
        self.state().planned.push_back(p);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Intake for FakeIntake {
    async fn take(&self, r: Received) -> Result<Option<FileReport>, Fault> {
        let mut s = self.state();
        let place = (r.org.clone(), r.ingress, r.name.clone());
        if !s.reports.contains_key(&place) {
            let digest = r.declared.unwrap_or_else(|| Digest::of(r.name.as_str().as_bytes()));
            let recording = RecordingId::new(&r.org, &digest);
            let (outcome, structure) = match s.planned.pop_front() {
                Some(Planned::Fails(f)) => return Err(f),
                Some(Planned::Becomes(o, st)) => (Some(o), st),
                Some(Planned::Stays) => (None, None),
                None if s.digests.contains(&(r.org.clone(), digest)) => {
                    (Some(Outcome::Duplicate { of: recording }), None)
                }
                None => (Some(Outcome::Delivered { recording, basis: Basis::Structure }), None),
            };
            s.digests.insert((r.org.clone(), digest));
            let report = report(&r, digest, outcome, structure);
            let report =
                report.ok_or_else(|| Fault::new(FaultCode::BugInvariant, "files of shares are not taken in here"));
            s.reports.insert(place.clone(), report?);
        }
        s.received.push(r);
        Ok(s.reports.get(&place).filter(|r| r.outcome().is_some()).cloned())
    }

    async fn keep(&self, org: &OrgId, ingress: Ingress, name: &StagedName, raw: Bytes) -> Result<Kept, Fault> {
        let mut s = self.state();
        match s.kept.get(&(org.clone(), ingress, name.clone())) {
            Some(there) if *there == raw => Ok(Kept::Same),
            Some(_) => Ok(Kept::Other),
            None => {
                s.kept.insert((org.clone(), ingress, name.clone()), raw);
                Ok(Kept::New)
            }
        }
    }

    async fn report(&self, org: &OrgId, ingress: Ingress, name: &StagedName) -> Result<Option<FileReport>, Fault> {
        Ok(self.state().reports.get(&(org.clone(), ingress, name.clone())).cloned())
    }
}

/// `None` for a way in that stages nothing.
fn report(r: &Received, digest: Digest, outcome: Option<Outcome>, structure: Option<Structure>) -> Option<FileReport> {
    let limits = (1 << 20, 1 << 40);
    let intake = intake::Intake::received(r.org.clone(), r.ingress, &r.name, limits, BTreeSet::new(), r.declared)?;
    let (mut lifecycle, _) = Lifecycle::begin(&intake, 0);
    (lifecycle.digest, lifecycle.outcome, lifecycle.structure) = (Some(digest), outcome, structure);
    Some(FileReport { intake, lifecycle })
}
