//! A share whose credentials may be exchanged while it is in use: the pending ones are tried where the current ones are
//! refused, and the other way round.

use crate::ports::rotation::{Rotation, Stage, Version};
use crate::ports::share::{FileReader, Hints, Listing, Share};
use crate::ports::stacks::ShareCredentials;
use async_trait::async_trait;
use bytes::Bytes;
use leadline_domain::{Fault, FaultCode, FileStat, Observation, OrgScope, ShareId, SharePath};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long credentials are used without asking whether others have become current. Ones that are refused are asked for
/// anew at once, so that this bounds only how long a withdrawn secret goes on being used.
const KEEP: Duration = Duration::from_secs(300);
/// When the secret store cannot be asked, what is known goes on being used, and it is asked again after this time.
const AGAIN: Duration = Duration::from_secs(15);

/// Which version to log on with. A refused logon counts against the clinic's account, so there is never more than one of
/// a version an attempt, and only one version is tried while all are known to be refused: the one that was refused the
/// longest time ago.
#[derive(Debug, Default)]
struct Choice {
    /// Those that the secret holds, the current one first.
    known: Vec<String>,
    /// Those that were refused since one last worked, the latest refusal last.
    refused: Vec<String>,
    /// The one that worked last.
    used: Option<String>,
}

impl Choice {
    fn know(&mut self, known: Vec<String>) {
        self.refused.retain(|r| known.contains(r));
        self.used = self.used.take().filter(|u| known.contains(u));
        self.known = known;
    }

    fn untried(&self) -> impl Iterator<Item = &String> {
        self.used.iter().chain(&self.known).filter(|k| !self.refused.contains(k))
    }

    fn next(&self) -> Option<&String> {
        self.untried().next().or(self.refused.first()).or(self.known.first())
    }

    fn refuse(&mut self, id: &str) {
        if self.known.iter().any(|k| k == id) {
            self.refused.retain(|r| r != id);
            self.refused.push(id.to_owned());
        }
    }

    fn worked(&mut self, id: &str) {
        if self.known.iter().any(|k| k == id) {
            // What was refused before this one worked may be good again when this one is refused.
            self.refused.clear();
            self.used = Some(id.to_owned());
        }
    }
}

#[derive(Default)]
struct State {
    choice: Choice,
    credentials: BTreeMap<String, ShareCredentials>,
    open: BTreeMap<String, Arc<dyn Share>>,
    /// When the secret has to be read again.
    until: Option<Instant>,
}

/// Opens the share with given credentials; makes no request.
type Open = Box<dyn Fn(ShareCredentials) -> Arc<dyn Share> + Send + Sync>;

/// See the module. One connection for each version in use.
pub(super) struct RotatingShare {
    scope: OrgScope,
    id: ShareId,
    secrets: Arc<dyn Rotation>,
    make: Open,
    state: Mutex<State>,
    stale: AtomicBool,
}

impl RotatingShare {
    /// Nothing is read or opened yet.
    pub(super) fn new(scope: OrgScope, id: ShareId, secrets: Arc<dyn Rotation>, make: Open) -> Self {
        Self { scope, id, secrets, make, state: Mutex::default(), stale: AtomicBool::new(false) }
    }

    /// The next use reads the secret first.
    pub(super) fn stale(&self) {
        self.stale.store(true, Ordering::Release);
    }

    /// Reads which credentials there are.
    ///
    /// # Errors
    /// `secret.missing`, `credential.*`.
    pub(super) async fn ready(&self) -> Result<(), Fault> {
        self.chosen().await.map(drop)
    }

    async fn read(&self, state: &mut State, pending: bool) -> Result<(), Fault> {
        let current = self.secrets.version(&self.scope, &self.id, Stage::Current).await?;
        let in_use = state.choice.used.as_ref();
        let pending = if pending || in_use.is_some_and(|u| current.as_ref().is_none_or(|c| c.id != *u)) {
            self.secrets.version(&self.scope, &self.id, Stage::Pending).await?
        } else {
            None
        };
        let mut known: Vec<Version> = current.into_iter().collect();
        known.extend(pending.filter(|p| known.iter().all(|k| k.id != p.id)));
        state.choice.know(known.iter().map(|v| v.id.clone()).collect());
        state.credentials = known.into_iter().map(|v| (v.id, v.credentials)).collect();
        let State { open, credentials, .. } = state;
        open.retain(|id, _| credentials.contains_key(id));
        state.until = Some(Instant::now() + KEEP);
        Ok(())
    }

