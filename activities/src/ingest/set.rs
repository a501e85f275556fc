//! What the files of a set say of each other, and the manifest that claims a set.

use super::identity;
use crate::deps::Deps;
use crate::inspect;
use crate::metrics::METRICS;
use crate::ports::store::{Put, RecordingMeta, Shelf};
use bytes::Bytes;
use leadline_domain::message::{SET, media_type};
use leadline_domain::set::MemberRole;
use leadline_domain::settle::StructureVerdict;
use leadline_domain::{Digest, Fault, FaultCode};
use leadline_formats::Evidence;
use leadline_formats::sets::{WfdbFiles, wfdb_verdict};
use leadline_formats::wfdb::{Header, SampleCheck, SampleSums, SignalFile};
use leadline_workflows::contracts::{ClaimInput, JudgeMember, Judgement, SetClaim};
use std::collections::BTreeMap;

/// A header is read whole; a larger one is none.
const HEADER: u64 = 1 << 20;

pub(super) async fn claim(deps: &Deps, input: &ClaimInput) -> Result<SetClaim, Fault> {
    let text = Bytes::from(input.manifest.to_json());
    let size = text.len() as u64;
    let meta = RecordingMeta {
        claim: input.claim.clone(),
        format: SET.into(),
        media_type: media_type(SET).into(),
        shelf: Shelf::Recordings,
    };
    let store = deps.store(&input.org).await?;
    let digest = input.manifest.digest();
    match store.put_recording(&digest, text, &meta).await? {
        Put::Created => METRICS.stored(size),
        Put::Exists { claim, .. } if claim == input.claim => {}
        Put::Exists { .. } => return Ok(SetClaim::Duplicate),
    }
    let related = match &input.marks {
        Some(marks) => identity::claim(deps, store.as_ref(), &input.org, digest, marks).await?,
        None => Vec::new(),
    };
    Ok(if related.is_empty() { SetClaim::Claimed } else { SetClaim::Linked { related } })
}

/// Judges a WFDB record: the files that the header names are there, have the length that it implies and, as far as they
/// are small, add up to the sums that it states.
pub(super) async fn judge(deps: &Deps, members: &[JudgeMember]) -> Result<Judgement, Fault> {
    let Some(primary) = members.iter().find(|m| m.role == MemberRole::Primary) else {
        return Err(Fault::new(FaultCode::BugInvariant, "a record without a header is not judged"));
    };
    if primary.file.fingerprint.stat.size > HEADER {
        return Ok(judged(StructureVerdict::Malformed, "The header is larger than any real one."));
    }
    let Some(text) = content(deps, primary).await? else { return Ok(Judgement::Changed) };
    let Ok(header) = Header::parse(&text) else {
        return Ok(judged(StructureVerdict::Malformed, "The header does not follow its grammar."));
    };
    let mut files = Beside::default();
    for signal in header.files() {
        let named = |m: &&JudgeMember| m.file.fingerprint.path.name().eq_ignore_ascii_case(&signal.name);
        let Some(member) = members.iter().find(named) else { continue };
        let size = member.file.fingerprint.stat.size;
        // The length tells first: samples are only added up where it is right.
        let sums = if size <= member.file.small_bytes && signal.expected == Some(size) {
            let Some(bytes) = content(deps, member).await? else { return Ok(Judgement::Changed) };
            let mut check = SampleCheck::new(&signal, header.frames.unwrap_or(0));
            check.push(&bytes);
            check.finish()
        } else {
            SampleSums { len: size, sums: None }
        };
        files.0.insert(signal.name.clone(), sums);
    }
    let verdict = wfdb_verdict(&header, &files);
    let mut evidence: Vec<String> = verdict.evidence.iter().map(Evidence::sentence).collect();
    let verdict = inspect::verdict(verdict.verdict);
    if verdict == StructureVerdict::Complete {
        evidence.push("Every signal file that the header names is there and has the length that it implies.".into());
        if !files.0.is_empty() && files.0.values().all(|s| s.sums.is_some()) {
            evidence.push("The samples were added up and compared with the sums that the header states.".into());
        }
    }
    Ok(Judgement::Judged { verdict, evidence, base: Some(header.record) })
}

fn judged(verdict: StructureVerdict, why: &str) -> Judgement {
    Judgement::Judged { verdict, evidence: vec![why.to_owned()], base: None }
}

/// A member's bytes, if they still are those that the look found.
async fn content(deps: &Deps, m: &JudgeMember) -> Result<Option<Bytes>, Fault> {
    let share = deps.share(&m.file.org, &m.file.share).await?;
    let bytes = match share.read(&m.file.fingerprint.path, m.file.fingerprint.stat.size).await {
        Ok(b) => b,
        Err(f) if matches!(f.code, FaultCode::ShareFileGone | FaultCode::ShareFileChanged) => return Ok(None),
        Err(f) => return Err(f),
    };
    Ok(m.digest.is_none_or(|d| d == Digest::of(&bytes)).then_some(bytes))
}

/// The signal files that were found beside the header, by the names that it gives them.
#[derive(Default)]
struct Beside(BTreeMap<String, SampleSums>);

impl WfdbFiles for Beside {
    // A segment has a stem of its own, and with it a set of its own: a record of several segments is not delivered.
    fn header(&self, _record: &str) -> Option<Header> {
        None
    }

    fn signal(&self, file: &SignalFile, _frames: Option<u64>) -> Option<SampleSums> {
        self.0.get(&file.name).cloned()
    }
}
