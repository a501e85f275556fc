//! The stack of an organization: role, key, bucket, secrets of its shares.

use super::iam::{Policy, Principal, Statement};
use super::resources::{Role, RolePolicy, Secret};
use super::value::{Text, tag_list};
use super::{Builder, OPENED, Stage, logical, org_bucket, org_key, org_storages, registered, tags};
use crate::config::{Environment, Organization, ehr_key_name};
use leadline_domain::{EnvScope, OrgScope};
use serde_json::Value;
use std::collections::BTreeMap;

/// Rights of an organization's role on the secrets of its shares.
pub const ORG_ROLE_SECRETS: &[&str] = &["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"];

/// The template of an organization at its place.
#[must_use]
pub fn organization(env: &Environment, scope: &OrgScope, org: &Organization) -> Value {
    at_stage(env, scope, org, Stage::Kept)
}

/// The same, with its bucket opened for deletion by its own role, and closed for writing: for an organization that has
/// left, when its time of retention is over.
#[must_use]
pub fn opened(env: &Environment, scope: &OrgScope, org: &Organization) -> Value {
    at_stage(env, scope, org, Stage::Open)
}

fn at_stage(env: &Environment, scope: &OrgScope, org: &Organization, stage: Stage) -> Value {
    let mut t = Builder::new(format!(
        "leadline organization {} in environment {}: role, key, bucket, secrets of shares",
        scope.org(),
        scope.env()
    ));
    role(&mut t, &env.scope(), scope, &org.jurisdiction, stage);
    org_key::add(&mut t, scope, &org.jurisdiction);
    org_bucket::add(&mut t, env, scope, org, stage);
    org_storages::add(&mut t, env, scope, org, stage);
    let tags = tags(scope.env().as_str(), Some((scope.org().as_str(), &org.jurisdiction)));
    for share in org.shares.keys() {
        t.add(
            // No output for each: the name says the same, and CloudFormation takes 200 outputs.
            &format!("Secret{}", logical(share.as_str())),
            &Secret {
                name: scope.share_secret(share),
                description: format!("Credentials of share {share}: user, password, domain as JSON"),
                kms_key_id: Text::att("Key", "Arn"),
                tags: tag_list(&tags),
            },
            &[],
        );
    }
    if let Some(name) = ehr_key_name().filter(|n| !org.shares.contains_key(n) && org.has_secret(n)) {
        t.add(
            "SecretFhir",
            &Secret {
                name: scope.share_secret(&name),
                description: "Key for the organization's EHR: client id as user, PEM as password, as JSON".into(),
                kms_key_id: Text::att("Key", "Arn"),
                tags: tag_list(&tags),
            },
            &[],
        );
    }
    configuration(&mut t, scope, org, &tags);
    if stage == Stage::Open {
        t.output(OPENED, "Its data is being deleted, and nothing is written any more", "yes");
    }
    t.finish()
}

/// How many shares fit into the template, if all are like those there are.
#[must_use]
pub fn shares_that_fit(env: &Environment, scope: &OrgScope, org: &Organization) -> usize {
    let size = |o: &Organization| super::sent(&organization(env, scope, o)).len();
    let none = Organization { shares: BTreeMap::new(), ..org.clone() };
    let (without, with) = (size(&none), size(org));
    let each = (with - without).div_ceil(org.shares.len().max(1)).max(1);
    super::MAX_BYTES.saturating_sub(without) / each
}

/// Registers what the organization's files say. All of it but for whom to call, so that no key that is added is forgotten
/// here: who may send in its name counts as much as which folder is watched.
fn configuration(t: &mut Builder, scope: &OrgScope, org: &Organization, tags: &BTreeMap<String, String>) {
    let mut said = serde_json::to_value(org).expect("an organization is plain data");
    if let Value::Object(o) = &mut said {
        o.remove("name");
        o.remove("contacts");
        // As it takes effect, whether it was said or follows from the ways in.
        o.insert("link_encodings".into(), org.links_encodings().into());
    }
    let of = format!("{} in leadline environment {}", org.id, scope.env());
    t.add("Configuration", &registered(scope.configuration(), &of, &said, tags), &[]);
}

