//! TLS with client certificates. The chain is checked against the roots; which organization it is says the digest of the
//! certificate itself (see [`crate::tls::peer`]).

use crate::tls::{self, TlsFiles};
use leadline_domain::{Fault, FaultCode, OrgId};
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
    let digest = tls::peer(stream).unwrap_or_default();
    let hex = hex::encode(digest);
    let unknown = || Fault::new(FaultCode::Hl7SenderUnknown, format!("no organization has certificate {hex}"));
    senders.get(&digest).cloned().ok_or_else(unknown)
}
