//! An organization's key.

use super::iam::{Principal, Statement};
use super::keys::whole_account;
use super::resources::{Alias, Key};
use super::value::Text;
use super::{Builder, tags};
use leadline_domain::OrgScope;

pub(crate) fn add(t: &mut Builder, scope: &OrgScope, jurisdiction: &str) {
    let tags = tags(scope.env().as_str(), Some((scope.org().as_str(), jurisdiction)));
    let secrets = format!("secretsmanager.{}.amazonaws.com", scope.region());
    let uses = [
        Statement::allow("OwnRole", &["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"])
            .to(Principal::Aws(vec![Text::att("Role", "Arn")]))
            .on(["*".into()]),
        // Whoever puts a share's credentials into the secret store needs both (Secrets Manager decrypts the data key
        // it is given); only through that service.
        Statement::allow("PutSecrets", &["kms:Decrypt", "kms:GenerateDataKey"])
            .to(whole_account(scope.account()))
            .on(["*".into()])
            .when("StringEquals", "kms:ViaService", secrets)
            .when("StringEquals", "kms:CallerAccount", scope.account()),
    ];
    let description = format!("Recordings and secrets of {} in leadline environment {}", scope.org(), scope.env());
    t.add("Key", &Key::managed(description, scope.account(), uses, &tags), &[]);
    t.add("KeyAlias", &Alias { alias_name: scope.key_alias(), target_key_id: Text::reference("Key") }, &[]);
    t.output("KeyArn", "Key of bucket and secrets", Text::att("Key", "Arn"));
}
