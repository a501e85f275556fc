//! CloudFormation templates from typed resources.
//!
//! Names are literal: a template is made for one account and region, and reads as what it makes. The order of keys is
//! stable, so that equal inputs give equal bytes.

mod backup;
mod bucket;
mod env_alarms;
mod env_delivery;
mod env_queues;
mod environment;
mod iam;
mod keys;
mod org_bucket;
mod org_key;
mod org_storages;
mod organization;
mod resources;
mod value;

pub use backup::backup;
pub use env_delivery::CACHING_DISABLED;
pub use environment::environment;
pub use organization::{ORG_ROLE_SECRETS, opened, organization, shares_that_fit};

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// The output that says which template a stack was brought to. A listing of stacks has outputs and no templates: so one
/// look tells of all of them which have to be looked at further.
pub const DIGEST: &str = "Template";

/// The output of a stack whose data is being deleted.
const OPENED: &str = "Opened";

/// Whether a stack, by its outputs, was opened for deletion: nothing can be written there any more.
#[must_use]
pub fn is_opened(outputs: &BTreeMap<String, String>) -> bool {
    outputs.contains_key(OPENED)
}

/// What a template says of itself in that output.
#[must_use]
pub fn digest(template: &Value) -> Option<&str> {
    template["Outputs"][DIGEST]["Value"].as_str()
}

/// Templates above this size cannot be sent in a request (CloudFormation: 51,200 bytes in `TemplateBody`).
pub const MAX_BYTES: usize = 51_200;

/// What a resource type tells of itself.
pub(crate) trait Kind: Serialize {
    /// E.g. `AWS::S3::Bucket`.
    const TYPE: &'static str;
    /// Whether losing it loses data or access to data: kept when the stack lets go of it.
    const STATEFUL: bool;
}

/// A template under construction.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    description: String,
    resources: BTreeMap<String, Value>,
    outputs: BTreeMap<String, Value>,
}

impl Builder {
    pub(crate) fn new(description: String) -> Self {
        Self { description, ..Self::default() }
    }

    /// Adds a resource. `after` names those it needs without mentioning them.
    pub(crate) fn add<K: Kind>(&mut self, id: &str, resource: &K, after: &[&str]) {
        let properties = serde_json::to_value(resource).expect("resources are plain data");
        let mut r = json!({ "Type": K::TYPE, "Properties": properties });
        if K::STATEFUL {
            // Kept when the stack lets go of it, but not when the change that made it is rolled back: an empty bucket
            // that was left behind would stand in the way of the next attempt.
            r["DeletionPolicy"] = "RetainExceptOnCreate".into();
            r["UpdateReplacePolicy"] = "Retain".into();
        }
        if !after.is_empty() {
            r["DependsOn"] = json!(after);
        }
        let before = self.resources.insert(id.to_owned(), r);
        debug_assert!(before.is_none(), "two resources are called {id}");
    }

    pub(crate) fn output(&mut self, name: &str, description: &str, value: impl Serialize) {
        self.outputs.insert(name.to_owned(), json!({ "Description": description, "Value": value }));
    }

    pub(crate) fn finish(mut self) -> Value {
        let made = |b: &Self| {
            crate::json::sorted(&json!({
                "AWSTemplateFormatVersion": "2010-09-09",
                "Description": b.description,
                "Resources": b.resources,
                "Outputs": b.outputs,
            }))
        };
        let digest = hex::encode(Sha256::digest(crate::json::compact(&made(&self))));
        self.output(DIGEST, "Digest of the template without this", digest);
        made(&self)
    }
}

/// The text of a template, for people.
#[must_use]
pub fn text(template: &Value) -> String {
    crate::json::pretty(template)
}

/// Registers what files say, so that a changed file is a changed plan, and the live stack tells by which configuration it was
/// made. A digest only: hosts, folders and addresses are nobody's business there.
fn registered(name: String, of: &str, said: &Value, tags: &BTreeMap<String, String>) -> resources::Parameter {
    resources::Parameter {
        name,
        kind: "String",
        description: format!("SHA-256 of the configuration of {of}"),
        value: hex::encode(Sha256::digest(crate::json::compact(said))),
        tags: tags.clone(),
    }
}

/// Whether an organization's data is kept, or may be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Recordings and ledger are refused deletion.
    Kept,
    /// They may be deleted by the organization's own role, and nothing is written any more.
    Open,
}

/// The text of a template as it is sent: nearly twice as much fits.
#[must_use]
pub fn sent(template: &Value) -> String {
    crate::json::compact(template)
}

/// Tags every resource carries.
#[must_use]
pub fn tags(env: &str, org: Option<(&str, &str)>) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::from([("leadline:env".to_owned(), env.to_owned())]);
    if let Some((org, jurisdiction)) = org {
        tags.insert("leadline:org".into(), org.into());
        tags.insert("leadline:jurisdiction".into(), jurisdiction.into());
    }
    tags
}

/// A share's part of a logical id. Logical ids have no hyphen (letters and digits only); `X` stands for it, which no
/// slug contains, so that two shares never get one id.
pub(crate) fn logical(slug: &str) -> String {
    let mut s = slug.replace('-', "X");
    s[..1].make_ascii_uppercase();
    s
}

#[cfg(test)]
mod tests {
    use super::logical;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn logical_ids_are_valid_and_distinct(a in "[a-z](-?[a-z0-9]){1,23}", b in "[a-z](-?[a-z0-9]){1,23}") {
            prop_assert!(logical(&a).bytes().all(|c| c.is_ascii_alphanumeric()));
            prop_assert_eq!(a == b, logical(&a) == logical(&b));
        }
    }
}
