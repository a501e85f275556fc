//! The ways in besides SMB: what the gateway of an environment listens on, and who an organization's senders are.

mod canary;
mod dicom;
mod fhir;
mod hl7;
mod http;

pub use canary::Canary;
pub use dicom::{DicomListener, DicomTls, OrgDicom};
pub use fhir::{OrgFhir, ehr_key_name};
pub use hl7::{MllpListener, MllpTls, OrgHl7};
pub use http::{HttpListener, Oidc, OrgUploads};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The gateway of an environment. What is not there is not served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// Uploads, FHIR and STOW-RS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpListener>,
    /// HL7 v2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mllp: Option<MllpListener>,
    /// DICOM C-STORE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dicom: Option<DicomListener>,
    /// How canaries come in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

/// The ways in of an organization. What is not there is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OrgGateway {
    /// Uploads by its people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uploads: Option<OrgUploads>,
    /// HL7 v2 from its systems.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hl7: Option<OrgHl7>,
    /// FHIR from its systems, and pulls from its EHR.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fhir: Option<OrgFhir>,
    /// DICOM from its devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dicom: Option<OrgDicom>,
}