fn role(t: &mut Builder, env: &EnvScope, scope: &OrgScope, jurisdiction: &str, stage: Stage) {
    let tags = tags(scope.env().as_str(), Some((scope.org().as_str(), jurisdiction)));
    t.add(
        "Role",
        &Role {
            role_name: scope.role_name(),
            description: format!(
                "All that may touch the data of {} in leadline environment {}",
                scope.org(),
                scope.env()
            ),
            // The external id is no secret: it makes a worker name the organization it means, so that a role taken
            // for another one by mistake is refused. The tag is the worker role's own: a role of that name that was made
            // by other hands has it only if they may tag roles as well.
            assume_role_policy_document: Policy::new(vec![
                Statement::allow("Workers", &["sts:AssumeRole"])
                    .to(Principal::Aws(vec![env.worker_role_arn().into()]))
                    .when("StringEquals", "sts:ExternalId", scope.external_id())
                    .when("StringEquals", "aws:PrincipalTag/leadline:env", scope.env().as_str()),
            ]),
            max_session_duration: 3600,
            tags: tag_list(&tags),
        },
        &[],
    );
    let object = |prefix: &str| Text::sub(format!("${{Bucket.Arn}}/{prefix}/*"));
    let all =
        || ["recordings", "staging", "seen", "ledger", "identities", "received", "quarantine", "outcomes"].map(object);
    let secrets =
        format!("arn:aws:secretsmanager:{}:{}:secret:{}*", scope.region(), scope.account(), scope.secret_prefix());
    t.add(
        "RolePolicy",
        &RolePolicy {
            policy_name: "own-data".into(),
            roles: vec![Text::reference("Role")],
            policy_document: Policy::new(
                [
                    deletion(stage, "Bucket"),
                    vec![
                        Statement::allow(
                            "List",
                            &["s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:GetBucketLocation"],
                        )
                        .on([Text::att("Bucket", "Arn")]),
                        Statement::allow(
                            "Objects",
                            &[
                                "s3:AbortMultipartUpload",
                                "s3:GetObject",
                                "s3:GetObjectAttributes",
                                "s3:ListMultipartUploadParts",
                                "s3:PutObject",
                            ],
                        )
                        .on(all()),
                        // What was judged there is read by its version: an upload's form can be sent twice.
                        Statement::allow("Staging", &["s3:DeleteObject", "s3:GetObjectVersion"])
                            .on([object("staging")]),
                        Statement::allow("Ledger", &["s3:GetObjectRetention", "s3:PutObjectRetention"])
                            .on([object("ledger")]),
                        Statement::allow("Key", &["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"])
                            .on([Text::att("Key", "Arn")]),
                        Statement::allow("ShareSecrets", ORG_ROLE_SECRETS).on([secrets.into()]),
                    ],
                ]
                .concat(),
            ),
        },
        &[],
    );
    t.output("RoleArn", "Role that alone touches the organization's data", Text::att("Role", "Arn"));
}

/// Rights to delete everything that is not locked, and to learn what is; the lock itself is not to be lifted.
pub(super) fn deletion(stage: Stage, bucket: &str) -> Vec<Statement> {
    if stage == Stage::Kept {
        return Vec::new();
    }
    vec![
        Statement::allow("ListVersions", &["s3:ListBucketVersions"]).on([Text::att(bucket, "Arn")]),
        Statement::allow(
            "Delete",
            &[
                "s3:AbortMultipartUpload",
                "s3:DeleteObject",
                "s3:DeleteObjectVersion",
                "s3:GetObjectLegalHold",
                "s3:GetObjectRetention",
            ],
        )
        .on([Text::sub(format!("${{{bucket}.Arn}}/*"))]),
    ]
}
