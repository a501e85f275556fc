//! The contracts of canaries.

// The macro wants bodies that are never run, and makes constants that it does not document.
#![allow(clippy::unimplemented, missing_docs)]

use leadline_domain::{OrgId, ShareId};
use serde::{Deserialize, Serialize};
use temporalio_common::ActivityError;
use temporalio_macros::activity_definitions;

/// Which canaries to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryInput {
    /// Organization.
    pub org: OrgId,
    /// Its shares.
    pub shares: Vec<CanaryShare>,
    /// Its other ways in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ways: Vec<CanaryWay>,
}

/// A way in besides the shares to send canaries through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryWay {
    /// Path, as evidence names it.
    pub path: String,
    /// Task queue of the workers that reach the gateway.
    pub task_queue: String,
    /// Formats, as `leadline synth` names them.
    pub formats: Vec<String>,
}

/// One canary by such a way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanarySending {
    /// Organization.
    pub org: OrgId,
    /// Path, as evidence names it.
    pub path: String,
    /// Format.
    pub format: String,
    /// Makes the recording one that was never there before, and the same in a repeat of this step.
    pub run: String,
}

/// A share to send canaries through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryShare {
    /// Share.
    pub share: ShareId,
    /// Task queue of the workers that reach it.
    pub task_queue: String,
    /// Formats, as `leadline synth` names them.
    pub formats: Vec<String>,
}

/// One canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryShot {
    /// Organization.
    pub org: OrgId,
    /// Share.
    pub share: ShareId,
    /// Format.
    pub format: String,
    /// Makes the recording one that was never there before, and the same in a repeat of this step.
    pub run: String,
}

/// Canaries.
pub struct Canaries;

#[activity_definitions]
impl Canaries {
    /// Writes a made-up recording as a device would and follows it to its outcome. `None` if it was delivered; else why
    /// not, in a sentence.
    #[activity(name = "pass_canary")]
    pub fn pass_canary(_: CanaryShot) -> Result<Option<String>, ActivityError> {
        unimplemented!()
    }
    /// Sends a made-up recording as the organization's own systems do and follows it to its outcome. `None` if it was
    /// delivered; else why not, in a sentence.
    #[activity(name = "send_canary")]
    pub fn send_canary(_: CanarySending) -> Result<Option<String>, ActivityError> {
        unimplemented!()
    }
}

pub(super) mod definitions {
    pub use super::canaries::*;
}
