//! The gateway as a client: small JSON documents over HTTP(S), bounded in size and time.

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::ACCEPT;
use hyper::{Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use leadline_domain::{Fault, FaultCode};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Keys and discovery documents are a few KiB.
const LARGEST: usize = 1 << 20;
const LIMIT: Duration = Duration::from_secs(10);

/// Fetches documents.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// The JSON document at a URL.
    ///
    /// # Errors
    /// `identity.unreachable`.
    async fn json(&self, url: &str) -> Result<Value, Fault>;
}

/// Fetches over the network. `https` anywhere, with the trust of the system; `http` from loopback addresses only.
pub struct Network(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

impl Network {
    /// A client. Makes no request.
    ///
    /// # Errors
    /// `identity.unreachable` if the system has no certificates to trust.
    pub fn new() -> Result<Self, Fault> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(Arc::unwrap_or_clone(provider))
            .map_err(|e| unreachable(&format!("no certificates to trust: {:?}", e.kind())))?;
        Ok(Self(Client::builder(TokioExecutor::new()).build(tls.https_or_http().enable_http1().build())))
    }
}

/// Whether a URL may be asked: encrypted, or on this machine.
#[must_use]
pub fn safe(url: &str) -> bool {
    let Ok(u) = url.parse::<Uri>() else { return false };
    let host = u.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    match u.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|a| a.is_loopback()),
        _ => false,
    }
}

fn unreachable(why: &str) -> Fault {
    Fault::new(FaultCode::IdentityUnreachable, why.to_owned())
}

#[async_trait]
impl Fetch for Network {
    async fn json(&self, url: &str) -> Result<Value, Fault> {
        if !safe(url) {
            return Err(unreachable("a URL of the identity service is not https"));
        }
        let request = Request::get(url).header(ACCEPT, "application/json").body(Empty::new());
        let request = request.map_err(|_| unreachable("a URL of the identity service is none"))?;
        let asked = async {
            let answer = self.0.request(request).await.map_err(|_| unreachable("no connection"))?;
            // Redirects are not followed: the documents are where the standard says.
            if !answer.status().is_success() {
                return Err(unreachable(&format!("HTTP {}", answer.status().as_u16())));
            }
            let body = Limited::new(answer.into_body(), LARGEST).collect().await;
            let body = body.map_err(|_| unreachable("the answer was cut off or too long"))?.to_bytes();
            serde_json::from_slice(&body).map_err(|_| unreachable("the answer is not JSON"))
        };
        tokio::time::timeout(LIMIT, asked).await.map_err(|_| unreachable("no answer in time"))?
    }
}

#[cfg(test)]
mod tests {
    use super::safe;

    #[test]
    fn in_clear_from_this_machine_only() {
        for yes in ["https://id.example.org/x", "http://127.0.0.1:8400", "http://[::1]:1/", "http://localhost/"] {
            assert!(safe(yes), "{yes}");
        }
        for no in ["http://id.example.org", "file:///etc/passwd", "http://127.0.0.1.example.org", "/x", ""] {
            assert!(!safe(no), "{no}");
        }
    }
}
