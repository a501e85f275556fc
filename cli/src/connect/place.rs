//! Whether this process is where its environment is. Asked before anything is done there: in another account even a look
//! would make secrets, and in another namespace a worker would take up another environment's work.

use super::Site;
use crate::exit::Failure;
use leadline_activities::adapters::aws::{Aws, whereabouts};
use leadline_activities::engine::Engine;
use leadline_domain::{Fault, place};
use temporalio_client::Client;

impl Site {
    /// AWS as the environment says, once it is known to be the environment's. Asked once for all that a command does.
    pub(crate) async fn aws_here(&self) -> Result<Aws, Failure> {
        let aws = self.aws().await;
        self.here.get_or_try_init(|| self.in_aws(&aws, false)).await?;
        Ok(aws)
    }

    /// Temporal for a worker or a gateway, which work as the worker role: `aws` has to be the environment's for both.
    pub(crate) async fn temporal_to_work(&self, aws: &Aws) -> Result<Client, Failure> {
        self.in_aws(aws, true).await?;
        let (client, marked) = self.temporal_and_mark().await?;
        if !marked {
            let (env, namespace) = (&self.env, &self.environment().temporal.namespace);
            tracing::warn!(%env, namespace, "the namespace is not marked yet; `leadline env apply` does it");
        }
        Ok(client)
    }

    /// Whether this is the environment's place in AWS.
    pub(crate) async fn in_aws(&self, aws: &Aws, as_worker: bool) -> Result<(), Fault> {
        let e = self.environment();
        place::in_aws(&e.facts(), e.aws.endpoint_url.as_deref(), &whereabouts(aws, as_worker).await?)
    }

    /// Whether the namespace has the environment's mark; that of another one fails.
    pub(super) async fn marked(&self, client: &Client) -> Result<bool, Fault> {
        let marks = Engine::new(client.clone()).marks().await?;
        place::in_namespace(&self.env, &self.environment().temporal.namespace, &marks)?;
        Ok(marks.contains(&self.env))
    }
}
