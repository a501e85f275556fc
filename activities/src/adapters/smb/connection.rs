//! A session with an SMB server that can encrypt.
//!
//! `smb2` 0.39.0 does not set SMB2_GLOBAL_CAP_ENCRYPTION in its NEGOTIATE, and Samba offers a cipher only if that bit is
//! set (MS-SMB2 3.3.5.4), so an encrypted share would answer ACCESS_DENIED. The bit is set on the way out here, and the
//! preauthentication hash (MS-SMB2 3.2.5.2) is made over what was really sent. To be removed when upstream sets it:
//! `tests/tests/share_contract.rs` has the encrypted share that tells.

use super::SmbConfig;
use super::errors::{Doing, fault};
use async_trait::async_trait;
use leadline_domain::{Fault, FaultCode};
use smb2::client::{Connection, Session, Tree};
use smb2::crypto::kdf::PreauthHasher;
use smb2::transport::{ConnectOptions, TcpTransport, TransportReceive, TransportSend};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Offset of Capabilities in a NEGOTIATE request: 64 bytes of header, then StructureSize, DialectCount, SecurityMode,
/// Reserved (MS-SMB2 2.2.3).
const CAPABILITIES: usize = 64 + 8;
/// SMB2_GLOBAL_CAP_ENCRYPTION (MS-SMB2 2.2.3).
const CAP_ENCRYPTION: u8 = 0x40;
const CONNECT: Duration = Duration::from_secs(5);
const SETUP: Duration = Duration::from_secs(20);

/// An authenticated session and the share on it. Clones share the connection.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) conn: Connection,
    pub(super) tree: Arc<Tree>,
}

struct Sender {
    inner: Arc<TcpTransport>,
    first: Arc<OnceLock<Vec<u8>>>,
}

struct Receiver {
    inner: Arc<TcpTransport>,
    first: Arc<OnceLock<Vec<u8>>>,
}

#[async_trait]
impl TransportSend for Sender {
    async fn send(&self, data: &[u8]) -> smb2::Result<()> {
        if self.first.get().is_some() || data.len() <= CAPABILITIES {
            return self.inner.send(data).await;
        }
        let mut sent = data.to_vec();
        sent[CAPABILITIES] |= CAP_ENCRYPTION;
        let r = self.inner.send(&sent).await;
        let _ = self.first.set(sent);
        r
    }
}

#[async_trait]
impl TransportReceive for Receiver {
    async fn receive(&self) -> smb2::Result<Vec<u8>> {
        let data = self.inner.receive().await?;
        if self.first.get().is_none() {
            let _ = self.first.set(data.clone());
        }
        Ok(data)
    }
}

/// Connects, negotiates, logs on, connects to the share; encrypted where the server asks for it.
pub(super) async fn connect(config: &SmbConfig) -> Result<Link, Fault> {
    match tokio::time::timeout(SETUP, setup(config)).await {
        Ok(r) => r,
        Err(_) => Err(Fault::new(FaultCode::ShareTimeout, "the file server did not complete the logon in time")),
    }
}

async fn setup(config: &SmbConfig) -> Result<Link, Fault> {
    let f = |e: smb2::Error| fault(Doing::Connect, &e);
    let tcp = TcpTransport::connect_with(&config.address, ConnectOptions::with_timeout(CONNECT)).await.map_err(f)?;
    let tcp = Arc::new(tcp);
    let (sent, received) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
    let sender = Sender { inner: Arc::clone(&tcp), first: Arc::clone(&sent) };
    let receiver = Receiver { inner: tcp, first: Arc::clone(&received) };
    let mut conn = Connection::from_transport(Box::new(sender), Box::new(receiver), config.host());
    conn.set_response_timeout(Some(config.response_timeout));
    conn.set_send_timeout(Some(config.response_timeout));
    conn.negotiate().await.map_err(f)?;
    if let (Some(request), Some(response)) = (sent.get(), received.get()) {
        let mut hasher = PreauthHasher::new();
        hasher.update(request);
        hasher.update(response);
        conn.with_preauth_hasher_mut(|h| *h = hasher);
    }
    let session = Session::setup(&mut conn, &config.user, config.password.expose(), &config.domain)
        .await
        .map_err(|e| fault(Doing::LogOn, &e))?;
    let tree = Tree::connect(&mut conn, &config.share).await.map_err(|e| fault(Doing::ConnectShare, &e))?;
    if (tree.encrypt_data || config.require_encryption) && !conn.should_encrypt() {
        let cipher = conn.params().and_then(|p| p.cipher);
        match (session.encryption_key.clone(), session.decryption_key.clone(), cipher) {
            (Some(enc), Some(dec), Some(cipher)) => conn.activate_encryption(enc, dec, cipher),
            _ => return Err(Fault::new(FaultCode::ShareInsecure, "encryption is required and the server offers none")),
        }
    }
    // Never an unprotected session, whatever the server would allow.
    if !session.should_sign && !conn.should_encrypt() {
        return Err(Fault::new(FaultCode::ShareInsecure, "the server neither signs nor encrypts"));
    }
    Ok(Link { conn, tree: Arc::new(tree) })
}
