//! Stores a large file: parts to `staging/`, digest and structural check on the way, then a server-side copy to the
//! content-addressed key. A crash resumes with the parts that the store holds, each compared by its checksum.

use super::store::{
    Check, agrees, check, claimed_as_read, declared, identify, in_set, meta, observe, other_bytes, outcome,
};
use super::version_key;
use crate::deps::Deps;
use crate::inspect::Streaming;
use crate::ports::content::Digesting;
use crate::ports::share::FileReader;
use crate::ports::store::{OrgStore, Part, Put, Upload};
use bytes::{Bytes, BytesMut};
use leadline_domain::lifecycle::StoreOutcome;
use leadline_domain::{Digest, Fault, FaultCode, Ingress, StagedAt, Structure};
use leadline_workflows::contracts::StoreInput;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use temporalio_sdk::activities::ActivityContext;
use tokio::task::JoinSet;
use tracing::Instrument as _;

/// S3: parts of 5 MiB to 5 GiB, at most 10,000. 8 MiB times 10,000 is 78 GiB; larger files get larger parts.
const PART: u64 = 8 * 1024 * 1024;
const MAX_PARTS: u64 = 9_000;
/// Parts on their way at once: bounds memory to (1 being filled + these) parts.
const IN_FLIGHT: usize = 2;
/// How often an upload that the store forgot is begun anew within one attempt.
const RESTARTS: u32 = 3;

/// What a heartbeat tells. The next attempt asks the store and not the heartbeat, whose last one may be lost.
#[derive(Debug, Clone, Serialize)]
struct Progress {
    bytes: u64,
    size: u64,
}

pub(super) async fn store_large(deps: &Deps, ctx: &ActivityContext, input: &StoreInput) -> Result<StoreOutcome, Fault> {
    let store = deps.store(&input.file.org).await?;
    let mut restarts = 0;
    loop {
        match attempt(deps, ctx, input, &store).await {
            Err(f) if f.code == FaultCode::StoreUploadLost && restarts < RESTARTS => {
                restarts += 1;
                tracing::warn!(restarts, "the store forgot the upload, beginning anew");
            }
            r => return r,
        }
    }
}

