//! Notifications of an EHR's subscriptions: what they tell of is pulled, or taken from them, and stored; and what they
//! do not tell of any more is searched for.
//!
//! How far a subscription was followed is written down only after everything up to there was taken. Whatever dies in
//! between, the EHR sends again, or the next notification shows the gap.

use super::Service;
use super::ehr::Ehr;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, NaiveDate, NaiveTime};
use leadline_activities::engine::Engine;
use leadline_activities::metrics::METRICS;
use leadline_domain::{Digest, Fault, FaultClass, FaultCode, OrgId};
use leadline_ehr::fhir::{Issue, Json, KINDS, Kind, Notification, Problem, gap, named, notification, read};
use leadline_workflows::subscription::Seen;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::OnceCell;

/// Remembers, durably, how far subscriptions were followed.
#[async_trait]
pub trait Subscriptions: Send + Sync {
    /// How far; `None` if nothing was written.
    ///
    /// # Errors
    /// What its store fails with.
    async fn seen(&self, org: &OrgId, subscription: &str) -> Result<Option<Seen>, Fault>;

    /// Writes down how far, as [`Seen::then`] has it.
    ///
    /// # Errors
    /// What its store fails with.
    async fn advance(&self, org: &OrgId, subscription: &str, seen: Seen) -> Result<(), Fault>;
}

/// A workflow for each subscription remembers.
pub struct Remembered {
    engine: Engine,
    /// Task queue of the workers that run it.
    queue: String,
}

impl Remembered {
    /// By workflows on this task queue.
    #[must_use]
    pub fn new(engine: Engine, queue: String) -> Self {
        Self { engine, queue }
    }
}

#[async_trait]
impl Subscriptions for Remembered {
    async fn seen(&self, org: &OrgId, subscription: &str) -> Result<Option<Seen>, Fault> {
        self.engine.subscription_seen(org, subscription).await
    }
    async fn advance(&self, org: &OrgId, subscription: &str, seen: Seen) -> Result<(), Fault> {
        self.engine.subscription_advance(&self.queue, org, subscription, seen).await
    }
}

/// Searches reach this much further back than the last notification: clocks differ. Milliseconds.
const OVERLAP_MS: u64 = 300_000;

/// Knows the EHRs of organizations.
#[async_trait]
pub trait Ehrs: Send + Sync {
    /// A client of the organization's EHR; `None` where none is configured.
    ///
    /// # Errors
    /// What reading its key fails with; `config.invalid` for a key or an address that cannot be used.
    async fn open(&self, org: &OrgId) -> Result<Option<Ehr>, Fault>;
}

/// Follows subscriptions.
pub struct Follower {
    ehrs: Arc<dyn Ehrs>,
    opened: Mutex<BTreeMap<OrgId, Arc<OnceCell<Arc<Ehr>>>>>,
    subscriptions: Arc<dyn Subscriptions>,
}

impl Follower {
    /// Of these EHRs. Each is opened when its first notification comes, and again after a failure.
    #[must_use]
    pub fn new(ehrs: Arc<dyn Ehrs>, subscriptions: Arc<dyn Subscriptions>) -> Self {
        Self { ehrs, opened: Mutex::default(), subscriptions }
    }

    /// The organization's EHR. One that cannot be opened keeps its notifications waiting: the fault passes, or a human
    /// mends it, and the EHR sends them again.
    async fn ehr(&self, org: &OrgId) -> Result<Arc<Ehr>, Problem> {
        let cell = {
            let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(opened.entry(org.clone()).or_default())
        };
        let open = async || match self.ehrs.open(org).await {
            Ok(Some(ehr)) => Ok(Arc::new(ehr)),
            Ok(None) => {
                let why = "no EHR is configured for this organization";
                Err(Problem::new(403, Issue::Forbidden, FaultCode::FhirNotSupported, why))
            }
            Err(fault) if fault.class() == FaultClass::Bug => Err(fault.into()),
            Err(fault) => Err(Problem { status: 503, issue: Issue::Transient, fault, expression: None }),
        };
        cell.get_or_try_init(open).await.cloned()
    }

    /// Does what a notification asks for. It may be answered well only when this returns well.
    ///
    /// # Errors
    /// 400 for what is no notification; 403 without an EHR; 503 while it cannot be opened; what pulls and stores fail
    /// with.
    pub async fn notified(&self, service: &Service, org: &OrgId, raw: Bytes) -> Result<(), Problem> {
        let told = notification(&raw)?;
        let ehr = &*self.ehr(org).await?;
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let now_ms = u64::try_from(now_ms).unwrap_or(u64::MAX);
        let seen = self.subscriptions.seen(org, &told.subscription).await?;
        if told.kind == Kind::Event {
            // Several events about one resource bring, or stand for, all of its versions.
            let mut done = BTreeSet::new();
            for (kind, id) in told.events.iter().filter_map(|e| e.about()) {
                if done.insert((kind, id)) {
                    self.take(service, org, ehr, &told, kind, id).await?;
                }
            }
        }
        // Events without a focus, or with one that says nothing here, tell only that something happened.
        let mute = told.events.iter().any(|e| e.about().is_none());
        if mute || gap(seen.map(|s| s.number), &told).is_some() {
            let since = seen.map_or(0, |s| s.at_ms.saturating_sub(OVERLAP_MS));
            tracing::info!(%org, "FHIR notifications are missing: searching for what they told of");
            self.replay(service, org, ehr, since).await?;
        }
        let reached = match (told.since_start, seen) {
            // What does not count says only that the EHR is alive.
            (None, Some(seen)) => seen,
            (number, _) => Seen { number: number.unwrap_or(0), at_ms: at_ms(&told, now_ms) },
        };
        self.subscriptions.advance(org, &told.subscription, reached).await?;
        Ok(())
    }

