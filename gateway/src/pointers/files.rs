//! Pointers to files: only on shares that the organization has configured, with that share's own credentials, in the
//! folder that is watched there. A pointer never makes the gateway log on anywhere else.

use super::{Pointers, Web, refused, too_long};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use leadline_activities::deps::Shares;
use leadline_activities::registry::{Registry, ShareConfig};
use leadline_domain::{Fault, OrgId, ShareId, SharePath};
use leadline_ehr::hl7::Pointer;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Follows pointers: to the web, and to files on an organization's own shares.
pub struct Followed {
    registry: Arc<Registry>,
    shares: Arc<dyn Shares>,
    web: Web,
}

impl Followed {
    /// With what opens shares.
    #[must_use]
    pub fn new(registry: Arc<Registry>, shares: Arc<dyn Shares>, web: Web) -> Self {
        Self { registry, shares, web }
    }
}

#[async_trait]
impl Pointers for Followed {
    async fn fetch(
        &self,
        org: &OrgId,
        pointer: &Pointer,
        hosts: &BTreeSet<String>,
        limit: usize,
    ) -> Result<Bytes, Fault> {
        match pointer {
            Pointer::Web { .. } => self.web.fetch(org, pointer, hosts, limit).await,
            Pointer::File { server, share, path } => {
                let path = SharePath::new(path.as_str());
                let own = self.registry.org(org)?.shares;
                let id =
                    share_of(&own, server, share, &path).ok_or_else(|| refused("it is on none of its own shares"))?;
                let mut reader = self.shares.open(org, &id).await?.open(&path, 0).await?;
                let mut content = BytesMut::new();
                while let Some(piece) = reader.next().await? {
                    if content.len() + piece.len() > limit {
                        return Err(too_long());
                    }
                    content.extend_from_slice(&piece);
                }
                Ok(content.freeze())
            }
        }
    }
}

/// The organization's share that a file is on. Servers and shares have no upper and lower case (MS-SMB2 3.3.5.7).
fn share_of(own: &BTreeMap<ShareId, ShareConfig>, server: &str, share: &str, path: &SharePath) -> Option<ShareId> {
    let host = |address: &str| address.rsplit_once(':').map_or(address.to_owned(), |(host, _)| host.to_owned());
    let fits = |c: &ShareConfig| {
        host(&c.address).eq_ignore_ascii_case(server) && c.share.eq_ignore_ascii_case(share) && path.is_under(&c.folder)
    };
    own.iter().find(|(_, c)| fits(c)).map(|(id, _)| id.clone())
}
