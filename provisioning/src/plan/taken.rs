//! Why CloudFormation could not make something, told from the reason it gives: it has texts, and no codes.

use leadline_domain::FaultCode;

/// Reasons that say of a name that somebody has it. Those of S3, IAM, SQS, KMS and Secrets Manager as CloudFormation quotes
/// them, its own for a stack's resource, and its check before it begins.
const TAKEN: &[&str] = &[
    "HandlerErrorCode: AlreadyExists",
    "NAME_CONFLICT_VALIDATION",
    "ResourceExistenceCheck",
    "BucketAlreadyExists",
    "BucketAlreadyOwnedByYou",
    "bucket name is not available",
    "you already own it",
    "already exists",
    // A secret that is marked for deletion keeps its name until it is gone.
    "already scheduled for deletion",
];

/// The fault of a change that failed for this reason.
#[must_use]
pub fn failed_because(reason: &str) -> FaultCode {
    let taken = TAKEN.iter().any(|t| reason.contains(t));
    if taken { FaultCode::StackNameTaken } else { FaultCode::StackFailed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_somebody_has_is_told_from_other_failures() {
        for taken in [
            // S3, by its resource handler and before it.
            "Bucket: Resource handler returned message: \"The requested bucket name is not available. The bucket namespace is \
             shared by all users of the system. Please select a different name and try again. (Service: S3, Status Code: \
             409, Request ID: 7XQ, Extended Request ID: a/b=)\" (RequestToken: 1-2, HandlerErrorCode: AlreadyExists)",
            "Bucket: Resource handler returned message: \"Your previous request to create the named bucket succeeded and you \
             already own it. (Service: S3, Status Code: 409, Request ID: 7XQ)\" (RequestToken: 1-2, HandlerErrorCode: \
             GeneralServiceException)",
            "Bucket: leadline-us-st-mary-222222222222 already exists (Service: Amazon S3; Status Code: 409; Error Code: \
             BucketAlreadyExists; Request ID: 7XQ; S3 Extended Request ID: a/b=; Proxy: null)",
            "Bucket: leadline-us-st-mary-222222222222 already exists in stack \
             arn:aws:cloudformation:us-east-1:222222222222:stack/other/1-2",
            "Role: Resource handler returned message: \"Role with name leadline-us-worker already exists. (Service: Iam, Status \
             Code: 409, Request ID: 7XQ)\" (RequestToken: 1-2, HandlerErrorCode: AlreadyExists)",
            "IngestQueue: Resource handler returned message: \"Resource of type 'AWS::SQS::Queue' with identifier \
             'leadline-us-ingest.fifo' already exists.\" (RequestToken: 1-2, HandlerErrorCode: AlreadyExists)",
            "KeyAlias: An alias with the name arn:aws:kms:us-east-1:222222222222:alias/leadline-us-st-mary already exists \
             (Service: Kms, Status Code: 400, Request ID: 7XQ)",
            "SecretWard: You can't create this secret because a secret with this name is already scheduled for deletion. \
             (Service: SecretsManager, Status Code: 400, Request ID: 7XQ)",
            "Bucket: NAME_CONFLICT_VALIDATION: Resource of type 'AWS::S3::Bucket' with identifier \
             'leadline-us-st-mary-222222222222' already exists.",
            "The following hook(s)/validation failed: [AWS::EarlyValidation::ResourceExistenceCheck]. To troubleshoot Early \
             Validation errors, use the DescribeEvents API for detailed failure information.",
        ] {
            assert_eq!(failed_because(taken), FaultCode::StackNameTaken, "{taken}");
        }
        for other in [
            "",
            "Resource creation cancelled",
            "Role: User: arn:aws:iam::222222222222:user/ann is not authorized to perform: iam:CreateRole on resource: role \
             leadline-us-worker because no identity-based policy allows the iam:CreateRole action (Service: Iam, Status Code: \
             403, Request ID: 7XQ) (RequestToken: 1-2, HandlerErrorCode: AccessDenied)",
            "IngestQueuePolicy: Invalid value for the parameter Policy. (Service: Sqs, Status Code: 400)",
            "Bucket: Resource handler returned message: \"You have attempted to create more buckets than allowed (Service: S3, \
             Status Code: 400)\" (RequestToken: 1-2, HandlerErrorCode: ServiceLimitExceeded)",
            "OutcomeQueue: You must wait 60 seconds after deleting a queue before you can create another with the same name.",
        ] {
            assert_eq!(failed_because(other), FaultCode::StackFailed, "{other}");
        }
    }
}
