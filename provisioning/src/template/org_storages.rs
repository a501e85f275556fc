//! Buckets of copies: an organization's storages besides the one of its data.

use super::bucket::abandoned_uploads;
use super::iam::{Policy, Statement, tls_only};
use super::org_bucket::{own_role_only, written_once};
use super::organization::deletion;
use super::resources::{Bucket, BucketPolicy, RolePolicy};
use super::value::Text;
use super::{Builder, Stage, tags};
use crate::config::{Environment, Organization};
use leadline_domain::OrgScope;
use leadline_domain::transfer::{MOVING_SESSION, Storage};
use serde_json::{Value, json};

/// Rights of the organization's role on copies.
const OBJECTS: &[&str] = &["s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"];

/// A storage, and how it lets go of what it has.
struct Copies {
    storage: Storage,
    /// What its resources are called by.
    called: &'static str,
    /// Name of the role's policy on it.
    policy: &'static str,
    says: &'static str,
    lifecycle: Value,
    /// Whether recordings may be moved out of it.
    moved: bool,
}

/// Those that the organization has.
pub(crate) fn add(t: &mut Builder, env: &Environment, scope: &OrgScope, org: &Organization, stage: Stage) {
    if let Some(p) = &org.storage.processing {
        let copies = Copies {
            storage: Storage::Processing,
            called: "Processing",
            policy: "own-copies",
            says: "Copies for the processor",
            lifecycle: json!({ "Rules": [
                {
                    "Id": "copies",
                    "Status": "Enabled",
                    "Prefix": "recordings/",
                    "ExpirationInDays": p.keep_days,
                    "NoncurrentVersionExpiration": { "NoncurrentDays": 1 },
                },
                { "Id": "copies-markers", "Status": "Enabled", "Prefix": "recordings/", "ExpiredObjectDeleteMarker": true },
                abandoned_uploads(),
            ] }),
            // Where there is nowhere to move to, nobody has to remove anything.
            moved: org.storage.archive.is_some(),
        };
        add_one(t, env, scope, &org.jurisdiction, copies, stage);
    }
    if org.storage.archive.is_some() {
        let copies = Copies {
            storage: Storage::Archive,
            called: "Archive",
            policy: "own-archive",
            says: "Copies that are kept",
            lifecycle: json!({ "Rules": [abandoned_uploads()] }),
            moved: false,
        };
        add_one(t, env, scope, &org.jurisdiction, copies, stage);
    }
}

/// Protected as the organization's data is.
fn add_one(t: &mut Builder, env: &Environment, scope: &OrgScope, jurisdiction: &str, copies: Copies, stage: Stage) {
    let tags = tags(scope.env().as_str(), Some((scope.org().as_str(), jurisdiction)));
    let id = format!("{}Bucket", copies.called);
    let name = scope.storage_bucket(copies.storage);
    let bucket = Bucket { lifecycle_configuration: copies.lifecycle, ..Bucket::private(name, "Key", &tags) };
    t.add(&id, &bucket, &[]);
    let (bucket, objects) = (Text::att(&id, "Arn"), Text::sub(format!("${{{id}.Arn}}/*")));
    let recordings = || Text::sub(format!("${{{id}.Arn}}/recordings/*"));
    let mut statements = vec![own_role_only(scope, [bucket.clone(), objects.clone()]), written_once([recordings()])];
    if stage == Stage::Open {
        statements.push(Statement::deny("NothingIsWritten", &["s3:PutObject"]).on([objects.clone()]));
    } else if copies.moved {
        // A delete without a version leaves the object under a marker until the rule of the bucket takes it; versions
        // themselves are nobody's to delete. `aws:userid` of a session ends in its name.
        let moving = format!("*:{MOVING_SESSION}");
        statements.push(Statement::deny("RecordingsAreMovedOnly", &["s3:DeleteObject"]).on([recordings()]).when(
            "StringNotLike",
            "aws:userid",
            moving,
        ));
        statements.push(Statement::deny("RecordingsAreNotDeleted", &["s3:DeleteObjectVersion"]).on([recordings()]));
    } else {
        let delete = &["s3:DeleteObject", "s3:DeleteObjectVersion"];
        statements.push(Statement::deny("RecordingsAreNotDeleted", delete).on([recordings()]));
    }
    statements.extend(tls_only(env, "s3:*", [bucket.clone(), objects]));
    let policy = BucketPolicy { bucket: Text::reference(&id), policy_document: Policy::new(statements) };
    t.add(&format!("{}Policy", id), &policy, &[]);
    let mut may = deletion(stage, &id);
    may.extend([
        Statement::allow("List", &["s3:ListBucket", "s3:ListBucketMultipartUploads"]).on([bucket]),
        Statement::allow("Objects", OBJECTS).on([recordings()]),
    ]);
    if copies.moved && stage == Stage::Kept {
        may.push(Statement::allow("Move", &["s3:DeleteObject"]).on([recordings()]));
    }
    t.add(
        &format!("{}RolePolicy", copies.called),
        &RolePolicy {
            policy_name: copies.policy.into(),
            roles: vec![Text::reference("Role")],
            policy_document: Policy::new(may),
        },
        &[],
    );
    t.output(&format!("{id}Name"), copies.says, Text::reference(&id));
}