async fn attempt(
    deps: &Deps,
    ctx: &ActivityContext,
    input: &StoreInput,
    store: &Arc<dyn OrgStore>,
) -> Result<StoreOutcome, Fault> {
    let file = &input.file;
    let claim = version_key(file);
    let share = deps.share(&file.org, &file.share).await?;
    match check(file, observe(share.as_ref(), file).await?.as_ref()) {
        Check::Same => {}
        Check::Gone => return settled_before(deps, store.as_ref(), input, StoreOutcome::Gone).await,
        Check::Changed(look) => {
            return settled_before(deps, store.as_ref(), input, StoreOutcome::Changed { look }).await;
        }
    }
    let mut reader = match share.open(&file.fingerprint.path, 0).await {
        Err(f) if f.code == FaultCode::ShareFileGone => {
            return settled_before(deps, store.as_ref(), input, StoreOutcome::Gone).await;
        }
        r => r?,
    };
    if Ingress::of_share(&file.share) != Ingress::Smb {
        return received(deps, ctx, input, store, reader).await;
    }
    let (upload, held) = begin(store.as_ref(), claim.as_str()).await?;
    let size = file.fingerprint.stat.size;
    let mut up = Uploading::new(Arc::clone(store), upload.clone(), held, size);
    let (mut digesting, mut inspector) = (Digesting::new(size, store.pieces()), Streaming::new(size));
    let mut filling = BytesMut::with_capacity(up.part_len);
    let mut done = 0u64;
    while let Some(chunk) = reader.next().await? {
        digesting.push(&chunk);
        inspector.push(&chunk);
        done += chunk.len() as u64;
        let mut rest = chunk;
        while !rest.is_empty() {
            let n = rest.len().min(up.part_len - filling.len());
            filling.extend_from_slice(&rest.split_to(n));
            if filling.len() == up.part_len {
                up.send(filling.split().freeze()).await?;
                filling.reserve(up.part_len);
                let p = Progress { bytes: done, size };
                // A heartbeat that cannot be sent is no reason to stop; the server's timeout decides.
                let _ = ctx.record_heartbeat(p).await;
            }
        }
    }
    drop(reader);
    if !filling.is_empty() {
        up.send(filling.freeze()).await?;
    }
    let parts = up.finish().await?;
    let (content, structure) = (digesting.finish(), inspector.finish());
    let now = observe(share.as_ref(), file).await?;
    let fits = done == size && agrees(input, &structure);
    let given_up = match check(file, now.as_ref()) {
        Check::Changed(look) => Some(StoreOutcome::Changed { look }),
        Check::Gone if !(fits && input.basis == leadline_domain::settle::Basis::Structure) => Some(StoreOutcome::Gone),
        _ if !fits => Some(StoreOutcome::Incomplete { structure: structure.clone() }),
        _ => other_bytes(input, &content.digest),
    };
    if let Some(outcome) = given_up {
        store.abort_upload(&upload).await?;
        return match outcome {
            StoreOutcome::Incomplete { .. } => Ok(outcome),
            outcome => settled_before(deps, store.as_ref(), input, outcome).await,
        };
    }
    store.complete_upload(&upload, &parts).await?;
    if !in_set(input) {
        note(store.as_ref(), claim.as_str(), content.digest, &structure).await?;
    }
    let meta = meta(input, claim.as_str(), &structure);
    let put = store.promote(&upload.name, &content, &meta).await?;
    identify(deps, store.as_ref(), input, outcome(put, input, content.digest, size, structure)?).await
}

/// What a claim is about to be. Only whoever read all of the file knows it, and its attempt may end before it tells.
#[derive(Serialize, Deserialize)]
struct Noted {
    digest: Digest,
    structure: Structure,
}

async fn note(store: &dyn OrgStore, claim: &str, digest: Digest, structure: &Structure) -> Result<(), Fault> {
    let noted = Noted { digest, structure: structure.clone() };
    let text = serde_json::to_string(&noted).map_err(|e| Fault::new(FaultCode::BugInvariant, e.to_string()))?;
    store.note_claim(claim, &text).await
}

/// The file is not any more what was settled. If an earlier attempt had claimed what it was, and its answer was lost, the
/// claim stands: that content was complete, and the file under its new name would be taken for a duplicate of it.
async fn settled_before(
    deps: &Deps,
    store: &dyn OrgStore,
    input: &StoreInput,
    otherwise: StoreOutcome,
) -> Result<StoreOutcome, Fault> {
    // An object of a set makes no claim, and what was received stays in staging until its message is sent.
    if in_set(input) || Ingress::of_share(&input.file.share) != Ingress::Smb {
        return Ok(otherwise);
    }
    // A try as a small file may have claimed it, before it took too long.
    if let Some(stored) = claimed_as_read(deps, input).await? {
        return Ok(stored);
    }
    let own = version_key(&input.file);
    for version in std::iter::once(&own).chain(input.had.iter().rev()) {
        let text = store.noted_claim(version.as_str()).await?;
        let Some(Noted { digest, structure }) = text.and_then(|t| serde_json::from_str(&t).ok()) else { continue };
        if let Some(Put::Exists { claim, size }) = store.head_recording(&digest).await?
            && claim == version.as_str()
            && size == input.file.fingerprint.stat.size
        {
            let stored = StoreOutcome::Claimed { digest, size, structure, related: Vec::new() };
            return identify(deps, store, input, stored).await;
        }
    }
    Ok(otherwise)
}

