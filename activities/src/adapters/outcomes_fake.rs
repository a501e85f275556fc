//! Reports in memory, with the same semantics, for tests.

use crate::adapters::aws_fake::FaultPlan;
use crate::ports::outcomes::{KeptReport, OutcomeStore, OutcomeStores, ReportKept};
use async_trait::async_trait;
use bytes::Bytes;
use leadline_domain::{Digest, Fault, OrgScope};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An organization's recordings (by when they were stored) and reports.
#[derive(Default)]
pub struct FakeOutcomes {
    recordings: Mutex<BTreeMap<Digest, i64>>,
    reports: Mutex<BTreeMap<(Digest, String), Bytes>>,
    /// Faults to come.
    pub faults: FaultPlan,
}

impl FakeOutcomes {
    /// Puts a recording there.
    pub fn recording(&self, digest: Digest, stored_ms: i64) {
        lock(&self.recordings).insert(digest, stored_ms);
    }

    /// All reports that are kept.
    #[must_use]
    pub fn kept(&self) -> Vec<(Digest, String, Bytes)> {
        lock(&self.reports).iter().map(|((d, r), b)| (*d, r.clone(), b.clone())).collect()
    }
}

#[async_trait]
impl OutcomeStore for FakeOutcomes {
    async fn has_recording(&self, digest: &Digest) -> Result<bool, Fault> {
        self.faults.next("has_recording")?;
        Ok(lock(&self.recordings).contains_key(digest))
    }

    async fn keep_report(&self, digest: &Digest, report: &str, body: Bytes) -> Result<ReportKept, Fault> {
        let after = self.faults.next("keep_report")?;
        let mut all = lock(&self.reports);
        let kept = match all.get(&(*digest, report.to_owned())) {
            None => {
                all.insert((*digest, report.to_owned()), body);
                ReportKept::New
            }
            Some(there) if *there == body => ReportKept::Same,
            Some(_) => ReportKept::Other,
        };
        after.map_or(Ok(kept), Err)
    }

    async fn reports(&self, digest: &Digest) -> Result<Vec<KeptReport>, Fault> {
        let all = lock(&self.reports);
        let of = all.iter().filter(|((d, _), _)| d == digest);
        Ok(of.map(|(_, body)| KeptReport { body: body.clone(), stored_ms: 0 }).collect())
    }

    async fn recordings_after(&self, after: Option<&Digest>) -> Result<Vec<(Digest, i64)>, Fault> {
        let from = after.map_or(Bound::Unbounded, |d| Bound::Excluded(*d));
        // Two at a time, so that pages have borders.
        Ok(lock(&self.recordings).range((from, Bound::Unbounded)).take(2).map(|(d, t)| (*d, *t)).collect())
    }

    async fn reported(&self, after: Option<&Digest>, last: &Digest) -> Result<BTreeSet<Digest>, Fault> {
        let within = |d: &Digest| after.is_none_or(|a| d > a) && d <= last;
        Ok(lock(&self.reports).keys().map(|(d, _)| *d).filter(within).collect())
    }
}

/// Of every organization, made at its first use.
#[derive(Default)]
pub struct FakeOutcomeStores(Mutex<BTreeMap<String, Arc<FakeOutcomes>>>);

impl FakeOutcomeStores {
    /// An organization's.
    #[must_use]
    pub fn of(&self, scope: &OrgScope) -> Arc<FakeOutcomes> {
        Arc::clone(lock(&self.0).entry(scope.bucket()).or_default())
    }
}

#[async_trait]
impl OutcomeStores for FakeOutcomeStores {
    async fn outcomes(&self, scope: &OrgScope) -> Result<Arc<dyn OutcomeStore>, Fault> {
        Ok(self.of(scope))
    }
}
