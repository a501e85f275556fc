//! Versions of a share's secret, by their staging labels.

use super::errors::{Service, fault, wants_new_session};
use super::secrets::AwsSecrets;
use crate::ports::rotation::{Labels, Rotation, Stage, Version};
use crate::ports::stacks::ShareCredentials;
use async_trait::async_trait;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use leadline_domain::{Fault, FaultCode, OrgScope, ShareId};

impl AwsSecrets {
    /// Moves a label to a version and away from another; one of the two may be absent.
    async fn move_label(&self, name: &str, stage: Stage, to: Option<&str>, from: Option<&str>) -> Result<(), Fault> {
        self.provisioning()
            .update_secret_version_stage()
            .secret_id(name)
            .version_stage(stage.label())
            .set_move_to_version_id(to.map(str::to_owned))
            .set_remove_from_version_id(from.map(str::to_owned))
            .send()
            .await
            .map_err(|e| fault(Service::Secrets, "UpdateSecretVersionStage", &e))?;
        Ok(())
    }

    fn provisioning(&self) -> Client {
        self.client(self.aws.provisioner())
    }
}

impl AwsSecrets {
    /// Makes of a secret of the environment what `change` makes of its value, as whoever started this process. The value
    /// becomes current only if the one that was read still is: of two who change it at once one is told to try again.
    ///
    /// # Errors
    /// `secret.missing` if there is none, or `change` makes nothing of it; `secret.superseded`; `credential.*`.
    pub async fn change_environment_secret<T>(
        &self,
        name: &str,
        change: impl FnOnce(&str) -> Option<(String, T)>,
    ) -> Result<T, Fault> {
        let missing = || Fault::new(FaultCode::SecretMissing, format!("secret {name} does not hold what it should"));
        let client = self.provisioning();
        let read = client.get_secret_value().secret_id(name).send().await;
        let read = read.map_err(|e| match e.code() {
            Some("ResourceNotFoundException") => missing(),
            _ => fault(Service::Secrets, "GetSecretValue", &e),
        })?;
        let (text, told) = change(read.secret_string().unwrap_or_default()).ok_or_else(missing)?;
        let put = client.put_secret_value().secret_id(name).secret_string(text).version_stages(Stage::Pending.label());
        let put = put.send().await.map_err(|e| fault(Service::Secrets, "PutSecretValue", &e))?;
        // Secrets Manager refuses to take the label from a version that does not have it.
        let Err(refused) = self.move_label(name, Stage::Current, put.version_id(), read.version_id()).await else {
            return Ok(told);
        };
        // An answer that was lost, or somebody else.
        let now = client.get_secret_value().secret_id(name).send().await;
        let now = now.map_err(|e| fault(Service::Secrets, "GetSecretValue", &e))?.version_id;
        if now == put.version_id {
            Ok(told)
        } else if now == read.version_id {
            Err(refused)
        } else {
            let detail = format!("somebody else changed secret {name} meanwhile: look, and try again");
            Err(Fault::new(FaultCode::SecretSuperseded, detail))
        }
    }
}

#[async_trait]
impl Rotation for AwsSecrets {
    async fn version(&self, scope: &OrgScope, share: &ShareId, stage: Stage) -> Result<Option<Version>, Fault> {
        let org = self.aws.organization(scope);
        org.role.credentials().await?;
        let get = org.secrets.get_secret_value().secret_id(scope.share_secret(share)).version_stage(stage.label());
        let v = match get.send().await {
            Ok(v) => v,
            // There is no version with this label (or no secret, which asking for the current one tells).
            Err(e) if stage == Stage::Pending && e.code() == Some("ResourceNotFoundException") => return Ok(None),
            Err(e) => {
                if wants_new_session(&e) {
                    org.role.forget().await;
                }
                return Err(fault(Service::Secrets, "GetSecretValue", &e));
            }
        };
        match serde_json::from_str(v.secret_string().unwrap_or_default()) {
            Ok(credentials) => Ok(Some(Version { id: v.version_id().unwrap_or_default().to_owned(), credentials })),
            // What is no credentials, and was never said to be good, is nobody's business yet.
            Err(_) if stage == Stage::Pending => Ok(None),
            // The stack makes the secret with a placeholder; credentials are put in by the onboarding command.
            Err(_) => Err(Fault::new(
                FaultCode::SecretMissing,
                format!("the secret of share {share} holds no credentials yet"),
            )),
        }
    }

    async fn labels(&self, scope: &OrgScope, share: &ShareId) -> Result<Labels, Fault> {
        let name = scope.share_secret(share);
        let d = self.provisioning().describe_secret().secret_id(&name).send().await;
        let d = d.map_err(|e| fault(Service::Secrets, "DescribeSecret", &e))?;
        let mut out = Labels::default();
        for (id, labels) in d.version_ids_to_stages().into_iter().flatten() {
            let has = |s: Stage| labels.iter().any(|l| l == s.label());
            if has(Stage::Current) {
                out.current = Some(id.clone());
            } else if has(Stage::Pending) {
                out.pending = Some(id.clone());
            }
        }
        Ok(out)
    }

    async fn begin(&self, scope: &OrgScope, share: &ShareId, new: &ShareCredentials) -> Result<String, Fault> {
        self.withdraw(scope, share).await?;
        let put = self.provisioning().put_secret_value().secret_id(scope.share_secret(share));
        let put = put.secret_string(new.text().expose());
        let put = put.version_stages(Stage::Pending.label()).send().await;
        let put = put.map_err(|e| fault(Service::Secrets, "PutSecretValue", &e))?;
        Ok(put.version_id().unwrap_or_default().to_owned())
    }

    async fn promote(&self, scope: &OrgScope, share: &ShareId, version: &str) -> Result<(), Fault> {
        let labels = self.labels(scope, share).await?;
        let name = scope.share_secret(share);
        if labels.current.as_deref() == Some(version) {
            return Ok(());
        }
        if labels.pending.as_deref() != Some(version) {
            let detail = format!("the new credentials of share {share} that were proven are not the pending ones now");
            return Err(Fault::new(FaultCode::SecretSuperseded, detail));
        }
        self.move_label(&name, Stage::Current, Some(version), labels.current.as_deref()).await?;
        // Cut off between the two, the label stays on the version that is current, where it means nothing.
        self.move_label(&name, Stage::Pending, None, Some(version)).await
    }

    async fn withdraw(&self, scope: &OrgScope, share: &ShareId) -> Result<Option<String>, Fault> {
        let Some(id) = self.labels(scope, share).await?.pending else { return Ok(None) };
        self.move_label(&scope.share_secret(share), Stage::Pending, None, Some(&id)).await?;
        Ok(Some(id))
    }
}
