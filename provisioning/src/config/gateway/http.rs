//! HTTP: uploads, FHIR, STOW-RS.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Where the gateway serves HTTP, and whose tokens it believes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpListener {
    /// `address:port`. TLS ends at the load balancer in front of it.
    #[schemars(regex(pattern = "^[^\\s]+:[0-9]{1,5}$"))]
    pub listen: String,
    /// What browsers and systems call it, e.g. `https://ecg.example.org`. Plain http for a loopback address only.
    #[schemars(regex(pattern = "^https?://[^/\\s]+$"))]
    pub public_url: String,
    /// Whose tokens are believed.
    pub oidc: Oidc,
}

/// An issuer of OpenID Connect tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// `iss` of its tokens; `/.well-known/openid-configuration` below it says where its keys are. Plain http for a
    /// loopback address only.
    #[schemars(regex(pattern = "^https?://[^\\s]+$"))]
    pub issuer: String,
    /// What `aud` of a token must hold.
    pub audience: String,
    /// The claim that names the organization, by its id.
    #[serde(default = "organization_claim")]
    pub organization_claim: String,
    /// Client id of the upload page at the issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_client_id: Option<String>,
}

/// Uploads by an organization's people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OrgUploads {
    /// Origins of other pages that may upload with Uppy, e.g. `https://intranet.example.org`.
    #[schemars(inner(regex(pattern = "^https?://[^/\\s]+$")))]
    pub origins: BTreeSet<String>,
}

fn organization_claim() -> String {
    "org".into()
}