    async fn take(
        &self,
        service: &Service,
        org: &OrgId,
        ehr: &Ehr,
        told: &Notification,
        kind: &str,
        id: &str,
    ) -> Result<(), Problem> {
        let Some(kind) = KINDS.into_iter().find(|k| *k == kind) else { return Ok(()) };
        let of_it = |(url, resource): &&(String, Json)| {
            named(url) == Some((kind, id))
                || (resource.text("resourceType") == Some(kind) && resource.text("id") == Some(id))
        };
        let brought: Vec<_> = told.resources.iter().filter(of_it).collect();
        if brought.is_empty() {
            return self.fetch(service, org, ehr, kind, id).await;
        }
        for (_, resource) in brought {
            let raw = serde_json::to_vec(resource).unwrap_or_default();
            self.store(service, org, ehr, kind, &raw).await?;
        }
        Ok(())
    }

    /// Pulls a resource and stores it. By its type and id: a server that is known by several addresses names its resources
    /// by any of them, and is asked at the configured one. One that is not to be had is told of in the log, and passed
    /// over: it was deleted since, or is longer than anything that is taken.
    async fn fetch(&self, service: &Service, org: &OrgId, ehr: &Ehr, kind: &str, id: &str) -> Result<(), Problem> {
        match ehr.read(&format!("{kind}/{id}")).await {
            Ok(raw) => self.store(service, org, ehr, kind, &raw).await,
            Err(fault) if fault.class() == FaultClass::Rejected => {
                METRICS.fault(fault.code);
                tracing::warn!(%org, code = %fault.code, detail = %fault.detail, resource = %logged(kind, id), "a resource that the EHR told of is passed over");
                Ok(())
            }
            Err(fault) => Err(fault.into()),
        }
    }

    async fn replay(&self, service: &Service, org: &OrgId, ehr: &Ehr, since_ms: u64) -> Result<(), Problem> {
        let seconds = i64::try_from(since_ms / 1_000).unwrap_or_default();
        let since = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        let since = since.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        for kind in ["DocumentReference", "DiagnosticReport"] {
            let mut search = ehr.updated_since(kind, &since);
            while let Some(ids) = ehr.page(&mut search).await? {
                for id in ids {
                    self.fetch(service, org, ehr, kind, &id).await?;
                }
            }
        }
        Ok(())
    }

    /// A resource that is wrong in itself is kept, told of in the log, and passed over: no notification brings it again better,
    /// and those behind it must not wait.
    async fn store(&self, service: &Service, org: &OrgId, ehr: &Ehr, kind: &str, raw: &[u8]) -> Result<(), Problem> {
        let stored = async {
            let create = read(kind, raw, None)?;
            service.store(org, create, Some(ehr)).await
        };
        match stored.await {
            Ok(_) => Ok(()),
            Err(problem) if problem.fault.class() == FaultClass::Rejected => {
                METRICS.fault(problem.fault.code);
                let kept = service.keep_raw(org, "passed-over", Bytes::copy_from_slice(raw)).await?;
                tracing::warn!(%org, code = %problem.fault.code, detail = %problem.fault.detail, %kept, "a resource of the EHR is passed over");
                Ok(())
            }
            Err(problem) => Err(problem),
        }
    }
}

/// What a resource of the EHR is called in the log: its id is any text of the EHR's, and may be a patient's number.
/// Whoever has the id finds the line by `printf %s ID | sha256sum`.
fn logged(kind: &str, id: &str) -> String {
    format!("{kind}/{}", &Digest::of(id.as_bytes()).to_hex()[..32])
}

/// Up to when a notification tells of everything, milliseconds: it may have come late, and then says nothing of what
/// happened between. Clocks that are ahead are not believed.
fn at_ms(told: &Notification, now_ms: u64) -> u64 {
    let events = told.events.iter().filter_map(|e| instant_ms(e.timestamp.as_deref()?)).max();
    let at = events.or_else(|| instant_ms(told.timestamp.as_deref()?));
    at.map_or(now_ms, |at| at.min(now_ms))
}

/// An instant of FHIR. Of one without a time or its zone, the day's start where it begins first.
fn instant_ms(text: &str) -> Option<u64> {
    /// Of the zone that is furthest ahead.
    const AHEAD_MS: i64 = 14 * 3_600_000;
    let ms = match DateTime::parse_from_rfc3339(text) {
        Ok(at) => at.timestamp_millis(),
        Err(_) => {
            let day: NaiveDate = text.get(..10)?.parse().ok()?;
            day.and_time(NaiveTime::MIN).and_utc().timestamp_millis() - AHEAD_MS
        }
    };
    u64::try_from(ms).ok()
}

#[cfg(test)]
mod tests;
