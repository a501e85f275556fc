//! Whoever changes things past leadline: the account's root, with the services' own requests.

use super::stack::ACCOUNT;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;

/// Clients of the account's root on a local endpoint.
pub struct PastUs {
    /// S3.
    pub s3: aws_sdk_s3::Client,
    /// IAM.
    pub iam: aws_sdk_iam::Client,
    /// KMS.
    pub kms: aws_sdk_kms::Client,
    /// SQS.
    pub sqs: aws_sdk_sqs::Client,
}

impl PastUs {
    /// Of the endpoint at this address.
    pub async fn new(url: &str) -> Self {
        let c = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(url)
            .credentials_provider(Credentials::new(ACCOUNT, "test", None, None, "test"))
            .load()
            .await;
        let s3 = aws_sdk_s3::config::Builder::from(&c).force_path_style(true).build();
        Self {
            s3: aws_sdk_s3::Client::from_conf(s3),
            iam: aws_sdk_iam::Client::new(&c),
            kms: aws_sdk_kms::Client::new(&c),
            sqs: aws_sdk_sqs::Client::new(&c),
        }
    }
}
