//! Rotation steps: the proof that a share answers to new credentials.

// The activities macro makes constants that it does not document.
#![allow(missing_docs)]

use crate::deps::Deps;
use crate::faults::ended;
use leadline_workflows::rotate::{RotateInput, definitions};
use std::sync::Arc;
use temporalio_sdk::activities::{ActivityContext, ActivityError, activities};

/// Implements `leadline_workflows::rotate::Rotations`.
pub struct RotationActivities {
    deps: Arc<Deps>,
}

impl RotationActivities {
    /// Works with these parts.
    #[must_use]
    pub fn new(deps: Arc<Deps>) -> Self {
        Self { deps }
    }
}

#[activities]
impl RotationActivities {
    /// See the contract.
    #[activity(definition = definitions::ProveCredentials)]
    pub async fn prove_credentials(
        self: Arc<Self>,
        _ctx: ActivityContext,
        input: RotateInput,
    ) -> Result<(), ActivityError> {
        let r = self.deps.shares.prove(&input.org, &input.share, &input.version).await;
        ended("prove_credentials", r)
    }
}
