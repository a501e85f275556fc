//! The connection of a share: made when needed, made anew after a loss.

use super::SmbConfig;
use super::connection::{self, Link};
use leadline_domain::Fault;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Mutex;

/// The connection's place.
#[derive(Default)]
pub(super) struct Line {
    link: Mutex<Option<Link>>,
    /// Attempts to connect that ended, and how the last one failed.
    attempts: AtomicU64,
    failed: std::sync::Mutex<Option<Fault>>,
}

impl Line {
    /// The connection, and whether it was there already. Callers that wait while another one tries to connect share
    /// how that ends: against a silent server each would otherwise wait for all before it.
    pub(super) async fn link(&self, config: &SmbConfig) -> Result<(Link, bool), Fault> {
        let seen = self.attempts.load(Ordering::Acquire);
        let mut slot = self.link.lock().await;
        if let Some(l) = slot.as_ref()
            && !l.conn.is_disconnected()
        {
            return Ok((l.clone(), true));
        }
        *slot = None;
        if self.attempts.load(Ordering::Acquire) != seen
            && let Some(f) = self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
        {
            return Err(f);
        }
        let made = connection::connect(config).await;
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = made.as_ref().err().cloned();
        self.attempts.fetch_add(1, Ordering::Release);
        let l = made?;
        *slot = Some(l.clone());
        Ok((l, false))
    }

    /// Drops a connection that failed, unless another call has replaced it already.
    pub(super) async fn lost(&self, link: &Link) {
        let mut slot = self.link.lock().await;
        if slot.as_ref().is_some_and(|l| l.is(link)) {
            *slot = None;
        }
    }
}
