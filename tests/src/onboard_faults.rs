//! The parts of provisioning with calls that can be failed, done and then failed, or left hanging.

use crate::onboard_rig::REFERENCE;
use async_trait::async_trait;
use leadline_activities::adapters::aws::{AwsIsolation, AwsOrgStores, AwsSecrets, CfnStacks};
use leadline_activities::engine::Engine;
use leadline_activities::ports::checks::{EnvBucket, Isolation, Owned};
use leadline_activities::ports::registration::{Check, Registrations};
use leadline_activities::ports::stacks::{ChangeSetState, Secrets, ShareCredentials, StackEvent, StackState, Stacks};
use leadline_activities::ports::store::{OrgStore, OrgStores};
use leadline_activities::schedules::Registered;
use leadline_domain::isolation::{Evidence, NotEnforced};
use leadline_domain::{EnvId, EnvScope, Fault, OrgId, OrgScope, ShareId};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// What a call shall do, in the order calls are made.
#[derive(Debug, Clone, PartialEq)]
pub enum Plight {
    /// Fail and do nothing.
    Fail(Fault),
    /// Do it and fail nevertheless: the answer was lost on its way.
    FailAfter(Fault),
    /// Do nothing, and never answer.
    Hang,
    /// Do it, and never answer.
    HangAfter,
}

