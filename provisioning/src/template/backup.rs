//! The stack of an environment's copies. Apart from the environment's own, because it is in the region of the copies.

use super::bucket::DATA;
use super::iam::{Policy, Statement, tls_only};
use super::keys::whole_account;
use super::resources::{Alias, Bucket, BucketPolicy, Key};
use super::value::Text;
use super::{Builder, tags};
use crate::config::{Backup, Environment, LockMode};
use serde_json::{Value, json};

/// The template of an environment's copies; `None` where nothing is copied.
#[must_use]
pub fn backup(env: &Environment) -> Option<Value> {
    env.backup.as_ref().map(|b| template(env, b))
}

fn template(env: &Environment, backup: &Backup) -> Value {
    let scope = env.scope();
    let tags = tags(env.id.as_str(), None);
    let mut t = Builder::new(format!("leadline environment {}: copies of recordings and ledgers", env.id));
    // Copies are made with the role of the organization they are of, as everything else that touches its data.
    let roles = format!("arn:aws:iam::{}:role/leadline-{}-org-*", env.account, env.id);
    let sessions = format!("arn:aws:sts::{}:assumed-role/leadline-{}-org-*/*", env.account, env.id);
    let uses = [Statement::allow("Copies", &["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"])
        .to(whole_account(&env.account))
        .on(["*".into()])
        .when("StringEquals", "kms:ViaService", format!("s3.{}.amazonaws.com", backup.region))
        .when("ArnLike", "aws:PrincipalArn", vec![roles.clone(), sessions.clone()])];
    let description = format!("Copies of recordings and ledgers of leadline environment {}", env.id);
    t.add("BackupKey", &Key::managed(description, &env.account, uses, &tags), &[]);
    t.add(
        "BackupKeyAlias",
        &Alias { alias_name: scope.backup_key_alias(), target_key_id: Text::reference("BackupKey") },
        &[],
    );
    let mode = match backup.lock {
        LockMode::Governance => "GOVERNANCE",
        LockMode::Compliance => "COMPLIANCE",
    };
    t.add(
        "BackupBucket",
        &Bucket {
            object_lock_enabled: true,
            // Whatever comes in is locked, whoever wrote it.
            object_lock_configuration: Some(json!({
                "ObjectLockEnabled": "Enabled",
                "Rule": { "DefaultRetention": { "Mode": mode, "Days": backup.retention_days } },
            })),
            ..Bucket::private(scope.backup_bucket(), "BackupKey", &tags)
        },
        &[],
    );
    let (bucket, objects) = (Text::att("BackupBucket", "Arn"), Text::sub("${BackupBucket.Arn}/*"));
    let mut statements = vec![Statement::deny("OrganizationsOnly", DATA).on([bucket.clone(), objects.clone()]).when(
        "ArnNotLike",
        "aws:PrincipalArn",
        vec![roles, sessions],
    )];
    statements.extend(tls_only(env, "s3:*", [bucket, objects]));
    let policy = BucketPolicy { bucket: Text::reference("BackupBucket"), policy_document: Policy::new(statements) };
    t.add("BackupBucketPolicy", &policy, &[]);
    t.output("BackupBucketName", "Copies of recordings and ledgers", Text::reference("BackupBucket"));
    t.output("BackupKeyArn", "Key of the copies", Text::att("BackupKey", "Arn"));
    t.finish()
}
