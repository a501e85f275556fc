//! What every bucket of ours has.

use super::resources::Bucket;
use super::value::{Text, tag_list};
use serde_json::json;
use std::collections::BTreeMap;

/// What is left of an upload after this time was abandoned. Uploads over slow lines take hours, not days.
pub(crate) const ABANDONED_DAYS: u32 = 7;

/// Everything that reads, writes, lists or unlocks what is in a bucket; settings are not among it.
pub(crate) const DATA: &[&str] = &[
    "s3:GetObject*",
    "s3:PutObject*",
    "s3:DeleteObject*",
    "s3:RestoreObject",
    "s3:ReplicateObject",
    "s3:ReplicateDelete",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
    "s3:ListBucket",
    "s3:ListBucketVersions",
    "s3:ListBucketMultipartUploads",
    "s3:BypassGovernanceRetention",
];

impl Bucket {
    /// Encrypted with the key of a logical id, versioned, not public, without ACLs.
    pub(crate) fn private(name: String, key: &str, tags: &BTreeMap<String, String>) -> Self {
        Self {
            bucket_name: name,
            bucket_encryption: json!({ "ServerSideEncryptionConfiguration": [{
                "BucketKeyEnabled": true,
                "ServerSideEncryptionByDefault": { "SSEAlgorithm": "aws:kms", "KMSMasterKeyID": Text::att(key, "Arn") },
            }] }),
            versioning_configuration: json!({ "Status": "Enabled" }),
            public_access_block_configuration: json!({
                "BlockPublicAcls": true,
                "BlockPublicPolicy": true,
                "IgnorePublicAcls": true,
                "RestrictPublicBuckets": true,
            }),
            ownership_controls: json!({ "Rules": [{ "ObjectOwnership": "BucketOwnerEnforced" }] }),
            object_lock_enabled: false,
            object_lock_configuration: None,
            lifecycle_configuration: json!({ "Rules": [abandoned_uploads()] }),
            notification_configuration: None,
            cors_configuration: None,
            tags: tag_list(tags),
        }
    }
}

/// The rule that removes parts of uploads that nobody goes on with.
pub(crate) fn abandoned_uploads() -> serde_json::Value {
    json!({
        "Id": "abandoned-uploads",
        "Status": "Enabled",
        "Prefix": "",
        "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": ABANDONED_DAYS },
    })
}
