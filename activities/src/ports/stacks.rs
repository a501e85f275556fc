//! The role CloudFormation plays: change sets are made, compared, executed, followed.

use crate::secret::Secret;
use async_trait::async_trait;
use leadline_domain::Fault;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a change set would do to one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceChange {
    /// Logical id in the template.
    pub logical_id: String,
    /// E.g. `AWS::S3::Bucket`.
    pub resource_type: String,
    /// `Add`, `Modify`, `Remove`.
    pub action: String,
    /// `True`, `False`, `Conditional` or empty.
    pub replacement: String,
}

/// Where a change set stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeSetState {
    /// Being computed.
    Pending,
    /// Ready to execute.
    Ready(Vec<ResourceChange>),
    /// There is nothing to change.
    Empty,
    /// It could not be computed; the reason as CloudFormation gives it.
    Failed(String),
}

/// Where a stack stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackState {
    /// E.g. `CREATE_COMPLETE`.
    pub status: String,
    /// Why, where CloudFormation says it.
    pub reason: String,
    /// Outputs.
    pub outputs: BTreeMap<String, String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// One event of a stack operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackEvent {
    /// Unique id.
    pub id: String,
    /// Logical id of the resource.
    pub logical_id: String,
    /// E.g. `CREATE_IN_PROGRESS`.
    pub status: String,
    /// Why, where CloudFormation says it.
    pub reason: String,
}

/// CloudFormation in one account and region.
#[async_trait]
pub trait Stacks: Send + Sync {
    /// The stack, or `None` if there is none (a stack in REVIEW_IN_PROGRESS with no resources counts as none).
    ///
    /// # Errors
    /// `stack.*`.
    async fn describe(&self, stack: &str) -> Result<Option<StackState>, Fault>;

    /// All stacks by name, as [`Stacks::describe`] tells of each, in as few requests as there are pages. Not those of another
    /// region than the environment's.
    ///
    /// # Errors
    /// `stack.*`.
    async fn all(&self) -> Result<BTreeMap<String, StackState>, Fault>;

    /// The template the stack was last given, as text.
    ///
    /// # Errors
    /// `stack.*`.
    async fn template(&self, stack: &str) -> Result<Option<String>, Fault>;

    /// Makes a change set (CREATE or UPDATE as the stack demands) under a name; the same name again is success.
    ///
    /// # Errors
    /// `stack.*`; `stack.terminal_state` if the stack can take no change set.
    async fn create_change_set(
        &self,
        stack: &str,
        name: &str,
        template: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), Fault>;

    /// Where the change set stands.
    ///
    /// # Errors
    /// `stack.*`.
    async fn change_set(&self, stack: &str, name: &str) -> Result<ChangeSetState, Fault>;

    /// Executes it. Executing one that is executed already is success.
    ///
    /// # Errors
    /// `stack.*`.
    async fn execute(&self, stack: &str, name: &str) -> Result<(), Fault>;

    /// Deletes an unexecuted change set; a missing one is success.
    ///
    /// # Errors
    /// `stack.*`.
    async fn discard(&self, stack: &str, name: &str) -> Result<(), Fault>;

    /// The latest events of a stack, oldest first, at most 200.
    ///
    /// # Errors
    /// `stack.*`.
    async fn events(&self, stack: &str) -> Result<Vec<StackEvent>, Fault>;

    /// Deletes a stack (resources with retention stay).
    ///
    /// # Errors
    /// `stack.*`.
    async fn delete(&self, stack: &str) -> Result<(), Fault>;
}

/// The credentials of a share, as the organization's secret holds them.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct ShareCredentials {
    /// SMB user.
    pub user: String,
    /// Password.
    pub password: Secret,
    /// NTLM domain; empty for a standalone server.
    #[serde(default)]
    pub domain: String,
}

impl ShareCredentials {
    /// The text of the secret that is to hold them.
    #[must_use]
    pub fn text(&self) -> Secret {
        let Self { user, password, domain } = self;
        Secret::new(serde_json::json!({"user": user, "password": password.expose(), "domain": domain}).to_string())
    }
}

impl std::fmt::Debug for ShareCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ShareCredentials(hidden)")
    }
}

/// Secrets of organizations, read with the organization's own role.
#[async_trait]
pub trait Secrets: Send + Sync {
    /// Reads a share's credentials.
    ///
    /// # Errors
    /// `secret.missing`, `credential.*`.
    async fn share_credentials(
        &self,
        scope: &leadline_domain::OrgScope,
        share: &leadline_domain::ShareId,
    ) -> Result<ShareCredentials, Fault>;

    /// Forgets what was read of a share's credentials, because the share refused them: the next read asks again.
    fn forget(&self, scope: &leadline_domain::OrgScope, share: &leadline_domain::ShareId);

    /// Writes a share's credentials into the secret that the organization's stack made (provisioning only).
    ///
    /// # Errors
    /// `secret.missing`, `credential.*`.
    async fn put_share_credentials(
        &self,
        scope: &leadline_domain::OrgScope,
        share: &leadline_domain::ShareId,
        credentials: &ShareCredentials,
    ) -> Result<(), Fault>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_as_they_are_written_and_never_shown() {
        let c = ShareCredentials { user: "ecg".into(), password: Secret::new("p\"w"), domain: "CLINIC".into() };
        assert_eq!(serde_json::from_str::<ShareCredentials>(c.text().expose()).ok(), Some(c.clone()));
        assert_eq!(serde_json::from_str::<ShareCredentials>(r#"{"user":"u","password":"p"}"#).unwrap().domain, "");
        let shown = format!("{c:?} {:?} {:?}", c.password, c.text());
        assert!(!shown.contains("p\"w") && !shown.contains("p\\\"w") && !shown.contains("ecg"), "{shown}");
    }
}
