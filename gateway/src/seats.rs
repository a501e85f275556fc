//! Places for an organization's own requests: one of them must not take everybody's.

use leadline_domain::OrgId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many for each organization.
#[derive(Debug)]
pub(crate) struct Seats {
    each: usize,
    taken: Mutex<BTreeMap<OrgId, Arc<Semaphore>>>,
}

impl Seats {
    /// At least one for each.
    pub(crate) fn new(each: usize) -> Self {
        Self { each: each.max(1), taken: Mutex::default() }
    }

    /// A seat among an organization's own, if one is free.
    pub(crate) fn take(&self, org: &OrgId) -> Option<OwnedSemaphorePermit> {
        self.own(org).try_acquire_owned().ok()
    }

    /// A seat among an organization's own, when one is free.
    pub(crate) async fn wait(&self, org: &OrgId) -> Option<OwnedSemaphorePermit> {
        self.own(org).acquire_owned().await.ok()
    }

    fn own(&self, org: &OrgId) -> Arc<Semaphore> {
        let mut all = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(org.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.each))))
    }
}
