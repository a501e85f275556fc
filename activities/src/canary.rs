//! Canaries: made-up recordings written to a share as a device would, or sent as an organization's systems do, and followed
//! to their outcome.

// The activities macro makes constants that it does not document.
#![allow(missing_docs)]

use crate::deps::Deps;
use crate::engine::{Engine, Started};
use crate::faults::ended;
use crate::heartbeat::until_cancelled;
use crate::inspect::structure_of;
use crate::ports::senders::{Parcel, Sent};
use crate::ports::share::Share;
use crate::registry::{ShareConfig, delivered};
use crate::watch::marker;
use bytes::Bytes;
use leadline_domain::intake::received_as;
use leadline_domain::lifecycle::Outcome;
use leadline_domain::{ArchiveRule, Digest, Fault, FaultCode, Fingerprint, Ingress, IngressEndpoint, SharePath};
use leadline_formats::synth::{Spec, SynthFormat};
use leadline_workflows::contracts::{CanarySending, CanaryShot, definitions};
use leadline_workflows::ids;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use temporalio_sdk::activities::{ActivityContext, ActivityError, activities};

/// Time between two looks at a canary.
const POLL: Duration = Duration::from_millis(250);
/// A canary that has no outcome by then has not passed.
const LIMIT: Duration = Duration::from_secs(300);
/// A way in that does not answer for so long is no way in.
const PATIENCE: Duration = Duration::from_secs(20);

/// Formats that a canary can have: those of one file that proves its own completeness, so that none waits long.
#[must_use]
pub fn canary_formats() -> Vec<SynthFormat> {
    let slow = [SynthFormat::Wfdb, SynthFormat::Csv];
    SynthFormat::all().iter().copied().filter(|f| !slow.contains(f)).collect()
}

/// The name of a canary's file: it tells what it is, and ends as files of its format do.
///
/// # Errors
/// `bug.invariant` if the format cannot be made.
pub fn canary_file(format: SynthFormat, run: &str) -> Result<(String, Bytes), Fault> {
    let hash = Digest::of(format!("{run} {format:?}").as_bytes());
    let seed = hash.as_bytes().first_chunk().map_or(0, |b| u64::from_be_bytes(*b));
    let made = format.write(&Spec::new(seed)).ok().and_then(|mut files| files.pop());
    let member =
        made.ok_or_else(|| Fault::new(FaultCode::BugInvariant, format!("no canary of format {}", format.name())))?;
    let extension = member.name.rsplit_once('.').map_or("bin", |(_, e)| e);
    Ok((format!("leadline-canary-{}.{extension}", &hash.to_hex()[..16]), Bytes::from(member.bytes)))
}

/// The canaries that go, by format, by name, and by what their content is found to be: the name that a canary is asked for by
/// may be another.
fn those(go: impl Fn(SynthFormat, &str, &str) -> bool) -> Result<Vec<SynthFormat>, Fault> {
    let mut out = Vec::new();
    for f in canary_formats() {
        let (name, content) = canary_file(f, "")?;
        if go(f, &name, &structure_of(&content).format) {
            out.push(f);
        }
    }
    Ok(out)
}

/// The canaries of a share: one of each format that the organization delivers and that comes through by the share's rules
/// for names. A file that waits for others would only wait.
///
/// # Errors
/// `bug.invariant` if a format cannot be made.
pub fn canaries(share: &ShareConfig) -> Result<Vec<SynthFormat>, Fault> {
    those(|_, name, found| {
        let path = share.folder.join(name);
        share.concerns(&path) && share.goes_alone(&path) && share.delivers(found)
    })
}

/// The canaries of another way in: one of each format that the organization delivers and that the way can carry.
///
/// # Errors
/// `bug.invariant` if a format cannot be made.
pub fn endpoint_canaries(endpoint: &IngressEndpoint, formats: &BTreeSet<String>) -> Result<Vec<SynthFormat>, Fault> {
    let dicom = |f: SynthFormat| matches!(f, SynthFormat::Dicom | SynthFormat::DicomPdf);
    those(|f, _, found| (endpoint.ingress() != Ingress::Dicom || dicom(f)) && delivered(formats, found))
}

/// Implements `leadline_workflows::contracts::Canaries`.
pub struct CanaryActivities {
    deps: Arc<Deps>,
}

impl CanaryActivities {
    /// Works with these parts.
    #[must_use]
    pub fn new(deps: Arc<Deps>) -> Self {
        Self { deps }
    }
}

#[activities]
impl CanaryActivities {
    /// See the contract.
    #[activity(definition = definitions::PassCanary)]
    pub async fn pass_canary(
        self: Arc<Self>,
        ctx: ActivityContext,
        shot: CanaryShot,
    ) -> Result<Option<String>, ActivityError> {
        let engine = Engine::new(ctx.client());
        ended("pass_canary", until_cancelled(&ctx, pass(&self.deps, &engine, &shot)).await?)
    }

    /// See the contract.
    #[activity(definition = definitions::SendCanary)]
    pub async fn send_canary(
        self: Arc<Self>,
        ctx: ActivityContext,
        sending: CanarySending,
    ) -> Result<Option<String>, ActivityError> {
        let engine = Engine::new(ctx.client());
        ended("send_canary", until_cancelled(&ctx, send(&self.deps, &engine, &sending)).await?)
    }
}

