//! OpenID Connect: whose tokens are believed. OpenID Connect Discovery 1.0 section 4 for the documents, RFC 7517 for the
//! keys, RFC 7519 and RFC 9068 for the tokens, RFC 8725 for what not to fall for.

use super::auth::{Caller, Tokens};
use super::outbound::{Fetch, safe};
use async_trait::async_trait;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use leadline_domain::{Fault, FaultCode, OrgId};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Whose tokens are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcConfig {
    /// `iss` of its tokens, to the letter.
    pub issuer: String,
    /// What `aud` of a token must hold.
    pub audience: String,
    /// The claim that names the organization.
    pub organization_claim: String,
    /// Client id of the upload page; without one there is no page.
    pub page_client_id: Option<String>,
}

/// Signatures by a private key only: with a shared secret whoever can check a token can make one, and `none` is no
/// signature.
const ALGORITHMS: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// How far the issuer's clock may be off, seconds.
const LEEWAY_S: u64 = 30;
/// Keys are fetched anew after this time, so that one that was withdrawn is not believed for ever.
const FRESH: Duration = Duration::from_secs(600);
/// While the issuer does not answer, keys are believed for this time.
const STALE: Duration = Duration::from_secs(3600);
/// A token with an unknown key makes us ask the issuer, and anybody can make one up: not more often than this.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// Longest token that is looked at, bytes.
const LONGEST: usize = 16 * 1024;

/// Where the issuer's own services are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Where a browser logs on.
    pub authorization: String,
    /// Where a code becomes a token.
    pub token: String,
}

#[derive(Default)]
struct Known {
    keys: Vec<Jwk>,
    endpoints: Option<Endpoints>,
    fetched: Option<Instant>,
    asked: Option<Instant>,
}

/// An issuer and its keys.
pub struct Oidc {
    config: OidcConfig,
    fetch: Arc<dyn Fetch>,
    // Not held while the issuer is asked.
    known: Mutex<Known>,
    // Held while the issuer is asked: once is enough for all who wait.
    asking: Mutex<()>,
}

impl Oidc {
    /// Asks nothing yet.
    #[must_use]
    pub fn new(config: OidcConfig, fetch: Arc<dyn Fetch>) -> Self {
        Self { config, fetch, known: Mutex::default(), asking: Mutex::default() }
    }

    /// Where people log on.
    ///
    /// # Errors
    /// `identity.unreachable`.
    pub async fn endpoints(&self) -> Result<Endpoints, Fault> {
        if let Some(known) = self.logon().await {
            return Ok(known);
        }
        let _one = self.asking.lock().await;
        // Somebody else may have asked meanwhile.
        if self.logon().await.is_none() && !self.rests().await {
            self.refresh().await?;
        }
        let known = self.logon().await;
        known.ok_or_else(|| unreachable("the issuer names no place to log on, or was asked a moment ago"))
    }

    async fn logon(&self) -> Option<Endpoints> {
        self.known.lock().await.endpoints.clone()
    }

    /// The keys that may have signed a token with this key id and algorithm.
    async fn candidates(&self, kid: Option<&str>, alg: Algorithm) -> Result<Vec<Jwk>, Fault> {
        let (found, age) = self.found(kid, alg).await;
        if !found.is_empty() && age.is_some_and(|a| a <= FRESH) {
            return Ok(found);
        }
        let _one = if !found.is_empty() && age.is_some_and(|a| a < STALE) {
            // Whoever has a key does not wait for what another one asks: the issuer may hang.
            let Ok(one) = self.asking.try_lock() else { return Ok(found) };
            one
        } else {
            self.asking.lock().await
        };
        let (found, age) = self.found(kid, alg).await;
        if !found.is_empty() && age.is_some_and(|a| a <= FRESH) {
            return Ok(found);
        }
        let usable = age.is_some_and(|a| a < STALE);
        match if self.rests().await { None } else { Some(self.refresh().await) } {
            Some(Err(f)) if !usable => return Err(f),
            Some(Err(f)) => tracing::warn!(fault = %f, "the issuer's keys were not refreshed"),
            None if !usable => return Err(unreachable("the issuer was asked for its keys a moment ago")),
            Some(Ok(())) | None => {}
        }
        Ok(self.found(kid, alg).await.0)
    }

    /// What is known that fits, and how old it is.
    async fn found(&self, kid: Option<&str>, alg: Algorithm) -> (Vec<Jwk>, Option<Duration>) {
        let known = self.known.lock().await;
        (matching(&known.keys, kid, alg), known.fetched.map(|f| f.elapsed()))
    }

    async fn rests(&self) -> bool {
        self.known.lock().await.asked.is_some_and(|a| a.elapsed() < ASK_AGAIN)
    }

    async fn refresh(&self) -> Result<(), Fault> {
        // Before, too: the caller may leave in the middle.
        self.known.lock().await.asked = Some(Instant::now());
        let told = self.ask().await;
        let mut known = self.known.lock().await;
        // It may have taken longer than the rest does.
        known.asked = Some(Instant::now());
        (known.keys, known.endpoints) = told?;
        known.fetched = known.asked;
        Ok(())
    }

