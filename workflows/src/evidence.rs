//! CollectEvidence: what an environment can show of an organization that is to be promoted, collected and signed by a
//! worker of that environment. Whoever asks for the promotion only carries it.

// The workflow and activity macros make constants that they do not document, and want bodies that are never run.
#![allow(clippy::unimplemented, missing_docs)]

use crate::checks::{failed, prove};
use crate::options::{check, fault_of};
use crate::recording_lifecycle::now_ms;
use leadline_domain::OrgId;
use leadline_domain::gates::{Run, SignedEvidence};
use serde::{Deserialize, Serialize};
use temporalio_common::ActivityError;
use temporalio_macros::{activity_definitions, workflow, workflow_methods};
use temporalio_workflow::{WorkflowContext, WorkflowContextView, WorkflowResult};

/// Input of `collect_evidence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectInput {
    /// Organization.
    pub org: OrgId,
    /// How the isolation probe ended that was run for this.
    pub probes: Run,
}

/// Collects and signs.
pub struct Collecting;

#[activity_definitions]
impl Collecting {
    /// Collects what there is besides the probe, and signs all of it with the environment's key.
    #[activity(name = "collect_evidence")]
    pub fn collect_evidence(_: CollectInput) -> Result<SignedEvidence, ActivityError> {
        unimplemented!()
    }
}

/// The definitions themselves, for whoever implements them.
pub mod definitions {
    pub use super::collecting::*;
}

/// See the module.
#[workflow]
pub struct CollectEvidence {
    org: OrgId,
}

#[workflow_methods]
impl CollectEvidence {
    #[init]
    fn new(_ctx: &WorkflowContextView, org: OrgId) -> Self {
        Self { org }
    }

    /// Runs once.
    #[run(name = "CollectEvidence")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<SignedEvidence> {
        let org = ctx.state(|s| s.org.clone());
        let (passed, said) = match prove(ctx, &org).await {
            Ok(r) => (r.fault().is_none() && r.tried > 0, r.fault().map(|f| f.to_string())),
            Err(f) => (false, Some(f.to_string())),
        };
        let source = said.unwrap_or_else(|| format!("{} {}", ctx.workflow_id(), ctx.run_id()));
        let input = CollectInput { org, probes: Run { at_ms: now_ms(ctx), passed, source } };
        let r = ctx.execute_activity(Collecting::collect_evidence, input, check()).await;
        r.map_err(|e| failed(fault_of(&e)))
    }
}
