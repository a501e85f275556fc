//! One object: is it what it should be, and is it kept? Shared by C-STORE and STOW-RS.

use super::{head, uids};
use crate::intake::{Content, Intake, Received};
use bytes::Bytes;
use leadline_activities::metrics::METRICS;
use leadline_domain::fault::FaultClass;
use leadline_domain::staged::{Ingress, StagedName};
use leadline_domain::{Digest, Fault, FaultCode, OrgId};
use leadline_formats::{Verdict, inspect_bytes};
use std::time::Duration;

/// Status codes of C-STORE (PS3.4 table B.2-1, PS3.7 annex C).
pub(crate) mod status {
    /// Kept.
    pub(crate) const SUCCESS: u16 = 0x0000;
    /// The store or the engine does not take it now: send it again later.
    pub(crate) const OUT_OF_RESOURCES: u16 = 0xA700;
    /// The object is of another class, or another instance, than announced.
    pub(crate) const CLASS_MISMATCH: u16 = 0xA900;
    /// Broken, or not DICOM.
    pub(crate) const CANNOT_UNDERSTAND: u16 = 0xC000;
    /// A failure of ours.
    pub(crate) const PROCESSING_FAILURE: u16 = 0x0110;
    /// The instance has no usable UID.
    pub(crate) const INVALID_INSTANCE: u16 = 0x0117;
    /// The class is not stored here.
    pub(crate) const CLASS_NOT_SUPPORTED: u16 = 0x0122;
    /// The organization has gone from the configuration.
    pub(crate) const NOT_AUTHORIZED: u16 = 0x0124;
    /// An operation that is none of ours.
    pub(crate) const UNRECOGNIZED_OPERATION: u16 = 0x0211;
}

/// Storing and starting takes this long at most, then the peer is asked to come again: a repeat is harmless.
const TAKE: Duration = Duration::from_secs(120);

/// Why an object was not kept: a status of PS3.4 and PS3.7, and a few words without PHI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Status.
    pub(crate) status: u16,
    /// What is counted, and begins the comment.
    pub(crate) code: FaultCode,
    /// At most 64 characters (PS3.7 C.4: LO).
    pub(crate) comment: String,
}

impl Refused {
    /// For what the object or the request is; the status tells which fault that is.
    pub(crate) fn new(status: u16, why: &str) -> Self {
        let code = match status {
            status::CLASS_MISMATCH => FaultCode::DicomMismatch,
            status::INVALID_INSTANCE | status::CLASS_NOT_SUPPORTED | status::UNRECOGNIZED_OPERATION => {
                FaultCode::DicomNotAccepted
            }
            status::OUT_OF_RESOURCES => FaultCode::RequestOverloaded,
            status::PROCESSING_FAILURE => FaultCode::BugInvariant,
            _ => FaultCode::DicomUnreadable,
        };
        Self::coded(status, code, why)
    }

    pub(crate) fn coded(status: u16, code: FaultCode, why: &str) -> Self {
        let comment = if why.is_empty() { code.to_string() } else { format!("{code}: {why}") };
        Self { status, code, comment }
    }

    /// Counts it, and logs it without anything of the object.
    pub(crate) fn count(&self, org: &OrgId) {
        METRICS.fault(self.code);
        tracing::info!(%org, code = %self.code, status = format!("{:04X}", self.status), why = self.comment, "DICOM object refused");
    }

    /// Larger than is taken. PS3.4 has no other status for it.
    pub(crate) fn too_large() -> Self {
        Self::coded(status::OUT_OF_RESOURCES, FaultCode::FileTooLarge, "object is larger than allowed")
    }
}

/// What is known of an object beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announced {
    /// SOP class.
    pub(crate) class: String,
    /// SOP instance.
    pub(crate) instance: String,
    /// Transfer syntax.
    pub(crate) syntax: String,
}

/// Judges an object by what was announced and by its bytes: a whole file whose data set begins at `data`.
pub(crate) fn judge(announced: &Announced, file: &Bytes, data: usize) -> Result<(), Refused> {
    if !uids::stored(&announced.class) {
        return Err(Refused::new(status::CLASS_NOT_SUPPORTED, "this SOP class is not stored"));
    }
    if !uids::usable(&announced.instance) {
        return Err(Refused::new(status::INVALID_INSTANCE, "no usable SOP instance UID"));
    }
    if !uids::readable(&announced.syntax) {
        let why = "this transfer syntax";
        return Err(Refused::coded(status::CANNOT_UNDERSTAND, FaultCode::DicomNotAccepted, why));
    }
    let said = head::read(file.get(data..).unwrap_or_default(), &announced.syntax);
    match (said.class, said.instance) {
        (None, _) | (_, None) => Err(Refused::new(status::CANNOT_UNDERSTAND, "data set without SOP class or instance")),
        (Some(class), _) if class != announced.class => {
            Err(Refused::new(status::CLASS_MISMATCH, "data set is of another SOP class"))
        }
        (_, Some(instance)) if instance != announced.instance => {
            Err(Refused::new(status::CLASS_MISMATCH, "data set is of another SOP instance"))
        }
        _ => match inspect_bytes(file).verdict {
            // What its content cannot tell, the protocol does: the last fragment was marked.
            Verdict::Complete | Verdict::Unverifiable => Ok(()),
            Verdict::Partial => Err(Refused::new(status::CANNOT_UNDERSTAND, "object ends early")),
            Verdict::Malformed => Err(Refused::new(status::CANNOT_UNDERSTAND, "object contradicts itself")),
            Verdict::Suspect => Err(Refused::new(status::CANNOT_UNDERSTAND, "object is padded or partly unwritten")),
        },
    }
}

