//! The end of an upload: by a client's call or by the store's event, whichever comes first.

use super::rules::{declared_size, unknown};
use crate::http::App;
use crate::http::metrics::METRICS;
use crate::intake::{Content, Received};
use leadline_activities::ports::uploads::StagedObject;
use leadline_domain::{Fault, FaultCode, Ingress, OrgId, StagedAt, StagedName};
use leadline_workflows::recording_lifecycle::FileReport;

/// Takes in what is at `staging/<name>`, if it is what was declared. What is not stays there until the bucket's own rule
/// takes it: whoever comes later is told the same, be it the client after the store's event. Any number of times and from
/// any number of sides, it is one lifecycle. Gives where that stands, if it has ended or is all there is; `None`
/// while it is under way.
///
/// # Errors
/// `upload.unknown` if there is nothing and never was; `file.empty`, `file.too_large`, `file.checksum_mismatch`; what
/// [`crate::intake::Intake::take`] and the store say.
pub async fn finish(app: &App, org: &OrgId, name: &StagedName) -> Result<Option<FileReport>, Fault> {
    let rules = app.directory().uploads(org)?;
    let store = app.uploads().open(&rules.scope).await?;
    let Some(object) = store.staged(name).await? else {
        // Taken in before, and moved to its place since.
        return app.intake().report(org, Ingress::Web, name).await?.map(Some).ok_or_else(unknown);
    };
    fits(object.size, declared_size(name), rules.max_bytes).inspect_err(|_| METRICS.upload("refused"))?;
    let received = Received {
        org: org.clone(),
        ingress: Ingress::Web,
        name: name.clone(),
        content: Content::Staged { version: object.version.clone() },
        declared: object.declared,
    };
    match app.intake().take(received).await {
        Ok(report) => {
            METRICS.upload("taken");
            if report.as_ref().is_some_and(|r| later(r, &object)) {
                METRICS.upload("written_again");
                tracing::warn!(%org, upload = %name, "an upload was written again after it was taken in, and stays as it was");
            }
            Ok(report)
        }
        Err(f) => {
            if f.code == FaultCode::FileChecksumMismatch {
                METRICS.upload("refused");
            }
            Err(f)
        }
    }
}

/// Whether an object is another version than the one that was taken in.
fn later(taken: &FileReport, object: &StagedObject) -> bool {
    let version = StagedAt::of_path(taken.intake.fingerprint.path.expose()).version;
    version.is_some() && version != object.version.as_deref()
}

/// Whether an object has the length that was declared, and one that is taken at all.
pub(in crate::http) fn fits(size: u64, declared: Option<u64>, max: u64) -> Result<(), Fault> {
    if size == 0 {
        return Err(Fault::new(FaultCode::FileEmpty, "the upload has no bytes"));
    }
    if size > max {
        return Err(Fault::new(
            FaultCode::FileTooLarge,
            format!("{size} bytes are more than the {max} that are taken"),
        ));
    }
    match declared {
        Some(d) if d != size => {
            let why = format!("the upload has {size} bytes, and {d} were declared");
            Err(Fault::new(FaultCode::FileChecksumMismatch, why))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_length_is_not_what_was_declared() {
        assert_eq!(fits(3, Some(3), 3), Ok(()));
        assert_eq!(fits(3, None, 3), Ok(()));
        assert_eq!(fits(2, Some(3), 3).unwrap_err().code, FaultCode::FileChecksumMismatch);
        assert_eq!(fits(4, Some(4), 3).unwrap_err().code, FaultCode::FileTooLarge);
        assert_eq!(fits(0, None, 3).unwrap_err().code, FaultCode::FileEmpty);
    }
}
