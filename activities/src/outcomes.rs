//! What became of recordings: reports of the processor are kept and audited, and missing ones are found.

// The activities macro makes constants that it does not document.
#![allow(missing_docs)]

use crate::alarms::Finder;
use crate::deps::Deps;
use crate::faults::ended;
use crate::heartbeat::until_cancelled;
use crate::metrics::METRICS;
use crate::ports::outcomes::{OutcomeStore, OutcomeStores, ReportKept};
use crate::ports::queue::{Outgoing, Queue};
use crate::registry::Registry;
use leadline_domain::outcome::{OutcomeEntry, OutcomeRule, OverdueReport, ProcessorReport};
use leadline_domain::{Fault, FaultCode, OrgId};
use leadline_workflows::outcomes::definitions;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use temporalio_sdk::activities::{ActivityContext, ActivityError, activities};

/// Implements `leadline_workflows::outcomes::OutcomeChecking`.
pub struct OutcomeActivities {
    deps: Arc<Deps>,
}

impl OutcomeActivities {
    /// Works with these parts.
    #[must_use]
    pub fn new(deps: Arc<Deps>) -> Self {
        Self { deps }
    }
}

#[activities]
impl OutcomeActivities {
    /// See the contract.
    #[activity(definition = definitions::FindOverdue)]
    pub async fn find_overdue(
        self: Arc<Self>,
        ctx: ActivityContext,
        org: OrgId,
    ) -> Result<Option<OverdueReport>, ActivityError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let work = async {
            let (alarms, finder) = (&self.deps.alarms, Finder::of(&ctx));
            let report = alarms.ran(&finder, Some(&org), self.deps.outcomes.overdue(&org, now_ms).await).await?;
            if let Some(fault) = report.as_ref().and_then(OverdueReport::fault) {
                alarms.raise(&finder, Some(&org), fault).await?;
            }
            Ok(report)
        };
        ended("find_overdue", until_cancelled(&ctx, work).await?)
    }
}

/// The parts that reports go through.
#[derive(Clone)]
pub struct Outcomes {
    /// Organizations, as configured.
    pub registry: Arc<Registry>,
    /// Where reports are kept.
    pub stores: Arc<dyn OutcomeStores>,
    /// Where the processor puts them.
    pub queue: Arc<dyn Queue>,
    /// Where audit entries go.
    pub audit: Arc<dyn Queue>,
}

impl Outcomes {
    /// Keeps a report and has it audited. When it returns, both is done; a repeat of the same report is harmless.
    ///
    /// # Errors
    /// `outcome.*` for a report that will never be kept; `config.unknown_org`, `store.*`, `credential.*`, `queue.*`.
    pub async fn record(&self, text: &str) -> Result<OutcomeEntry, Fault> {
        let checked = ProcessorReport::parse(text)?;
        let store = self.stores.outcomes(&self.registry.scope(&checked.org)?).await?;
        if !store.has_recording(&checked.digest).await? {
            let detail = format!("organization {} has no such recording", checked.org);
            return Err(Fault::new(FaultCode::OutcomeUnknownRecording, detail));
        }
        let entry = OutcomeEntry::of(&checked);
        match store.keep_report(&checked.digest, &checked.report.report, checked.report.to_json().into()).await? {
            // One that is there may have been cut off before it was audited: the entry has the same id.
            ReportKept::New | ReportKept::Same => {}
            ReportKept::Other => {
                let detail = format!("organization {}: another report of this id is kept", checked.org);
                return Err(Fault::new(FaultCode::OutcomeConflict, detail));
            }
        }
        let message = Outgoing {
            body: serde_json::to_string(&entry).unwrap_or_default(),
            dedup_id: entry.id.clone(),
            group_id: entry.organization.to_string(),
        };
        self.audit.send_one(message).await?;
        METRICS.reported(entry.organization.as_str(), entry.status.as_str());
        Ok(entry)
    }

    /// Which recordings of an organization have no report though one is due at `now_ms`. `None` if none is ever due.
    ///
    /// # Errors
    /// `config.unknown_org`, `store.*`, `credential.*`.
    pub async fn overdue(&self, org: &OrgId, now_ms: i64) -> Result<Option<OverdueReport>, Fault> {
        let Some(rule) = self.registry.snapshot().outcomes else { return Ok(None) };
        let report = self.look(org, rule, now_ms).await?;
        METRICS.overdue(org.as_str(), report.missing);
        if let Some(fault) = report.fault() {
            METRICS.fault(fault.code);
            tracing::error!(%fault, "reports of the processor are overdue");
        }
        Ok(Some(report))
    }

    /// The same by a rule of the caller's, and without an alarm.
    ///
    /// # Errors
    /// As [`Outcomes::overdue`].
    pub async fn look(&self, org: &OrgId, rule: OutcomeRule, now_ms: i64) -> Result<OverdueReport, Fault> {
        let store = self.stores.outcomes(&self.registry.scope(org)?).await?;
        look(&*store, OverdueReport::new(self.registry.env().env().clone(), org.clone(), rule, now_ms)).await
    }
}

