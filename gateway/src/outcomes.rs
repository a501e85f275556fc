//! The processor's reports, from the outcome queue into organizations' histories.

use leadline_activities::metrics::METRICS;
use leadline_activities::outcomes::Outcomes;
use leadline_activities::ports::queue::Incoming;
use leadline_domain::{Fault, FaultClass};
use std::time::Duration;
use tokio::sync::watch;

/// SQS: at most ten messages an answer, and at most 20 s of waiting for the first.
const AT_ONCE: u32 = 10;
const WAIT_S: u32 = 20;
/// Waiting times while the queue does not answer.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(15);

/// What became of a batch of messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkedOff {
    /// Reports kept and audited, and their messages deleted.
    pub recorded: usize,
    /// Messages that are no report, or none that can be kept. They come back; after five times SQS moves them to the
    /// environment's dead letters, whose alarm goes off.
    pub refused: usize,
    /// Messages that come back because something did not answer.
    pub left: usize,
}

/// Works off reports until `stop` says so.
pub async fn serve(outcomes: &Outcomes, mut stop: watch::Receiver<bool>) {
    let mut wait = RETRY_FIRST;
    loop {
        // A message that is received and then dropped comes back: nothing is lost at a stop.
        let done = tokio::select! {
            () = stopped(&mut stop) => return,
            done = once(outcomes, WAIT_S) => done,
        };
        let pause = match done {
            Ok(d) if d.left == 0 => {
                wait = RETRY_FIRST;
                continue;
            }
            Ok(_) => wait,
            Err(fault) => {
                tracing::warn!(%fault, "outcome queue not read");
                METRICS.fault(fault.code);
                wait.max(Duration::from_millis(fault.retry_after_ms.unwrap_or(0)))
            }
        };
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = tokio::time::sleep(pause) => {}
        }
        wait = (wait * 2).min(RETRY_MAX);
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|s| *s).await;
}

/// Works off what one request yields, waiting up to `wait_s` seconds for a first message.
///
/// # Errors
/// `queue.*`; then nothing was deleted, and what was recorded comes again and changes nothing.
pub async fn once(outcomes: &Outcomes, wait_s: u32) -> Result<WorkedOff, Fault> {
    let received = outcomes.queue.receive(AT_ONCE, wait_s).await?;
    let results = futures::future::join_all(received.iter().map(|m| outcomes.record(&m.body))).await;
    let mut done = WorkedOff::default();
    let mut over = Vec::new();
    for (message, result) in received.iter().zip(results) {
        match result {
            Ok(_) => {
                done.recorded += 1;
                over.push(message.receipt.clone());
            }
            Err(fault) if fault.class() == FaultClass::Rejected => {
                done.refused += 1;
                told(message, &fault);
            }
            Err(fault) => {
                done.left += 1;
                told(message, &fault);
            }
        }
    }
    if !over.is_empty() {
        outcomes.queue.delete(&over).await?;
    }
    Ok(done)
}

fn told(message: &Incoming, fault: &Fault) {
    METRICS.fault(fault.code);
    tracing::warn!(%fault, attempt = message.receive_count, "outcome not recorded");
}

#[cfg(test)]
mod tests {
    use super::*;
    use leadline_activities::adapters::aws_fake::FakeQueue;
    use leadline_activities::adapters::outcomes_fake::{FakeOutcomeStores, FakeOutcomes};
    use leadline_activities::ports::queue::{Outgoing, Queue};
    use leadline_activities::registry::{OrgConfig, Registry, Snapshot};
    use leadline_domain::outcome::{OUTCOME_SCHEMA, ProcessingStatus, ProcessorReport};
    use leadline_domain::{
        Digest, EnvFacts, EnvId, FaultCode, IngressEndpoints, OrgId, OrgScope, Placement, RecordingId,
    };
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    struct Rig {
        outcomes: Outcomes,
        store: Arc<FakeOutcomes>,
        queue: Arc<FakeQueue>,
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
        let stores = Arc::new(FakeOutcomeStores::default());
        let store = stores.of(&scope);
        let (queue, audit) = (FakeQueue::standard(), FakeQueue::standard());
        let snapshot = Snapshot { facts, gates: None, retention_days: 1, orgs, outcomes: None };
        let registry = Arc::new(Registry::fixed(snapshot));
        let outcomes = Outcomes { registry, stores, queue: queue.clone(), audit: audit.clone() };
        Rig { outcomes, store, queue, audit, org }
    }

