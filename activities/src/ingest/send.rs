//! Messages and audit entries onto their queues.

use crate::deps::Deps;
use crate::metrics::METRICS;
use crate::ports::queue::Outgoing;
use leadline_domain::lifecycle::Outcome;
use leadline_domain::{Fault, IngestMessage, LedgerEntry};
use leadline_workflows::contracts::{EnqueueInput, PerItem};

pub(super) async fn enqueue(deps: &Deps, input: &EnqueueInput) -> Result<PerItem, Fault> {
    let scope = deps.registry.scope(&input.org)?;
    let messages: Vec<Outgoing> = input
        .deliveries
        .iter()
        .map(|d| {
            let m = IngestMessage::new(&scope, d);
            Outgoing { body: m.to_json(), group_id: m.group_id(), dedup_id: m.id }
        })
        .collect();
    Ok(per_item("enqueue", deps.ingest_queue.send(&messages).await))
}

pub(super) async fn record(deps: &Deps, entries: &[LedgerEntry]) -> Result<PerItem, Fault> {
    let messages: Vec<Outgoing> = entries
        .iter()
        .map(|e| Outgoing {
            body: serde_json::to_string(e).unwrap_or_default(),
            dedup_id: e.id.clone(),
            group_id: e.organization.to_string(),
        })
        .collect();
    let sent = per_item("record", deps.audit_queue.send(&messages).await);
    for (entry, _) in entries.iter().zip(&sent).filter(|(_, f)| f.is_none()) {
        METRICS.outcome(entry.organization.as_str(), kind(&entry.outcome));
    }
    Ok(sent)
}

fn kind(o: &Outcome) -> &'static str {
    match o {
        Outcome::Delivered { .. } => "delivered",
        Outcome::Duplicate { .. } => "duplicate",
        Outcome::Quarantined { .. } => "quarantined",
        Outcome::Withdrawn { .. } => "withdrawn",
    }
}

fn per_item(step: &'static str, results: Vec<Result<(), Fault>>) -> PerItem {
    results
        .into_iter()
        .map(|r| {
            r.err().inspect(|fault| {
                tracing::warn!(step, %fault, "message not accepted");
                METRICS.fault(fault.code);
            })
        })
        .collect()
}
