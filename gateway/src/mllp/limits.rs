//! What one sender may take from the others: connections, memory, time.

use leadline_domain::OrgId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A message longer than this is a large one, bytes.
pub(super) const LARGE: usize = 1 << 20;
/// Large messages of one organization that are received at a time; the others wait unread.
const LARGE_AT_A_TIME: usize = 4;

/// Limits of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest message, bytes.
    pub message_bytes: usize,
    /// Connections at a time, of all organizations.
    pub connections: usize,
    /// Connections at a time of one organization.
    pub connections_per_org: usize,
    /// Longest silence in the middle of a message, and longest wait for a sender to read its answer.
    pub idle: Duration,
    /// Longest TLS handshake.
    pub handshake: Duration,
    /// How long messages that have begun are waited for at the end.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 64 << 20,
            connections: 256,
            connections_per_org: 64,
            idle: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
            drain: Duration::from_secs(30),
        }
    }
}

/// The places that are taken.
pub(super) struct Places {
    all: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    per_org: usize,
    orgs: Mutex<BTreeMap<OrgId, Org>>,
}

#[derive(Clone)]
struct Org {
    connections: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// A connection's places; they are free again when it is dropped.
pub(super) struct Place {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
    large: Arc<Semaphore>,
}

impl Place {
    /// Waits until another large message may be received.
    pub(super) async fn large(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.large).acquire_owned().await.ok()
    }
}

impl Places {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            all: Arc::new(Semaphore::new(limits.connections)),
            handshakes: Arc::new(Semaphore::new(limits.connections)),
            per_org: limits.connections_per_org,
            orgs: Mutex::default(),
        }
    }

    /// A place for a handshake, if one is free.
    pub(super) fn handshake(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.handshakes).try_acquire_owned().ok()
    }

    /// Places for a connection of an organization, if they are free.
    pub(super) fn connection(&self, org: &OrgId) -> Option<Place> {
        let own = {
            let mut orgs = self.orgs.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = || Org {
                connections: Arc::new(Semaphore::new(self.per_org)),
                large: Arc::new(Semaphore::new(LARGE_AT_A_TIME)),
            };
            orgs.entry(org.clone()).or_insert_with(fresh).clone()
        };
        let mine = own.connections.try_acquire_owned().ok()?;
        let all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Place { _all: all, _own: mine, large: own.large })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organization_cannot_take_all_places() {
        let places = Places::new(&Limits { connections: 3, connections_per_org: 2, ..Limits::default() });
        let [north, south] = ["north", "south"].map(|o| OrgId::parse(o).unwrap());
        let held: Vec<Place> = (0..2).filter_map(|_| places.connection(&north)).collect();
        assert_eq!(held.len(), 2);
        assert!(places.connection(&north).is_none());
        let other = places.connection(&south);
        assert!(other.is_some() && places.connection(&south).is_none());
        drop(held);
        assert!(places.connection(&south).is_some());
    }
}
