//! An organization's bucket and who may touch it.

use super::iam::{Policy, Statement, tls_only};
use super::resources::{Bucket, BucketPolicy};
use super::value::{Text, tag_list};
use super::{Builder, tags};
use crate::config::Environment;
use leadline_domain::OrgScope;
use serde_json::json;

/// What is left in staging after this time was abandoned. Uploads over slow lines take hours, not days.
const STAGING_DAYS: u32 = 7;

pub(crate) fn add(t: &mut Builder, env: &Environment, scope: &OrgScope, jurisdiction: &str) {
    let tags = tags(scope.env().as_str(), Some((scope.org().as_str(), jurisdiction)));
    t.add(
        "Bucket",
        &Bucket {
            bucket_name: scope.bucket(),
            bucket_encryption: json!({ "ServerSideEncryptionConfiguration": [{
                "BucketKeyEnabled": true,
                "ServerSideEncryptionByDefault": { "SSEAlgorithm": "aws:kms", "KMSMasterKeyID": Text::att("Key", "Arn") },
            }] }),
            versioning_configuration: json!({ "Status": "Enabled" }),
            public_access_block_configuration: json!({
                "BlockPublicAcls": true,
                "BlockPublicPolicy": true,
                "IgnorePublicAcls": true,
                "RestrictPublicBuckets": true,
            }),
            ownership_controls: json!({ "Rules": [{ "ObjectOwnership": "BucketOwnerEnforced" }] }),
            // Without a default: the ledger locks its own segments. It cannot be turned on later without support.
            object_lock_enabled: true,
            lifecycle_configuration: json!({ "Rules": [
                {
                    "Id": "abandoned-staging",
                    "Status": "Enabled",
                    "Prefix": "staging/",
                    "ExpirationInDays": STAGING_DAYS,
                    "NoncurrentVersionExpiration": { "NoncurrentDays": 1 },
                },
                {
                    "Id": "staging-markers",
                    "Status": "Enabled",
                    "Prefix": "staging/",
                    "ExpiredObjectDeleteMarker": true,
                },
                {
                    "Id": "abandoned-uploads",
                    "Status": "Enabled",
                    "Prefix": "",
                    "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": STAGING_DAYS },
                },
            ] }),
            tags: tag_list(&tags),
        },
        &[],
    );
    t.add("BucketPolicy", &policy(env, scope), &[]);
    t.output("BucketName", "Recordings and ledger", Text::reference("Bucket"));
    t.output("BucketArn", "ARN of the bucket", Text::att("Bucket", "Arn"));
}

/// Only denials: what is allowed follows from the role's own policy. Bucket settings stay with the account's
/// administrators, or CloudFormation could never change the stack again; data they cannot read, and a change of this
/// policy is seen as drift.
fn policy(env: &Environment, scope: &OrgScope) -> BucketPolicy {
    let bucket = Text::att("Bucket", "Arn");
    let objects = Text::sub("${Bucket.Arn}/*");
    let recordings = || Text::sub("${Bucket.Arn}/recordings/*");
    let data = [
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
    let sessions = format!("arn:aws:sts::{}:assumed-role/{}/*", scope.account(), scope.role_name());
    let mut statements = vec![
        Statement::deny("OwnRoleOnly", &data)
            .on([bucket.clone(), objects.clone()])
            // AWS gives the ARN of the role for its sessions as well; implementations of its API give the session's.
            // No one else can have either.
            .when("ArnNotLike", "aws:PrincipalArn", vec![scope.role_arn(), sessions]),
        // Invariant L5. Creating and filling a multipart upload takes no condition header (its completion does),
        // which is what ObjectCreationOperation tells apart; a plain copy is refused unless conditional, so staged
        // objects are copied as parts.
        Statement::deny("RecordingsAreWrittenOnce", &["s3:PutObject"])
            .on([recordings()])
            .when("Null", "s3:if-none-match", "true")
            .when("Bool", "s3:ObjectCreationOperation", "true"),
        Statement::deny("RecordingsAreNotDeleted", &["s3:DeleteObject", "s3:DeleteObjectVersion"])
            .on([recordings(), Text::sub("${Bucket.Arn}/ledger/*")]),
    ];
    statements.extend(tls_only(env, "s3:*", [bucket, objects]));
    BucketPolicy { bucket: Text::reference("Bucket"), policy_document: Policy::new(statements) }
}
