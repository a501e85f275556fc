//! An organization's key.

use super::iam::{Policy, Principal, Statement};
use super::resources::{Alias, Key};
use super::value::{Text, tag_list};
use super::{Builder, tags};
use leadline_domain::OrgScope;

/// Managing a key, in words that name each right: none of them encrypts or decrypts.
const MANAGE: &[&str] = &[
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:DeleteAlias",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:RevokeGrant",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
];

pub(crate) fn add(t: &mut Builder, scope: &OrgScope, jurisdiction: &str) {
    let tags = tags(scope.env().as_str(), Some((scope.org().as_str(), jurisdiction)));
    let account = || Principal::Aws(vec![format!("arn:aws:iam::{}:root", scope.account()).into()]);
    let secrets = format!("secretsmanager.{}.amazonaws.com", scope.region());
    t.add(
        "Key",
        &Key {
            description: format!("Recordings and secrets of {} in leadline environment {}", scope.org(), scope.env()),
            enable_key_rotation: true,
            // The longest time to notice a mistake (KMS: 7 to 30 days).
            pending_window_in_days: 30,
            key_policy: Policy::new(vec![
                // The account stands for whoever its IAM policies allow. No right to use the key is among them, so
                // that an administrator's broad policy does not open recordings.
                Statement::allow("Manage", MANAGE).to(account()).on(["*".into()]),
                Statement::allow("OwnRole", &["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"])
                    .to(Principal::Aws(vec![Text::att("Role", "Arn")]))
                    .on(["*".into()]),
                // Whoever puts a share's credentials into the secret store needs both (Secrets Manager decrypts the
                // data key it is given); only through that service.
                Statement::allow("PutSecrets", &["kms:Decrypt", "kms:GenerateDataKey"])
                    .to(account())
                    .on(["*".into()])
                    .when("StringEquals", "kms:ViaService", secrets)
                    .when("StringEquals", "kms:CallerAccount", scope.account()),
            ]),
            tags: tag_list(&tags),
        },
        &[],
    );
    t.add("KeyAlias", &Alias { alias_name: scope.key_alias(), target_key_id: Text::reference("Key") }, &[]);
    t.output("KeyArn", "Key of bucket and secrets", Text::att("Key", "Arn"));
}
