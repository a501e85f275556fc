//! Pointers to web servers, over hyper, one connection each: they are rare, and no connection outlives its allowance.

use super::{Pointers, refused, too_long};
use crate::tls;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::header::{HOST, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use leadline_domain::{Fault, FaultCode, OrgId};
use leadline_ehr::hl7::Pointer;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::ServerName;

/// Redirects in a row.
const REDIRECTS: usize = 3;

/// Who chose a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// An operator, by a list: this machine is meant where it is written.
    Listed,
    /// Somebody else, who must not lead the gateway to this machine, however it is written.
    Told,
}

/// Fetches over https, and over http from loopback addresses.
#[derive(Clone)]
pub struct Web {
    tls: TlsConnector,
    timeout: Duration,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

fn unreachable(why: impl std::fmt::Display) -> Fault {
    Fault::new(FaultCode::PointerUnreachable, why.to_string())
}

impl Web {
    /// With the roots of the machine, and a time that one document may take in all.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self::trusting(tls::system_roots(), timeout)
    }

    /// With other roots.
    #[must_use]
    pub fn trusting(roots: RootCertStore, timeout: Duration) -> Self {
        let config = tls::client(roots).with_no_client_auth();
        Self { tls: TlsConnector::from(Arc::new(config)), timeout }
    }

    /// How long one document may take.
    pub(crate) fn patience(&self) -> Duration {
        self.timeout
    }

    /// Sends one request on a connection of its own. The caller has allowed the address.
    pub(crate) async fn send(
        &self,
        to: &Pointer,
        chosen: Chosen,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Fault> {
        let Pointer::Web { tls, host, port, .. } = to else { return Err(refused("it is no address")) };
        let (tls, port) = (*tls, *port);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let listed = chosen == Chosen::Listed && (bare.parse::<IpAddr>().is_ok() || bare == "localhost");
        let addresses =
            tokio::net::lookup_host((bare, port)).await.map_err(|_| unreachable("its host has no address"))?;
        let addresses: Vec<SocketAddr> = addresses.filter(|a| listed || ordinary(a.ip())).collect();
        if addresses.is_empty() {
            return Err(refused("its host has an address of this machine or link only"));
        }
        let tcp = TcpStream::connect(&addresses[..]).await.map_err(|e| unreachable(e.kind()))?;
        let stream: Box<dyn Stream> = if tls {
            let name = ServerName::try_from(bare.to_owned()).map_err(|_| refused("its host has no usable name"))?;
            Box::new(self.tls.connect(name, tcp).await.map_err(|e| unreachable(format!("TLS: {}", e.kind())))?)
        } else {
            Box::new(tcp)
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| unreachable("no HTTP"))?;
        tokio::spawn(connection);
        // The port is not named where it is the usual one (RFC 9110 section 7.2): some servers compare.
        let usual = port == if tls { 443 } else { 80 };
        let named = if usual { host.clone() } else { format!("{host}:{port}") };
        let named = HeaderValue::from_str(&named).map_err(|_| refused("its host has no usable name"))?;
        request.headers_mut().insert(HOST, named);
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("leadline"));
        sender.send_request(request).await.map_err(|_| unreachable("the connection was lost"))
    }
}

/// Not this machine, this link, or nobody in particular: a name on the list may lead to a private network, but a name is
/// no proof against being led to the machine's own services.
fn ordinary(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            !(v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast())
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => ordinary(IpAddr::V4(v4)),
            None => !(v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast()),
        },
    }
}

/// Where a redirect leads: held against the list as the pointer was.
fn redirected(from: &Pointer, location: &str, hosts: &BTreeSet<String>) -> Result<Pointer, Fault> {
    match from {
        Pointer::Web { tls, host, port, .. } if location.starts_with('/') && !location.starts_with("//") => {
            Ok(Pointer::Web { tls: *tls, host: host.clone(), port: *port, path: location.to_owned() })
        }
        Pointer::Web { tls, .. } => match Pointer::read(location, hosts)? {
            Pointer::Web { tls: false, .. } if *tls => Err(refused("a redirect leads away from https")),
            to @ Pointer::Web { .. } => Ok(to),
            Pointer::File { .. } => Err(refused("a redirect leads to a share")),
        },
        Pointer::File { .. } => Err(refused("it is no address")),
    }
}

/// The body of an answer, if it is not longer, and if there is no silence in it that is.
pub(crate) async fn body(mut response: Response<Incoming>, limit: usize, silence: Duration) -> Result<Bytes, Fault> {
    let mut content = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(silence, response.body_mut().frame()).await;
        let Some(frame) = frame.map_err(|_| unreachable("nothing came for too long"))? else { break };
        let frame = frame.map_err(|_| unreachable("the connection was lost"))?;
        if let Some(data) = frame.data_ref() {
            if content.len() + data.len() > limit {
                return Err(too_long());
            }
            content.extend_from_slice(data);
        }
    }
    Ok(content.freeze())
}

#[async_trait]
impl Pointers for Web {
    async fn fetch(
        &self,
        _org: &OrgId,
        pointer: &Pointer,
        hosts: &BTreeSet<String>,
        limit: usize,
    ) -> Result<Bytes, Fault> {
        let work = async {
            let mut at = pointer.clone();
            for _ in 0..=REDIRECTS {
                let Pointer::Web { path, .. } = &at else { return Err(refused("it is no address")) };
                let request = Request::get(path).body(Full::default());
                let request = request.map_err(|_| refused("its path is not one of a request"))?;
                let response = self.send(&at, Chosen::Listed, request).await?;
                match response.status().as_u16() {
                    200 => return body(response, limit, self.timeout).await,
                    301 | 302 | 303 | 307 | 308 => {
                        let location = response.headers().get(LOCATION).and_then(|l| l.to_str().ok());
                        at = redirected(&at, location.unwrap_or_default(), hosts)?;
                    }
                    // Not there yet, and whatever passes: the sender is to send again.
                    status => return Err(unreachable(format!("HTTP status {status}"))),
                }
            }
            Err(refused("it leads through too many redirects"))
        };
        tokio::time::timeout(self.timeout, work).await.unwrap_or_else(|_| Err(unreachable("it took too long")))
    }
}

#[cfg(test)]
mod tests;
