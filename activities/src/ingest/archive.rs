//! The clinic's copy, after the recording is enqueued or linked (invariant L4).

use super::version_key;
use crate::deps::Deps;
use crate::ports::share::Share;
use leadline_domain::archive::candidates;
use leadline_domain::lifecycle::ArchiveState;
use leadline_domain::{ArchiveRule, Fault, FaultCode, FileStat, SharePath, StagedAt};
use leadline_workflows::contracts::{ArchiveInput, Received};

pub(super) async fn archive(deps: &Deps, input: &ArchiveInput) -> Result<ArchiveState, Fault> {
    let file = &input.file;
    let staged = StagedAt::of_path(file.fingerprint.path.expose());
    match input.received {
        Some(Received::Clear) => {
            deps.store(&file.org).await?.remove_staged(staged.name).await?;
            return Ok(ArchiveState::Cleared);
        }
        Some(Received::Keep) => {
            let size = file.fingerprint.stat.size;
            let kept = deps.store(&file.org).await?.quarantine_staged(staged, size).await?;
            return Ok(if kept { ArchiveState::Kept } else { ArchiveState::Gone });
        }
        None => {}
    }
    match &input.rule {
        ArchiveRule::Leave => {
            let key = file.fingerprint.file_key(&file.org, &file.share);
            let store = deps.store(&file.org).await?;
            store.put_seen(file.share.as_str(), key.as_str(), version_key(file).as_str()).await?;
            Ok(ArchiveState::Left)
        }
        ArchiveRule::Move { folder } => {
            let share = deps.share(&file.org, &file.share).await?;
            let version = version_key(file);
            let names = candidates(folder, &input.date, &file.fingerprint.path, &version);
            move_away(share.as_ref(), &file.fingerprint.path, &file.fingerprint.stat, names).await
        }
    }
}

async fn move_away(
    share: &dyn Share,
    path: &SharePath,
    stored: &FileStat,
    names: impl Iterator<Item = SharePath>,
) -> Result<ArchiveState, Fault> {
    let (mut made, mut gone) = (false, false);
    for to in names {
        if !gone {
            let mut renamed = share.rename(path, &to, Some(stored)).await;
            // The folder of the day is there for all files but its first; the clinic may remove it at any time.
            if !made && renamed.as_ref().is_err_and(missing) {
                share.mkdir(&to.parent()).await?;
                made = true;
                renamed = share.rename(path, &to, Some(stored)).await;
            }
            match renamed {
                Ok(()) => return Ok(ArchiveState::Moved),
                Err(f) if f.code == FaultCode::ShareNameTaken => continue,
                Err(f) if f.code == FaultCode::ShareFileChanged => return Ok(ArchiveState::Changed),
                Err(f) if missing(&f) => gone = true,
                Err(f) => return Err(f),
            }
        }
        // Gone: moved by an earlier run of this step, or taken by someone else.
        match stat(share, &to).await? {
            None => return Ok(ArchiveState::Gone),
            Some(s) if s.same_content(stored) => return Ok(ArchiveState::Moved),
            Some(_) => {}
        }
    }
    Err(Fault::new(FaultCode::ShareNameTaken, "every name for this file is taken in the archive folder of the day"))
}

/// The file, or the folder it is to go to.
fn missing(f: &Fault) -> bool {
    matches!(f.code, FaultCode::ShareFileGone | FaultCode::ShareFolderMissing)
}

async fn stat(share: &dyn Share, path: &SharePath) -> Result<Option<FileStat>, Fault> {
    match share.observe(path).await {
        Ok(l) => Ok(Some(l.stat)),
        Err(f) if missing(&f) => Ok(None),
        Err(f) => Err(f),
    }
}
