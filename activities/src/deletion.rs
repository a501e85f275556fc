//! Deletion after off-boarding: the bucket opened by an approved change of the stack, emptied, and taken down with what
//! the stack leaves.

// The activities macro makes constants that it does not document.
#![allow(missing_docs)]

use crate::deps::Deps;
use crate::faults::ended;
use crate::heartbeat::{beating, until_cancelled};
use crate::ports::queue::Outgoing;
use crate::ports::removal::Removal;
use crate::ports::store::Held;
use crate::provision::{belongs_here, execute, grant, now_ms, prepare, stack_plan};
use crate::registry::OrgConfig;
use leadline_domain::transfer::Storage;
use leadline_domain::{Fault, FaultCode, OrgId, OrgScope};
use leadline_provisioning::config::ehr_key_name;
use leadline_workflows::deletion::{
    Contents, DeletionCertificate, DeletionInput, DeletionPlan, DismantleInput, Dismantled, Locked, OpenInput,
    definitions, deletion_gates, deletion_request,
};
use leadline_workflows::offboard::Kept;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use temporalio_sdk::activities::{ActivityContext, ActivityError, activities};

/// Time between two looks at the stack.
const POLL: Duration = Duration::from_millis(500);
/// The longest time KMS lets a mistake be noticed in, days.
const KEY_DAYS: i32 = 30;
/// S3 may take a moment to have a deletion everywhere: a bucket is looked at so often before it counts as not empty.
const BUCKET_LOOKS: u32 = 10;

/// Implements `leadline_workflows::deletion::Deletions`.
pub struct DeletionActivities {
    deps: Arc<Deps>,
}

impl DeletionActivities {
    /// Works with these parts.
    #[must_use]
    pub fn new(deps: Arc<Deps>) -> Self {
        Self { deps }
    }
}

#[activities]
impl DeletionActivities {
    /// See the contract.
    #[activity(definition = definitions::PlanDeletion)]
    pub async fn plan_deletion(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: DeletionInput,
    ) -> Result<DeletionPlan, ActivityError> {
        ended("plan_deletion", beating(&ctx, async { plan(&self.deps, &input) }).await)
    }

    /// See the contract.
    #[activity(definition = definitions::OpenBucket)]
    pub async fn open_bucket(self: Arc<Self>, ctx: ActivityContext, input: OpenInput) -> Result<(), ActivityError> {
        ended("open_bucket", until_cancelled(&ctx, open(&self.deps, &input)).await?)
    }

    /// See the contract.
    #[activity(definition = definitions::CountContents)]
    pub async fn count_contents(self: Arc<Self>, ctx: ActivityContext, org: OrgId) -> Result<Contents, ActivityError> {
        let work = async {
            let mut contents = of(self.deps.store(&org).await?.count_all().await?);
            let config = self.deps.registry.org(&org)?;
            for storage in &config.storages {
                let held = there(self.deps.storages.alone(&config.scope, *storage).await?.count_all().await)?;
                contents.storages.insert(config.scope.storage_bucket(*storage), of(held));
            }
            Ok(contents)
        };
        ended("count_contents", until_cancelled(&ctx, work).await?)
    }

    /// See the contract.
    #[activity(definition = definitions::DeleteContents)]
    pub async fn delete_contents(self: Arc<Self>, ctx: ActivityContext, org: OrgId) -> Result<Locked, ActivityError> {
        let work = async {
            let config = self.deps.registry.org(&org)?;
            for storage in &config.storages {
                let stuck = there(self.deps.storages.alone(&config.scope, *storage).await?.delete_all().await)?;
                // Nobody can lock anything there, for the bucket has no object lock.
                if stuck.versions > 0 {
                    let detail = format!("{} versions of storage {storage} are locked", stuck.versions);
                    return Err(Fault::new(FaultCode::StoreAccessDenied, detail));
                }
            }
            let s = self.deps.store(&org).await?.delete_all().await?;
            let (versions, bytes, until_ms) = (s.versions, s.bytes, s.until_ms);
            Ok(Locked { versions, bytes, until_ms, legal_hold: s.legal_hold, named: s.named })
        };
        ended("delete_contents", until_cancelled(&ctx, work).await?)
    }

