//! The one place where an AWS error becomes a [`Fault`]. Texts carry operation, code, HTTP status and request id; never
//! a body or a credential.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::operation::RequestId as _;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::http::Response;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use leadline_domain::{Fault, FaultCode};
use std::error::Error;
use std::fmt;

/// Whose answer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    S3,
    Sqs,
    Sns,
    CloudFormation,
    /// STS: taking a role.
    Credentials,
    /// Secrets Manager.
    Secrets,
    Kms,
    Iam,
}

/// The codes a service's kinds of failure map to.
struct Codes {
    unreachable: FaultCode,
    throttled: FaultCode,
    denied: FaultCode,
    missing: FaultCode,
    refused: FaultCode,
}

fn codes(s: Service) -> Codes {
    use FaultCode as F;
    match s {
        Service::S3 => Codes {
            unreachable: F::StoreUnreachable,
            throttled: F::StoreThrottled,
            denied: F::StoreAccessDenied,
            missing: F::StoreBucketMissing,
            refused: F::StoreRefused,
        },
        Service::Sqs => Codes {
            unreachable: F::QueueUnreachable,
            throttled: F::QueueThrottled,
            denied: F::QueueAccessDenied,
            missing: F::QueueMissing,
            refused: F::QueueRefused,
        },
        // Error names of its Publish: NotFound, AuthorizationError, InvalidParameter, Throttled, InternalError.
        Service::Sns => Codes {
            unreachable: F::AlarmUnreachable,
            throttled: F::AlarmUnreachable,
            denied: F::AlarmAccessDenied,
            missing: F::AlarmTopicMissing,
            refused: F::AlarmRefused,
        },
        Service::CloudFormation => Codes {
            unreachable: F::StackUnreachable,
            throttled: F::StackThrottled,
            denied: F::StackAccessDenied,
            missing: F::StackFailed,
            refused: F::StackRefused,
        },
        Service::Credentials => Codes {
            unreachable: F::CredentialUnreachable,
            throttled: F::CredentialUnreachable,
            denied: F::CredentialRefused,
            missing: F::CredentialRefused,
            refused: F::CredentialRefused,
        },
        Service::Kms => Codes {
            unreachable: F::CredentialUnreachable,
            throttled: F::CredentialUnreachable,
            denied: F::StoreAccessDenied,
            missing: F::StoreAccessDenied,
            refused: F::BugInvariant,
        },
        // Read by provisioning only.
        Service::Iam => Codes {
            unreachable: F::StackUnreachable,
            throttled: F::StackThrottled,
            denied: F::StackAccessDenied,
            missing: F::StackMissing,
            refused: F::StackRefused,
        },
        Service::Secrets => Codes {
            unreachable: F::CredentialUnreachable,
            throttled: F::CredentialUnreachable,
            // "Missing or cannot be read": either way somebody has to look at this secret.
            denied: F::SecretMissing,
            missing: F::SecretMissing,
            refused: F::BugInvariant,
        },
    }
}

/// When to come back after a request to slow down that names no time, milliseconds.
const SLOW_DOWN_MS: u64 = 2_000;
/// Never believe a server that asks for more than this, milliseconds.
const LONGEST_WAIT_MS: u64 = 300_000;

/// What a service answered, as far as it decides anything.
#[derive(Debug, Clone, Copy, Default)]
struct Answer<'a> {
    status: u16,
    code: &'a str,
    request: &'a str,
    message: Option<&'a str>,
    /// Milliseconds.
    retry_after: Option<u64>,
}

