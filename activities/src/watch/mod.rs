//! The watch of a share: hints and listings in, lifecycles and batches out.

// The activities macro makes constants that it does not document.
#![allow(missing_docs)]

mod session;
mod starts;
mod tracker;

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
/// The same while a human has to mend something.
const BLOCKED_FIRST: Duration = Duration::from_secs(5);
const BLOCKED_MAX: Duration = Duration::from_secs(120);

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
#[tracing::instrument(skip_all, fields(org = %input.org, share = %input.share))]
async fn watch(deps: &Arc<Deps>, engine: &Engine, input: &WatchInput, status: &Status) {
    let mut state = None;
    let mut wait = RETRY_FIRST;
    loop {
        let began = tokio::time::Instant::now();
        let Err(fault) = session::run(deps, engine, input, status, &mut state).await;
        report(deps, input, &fault);
        update(status, |s| s.fault = Some(fault.clone()));
        if began.elapsed() > RETRY_MAX {
            wait = RETRY_FIRST;
        }
        // A refused logon is repeated seldom: repeating it often would lock the clinic's account.
        let (least, most) = match fault.class() {
            FaultClass::Blocked if fault.retry_after_ms.is_none() => (BLOCKED_FIRST, BLOCKED_MAX),
            _ => (wait, RETRY_MAX),
        };
        wait = wait.max(least);
        tokio::time::sleep(wait.max(Duration::from_millis(fault.retry_after_ms.unwrap_or(0)))).await;
        wait = (wait * 2).min(most);
    }
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
