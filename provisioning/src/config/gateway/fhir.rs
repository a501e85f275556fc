//! FHIR R4.

use leadline_domain::ShareId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// FHIR from an organization's systems, and pulls from its EHR.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OrgFhir {
    /// Base address of the EHR's FHIR server, for pulls after notifications.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^https?://[^\\s]+$"))]
    pub base_url: Option<String>,
    /// Client id at the EHR (SMART backend services). Its key is in the secret `leadline/<env>/<org>/share/fhir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// `kid` of that key, as registered at the EHR.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
}

/// The name under which the key for an organization's EHR is kept, as if it were a share's; no share is called so.
#[must_use]
pub fn ehr_key_name() -> Option<ShareId> {
    ShareId::parse("fhir").ok()
}
