//! The watch of a share: hints and listings in, lifecycles and batches out.

// The activities macro makes constants that it does not document.
#![allow(missing_docs)]

mod members;
mod session;
mod starts;
mod tracker;

pub(crate) use session::marker;

use crate::deps::Deps;
use crate::engine::Engine;
use leadline_domain::{Fault, FaultClass, FaultCode};
use leadline_workflows::contracts::{WatchInput, WatchStatus, definitions};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use temporalio_sdk::activities::{ActivityContext, ActivityError, activities};

const HEARTBEAT: Duration = Duration::from_secs(2);
/// After this time the activity ends, so that its workflow begins a new history.
const ROTATE: Duration = Duration::from_secs(24 * 3600);
/// Waiting times after a session was lost.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// The longest while a human has to mend something.
const BLOCKED_MAX: Duration = Duration::from_secs(60);
/// A refused logon is repeated seldom: repeating it often would lock the clinic's account.
const REFUSED_FIRST: Duration = Duration::from_secs(5);
const REFUSED_MAX: Duration = Duration::from_secs(120);

/// Implements `leadline_workflows::contracts::Watching`.
pub struct WatchActivities {
    deps: Arc<Deps>,
}

impl WatchActivities {
    /// Works with these parts.
    #[must_use]
    pub fn new(deps: Arc<Deps>) -> Self {
        Self { deps }
    }
}

type Status = Arc<Mutex<WatchStatus>>;

fn update(status: &Status, f: impl FnOnce(&mut WatchStatus)) {
    f(&mut status.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
}

fn read(status: &Status) -> WatchStatus {
    status.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
}

#[activities]
impl WatchActivities {
    /// See the contract.
    #[activity(definition = definitions::WatchShare)]
    pub async fn watch_share(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: WatchInput,
    ) -> Result<WatchStatus, ActivityError> {
        let status = Status::default();
        let beat = async {
            loop {
                // One that cannot be sent is no reason to stop: the server's timeout decides.
                let _ = ctx.record_heartbeat(read(&status)).await;
                tokio::time::sleep(HEARTBEAT).await;
            }
        };
        let engine = Engine::new(ctx.client());
        tokio::select! {
            () = watch(&self.deps, &engine, &input, &status) => Ok(read(&status)),
            () = tokio::time::sleep(ROTATE) => Ok(read(&status)),
            () = beat => Ok(read(&status)),
            () = ctx.cancelled() => Err(ActivityError::cancelled()),
        }
    }
}

/// Watches for ever: every fault is waited out here, with the share's state visible in the heartbeat.
async fn watch(deps: &Arc<Deps>, engine: &Engine, input: &WatchInput, status: &Status) {
    let mut state = None;
    let mut wait = Duration::ZERO;
    loop {
        let began = tokio::time::Instant::now();
        let Err(fault) = session::run(deps, engine, input, status, &mut state).await;
        report(deps, input, &fault);
        update(status, |s| s.fault = Some(fault.clone()));
        // A session that went well for a while is not to blame for those before it.
        let last = if began.elapsed() > RETRY_MAX { Duration::ZERO } else { wait };
        wait = next_wait(&fault, last);
        tokio::time::sleep(wait.max(Duration::from_millis(fault.retry_after_ms.unwrap_or(0)))).await;
    }
}

/// How long to wait after `fault`, having waited `last` before; zero if it is the first.
fn next_wait(fault: &Fault, last: Duration) -> Duration {
    let (first, most) = match (fault.code, fault.class()) {
        (FaultCode::ShareLogonRefused, _) => (REFUSED_FIRST, REFUSED_MAX),
        (_, FaultClass::Blocked) => (RETRY_FIRST, BLOCKED_MAX),
        _ => (RETRY_FIRST, RETRY_MAX),
    };
    (last * 2).clamp(first, most)
}

fn report(deps: &Deps, input: &WatchInput, fault: &Fault) {
    crate::metrics::METRICS.fault(fault.code);
    if fault.code == FaultCode::ShareLogonRefused {
        deps.shares.forget(&input.org, &input.share);
    }
    match fault.class() {
        FaultClass::Transient | FaultClass::Throttled => tracing::warn!(%fault, "watch interrupted, will go on"),
        _ => tracing::error!(%fault, "watch waits for a human"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(code: FaultCode, n: usize) -> Vec<u128> {
        let fault = Fault::new(code, "test");
        std::iter::successors(Some(next_wait(&fault, Duration::ZERO)), |w| Some(next_wait(&fault, *w)))
            .take(n)
            .map(|w| w.as_millis())
            .collect()
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_looked_for_soon_and_a_refused_logon_repeated_seldom() {
        assert_eq!(waits(FaultCode::ShareFolderMissing, 4), [250, 500, 1000, 2000]);
        assert_eq!(waits(FaultCode::ShareFolderMissing, 10).last(), Some(&60_000));
        assert_eq!(waits(FaultCode::ShareUnreachable, 8).last(), Some(&10_000));
        assert_eq!(waits(FaultCode::ShareLogonRefused, 6), [5_000, 10_000, 20_000, 40_000, 80_000, 120_000]);
    }
}
