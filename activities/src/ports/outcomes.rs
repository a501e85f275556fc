//! The role of an organization's store in what became of recordings: reports of the processor, written once, beside the
//! recordings they are about.

use async_trait::async_trait;
use bytes::Bytes;
use leadline_domain::{Digest, Fault, OrgScope};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What came of keeping a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportKept {
    /// It was not there.
    New,
    /// This very report was there.
    Same,
    /// Another one is there under its id: that stays.
    Other,
}

/// A report that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptReport {
    /// As it was sent.
    pub body: Bytes,
    /// When it was stored, milliseconds since 1970-01-01 UTC by the store's clock.
    pub stored_ms: i64,
}

/// One organization's reports, with the organization's own credentials. Keys follow from digests: see
/// `leadline_domain::outcome`.
#[async_trait]
pub trait OutcomeStore: Send + Sync {
    /// Whether the organization has this recording.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn has_recording(&self, digest: &Digest) -> Result<bool, Fault>;

    /// Keeps a report on a recording, if none of this id is there.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn keep_report(&self, digest: &Digest, report: &str, body: Bytes) -> Result<ReportKept, Fault>;

    /// The reports on a recording, at most 100, those stored first.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn reports(&self, digest: &Digest) -> Result<Vec<KeptReport>, Fault>;

    /// Recordings whose digest is greater, in order, with when they were stored; at most 1,000. Empty: that is all.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn recordings_after(&self, after: Option<&Digest>) -> Result<Vec<(Digest, i64)>, Fault>;

    /// Which digests greater than one and up to another have a report.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn reported(&self, after: Option<&Digest>, last: &Digest) -> Result<BTreeSet<Digest>, Fault>;
}

/// Opens organizations' reports.
#[async_trait]
pub trait OutcomeStores: Send + Sync {
    /// Assumes the organization's role and yields its reports. Cheap when it was opened before.
    ///
    /// # Errors
    /// `credential.refused`, `credential.unreachable`.
    async fn outcomes(&self, scope: &OrgScope) -> Result<Arc<dyn OutcomeStore>, Fault>;
}
