use super::*;
use aws_sdk_s3::error::ErrorMetadata;
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use leadline_domain::FaultClass;

fn answer(status: u16, code: &str) -> Answer<'_> {
    Answer { status, code, ..Answer::default() }
}

#[test]
fn table() {
    use FaultCode as F;
    for (service, status, code, expected) in [
        (Service::S3, 503, "SlowDown", F::StoreThrottled),
        (Service::S3, 503, "ServiceUnavailable", F::StoreThrottled),
        (Service::S3, 429, "", F::StoreThrottled),
        (Service::S3, 403, "AccessDenied", F::StoreAccessDenied),
        (Service::S3, 403, "", F::StoreAccessDenied),
        (Service::S3, 403, "SignatureDoesNotMatch", F::StoreAccessDenied),
        (Service::S3, 403, "InvalidAccessKeyId", F::StoreAccessDenied),
        (Service::S3, 400, "KMS.DisabledException", F::StoreAccessDenied),
        (Service::S3, 400, "KMS.ThrottlingException", F::StoreThrottled),
        (Service::S3, 400, "KMS.KMSInternalException", F::StoreUnreachable),
        (Service::S3, 500, "KMS.DependencyTimeoutException", F::StoreUnreachable),
        (Service::Sqs, 400, "KmsUnavailable", F::QueueUnreachable),
        (Service::S3, 407, "", F::StoreAccessDenied),
        (Service::S3, 404, "NoSuchBucket", F::StoreBucketMissing),
        (Service::S3, 404, "", F::StoreBucketMissing),
        (Service::S3, 404, "NoSuchKey", F::StoreRefused),
        (Service::S3, 404, "NoSuchUpload", F::StoreUploadLost),
        (Service::S3, 400, "BadDigest", F::StoreChecksumMismatch),
        (Service::S3, 400, "XAmzContentSHA256Mismatch", F::StoreChecksumMismatch),
        (Service::S3, 400, "InvalidDigest", F::StoreRefused),
        (Service::S3, 507, "", F::StoreFull),
        (Service::S3, 409, "QuotaExceeded", F::StoreFull),
        (Service::S3, 500, "InternalError", F::StoreUnreachable),
        (Service::S3, 502, "", F::StoreUnreachable),
        (Service::S3, 400, "ExpiredToken", F::StoreUnreachable),
        (Service::S3, 400, "RequestTimeout", F::StoreUnreachable),
        (Service::S3, 409, "ConditionalRequestConflict", F::StoreUnreachable),
        (Service::S3, 400, "EntityTooLarge", F::StoreRefused),
        (Service::S3, 412, "PreconditionFailed", F::StoreRefused),
        (Service::S3, 301, "PermanentRedirect", F::StoreRefused),
        (Service::Sqs, 400, "AWS.SimpleQueueService.NonExistentQueue", F::QueueMissing),
        (Service::Sqs, 400, "QueueDoesNotExist", F::QueueMissing),
        (Service::Sqs, 400, "InvalidMessageContents", F::QueueRefused),
        (Service::Sqs, 400, "RequestThrottled", F::QueueThrottled),
        (Service::Sqs, 403, "AccessDenied", F::QueueAccessDenied),
        (Service::Sqs, 400, "KmsDisabled", F::QueueAccessDenied),
        (Service::Sqs, 400, "KmsThrottled", F::QueueThrottled),
        (Service::Sqs, 503, "ServiceUnavailable", F::QueueUnreachable),
        (Service::CloudFormation, 400, "Throttling", F::StackThrottled),
        (Service::CloudFormation, 400, "ValidationError", F::StackRefused),
        (Service::CloudFormation, 400, "LimitExceededException", F::StackFailed),
        (Service::CloudFormation, 400, "OperationInProgressException", F::StackBusy),
        (Service::CloudFormation, 403, "AccessDenied", F::StackAccessDenied),
        (Service::Credentials, 403, "AccessDenied", F::CredentialRefused),
        (Service::Credentials, 400, "ValidationError", F::CredentialRefused),
        (Service::Credentials, 403, "InvalidClientTokenId", F::CredentialRefused),
        (Service::Credentials, 400, "Throttling", F::CredentialUnreachable),
        (Service::Credentials, 500, "", F::CredentialUnreachable),
        (Service::Secrets, 400, "ResourceNotFoundException", F::SecretMissing),
        (Service::Secrets, 400, "AccessDeniedException", F::SecretMissing),
        (Service::Secrets, 400, "UnrecognizedClientException", F::CredentialRefused),
        (Service::Secrets, 400, "InvalidParameterException", F::BugInvariant),
        (Service::Secrets, 400, "InvalidRequestException", F::SecretMissing),
        (Service::Secrets, 500, "InternalServiceError", F::CredentialUnreachable),
    ] {
        let f = by_answer(service, "Op", &answer(status, code));
        assert_eq!(f.code, expected, "{service:?} {status} {code}");
    }
}

