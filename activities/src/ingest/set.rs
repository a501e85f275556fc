//! What the files of a set say of each other, and the manifest that claims a set.

use super::identity;
use super::store::{Check, check, observe};
use crate::deps::Deps;
use crate::inspect;
use crate::metrics::METRICS;
use crate::ports::store::{Put, RecordingMeta, Shelf};
use bytes::Bytes;
use leadline_domain::message::{SET, media_type};
use leadline_domain::set::{MemberRole, SampleLayout, SetPlace};
use leadline_domain::settle::StructureVerdict;
use leadline_domain::{Digest, Fault, FaultCode, Fingerprint};
use leadline_formats::Evidence;
use leadline_formats::sets::{Record, WfdbFiles, wfdb_verdict};
use leadline_formats::wfdb::{Header, SampleCheck, SampleSums, SignalFile};
use leadline_workflows::contracts::{
    AddUpInput, AddedUp, ClaimInput, JudgeMember, JudgedMember, Judgement, SetClaim, Summed,
};
use sha2::{Digest as _, Sha256};
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

/// Judges a WFDB record: the files that its headers name are there, have the length that they imply and add up to the sums
/// that they state. Samples of large files are to be added up first, by [`add_up`].
pub(super) async fn judge(deps: &Deps, members: &[JudgeMember]) -> Result<Judgement, Fault> {
    let mut headers = Vec::new();
    for m in members.iter().filter(|m| m.role == MemberRole::Primary) {
        if m.file.fingerprint.stat.size > HEADER {
            return Ok(judged(StructureVerdict::Malformed, "A header is larger than any real one."));
        }
        let Some(text) = content(deps, m).await? else { return Ok(Judgement::Changed) };
        let Ok(header) = Header::parse(&text) else {
            return Ok(judged(StructureVerdict::Malformed, "A header does not follow its grammar."));
        };
        headers.push((m.file.fingerprint.path.name().to_owned(), header));
    }
    let Some(record) = Record::of(headers) else {
        let why =
            "No header names all others: that of the whole record is missing, or the files are of several records.";
        return Ok(judged(StructureVerdict::Partial, why));
    };
    let mut told = places(&record, members);
    let mut first = None;
    let mut files = Beside { record: &record, signals: BTreeMap::new() };
    for signal in record.signals() {
        let named = |m: &JudgeMember| m.file.fingerprint.path.name().eq_ignore_ascii_case(&signal.file.name);
        let Some(at) = members.iter().position(named) else { continue };
        let size = members[at].file.fingerprint.stat.size;
        let summed = members[at].summed.clone();
        let (sums, trace) = summed.map_or((None, None), |s| (Some(s.sums), s.trace));
        let mut sums = SampleSums { len: size, sums, trace, zeros: None };
        // The length tells first: samples are only added up where it is right.
        if sums.sums.is_none() && signal.file.expected == Some(size) {
            let frames = signal.frames.unwrap_or(0);
            let mut check = SampleCheck::new(&signal.file, frames);
            if size <= members[at].file.small_bytes {
                let Some(bytes) = content(deps, &members[at]).await? else { return Ok(Judgement::Changed) };
                check.push(&bytes);
                sums = check.finish();
            } else if check.adds_up() && signal.file.checksums.iter().any(Option::is_some) {
                told[at].to_add = Some(layout(&signal.file, frames));
            }
        }
        first.get_or_insert(sums.trace.clone());
        files.signals.insert(signal.file.name.clone(), sums);
    }
    let verdict = wfdb_verdict(record.master(), &files);
    let mut evidence: Vec<String> = verdict.evidence.iter().map(Evidence::sentence).collect();
    let verdict = inspect::verdict(verdict.verdict);
    if verdict == StructureVerdict::Complete {
        let named = "Every signal file that the header names is there and has the length that it implies.";
        let segments = "So is every segment that the header of the record names.";
        evidence.push(named.into());
        evidence.extend((!record.master().segments.is_empty()).then(|| segments.into()));
        if !files.signals.is_empty() && files.signals.values().all(|s| s.sums.is_some()) {
            evidence.push("The samples were added up and compared with the sums that the header states.".into());
        }
    } else {
        // What is not right anyhow need not be added up.
        told.iter_mut().for_each(|m| m.to_add = None);
    }
    if told.iter().all(|m| *m == JudgedMember::default()) {
        told.clear();
    }
    Ok(Judgement::Judged {
        verdict,
        evidence,
        base: Some(record.master().record.clone()),
        members: told,
        trace: first.flatten(),
    })
}

/// What each member is to the record, where its name did not tell.
fn places(record: &Record, members: &[JudgeMember]) -> Vec<JudgedMember> {
    let spread = record.is_spread();
    let place = |m: &JudgeMember| {
        if !spread {
            return JudgedMember::default();
        }
        let p = record.place(m.file.fingerprint.path.name());
        let role = match (m.role, p.file) {
            _ if p.master => MemberRole::Primary,
            (MemberRole::Primary, _) | (_, Some(_)) => MemberRole::Required,
            (other, None) => other,
        };
        JudgedMember { role: Some(role), place: SetPlace { segment: p.segment, file: p.file }, to_add: None }
    };
    members.iter().map(place).collect()
}

fn layout(file: &SignalFile, frames: u64) -> SampleLayout {
    let (per_frame, initial) = (file.per_frame.clone(), file.initial.clone());
    SampleLayout { format: file.format, per_frame, initial, offset: file.offset, frames }
}

/// Adds up the samples of a large signal file, between two looks.
pub(super) async fn add_up(deps: &Deps, input: &AddUpInput) -> Result<AddedUp, Fault> {
    let Fingerprint { path, stat } = &input.file.fingerprint;
    let share = deps.share(&input.file.org, &input.file.share).await?;
    let mut reader = match share.open(path, 0).await {
        Err(f) if f.code == FaultCode::ShareFileGone => return Ok(AddedUp::Changed),
        r => r?,
    };
    let l = input.layout.clone();
    let file = SignalFile {
        name: String::new(),
        format: l.format,
        checksums: vec![None; l.per_frame.len()],
        per_frame: l.per_frame,
        initial: l.initial,
        offset: l.offset,
        expected: None,
    };
    let (mut samples, mut digest) = (SampleCheck::new(&file, l.frames), Sha256::new());
    while let Some(chunk) = reader.next().await? {
        digest.update(&chunk);
        samples.push(&chunk);
    }
    drop(reader);
    let now = observe(share.as_ref(), &input.file).await?;
    let unchanged = matches!(check(&input.file, now.as_ref()), Check::Same);
    let SampleSums { len, sums: Some(sums), trace, .. } = samples.finish() else { return Ok(AddedUp::Changed) };
    if !unchanged || len != stat.size {
        return Ok(AddedUp::Changed);
    }
    Ok(AddedUp::Sums { summed: Summed { sums, trace }, digest: Digest::from_bytes(digest.finalize().into()) })
}

fn judged(verdict: StructureVerdict, why: &str) -> Judgement {
    Judgement::Judged { verdict, evidence: vec![why.to_owned()], base: None, members: Vec::new(), trace: None }
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

/// The headers of a record, and the signal files that were found beside them, by the names that they give them.
struct Beside<'a> {
    record: &'a Record,
    signals: BTreeMap<String, SampleSums>,
}

impl WfdbFiles for Beside<'_> {
    fn header(&self, record: &str) -> Option<Header> {
        self.record.segment(record).cloned()
    }

    fn signal(&self, file: &SignalFile, _frames: Option<u64>) -> Option<SampleSums> {
        self.signals.get(&file.name).cloned()
    }
}
