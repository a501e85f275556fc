//! Over HTTP: a token of the issuer, then what systems ask the gateway for.

use super::No;
use super::credentials::{Credentials, tls};
use crate::http::outbound::safe;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION};
use hyper::{HeaderMap, Method, Request};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use leadline_activities::ports::senders::Parcel;
use leadline_activities::secret::Secret;
use leadline_domain::{Digest, IngressEndpoints, OrgId, StagedName};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Answers are short.
const LONGEST: usize = 1 << 20;
/// A token is used for so long without asking how long it is good.
const KEEP: Duration = Duration::from_secs(60);

/// Tokens that were given, by organization: a run of canaries asks for one and not for one each.
#[derive(Default)]
pub(super) struct Tokens(Mutex<BTreeMap<OrgId, (Instant, Secret)>>);

impl Tokens {
    fn known(&self, org: &OrgId) -> Option<Secret> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(org).filter(|(at, _)| at.elapsed() < KEEP).map(|(_, t)| t.clone())
    }

    fn put(&self, org: &OrgId, token: Option<Secret>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match token {
            Some(token) => drop(all.insert(org.clone(), (Instant::now(), token))),
            None => drop(all.remove(org)),
        }
    }
}

/// A client of HTTP(S).
struct Http(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Http {
    fn new(ca_file: Option<&str>) -> Result<Self, No> {
        let tls = HttpsConnectorBuilder::new().with_tls_config(tls(ca_file, None)?);
        Ok(Self(Client::builder(TokioExecutor::new()).build(tls.https_or_http().enable_http1().build())))
    }

    /// One request. `what` is for words.
    async fn ask(
        &self,
        what: &str,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<(HeaderMap, Bytes), No> {
        if !safe(url) {
            return Err(No::Refused(format!("{what} would go in clear: its address is not https")));
        }
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|_| No::Refused(format!("{what} is no request")))?;
        let nobody = || No::Unanswered(format!("{what} was not answered"));
        let answer = self.0.request(request).await.map_err(|_| nobody())?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = Limited::new(answer.into_body(), LONGEST).collect().await.map_err(|_| nobody())?.to_bytes();
        match status {
            200..300 => Ok((headers, body)),
            429 | 500..600 => Err(No::Unanswered(format!("{what} was answered {status}"))),
            _ => {
                // A code, ours or an issuer's (RFC 6749 section 5.2): of any other text nobody knows what it holds.
                let said: Value = serde_json::from_slice(&body).unwrap_or_default();
                let code = said["code"].as_str().or(said["error"].as_str());
                let word = |c: &&str| c.len() < 64 && c.bytes().all(|b| b.is_ascii_lowercase() || b"._".contains(&b));
                let code = code.filter(word).map(|c| format!(" ({c})")).unwrap_or_default();
                Err(No::Refused(format!("{what} was answered {status}{code}")))
            }
        }
    }
}

fn field<'a>(v: &'a Value, name: &str, what: &str) -> Result<&'a str, No> {
    v[name].as_str().ok_or_else(|| No::Refused(format!("the answer to {what} has no {name}")))
}

fn read(body: &[u8], what: &str) -> Result<Value, No> {
    serde_json::from_slice(body).map_err(|_| No::Refused(format!("the answer to {what} is not JSON")))
}

/// A system with its token, at the gateway.
pub(super) struct Caller<'a> {
    http: Http,
    tokens: &'a Tokens,
    org: &'a OrgId,
    url: &'a str,
    authorization: Secret,
}

impl<'a> Caller<'a> {
    pub(super) async fn new(
        tokens: &'a Tokens,
        org: &'a OrgId,
        endpoints: &IngressEndpoints,
        url: &'a str,
        credentials: &Credentials,
    ) -> Result<Self, No> {
        let http = Http::new(endpoints.ca_file.as_deref())?;
        let token = match tokens.known(org) {
            Some(token) => token,
            None => {
                let token = token(&http, endpoints, credentials).await?;
                tokens.put(org, Some(token.clone()));
                token
            }
        };
        let authorization = Secret::new(format!("Bearer {}", token.expose()));
        Ok(Self { http, tokens, org, url: url.trim_end_matches('/'), authorization })
    }

