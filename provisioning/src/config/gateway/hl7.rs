//! HL7 v2 over MLLP.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Where the gateway accepts HL7 v2 over MLLP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MllpListener {
    /// `address:port` with TLS; the client's certificate says which organization it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[^\\s]+:[0-9]{1,5}$"))]
    pub listen: Option<String>,
    /// Files of the server's certificate and key, and of the roots of clients' certificates, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<MllpTls>,
    /// `address:port` without TLS, by organization: loopback addresses only.
    #[serde(default)]
    pub plain: BTreeMap<leadline_domain::OrgId, String>,
    /// Longest message, bytes.
    #[serde(default = "max_message_bytes")]
    #[schemars(range(min = 1_024, max = 268_435_456))]
    pub max_message_bytes: u64,
    /// Connections at a time, of all organizations.
    #[serde(default = "max_connections")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_connections: u32,
    /// Connections at a time of one organization.
    #[serde(default = "max_connections_per_organization")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_connections_per_organization: u32,
    /// A sender that is silent in the middle of a message for so long is disconnected, seconds.
    #[serde(default = "idle_s")]
    #[schemars(range(min = 1, max = 3_600))]
    pub idle_s: u32,
}

/// Files of TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MllpTls {
    /// The server's certificate with those that lead to its root.
    pub certificate_file: String,
    /// Its key.
    pub key_file: String,
    /// Roots of clients' certificates.
    pub client_ca_file: String,
}

/// HL7 v2 from an organization's systems.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OrgHl7 {
    /// SHA-256 of the certificates (DER) its senders come with, hexadecimal.
    #[schemars(inner(regex(pattern = "^[0-9a-f]{64}$")))]
    pub client_certificates: BTreeSet<String>,
    /// Hosts that a pointer (OBX type RP) may name, over https; http for a loopback address only.
    pub pointer_hosts: BTreeSet<String>,
    /// Processing ids (MSH-11) that are taken: `P` production, `T` training, `D` debugging.
    #[schemars(inner(regex(pattern = "^[PTD]$")))]
    pub processing_ids: BTreeSet<String>,
}

impl Default for OrgHl7 {
    fn default() -> Self {
        Self {
            client_certificates: BTreeSet::new(),
            pointer_hosts: BTreeSet::new(),
            processing_ids: BTreeSet::from(["P".to_owned()]),
        }
    }
}

fn max_message_bytes() -> u64 {
    64 << 20
}
fn max_connections() -> u32 {
    256
}
fn max_connections_per_organization() -> u32 {
    64
}
fn idle_s() -> u32 {
    30
}
