//! Policy documents.

use super::value::Text;
use crate::config::Environment;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A policy.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

impl Policy {
    pub(crate) fn new(statement: Vec<Statement>) -> Self {
        // The version of the policy language, not a date of ours.
        Self { version: "2012-10-17", statement }
    }
}

/// Whom a statement is about; identity policies have none.
#[derive(Debug, Clone, Serialize)]
pub(crate) enum Principal {
    #[serde(rename = "AWS")]
    Aws(Vec<Text>),
    Service(Vec<String>),
    /// Everyone; for denials only (our policy rules hold it to that).
    #[serde(untagged)]
    Everyone(&'static str),
}

/// Operator to key to values.
pub(crate) type Condition = BTreeMap<&'static str, BTreeMap<&'static str, Value>>;

/// One statement.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Statement {
    sid: &'static str,
    effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<Principal>,
    action: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resource: Vec<Text>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    condition: Condition,
}

impl Statement {
    fn new(sid: &'static str, effect: &'static str, actions: &[&str]) -> Self {
        let action = actions.iter().map(|a| (*a).to_owned()).collect();
        Self { sid, effect, principal: None, action, resource: Vec::new(), condition: BTreeMap::new() }
    }
    pub(crate) fn allow(sid: &'static str, actions: &[&str]) -> Self {
        Self::new(sid, "Allow", actions)
    }
    /// Denies everyone.
    pub(crate) fn deny(sid: &'static str, actions: &[&str]) -> Self {
        Self { principal: Some(Principal::Everyone("*")), ..Self::new(sid, "Deny", actions) }
    }
    pub(crate) fn to(mut self, p: Principal) -> Self {
        self.principal = Some(p);
        self
    }
    pub(crate) fn on(mut self, resources: impl IntoIterator<Item = Text>) -> Self {
        self.resource.extend(resources);
        self
    }
    pub(crate) fn when(mut self, operator: &'static str, key: &'static str, value: impl Into<Value>) -> Self {
        self.condition.entry(operator).or_default().insert(key, value.into());
        self
    }
}

/// Denies whatever does not come over TLS, where there is TLS (see [`Environment::tls_only`]).
pub(crate) fn tls_only(
    env: &Environment,
    action: &str,
    resources: impl IntoIterator<Item = Text>,
) -> Option<Statement> {
    env.tls_only()
        .then(|| Statement::deny("TlsOnly", &[action]).on(resources).when("Bool", "aws:SecureTransport", "false"))
}