    fn report(org: &OrgId, content: &[u8], id: &str) -> String {
        ProcessorReport {
            schema: OUTCOME_SCHEMA.into(),
            report: id.into(),
            recording: RecordingId::new(org, &Digest::of(content)).to_string(),
            status: ProcessingStatus::Processed,
            reason: None,
            processor: "p/1".into(),
            time: "2026-01-02T03:04:05Z".into(),
        }
        .to_json()
    }

    async fn put(r: &Rig, bodies: &[String]) {
        let messages: Vec<Outgoing> = bodies
            .iter()
            .map(|b| Outgoing { body: b.clone(), dedup_id: String::new(), group_id: String::new() })
            .collect();
        r.queue.send(&messages).await.into_iter().for_each(|s| s.unwrap());
    }

    #[tokio::test]
    async fn good_reports_are_worked_off_and_bad_ones_stay_for_the_dead_letters() {
        let r = rig();
        r.store.recording(Digest::of(b"x"), 0);
        let (good, same) = (report(&r.org, b"x", "r1"), report(&r.org, b"x", "r1"));
        put(&r, &[good, "{}".into(), same, report(&r.org, b"not there", "r1")]).await;
        let done = once(&r.outcomes, 0).await.unwrap();
        assert_eq!(done, WorkedOff { recorded: 2, refused: 2, left: 0 });
        assert_eq!((r.store.kept().len(), r.audit.accepted().len()), (1, 2));
        assert_eq!(r.queue.depth().await.unwrap(), (0, 2), "the bad ones are not deleted: SQS counts them out");
    }

    #[tokio::test]
    async fn what_does_not_answer_loses_no_report() {
        let r = rig();
        r.store.recording(Digest::of(b"x"), 0);
        r.store.faults.fail("has_recording", 1, &Fault::new(FaultCode::StoreUnreachable, "as planned"));
        put(&r, &[report(&r.org, b"x", "r1")]).await;
        assert_eq!(once(&r.outcomes, 0).await.unwrap(), WorkedOff { left: 1, ..WorkedOff::default() });
        r.queue.return_in_flight();
        assert_eq!(once(&r.outcomes, 0).await.unwrap(), WorkedOff { recorded: 1, ..WorkedOff::default() });
        assert_eq!(r.queue.depth().await.unwrap(), (0, 0));
    }

    /// By HTTP: the same as through the queue, for whoever may, and for its own organization only.
    #[tokio::test]
    async fn a_report_by_http_is_the_same_report() {
        use crate::http::auth::Caller;
        use crate::http::reports::{Reporter, SCOPE, record};
        let r = rig();
        r.store.recording(Digest::of(b"x"), 0);
        let reporter = |org: &str| {
            let scopes = BTreeSet::from([SCOPE.to_owned()]);
            Reporter::try_from(Caller { org: OrgId::parse(org).unwrap(), subject: "processor".into(), scopes }).unwrap()
        };
        let own = reporter("st-mary");
        let good = report(&r.org, b"x", "r1");
        let first = record(&r.outcomes, &own, good.as_bytes()).await.unwrap();
        // Once more, and through the queue: nothing new is kept, and the entry is the same.
        assert_eq!(record(&r.outcomes, &own, good.as_bytes()).await.unwrap().0, first.0);
        put(&r, std::slice::from_ref(&good)).await;
        assert_eq!(once(&r.outcomes, 0).await.unwrap().recorded, 1);
        let entries: BTreeSet<String> = r.audit.accepted().into_iter().map(|m| m.dedup_id).collect();
        assert_eq!((r.store.kept().len(), entries), (1, BTreeSet::from([first.0.entry])));
        for (who, body, status) in [
            (&reporter("kings-road"), good.clone(), 403),
            (&own, good.replace("p/1", "p/2"), 409),
            (&own, report(&r.org, b"not there", "r1"), 404),
            (&own, "{}".into(), 422),
            (&own, "John Doe".into(), 422),
        ] {
            let told = record(&r.outcomes, who, body.as_bytes()).await.unwrap_err();
            assert_eq!(told.status().as_u16(), status, "{body}");
            assert!(!told.body().detail.unwrap_or_default().contains("Doe"));
        }
        assert_eq!(r.store.kept().len(), 1);
    }

    #[tokio::test]
    async fn a_stop_ends_the_loop() {
        let r = rig();
        let (stop, stopped) = watch::channel(false);
        stop.send(true).unwrap();
        serve(&r.outcomes, stopped).await;
    }
}
