//! Which regions each jurisdiction allows: data, so that a new one touches no code.

use leadline_domain::Jurisdiction;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What applies where a folder has no `jurisdictions.toml` of its own.
pub const DEFAULT_JURISDICTIONS: &str = include_str!("../../../environments/jurisdictions.toml");

/// The table, as `environments/jurisdictions.toml` says it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Jurisdictions(BTreeMap<Jurisdiction, JurisdictionRule>);

/// What one jurisdiction asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JurisdictionRule {
    /// What people call it.
    pub name: String,
    /// AWS regions where bytes, metadata and history may stay: whole names, or beginnings that end in `*`
    /// (`us-east-*`).
    #[schemars(length(min = 1), inner(regex(pattern = "^[a-z]{2}-([a-z0-9-]+\\*?|\\*)$")))]
    pub regions: Vec<String>,
    /// Countries to which recordings may be delivered, ISO 3166-1 alpha-2. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = "^[A-Z]{2}$")))]
    pub countries: Vec<String>,
}

impl Jurisdictions {
    /// Whether a jurisdiction is in the table.
    #[must_use]
    pub fn knows(&self, jurisdiction: &str) -> bool {
        self.0.contains_key(jurisdiction)
    }
    /// Whether a jurisdiction allows a region. An unknown jurisdiction allows none.
    #[must_use]
    pub fn allows(&self, jurisdiction: &str, region: &str) -> bool {
        self.regions(jurisdiction).iter().any(|r| match r.strip_suffix('*') {
            Some(beginning) => region.starts_with(beginning),
            None => r == region,
        })
    }
    /// The regions of a jurisdiction, as written.
    #[must_use]
    pub fn regions(&self, jurisdiction: &str) -> &[String] {
        self.0.get(jurisdiction).map_or(&[], |r| &r.regions)
    }
    /// The countries to which a jurisdiction lets recordings be delivered.
    #[must_use]
    pub fn countries(&self, jurisdiction: &str) -> &[String] {
        self.0.get(jurisdiction).map_or(&[], |r| &r.countries)
    }
    /// The names in the table.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
