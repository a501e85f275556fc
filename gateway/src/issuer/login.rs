//! Logging on at the local issuer: authorization code with PKCE (RFC 6749 section 4.1, RFC 7636) and client credentials
//! (RFC 6749 section 4.4).

use super::{Issuer, LIFETIME_S, random_text};
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Json, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use leadline_domain::OrgId;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// A code is good for this time (RFC 6749 section 4.1.2: ten minutes at most).
const CODE_VALID: Duration = Duration::from_secs(60);

/// What a code stands for.
pub(super) struct Grant {
    subject: String,
    org: OrgId,
    redirect: String,
    challenge: String,
    nonce: Option<String>,
    made: Instant,
}

/// Parameters of an authorization request.
#[derive(Deserialize)]
pub(super) struct Asked {
    response_type: String,
    client_id: String,
    redirect_uri: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    code_challenge: String,
    #[serde(default)]
    code_challenge_method: String,
    nonce: Option<String>,
    person: Option<String>,
}

impl Asked {
    /// A wrong client or place to return to is never redirected to (RFC 6749 section 4.1.2.1).
    fn check(&self, i: &Issuer) -> Result<(), &'static str> {
        let c = &i.0.config;
        if self.client_id != c.client_id || !c.redirects.contains(&self.redirect_uri) {
            return Err("this client, or the place it wants to return to, is not known here");
        }
        if self.response_type != "code" || self.code_challenge_method != "S256" || self.code_challenge.len() != 43 {
            return Err("only response_type=code with code_challenge_method=S256");
        }
        Ok(())
    }
}

fn escape(s: &str) -> String {
    s.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn refuse(why: &str) -> Response {
    (StatusCode::BAD_REQUEST, why.to_owned()).into_response()
}

/// Who are you? One button for each.
pub(super) async fn form(State(i): State<Issuer>, Query(a): Query<Asked>) -> Response {
    if let Err(why) = a.check(&i) {
        return refuse(why);
    }
    let mut hidden = String::new();
    for (k, v) in [
        ("response_type", &a.response_type),
        ("client_id", &a.client_id),
        ("redirect_uri", &a.redirect_uri),
        ("state", &a.state),
        ("code_challenge", &a.code_challenge),
        ("code_challenge_method", &a.code_challenge_method),
        ("nonce", a.nonce.as_ref().unwrap_or(&String::new())),
    ] {
        hidden.push_str(&format!("<input type=hidden name={k} value=\"{}\">", escape(v)));
    }
    let people: String = i.0.config.people.iter().fold(String::new(), |mut all, (name, org)| {
        let n = escape(name);
        all.push_str(&format!("<p><button name=person value=\"{n}\">{n} ({org})</button></p>"));
        all
    });
    Html(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Local login</title>\
         <h1>Local login</h1><p>For development: no password. Who are you?</p>\
         <form method=post action=/authorize>{hidden}{people}</form></html>"
    ))
    .into_response()
}

/// Someone pressed a button.
pub(super) async fn agree(State(i): State<Issuer>, Form(a): Form<Asked>) -> Response {
    if let Err(why) = a.check(&i) {
        return refuse(why);
    }
    let Some((subject, org)) = a.person.as_ref().and_then(|p| i.0.config.people.get_key_value(p)) else {
        return refuse("nobody of this name");
    };
    let code = random_text();
    let grant = Grant {
        subject: subject.clone(),
        org: org.clone(),
        redirect: a.redirect_uri.clone(),
        challenge: a.code_challenge,
        nonce: a.nonce.filter(|n| !n.is_empty()),
        made: Instant::now(),
    };
    i.0.codes.lock().unwrap_or_else(PoisonError::into_inner).insert(code.clone(), grant);
    let state: String = percent(&a.state);
    let glue = if a.redirect_uri.contains('?') { '&' } else { '?' };
    Redirect::to(&format!("{}{glue}code={code}&state={state}", a.redirect_uri)).into_response()
}

/// Everything but RFC 3986's unreserved characters is escaped.
fn percent(s: &str) -> String {
    s.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

fn error(code: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": code }))).into_response()
}

/// A code, or a system's own credentials, become a token.
pub(super) async fn token(
    State(i): State<Issuer>,
    headers: HeaderMap,
    Form(f): Form<BTreeMap<String, String>>,
) -> Response {
    let of = |k: &str| f.get(k).map(String::as_str).unwrap_or_default();
    match of("grant_type") {
        "authorization_code" => {
            // Taken out at once: a code works once (RFC 6749 section 4.1.2).
            let grant = i.0.codes.lock().unwrap_or_else(PoisonError::into_inner).remove(of("code"));
            let proof = URL_SAFE_NO_PAD.encode(Sha256::digest(of("code_verifier")));
            let fits = |g: &Grant| {
                g.made.elapsed() < CODE_VALID
                    && g.redirect == of("redirect_uri")
                    && g.challenge == proof
                    && of("client_id") == i.0.config.client_id
            };
            match grant.filter(fits) {
                Some(g) => answer(&i, &g.subject, &g.org, g.nonce.as_deref(), ""),
                None => error("invalid_grant"),
            }
        }
        "client_credentials" => {
            let basic = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
            let basic = basic.and_then(|v| v.strip_prefix("Basic ")).and_then(|v| STANDARD.decode(v).ok());
            let basic = basic.and_then(|b| String::from_utf8(b).ok());
            let (id, secret) = match basic.as_deref().and_then(|b| b.split_once(':')) {
                Some((id, secret)) => (id, secret),
                None => (of("client_id"), of("client_secret")),
            };
            match i.0.config.systems.get(id) {
                // RFC 6749 section 3.3: what was asked for is granted, for this issuer lets in whoever asks.
                Some((s, org)) if s == secret => answer(&i, id, org, None, of("scope")),
                _ => error("invalid_client"),
            }
        }
        _ => error("unsupported_grant_type"),
    }
}

fn answer(i: &Issuer, subject: &str, org: &OrgId, nonce: Option<&str>, scope: &str) -> Response {
    let other = nonce.map_or_else(|| json!({}), |n| json!({ "nonce": n, "aud": i.0.config.client_id }));
    let id = i.sign(&i.claims(subject, org, &other));
    let granted = if scope.is_empty() { json!({}) } else { json!({ "scope": scope }) };
    Json(json!({
        "access_token": i.sign(&i.claims(subject, org, &granted)),
        "id_token": id,
        "token_type": "Bearer",
        "expires_in": LIFETIME_S,
    }))
    .into_response()
}