    /// See the contract.
    #[activity(definition = definitions::Dismantle)]
    pub async fn dismantle(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: DismantleInput,
    ) -> Result<Dismantled, ActivityError> {
        ended("dismantle", until_cancelled(&ctx, dismantle(&self.deps, &input)).await?)
    }

    /// See the contract.
    #[activity(definition = definitions::RecordDeletion)]
    pub async fn record_deletion(
        self: Arc<Self>,
        ctx: ActivityContext,
        certificate: DeletionCertificate,
    ) -> Result<(), ActivityError> {
        ended("record_deletion", beating(&ctx, record(&self.deps, &certificate)).await)
    }
}

fn of(held: Held) -> Contents {
    Contents { versions: held.versions, bytes: held.bytes, markers: held.markers, ..Contents::default() }
}

/// A storage whose bucket is gone holds nothing.
fn there<T: Default>(r: Result<T, Fault>) -> Result<T, Fault> {
    match r {
        Err(f) if f.code == FaultCode::StoreBucketMissing => Ok(T::default()),
        r => r,
    }
}

fn plan(deps: &Deps, input: &DeletionInput) -> Result<DeletionPlan, Fault> {
    in_time(input.kept_until_ms)?;
    let plan = deps.plans.opening(&input.org, &input.certificate)?;
    let opening = stack_plan(&plan);
    let gates = deletion_gates(&opening.env, deps.registry.gates().as_ref());
    Ok(DeletionPlan { opening, gates })
}

/// By this worker's own clock as well.
fn in_time(kept_until_ms: i64) -> Result<(), Fault> {
    if now_ms() < kept_until_ms {
        return Err(Fault::new(FaultCode::GateClosed, "the time of retention is not over"));
    }
    Ok(())
}

async fn open(deps: &Deps, input: &OpenInput) -> Result<(), Fault> {
    in_time(input.kept_until_ms)?;
    let plan = &input.opening;
    if plan.deletes.is_none() {
        return Err(Fault::new(FaultCode::StackPlanMismatch, "this plan does not delete"));
    }
    belongs_here(deps, plan)?;
    let gates = deletion_gates(&plan.env, deps.registry.gates().as_ref());
    let approval = grant(Some(&gates), &deletion_request(&plan.digest, &input.requested_by, &input.approvers))?;
    let prepared = prepare(deps, plan).await?;
    // It may be open already: a repeat of this step.
    if !prepared.changes.is_empty() {
        execute(deps, plan, &approval).await?;
    }
    Ok(())
}

async fn dismantle(deps: &Deps, input: &DismantleInput) -> Result<Dismantled, Fault> {
    let config = deps.registry.org(&input.org)?;
    let scope = &config.scope;
    let mut out = Dismantled::default();
    delete_stack(deps, &scope.stack()).await?;
    out.removed.push(format!("stack {} with role {} and parameter", scope.stack(), scope.role_name()));
    out.removed.extend(secrets(&*deps.removal, &config).await?.into_iter().map(|name| format!("secret {name}")));
    for storage in &config.storages {
        delete_bucket(deps, scope, *storage).await?;
        out.removed.push(format!("bucket {}", scope.storage_bucket(*storage)));
    }
    // What an earlier plan let go of is nobody's to delete here, and may hold recordings.
    for storage in Storage::ALL.into_iter().filter(|s| *s != Storage::Data && !config.storages.contains(s)) {
        if deps.removal.bucket_is_there(scope, storage).await? {
            out.kept.push(Kept {
                what: format!("bucket {}", scope.storage_bucket(storage)),
                why: "the organization's file names no such storage any more: somebody has to look at what it holds"
                    .into(),
            });
        }
    }
    if input.locked.versions == 0 {
        delete_bucket(deps, scope, Storage::Data).await?;
        out.removed.push(format!("bucket {}", scope.bucket()));
        deps.removal.key(scope, KEY_DAYS).await?;
        out.removed.push(format!("key {}, deleted by KMS {KEY_DAYS} days from now", scope.key_alias()));
    } else {
        out.kept.extend(kept(scope, &input.locked));
    }
    out.kept.push(Kept {
        what: "entries of the audit queue, histories of Temporal, copies made elsewhere".into(),
        why: "each has a time of its own".into(),
    });
    Ok(out)
}