/// The same for what is in staging already: it is read once, and copied by the store itself. It stays there until the
/// message is on the queue, so that a repeat finds it.
async fn received(
    deps: &Deps,
    ctx: &ActivityContext,
    input: &StoreInput,
    store: &Arc<dyn OrgStore>,
    mut reader: Box<dyn FileReader>,
) -> Result<StoreOutcome, Fault> {
    let size = input.file.fingerprint.stat.size;
    let (mut digesting, mut inspector) = (Digesting::new(size, store.pieces()), Streaming::new(size));
    let mut done = 0u64;
    while let Some(chunk) = reader.next().await? {
        digesting.push(&chunk);
        inspector.push(&chunk);
        done += chunk.len() as u64;
        // A heartbeat that cannot be sent is no reason to stop; the server's timeout decides.
        let _ = ctx.record_heartbeat(Progress { bytes: done, size }).await;
    }
    let (content, structure) = (digesting.finish(), inspector.finish());
    if done != size || !agrees(input, &structure) {
        return Ok(StoreOutcome::Incomplete { structure });
    }
    declared(input, &content.digest)?;
    let meta = meta(input, version_key(&input.file).as_str(), &structure);
    let put = store.adopt(StagedAt::of_path(input.file.fingerprint.path.expose()), &content, &meta).await?;
    identify(deps, store.as_ref(), input, outcome(put, input, content.digest, size, structure)?).await
}

/// Continues the upload of an earlier attempt if the store still has it, or begins one.
async fn begin(store: &dyn OrgStore, name: &str) -> Result<(Upload, Vec<Part>), Fault> {
    if let Some(upload) = store.find_upload(name).await? {
        match store.list_parts(&upload).await {
            Ok(parts) => return Ok((upload, parts)),
            Err(f) if f.code == FaultCode::StoreUploadLost => {}
            Err(f) => return Err(f),
        }
    }
    Ok((store.begin_upload(name).await?, Vec::new()))
}

/// Parts on their way.
struct Uploading {
    store: Arc<dyn OrgStore>,
    upload: Upload,
    held: BTreeMap<u32, Part>,
    done: Vec<Part>,
    running: JoinSet<Result<Part, Fault>>,
    next: u32,
    part_len: usize,
}

impl Uploading {
    fn new(store: Arc<dyn OrgStore>, upload: Upload, held: Vec<Part>, size: u64) -> Self {
        const MIB: u64 = 1024 * 1024;
        let part = PART.max(size.div_ceil(MAX_PARTS).div_ceil(MIB) * MIB);
        Self {
            store,
            upload,
            held: held.into_iter().map(|p| (p.number, p)).collect(),
            done: Vec::new(),
            running: JoinSet::new(),
            next: 1,
            part_len: usize::try_from(part).unwrap_or(usize::MAX),
        }
    }

    /// Sends the next part, unless the store holds these very bytes under its number already.
    async fn send(&mut self, body: Bytes) -> Result<(), Fault> {
        let number = self.next;
        self.next += 1;
        let sha256: [u8; 32] = Sha256::digest(&body).into();
        if let Some(p) = self.held.remove(&number)
            && p.sha256 == sha256
            && p.size == body.len() as u64
        {
            self.done.push(p);
            return Ok(());
        }
        while self.running.len() >= IN_FLIGHT {
            self.join_one().await?;
        }
        let (store, upload) = (Arc::clone(&self.store), self.upload.clone());
        let part = async move { store.upload_part(&upload, number, body, sha256).await };
        self.running.spawn(part.in_current_span());
        Ok(())
    }

    async fn join_one(&mut self) -> Result<(), Fault> {
        match self.running.join_next().await {
            Some(Ok(part)) => self.done.push(part?),
            Some(Err(e)) => return Err(Fault::new(FaultCode::BugInvariant, format!("part upload ended: {e}"))),
            None => {}
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Vec<Part>, Fault> {
        while !self.running.is_empty() {
            self.join_one().await?;
        }
        self.done.sort_by_key(|p| p.number);
        Ok(self.done)
    }
}
