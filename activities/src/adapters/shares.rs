//! Opens configured shares, each with its organization's own credentials.

use super::rotating::RotatingShare;
use super::smb::{SmbConfig, SmbShare};
use crate::deps::Shares;
use crate::ports::rotation::{Rotation, Stage};
use crate::ports::share::Share;
use crate::ports::stacks::ShareCredentials;
use crate::registry::{Registry, ShareConfig};
use async_trait::async_trait;
use leadline_domain::{Fault, FaultCode, OrgId, ShareId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

type Key = (OrgId, ShareId);
type Opened = HashMap<Key, (ShareConfig, Arc<RotatingShare>)>;

/// Longest time one SMB request may take.
const RESPONSE: Duration = Duration::from_secs(30);
/// After a refusal that may count towards the lock of an account, new credentials are not tried sooner again,
/// milliseconds.
const REFUSED_MS: u64 = 60_000;

/// See [`Shares`]. One connection an organization and share: connections are never shared between organizations.
pub struct ConfiguredShares {
    registry: Arc<Registry>,
    secrets: Arc<dyn Rotation>,
    open: Mutex<Opened>,
}

impl ConfiguredShares {
    /// Nothing is opened yet.
    #[must_use]
    pub fn new(registry: Arc<Registry>, secrets: Arc<dyn Rotation>) -> Self {
        Self { registry, secrets, open: Mutex::default() }
    }

    fn opened(&self) -> MutexGuard<'_, Opened> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rotating(&self, org: &OrgId, share: &ShareId) -> Result<Arc<RotatingShare>, Fault> {
        let config = self.registry.share(org, share)?;
        let scope = self.registry.scope(org)?;
        let mut open = self.opened();
        let key = (org.clone(), share.clone());
        if let Some((known, s)) = open.get(&key)
            && *known == config
        {
            return Ok(Arc::clone(s));
        }
        let to = config.clone();
        let make = Box::new(move |c| Arc::new(smb(&to, c)) as Arc<dyn Share>);
        let made = Arc::new(RotatingShare::new(scope, share.clone(), Arc::clone(&self.secrets), make));
        open.insert(key, (config, Arc::clone(&made)));
        Ok(made)
    }
}

fn smb(config: &ShareConfig, credentials: ShareCredentials) -> SmbShare {
    SmbShare::new(SmbConfig {
        address: config.address.clone(),
        share: config.share.clone(),
        user: credentials.user,
        password: credentials.password,
        domain: credentials.domain,
        response_timeout: RESPONSE,
        require_encryption: config.require_encryption,
    })
}

/// Logs on with a connection of its own and lists the watched folder.
async fn answers(config: &ShareConfig, credentials: ShareCredentials) -> Result<(), Fault> {
    smb(config, credentials).list(&config.folder, &config.except()).await.map(drop)
}

#[async_trait]
impl Shares for ConfiguredShares {
    async fn open(&self, org: &OrgId, share: &ShareId) -> Result<Arc<dyn Share>, Fault> {
        let s = self.rotating(org, share)?;
        s.ready().await?;
        Ok(s)
    }

    fn forget(&self, org: &OrgId, share: &ShareId) {
        if let Some((_, s)) = self.opened().get(&(org.clone(), share.clone())) {
            s.stale();
        }
    }

    async fn prove(&self, org: &OrgId, share: &ShareId, version: &str) -> Result<(), Fault> {
        let (config, scope) = (self.registry.share(org, share)?, self.registry.scope(org)?);
        let current = self.secrets.version(&scope, share, Stage::Current).await?;
        if current.as_ref().is_some_and(|c| c.id == version) {
            return Ok(());
        }
        let pending = self.secrets.version(&scope, share, Stage::Pending).await?.filter(|p| p.id == version);
        let Some(pending) = pending else {
            let detail = format!("the new credentials of share {share} are not the pending ones any more");
            return Err(Fault::new(FaultCode::SecretSuperseded, detail));
        };
        // Of one account with two passwords one is wrong, and wrong ones lock it. A logon with the right one sets the
        // count back: as long as the current password is good, trying the new one locks nobody out.
        let of_one_account = current.filter(|c| same_account(&c.credentials, &pending.credentials));
        let current_good = match of_one_account {
            None => None,
            Some(c) => match answers(&config, c.credentials).await {
                Ok(()) => Some(true),
                Err(f) if f.code == FaultCode::ShareLogonRefused => Some(false),
                Err(f) => return Err(f),
            },
        };
        answers(&config, pending.credentials).await.map_err(|f| explained(f, current_good))
    }
}

fn same_account(a: &ShareCredentials, b: &ShareCredentials) -> bool {
    a.user.eq_ignore_ascii_case(&b.user) && a.domain.eq_ignore_ascii_case(&b.domain)
}

/// What a refusal of the new credentials means, given whether the current password of the same account is good.
fn explained(f: Fault, current_good: Option<bool>) -> Fault {
    if f.code != FaultCode::ShareLogonRefused {
        return f;
    }
    let said = |why: &str| Fault::new(f.code, format!("the new credentials are refused ({}); {why}", f.detail));
    match current_good {
        Some(true) => said("the current ones are accepted and stay in use until the password is changed at the server"),
        Some(false) => said("the current ones are refused as well").retry_after(REFUSED_MS),
        None => said("the current ones, of another account, stay in use").retry_after(REFUSED_MS),
    }
}
