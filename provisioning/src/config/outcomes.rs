//! Reports of the processor.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is expected of the processor. Without it, reports are kept and nothing is made of their absence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutcomeReports {
    /// A report is due so long after a recording was stored, hours.
    #[schemars(range(min = 1, max = 720))]
    pub within_h: u32,
    /// Recordings stored longer ago than this are not looked at, days.
    #[serde(default = "look_back_days")]
    #[schemars(range(min = 1, max = 365))]
    pub look_back_days: u32,
}

fn look_back_days() -> u32 {
    30
}
