//! An HTTP client for loopback that keeps its connections: what is measured is the server.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// See the module. A clone shares the connections.
#[derive(Clone)]
pub(super) struct Http(Client<HttpConnector, Full<Bytes>>);

impl Http {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }

    /// Sends a request; the body of its answer, which has to be a good one.
    pub(super) async fn ask(&self, method: Method, url: &str, headers: &[(&str, &str)], body: Bytes) -> Bytes {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).expect("a request");
        let answer = self.0.request(request).await.expect("an answer");
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("the whole answer").to_bytes();
        assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
        body
    }

    /// Sends a file to where a permission says, just as it says. `headers`: a JSON object.
    pub(super) async fn put(&self, url: &str, headers: &Value, body: Bytes) {
        let all = headers.as_object().into_iter().flatten();
        let headers: Vec<(&str, &str)> = all.filter_map(|(n, v)| Some((n.as_str(), v.as_str()?))).collect();
        self.ask(Method::PUT, url, &headers, body).await;
    }
}
