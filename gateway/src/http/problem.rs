//! Errors as clients see them: `application/problem+json` (RFC 9457) with the fault's code and a page about it.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use leadline_domain::{Fault, FaultClass, FaultCode};
use serde::Serialize;
use utoipa::ToSchema;

/// Media type of the answers (RFC 9457 section 3).
pub const MEDIA_TYPE: &str = "application/problem+json";
/// When to come back if nobody said, seconds.
const RETRY_AFTER_S: u64 = 2;

/// The body of an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProblemBody {
    /// Page about this kind of error, relative to the gateway: `/faults/<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What went wrong, in a few words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// More about this case; without names of patients or files. Absent when it is the gateway's own business.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The fault's code, e.g. `upload.unknown`: stable, for programs.
    pub code: String,
}

/// A fault on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(pub Fault);

impl From<Fault> for Problem {
    fn from(f: Fault) -> Self {
        Self(f)
    }
}

impl Problem {
    /// A problem of this code.
    #[must_use]
    pub fn new(code: FaultCode, detail: impl Into<String>) -> Self {
        Self(Fault::new(code, detail))
    }

    /// The HTTP status of its code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        status(self.0.code)
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> ProblemBody {
        let status = self.status();
        ProblemBody {
            kind: format!("/faults/{}", self.0.code),
            title: title(self.0.code).to_owned(),
            status: status.as_u16(),
            // What the store or the engine said is for the operator's log, not for whoever asks.
            detail: status.is_client_error().then(|| self.0.detail.clone()).filter(|d| !d.is_empty()),
            code: self.0.code.to_string(),
        }
    }
}

/// The HTTP status that answers a fault.
#[must_use]
pub fn status(code: FaultCode) -> StatusCode {
    use FaultCode as F;
    match code {
        F::RequestUnauthenticated => StatusCode::UNAUTHORIZED,
        F::RequestForbidden | F::ConfigUnknownOrg | F::OrgOffboarding => StatusCode::FORBIDDEN,
        F::RequestInvalid => StatusCode::BAD_REQUEST,
        F::RequestMethod => StatusCode::METHOD_NOT_ALLOWED,
        F::RequestTooLarge | F::FileTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        F::RequestNotFound | F::UploadUnknown | F::StoreUploadLost | F::OutcomeUnknownRecording => {
            StatusCode::NOT_FOUND
        }
        F::UploadPartsWrong | F::OutcomeConflict => StatusCode::CONFLICT,
        _ => match code.class() {
            FaultClass::Transient | FaultClass::Throttled | FaultClass::Blocked => StatusCode::SERVICE_UNAVAILABLE,
            FaultClass::Rejected => StatusCode::UNPROCESSABLE_ENTITY,
            FaultClass::Bug => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

fn title(code: FaultCode) -> &'static str {
    use FaultCode as F;
    match code {
        F::RequestUnauthenticated => "A token is needed that this service believes",
        F::RequestForbidden | F::ConfigUnknownOrg => "This is not allowed",
        F::RequestInvalid => "The request cannot be understood",
        F::RequestMethod => "This path is not for this method",
        F::RequestNotFound => "There is nothing here",
        F::RequestTooLarge => "The request is too large",
        F::RequestOverloaded => "Too many requests at the moment",
        F::UploadUnknown | F::StoreUploadLost => "There is no such upload",
        F::UploadPartsWrong => "The parts of the upload are not complete",
        F::FileChecksumMismatch => "The content is not what was declared",
        F::FileEmpty => "The file has no bytes",
        F::FileTooLarge => "The file is too large",
        F::OrgOffboarding => "Nothing new is taken in for this organization",
        _ => match code.class() {
            FaultClass::Transient | FaultClass::Throttled => "Not possible at the moment, try again",
            FaultClass::Blocked => "Not possible until the operator mends something",
            FaultClass::Rejected => "This cannot be accepted",
            FaultClass::Bug => "The service made a mistake",
        },
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::warn!(fault = %self.0, "a request was not served");
        }
        let body = serde_json::to_vec(&self.body()).unwrap_or_default();
        let mut r = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        let retry_after_ms = self.0.retry_after_ms;
        // For the protocols that say it in other words.
        r.extensions_mut().insert(self);
        let h = r.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            // RFC 6750 section 3.
            h.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let s = retry_after_ms.map_or(RETRY_AFTER_S, |ms| ms.div_ceil(1000).max(1));
            h.insert(header::RETRY_AFTER, HeaderValue::from(s));
        }
        r
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_inside_said_stays_inside() {
        let p = Problem::new(FaultCode::StoreAccessDenied, "PutObject: AccessDenied (HTTP 403)");
        assert_eq!(p.body().detail, None);
        assert_eq!(p.body().status, 503);
        let p = Problem::new(FaultCode::UploadUnknown, "no upload of this name");
        assert_eq!(p.body().detail.as_deref(), Some("no upload of this name"));
        assert_eq!(p.body().kind, "/faults/upload.unknown");
    }

    #[test]
    fn every_code_has_an_error_status() {
        for c in FaultCode::ALL {
            let s = status(*c);
            assert!(s.is_client_error() || s.is_server_error(), "{c}");
            // What passes by itself must not make a sender give up.
            if matches!(c.class(), FaultClass::Throttled) {
                assert_eq!(s, StatusCode::SERVICE_UNAVAILABLE, "{c}");
            }
        }
    }
}
