//! Stores a small file: one conditional write of bytes that were looked at before and after they were read.

use super::{identity, version_key};
use crate::content_cache::Content;
use crate::deps::Deps;
use crate::inspect;
use crate::metrics::METRICS;
use crate::ports::share::Share;
use crate::ports::store::{OrgStore, Put, RecordingMeta, Shelf};
use leadline_domain::lifecycle::StoreOutcome;
use leadline_domain::message::media_type;
use leadline_domain::settle::Basis;
use leadline_domain::{Digest, Fault, FaultCode, Observation, Structure, StructureVerdict, Writer};
use leadline_workflows::contracts::{FileRef, InSet, StoreInput};

pub(super) async fn store(deps: &Deps, input: &StoreInput) -> Result<StoreOutcome, Fault> {
    let file = &input.file;
    let share = deps.share(&file.org, &file.share).await?;
    let claim = version_key(file);
    // Content that cannot tell is read a second time: equal bytes at two times are its evidence.
    // So is a file of a set, which may have waited for long.
    let cached = deps.cache.take(claim.as_str()).filter(|_| input.basis != Basis::Quiet && input.set.is_none());
    let content = match cached {
        Some(c) => c,
        None => match read(share.as_ref(), input).await? {
            Ok(c) => c,
            Err(outcome) => return settled_before(deps, input, outcome).await,
        },
    };
    if !agrees(input, &content.structure) {
        return Ok(StoreOutcome::Incomplete { structure: content.structure });
    }
    let now = observe(share.as_ref(), file).await?;
    match check(file, now.as_ref()) {
        Check::Same => {}
        // The writer took it away after all of it was read. Content that proves its own completeness is not lost.
        Check::Gone if input.basis != Basis::Quiet => {}
        Check::Gone => return settled_before(deps, input, StoreOutcome::Gone).await,
        Check::Changed(look) => return settled_before(deps, input, StoreOutcome::Changed { look }).await,
    }
    if let Some(outcome) = other_bytes(input, &content.digest) {
        return settled_before(deps, input, outcome).await;
    }
    declared(input, &content.digest)?;
    let store = deps.store(&file.org).await?;
    let size = content.bytes.len() as u64;
    let meta = meta(input, claim.as_str(), &content.structure);
    let put = store.put_recording(&content.digest, content.bytes.clone(), &meta).await?;
    let stored = outcome(put, input, content.digest, size, content.structure)?;
    identify(deps, store.as_ref(), input, stored).await
}

/// Claims the identity of a recording that is claimed.
pub(super) async fn identify(
    deps: &Deps,
    store: &dyn OrgStore,
    input: &StoreInput,
    mut stored: StoreOutcome,
) -> Result<StoreOutcome, Fault> {
    let StoreOutcome::Claimed { digest, structure, related, .. } = &mut stored else { return Ok(stored) };
    if !in_set(input) {
        *related = identity::claim(deps, store, &input.file.org, *digest, &structure.marks).await?;
    }
    Ok(stored)
}

/// Refuses what is not what its sender declared.
pub(super) fn declared(input: &StoreInput, digest: &Digest) -> Result<(), Fault> {
    match input.declared {
        Some(d) if d != *digest => {
            Err(Fault::new(FaultCode::FileChecksumMismatch, "the content has another digest than was declared"))
        }
        _ => Ok(()),
    }
}

/// Whether it is stored as an object of a set.
pub(super) fn in_set(input: &StoreInput) -> bool {
    matches!(input.set, Some(InSet::Member | InSet::Vouched))
}

/// Whether what all of the content says still allows what it was settled on.
pub(super) fn agrees(input: &StoreInput, whole: &Structure) -> bool {
    match input.basis {
        _ if input.set == Some(InSet::Vouched) => true,
        Basis::Structure => whole.verdict == StructureVerdict::Complete,
        Basis::Quiet | Basis::Transport => {
            matches!(whole.verdict, StructureVerdict::Complete | StructureVerdict::Unverifiable)
        }
    }
}

pub(super) fn meta(input: &StoreInput, claim: &str, structure: &Structure) -> RecordingMeta {
    RecordingMeta {
        shelf: if in_set(input) { Shelf::Members } else { Shelf::Recordings },
        claim: claim.to_owned(),
        format: structure.format.clone(),
        media_type: media_type(&structure.format).to_owned(),
    }
}

/// Whether a claim was made by this lifecycle: by the version that is stored, or by one that it had before. An attempt may
/// have claimed whose answer was lost, with the file's times changed since.
fn ours(input: &StoreInput, winner: &str) -> bool {
    version_key(&input.file).as_str() == winner || input.had.iter().any(|v| v.as_str() == winner)
}

/// A claim that is ours is ours, however often the write is repeated. An object of a set makes no claim: it only has to be
/// there.
pub(super) fn outcome(
    put: Put,
    input: &StoreInput,
    digest: Digest,
    size: u64,
    structure: Structure,
) -> Result<StoreOutcome, Fault> {
    let member = in_set(input);
    Ok(match put {
        Put::Created => {
            METRICS.stored(size);
            StoreOutcome::Claimed { digest, size, structure, related: Vec::new() }
        }
        Put::Exists { size: there, .. } if there != size && member => {
            METRICS.broken("L5");
            return Err(Fault::new(FaultCode::BugInvariant, "the object of this digest has another size"));
        }
        Put::Exists { .. } if member => StoreOutcome::Claimed { digest, size, structure, related: Vec::new() },
        Put::Exists { size: there, .. } if there != size => {
            METRICS.broken("L5");
            StoreOutcome::Duplicate { digest, size, structure }
        }
        Put::Exists { claim: winner, .. } if ours(input, &winner) => {
            StoreOutcome::Claimed { digest, size, structure, related: Vec::new() }
        }
        Put::Exists { .. } => StoreOutcome::Duplicate { digest, size, structure },
    })
}