/// Deletes every secret of an organization: of its shares, of shares that its file named once, of its EHR, of its canaries.
/// Returns their names. Those of its shares are named whether they were there or not, so that a repeat says the same.
async fn secrets(removal: &dyn Removal, config: &OrgConfig) -> Result<BTreeSet<String>, Fault> {
    let scope = &config.scope;
    let shares: BTreeSet<String> = config.every_share().map(|s| scope.share_secret(s)).collect();
    // A list of secrets may be a little behind, so what is known is not left to it.
    let mut all = removal.secrets(scope).await?;
    all.extend(shares.iter().cloned());
    all.extend(ehr_key_name().map(|ehr| scope.share_secret(&ehr)));
    all.extend(Some(config.endpoints.credentials.clone()).filter(|name| !name.is_empty()));
    let mut gone = BTreeSet::new();
    for name in all {
        if removal.secret(&name).await? || shares.contains(&name) {
            gone.insert(name);
        }
    }
    Ok(gone)
}

fn kept(scope: &OrgScope, locked: &Locked) -> Vec<Kept> {
    let until = match (locked.legal_hold, locked.until_ms) {
        (true, _) => "a legal hold, until somebody lifts it".to_owned(),
        (false, Some(ms)) => format!("object lock, until {ms} (milliseconds since 1970 UTC)"),
        (false, None) => "object lock".to_owned(),
    };
    let mut out = vec![Kept {
        what: format!("bucket {} with {} versions, {} bytes", scope.bucket(), locked.versions, locked.bytes),
        why: until,
    }];
    out.extend(locked.named.iter().map(|n| Kept { what: n.clone(), why: "locked".into() }));
    out.push(Kept {
        what: format!("key {}", scope.key_alias()),
        why: "what is locked is encrypted with it; its role is gone: an administrator who has to read it gives \
              himself access in the policies of bucket and key"
            .into(),
    });
    out
}

async fn delete_stack(deps: &Deps, stack: &str) -> Result<(), Fault> {
    let mut asked = false;
    loop {
        match deps.stacks.describe(stack).await?.map(|s| s.status) {
            None => return Ok(()),
            Some(s) if s == "DELETE_FAILED" && asked => {
                return Err(Fault::new(FaultCode::StackFailed, format!("stack {stack} is {s}")));
            }
            Some(s) if s.ends_with("_IN_PROGRESS") => {}
            Some(_) if asked => {}
            Some(_) => {
                deps.stacks.delete(stack).await?;
                asked = true;
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn delete_bucket(deps: &Deps, scope: &OrgScope, storage: Storage) -> Result<(), Fault> {
    for _ in 1..BUCKET_LOOKS {
        match deps.removal.bucket(scope, storage).await {
            Ok(_) => return Ok(()),
            Err(f) => tracing::warn!(fault = %f, "the bucket is not deleted yet"),
        }
        tokio::time::sleep(POLL).await;
    }
    deps.removal.bucket(scope, storage).await.map(drop)
}

async fn record(deps: &Deps, certificate: &DeletionCertificate) -> Result<(), Fault> {
    let body = serde_json::to_string(certificate)
        .map_err(|_| Fault::new(FaultCode::BugInvariant, "a certificate cannot be written"))?;
    let message = Outgoing { body, dedup_id: certificate.id.clone(), group_id: certificate.organization.to_string() };
    deps.audit_queue.send_one(message).await
}

#[cfg(test)]
#[path = "deletion_tests.rs"]
mod tests;