    pub(super) async fn post(&self, path: &str, media_type: &str, body: Bytes) -> Result<(HeaderMap, Bytes), No> {
        let headers = [
            (AUTHORIZATION.as_str(), self.authorization.expose()),
            (CONTENT_TYPE.as_str(), media_type),
            (ACCEPT.as_str(), "application/json, application/dicom+json, application/fhir+json"),
        ];
        // Paths below hold ids of uploads, of no use in words.
        let what = format!("POST {}", if path.ends_with("/complete") { "/uploads/ID/complete" } else { path });
        let answer = self.http.ask(&what, Method::POST, &format!("{}{path}", self.url), &headers, body).await;
        if answer.is_err() {
            // It may have been the token: the next one is a fresh one.
            self.tokens.put(self.org, None);
        }
        answer
    }
}

/// A token by client credentials (RFC 6749 section 4.4), where the issuer's discovery document says.
async fn token(http: &Http, endpoints: &IngressEndpoints, credentials: &Credentials) -> Result<Secret, No> {
    let missing =
        || No::Refused("the secret holds no client_id and client_secret, and the way in asks for a token".into());
    let (id, secret) = credentials.client.as_ref().ok_or_else(missing)?;
    let issuer = endpoints.issuer.trim_end_matches('/');
    let what = "the issuer's discovery document";
    let discovery = format!("{issuer}/.well-known/openid-configuration");
    let (_, body) = http.ask(what, Method::GET, &discovery, &[], Bytes::new()).await?;
    let document = read(&body, what)?;
    let endpoint = field(&document, "token_endpoint", what)?;
    let encode = |s: &str| form_urlencoded::byte_serialize(s.as_bytes()).collect::<String>();
    // RFC 6749 section 2.3.1: both are encoded as in a form before they are put together.
    let basic = format!("Basic {}", BASE64.encode(format!("{}:{}", encode(id), encode(secret.expose()))));
    let scope = endpoints.scope.as_deref().map(|s| format!("&scope={}", encode(s))).unwrap_or_default();
    let form = format!("grant_type=client_credentials{scope}");
    let headers = [
        (AUTHORIZATION.as_str(), basic.as_str()),
        (CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded"),
        (ACCEPT.as_str(), "application/json"),
    ];
    let what = "the request for a token";
    let (_, body) = http.ask(what, Method::POST, endpoint, &headers, form.into()).await?;
    Ok(Secret::new(field(&read(&body, what)?, "access_token", what)?))
}

/// Permission, PUT, completion.
pub(super) async fn upload(caller: &Caller<'_>, parcel: &Parcel) -> Result<StagedName, No> {
    let (json, content) = ("application/json", &parcel.content);
    let ask = json!({
        "size": content.len(), "type": parcel.media_type, "sha256": Digest::of(content).to_hex(), "multipart": false,
    });
    let (_, told) = caller.post("/uploads", json, ask.to_string().into()).await?;
    let told = read(&told, "POST /uploads")?;
    let (id, url) = (field(&told, "id", "POST /uploads")?, field(&told, "url", "POST /uploads")?);
    let headers = told["headers"].as_object().into_iter().flatten();
    let headers: Vec<(&str, &str)> = headers.filter_map(|(k, v)| Some((k.as_str(), v.as_str()?))).collect();
    caller.http.ask("the PUT to the store", Method::PUT, url, &headers, content.clone()).await?;
    caller.post(&format!("/uploads/{id}/complete"), json, Bytes::from_static(b"{}")).await?;
    StagedName::parse(id).map_err(|_| No::Refused("the answer to POST /uploads has no id of an upload".into()))
}

/// Creates a DocumentReference; its id.
pub(super) async fn create(caller: &Caller<'_>, body: Value) -> Result<String, No> {
    let path = "/fhir/DocumentReference";
    let (headers, _) = caller.post(path, "application/fhir+json", body.to_string().into()).await?;
    let location = headers.get(LOCATION).and_then(|l| l.to_str().ok()).unwrap_or_default();
    let id = location.rsplit_once("/DocumentReference/").and_then(|(_, rest)| rest.split('/').next());
    id.map(str::to_owned).ok_or_else(|| No::Refused(format!("the answer to POST {path} has no Location")))
}
