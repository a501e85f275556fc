//! A session with an SMB server that can encrypt.
//!
//! `smb2` 0.39.0 does not set SMB2_GLOBAL_CAP_ENCRYPTION in its NEGOTIATE, and Samba offers a cipher only if that bit is
//! set (MS-SMB2 3.3.5.4), so an encrypted share would answer ACCESS_DENIED. The bit is set on the way out here, and the
//! preauthentication hash (MS-SMB2 3.2.5.2) is made over what was really sent. To be removed when upstream sets it:
//! `tests/tests/e2e/share_contract.rs` has the encrypted share that tells.

use super::SmbConfig;
use super::errors::{Doing, fault};
use async_trait::async_trait;
use leadline_domain::{Fault, FaultCode};
use smb2::client::{Connection, Session, Tree};
use smb2::crypto::encryption::Cipher;
use smb2::crypto::kdf::PreauthHasher;
use smb2::transport::{ConnectOptions, TcpTransport, TransportReceive, TransportSend};
use smb2::types::Dialect;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Offset of Capabilities in a NEGOTIATE request: 64 bytes of header, then StructureSize, DialectCount, SecurityMode,
/// Reserved (MS-SMB2 2.2.3).
const CAPABILITIES: usize = 64 + 8;
/// SMB2_GLOBAL_CAP_ENCRYPTION (MS-SMB2 2.2.3).
const CAP_ENCRYPTION: u8 = 0x40;
/// Longest time a TCP connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest time from the first packet to a connected share.
const SETUP: Duration = Duration::from_secs(20);

/// An authenticated session and the share on it. Clones share the connection.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) conn: Connection,
    pub(super) tree: Arc<Tree>,
    /// Longest time one request may take.
    pub(super) limit: Duration,
}

impl Link {
    /// Waits for one request. `smb2` gives a server that acknowledged a request, or that answers an ECHO, more time than
    /// its response timeout; whoever waits here wants an end.
    pub(super) async fn bounded<T>(&self, request: impl Future<Output = smb2::Result<T>>) -> smb2::Result<T> {
        tokio::time::timeout(self.limit, request).await.unwrap_or(Err(smb2::Error::Timeout))
    }

    /// Whether both are the same connection.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.tree, &other.tree)
    }
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
    let limit = SETUP.min(config.response_timeout);
    match tokio::time::timeout(limit, setup(config)).await {
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
    let params = conn.params().ok_or_else(|| Fault::new(FaultCode::ShareProtocol, "nothing was negotiated"))?;
    // Before the logon: an answer to a challenge is not given to a server that was talked down.
    if u16::from(params.dialect) < u16::from(Dialect::Smb3_1_1) {
        return Err(insecure(&format!("the server speaks no newer dialect than {}", params.dialect)));
    }
    if let (Some(request), Some(response)) = (sent.get(), received.get()) {
        let mut hasher = PreauthHasher::new();
        hasher.update(request);
        hasher.update(response);
        conn.with_preauth_hasher_mut(|h| *h = hasher);
    }
    let session = Session::setup(&mut conn, &config.user, config.password.expose(), &config.domain)
        .await
        .map_err(|e| fault(Doing::LogOn, &e))?;
    // Never an unprotected session, whatever the server would allow. `smb2` refuses an answer without the signature
    // that was agreed on.
    if !session.should_sign && !conn.should_encrypt() {
        return Err(insecure("the server neither signs nor encrypts"));
    }
    if config.require_encryption {
        encrypt(&mut conn, &session, params.cipher)?;
    }
    let tree = Tree::connect(&mut conn, &config.share).await.map_err(|e| fault(Doing::ConnectShare, &e))?;
    if tree.encrypt_data {
        encrypt(&mut conn, &session, params.cipher)?;
    }
    Ok(Link { conn, tree: Arc::new(tree), limit: config.response_timeout })
}

fn encrypt(conn: &mut Connection, session: &Session, cipher: Option<Cipher>) -> Result<(), Fault> {
    if conn.should_encrypt() {
        return Ok(());
    }
    match (session.encryption_key.clone(), session.decryption_key.clone(), cipher) {
        (Some(enc), Some(dec), Some(cipher)) => {
            conn.activate_encryption(enc, dec, cipher);
            Ok(())
        }
        _ => Err(insecure("encryption is required and the server offers none")),
    }
}

fn insecure(why: &str) -> Fault {
    Fault::new(FaultCode::ShareInsecure, why)
}
