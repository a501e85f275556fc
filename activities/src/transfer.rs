//! Copies of recordings between an organization's own storages.

// The activities macro makes constants that it does not document.
#![allow(missing_docs)]

use crate::deps::Deps;
use crate::faults::ended;
use crate::heartbeat::until_cancelled;
use crate::ports::transfer::{Between, Copied};
use futures::{StreamExt, TryStreamExt};
use leadline_domain::transfer::{Selection, TransferReport};
use leadline_domain::{Digest, Fault, FaultCode};
use leadline_workflows::transfer::{TransferInput, definitions};
use std::sync::Arc;
use temporalio_sdk::activities::{ActivityContext, ActivityError, activities};

/// Recordings of one activity: one event of the history each page, and little to look at again after a crash.
const PAGE: usize = 200;
/// Copies at once.
const COPIES: usize = 8;

/// Implements `leadline_workflows::transfer::Transferring`.
pub struct TransferActivities {
    deps: Arc<Deps>,
}

impl TransferActivities {
    /// Works with these parts.
    #[must_use]
    pub fn new(deps: Arc<Deps>) -> Self {
        Self { deps }
    }
}

#[activities]
impl TransferActivities {
    /// See the contract.
    #[activity(definition = definitions::TransferSome)]
    pub async fn transfer_some(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: TransferInput,
    ) -> Result<TransferReport, ActivityError> {
        ended("transfer_some", until_cancelled(&ctx, some(&self.deps, input)).await?)
    }
}

async fn some(deps: &Deps, input: TransferInput) -> Result<TransferReport, Fault> {
    let t = &input.transfer;
    let org = deps.registry.org(&t.org)?;
    // Whoever started it: the rule holds where the work is done.
    t.allowed(&org.storages, false)?;
    let between = deps.storages.between(&org.scope, t.from, t.to).await?;
    page(&*between, &t.selection, input.report).await
}

/// The next page of a selection.
async fn page(between: &dyn Between, selection: &Selection, done: TransferReport) -> Result<TransferReport, Fault> {
    let after = done.after.or_else(|| selection.after());
    let listed = between.recordings_after(after.as_ref()).await?;
    let over = listed.is_empty() || listed.iter().any(|d| selection.ends_before(d));
    let mut here: Vec<Digest> = listed.into_iter().filter(|d| selection.takes(d)).collect();
    let all = here.len() <= PAGE;
    here.truncate(PAGE);
    let copied: Vec<(Digest, Copied)> = futures::stream::iter(here)
        .map(|d| async move { Ok::<_, Fault>((d, between.copy(&d).await?)) })
        .buffered(COPIES)
        .try_collect()
        .await?;
    let mut report = TransferReport { complete: over && all, ..done };
    for (digest, what) in copied {
        match what {
            Copied::New(bytes) => {
                report.copied += 1;
                report.bytes += bytes;
            }
            Copied::There => report.there += 1,
            // It was listed, and recordings are not removed.
            Copied::Missing => {
                return Err(Fault::new(FaultCode::BugInvariant, "a recording that was listed is not there"));
            }
        }
        report.after = Some(digest);
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Mutex;

    /// Two storages in memory; copies fail as often as planned.
    struct Two {
        from: BTreeSet<Digest>,
        to: Mutex<BTreeMap<Digest, u32>>,
        fails: Mutex<u32>,
    }

    #[async_trait]
    impl Between for Two {
        async fn recordings_after(&self, after: Option<&Digest>) -> Result<Vec<Digest>, Fault> {
            let behind = self.from.iter().filter(|d| after.is_none_or(|a| *d > a));
            Ok(behind.take(1_000).copied().collect())
        }
        async fn copy(&self, digest: &Digest) -> Result<Copied, Fault> {
            let mut to = self.to.lock().unwrap();
            if to.contains_key(digest) {
                return Ok(Copied::There);
            }
            let mut fails = self.fails.lock().unwrap();
            if *fails > 0 && digest.as_bytes()[1].is_multiple_of(4) {
                *fails -= 1;
                return Err(Fault::new(FaultCode::StoreUnreachable, "as planned"));
            }
            *to.entry(*digest).or_default() += 1;
            Ok(Copied::New(10))
        }
    }

    async fn run(two: &Two, selection: &Selection) -> TransferReport {
        let mut report = TransferReport::default();
        for _ in 0..1_000 {
            // A failed step is repeated from where the last one ended, as the workflow does.
            match page(two, selection, report.clone()).await {
                Ok(r) if r.complete => return r,
                Ok(r) => report = r,
                Err(_) => {}
            }
        }
        panic!("does not end: {report:?}");
    }

    #[tokio::test]
    async fn everything_is_copied_once_over_pages_and_failures() {
        let from: BTreeSet<Digest> = (0..1_500u32).map(|n| Digest::of(&n.to_be_bytes())).collect();
        for selection in [Selection::All, Selection::prefix("a").unwrap(), Selection::prefix("0").unwrap()] {
            let wanted: Vec<Digest> = from.iter().filter(|d| selection.takes(d)).copied().collect();
            let two = Two { from: from.clone(), to: Mutex::default(), fails: Mutex::new(7) };
            let report = run(&two, &selection).await;
            let to = two.to.into_inner().unwrap();
            assert_eq!(to.keys().copied().collect::<Vec<_>>(), wanted);
            assert!(to.values().all(|n| *n == 1));
            assert_eq!(report.copied + report.there, wanted.len() as u64);
        }
    }

    #[tokio::test]
    async fn one_and_none() {
        let from: BTreeSet<Digest> = (0..50u32).map(|n| Digest::of(&n.to_be_bytes())).collect();
        let one = *from.iter().next_back().unwrap();
        let two = Two { from, to: Mutex::default(), fails: Mutex::new(0) };
        assert_eq!(run(&two, &Selection::One(one)).await.copied, 1);
        assert_eq!(run(&two, &Selection::One(one)).await.there, 1);
        let absent = run(&two, &Selection::One(Digest::of(b"not there"))).await;
        assert_eq!((absent.copied, absent.there), (0, 0));
    }
}