/// Status of a fault of the intake.
pub(crate) fn refused_for(fault: &Fault) -> Refused {
    let status = match (fault.code, fault.class()) {
        (FaultCode::ConfigUnknownOrg | FaultCode::OrgOffboarding, _) => status::NOT_AUTHORIZED,
        (_, FaultClass::Transient | FaultClass::Throttled | FaultClass::Blocked) => status::OUT_OF_RESOURCES,
        (_, FaultClass::Rejected) => status::CANNOT_UNDERSTAND,
        (_, FaultClass::Bug) => status::PROCESSING_FAILURE,
    };
    Refused::coded(status, fault.code, "")
}

/// Where an object is staged: named after the file that it becomes, so that a repeat is the same.
pub(crate) fn staged(org: &OrgId, digest: &Digest) -> StagedName {
    StagedName::derived(Ingress::Dicom, &[org.as_str(), &digest.to_hex()])
}

/// Judges an object and has it kept. When it returns `Ok`, it is durable and its lifecycle has begun.
pub(crate) async fn keep(
    intake: &dyn Intake,
    org: &OrgId,
    announced: Announced,
    file: Bytes,
    data: usize,
) -> Result<Digest, Refused> {
    let judged = {
        let file = file.clone();
        // Digest and inspection of a large object take a while of computing.
        tokio::task::spawn_blocking(move || judge(&announced, &file, data).map(|()| Digest::of(&file))).await
    };
    let digest = judged.map_err(|_| Refused::new(status::PROCESSING_FAILURE, ""))??;
    let received = Received {
        org: org.clone(),
        ingress: Ingress::Dicom,
        name: staged(org, &digest),
        content: Content::Bytes(file),
        declared: Some(digest),
    };
    match tokio::time::timeout(TAKE, intake.take(received)).await {
        Ok(Ok(_)) => Ok(digest),
        Ok(Err(fault)) => {
            tracing::warn!(%org, %fault, "DICOM object not taken in");
            Err(refused_for(&fault))
        }
        Err(_) => {
            tracing::warn!(%org, "DICOM object not taken in within the time for it");
            Err(Refused::new(status::OUT_OF_RESOURCES, "keeping it took too long"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::part10;
    use super::*;
    use leadline_formats::synth;

    fn ecg() -> (Announced, Bytes, usize) {
        let file = Bytes::from(synth::dicom::write_ecg(&synth::Spec::new(4)).unwrap());
        let m = part10::read(&file).unwrap();
        (Announced { class: m.class, instance: m.instance, syntax: m.syntax }, file, m.data)
    }

    fn status_of(a: &Announced, file: &Bytes, data: usize) -> u16 {
        judge(a, file, data).map_or_else(|r| r.status, |()| 0)
    }

    #[test]
    fn what_is_announced_has_to_be_what_came() {
        let (a, file, data) = ecg();
        assert_eq!(status_of(&a, &file, data), status::SUCCESS);
        let pdf = Announced { class: "1.2.840.10008.5.1.4.1.1.104.1".into(), ..a.clone() };
        assert_eq!(status_of(&pdf, &file, data), status::CLASS_MISMATCH);
        assert_eq!(status_of(&Announced { instance: "1.2".into(), ..a.clone() }, &file, data), status::CLASS_MISMATCH);
        assert_eq!(
            status_of(&Announced { instance: String::new(), ..a.clone() }, &file, data),
            status::INVALID_INSTANCE
        );
        let ct = Announced { class: "1.2.840.10008.5.1.4.1.1.2".into(), ..a };
        assert_eq!(status_of(&ct, &file, data), status::CLASS_NOT_SUPPORTED);
    }

    #[test]
    fn a_cut_object_is_not_understood() {
        let (a, file, data) = ecg();
        for cut in [data, data + 4, file.len() / 2, file.len() - 1] {
            assert_eq!(status_of(&a, &file.slice(..cut), data), status::CANNOT_UNDERSTAND, "{cut}");
        }
    }

    #[test]
    fn only_what_passes_by_itself_asks_to_come_again() {
        for code in FaultCode::ALL {
            let again = refused_for(&Fault::new(*code, "")).status == status::OUT_OF_RESOURCES;
            match code.class() {
                FaultClass::Transient | FaultClass::Throttled => assert!(again, "{code}"),
                // What waits for a human passes too, unless the human took the organization away.
                FaultClass::Blocked => {}
                FaultClass::Rejected | FaultClass::Bug => assert!(!again, "{code}"),
            }
        }
        assert_eq!(refused_for(&Fault::new(FaultCode::ConfigUnknownOrg, "")).status, status::NOT_AUTHORIZED);
    }
}