    async fn ask(&self) -> Result<(Vec<Jwk>, Option<Endpoints>), Fault> {
        let at = format!("{}/.well-known/openid-configuration", self.config.issuer.trim_end_matches('/'));
        let doc = self.fetch.json(&at).await?;
        // Discovery section 4.3: it must be the issuer it was asked as.
        if doc["issuer"].as_str() != Some(&self.config.issuer) {
            return Err(unreachable("the discovery document is another issuer's"));
        }
        let keys = doc["jwks_uri"].as_str().filter(|u| safe(u)).ok_or_else(|| unreachable("no jwks_uri over https"))?;
        let set = self.fetch.json(keys).await?;
        let set = set["keys"].as_array().ok_or_else(|| unreachable("no keys in the key set"))?;
        // Each by itself: a kind of key that is not known here does not make the others useless (RFC 7517 section 5).
        let keys = set.iter().filter_map(|k| serde_json::from_value(k.clone()).ok()).collect();
        Ok((keys, endpoints(&doc)))
    }
}

fn unreachable(why: &str) -> Fault {
    Fault::new(FaultCode::IdentityUnreachable, why)
}

fn endpoints(doc: &Value) -> Option<Endpoints> {
    let of = |k: &str| doc[k].as_str().filter(|u| safe(u)).map(str::to_owned);
    Some(Endpoints { authorization: of("authorization_endpoint")?, token: of("token_endpoint")? })
}

/// A key's own statements hold: for signatures, and for its algorithm if it names one (RFC 8725 section 3.1). A token
/// without a key id may be of any of them.
fn matching(keys: &[Jwk], kid: Option<&str>, alg: Algorithm) -> Vec<Jwk> {
    let fits = |k: &&Jwk| {
        let c = &k.common;
        let signs = c.public_key_use.as_ref().is_none_or(|u| *u == PublicKeyUse::Signature);
        let same = c.key_algorithm.is_none_or(|a| a == alg.into());
        let named = kid.is_none_or(|kid| c.key_id.as_deref() == Some(kid));
        signs && same && named && family(k, alg)
    };
    keys.iter().filter(fits).cloned().collect()
}

fn family(k: &Jwk, alg: Algorithm) -> bool {
    DecodingKey::from_jwk(k).is_ok_and(|d| d.family() == alg.family())
}

fn refused(why: &str) -> Fault {
    Fault::new(FaultCode::RequestUnauthenticated, why)
}

#[async_trait]
impl Tokens for Oidc {
    async fn caller(&self, token: &str) -> Result<Caller, Fault> {
        if token.len() > LONGEST {
            return Err(refused("the token is too long"));
        }
        let header = decode_header(token).map_err(|_| refused("this is no signed token"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(refused("tokens with this kind of signature are not believed"));
        }
        let keys = self.candidates(header.kid.as_deref(), header.alg).await?;
        let validation = validation(&self.config, header.alg);
        let mut why = refused("the token is signed with a key that the issuer does not have");
        for k in keys.iter().filter_map(|k| DecodingKey::from_jwk(k).ok()) {
            match decode::<Map<String, Value>>(token, &k, &validation) {
                Ok(t) => return caller(&t.claims, &self.config.organization_claim),
                Err(e) => why = refused(reason(e.kind())),
            }
        }
        Err(why)
    }
}

fn validation(config: &OidcConfig, alg: Algorithm) -> Validation {
    let mut v = Validation::new(alg);
    v.leeway = LEEWAY_S;
    v.validate_nbf = true;
    v.set_issuer(&[&config.issuer]);
    v.set_audience(&[&config.audience]);
    v.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    v
}

/// Never what the token says: only what is wrong with it.
fn reason(k: &ErrorKind) -> &'static str {
    match k {
        ErrorKind::ExpiredSignature => "the token is expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidIssuer => "the token is of another issuer",
        ErrorKind::InvalidAudience => "the token is meant for another audience",
        ErrorKind::InvalidSignature => "the signature of the token is wrong",
        ErrorKind::MissingRequiredClaim(_) => "the token lacks one of exp, iss, aud, sub",
        _ => "the token is not valid",
    }
}

fn caller(claims: &Map<String, Value>, organization_claim: &str) -> Result<Caller, Fault> {
    let org = claims.get(organization_claim).and_then(Value::as_str).and_then(|o| OrgId::parse(o).ok());
    let org = org.ok_or_else(|| Fault::new(FaultCode::RequestForbidden, "the token names no organization"))?;
    let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned();
    // RFC 8693: one string; some issuers have a list, or call it scp.
    let scopes = ["scope", "scp"].iter().filter_map(|k| claims.get(*k)).flat_map(|v| match v {
        Value::String(s) => s.split_ascii_whitespace().map(str::to_owned).collect(),
        Value::Array(a) => a.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>(),
        _ => vec![],
    });
    Ok(Caller { org, subject, scopes: scopes.collect() })
}

#[cfg(test)]
#[path = "oidc_tests.rs"]
mod tests;