    /// The version to try, and the share opened with it.
    async fn chosen(&self) -> Result<(String, Arc<dyn Share>), Fault> {
        let mut state = self.state.lock().await;
        let stale = self.stale.swap(false, Ordering::AcqRel);
        if stale || state.until.is_none_or(|u| Instant::now() >= u) {
            match self.read(&mut state, stale).await {
                Ok(()) => {}
                // What is known may still be good: a secret store that is away stops no file. A secret that was taken away
                // does.
                Err(fault) if fault.class().passes() && !state.credentials.is_empty() => {
                    tracing::warn!(%fault, "cannot ask for credentials, going on with those that are known");
                    state.until = Some(Instant::now() + AGAIN);
                }
                Err(f) => {
                    state.credentials.clear();
                    state.open.clear();
                    state.choice.know(Vec::new());
                    state.until = None;
                    return Err(f);
                }
            }
        }
        let missing = || Fault::new(FaultCode::SecretMissing, format!("the secret of share {} is empty", self.id));
        let id = state.choice.next().cloned().ok_or_else(missing)?;
        if let Some(s) = state.open.get(&id) {
            return Ok((id, Arc::clone(s)));
        }
        let made = (self.make)(state.credentials.get(&id).cloned().ok_or_else(missing)?);
        state.open.insert(id.clone(), Arc::clone(&made));
        Ok((id, made))
    }

    /// A version was refused; `true`: there is another that was not.
    async fn refused(&self, id: &str) -> bool {
        let mut state = self.state.lock().await;
        // Several requests hear of one refusal: the first one asks what else there is.
        if state.choice.next().is_some_and(|n| n == id) {
            if let Err(fault) = self.read(&mut state, true).await {
                tracing::warn!(%fault, "cannot ask for other credentials");
            }
            state.choice.refuse(id);
        }
        state.choice.untried().next().is_some()
    }

    async fn run<T, F: Future<Output = Result<T, Fault>>>(
        &self,
        request: impl Fn(Arc<dyn Share>) -> F,
    ) -> Result<T, Fault> {
        loop {
            let (id, share) = self.chosen().await?;
            match request(share).await {
                Err(f) if f.code == FaultCode::ShareLogonRefused => {
                    if !self.refused(&id).await {
                        return Err(f);
                    }
                }
                Err(f) => return Err(f),
                Ok(t) => {
                    self.state.lock().await.choice.worked(&id);
                    return Ok(t);
                }
            }
        }
    }
}

#[async_trait]
impl Share for RotatingShare {
    async fn list(&self, folder: &SharePath, except: &[SharePath]) -> Result<Listing, Fault> {
        self.run(|s| async move { s.list(folder, except).await }).await
    }

    async fn observe(&self, path: &SharePath) -> Result<Observation, Fault> {
        self.run(|s| async move { s.observe(path).await }).await
    }

    async fn observe_listed(&self, path: &SharePath) -> Result<Observation, Fault> {
        self.run(|s| async move { s.observe_listed(path).await }).await
    }

    async fn read(&self, path: &SharePath, size: u64) -> Result<Bytes, Fault> {
        self.run(|s| async move { s.read(path, size).await }).await
    }

    async fn create(&self, path: &SharePath, content: &Bytes) -> Result<(), Fault> {
        self.run(|s| async move { s.create(path, content).await }).await
    }

    async fn open(&self, path: &SharePath, offset: u64) -> Result<Box<dyn FileReader>, Fault> {
        self.run(|s| async move { s.open(path, offset).await }).await
    }

    async fn rename(&self, from: &SharePath, to: &SharePath, version: Option<&FileStat>) -> Result<(), Fault> {
        self.run(|s| async move { s.rename(from, to, version).await }).await
    }

    async fn remove(&self, path: &SharePath) -> Result<(), Fault> {
        self.run(|s| async move { s.remove(path).await }).await
    }

    async fn mkdir(&self, path: &SharePath) -> Result<(), Fault> {
        self.run(|s| async move { s.mkdir(path).await }).await
    }

    async fn watch(&self, folder: &SharePath) -> Result<Box<dyn Hints>, Fault> {
        self.run(|s| async move { s.watch(folder).await }).await
    }
}

#[cfg(test)]
#[path = "rotating_tests.rs"]
mod tests;