/// Other bytes than were looked at under the same size and times: they are to be looked at again.
pub(super) fn other_bytes(input: &StoreInput, digest: &Digest) -> Option<StoreOutcome> {
    let stat = &input.file.fingerprint.stat;
    let look = || Observation { stat: stat.clone(), writer: Writer::Absent };
    input.expected.filter(|d| d != digest).map(|_| StoreOutcome::Changed { look: look() })
}

pub(super) enum Check {
    Same,
    Gone,
    Changed(Observation),
}

/// Compares a look with the version that a step is about.
pub(super) fn check(file: &FileRef, now: Option<&Observation>) -> Check {
    match now {
        None => Check::Gone,
        Some(l) if l.writer == Writer::Absent && l.stat == file.fingerprint.stat => Check::Same,
        Some(l) => Check::Changed(l.clone()),
    }
}

pub(super) async fn observe(share: &dyn Share, file: &FileRef) -> Result<Option<Observation>, Fault> {
    match share.observe(&file.fingerprint.path).await {
        Err(f) if f.code == FaultCode::ShareFileGone => Ok(None),
        r => r.map(Some),
    }
}

/// Reads the file, between two looks.
async fn read(share: &dyn Share, input: &StoreInput) -> Result<Result<Content, StoreOutcome>, Fault> {
    let path = &input.file.fingerprint.path;
    match check(&input.file, observe(share, &input.file).await?.as_ref()) {
        Check::Same => {}
        Check::Gone => return Ok(Err(StoreOutcome::Gone)),
        Check::Changed(look) => return Ok(Err(StoreOutcome::Changed { look })),
    }
    let bytes = match share.read(path, input.file.fingerprint.stat.size).await {
        Ok(b) => b,
        Err(f) if f.code == FaultCode::ShareFileGone => return Ok(Err(StoreOutcome::Gone)),
        Err(f) => return Err(f),
    };
    let structure = inspect::structure_of(&bytes);
    Ok(Ok(Content { digest: Digest::of(&bytes), structure, bytes }))
}

/// The file is not any more what was settled. If an earlier run of this very step had stored it already and was cut
/// off before its result was kept, the claim stands: that content was complete, and it must not be lost.
async fn settled_before(deps: &Deps, input: &StoreInput, otherwise: StoreOutcome) -> Result<StoreOutcome, Fault> {
    Ok(claimed_as_read(deps, input).await?.unwrap_or(otherwise))
}

/// The claim of what was read of this version, if it was made by this lifecycle.
pub(super) async fn claimed_as_read(deps: &Deps, input: &StoreInput) -> Result<Option<StoreOutcome>, Fault> {
    let Some(digest) = input.expected.filter(|_| !in_set(input)) else { return Ok(None) };
    let store = deps.store(&input.file.org).await?;
    match claimed_before(store.as_ref(), input, digest).await? {
        Some(stored) => identify(deps, store.as_ref(), input, stored).await.map(Some),
        None => Ok(None),
    }
}

async fn claimed_before(
    store: &dyn OrgStore,
    input: &StoreInput,
    digest: Digest,
) -> Result<Option<StoreOutcome>, Fault> {
    Ok(match store.head_recording(&digest).await? {
        Some(Put::Exists { claim: winner, size }) if ours(input, &winner) => {
            let bytes = store.read_recording(&digest, input.file.small_bytes).await?;
            Some(StoreOutcome::Claimed { digest, size, structure: inspect::structure_of(&bytes), related: Vec::new() })
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use leadline_domain::{FileStat, Fingerprint, OrgId, ShareId, SharePath};

    fn version(changed: u64) -> FileRef {
        let stat = FileStat { file_id: 7, size: 3, modified: 1, changed };
        let fingerprint = Fingerprint { path: SharePath::new("in/a.dcm"), stat };
        let (org, share) = (OrgId::parse("st-mary").unwrap(), ShareId::parse("ward").unwrap());
        FileRef { org, share, fingerprint, small_bytes: 10 }
    }

    #[test]
    fn a_claim_by_a_version_that_the_file_had_before_is_its_own() {
        let had = vec![version_key(&version(1)), version_key(&version(2))];
        let (basis, digest) = (Basis::Structure, Digest::of(b"abc"));
        let input = StoreInput { file: version(3), basis, expected: None, declared: None, set: None, had };
        let ours = |by: u64, size| {
            let claim = version_key(&version(by)).as_str().to_owned();
            let structure = inspect::structure_of(b"abc");
            matches!(
                outcome(Put::Exists { claim, size }, &input, digest, 3, structure).unwrap(),
                StoreOutcome::Claimed { .. }
            )
        };
        assert!((1..=3).all(|by| ours(by, 3)));
        assert!(!ours(4, 3), "another lifecycle of the file has delivered it");
        assert!(!ours(1, 5), "other bytes");
    }
}
