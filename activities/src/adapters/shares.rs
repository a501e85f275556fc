//! Opens configured shares, each with its organization's own credentials.

use super::smb::{SmbConfig, SmbShare};
use crate::deps::Shares;
use crate::ports::share::Share;
use crate::ports::stacks::Secrets;
use crate::registry::{Registry, ShareConfig};
use crate::secret::Secret;
use async_trait::async_trait;
use leadline_domain::{Fault, OrgId, ShareId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

type Key = (OrgId, ShareId);

/// Longest time one SMB request may take.
const RESPONSE: Duration = Duration::from_secs(30);

/// See [`Shares`]. One connection an organization and share: connections are never shared between organizations.
pub struct ConfiguredShares {
    registry: Arc<Registry>,
    secrets: Arc<dyn Secrets>,
    open: Mutex<HashMap<Key, (ShareConfig, Arc<SmbShare>)>>,
}

impl ConfiguredShares {
    /// Nothing is opened yet.
    #[must_use]
    pub fn new(registry: Arc<Registry>, secrets: Arc<dyn Secrets>) -> Self {
        Self { registry, secrets, open: Mutex::default() }
    }
}

#[async_trait]
impl Shares for ConfiguredShares {
    async fn open(&self, org: &OrgId, share: &ShareId) -> Result<Arc<dyn Share>, Fault> {
        let config = self.registry.share(org, share)?;
        let key = (org.clone(), share.clone());
        {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((known, s)) = open.get(&key)
                && *known == config
            {
                return Ok(Arc::clone(s) as Arc<dyn Share>);
            }
        }
        let credentials = self.secrets.share_credentials(&self.registry.scope(org)?, share).await?;
        let made = Arc::new(SmbShare::new(SmbConfig {
            address: config.address.clone(),
            share: config.share.clone(),
            user: credentials.user,
            password: Secret::new(credentials.password),
            domain: credentials.domain,
            response_timeout: RESPONSE,
            require_encryption: config.require_encryption,
        }));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(key, (config, Arc::clone(&made)));
        Ok(made)
    }

    fn forget(&self, org: &OrgId, share: &ShareId) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&(org.clone(), share.clone()));
        if let Ok(scope) = self.registry.scope(org) {
            self.secrets.forget(&scope, share);
        }
    }
}