#[test]
fn throttling_says_when_to_come_back() {
    let f = by_answer(Service::S3, "PutObject", &answer(503, "SlowDown"));
    assert_eq!((f.class(), f.retry_after_ms), (FaultClass::Throttled, Some(SLOW_DOWN_MS)));
    let asked = Answer { retry_after: Some(7_000), ..answer(429, "") };
    assert_eq!(by_answer(Service::Sqs, "SendMessage", &asked).retry_after_ms, Some(7_000));
}

#[test]
fn an_entry_that_was_not_taken_keeps_its_reason() {
    for (code, sender, expected) in [
        ("InternalError", false, FaultCode::QueueUnreachable),
        ("InvalidMessageContents", true, FaultCode::QueueRefused),
        ("AWS.SimpleQueueService.NonExistentQueue", true, FaultCode::QueueMissing),
        ("RequestThrottled", true, FaultCode::QueueThrottled),
    ] {
        assert_eq!(entry_fault("SendMessageBatch", code, sender).code, expected, "{code}");
    }
}

fn service_error(status: u16, code: &str, message: &str) -> SdkError<PutObjectError, Response> {
    let mut raw = Response::new(StatusCode::try_from(status).unwrap(), SdkBody::from("patient=Doe"));
    raw.headers_mut().insert("x-amz-request-id", "REQ1");
    raw.headers_mut().insert("retry-after", "5");
    let meta = ErrorMetadata::builder().code(code.to_owned()).message(message.to_owned()).build();
    SdkError::service_error(PutObjectError::generic(meta), raw)
}

#[test]
fn texts_carry_what_finds_the_request_and_nothing_of_its_content() {
    let f = fault(Service::S3, "PutObject", &service_error(403, "AccessDenied", "no access to Doe^John"));
    assert_eq!(f.detail, "PutObject: AccessDenied (HTTP 403, request REQ1)");
    let f = fault(Service::S3, "PutObject", &service_error(503, "SlowDown", ""));
    assert_eq!(f.retry_after_ms, Some(5_000));
}

#[test]
fn what_has_no_answer_passes() {
    for e in [
        SdkError::<PutObjectError, Response>::timeout_error("slow"),
        SdkError::dispatch_failure(ConnectorError::io("refused".into())),
        SdkError::dispatch_failure(ConnectorError::timeout("slow".into())),
        SdkError::response_error("truncated", Response::new(StatusCode::try_from(200).unwrap(), SdkBody::empty())),
    ] {
        assert_eq!(fault(Service::S3, "PutObject", &e).code, FaultCode::StoreUnreachable, "{e:?}");
    }
    let e = SdkError::<PutObjectError, Response>::construction_failure("no bucket");
    assert_eq!(fault(Service::S3, "PutObject", &e).code, FaultCode::StoreRefused);
}

#[test]
fn a_role_that_cannot_be_taken_is_not_the_stores_fault() {
    let refused = RoleFault(Fault::new(FaultCode::CredentialRefused, "AssumeRole: AccessDenied"));
    let e = SdkError::<PutObjectError, Response>::dispatch_failure(ConnectorError::other(
        CredentialsError::provider_error(refused).into(),
        None,
    ));
    assert_eq!(fault(Service::S3, "PutObject", &e).code, FaultCode::CredentialRefused);
    let e = SdkError::<PutObjectError, Response>::construction_failure(CredentialsError::not_loaded("none"));
    assert_eq!(fault(Service::Sqs, "SendMessage", &e).code, FaultCode::CredentialRefused);
    let e = SdkError::<PutObjectError, Response>::construction_failure(CredentialsError::provider_error("imds"));
    assert_eq!(fault(Service::Sqs, "SendMessage", &e).code, FaultCode::CredentialUnreachable);
}

#[test]
fn an_expired_or_unknown_session_is_taken_anew() {
    for (status, code) in
        [(400, "ExpiredToken"), (403, "InvalidAccessKeyId"), (403, "AccessDenied"), (400, "InvalidToken")]
    {
        assert!(wants_new_session(&service_error(status, code, "")), "{code}");
    }
    assert!(!wants_new_session(&service_error(503, "SlowDown", "")));
}
