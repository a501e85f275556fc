//! A local issuer of OpenID Connect tokens, for `leadline dev-issuer` and tests: real keys, made at its start, real
//! signatures, and the same documents and flows as any other. It lets in whoever asks, so it binds loopback only.

mod login;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::Router;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use leadline_domain::OrgId;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tower_http::cors::{Any, CorsLayer};

/// How long its tokens are good for, seconds.
pub const LIFETIME_S: u64 = 3600;

/// Who can log on, and for which audience.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerConfig {
    /// `aud` of its tokens.
    pub audience: String,
    /// The claim that names the organization.
    pub organization_claim: String,
    /// People by name, each with an organization. No passwords: whoever is at this machine may be any of them.
    pub people: BTreeMap<String, OrgId>,
    /// Systems by client id, each with its secret and organization (client credentials).
    pub systems: BTreeMap<String, (String, OrgId)>,
    /// Client id of the page.
    pub client_id: String,
    /// Where the page may be sent back to, to the letter.
    pub redirects: Vec<String>,
}

/// An issuer.
#[derive(Clone)]
pub struct Issuer(Arc<Inner>);

struct Inner {
    config: IssuerConfig,
    url: String,
    key: EncodingKey,
    jwk: Jwk,
    codes: Mutex<BTreeMap<String, login::Grant>>,
}

/// Listens. The issuer's URL is that of the listener.
///
/// # Errors
/// If the address is not a loopback address, or is taken.
pub async fn bind(address: SocketAddr, config: IssuerConfig) -> io::Result<(TcpListener, Issuer)> {
    if !address.ip().is_loopback() {
        let why = format!("{address} is no loopback address: this issuer lets in whoever asks");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let listener = TcpListener::bind(address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, Issuer::new(url, config)?))
}

fn failed(what: &'static str) -> io::Error {
    io::Error::other(what)
}

impl Issuer {
    fn new(url: String, config: IssuerConfig) -> io::Result<Self> {
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let pkcs8 = made.map_err(|_| failed("no key"))?;
        let key = EncodingKey::from_ec_der(pkcs8.as_ref());
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).map_err(|_| failed("no public key"))?;
        jwk.common.key_id = Some(random_text());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self(Arc::new(Inner { config, url, key, jwk, codes: Mutex::default() })))
    }

    /// `iss` of its tokens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// A token of someone, good for [`LIFETIME_S`].
    #[must_use]
    pub fn token(&self, subject: &str, org: &OrgId) -> String {
        self.sign(&self.claims(subject, org, &json!({})))
    }

    /// The claims of such a token, with others added or put in their place.
    #[must_use]
    pub fn claims(&self, subject: &str, org: &OrgId, other: &Value) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let c = &self.0.config;
        let mut claims = json!({
            "iss": self.0.url, "aud": c.audience, "sub": subject, "iat": now, "nbf": now, "exp": now + LIFETIME_S,
        });
        claims[&c.organization_claim] = json!(org.as_str());
        for (k, v) in other.as_object().into_iter().flatten() {
            claims[k] = v.clone();
        }
        claims
    }

    /// Signs claims, whatever they say.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        let mut h = Header::new(Algorithm::ES256);
        h.kid.clone_from(&self.0.jwk.common.key_id);
        encode(&h, claims, &self.0.key).unwrap_or_default()
    }

    /// Its discovery document.
    #[must_use]
    pub fn discovery(&self) -> Value {
        let at = |p: &str| format!("{}/{p}", self.0.url);
        json!({
            "issuer": self.0.url,
            "jwks_uri": at("jwks"),
            "authorization_endpoint": at("authorize"),
            "token_endpoint": at("token"),
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "client_credentials"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        })
    }

    /// Its public keys.
    #[must_use]
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.0.jwk] })
    }

    /// Serves until `shutdown` ends.
    ///
    /// # Errors
    /// As the listener's.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        axum::serve(listener, self.router()).with_graceful_shutdown(shutdown).await
    }

    /// Its routes.
    pub fn router(self) -> Router {
        let cors = CorsLayer::new().allow_origin(Any).allow_methods(Any).allow_headers(Any);
        Router::new()
            .route("/.well-known/openid-configuration", get(async |State(i): State<Self>| axum::Json(i.discovery())))
            .route("/jwks", get(async |State(i): State<Self>| axum::Json(i.jwks())))
            .route("/token", post(login::token))
            .layer(cors)
            .route("/authorize", get(login::form).post(login::agree))
            .layer(axum::middleware::map_response(async |mut r: axum::response::Response| {
                r.headers_mut().insert("cache-control", HeaderValue::from_static("no-store"));
                r
            }))
            .with_state(self)
    }
}

/// 256 random bits as text.
pub(crate) fn random_text() -> String {
    let mut b = [0u8; 32];
    // The system's source of randomness does not fail once it is there.
    let _ = SystemRandom::new().fill(&mut b);
    URL_SAFE_NO_PAD.encode(b)
}
