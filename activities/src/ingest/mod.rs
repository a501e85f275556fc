//! The steps of a file's lifecycle. Each is idempotent: it may run again after a crash, with what it did already done.

// The activities macro makes constants that it does not document.
#![allow(missing_docs)]

mod archive;
mod examine;
mod identity;
mod send;
mod set;
mod store;
mod store_large;

use crate::deps::Deps;
use crate::faults::ended;
use crate::heartbeat::{beating, until_cancelled};
use crate::provision::now_ms;
use leadline_domain::lifecycle::{ArchiveState, Examination, StoreOutcome, staged_gone};
use leadline_domain::{Fault, FaultCode, Ingress, LedgerEntry, VersionKey};
use leadline_workflows::contracts::{
    AddUpInput, AddedUp, ArchiveInput, ClaimInput, ConcludeInput, Concluded, EnqueueInput, FileRef, JudgeMember,
    Judgement, PerItem, SetClaim, StoreInput, definitions,
};
use std::sync::Arc;
use std::time::Duration;
use temporalio_sdk::activities::{ActivityContext, ActivityError, activities};

/// How long a small file may take: less than its step, whose end drops nothing.
const SHORT: Duration = Duration::from_secs(45);

/// Implements `leadline_workflows::contracts::Ingest`.
pub struct IngestActivities {
    deps: Arc<Deps>,
}

impl IngestActivities {
    /// Works with these parts.
    #[must_use]
    pub fn new(deps: Arc<Deps>) -> Self {
        Self { deps }
    }
}

#[activities]
impl IngestActivities {
    /// See the contract.
    #[activity(definition = definitions::Examine)]
    pub async fn examine(self: Arc<Self>, _ctx: ActivityContext, file: FileRef) -> Result<Examination, ActivityError> {
        let r = examine::examine(&self.deps, &file).await;
        let r = r.and_then(|e| unless_lost(&file, e == Examination::Gone, e));
        ended("examine", self.watch_logon(&file, r))
    }

    /// See the contract.
    #[activity(definition = definitions::Store)]
    pub async fn store(
        self: Arc<Self>,
        _ctx: ActivityContext,
        input: StoreInput,
    ) -> Result<StoreOutcome, ActivityError> {
        // Nobody waits for it any longer than that, and what went on would claim what nobody knows of.
        let r = match tokio::time::timeout(SHORT, store::store(&self.deps, &input)).await {
            Ok(r) => r.and_then(|o| leaving(&input, o)),
            Err(_) => Err(Fault::new(FaultCode::StoreTimeout, "the file was not stored within 45 s")),
        };
        ended("store", self.watch_logon(&input.file, r))
    }

    /// See the contract.
    #[activity(definition = definitions::StoreLarge)]
    pub async fn store_large(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: StoreInput,
    ) -> Result<StoreOutcome, ActivityError> {
        // The store's own copy at the end sends nothing that would tell of progress, and takes longer than a heartbeat may.
        let r = until_cancelled(&ctx, store_large::store_large(&self.deps, &ctx, &input)).await?;
        ended("store_large", self.watch_logon(&input.file, r.and_then(|o| leaving(&input, o))))
    }

    /// See the contract.
    #[activity(definition = definitions::JudgeSet)]
    pub async fn judge_set(
        self: Arc<Self>,
        _ctx: ActivityContext,
        members: Vec<JudgeMember>,
    ) -> Result<Judgement, ActivityError> {
        let r = set::judge(&self.deps, &members).await;
        let r = match members.first() {
            Some(m) => self.watch_logon(&m.file, r),
            None => r,
        };
        ended("judge_set", r)
    }

    /// See the contract.
    #[activity(definition = definitions::AddUp)]
    pub async fn add_up(self: Arc<Self>, ctx: ActivityContext, input: AddUpInput) -> Result<AddedUp, ActivityError> {
        let r = beating(&ctx, set::add_up(&self.deps, &input)).await;
        ended("add_up", self.watch_logon(&input.file, r))
    }

    /// See the contract.
    #[activity(definition = definitions::ClaimSet)]
    pub async fn claim_set(
        self: Arc<Self>,
        _ctx: ActivityContext,
        input: ClaimInput,
    ) -> Result<SetClaim, ActivityError> {
        ended("claim_set", set::claim(&self.deps, &input).await)
    }

