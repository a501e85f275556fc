//! TLS with client certificates. The chain is checked against the roots; which organization it is says the digest of the
//! certificate itself, so that a root that signs for several organizations gives none of them another's name.

use leadline_domain::{Fault, FaultCode, OrgId};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

/// Files of TLS, and whose certificates are whose.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The server's certificate with those that lead to its root, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Roots of clients' certificates, PEM.
    pub client_roots: PathBuf,
    /// Organizations by SHA-256 of their senders' certificates (DER).
    pub senders: BTreeMap<[u8; 32], OrgId>,
}

fn bad(what: &str, why: impl std::fmt::Display) -> Fault {
    Fault::new(FaultCode::ConfigInvalid, format!("gateway.mllp.tls: {what}: {why}"))
}

fn certificates(what: &str, file: &PathBuf) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(|e| bad(what, e))?.collect();
    all.map_err(|e| bad(what, e))
}

impl Tls {
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, Fault> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for root in certificates("client_ca_file", &self.client_roots)? {
            roots.add(root).map_err(|e| bad("client_ca_file", e))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|e| bad("client_ca_file", e))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|e| bad("key_file", e))?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| bad("versions", e))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates("certificate_file", &self.certificate)?, key)
            .map_err(|e| bad("certificate_file", e))?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
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