/// Maps any SDK error. `operation` is the API's name, e.g. `PutObject`.
pub(super) fn fault<E>(service: Service, operation: &'static str, e: &SdkError<E, Response>) -> Fault
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let c = codes(service);
    // Credentials are fetched on the way out: what went wrong there arrives here, wrapped several times.
    if let Some(f) = credentials(operation, e) {
        return f;
    }
    match e {
        SdkError::ServiceError(s) => by_answer(
            service,
            operation,
            &Answer {
                status: s.raw().status().as_u16(),
                code: s.err().code().unwrap_or(""),
                request: e.request_id().unwrap_or(""),
                message: s.err().message(),
                retry_after: retry_after(s.raw()),
            },
        ),
        SdkError::TimeoutError(_) => Fault::new(c.unreachable, format!("{operation}: no answer in time")),
        SdkError::DispatchFailure(d) if d.is_timeout() => {
            Fault::new(c.unreachable, format!("{operation}: no answer in time"))
        }
        SdkError::DispatchFailure(d) if d.is_user() => {
            Fault::new(c.refused, format!("{operation}: the request cannot be sent"))
        }
        SdkError::DispatchFailure(_) => Fault::new(c.unreachable, format!("{operation}: no connection")),
        // Something between us and AWS answered, or the answer was cut off: either passes.
        SdkError::ResponseError(r) => {
            let status = r.raw().status().as_u16();
            Fault::new(c.unreachable, format!("{operation}: answer not understood (HTTP {status})"))
        }
        SdkError::ConstructionFailure(_) => {
            Fault::new(c.refused, format!("{operation}: the request could not be made"))
        }
        _ => Fault::new(c.unreachable, format!("{operation}: unknown failure")),
    }
}

/// `Retry-After` is in seconds (RFC 9110), `x-amz-retry-after` in milliseconds (the SDKs' retry specification).
fn retry_after(r: &Response) -> Option<u64> {
    let h = r.headers();
    let ms = h.get("x-amz-retry-after").and_then(|v| v.parse::<u64>().ok());
    let s = h.get("retry-after").and_then(|v| v.parse::<u64>().ok());
    ms.or(s.map(|s| s.saturating_mul(1000))).map(|ms| ms.min(LONGEST_WAIT_MS))
}

/// The table. Code names are those of the services' API references ("Common errors" and each operation's).
fn by_answer(service: Service, operation: &str, a: &Answer<'_>) -> Fault {
    let c = codes(service);
    let mut detail = format!("{operation}: {} (HTTP {}", if a.code.is_empty() { "no code" } else { a.code }, a.status);
    if !a.request.is_empty() {
        detail = format!("{detail}, request {}", a.request);
    }
    detail.push(')');
    // These reasons name resources and roles of ours, nothing of a patient, and are what an operator needs.
    if matches!(service, Service::CloudFormation | Service::Credentials)
        && let Some(m) = a.message
    {
        detail = format!("{detail}: {}", m.chars().take(400).collect::<String>());
    }
    let slow_down = || Fault::new(c.throttled, detail.clone()).retry_after(a.retry_after.unwrap_or(SLOW_DOWN_MS));
    let fault = |code| Fault::new(code, detail.clone());
    match a.code {
        "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "Throttled"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "PriorRequestNotComplete"
        | "OverLimit" => slow_down(),
        // S3 and SQS wrap what KMS says about the key of a bucket or queue; a human has to look at the key.
        code if code.starts_with("KMS.") || code.starts_with("Kms") => {
            if code.contains("Throttl") {
                slow_down()
            } else if a.status >= 500 || ["Internal", "Timeout", "Unavailable"].iter().any(|w| code.contains(w)) {
                fault(c.unreachable)
            } else {
                fault(c.denied)
            }
        }
        "NoSuchUpload" => fault(FaultCode::StoreUploadLost),
        "NoSuchBucket"
        | "QueueDoesNotExist"
        | "AWS.SimpleQueueService.NonExistentQueue"
        | "ResourceNotFoundException" => fault(c.missing),
        // A secret that is marked for deletion.
        "InvalidRequestException" if service == Service::Secrets => fault(c.missing),
        "BadDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch" => {
            fault(FaultCode::StoreChecksumMismatch)
        }
        "InsufficientStorage" | "QuotaExceeded" | "ServiceQuotaExceededException" if service == Service::S3 => {
            fault(FaultCode::StoreFull)
        }
        // CloudFormation: another operation on the stack is under way.
        "OperationInProgressException" => fault(FaultCode::StackBusy),
        // CloudFormation: a quota of the account is used up (a human raises it). Elsewhere: too many requests.
        "LimitExceededException" | "LimitExceeded" if service == Service::CloudFormation => {
            fault(FaultCode::StackFailed)
        }
        "LimitExceededException" => slow_down(),
        // The session is taken anew by the next attempt.
        code if EXPIRED.contains(&code) => fault(c.unreachable),
        // The service does not know who asks: for a secret this is another thing than a secret that may not be read.
        code if UNKNOWN_CALLER.contains(&code) && service == Service::Secrets => fault(FaultCode::CredentialRefused),
        code if UNKNOWN_CALLER.contains(&code) => fault(c.denied),
        "AccessDenied" | "AccessDeniedException" | "AllAccessDisabled" | "DecryptionFailure" => fault(c.denied),
        // Two conditional writes at once (409): S3 asks to repeat. RequestTimeout (400): the body came too slowly.
        "ConditionalRequestConflict" | "OperationAborted" | "RequestTimeout" | "InternalError" => fault(c.unreachable),
        _ => match a.status {
            507 if service == Service::S3 => fault(FaultCode::StoreFull),
            429 => slow_down(),
            // S3 answers ServiceUnavailable when it wants fewer requests, too.
            503 if a.retry_after.is_some() || service == Service::S3 => slow_down(),
            // 407: a proxy of the clinic wants a login.
            401 | 403 | 407 => fault(c.denied),
            408 | 500.. => fault(c.unreachable),
            // A HEAD has no body to carry a code: there, 404 is all there is. The object's own absence is seen before.
            404 if matches!(a.code, "" | "NotFound") => fault(c.missing),
            _ => fault(c.refused),
        },
    }
}

