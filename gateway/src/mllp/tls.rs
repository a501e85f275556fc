//! TLS with client certificates. The chain is checked against the roots; which organization it is says the digest of the
//! certificate itself, so that a root that signs for several organizations gives none of them another's name.

use crate::tls::TlsFiles;
use leadline_domain::{Fault, FaultCode, OrgId};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Files of TLS, and whose certificates are whose.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The files.
    pub files: TlsFiles,
    /// Organizations by SHA-256 of their senders' certificates (DER).
    pub senders: BTreeMap<[u8; 32], OrgId>,
}

/// Whose connection it is.
///
/// # Errors
/// `hl7.sender_unknown`: the certificate is a good one and nobody's. Its digest is in the fault, to be configured.
pub(super) fn sender(stream: &TlsStream<TcpStream>, senders: &BTreeMap<[u8; 32], OrgId>) -> Result<OrgId, Fault> {
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let digest: [u8; 32] = chain.first().map(|c| Sha256::digest(c).into()).unwrap_or_default();
    let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    let unknown = || Fault::new(FaultCode::Hl7SenderUnknown, format!("no organization has certificate {hex}"));
    senders.get(&digest).cloned().ok_or_else(unknown)
}
