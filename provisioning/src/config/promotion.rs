//! What production asks for before it accepts an organization.

use leadline_domain::EnvId;
use leadline_domain::gates::Gates;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The rules, as `environments/promotion.toml` says them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Promotion {
    /// By the environment that is promoted to.
    pub to: BTreeMap<EnvId, PromotionRule>,
}

/// The gates in front of one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromotionRule {
    /// The environment that must have passed first.
    pub from: EnvId,
    /// Canary recordings must have passed there within this time, hours.
    #[serde(default = "default_canary_h")]
    #[schemars(range(min = 1, max = 720))]
    pub canary_within_h: u32,
    /// The isolation probes there must be green, and not older than this, hours.
    #[serde(default = "default_probe_h")]
    #[schemars(range(min = 1, max = 720))]
    pub probes_within_h: u32,
    /// Recorded histories must replay without a difference.
    #[serde(default = "yes")]
    pub replay_clean: bool,
    /// How many people must approve the plan.
    #[serde(default = "default_approvals")]
    #[schemars(range(min = 1, max = 9))]
    pub approvals: u32,
    /// Whoever asks for the promotion does not count as one of them.
    #[serde(default = "yes")]
    pub four_eyes: bool,
    /// Public key of the environment `from` (`leadline env evidence-key FROM` prints it): evidence counts only if a worker
    /// there has signed it. Required in front of production; absent, it is believed as it comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub evidence_key: Option<String>,
}

impl PromotionRule {
    /// The gates it asks for.
    #[must_use]
    pub fn gates(&self) -> Gates {
        Gates {
            from: self.from.clone(),
            canary_within_h: self.canary_within_h,
            probes_within_h: self.probes_within_h,
            replay_clean: self.replay_clean,
            approvals: self.approvals,
            four_eyes: self.four_eyes,
            evidence_key: self.evidence_key.clone(),
        }
    }
}

fn default_canary_h() -> u32 {
    24
}
fn default_probe_h() -> u32 {
    24
}
fn default_approvals() -> u32 {
    1
}
fn yes() -> bool {
    true
}
