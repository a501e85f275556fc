//! The intake that all ways in share: staging in the organization's own bucket, lifecycles in Temporal.

use crate::intake::{Content, Intake, Kept, Received};
use async_trait::async_trait;
use bytes::Bytes;
use leadline_activities::deps::Deps;
use leadline_activities::engine::{Again, Engine, Started};
use leadline_activities::ports::staging::Once;
use leadline_activities::ports::store::{OrgStore, Put};
use leadline_domain::{Digest, Fault, FaultCode, Ingress, OrgId, StagedName, WorkerGroup, intake};
use leadline_workflows::ids;
use leadline_workflows::recording_lifecycle::FileReport;
use std::sync::Arc;

/// See the module.
pub struct DurableIntake {
    deps: Arc<Deps>,
    engine: Engine,
}

impl DurableIntake {
    /// Works with these parts.
    #[must_use]
    pub fn new(deps: Arc<Deps>, engine: Engine) -> Self {
        Self { deps, engine }
    }

    async fn store(&self, org: &OrgId) -> Result<Arc<dyn OrgStore>, Fault> {
        self.deps.stores.open(&self.deps.registry.scope(org)?).await
    }
}

fn no_way() -> Fault {
    Fault::new(FaultCode::BugInvariant, "files of shares are not taken in here")
}

/// Id of the lifecycle of what is staged under a name.
fn lifecycle_id(of: &intake::Intake) -> String {
    ids::lifecycle(&of.org, &of.share, &of.fingerprint)
}

/// The same, by the name alone.
fn received_id(org: &OrgId, ingress: Ingress, name: &StagedName) -> Result<String, Fault> {
    let share = ingress.share().ok_or_else(no_way)?;
    Ok(ids::lifecycle(org, &share, &intake::received_as(name)))
}

#[async_trait]
impl Intake for DurableIntake {
    async fn take(&self, r: Received) -> Result<Option<FileReport>, Fault> {
        let config = self.deps.registry.org(&r.org)?;
        let begun =
            intake::Intake::received(r.org.clone(), r.ingress, &r.name, config.limits, config.formats, r.declared);
        let mut begun = begun.ok_or_else(no_way)?;
        if let Content::Staged { version } = &r.content {
            begun = begun.in_version(version.as_deref());
        }
        // What was taken in before may have left staging already; it must not be put there again.
        let id = lifecycle_id(&begun);
        let (ended, stays) = tokio::join!(self.engine.how_ended(&id), self.engine.stays(config.scope.env(), &r.org));
        match ended? {
            Started::Running => return Ok(None),
            Started::Ended(Some(report)) => return Ok(Some(report)),
            Started::Ended(None) => stays?,
        }
        if let Content::Bytes(bytes) = r.content {
            let digest = Digest::of(&bytes);
            if r.declared.is_some_and(|d| d != digest) {
                let detail = "the content has another digest than was declared";
                return Err(Fault::new(FaultCode::FileChecksumMismatch, detail));
            }
            self.store(&r.org).await?.stage(r.name.as_str(), bytes, &digest).await?;
        }
        let queue = self.deps.registry.env().task_queue(&WorkerGroup::main());
        match self.engine.start_lifecycle(&queue, &begun, Again::IfFailed).await? {
            Started::Running => Ok(None),
            Started::Ended(report) => Ok(report),
        }
    }

    async fn keep(&self, org: &OrgId, ingress: Ingress, name: &StagedName, raw: Bytes) -> Result<Kept, Fault> {
        let digest = Digest::of(&raw).to_hex();
        let put = self.store(org).await?.put_once(Once::Received(ingress), name.as_str(), raw, &digest).await?;
        Ok(match put {
            Put::Created => Kept::New,
            Put::Exists { claim, .. } if claim == digest => Kept::Same,
            Put::Exists { .. } => Kept::Other,
        })
    }

    async fn report(&self, org: &OrgId, ingress: Ingress, name: &StagedName) -> Result<Option<FileReport>, Fault> {
        self.engine.report(&received_id(org, ingress, name)?).await
    }

    async fn known(&self, org: &OrgId, ingress: Ingress, name: &StagedName) -> Result<bool, Fault> {
        Ok(match self.engine.how_ended(&received_id(org, ingress, name)?).await? {
            Started::Running => true,
            Started::Ended(report) => report.is_some(),
        })
    }
}