    /// See the contract.
    #[activity(definition = definitions::Enqueue)]
    pub async fn enqueue(
        self: Arc<Self>,
        _ctx: ActivityContext,
        input: EnqueueInput,
    ) -> Result<PerItem, ActivityError> {
        ended("enqueue", send::enqueue(&self.deps, &input).await)
    }

    /// See the contract.
    #[activity(definition = definitions::Archive)]
    pub async fn archive(
        self: Arc<Self>,
        _ctx: ActivityContext,
        input: ArchiveInput,
    ) -> Result<ArchiveState, ActivityError> {
        let r = archive::archive(&self.deps, &input).await;
        ended("archive", self.watch_logon(&input.file, r))
    }

    /// See the contract.
    #[activity(definition = definitions::Conclude)]
    pub async fn conclude(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: ConcludeInput,
    ) -> Result<Concluded, ActivityError> {
        let file = input.archive.file.clone();
        let r = beating(&ctx, conclude(&self.deps, input)).await;
        ended("conclude", self.watch_logon(&file, r))
    }

    /// See the contract.
    #[activity(definition = definitions::Record)]
    pub async fn record(
        self: Arc<Self>,
        _ctx: ActivityContext,
        entries: Vec<LedgerEntry>,
    ) -> Result<PerItem, ActivityError> {
        ended("record", send::record(&self.deps, &entries).await)
    }
}

impl IngestActivities {
    /// A refused logon may mean rotated credentials: the next attempt reads them anew.
    fn watch_logon<T>(&self, file: &FileRef, r: Result<T, Fault>) -> Result<T, Fault> {
        if let Err(f) = &r
            && f.code == FaultCode::ShareLogonRefused
        {
            self.deps.shares.forget(&file.org, &file.share);
        }
        r
    }
}

async fn conclude(deps: &Deps, input: ConcludeInput) -> Result<Concluded, Fault> {
    let archive = archive::archive(deps, &input.archive).await?;
    let entry = input.entry.archived(archive, now_ms());
    // The copy is dealt with: what is left to do is told, and not a failure of this.
    let recorded = matches!(send::record(deps, &[entry]).await.as_deref(), Ok([None]));
    Ok(Concluded { archive, recorded })
}

/// What the workflow gets to know. By what a recording is compared only the step that claims a set still needs.
fn leaving(input: &StoreInput, outcome: StoreOutcome) -> Result<StoreOutcome, Fault> {
    let outcome = unless_lost(&input.file, outcome == StoreOutcome::Gone, outcome)?;
    Ok(if store::in_set(input) { outcome } else { outcome.without_marks() })
}

/// What was received and is gone is counted and logged as the fault that it is for the lifecycle.
fn unless_lost<T>(file: &FileRef, gone: bool, found: T) -> Result<T, Fault> {
    match Ingress::of_share(&file.share) {
        Ingress::Smb => Ok(found),
        _ if gone => Err(staged_gone()),
        _ => Ok(found),
    }
}

pub(crate) fn version_key(f: &FileRef) -> VersionKey {
    f.fingerprint.version_key(&f.org, &f.share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use leadline_domain::{Fingerprint, OrgId, ShareId, StagedName, intake};

    #[test]
    fn only_what_was_received_is_lost_when_it_is_gone() {
        for way in [Ingress::Smb, Ingress::Web, Ingress::Hl7v2, Ingress::Fhir, Ingress::Dicom] {
            let fingerprint: Fingerprint = intake::received_as(&StagedName::derived(Ingress::Web, &["x"]));
            let share = way.share().unwrap_or_else(|| ShareId::parse("ward").unwrap());
            let file = FileRef { org: OrgId::parse("st-mary").unwrap(), share, fingerprint, small_bytes: 1 };
            assert_eq!(unless_lost(&file, false, 7), Ok(7));
            let gone = unless_lost(&file, true, 7).map_err(|f| f.code);
            assert_eq!(gone, if way == Ingress::Smb { Ok(7) } else { Err(FaultCode::StoreStagedGone) });
        }
    }
}
