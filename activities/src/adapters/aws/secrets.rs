//! Secrets: an organization's share credentials, read with its own role; the environment's payload keys.

use super::errors::{Service, fault, wants_new_session};
use super::sts::Aws;
use crate::ports::senders::GivenSecrets;
use crate::ports::stacks::{Secrets, ShareCredentials};
use crate::secret::Secret;
use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use leadline_domain::{Fault, FaultCode, OrgScope, ShareId};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long credentials of a share are used without asking again. A share that refuses them is asked for anew at once
/// (see [`Secrets::forget`]), so that this bounds only how long a withdrawn secret goes on being used.
const KEEP: Duration = Duration::from_secs(300);

/// See [`Secrets`].
pub struct AwsSecrets {
    pub(super) aws: Aws,
    known: Mutex<HashMap<String, (Instant, ShareCredentials)>>,
}

impl AwsSecrets {
    /// With these identities.
    #[must_use]
    pub fn new(aws: Aws) -> Self {
        Self { aws, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, (Instant, ShareCredentials)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn client(&self, config: &SdkConfig) -> Client {
        let config = aws_sdk_secretsmanager::config::Builder::from(config).interceptor(self.aws.counting()).build();
        Client::from_conf(config)
    }

    /// A secret of the environment, read as whoever started this process; `make` gives its first value if there is
    /// none yet. Two that make it at once end with one value.
    ///
    /// # Errors
    /// `credential.*`.
    pub async fn environment_secret(&self, name: &str, make: impl Fn() -> String) -> Result<String, Fault> {
        let client = self.client(self.aws.provisioner());
        // Twice: whoever loses a race to make it reads the winner's value.
        for _ in 0..2 {
            match client.get_secret_value().secret_id(name).send().await {
                Ok(v) => return Ok(v.secret_string().unwrap_or_default().to_owned()),
                Err(e) if e.code() == Some("ResourceNotFoundException") => {}
                Err(e) => return Err(fault(Service::Secrets, "GetSecretValue", &e)),
            }
            let value = make();
            match client.create_secret().name(name).secret_string(&value).send().await {
                Ok(_) => return Ok(value),
                Err(e) if e.code() == Some("ResourceExistsException") => {}
                Err(e) => return Err(fault(Service::Secrets, "CreateSecret", &e)),
            }
        }
        Err(Fault::new(FaultCode::CredentialUnreachable, format!("secret {name} is there and is not")))
    }

    /// A secret of the environment that people put there, read as whoever started this process.
    ///
    /// # Errors
    /// `secret.missing`, `credential.*`.
    pub async fn given_secret(&self, name: &str) -> Result<String, Fault> {
        let found = self.client(self.aws.provisioner()).get_secret_value().secret_id(name).send().await;
        let missing = || Fault::new(FaultCode::SecretMissing, format!("secret {name} holds nothing"));
        match found {
            Ok(v) => v.secret_string().filter(|s| !s.trim().is_empty()).map(str::to_owned).ok_or_else(missing),
            Err(e) if e.code() == Some("ResourceNotFoundException") => Err(missing()),
            Err(e) => Err(fault(Service::Secrets, "GetSecretValue", &e)),
        }
    }

    /// Gives a secret of the environment a value, as whoever started this process; one that is not there is made.
    ///
    /// # Errors
    /// `credential.*`.
    pub async fn put_environment_secret(&self, name: &str, value: &Secret) -> Result<(), Fault> {
        let client = self.client(self.aws.provisioner());
        let put = client.put_secret_value().secret_id(name).secret_string(value.expose()).send().await;
        match put {
            Ok(_) => Ok(()),
            Err(e) if e.code() == Some("ResourceNotFoundException") => {
                let made = client.create_secret().name(name).secret_string(value.expose()).send().await;
                made.map(drop).map_err(|e| fault(Service::Secrets, "CreateSecret", &e))
            }
            Err(e) => Err(fault(Service::Secrets, "PutSecretValue", &e)),
        }
    }
}

#[async_trait]
impl GivenSecrets for AwsSecrets {
    async fn given(&self, name: &str) -> Result<Secret, Fault> {
        self.given_secret(name).await.map(Secret::new)
    }
}

#[async_trait]
impl Secrets for AwsSecrets {
    async fn share_credentials(&self, scope: &OrgScope, share: &ShareId) -> Result<ShareCredentials, Fault> {
        let name = scope.share_secret(share);
        if let Some((at, c)) = self.known().get(&name)
            && at.elapsed() < KEEP
        {
            return Ok(c.clone());
        }
        let org = self.aws.organization(scope);
        org.role.credentials().await?;
        let v = match org.secrets.get_secret_value().secret_id(&name).send().await {
            Ok(v) => v,
            Err(e) => {
                if wants_new_session(&e) {
                    org.role.forget().await;
                }
                return Err(fault(Service::Secrets, "GetSecretValue", &e));
            }
        };
        // The stack makes the secret with a placeholder; credentials are put in by the onboarding command.
        let c: ShareCredentials = serde_json::from_str(v.secret_string().unwrap_or_default()).map_err(|_| {
            Fault::new(FaultCode::SecretMissing, format!("the secret of share {share} holds no credentials yet"))
        })?;
        self.known().insert(name, (Instant::now(), c.clone()));
        Ok(c)
    }

    fn forget(&self, scope: &OrgScope, share: &ShareId) {
        self.known().remove(&scope.share_secret(share));
    }

    async fn put_share_credentials(
        &self,
        scope: &OrgScope,
        share: &ShareId,
        credentials: &ShareCredentials,
    ) -> Result<(), Fault> {
        self.client(self.aws.provisioner())
            .put_secret_value()
            .secret_id(scope.share_secret(share))
            .secret_string(credentials.text().expose())
            .send()
            .await
            .map_err(|e| fault(Service::Secrets, "PutSecretValue", &e))?;
        self.forget(scope, share);
        Ok(())
    }
}
