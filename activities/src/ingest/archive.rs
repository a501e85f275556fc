//! The clinic's copy, after the recording is enqueued or linked (invariant L4).

use super::version_key;
use crate::deps::Deps;
use crate::ports::share::Share;
use leadline_domain::archive::candidates;
use leadline_domain::lifecycle::ArchiveState;
use leadline_domain::{ArchiveRule, Fault, FaultCode, FileStat, SharePath};
use leadline_workflows::contracts::ArchiveInput;

pub(super) async fn archive(deps: &Deps, input: &ArchiveInput) -> Result<ArchiveState, Fault> {
    let file = &input.file;
    match &input.rule {
        ArchiveRule::Leave => {
            let key = file.fingerprint.file_key(&file.org, &file.share);
            let store = deps.store(&file.org).await?;
            store.put_seen(file.share.as_str(), key.as_str(), version_key(file).as_str()).await?;
            Ok(ArchiveState::Left)
        }
        ArchiveRule::Move { folder } => {
            let share = deps.share(&file.org, &file.share).await?;
            move_away(share.as_ref(), &file.fingerprint.path, &file.fingerprint.stat, folder, &input.date).await
        }
    }
}

async fn move_away(
    share: &dyn Share,
    path: &SharePath,
    stored: &FileStat,
    folder: &str,
    date: &str,
) -> Result<ArchiveState, Fault> {
    let source = stat(share, path).await?;
    let mut made = false;
    for to in candidates(folder, date, path) {
        if source.is_none() {
            // Gone: moved by an earlier run of this step, or taken by someone else.
            return match stat(share, &to).await? {
                None => Ok(ArchiveState::Gone),
                Some(s) if same_content(&s, stored) => Ok(ArchiveState::Moved),
                Some(_) => continue,
            };
        }
        if source.as_ref().is_some_and(|s| !same_content(s, stored)) {
            return Ok(ArchiveState::Changed);
        }
        if !made {
            // A folder that is there costs one round trip; it must not be guessed, the clinic may remove it.
            share.mkdir(&to.parent()).await?;
            made = true;
        }
        match share.rename(path, &to).await {
            Ok(()) => return Ok(ArchiveState::Moved),
            Err(f) if f.code == FaultCode::ShareNameTaken => {}
            Err(f) if f.code == FaultCode::ShareFileGone => return Ok(ArchiveState::Gone),
            Err(f) => return Err(f),
        }
    }
    Err(Fault::new(FaultCode::ShareNameTaken, "a thousand files of this name are in the archive folder of the day"))
}

async fn stat(share: &dyn Share, path: &SharePath) -> Result<Option<FileStat>, Fault> {
    match share.observe(path).await {
        Ok(l) => Ok(Some(l.stat)),
        Err(f) if matches!(f.code, FaultCode::ShareFileGone | FaultCode::ShareFolderMissing) => Ok(None),
        Err(f) => Err(f),
    }
}

/// A rename changes the change time and nothing else.
fn same_content(a: &FileStat, b: &FileStat) -> bool {
    a.file_id == b.file_id && a.size == b.size && a.modified == b.modified
}
