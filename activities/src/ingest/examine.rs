//! One look at a file, and at its content.

use super::version_key;
use crate::content_cache::Content;
use crate::deps::Deps;
use crate::inspect;
use crate::ports::share::Share;
use bytes::BytesMut;
use leadline_domain::lifecycle::Examination;
use leadline_domain::{Digest, Fault, FaultCode, Fingerprint, SharePath, Structure, Writer};
use leadline_workflows::contracts::FileRef;

pub(super) async fn examine(deps: &Deps, file: &FileRef) -> Result<Examination, Fault> {
    let share = deps.share(&file.org, &file.share).await?;
    let path = &file.fingerprint.path;
    let look = match share.observe(path).await {
        Err(f) if f.code == FaultCode::ShareFileGone => return Ok(Examination::Gone),
        r => r?,
    };
    let unread = Examination::Seen { look: look.clone(), structure: None, digest: None };
    if look.writer == Writer::Present || look.stat.size == 0 {
        return Ok(unread);
    }
    if look.stat.size > file.small_bytes {
        let structure = head_and_tail(share.as_ref(), path, look.stat.size).await;
        return match structure {
            Err(f) if f.code == FaultCode::ShareFileGone => Ok(Examination::Gone),
            r => Ok(Examination::Seen { look, structure: Some(r?), digest: None }),
        };
    }
    let bytes = match share.read(path, look.stat.size).await {
        Ok(b) => b,
        Err(f) if f.code == FaultCode::ShareFileGone => return Ok(Examination::Gone),
        // It grew past the limit: the next look tells. One that nobody writes to and that is locked all the same is a fault:
        // a program may keep a part of it locked for days.
        Err(f) if f.code == FaultCode::ShareFileChanged => return Ok(unread),
        Err(f) => return Err(f),
    };
    if bytes.len() as u64 != look.stat.size {
        return Ok(unread);
    }
    let structure = inspect::structure_of(&bytes);
    let digest = Digest::of(&bytes);
    let seen = FileRef { fingerprint: Fingerprint { path: path.clone(), stat: look.stat.clone() }, ..file.clone() };
    deps.cache.put(version_key(&seen).as_str(), Content { bytes, digest, structure: structure.clone() });
    Ok(Examination::Seen { look, structure: Some(structure.without_marks()), digest: Some(digest) })
}

/// Judges a large file by its first and last bytes: certainly partial, or worth reading as a whole.
async fn head_and_tail(share: &dyn Share, path: &SharePath, size: u64) -> Result<Structure, Fault> {
    let window = inspect::WINDOW.min(size);
    let head = range(share, path, 0, window).await?;
    let tail = range(share, path, size - window, window).await?;
    Ok(inspect::quick_look(&head, &tail, size).without_marks())
}

async fn range(share: &dyn Share, path: &SharePath, offset: u64, len: u64) -> Result<BytesMut, Fault> {
    let mut reader = share.open(path, offset).await?;
    let mut out = BytesMut::new();
    while (out.len() as u64) < len {
        let Some(chunk) = reader.next().await? else { break };
        out.extend_from_slice(&chunk);
    }
    out.truncate(usize::try_from(len).unwrap_or(usize::MAX));
    Ok(out)
}
