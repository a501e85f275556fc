//! Copies and moves of recordings between an organization's own storages.

// The activities macro makes constants that it does not document.
#![allow(missing_docs)]

use crate::deps::Deps;
use crate::faults::ended;
use crate::heartbeat::until_cancelled;
use crate::ports::queue::{Outgoing, Queue};
use crate::ports::transfer::{Between, Copied};
use futures::{StreamExt, TryStreamExt};
use leadline_domain::transfer::{MoveEntry, Transfer, TransferReport};
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
    t.allowed(&org.storages)?;
    let between = deps.storages.between(&org.scope, t.from, t.to, t.moved).await?;
    page(&*between, &*deps.audit_queue, t, input.report).await
}

/// The next page of a selection.
async fn page(
    between: &dyn Between,
    audit: &dyn Queue,
    t: &Transfer,
    done: TransferReport,
) -> Result<TransferReport, Fault> {
    let selection = &t.selection;
    let after = done.after.or_else(|| selection.after());
    let listed = between.recordings_after(after.as_ref()).await?;
    let over = listed.is_empty() || listed.iter().any(|d| selection.ends_before(d));
    let mut here: Vec<Digest> = listed.into_iter().filter(|d| selection.takes(d)).collect();
    let all = here.len() <= PAGE;
    here.truncate(PAGE);
    let copied: Vec<(Digest, Copied, bool)> = futures::stream::iter(here)
        .map(|d| async move {
            let copied = between.copy(&d).await?;
            let gone = t.moved && copied != Copied::Missing && go(between, audit, t, &d).await?;
            Ok::<_, Fault>((d, copied, gone))
        })
        .buffered(COPIES)
        .try_collect()
        .await?;
    let mut report = TransferReport { complete: over && all, ..done };
    for (digest, what, gone) in copied {
        report.removed += u64::from(gone);
        match what {
            Copied::New(bytes) => {
                report.copied += 1;
                report.bytes += bytes;
            }
            Copied::There => report.there += 1,
            // It was listed, and only its own rule of keeping, or another move, takes it from there.
            Copied::Missing if t.from.lets_go() => {}
            Copied::Missing => {
                return Err(Fault::new(FaultCode::BugInvariant, "a recording that was listed is not there"));
            }
        }
        report.after = Some(digest);
    }
    Ok(report)
}

