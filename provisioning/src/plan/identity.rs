//! What a plan is identified by: the digest that an approval names, and that whoever carries it out computes again.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// All that a plan wants.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// Name of the stack.
    pub stack: &'a str,
    /// AWS account.
    pub account: &'a str,
    /// AWS region.
    pub region: &'a str,
    /// Template.
    pub template: &'a Value,
    /// Tags of the stack.
    pub tags: &'a BTreeMap<String, String>,
    /// Logical ids of the resources whose settings are to be put back.
    pub repairs: &'a [String],
    /// Logical ids of the resources that are gone and are to be made again.
    pub remakes: &'a [String],
    /// Logical ids of the stateful resources that may be replaced, removed, or made again, empty.
    pub allows: &'a [String],
    /// Id of the off-boarding's certificate, where everything is to be deleted after it.
    pub deletes: Option<&'a str>,
}

impl Identity<'_> {
    /// SHA-256 (hexadecimal) of all of it as canonical JSON. A plan that only applies a template has no word of
    /// repairs, losses or deletion in it: whoever agreed to the one has not agreed to the others.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut all = json!({
            "stack": self.stack, "account": self.account, "region": self.region, "template": self.template,
            "tags": self.tags,
        });
        if !self.repairs.is_empty() {
            all["repairs"] = json!(self.repairs);
        }
        if !self.remakes.is_empty() {
            all["remakes"] = json!(self.remakes);
        }
        if !self.allows.is_empty() {
            all["allows"] = json!(self.allows);
        }
        if let Some(certificate) = self.deletes {
            all["deletes"] = json!(certificate);
        }
        hex::encode(Sha256::digest(crate::json::compact(&all)))
    }
}