async fn pass(deps: &Deps, engine: &Engine, shot: &CanaryShot) -> Result<Option<String>, Fault> {
    let config = deps.registry.share(&shot.org, &shot.share)?;
    let (name, content) = canary_file(named(&shot.format)?, &shot.run)?;
    let path = config.folder.join(&name);
    let share = deps.share(&shot.org, &shot.share).await?;
    match share.create(&path, &content).await {
        Ok(()) => {}
        // Written by an earlier attempt of this step.
        Err(f) if f.code == FaultCode::ShareNameTaken => {}
        Err(f) => return Err(f),
    }
    let digest = Digest::of(&content);
    let mut lifecycle = None;
    let end = tokio::time::Instant::now() + LIMIT;
    loop {
        let there = stat(share.as_ref(), &path).await?;
        if let Some(stat) = &there {
            let fp = Fingerprint { path: path.clone(), stat: stat.clone() };
            lifecycle = Some(ids::lifecycle(&shot.org, &shot.share, &fp));
        }
        if let Some(id) = &lifecycle
            && let Started::Ended(Some(report)) = engine.how_ended(id).await?
        {
            return Ok(verdict(report.outcome()));
        }
        // On a busy share it may have gone in a batch: its object is there, and it left the folder, which a file does
        // only after its message went out.
        let left = config.archive == ArchiveRule::Leave;
        if (there.is_none() || left) && deps.store(&shot.org).await?.head_recording(&digest).await?.is_some() {
            let Some(stat) = there else { return Ok(None) };
            // Where files stay, a marker says that it was dealt with in this version.
            let fp = Fingerprint { path: path.clone(), stat };
            let marker = marker(&shot.org, &shot.share, &fp);
            if deps.store(&shot.org).await?.list_seen(shot.share.as_str()).await?.contains(&marker) {
                return Ok(None);
            }
        }
        if tokio::time::Instant::now() > end {
            return Ok(Some(format!("it had no outcome after {} s; is the share watched?", LIMIT.as_secs())));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Why a canary did not pass, by its outcome.
fn verdict(outcome: Option<&Outcome>) -> Option<String> {
    match outcome {
        Some(Outcome::Delivered { .. } | Outcome::Duplicate { .. }) => None,
        Some(Outcome::Quarantined { code }) => Some(format!("it was quarantined: {code}")),
        Some(Outcome::Withdrawn { .. }) => Some("someone took it away".into()),
        None => Some("its lifecycle ended without an outcome".into()),
    }
}

fn named(format: &str) -> Result<SynthFormat, Fault> {
    let found = SynthFormat::all().iter().copied().find(|f| f.name() == format);
    found.ok_or_else(|| Fault::new(FaultCode::BugInvariant, format!("no canary of format {format}")))
}

/// What senders call a format.
fn media_type(format: SynthFormat) -> &'static str {
    match format {
        SynthFormat::Dicom | SynthFormat::DicomPdf => "application/dicom",
        SynthFormat::Pdf => "application/pdf",
        SynthFormat::Aecg | SynthFormat::MuseXml => "application/xml",
        SynthFormat::Fhir => "application/json",
        SynthFormat::Hl7v2 => "text/plain",
        _ => "application/octet-stream",
    }
}

/// What is sent of a format by a way in. Each way has recordings of its own: one that came before would only be linked.
///
/// # Errors
/// `bug.invariant` if the format cannot be made.
pub fn parcel(format: SynthFormat, path: &str, run: &str) -> Result<Parcel, Fault> {
    let (file, content) = canary_file(format, &format!("{run} {path}"))?;
    let name = file.rsplit_once('.').map_or(file.as_str(), |(name, _)| name).to_owned();
    Ok(Parcel { name, media_type: media_type(format).into(), content })
}

async fn send(deps: &Deps, engine: &Engine, s: &CanarySending) -> Result<Option<String>, Fault> {
    let config = deps.registry.org(&s.org)?;
    let endpoint = match config.endpoints.open.get(&s.path) {
        Some(Ok(endpoint)) => endpoint,
        Some(Err(why)) => return Ok(Some(why.clone())),
        None => return Ok(Some("the organization's file does not open it any more".into())),
    };
    let parcel = parcel(named(&s.format)?, &s.path, &s.run)?;
    let begun = tokio::time::Instant::now();
    let name = loop {
        match deps.senders.send(&s.org, &config.endpoints, endpoint, &parcel).await? {
            Sent::Taken(name) => break name,
            Sent::Refused(why) => return Ok(Some(why)),
            // One that is being started again is given a moment.
            Sent::Unanswered(why) if begun.elapsed() > PATIENCE => return Ok(Some(why)),
            Sent::Unanswered(_) => tokio::time::sleep(POLL).await,
        }
    };
    let share = endpoint.ingress().share().ok_or_else(|| Fault::new(FaultCode::BugInvariant, "no way in"))?;
    let id = ids::lifecycle(&s.org, &share, &received_as(&name));
    loop {
        if let Started::Ended(Some(report)) = engine.how_ended(&id).await? {
            return Ok(verdict(report.outcome()));
        }
        if begun.elapsed() > LIMIT {
            return Ok(Some(format!("it was taken, and had no outcome after {} s", LIMIT.as_secs())));
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn stat(share: &dyn Share, path: &SharePath) -> Result<Option<leadline_domain::FileStat>, Fault> {
    match share.observe(path).await {
        Ok(l) => Ok(Some(l.stat)),
        Err(f) if f.code == FaultCode::ShareFileGone => Ok(None),
        Err(f) => Err(f),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leadline_domain::{ArchiveRule, SettleRule, WorkerGroup};
    use leadline_formats::sets::SetRule;

    fn share(formats: &[&str], sets: Vec<SetRule>) -> ShareConfig {
        ShareConfig {
            address: "127.0.0.1:1".into(),
            share: "ward".into(),
            folder: SharePath::new("in"),
            group: WorkerGroup::main(),
            settle: SettleRule::default(),
            archive: ArchiveRule::Leave,
            reconcile_ms: 1_000,
            only: vec![],
            ignore: vec![],
            sets,
            small_bytes: 1 << 20,
            max_bytes: 1 << 30,
            formats: formats.iter().map(|f| (*f).to_owned()).collect(),
            require_encryption: false,
        }
    }

    fn names(share: &ShareConfig) -> BTreeSet<&'static str> {
        canaries(share).unwrap().into_iter().map(SynthFormat::name).collect()
    }

    #[test]
    fn a_share_has_a_canary_of_each_format_that_is_delivered_from_it() {
        let all: BTreeSet<&str> = canary_formats().into_iter().map(SynthFormat::name).collect();
        assert_eq!(names(&share(&[], vec![])), all);
        assert!(all.contains("edf") && !all.contains("csv") && !all.contains("wfdb"), "{all:?}");
        // As content is named, not as canaries are asked for.
        let some = share(&["aecg", "dicom", "dicom_document", "dicom_waveform", "pdf", "scp"], vec![]);
        assert_eq!(names(&some), BTreeSet::from(["aecg", "dicom", "dicom-pdf", "pdf", "scp"]));
        assert_eq!(names(&share(&["edf_plus"], vec![])), BTreeSet::from(["edf"]));
        assert!(names(&share(&["mfer"], vec![])).is_empty());

        let ignoring = ShareConfig { ignore: vec!["*.PDF".into()], only: vec!["*.pdf".into(), "*.scp".into()], ..some };
        assert_eq!(names(&ignoring), BTreeSet::from(["scp"]));
    }

    #[test]
    fn a_file_that_waits_for_companions_is_no_canary() {
        let stem = |required: &[&str], optional: &[&str]| SetRule::Stem {
            primary: vec!["xml".into()],
            required: required.iter().map(|e| (*e).to_owned()).collect(),
            optional: optional.iter().map(|e| (*e).to_owned()).collect(),
        };
        let without = |rules: Vec<SetRule>| {
            let all = names(&share(&[], vec![]));
            &all - &names(&share(&[], rules))
        };
        assert_eq!(without(vec![stem(&["pdf"], &[])]), BTreeSet::from(["aecg", "muse-xml", "pdf"]));
        assert_eq!(without(vec![stem(&[], &["pdf"])]), BTreeSet::from(["pdf"]));
        assert_eq!(without(vec![SetRule::Wfdb { folder: false }]), BTreeSet::from(["ishne"]));
    }

    #[test]
    fn another_way_in_has_a_canary_of_each_format_that_it_can_carry() {
        let names = |endpoint: &IngressEndpoint, formats: &[&str]| -> BTreeSet<&str> {
            let delivered = formats.iter().map(|f| (*f).to_owned()).collect();
            endpoint_canaries(endpoint, &delivered).unwrap().into_iter().map(SynthFormat::name).collect()
        };
        let all: BTreeSet<&str> = canary_formats().into_iter().map(SynthFormat::name).collect();
        let (web, stow) = (IngressEndpoint::Web { url: "u".into() }, IngressEndpoint::Stow { url: "u".into() });
        assert_eq!(names(&web, &[]), all);
        assert_eq!(names(&web, &["pdf", "mfer"]), BTreeSet::from(["pdf"]));
        assert_eq!(names(&stow, &[]), BTreeSet::from(["dicom", "dicom-pdf"]));
        assert!(names(&stow, &["pdf"]).is_empty());
    }

    #[test]
    fn every_way_has_a_recording_of_its_own_that_says_what_it_is() {
        let of = |path: &str, run: &str| parcel(SynthFormat::Pdf, path, run).unwrap();
        assert_eq!(of("web", "1"), of("web", "1"), "a repeat is the same");
        let three = [of("web", "1"), of("fhir", "1"), of("web", "2")];
        let contents: BTreeSet<_> = three.iter().map(|p| p.content.clone()).collect();
        assert_eq!(contents.len(), 3);
        assert!(three.iter().all(|p| p.name.starts_with("leadline-canary-") && !p.name.contains('.')), "{three:?}");
    }
}