/// Removes a recording from where it was, after its copy was verified and the move is on record. `false` if it was gone.
async fn go(between: &dyn Between, audit: &dyn Queue, t: &Transfer, digest: &Digest) -> Result<bool, Fault> {
    let Some(version) = between.source(digest).await? else { return Ok(false) };
    let entry = MoveEntry::of(t, digest, &version.id, version.stored_ms);
    let message = Outgoing {
        body: serde_json::to_string(&entry).unwrap_or_default(),
        dedup_id: entry.id,
        group_id: t.org.to_string(),
    };
    audit.send_one(message).await?;
    between.let_go(digest).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::transfer::Version;
    use async_trait::async_trait;
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Mutex;

    use crate::adapters::aws_fake::{FakeQueue, Planned};
    use leadline_domain::OrgId;
    use leadline_domain::transfer::{Selection, Storage};

    /// Two storages in memory; steps fail as often as planned.
    #[derive(Default)]
    struct Two {
        from: Mutex<BTreeSet<Digest>>,
        to: Mutex<BTreeMap<Digest, u32>>,
        /// Copies that fail.
        fails: Mutex<u32>,
        /// Calls of all steps so far.
        steps: Mutex<u32>,
        /// The call that fails, and whether it has had its effect by then.
        fail_at: Option<(u32, bool)>,
    }

    impl Two {
        fn of(n: u32) -> Self {
            let from = (0..n).map(|n| Digest::of(&n.to_be_bytes())).collect();
            Self { from: Mutex::new(from), ..Self::default() }
        }

        /// Runs a step that may fail before or after its effect.
        fn step<T>(&self, effect: impl FnOnce() -> T) -> Result<T, Fault> {
            let mut steps = self.steps.lock().unwrap();
            *steps += 1;
            let failed = || Fault::new(FaultCode::StoreUnreachable, "as planned");
            match self.fail_at {
                Some((n, false)) if n == *steps => Err(failed()),
                Some((n, true)) if n == *steps => {
                    effect();
                    Err(failed())
                }
                _ => Ok(effect()),
            }
        }
    }

    #[async_trait]
    impl Between for Two {
        async fn recordings_after(&self, after: Option<&Digest>) -> Result<Vec<Digest>, Fault> {
            let behind = |d: &&Digest| after.is_none_or(|a| *d > a);
            self.step(|| self.from.lock().unwrap().iter().filter(behind).take(1_000).copied().collect())
        }
        async fn copy(&self, digest: &Digest) -> Result<Copied, Fault> {
            if self.to.lock().unwrap().contains_key(digest) {
                return Ok(Copied::There);
            }
            if !self.from.lock().unwrap().contains(digest) {
                return Ok(Copied::Missing);
            }
            let mut fails = self.fails.lock().unwrap();
            if *fails > 0 && digest.as_bytes()[1].is_multiple_of(4) {
                *fails -= 1;
                return Err(Fault::new(FaultCode::StoreUnreachable, "as planned"));
            }
            self.step(|| {
                *self.to.lock().unwrap().entry(*digest).or_default() += 1;
                Copied::New(10)
            })
        }
        async fn source(&self, digest: &Digest) -> Result<Option<Version>, Fault> {
            let version = Version { id: "v1".into(), stored_ms: 7 };
            self.step(|| self.from.lock().unwrap().contains(digest).then_some(version))
        }
        async fn let_go(&self, digest: &Digest) -> Result<(), Fault> {
            assert!(self.to.lock().unwrap().contains_key(digest), "removed before it was copied");
            self.step(|| {
                self.from.lock().unwrap().remove(digest);
            })
        }
    }

    fn transfer(selection: &Selection, moved: bool) -> Transfer {
        let from = if moved { Storage::Processing } else { Storage::Data };
        let to = if moved { Storage::Archive } else { Storage::Processing };
        Transfer { org: OrgId::parse("st-mary").unwrap(), from, to, selection: selection.clone(), moved }
    }

    async fn run_with(two: &Two, audit: &FakeQueue, t: &Transfer) -> TransferReport {
        let mut report = TransferReport::default();
        for _ in 0..1_000 {
            // A failed step is repeated from where the last one ended, as the workflow does.
            match page(two, audit, t, report.clone()).await {
                Ok(r) if r.complete => return r,
                Ok(r) => report = r,
                Err(_) => {}
            }
        }
        panic!("does not end: {report:?}");
    }

    async fn run(two: &Two, selection: &Selection) -> TransferReport {
        run_with(two, &FakeQueue::standard(), &transfer(selection, false)).await
    }

    #[tokio::test]
    async fn everything_is_copied_once_over_pages_and_failures() {
        for selection in [Selection::All, Selection::prefix("a").unwrap(), Selection::prefix("0").unwrap()] {
            let two = Two { fails: Mutex::new(7), ..Two::of(1_500) };
            let from = two.from.lock().unwrap().clone();
            let wanted: Vec<Digest> = from.iter().filter(|d| selection.takes(d)).copied().collect();
            let report = run(&two, &selection).await;
            assert_eq!(*two.from.lock().unwrap(), from);
            let to = two.to.into_inner().unwrap();
            assert_eq!(to.keys().copied().collect::<Vec<_>>(), wanted);
            assert!(to.values().all(|n| *n == 1));
            assert_eq!((report.copied + report.there, report.removed), (wanted.len() as u64, 0));
        }
    }

    #[tokio::test]
    async fn one_and_none() {
        let two = Two::of(50);
        let one = *two.from.lock().unwrap().iter().next_back().unwrap();
        assert_eq!(run(&two, &Selection::One(one)).await.copied, 1);
        assert_eq!(run(&two, &Selection::One(one)).await.there, 1);
        let absent = run(&two, &Selection::One(Digest::of(b"not there"))).await;
        assert_eq!((absent.copied, absent.there), (0, 0));
    }

    /// Whatever step of a move fails, before its effect or after it: in the end everything is in the second storage
    /// once, nothing in the first, each has its entry, and at no time was anything in neither (`let_go` asserts it).
    #[tokio::test]
    async fn a_move_survives_the_failure_of_every_step() {
        let t = transfer(&Selection::All, true);
        let smooth = Two::of(3);
        run_with(&smooth, &FakeQueue::standard(), &t).await;
        let steps = *smooth.steps.lock().unwrap();
        assert!(steps > 9, "{steps}");
        for (n, after) in (1..=steps).flat_map(|n| [(n, false), (n, true)]) {
            let two = Two { fail_at: Some((n, after)), ..Two::of(3) };
            let all = two.from.lock().unwrap().clone();
            let audit = FakeQueue::standard();
            run_with(&two, &audit, &t).await;
            assert!(two.from.lock().unwrap().is_empty(), "{n} {after}");
            let to = two.to.lock().unwrap().clone();
            assert_eq!(to.into_iter().collect::<Vec<_>>(), all.iter().map(|d| (*d, 1)).collect::<Vec<_>>());
            assert_eq!(moves(&audit), all.iter().map(|d| MoveEntry::of(&t, d, "v1", 7).id).collect());
        }
    }

    /// What is not on record is not removed.
    #[tokio::test]
    async fn nothing_goes_without_its_entry() {
        let (two, t) = (Two::of(1), transfer(&Selection::All, true));
        let audit = FakeQueue::standard();
        let lost = Fault::new(FaultCode::QueueUnreachable, "as planned");
        audit.faults.plan("send", Planned::Fail(lost.clone()));
        // Sent, and the answer lost: sent again, with the same id.
        audit.faults.plan("send", Planned::FailAfter(lost));
        let failed = page(&two, &*audit, &t, TransferReport::default()).await;
        assert_eq!(failed.unwrap_err().code, FaultCode::QueueUnreachable);
        assert_eq!((two.from.lock().unwrap().len(), two.to.lock().unwrap().len()), (1, 1));
        let report = run_with(&two, &audit, &t).await;
        assert_eq!((report.copied, report.there, report.removed), (0, 1, 1));
        assert_eq!((two.from.lock().unwrap().len(), moves(&audit).len()), (0, 1));
    }

    fn moves(audit: &FakeQueue) -> BTreeSet<String> {
        let entries = audit.accepted();
        entries.iter().map(|m| serde_json::from_str::<MoveEntry>(&m.body).unwrap().id).collect()
    }
}
