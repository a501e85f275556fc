//! What every key of ours has.

use super::iam::{Policy, Principal, Statement};
use super::resources::Key;
use super::value::tag_list;
use std::collections::BTreeMap;

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

/// The account, which stands for whoever its IAM policies allow.
pub(crate) fn whole_account(account: &str) -> Principal {
    Principal::Aws(vec![format!("arn:aws:iam::{account}:root").into()])
}

impl Key {
    /// A key that rotates, that the account manages, and that is used as the statements say. No right to use it is
    /// among those to manage it, so that an administrator's broad policy does not open what it encrypts.
    pub(crate) fn managed(
        description: String,
        account: &str,
        uses: impl IntoIterator<Item = Statement>,
        tags: &BTreeMap<String, String>,
    ) -> Self {
        let mut statements = vec![Statement::allow("Manage", MANAGE).to(whole_account(account)).on(["*".into()])];
        statements.extend(uses);
        Self {
            description,
            enable_key_rotation: true,
            // The longest time to notice a mistake (KMS: 7 to 30 days).
            pending_window_in_days: 30,
            key_policy: Policy::new(statements),
            tags: tag_list(tags),
        }
    }
}
