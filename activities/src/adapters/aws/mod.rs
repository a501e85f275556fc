//! AWS: S3, SQS, SNS, CloudFormation, Secrets Manager, each as the identity that may.

mod cloudformation;
mod copy;
mod emptying;
mod errors;
mod export;
mod isolation;
mod keeping;
mod multipart;
mod outcomes;
mod presign;
mod removal;
mod requests;
mod restore;
mod rotation;
mod s3;
mod secrets;
mod settings;
mod sns;
mod sqs;
mod staged;
mod sts;
mod transfer;

pub use cloudformation::CfnStacks;
pub use isolation::AwsIsolation;
pub use presign::AwsUploads;
pub use requests::{OperationStats, RequestCounts};
pub use secrets::AwsSecrets;
pub use settings::AwsSettingsReader;
pub use sns::SnsAlarms;
pub use sqs::SqsQueue;
pub use sts::{Aws, AwsOrgStores, AwsSettings, whereabouts, who_am_i};

#[cfg(test)]
mod scripted_tests;
