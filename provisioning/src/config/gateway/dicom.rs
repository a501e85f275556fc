//! DICOM C-STORE.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Where the gateway accepts DICOM associations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DicomListener {
    /// `address:port`.
    #[schemars(regex(pattern = "^[^\\s]+:[0-9]{1,5}$"))]
    pub listen: String,
    /// Files of the server's certificate and key, and of the roots of clients' certificates, PEM. Without it there is no
    /// TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<DicomTls>,
    /// Associations at a time, of all organizations.
    #[serde(default = "max_associations")]
    #[schemars(range(min = 1, max = 1_000))]
    pub max_associations: u32,
    /// A peer that is silent for so long is disconnected, seconds.
    #[serde(default = "idle_s")]
    #[schemars(range(min = 1, max = 3_600))]
    pub idle_s: u32,
    /// Longest object, bytes.
    #[serde(default = "max_object_bytes")]
    #[schemars(range(min = 1_024, max = 1_073_741_824))]
    pub max_object_bytes: u64,
}

/// Files of TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DicomTls {
    /// The server's certificate with those that lead to its root.
    pub certificate_file: String,
    /// Its key.
    pub key_file: String,
    /// Roots of clients' certificates.
    pub client_ca_file: String,
}

/// DICOM from an organization's devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrgDicom {
    /// The AE title that its devices call; unlike that of every other organization (PS3.5 6.2: 16 characters).
    #[schemars(regex(pattern = "^[A-Z0-9_-]{1,16}$"))]
    pub called_ae_title: String,
    /// The AE titles its devices have. Empty: any.
    #[serde(default)]
    #[schemars(inner(regex(pattern = "^[ -\\[\\]-~]{1,16}$")))]
    pub calling_ae_titles: BTreeSet<String>,
    /// Certificates its devices come with, as SHA-256 (DER) in lower-case hexadecimal, and the AE titles that each may
    /// have; none: any of the above. If there is one, no connection without one of them is taken.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<leadline_domain::Digest, BTreeSet<String>>")]
    pub client_certificates: BTreeMap<String, BTreeSet<String>>,
}

fn max_associations() -> u32 {
    32
}
fn idle_s() -> u32 {
    30
}
fn max_object_bytes() -> u64 {
    256 << 20
}
