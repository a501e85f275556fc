//! An organization's bucket and who may touch it.

use super::bucket::{ABANDONED_DAYS, DATA, abandoned_uploads};
use super::iam::{Policy, Statement, tls_only};
use super::resources::{Bucket, BucketPolicy};
use super::value::Text;
use super::{Builder, Stage, env_queues, tags};
use crate::config::{Environment, Organization};
use leadline_domain::OrgScope;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(crate) fn add(t: &mut Builder, env: &Environment, scope: &OrgScope, org: &Organization, stage: Stage) {
    let tags = tags(scope.env().as_str(), Some((scope.org().as_str(), &org.jurisdiction)));
    let environment = env.scope();
    t.add(
        "Bucket",
        &Bucket {
            // Without a default: the ledger locks its own segments. It cannot be turned on later without support.
            object_lock_enabled: true,
            // What is put into staging is told to the environment; its stack, with the queue, is made first.
            notification_configuration: Some(json!({ "QueueConfigurations": [{
                "Event": "s3:ObjectCreated:*",
                "Queue": env_queues::arn(&environment, &environment.upload_queue()),
                "Filter": { "S3Key": { "Rules": [{ "Name": "prefix", "Value": "staging/" }] } },
            }] })),
            cors_configuration: browsers(env, org),
            lifecycle_configuration: json!({ "Rules": [
                {
                    "Id": "abandoned-staging",
                    "Status": "Enabled",
                    "Prefix": "staging/",
                    "ExpirationInDays": ABANDONED_DAYS,
                    "NoncurrentVersionExpiration": { "NoncurrentDays": 1 },
                },
                {
                    "Id": "staging-markers",
                    "Status": "Enabled",
                    "Prefix": "staging/",
                    "ExpiredObjectDeleteMarker": true,
                },
                abandoned_uploads(),
            ] }),
            ..Bucket::private(scope.bucket(), "Key", &tags)
        },
        &[],
    );
    t.add("BucketPolicy", &policy(env, scope, stage), &[]);
    t.output("BucketName", "Recordings and ledger", Text::reference("Bucket"));
    t.output("BucketArn", "ARN of the bucket", Text::att("Bucket", "Arn"));
}

/// Pages that may send files here with the permissions that the gateway hands out: its own, and those that the
/// organization names. `ETag` is what a part is called by when they are put together. Without uploads, none.
fn browsers(env: &Environment, org: &Organization) -> Option<Value> {
    let (http, uploads) = (env.gateway.http.as_ref()?, org.gateway.uploads.as_ref()?);
    let origins: BTreeSet<&String> = uploads.origins.iter().chain([&http.public_url]).collect();
    Some(json!({ "CorsRules": [{
        "AllowedOrigins": origins,
        "AllowedMethods": ["PUT", "POST"],
        "AllowedHeaders": ["*"],
        "ExposedHeaders": ["ETag"],
        "MaxAge": 3600,
    }] }))
}

pub(crate) fn own_role_only(scope: &OrgScope, on: [Text; 2]) -> Statement {
    let sessions = format!("arn:aws:sts::{}:assumed-role/{}/*", scope.account(), scope.role_name());
    Statement::deny("OwnRoleOnly", DATA)
        .on(on)
        // AWS gives the ARN of the role for its sessions as well; implementations of its API give the session's.
        // No one else can have either.
        .when("ArnNotLike", "aws:PrincipalArn", vec![scope.role_arn(), sessions])
}

/// Invariant L5. Creating and filling a multipart upload takes no condition header (its completion does), which is what
/// ObjectCreationOperation tells apart; a plain copy is refused unless conditional, so staged objects are copied as
/// parts.
pub(crate) fn written_once<const N: usize>(on: [Text; N]) -> Statement {
    Statement::deny("RecordingsAreWrittenOnce", &["s3:PutObject"]).on(on).when("Null", "s3:if-none-match", "true").when(
        "Bool",
        "s3:ObjectCreationOperation",
        "true",
    )
}

/// Only denials: what is allowed follows from the role's own policy. Bucket settings stay with the account's
/// administrators, or CloudFormation could never change the stack again; data they cannot read, and a change of this
/// policy is seen as drift.
fn policy(env: &Environment, scope: &OrgScope, stage: Stage) -> BucketPolicy {
    let bucket = Text::att("Bucket", "Arn");
    let objects = Text::sub("${Bucket.Arn}/*");
    let below = |prefix: &str| Text::sub(format!("${{Bucket.Arn}}/{prefix}/*"));
    let mut statements = vec![
        own_role_only(scope, [bucket.clone(), objects.clone()]),
        written_once(["recordings", "identities", "received", "outcomes"].map(below)),
        match stage {
            Stage::Open => Statement::deny("NothingIsWritten", &["s3:PutObject"]).on([objects.clone()]),
            Stage::Kept => {
                // What the processor said of recordings is as much history as they are.
                let kept = ["recordings", "ledger", "identities", "received", "quarantine", "outcomes"];
                Statement::deny("RecordingsAreNotDeleted", &["s3:DeleteObject", "s3:DeleteObjectVersion"])
                    .on(kept.map(below))
            }
        },
    ];
    statements.extend(tls_only(env, "s3:*", [bucket, objects]));
    BucketPolicy { bucket: Text::reference("Bucket"), policy_document: Policy::new(statements) }
}
