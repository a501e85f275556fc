//! The upload page: static files out of the binary. What it needs at run time is on this machine; nothing comes from a
//! network of other people's.

use super::extract::InPath;
use super::problem::Problem;
use super::{App, HttpConfig};
use crate::http::oidc::{Endpoints, Oidc};
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use leadline_domain::{Fault, FaultCode};
use serde_json::{Value, json};
use std::sync::Arc;

mod vendored {
    include!(concat!(env!("OUT_DIR"), "/uppy.rs"));
}

const HTML: &str = include_str!("upload.html");
const SCRIPT: &str = include_str!("upload.js");
const STYLE: &str = include_str!("upload.css");
/// Shown where the page's uploader would be.
const WITHOUT: &str = "<p role=\"alert\" class=\"problem\">This gateway was built without its uploader (Uppy). \
    Run <code>script/bootstrap</code> and build it again. Programs can upload all the same.</p>";

/// What the page is made of.
pub(super) struct Page {
    oidc: Arc<Oidc>,
    issuer: String,
    client_id: String,
    public_url: String,
    store_origins: Vec<String>,
}

impl Page {
    /// `None` if the issuer has no client for the page.
    pub(super) fn new(config: &HttpConfig, oidc: Option<Arc<Oidc>>) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            oidc: oidc?,
            issuer: config.oidc.issuer.clone(),
            client_id: config.oidc.page_client_id.clone()?,
            public_url: config.public_url.clone(),
            store_origins: config.store_origins.clone(),
        }))
    }

    async fn settings(&self) -> Result<Value, Fault> {
        let Endpoints { authorization, token } = self.oidc.endpoints().await?;
        Ok(json!({
            "authorization_endpoint": authorization,
            "token_endpoint": token,
            "client_id": self.client_id,
            "redirect_uri": format!("{}/upload", self.public_url),
            "scope": "openid",
        }))
    }

    /// What the page may load and where it may send: itself, the issuer, the stores. Nobody may frame it.
    async fn policy(&self) -> String {
        let token = self.oidc.endpoints().await.map(|e| e.token).unwrap_or_default();
        let mut connect = vec!["'self'".to_owned()];
        connect.extend([self.issuer.as_str(), &token].into_iter().filter_map(origin));
        connect.extend(self.store_origins.iter().cloned());
        connect.dedup();
        format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; \
             connect-src {}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            connect.join(" ")
        )
    }
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next().filter(|h| !h.is_empty())?;
    Some(format!("{scheme}://{host}"))
}

/// Its routes.
pub(super) fn routes(page: Arc<Page>) -> Router<App> {
    let (a, b) = (Arc::clone(&page), page);
    Router::new()
        .route("/upload", get(async move || html(&a).await))
        .route("/upload/config.json", get(async move || b.settings().await.map(Json).map_err(Problem::from)))
        .route("/upload/{file}", get(async |InPath(f): InPath<String>| file(&f)))
}

async fn html(page: &Page) -> Response {
    let text = if vendored::UPPY.is_empty() { HTML.replace("<!--without-->", WITHOUT) } else { HTML.to_owned() };
    let mut r = Html(text).into_response();
    if let Ok(v) = HeaderValue::from_str(&page.policy().await) {
        r.headers_mut().insert(header::CONTENT_SECURITY_POLICY, v);
    }
    r
}

fn file(name: &str) -> Result<Response, Problem> {
    let found: Option<(&str, &'static [u8])> = match name {
        "app.js" => Some(("text/javascript; charset=utf-8", SCRIPT.as_bytes())),
        "app.css" => Some(("text/css; charset=utf-8", STYLE.as_bytes())),
        _ => vendored::UPPY.iter().find(|(n, _)| *n == name).map(|(n, b)| {
            let kind = match n.rsplit('.').next() {
                Some("mjs") => "text/javascript; charset=utf-8",
                Some("css") => "text/css; charset=utf-8",
                _ => "text/plain; charset=utf-8",
            };
            (kind, *b)
        }),
    };
    match found {
        // Kept by the browser and asked about each time: small enough, and never an old script with a new page.
        Some((kind, bytes)) => {
            Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], bytes).into_response())
        }
        None => Err(Problem::new(FaultCode::RequestNotFound, "the page has no such file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        assert_eq!(origin("https://id.example.org/realms/x").as_deref(), Some("https://id.example.org"));
        assert_eq!(origin("http://127.0.0.1:1").as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(origin("x"), None);
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        for text in [HTML, SCRIPT, STYLE] {
            let elsewhere = text.matches("https://").count() + text.matches("http://").count();
            assert_eq!(elsewhere, 0, "the page must work without a network of other people's");
        }
    }
}
