//! For the tests of the ways in: an intake in memory, and what was counted.

use crate::intake::{Content, Intake, Kept, Received};
use async_trait::async_trait;
use bytes::Bytes;
use leadline_activities::metrics::METRICS;
use leadline_domain::lifecycle::Lifecycle;
use leadline_domain::staged::{Ingress, StagedName};
use leadline_domain::{Fault, FaultCode, OrgId, intake};
use leadline_workflows::recording_lifecycle::FileReport;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What came in, by organization and name.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) taken: Mutex<BTreeMap<(OrgId, StagedName), Bytes>>,
    pub(crate) kept: Mutex<BTreeMap<(OrgId, StagedName), Bytes>>,
    /// Calls of `take`.
    pub(crate) takes: Mutex<u32>,
    /// What the next calls of `take` fail with.
    pub(crate) fails: Mutex<Vec<FaultCode>>,
    /// Calls of `take` that go well before those.
    pub(crate) spared: Mutex<u32>,
}

impl Memory {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub(crate) fn contents(&self) -> Vec<Vec<u8>> {
        self.taken.lock().unwrap().values().map(|b| b.to_vec()).collect()
    }
}

#[async_trait]
impl Intake for Memory {
    async fn take(&self, received: Received) -> Result<Option<FileReport>, Fault> {
        let spared = &mut *self.spared.lock().unwrap();
        if *spared > 0 {
            *spared -= 1;
        } else if let Some(code) = self.fails.lock().unwrap().pop() {
            return Err(Fault::new(code, "10.1.2.3: connection refused"));
        }
        *self.takes.lock().unwrap() += 1;
        let Content::Bytes(bytes) = received.content else { panic!("not by these ways") };
        self.taken.lock().unwrap().insert((received.org, received.name), bytes);
        Ok(None)
    }

    async fn keep(&self, org: &OrgId, _ingress: Ingress, name: &StagedName, raw: Bytes) -> Result<Kept, Fault> {
        let mut kept = self.kept.lock().unwrap();
        match kept.get(&(org.clone(), name.clone())) {
            None => {
                kept.insert((org.clone(), name.clone()), raw);
                Ok(Kept::New)
            }
            Some(same) if *same == raw => Ok(Kept::Same),
            Some(_) => Ok(Kept::Other),
        }
    }

    async fn report(&self, org: &OrgId, ingress: Ingress, name: &StagedName) -> Result<Option<FileReport>, Fault> {
        let known = self.taken.lock().unwrap().contains_key(&(org.clone(), name.clone()));
        Ok(known.then(|| begun(org, ingress, name)))
    }
}

/// An aECG whose one number would be 10 to the power of 40 long, were its entities expanded.
pub(crate) fn bomb() -> Vec<u8> {
    let mut text = String::from("<?xml version=\"1.0\"?>\n<!DOCTYPE AnnotatedECG [\n<!ENTITY e0 \"1\">\n");
    for n in 1..=40 {
        let ten = format!("&e{};", n - 1).repeat(10);
        text.push_str(&format!("<!ENTITY e{n} \"{ten}\">\n"));
    }
    text.push_str("]>\n<AnnotatedECG xmlns=\"urn:hl7-org:v3\"><digits>&e40;</digits></AnnotatedECG>\n");
    text.into_bytes()
}

/// A lifecycle that has begun.
fn begun(org: &OrgId, ingress: Ingress, name: &StagedName) -> FileReport {
    let intake = intake::Intake::received(org.clone(), ingress, name, (1, 1), BTreeSet::new(), None);
    let intake = intake.expect("a way in that stages");
    let (lifecycle, _) = Lifecycle::begin(&intake, 1);
    FileReport { intake, lifecycle }
}

/// How often a fault was counted, in this process: other tests count too, so it is for growth only.
pub(crate) fn counted(code: FaultCode) -> u64 {
    let line = format!("leadline_faults_total{{code=\"{code}\"}} ");
    METRICS.render().lines().find_map(|l| l.strip_prefix(&line)?.parse().ok()).unwrap_or_default()
}

/// Waits until it was counted once more.
pub(crate) async fn grown(code: FaultCode, before: u64) {
    tokio::time::timeout(Duration::from_secs(10), async {
        while counted(code) <= before {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{code} is not counted"));
}
