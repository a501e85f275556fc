//! What canaries of an organization come with: as a client at the issuer, and with a certificate.

use super::No;
use crate::tls::{client, system_roots};
use leadline_activities::secret::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// As the secret has it. What a way in does not ask for may be absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Client id at the issuer of tokens, and its secret.
    pub client: Option<(String, Secret)>,
    /// Certificate with those that lead to its root, and its key; PEM.
    pub certificate: Option<(String, Secret)>,
}

/// The form of the secret's text, and of the file that it is made from.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Text {
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl Credentials {
    /// Reads the text of the secret (JSON). `None` if it holds nothing of use.
    #[must_use]
    pub fn read(text: &Secret) -> Option<Self> {
        let t: Text = serde_json::from_str(text.expose()).ok()?;
        let read = Self {
            client: t.client_id.zip(t.client_secret.map(Secret::new)),
            certificate: t.certificate.zip(t.key.map(Secret::new)),
        };
        (read.client.is_some() || read.certificate.is_some()).then_some(read)
    }

    /// The text of the secret.
    #[must_use]
    pub fn text(&self) -> Secret {
        let (client_id, client_secret) = self.client.clone().unzip();
        let (certificate, key) = self.certificate.clone().unzip();
        let plain = |s: Option<Secret>| s.map(|s| s.expose().to_owned());
        let text = Text { client_id, client_secret: plain(client_secret), certificate, key: plain(key) };
        // Texts have no way to fail.
        Secret::new(serde_json::to_string(&text).unwrap_or_default())
    }

    /// SHA-256 of the certificate (DER), as organizations' files have it.
    pub(super) fn digest(&self) -> Option<String> {
        let (pem, _) = self.certificate.as_ref()?;
        let first = CertificateDer::pem_slice_iter(pem.as_bytes()).next()?.ok()?;
        Some(hex::encode(Sha256::digest(first)))
    }
}

/// Certificates to trust: those of a file, or the system's.
fn roots(ca_file: Option<&str>) -> Result<RootCertStore, No> {
    let Some(file) = ca_file else { return Ok(system_roots()) };
    let bad = |e: String| No::Refused(format!("gateway.canary.ca_file cannot be read here: {e}"));
    let mut roots = RootCertStore::empty();
    for c in CertificateDer::pem_file_iter(Path::new(file)).map_err(|e| bad(e.to_string()))? {
        roots.add(c.map_err(|e| bad(e.to_string()))?).map_err(|e| bad(e.to_string()))?;
    }
    Ok(roots)
}

/// How TLS is spoken; with a certificate of our own if there is one.
pub(super) fn tls(ca_file: Option<&str>, own: Option<&Credentials>) -> Result<ClientConfig, No> {
    let bad = |why: String| No::Refused(format!("the certificate in the secret cannot be used: {why}"));
    let builder = client(roots(ca_file)?);
    let Some(own) = own else { return Ok(builder.with_no_client_auth()) };
    let missing = || No::Refused("the secret holds no certificate and key, and the way in asks for them".into());
    let (pem, key) = own.certificate.as_ref().ok_or_else(missing)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|_| bad("its key is no PEM".into()))?;
    builder.with_client_auth_cert(chain.map_err(|e| bad(e.to_string()))?, key).map_err(|e| bad(e.to_string()))
}

/// A connection to `host:port`.
pub(super) async fn connect(address: &str) -> Result<TcpStream, No> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|e| No::Unanswered(format!("{address} does not answer: {}", e.kind())))?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// The same with TLS and our certificate.
pub(super) async fn connect_tls(
    address: &str,
    own: &Credentials,
    ca_file: Option<&str>,
) -> Result<TlsStream<TcpStream>, No> {
    let host = address.rsplit_once(':').map_or(address, |(h, _)| h).trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(|_| No::Refused(format!("{address} is no host and port")))?;
    let connector = TlsConnector::from(Arc::new(tls(ca_file, Some(own))?));
    let stream = connector.connect(name, connect(address).await?).await;
    stream.map_err(|e| No::Refused(format!("no TLS with {address}: {e}")))
}