/// Goes through recordings and reports in step, for both lie in the order of digests: memory holds a page of each.
async fn look(store: &dyn OutcomeStore, mut report: OverdueReport) -> Result<OverdueReport, Fault> {
    let mut after = None;
    loop {
        let page = store.recordings_after(after.as_ref()).await?;
        let Some((last, _)) = page.last() else { return Ok(report) };
        let reported = store.reported(after.as_ref(), last).await?;
        for (digest, stored_ms) in &page {
            report.add(digest, *stored_ms, reported.contains(digest));
        }
        after = Some(*last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::aws_fake::{FakeQueue, Planned};
    use crate::adapters::outcomes_fake::{FakeOutcomeStores, FakeOutcomes};
    use crate::registry::{OrgConfig, Snapshot};
    use leadline_domain::outcome::{OUTCOME_SCHEMA, ProcessingStatus};
    use leadline_domain::{Digest, EnvFacts, EnvId, IngressEndpoints, OrgScope, Placement, RecordingId};
    use std::collections::{BTreeMap, BTreeSet};

    struct Rig {
        outcomes: Outcomes,
        store: Arc<FakeOutcomes>,
        audit: Arc<FakeQueue>,
        org: OrgId,
    }

    fn rig() -> Rig {
        let org = OrgId::parse("st-mary").unwrap();
        let facts = EnvFacts {
            env: EnvId::parse("test").unwrap(),
            account: "111111111111".into(),
            region: "us-east-1".into(),
            jurisdictions: ["us".to_owned()].into(),
        };
        let scope = OrgScope::new(org.clone(), Placement::resolve(&org, "us", &facts).unwrap());
        let config = OrgConfig {
            scope: scope.clone(),
            shares: BTreeMap::new(),
            limits: (1, 1),
            formats: BTreeSet::new(),
            secrets: BTreeSet::new(),
            storages: BTreeSet::new(),
            link_encodings: false,
            endpoints: IngressEndpoints::default(),
        };
        let orgs = [(org.clone(), config)].into();
        let outcomes = Some(OutcomeRule { within_ms: 100, look_back_ms: 1_000 });
        let stores = Arc::new(FakeOutcomeStores::default());
        let (store, audit) = (stores.of(&scope), FakeQueue::standard());
        let registry = Arc::new(Registry::fixed(Snapshot { facts, gates: None, retention_days: 1, orgs, outcomes }));
        let outcomes = Outcomes { registry, stores, queue: FakeQueue::standard(), audit: audit.clone() };
        Rig { outcomes, store, audit, org }
    }

    fn report(org: &OrgId, content: &[u8], id: &str, status: ProcessingStatus) -> String {
        let reason = (status != ProcessingStatus::Processed).then(|| "model.no_signal".to_owned());
        ProcessorReport {
            schema: OUTCOME_SCHEMA.into(),
            report: id.into(),
            recording: RecordingId::new(org, &Digest::of(content)).to_string(),
            status,
            reason,
            processor: "p/1".into(),
            time: "2026-01-02T03:04:05Z".into(),
        }
        .to_json()
    }

    #[tokio::test]
    async fn a_report_is_kept_once_however_often_it_comes_and_is_cut_off() {
        let r = rig();
        r.store.recording(Digest::of(b"x"), 0);
        let text = report(&r.org, b"x", "r1", ProcessingStatus::Processed);
        let lost = Fault::new(FaultCode::StoreUnreachable, "as planned");
        r.store.faults.plan("keep_report", Planned::FailAfter(lost.clone()));
        assert_eq!(r.outcomes.record(&text).await.unwrap_err(), lost);
        assert!(r.audit.accepted().is_empty());
        let first = r.outcomes.record(&text).await.unwrap();
        assert_eq!(r.outcomes.record(&text).await.unwrap(), first);
        assert_eq!(r.store.kept().len(), 1);
        let entries = r.audit.accepted();
        assert_eq!(entries[0], entries[1], "an entry that comes twice is the same");
    }

    #[tokio::test]
    async fn what_will_never_be_kept_says_so() {
        let r = rig();
        r.store.recording(Digest::of(b"x"), 0);
        let code = async |text: &str| r.outcomes.record(text).await.unwrap_err().code;
        assert_eq!(code("{}").await, FaultCode::OutcomeInvalid);
        let unknown = report(&r.org, b"y", "r1", ProcessingStatus::Processed);
        assert_eq!(code(&unknown).await, FaultCode::OutcomeUnknownRecording);
        let foreign = report(&OrgId::parse("foreign").unwrap(), b"x", "r1", ProcessingStatus::Processed);
        assert_eq!(code(&foreign).await, FaultCode::ConfigUnknownOrg);
        r.outcomes.record(&report(&r.org, b"x", "r1", ProcessingStatus::Processed)).await.unwrap();
        assert_eq!(code(&report(&r.org, b"x", "r1", ProcessingStatus::Failed)).await, FaultCode::OutcomeConflict);
        assert_eq!(r.store.kept().len(), 1);
    }

    #[tokio::test]
    async fn overdue_is_what_was_stored_in_the_window_and_has_no_report() {
        let r = rig();
        for (content, at) in [(b"a", 50i64), (b"b", 200), (b"c", 300), (b"d", 850), (b"e", 950), (b"f", 400)] {
            r.store.recording(Digest::of(content), at);
        }
        for content in [b"c", b"f"] {
            r.outcomes.record(&report(&r.org, content, "r1", ProcessingStatus::Processed)).await.unwrap();
        }
        let found = r.outcomes.overdue(&r.org, 1_000 + 60).await.unwrap().unwrap();
        assert_eq!((found.recordings, found.missing), (5, 3), "a is too old to look at");
        let named: Vec<i64> = found.oldest.iter().map(|m| m.stored_ms).collect();
        assert_eq!(named, [200, 850, 950]);
        assert_eq!(found.fault().unwrap().code, FaultCode::OutcomeOverdue);
    }
}
