//! An intake in memory, for the tests of the EHR ways in.

use crate::intake::{Content, Intake, Kept, Received};
use async_trait::async_trait;
use bytes::Bytes;
use leadline_domain::lifecycle::Lifecycle;
use leadline_domain::staged::{Ingress, StagedName};
use leadline_domain::{Fault, FaultCode, OrgId, intake};
use leadline_workflows::recording_lifecycle::FileReport;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// What came in, by organization and name.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) taken: Mutex<BTreeMap<(OrgId, StagedName), Bytes>>,
    pub(crate) kept: Mutex<BTreeMap<(OrgId, StagedName), Bytes>>,
    /// Calls of `take`.
    pub(crate) takes: Mutex<u32>,
    /// What the next calls of `take` fail with.
    pub(crate) fails: Mutex<Vec<FaultCode>>,
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
        if let Some(code) = self.fails.lock().unwrap().pop() {
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

/// A lifecycle that has begun.
fn begun(org: &OrgId, ingress: Ingress, name: &StagedName) -> FileReport {
    let intake = intake::Intake::received(org.clone(), ingress, name, (1, 1), BTreeSet::new(), None);
    let intake = intake.expect("a way in that stages");
    let (lifecycle, _) = Lifecycle::begin(&intake, 1);
    FileReport { intake, lifecycle }
}
