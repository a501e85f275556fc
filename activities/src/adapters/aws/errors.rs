//! The one place where an AWS error becomes a [`Fault`]. Texts carry operation, code, HTTP status and request id; never
//! a body or a credential.

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::http::Response;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use leadline_domain::{Fault, FaultCode};

/// Whose answer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    S3,
    Sqs,
    CloudFormation,
    Credentials,
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
    match s {
        Service::S3 => Codes {
            unreachable: FaultCode::StoreUnreachable,
            throttled: FaultCode::StoreThrottled,
            denied: FaultCode::StoreAccessDenied,
            missing: FaultCode::StoreBucketMissing,
            refused: FaultCode::StoreRefused,
        },
        Service::Sqs => Codes {
            unreachable: FaultCode::QueueUnreachable,
            throttled: FaultCode::QueueThrottled,
            denied: FaultCode::QueueAccessDenied,
            missing: FaultCode::QueueMissing,
            refused: FaultCode::QueueRefused,
        },
        Service::CloudFormation => Codes {
            unreachable: FaultCode::StackUnreachable,
            throttled: FaultCode::StackThrottled,
            denied: FaultCode::StackAccessDenied,
            missing: FaultCode::StackFailed,
            refused: FaultCode::StackRefused,
        },
        Service::Credentials => Codes {
            unreachable: FaultCode::CredentialUnreachable,
            throttled: FaultCode::CredentialUnreachable,
            denied: FaultCode::CredentialRefused,
            missing: FaultCode::SecretMissing,
            refused: FaultCode::CredentialRefused,
        },
    }
}

/// When to come back after a request to slow down, milliseconds.
const SLOW_DOWN_MS: u64 = 2_000;

/// Maps any SDK error. `operation` is the API's name, e.g. `PutObject`.
pub(super) fn fault<E>(service: Service, operation: &'static str, e: &SdkError<E, Response>) -> Fault
where
    E: ProvideErrorMetadata,
{
    let c = codes(service);
    match e {
        SdkError::ServiceError(s) => {
            let status = s.raw().status().as_u16();
            let code = s.err().code().unwrap_or("");
            let id = s.raw().headers().get("x-amz-request-id").or_else(|| s.raw().headers().get("x-amzn-requestid"));
            by_answer(service, operation, status, code, id.unwrap_or(""), s.err().message())
        }
        SdkError::TimeoutError(_) => Fault::new(c.unreachable, format!("{operation}: no answer in time")),
        SdkError::DispatchFailure(d) => {
            // Credentials are fetched on the way out: their refusal arrives here, wrapped.
            if d.is_other() && credentials_refused(d.as_connector_error()) {
                return Fault::new(FaultCode::CredentialRefused, format!("{operation}: no credentials"));
            }
            Fault::new(c.unreachable, format!("{operation}: no connection"))
        }
        SdkError::ResponseError(r) => {
            let status = r.raw().status().as_u16();
            Fault::new(c.unreachable, format!("{operation}: answer not understood (HTTP {status})"))
        }
        SdkError::ConstructionFailure(_) => {
            // Also how a failing credential provider shows.
            Fault::new(FaultCode::CredentialUnreachable, format!("{operation}: the request could not be made"))
        }
        _ => Fault::new(c.unreachable, format!("{operation}: unknown failure")),
    }
}

fn credentials_refused(e: Option<&aws_smithy_runtime_api::client::result::ConnectorError>) -> bool {
    let mut source: Option<&dyn std::error::Error> = e.map(|e| e as &dyn std::error::Error);
    while let Some(s) = source {
        if s.to_string().contains("AccessDenied") {
            return true;
        }
        source = s.source();
    }
    false
}

/// The table. Code names are those of the services' API references ("Common errors" and each operation's).
fn by_answer(service: Service, operation: &str, status: u16, code: &str, id: &str, message: Option<&str>) -> Fault {
    let c = codes(service);
    let mut detail =
        format!("{operation}: {code} (HTTP {status}{}{id})", if id.is_empty() { "" } else { ", request " });
    // CloudFormation's reasons name resources of ours and are what an operator needs.
    if service == Service::CloudFormation
        && let Some(m) = message
    {
        detail = format!("{detail}: {m}");
    }
    let fault = |code| Fault::new(code, detail.clone());
    match code {
        "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "RequestThrottled"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "LimitExceededException"
        | "OverLimit"
        | "ThrottledException" => fault(c.throttled).retry_after(SLOW_DOWN_MS),
        "NoSuchUpload" => fault(FaultCode::StoreUploadLost),
        "NoSuchBucket"
        | "QueueDoesNotExist"
        | "AWS.SimpleQueueService.NonExistentQueue"
        | "ResourceNotFoundException" => fault(c.missing),
        "BadDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch" | "InvalidDigest" => {
            fault(FaultCode::StoreChecksumMismatch)
        }
        "InsufficientStorage" | "QuotaExceeded" | "ServiceQuotaExceededException" => fault(FaultCode::StoreFull),
        "AccessDenied"
        | "AccessDeniedException"
        | "AllAccessDisabled"
        | "SignatureDoesNotMatch"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "KMS.DisabledException"
        | "KMS.AccessDeniedException" => fault(c.denied),
        // The cached session is renewed by the provider: the next attempt has a fresh one.
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "TokenRefreshRequired" => fault(c.unreachable),
        // Two conditional writes at once: S3 asks to repeat (PutObject, 409).
        "ConditionalRequestConflict" | "OperationAborted" => fault(c.unreachable),
        _ => match status {
            507 => fault(FaultCode::StoreFull),
            429 => fault(c.throttled).retry_after(SLOW_DOWN_MS),
            503 if service == Service::S3 => fault(c.throttled).retry_after(SLOW_DOWN_MS),
            401 | 403 => fault(c.denied),
            404 => fault(c.missing),
            408 | 500.. => fault(c.unreachable),
            _ => fault(c.refused),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        use FaultCode as F;
        for (service, status, code, expected) in [
            (Service::S3, 503, "SlowDown", F::StoreThrottled),
            (Service::S3, 403, "AccessDenied", F::StoreAccessDenied),
            (Service::S3, 404, "NoSuchBucket", F::StoreBucketMissing),
            (Service::S3, 404, "NoSuchUpload", F::StoreUploadLost),
            (Service::S3, 400, "BadDigest", F::StoreChecksumMismatch),
            (Service::S3, 507, "", F::StoreFull),
            (Service::S3, 500, "InternalError", F::StoreUnreachable),
            (Service::S3, 400, "ExpiredToken", F::StoreUnreachable),
            (Service::S3, 409, "ConditionalRequestConflict", F::StoreUnreachable),
            (Service::S3, 400, "EntityTooLarge", F::StoreRefused),
            (Service::Sqs, 400, "AWS.SimpleQueueService.NonExistentQueue", F::QueueMissing),
            (Service::Sqs, 400, "InvalidMessageContents", F::QueueRefused),
            (Service::Sqs, 403, "AccessDenied", F::QueueAccessDenied),
            (Service::CloudFormation, 400, "Throttling", F::StackThrottled),
            (Service::CloudFormation, 400, "ValidationError", F::StackRefused),
            (Service::Credentials, 400, "ResourceNotFoundException", F::SecretMissing),
            (Service::Credentials, 403, "AccessDenied", F::CredentialRefused),
        ] {
            let f = by_answer(service, "Op", status, code, "", None);
            assert_eq!(f.code, expected, "{service:?} {status} {code}");
        }
        assert!(by_answer(Service::S3, "Op", 503, "SlowDown", "", None).retry_after_ms.is_some());
    }
}
