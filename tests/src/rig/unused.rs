//! The parts of a worker that files do not touch, and what checks begin with.

use async_trait::async_trait;
use leadline_activities::ports::checks::{EnvBucket, Isolation, LiveSettings, Owned, Physical, Planned, Plans};
use leadline_activities::ports::removal::Removal;
use leadline_activities::ports::senders::{Parcel, Senders, Sent};
use leadline_activities::ports::signing::Signing;
use leadline_activities::ports::stacks::{ChangeSetState, Secrets, ShareCredentials, StackEvent, StackState, Stacks};
use leadline_activities::ports::store::OrgStore;
use leadline_activities::ports::transfer::{Between, Storages};
use leadline_domain::isolation::{Evidence, NotEnforced};
use leadline_domain::transfer::Storage;
use leadline_domain::{EnvId, EnvScope, Fault, FaultCode, IngressEndpoint, IngressEndpoints, OrgId, OrgScope, ShareId};
use leadline_provisioning::Plan;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Parts that files do not touch.
pub(super) struct Nothing;

pub(super) fn unused() -> Fault {
    Fault::new(FaultCode::BugInvariant, "not part of a rig")
}

#[async_trait]
impl Senders for Nothing {
    async fn send(&self, _: &OrgId, _: &IngressEndpoints, _: &IngressEndpoint, _: &Parcel) -> Result<Sent, Fault> {
        Err(unused())
    }
}

#[async_trait]
impl Stacks for Nothing {
    async fn all(&self) -> Result<BTreeMap<String, StackState>, Fault> {
        Err(unused())
    }
    async fn describe(&self, _: &str) -> Result<Option<StackState>, Fault> {
        Err(unused())
    }
    async fn template(&self, _: &str) -> Result<Option<String>, Fault> {
        Err(unused())
    }
    async fn create_change_set(&self, _: &str, _: &str, _: &str, _: &BTreeMap<String, String>) -> Result<(), Fault> {
        Err(unused())
    }
    async fn change_set(&self, _: &str, _: &str) -> Result<ChangeSetState, Fault> {
        Err(unused())
    }
    async fn execute(&self, _: &str, _: &str) -> Result<(), Fault> {
        Err(unused())
    }
    async fn discard(&self, _: &str, _: &str) -> Result<(), Fault> {
        Err(unused())
    }
    async fn events(&self, _: &str) -> Result<Vec<StackEvent>, Fault> {
        Err(unused())
    }
    async fn delete(&self, _: &str) -> Result<(), Fault> {
        Err(unused())
    }
}

#[async_trait]
impl Secrets for Nothing {
    async fn share_credentials(&self, _: &OrgScope, _: &ShareId) -> Result<ShareCredentials, Fault> {
        Err(unused())
    }
    fn forget(&self, _: &OrgScope, _: &ShareId) {}
    async fn put_share_credentials(&self, _: &OrgScope, _: &ShareId, _: &ShareCredentials) -> Result<(), Fault> {
        Err(unused())
    }
}

#[async_trait]
impl Signing for Nothing {
    async fn key(&self) -> Result<String, Fault> {
        Err(unused())
    }
}

#[async_trait]
impl Storages for Nothing {
    async fn between(&self, _: &OrgScope, _: Storage, _: Storage, _: bool) -> Result<Arc<dyn Between>, Fault> {
        Err(unused())
    }
    async fn alone(&self, _: &OrgScope, _: Storage) -> Result<Arc<dyn OrgStore>, Fault> {
        Err(unused())
    }
}

/// What checks begin with: it fails as planned.
pub(super) struct Hindered(pub(super) Arc<Mutex<VecDeque<Fault>>>);

impl Hindered {
    fn next(&self) -> Fault {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or_else(unused)
    }
}

#[async_trait]
impl Isolation for Hindered {
    fn not_enforced(&self) -> Vec<NotEnforced> {
        vec![]
    }
    async fn stacks(&self) -> Result<BTreeMap<String, bool>, Fault> {
        Err(self.next())
    }
    async fn own(&self, _: &OrgScope, _: &Owned) -> Result<Vec<Evidence>, Fault> {
        Err(unused())
    }
    async fn environment(&self, _: &OrgScope, _: &EnvScope, _: &[EnvBucket]) -> Result<Vec<Evidence>, Fault> {
        Err(unused())
    }
    async fn other(&self, _: &OrgScope, _: &OrgScope, _: &Owned) -> Result<Vec<Evidence>, Fault> {
        Err(unused())
    }
}

#[async_trait]
impl LiveSettings for Nothing {
    fn of(&self, _: &str) -> &dyn LiveSettings {
        self
    }
    async fn resources(&self, _: &str) -> Result<BTreeMap<String, Physical>, Fault> {
        Err(unused())
    }
    async fn missing(&self, _: &str, _: &[String]) -> Result<BTreeSet<String>, Fault> {
        Err(unused())
    }
    async fn read(&self, _: &Physical) -> Result<Option<serde_json::Value>, Fault> {
        Err(unused())
    }
    async fn write(&self, _: &Physical, _: &str, _: &serde_json::Value) -> Result<(), Fault> {
        Err(unused())
    }
}

#[async_trait]
impl Removal for Nothing {
    async fn secrets(&self, _: &OrgScope) -> Result<BTreeSet<String>, Fault> {
        Err(unused())
    }
    async fn secret(&self, _: &str) -> Result<bool, Fault> {
        Err(unused())
    }
    async fn key(&self, _: &OrgScope, _: i32) -> Result<bool, Fault> {
        Err(unused())
    }
    async fn bucket_is_there(&self, _: &OrgScope, _: Storage) -> Result<bool, Fault> {
        Err(unused())
    }
    async fn bucket(&self, _: &OrgScope, _: Storage) -> Result<bool, Fault> {
        Err(unused())
    }
}

impl Plans for Hindered {
    fn inputs(&self, _: &EnvId, _: &OrgId) -> Result<String, Fault> {
        Err(unused())
    }
    fn opening(&self, _: &OrgId, _: &str) -> Result<Plan, Fault> {
        Err(unused())
    }
    fn planned(&self, _: Option<&OrgId>) -> Result<Planned, Fault> {
        Err(self.next())
    }
    fn copies(&self) -> Result<Option<Planned>, Fault> {
        Err(unused())
    }
}
