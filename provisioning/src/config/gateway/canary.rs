//! How canaries come in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How canaries come in besides the shares, as an organization's own systems do. Without this table they come by shares
/// only, and nobody is promoted from here whose file opens another way in. HTTP is where `gateway.http.public_url` says,
/// with a token of the issuer there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Canary {
    /// Beginning of the names of the secrets that hold what canaries come with: `<this>/<org>` for each organization;
    /// `leadline/<env>/canary` if not set. `leadline canary ORG --credentials FILE` fills them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_secret: Option<String>,
    /// Scope to ask the issuer for, where it gives no token without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// `host:port` where HL7 v2 is sent to with TLS. Not needed for an organization of `gateway.mllp.plain`, nor where the
    /// gateway listens on a loopback address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[A-Za-z0-9.:\\[\\]-]+:[0-9]{1,5}$"))]
    pub mllp: Option<String>,
    /// `host:port` where DICOM is sent to. Not needed where the gateway listens on a loopback address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[A-Za-z0-9.:\\[\\]-]+:[0-9]{1,5}$"))]
    pub dicom: Option<String>,
    /// File with the root certificates to trust instead of the system's, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
}