/// The session ran out.
const EXPIRED: &[&str] = &["ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"];
/// These credentials are not known, or not any more.
pub(super) const UNKNOWN_CALLER: &[&str] = &[
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

/// Whether another session might do better than the one this request was signed with: it ran out, it was revoked, or
/// its role was made anew meanwhile.
pub(super) fn wants_new_session<E>(e: &SdkError<E, Response>) -> bool
where
    E: ProvideErrorMetadata,
{
    let SdkError::ServiceError(s) = e else { return false };
    let code = s.err().code().unwrap_or("");
    EXPIRED.contains(&code) || UNKNOWN_CALLER.contains(&code) || s.raw().status().as_u16() == 403
}

/// HTTP status of an answer, 0 if there was none.
pub(super) fn status<E>(e: &SdkError<E, Response>) -> u16 {
    e.raw_response().map_or(0, |r| r.status().as_u16())
}

/// One entry of a batch that was not taken: SQS gives a code and whose fault it is, no HTTP status.
pub(super) fn entry_fault(operation: &'static str, code: &str, sender_fault: bool) -> Fault {
    let status = if sender_fault { 400 } else { 500 };
    by_answer(Service::Sqs, operation, &Answer { status, code, ..Answer::default() })
}

/// Carries a fault of taking a role through the SDK, which knows only its own error types.
#[derive(Debug)]
pub(super) struct RoleFault(pub(super) Fault);

impl fmt::Display for RoleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for RoleFault {}

fn credentials(operation: &str, e: &(dyn Error + 'static)) -> Option<Fault> {
    let mut cause = Some(e);
    let mut found = None;
    while let Some(c) = cause {
        if let Some(RoleFault(f)) = c.downcast_ref() {
            return Some(f.clone());
        }
        found = found.or_else(|| c.downcast_ref::<CredentialsError>());
        cause = c.source();
    }
    Some(match found? {
        CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_) => Fault::new(
            FaultCode::CredentialRefused,
            format!("{operation}: this process has no AWS credentials (environment, profile or instance)"),
        ),
        _ => Fault::new(FaultCode::CredentialUnreachable, format!("{operation}: AWS credentials cannot be fetched")),
    })
}

#[cfg(test)]
#[path = "errors_tests.rs"]
mod tests;