type Queues = HashMap<(String, &'static str), VecDeque<Plight>>;

/// What is to come, by organization and operation; and which organizations hang.
#[derive(Debug, Default)]
pub struct Plights {
    coming: Mutex<Queues>,
    hanging: Mutex<BTreeSet<String>>,
}

pub(crate) fn locked<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Plights {
    /// Plans what a later call does.
    pub fn plan(&self, org: &str, operation: &'static str, what: Plight) {
        locked(&self.coming).entry((org.to_owned(), operation)).or_default().push_back(what);
    }

    /// How many planned calls of an organization were not made yet.
    #[must_use]
    pub fn left(&self, org: &str) -> usize {
        locked(&self.coming).iter().filter(|((o, _), _)| o == org).map(|(_, q)| q.len()).sum()
    }

    /// Organizations a call of which never answers.
    #[must_use]
    pub fn hanging(&self) -> BTreeSet<String> {
        locked(&self.hanging).clone()
    }

    fn take(&self, key: &(String, &'static str)) {
        locked(&self.coming).get_mut(key).and_then(VecDeque::pop_front);
    }

    async fn around<T>(
        &self,
        org: &str,
        operation: &'static str,
        call: impl Future<Output = Result<T, Fault>> + Send,
    ) -> Result<T, Fault> {
        let key = (org.to_owned(), operation);
        let next = locked(&self.coming).get(&key).and_then(VecDeque::front).cloned();
        match next {
            None => call.await,
            Some(Plight::Fail(f)) => {
                self.take(&key);
                Err(f)
            }
            Some(Plight::Hang) => {
                self.take(&key);
                locked(&self.hanging).insert(org.to_owned());
                std::future::pending().await
            }
            // A call that fails by itself was not done: the plan stands.
            Some(after) => {
                let done = call.await?;
                self.take(&key);
                if let Plight::FailAfter(f) = after {
                    return Err(f);
                }
                locked(&self.hanging).insert(org.to_owned());
                drop(done);
                std::future::pending().await
            }
        }
    }
}

/// Whose a stack is; empty for those of the environment.
pub(crate) fn owner(stack: &str) -> &str {
    stack.strip_prefix("leadline-test-org-").unwrap_or_default()
}

pub(crate) struct FaultyStacks(pub(crate) CfnStacks, pub(crate) Arc<Plights>);

#[async_trait]
impl Stacks for FaultyStacks {
    async fn describe(&self, stack: &str) -> Result<Option<StackState>, Fault> {
        self.1.around(owner(stack), "describe", self.0.describe(stack)).await
    }
    async fn all(&self) -> Result<BTreeMap<String, StackState>, Fault> {
        self.0.all().await
    }
    async fn template(&self, stack: &str) -> Result<Option<String>, Fault> {
        self.0.template(stack).await
    }
    async fn create_change_set(
        &self,
        stack: &str,
        name: &str,
        template: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), Fault> {
        let call = self.0.create_change_set(stack, name, template, tags);
        self.1.around(owner(stack), "create_change_set", call).await
    }
    async fn change_set(&self, stack: &str, name: &str) -> Result<ChangeSetState, Fault> {
        self.1.around(owner(stack), "change_set", self.0.change_set(stack, name)).await
    }
    async fn execute(&self, stack: &str, name: &str) -> Result<(), Fault> {
        self.1.around(owner(stack), "execute", self.0.execute(stack, name)).await
    }
    async fn discard(&self, stack: &str, name: &str) -> Result<(), Fault> {
        self.1.around(owner(stack), "discard", self.0.discard(stack, name)).await
    }
    async fn events(&self, stack: &str) -> Result<Vec<StackEvent>, Fault> {
        self.0.events(stack).await
    }
    async fn delete(&self, stack: &str) -> Result<(), Fault> {
        self.1.around(owner(stack), "delete", self.0.delete(stack)).await
    }
}

pub(crate) struct FaultySecrets(pub(crate) AwsSecrets, pub(crate) Arc<Plights>);

#[async_trait]
impl Secrets for FaultySecrets {
    async fn share_credentials(&self, scope: &OrgScope, share: &ShareId) -> Result<ShareCredentials, Fault> {
        self.1.around(scope.org().as_str(), "share_credentials", self.0.share_credentials(scope, share)).await
    }
    fn forget(&self, scope: &OrgScope, share: &ShareId) {
        self.0.forget(scope, share);
    }
    async fn put_share_credentials(&self, s: &OrgScope, share: &ShareId, c: &ShareCredentials) -> Result<(), Fault> {
        let call = self.0.put_share_credentials(s, share, c);
        self.1.around(s.org().as_str(), "put_share_credentials", call).await
    }
}

pub(crate) struct FaultyStores(pub(crate) Arc<AwsOrgStores>, pub(crate) Arc<Plights>);

#[async_trait]
impl OrgStores for FaultyStores {
    async fn open(&self, scope: &OrgScope) -> Result<Arc<dyn OrgStore>, Fault> {
        self.1.around(scope.org().as_str(), "open", self.0.open(scope)).await
    }
}

/// Tries grow with the square of the organizations: each is tried on the first of them only.
pub(crate) struct FaultyIsolation(pub(crate) AwsIsolation, pub(crate) Arc<Plights>);

#[async_trait]
impl Isolation for FaultyIsolation {
    fn not_enforced(&self) -> Vec<NotEnforced> {
        self.0.not_enforced()
    }
    async fn stacks(&self) -> Result<BTreeMap<String, bool>, Fault> {
        let made = self.0.stacks().await?;
        Ok(made.into_iter().filter(|(s, _)| owner(s) == REFERENCE).collect())
    }
    async fn own(&self, own: &OrgScope, has: &Owned) -> Result<Vec<Evidence>, Fault> {
        self.1.around(own.org().as_str(), "probe_own", self.0.own(own, has)).await
    }
    async fn environment(&self, own: &OrgScope, env: &EnvScope, buckets: &[EnvBucket]) -> Result<Vec<Evidence>, Fault> {
        self.1.around(own.org().as_str(), "probe_environment", self.0.environment(own, env, buckets)).await
    }
    async fn other(&self, own: &OrgScope, other: &OrgScope, has: &Owned) -> Result<Vec<Evidence>, Fault> {
        self.1.around(own.org().as_str(), "probe_other", self.0.other(own, other, has)).await
    }
}

pub(crate) struct FaultyRegistrations(pub(crate) Arc<Plights>);

#[async_trait]
impl Registrations for FaultyRegistrations {
    async fn stays(&self, engine: &Engine, env: &EnvId, org: &OrgId) -> Result<(), Fault> {
        self.0.around(org.as_str(), "stays", Registered.stays(engine, env, org)).await
    }
    async fn watch(&self, engine: &Engine, queue: &str, org: &OrgId, share: &ShareId) -> Result<String, Fault> {
        self.0.around(org.as_str(), "watch", Registered.watch(engine, queue, org, share)).await
    }
    async fn unwatch(&self, engine: &Engine, org: &OrgId, keep: &BTreeSet<ShareId>) -> Result<Vec<String>, Fault> {
        Registered.unwatch(engine, org, keep).await
    }
    async fn schedule(
        &self,
        engine: &Engine,
        queue: &str,
        env: &EnvId,
        org: Option<&OrgId>,
        check: Check,
    ) -> Result<String, Fault> {
        let whose = org.map(OrgId::as_str).unwrap_or_default();
        self.0.around(whose, "schedule", Registered.schedule(engine, queue, env, org, check)).await
    }
}
