//! TLS of clients, and of listeners whose clients come with certificates: 1.2 and 1.3 (BCP 195; for DICOM PS3.15 B.9 and B.10).

use leadline_domain::{Fault, FaultCode};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, ConfigBuilder, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

/// Files of TLS, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate with those that lead to its root.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Roots of clients' certificates.
    pub client_roots: PathBuf,
}

fn bad(what: &str, why: impl std::fmt::Display) -> Fault {
    Fault::new(FaultCode::ConfigInvalid, format!("TLS of the gateway: {what}: {why}"))
}

fn certificates(what: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(|e| bad(what, e))?.collect();
    all.map_err(|e| bad(what, e))
}

/// The roots of this machine.
pub(crate) fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// How a client speaks TLS with servers of these roots; whether it has a certificate is still to be said.
pub(crate) fn client(roots: RootCertStore) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("aws-lc has the default versions of TLS")
        .with_root_certificates(roots)
}

/// SHA-256 of the certificate (DER) that the peer came with. Which organization it is, the certificate itself says and not
/// who signed it, so that a root that signs for several organizations gives none of them another's name.
#[must_use]
pub fn peer<S>(stream: &TlsStream<S>) -> Option<[u8; 32]> {
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    chain.first().map(|c| Sha256::digest(c).into())
}

impl TlsFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// `config.invalid` if one is missing, or not what it should be.
    pub fn acceptor(&self) -> Result<TlsAcceptor, Fault> {
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
