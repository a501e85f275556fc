//! The ways in besides the shares, as a sender finds them: where it has to go and what it has to come with.

use crate::staged::Ingress;
use std::collections::{BTreeMap, BTreeSet};

/// One way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IngressEndpoint {
    /// Uploads: permission, PUT, completion.
    Web {
        /// Address of the gateway.
        url: String,
    },
    /// HL7 v2 over MLLP.
    Hl7v2 {
        /// `host:port`.
        address: String,
        /// With TLS and a client's certificate.
        tls: bool,
        /// Processing id (MSH-11) that is taken.
        processing_id: String,
    },
    /// FHIR creates.
    Fhir {
        /// Address of the gateway.
        url: String,
    },
    /// DICOM over HTTP: STOW-RS.
    Stow {
        /// Address of the gateway.
        url: String,
    },
    /// DICOM: C-STORE.
    Store {
        /// `host:port`.
        address: String,
        /// With TLS and a client's certificate.
        tls: bool,
        /// The AE title to call.
        called: String,
        /// The AE titles that callers may have; empty: any.
        calling: BTreeSet<String>,
        /// The same for each certificate, by SHA-256 (DER) in hexadecimal; empty: any of the above.
        certificates: BTreeMap<String, BTreeSet<String>>,
    },
}

impl IngressEndpoint {
    /// The way in that recordings are listed under.
    #[must_use]
    pub fn ingress(&self) -> Ingress {
        match self {
            Self::Web { .. } => Ingress::Web,
            Self::Hl7v2 { .. } => Ingress::Hl7v2,
            Self::Fhir { .. } => Ingress::Fhir,
            Self::Stow { .. } | Self::Store { .. } => Ingress::Dicom,
        }
    }
}

/// An organization's ways in, and what canaries come with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IngressEndpoints {
    /// Those that its file opens, by the path that evidence names (`web`, `hl7v2`, `fhir`, `dicom/stow`,
    /// `dicom/c-store`): where it is, or why nothing can be sent there, with what to do.
    pub open: BTreeMap<String, Result<IngressEndpoint, String>>,
    /// Name of the secret with what canaries of the organization come with.
    pub credentials: String,
    /// The issuer of tokens.
    pub issuer: String,
    /// Scope that a token is asked for with.
    pub scope: Option<String>,
    /// File with the roots of the gateway's certificates instead of the system's, PEM.
    pub ca_file: Option<String>,
}

impl IngressEndpoints {
    /// What cannot be tried, and why.
    #[must_use]
    pub fn untried(&self) -> BTreeMap<String, String> {
        self.open.iter().filter_map(|(path, d)| Some((path.clone(), d.as_ref().err()?.clone()))).collect()
    }
}
