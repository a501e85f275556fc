//! Pointers to files: only on shares that the organization has configured, with that share's own credentials, in the
//! folder that is watched there. A pointer never makes the gateway log on anywhere else.

use super::{Pointers, Web, refused, too_long};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use leadline_activities::deps::Shares;
use leadline_activities::ports::share::Share;
use leadline_activities::registry::{Registry, ShareConfig};
use leadline_domain::observe::FILETIME_EPOCH_S;
use leadline_domain::{Fault, FaultCode, FileStat, Observation, OrgId, ShareId, SharePath, Writer};
use leadline_ehr::attachment;
use leadline_ehr::hl7::Pointer;
use leadline_formats::Verdict;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

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
                let on = share_of(&own, server, share, &path);
                let (id, config) = on.ok_or_else(|| refused("it is on none of its own shares"))?;
                let share = self.shares.open(org, id).await?;
                let quiet = Duration::from_millis(config.settle.unverifiable_quiet_ms);
                written(share.as_ref(), &path, quiet, SystemTime::now(), limit).await
            }
        }
    }
}

/// Reads a file that its writer is done with. One that is not finished is to be pointed to again later: the lifecycle of
/// what is received sees no writers.
async fn written(
    share: &dyn Share,
    path: &SharePath,
    quiet: Duration,
    now: SystemTime,
    limit: usize,
) -> Result<Bytes, Fault> {
    let before = share.observe(path).await?;
    if before.writer == Writer::Present {
        return Err(unfinished());
    }
    let mut reader = share.open(path, 0).await?;
    let mut content = BytesMut::new();
    while let Some(piece) = reader.next().await? {
        if content.len() + piece.len() > limit {
            return Err(too_long());
        }
        content.extend_from_slice(&piece);
    }
    let (opened, read) = (reader.stat().clone(), content.len() as u64);
    drop(reader);
    let after = match share.observe(path).await {
        Ok(seen) => Some(seen),
        Err(f) if f.code == FaultCode::ShareFileGone => None,
        Err(f) => return Err(f),
    };
    let proven = || attachment::whole(&content).is_ok_and(|i| i.verdict == Verdict::Complete);
    let looks = Looks { before, opened, read, after };
    if looks.one() && (looks.rested(now) >= quiet || proven()) { Ok(content.freeze()) } else { Err(unfinished()) }
}

/// What the server said of a file that was read.
#[derive(Clone)]
struct Looks {
    before: Observation,
    opened: FileStat,
    /// Bytes that came.
    read: u64,
    /// `None`: archived by now, or taken away.
    after: Option<Observation>,
}

impl Looks {
    /// Whether what was read is all of one version, with nobody who writes to it.
    fn one(&self) -> bool {
        let same = |o: &Observation| o.writer == Writer::Absent && o.stat.same_content(&self.opened);
        self.read == self.opened.size && same(&self.before) && self.after.as_ref().is_none_or(same)
    }

    /// For how long it was left alone, by its server's clock; not at all if it is gone. A copy has the time of its
    /// original, and a change of its own.
    fn rested(&self, now: SystemTime) -> Duration {
        let Some(Observation { stat, .. }) = &self.after else { return Duration::ZERO };
        let last = Duration::from_micros(stat.modified.max(stat.changed) / 10);
        let now =
            now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() + Duration::from_secs(FILETIME_EPOCH_S);
        now.saturating_sub(last)
    }
}

fn unfinished() -> Fault {
    let why = "the file is being written, or may be: it is new, and its content does not prove that it is whole";
    Fault::new(FaultCode::PointerUnreachable, why)
}

/// The organization's share that a file is on. Servers and shares have no upper and lower case (MS-SMB2 3.3.5.7).
fn share_of<'a>(
    own: &'a BTreeMap<ShareId, ShareConfig>,
    server: &str,
    share: &str,
    path: &SharePath,
) -> Option<(&'a ShareId, &'a ShareConfig)> {
    let host = |address: &str| address.rsplit_once(':').map_or(address.to_owned(), |(host, _)| host.to_owned());
    let fits = |c: &ShareConfig| {
        host(&c.address).eq_ignore_ascii_case(server) && c.share.eq_ignore_ascii_case(share) && path.is_under(&c.folder)
    };
    own.iter().find(|(_, c)| fits(c))
}

#[cfg(test)]
mod tests;
