//! CHANGE_NOTIFY as a stream of hints.

use super::connection::Link;
use super::errors::{Doing, fault};
use crate::ports::share::{Hint, Hints};
use async_trait::async_trait;
use leadline_domain::{Fault, SharePath};
use smb2::client::{FileNotifyAction, Watcher};
use smb2::types::status::NtStatus;
use std::time::Duration;

/// A long poll says nothing of a dead peer: a small request on the same connection does.
const PROOF_OF_LIFE: Duration = Duration::from_secs(10);

/// See [`Hints`].
pub(super) struct Notifications {
    watcher: Watcher,
    link: Link,
    folder: SharePath,
}

impl Notifications {
    pub(super) fn new(watcher: Watcher, link: Link, folder: SharePath) -> Self {
        Self { watcher, link, folder }
    }
}

#[async_trait]
impl Hints for Notifications {
    async fn next(&mut self) -> Result<Vec<Hint>, Fault> {
        loop {
            let (link, folder) = (&self.link, &self.folder);
            let alive = async {
                loop {
                    tokio::time::sleep(PROOF_OF_LIFE).await;
                    if let Err(e) = link.tree.stat(&mut link.conn.clone(), folder.expose()).await {
                        return e;
                    }
                }
            };
            let events = tokio::select! {
                r = self.watcher.next_events() => r,
                e = alive => return Err(fault(Doing::Watch, &e)),
            };
            let events = match events {
                Ok(e) => e,
                // The server lost events: MS-SMB2 3.3.4.4.
                Err(smb2::Error::Protocol { status: NtStatus::NOTIFY_ENUM_DIR, .. }) => {
                    return Ok(vec![Hint::Overflow]);
                }
                Err(e) => return Err(fault(Doing::Watch, &e)),
            };
            // An empty answer is how some servers, and this client, tell of an overflow.
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
                .map(|e| Hint::Touched(self.folder.join(&e.filename.replace('\\', "/"))))
                .collect();
            if !hints.is_empty() {
                return Ok(hints);
            }
        }
    }
}
