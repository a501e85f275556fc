//! CHANGE_NOTIFY as a stream of hints.

use super::connection::Link;
use super::errors::{Doing, fault};
use super::names::passed_over;
use crate::ports::share::{Hint, Hints};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use leadline_domain::{Fault, SharePath};
use smb2::client::{FileNotifyAction, FileNotifyEvent};
use smb2::types::Command;
use smb2::types::status::NtStatus;
use smb2::{Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::time::Duration;

/// A long poll says nothing of a dead peer: a small request on the same connection does.
const PROOF_OF_LIFE: Duration = Duration::from_secs(10);

type Events = Result<Vec<FileNotifyEvent>>;

/// See [`Hints`].
pub(super) struct Notifications {
    /// Holds the poll that is under way, so that a `next` that is given up loses nothing.
    events: BoxStream<'static, Events>,
    /// What came while subscribing.
    early: Option<Events>,
    link: Link,
    folder: SharePath,
}

/// Subscribes. The server remembers changes from its first CHANGE_NOTIFY on (MS-SMB2 3.3.5.19), and `smb2` sends that
/// with the first poll only: it is made here, and seen to have reached the server, so that a listing made after this
/// has no gap before the first hint.
pub(super) async fn subscribe(link: Link, folder: SharePath) -> Result<Notifications> {
    let before = polls(&link);
    let mut conn = link.conn.clone();
    let watcher = link.bounded(link.tree.watch(&mut conn, folder.expose(), true)).await?;
    let mut events = stream::unfold(watcher, |mut w| async move { Some((w.next_events().await, w)) }).boxed();
    let early = link
        .bounded(async {
            loop {
                // The poll goes first, and requests of one connection are taken up in order.
                tokio::select! {
                    biased;
                    e = events.next() => return Ok(e),
                    answer = link.tree.stat(&mut conn, folder.expose()) => { answer?; }
                }
                if polls(&link).difference(&before).next().is_some() {
                    return Ok(None);
                }
            }
        })
        .await?;
    Ok(Notifications { events, early, link, folder })
}

/// CHANGE_NOTIFY requests that were sent and not answered.
fn polls(link: &Link) -> BTreeSet<u64> {
    let all = link.conn.outstanding_requests();
    all.iter().filter(|r| r.command == Command::ChangeNotify && r.sent_age.is_some()).map(|r| r.message_id).collect()
}

impl Notifications {
    /// The next answer, or how the connection turned out to be dead.
    async fn events(&mut self) -> Events {
        if let Some(e) = self.early.take() {
            return e;
        }
        let (link, folder) = (&self.link, &self.folder);
        let dead = async {
            loop {
                tokio::time::sleep(PROOF_OF_LIFE.min(link.limit)).await;
                if let Err(e) = link.bounded(link.tree.stat(&mut link.conn.clone(), folder.expose())).await {
                    return e;
                }
            }
        };
        tokio::select! {
            e = self.events.next() => e.unwrap_or(Err(Error::Disconnected)),
            e = dead => Err(e),
        }
    }
}

#[async_trait]
impl Hints for Notifications {
    async fn next(&mut self) -> std::result::Result<Vec<Hint>, Fault> {
        loop {
            let events = match self.events().await {
                Ok(e) => e,
                // The server lost events: MS-SMB2 3.3.4.4.
                Err(Error::Protocol { status: NtStatus::NOTIFY_ENUM_DIR, .. }) => return Ok(vec![Hint::Overflow]),
                // Told of a name that is no Unicode, `smb2` refuses the whole answer. The next poll is under way already;
                // what else the answer told the listing finds.
                Err(e) if e.kind() == ErrorKind::InvalidData => return Ok(vec![Hint::Overflow]),
                Err(e) => return Err(fault(Doing::Watch, &e)),
            };
            // An empty answer is how some servers tell of an overflow. It is also how a subscription ends that `smb2`
            // renews every ten minutes; a listing more is no harm.
            if events.is_empty() {
                return Ok(vec![Hint::Overflow]);
            }
            let hints: Vec<Hint> = events
                .into_iter()
                .filter(|e| {
                    matches!(
                        e.action,
                        FileNotifyAction::Added
                            | FileNotifyAction::Modified
                            | FileNotifyAction::RenamedNewName
                            | FileNotifyAction::Removed
                            | FileNotifyAction::RenamedOldName
                    )
                })
                .filter(|e| !passed_over(&e.filename))
                .map(|e| Hint::Touched(self.folder.join(&e.filename)))
                .collect();
            if !hints.is_empty() {
                return Ok(hints);
            }
        }
    }
}
