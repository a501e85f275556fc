//! What becomes of an organization that leaves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of an organization that leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Offboarding {
    /// How long everything is held after the last recording was delivered, days. 0 only where no patients' recordings
    /// are.
    #[schemars(range(min = 0, max = 36_500))]
    pub retention_days: u32,
}

impl Default for Offboarding {
    fn default() -> Self {
        Self { retention_days: 30 }
    }
}
