//! HL7 v2 over MLLP: listeners, connections, and what one sender may take from the others.
//!
//! With TLS, the client's certificate says whose connection it is. Without, each organization has a loopback address of
//! its own. A message is answered on the connection it came on, in its order.

mod connection;
mod limits;
mod tls;

pub use limits::Limits;
pub use tls::Tls;

use crate::hl7::Receiver;
use connection::Shared;
use leadline_domain::{Fault, FaultCode, OrgId};
use limits::Places;
use socket2::{SockRef, TcpKeepalive};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A connection is at rest for so long before its peer is asked whether it is still there.
const RESTING: Duration = Duration::from_secs(60);
/// And is asked again after so long. The system gives up after some (9 on Linux).
const PROBING: Duration = Duration::from_secs(15);

/// Where to listen.
#[derive(Debug, Clone, Default)]
pub struct Listen {
    /// With TLS.
    pub tls: Option<(SocketAddr, Tls)>,
    /// Without: an organization's own loopback address.
    pub plain: BTreeMap<OrgId, SocketAddr>,
}

enum Transport {
    Tls(TlsAcceptor, Arc<BTreeMap<[u8; 32], OrgId>>),
    Plain(OrgId),
}

/// Listeners that are bound, and accept nothing yet.
pub struct Server {
    listeners: Vec<(TcpListener, Transport)>,
    shared: Arc<Shared>,
}

impl Server {
    /// Binds the addresses.
    ///
    /// # Errors
    /// `config.invalid` if certificates cannot be read, an address cannot be bound, or a plain one is not loopback.
    pub async fn bind(listen: Listen, limits: Limits, receiver: Arc<Receiver>) -> Result<Self, Fault> {
        let mut listeners = Vec::new();
        if let Some((address, tls)) = listen.tls {
            let acceptor = tls.files.acceptor()?;
            listeners.push((bound(address).await?, Transport::Tls(acceptor, Arc::new(tls.senders))));
        }
        for (org, address) in listen.plain {
            if !address.ip().is_loopback() {
                let why = format!("gateway.mllp.plain of {org} is not a loopback address");
                return Err(Fault::new(FaultCode::ConfigInvalid, why));
            }
            listeners.push((bound(address).await?, Transport::Plain(org)));
        }
        Ok(Self { listeners, shared: Arc::new(Shared { receiver, places: Places::new(&limits), limits }) })
    }

    /// The addresses that are bound: the one with TLS first, then the plain ones by organization.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|(listener, _)| listener.local_addr().ok()).collect()
    }

    /// Serves until `shutdown` is done. Then no connection is accepted and none at rest is kept; messages that have
    /// begun are received and answered, for as long as [`Limits::drain`] says.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for (listener, transport) in self.listeners {
            tasks.spawn(accept(listener, transport, Arc::clone(&self.shared), stopped.clone()));
        }
        drop(stopped);
        shutdown.await;
        let _ = stop.send(true);
        let drained = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.shared.limits.drain, drained).await.is_err() {
            tracing::warn!("connections with unfinished messages were cut: their senders send again");
        }
    }
}

async fn bound(address: SocketAddr) -> Result<TcpListener, Fault> {
    let failed =
        |e: std::io::Error| Fault::new(FaultCode::ConfigInvalid, format!("listening on {address}: {}", e.kind()));
    TcpListener::bind(address).await.map_err(failed)
}

async fn accept(listener: TcpListener, transport: Transport, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: connections that end bring some back.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        // A connection may rest for days. A peer that vanished without a word must not hold its place for as long.
        let alive = TcpKeepalive::new().with_time(RESTING).with_interval(PROBING);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&alive);
        greet(stream, &transport, &shared, &stopped, &mut connections);
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

fn greet(
    stream: TcpStream,
    transport: &Transport,
    shared: &Arc<Shared>,
    stopped: &watch::Receiver<bool>,
    connections: &mut JoinSet<()>,
) {
    let (shared, stopped) = (Arc::clone(shared), stopped.clone());
    match transport {
        Transport::Plain(org) => {
            let org = org.clone();
            connections.spawn(async move { connection::hold(stream, org, shared, stopped).await });
        }
        Transport::Tls(acceptor, senders) => {
            // A stranger holds a place here for as long as a handshake may take, and none of those behind it.
            let Some(place) = shared.places.handshake() else { return };
            let (acceptor, senders) = (acceptor.clone(), Arc::clone(senders));
            connections.spawn(async move {
                let shaken = tokio::time::timeout(shared.limits.handshake, acceptor.accept(stream)).await;
                let Ok(Ok(stream)) = shaken else {
                    tracing::debug!("a TLS handshake did not succeed");
                    return;
                };
                drop(place);
                match tls::sender(&stream, &senders) {
                    Ok(org) => connection::hold(stream, org, shared, stopped).await,
                    Err(fault) => {
                        leadline_activities::metrics::METRICS.fault(fault.code);
                        tracing::warn!(code = %fault.code, detail = %fault.detail, "HL7 v2 connection refused");
                    }
                }
            });
        }
    }
}

#[cfg(test)]
mod tests;
