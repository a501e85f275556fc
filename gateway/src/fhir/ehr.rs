//! The EHR's own FHIR server, for pulls: SMART backend services (SMART App Launch 2.2, "Backend Services" and
//! "Asymmetric (public key) authentication"). The token goes to the configured server and nowhere else.

use crate::pointers::{Chosen, Web, body};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use hyper::{Request, http};
use leadline_domain::{Fault, FaultCode};
use leadline_ehr::fhir::{Json, Unread};
use leadline_ehr::hl7::Pointer;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// Answers other than documents: tokens, resources, pages of searches.
const SMALL: usize = 16 << 20;
/// Resources on a page of a search; and where such a page is too long, because a server sends them whole.
const COUNTS: [usize; 2] = [100, 1];
/// Resources of one search.
const MOST: usize = 100_000;
/// A token is asked for again so long before it ends.
const MARGIN: Duration = Duration::from_secs(60);
/// How long an assertion is valid, seconds. Five minutes is the most that is allowed.
const ASSERTION_S: u64 = 240;

/// How to reach an EHR.
pub struct Settings {
    /// Base address of its FHIR server.
    pub base: String,
    /// Our client id there.
    pub client_id: String,
    /// Our private key: PKCS #8 in PEM, of a curve P-384 (ES384) or RSA (RS384).
    pub key: Vec<u8>,
    /// `kid` of the key, as registered there.
    pub key_id: Option<String>,
    /// Longest document, bytes.
    pub limit: usize,
}

enum Key {
    Es384(EcdsaKeyPair),
    Rs384(Box<RsaKeyPair>),
}

/// A client of one EHR. Clones of tokens are not handed out.
pub struct Ehr {
    base: String,
    /// The same, taken apart.
    at: Pointer,
    client_id: String,
    key: Key,
    key_id: Option<String>,
    limit: usize,
    hosts: BTreeSet<String>,
    web: Web,
    token: Mutex<Option<(String, Instant)>>,
}

fn unreachable(why: impl Into<String>) -> Fault {
    Fault::new(FaultCode::EhrUnreachable, why)
}

fn refused(why: impl Into<String>) -> Fault {
    Fault::new(FaultCode::EhrRefused, why)
}

/// What the web says of a server, in words of this one.
fn of_web(fault: Fault) -> Fault {
    match fault.code {
        FaultCode::PointerUnreachable => unreachable(fault.detail),
        _ => refused(fault.detail),
    }
}

fn too_long(limit: usize) -> Fault {
    Fault::new(FaultCode::FileTooLarge, format!("the EHR sends more than {limit} bytes"))
}

/// A search, page by page.
pub struct Search {
    kind: String,
    since: String,
    /// Which of [`COUNTS`].
    count: usize,
    next: Option<String>,
    pages: usize,
}

impl Search {
    fn first(&self, base: &str) -> String {
        let Self { kind, since, count, .. } = self;
        let count = COUNTS[*count];
        format!("{base}/{kind}?_lastUpdated=ge{since}&_sort=_lastUpdated&_elements=id&_count={count}")
    }
}

impl Ehr {
    /// Reads the key.
    ///
    /// # Errors
    /// `config.invalid` for an address or a key that cannot be used.
    pub fn new(settings: Settings, web: Web) -> Result<Self, Fault> {
        let bad = |why: &str| Fault::new(FaultCode::ConfigInvalid, format!("gateway.fhir: {why}"));
        let base = settings.base.trim_end_matches('/').to_owned();
        let hosts = BTreeSet::from([host(&base).ok_or_else(|| bad("base_url is no address"))?]);
        let Ok(at @ Pointer::Web { .. }) = Pointer::read(&base, &hosts) else {
            return Err(bad("base_url is neither https nor a loopback address"));
        };
        let der = PrivateKeyDer::from_pem_slice(&settings.key).map_err(|_| bad("the key is no PEM"))?;
        let curve = &signature::ECDSA_P384_SHA384_FIXED_SIGNING;
        let key = match EcdsaKeyPair::from_pkcs8(curve, der.secret_der()) {
            Ok(pair) => Key::Es384(pair),
            Err(_) => match RsaKeyPair::from_pkcs8(der.secret_der()) {
                Ok(pair) => Key::Rs384(Box::new(pair)),
                Err(_) => return Err(bad("the key is neither of P-384 nor RSA in PKCS #8")),
            },
        };
        let Settings { client_id, key_id, limit, .. } = settings;
        Ok(Self { base, at, client_id, key, key_id, limit, hosts, web, token: Mutex::default() })
    }

    /// A resource by its type and id, e.g. `DocumentReference/1`, or by its address on the server.
    ///
    /// # Errors
    /// `fhir.unresolved` for another server or what is not there, or not to be had; `file.too_large`; `ehr.*`.
    pub async fn read(&self, reference: &str) -> Result<Bytes, Fault> {
        self.get(&self.address(reference)?, "application/fhir+json", SMALL).await
    }

    /// The content behind an attachment's `url`. A Binary is asked for as what it holds.
    ///
    /// # Errors
    /// As [`Ehr::read`].
    pub async fn document(&self, url: &str) -> Result<Bytes, Fault> {
        let content = self.get(&self.address(url)?, "*/*", self.limit).await?;
        // Servers that answer with the resource all the same (FHIR R4 section 2.39.3.2 lets them).
        match Json::parse(&content) {
            Ok(value) if value.text("resourceType") == Some("Binary") => {
                let data = value.text("data").unwrap_or_default();
                leadline_ehr::attachment::base64(data.as_bytes()).map(Bytes::from)
            }
            _ => Ok(content),
        }
    }

    /// A search for the resources of a type that were updated at or after a time (RFC 3339).
    #[must_use]
    pub fn updated_since(&self, kind: &str, since: &str) -> Search {
        let since = since.replace('+', "%2B").replace(':', "%3A");
        let mut search = Search { kind: kind.to_owned(), since, count: 0, next: None, pages: 0 };
        search.next = Some(search.first(&self.base));
        search
    }

    /// The ids on the next page of a search; none after the last one. Where a page is too long, the search begins again
    /// with the shortest pages: ids come twice then.
    ///
    /// # Errors
    /// `ehr.*`.
    pub async fn page(&self, search: &mut Search) -> Result<Option<Vec<String>>, Fault> {
        loop {
            let Some(url) = &search.next else { return Ok(None) };
            search.pages += 1;
            if search.pages * COUNTS[search.count] > MOST {
                return Err(unreachable("a search that does not end"));
            }
            let bundle = match self.found(url).await {
                Err(fault) if fault.code == FaultCode::FileTooLarge && search.count + 1 < COUNTS.len() => {
                    (search.count, search.pages) = (search.count + 1, 0);
                    search.next = Some(search.first(&self.base));
                    continue;
                }
                // Nothing of a search can be passed over: what is behind it would be lost.
                Err(fault) if fault.code == FaultCode::FileTooLarge => {
                    return Err(refused(format!("a page of one resource: {}", fault.detail)));
                }
                Err(fault) if fault.code == FaultCode::FhirUnresolved => return Err(unreachable(fault.detail)),
                found => found?,
            };
            let links = bundle.list("link");
            let next = links.iter().find(|l| l.text("relation") == Some("next"));
            search.next = next.and_then(|l| Some(l.text("url")?.to_owned()));
            let resources = bundle.list("entry").iter().filter_map(|e| e.get("resource"));
            let ours = resources.filter(|r| r.text("resourceType") == Some(search.kind.as_str()));
            return Ok(Some(ours.filter_map(|r| r.text("id")).map(str::to_owned).collect()));
        }
    }

    async fn found(&self, url: &str) -> Result<Json, Fault> {
        let raw = self.get(&self.address(url)?, "application/fhir+json", SMALL).await?;
        Json::parse(&raw).map_err(|unread| match unread {
            Unread::Bounds(why) => Fault::new(FaultCode::FileTooLarge, why),
            Unread::Syntax(..) => unreachable("the answer to a search is no JSON"),
        })
    }

    /// An address below the server's base; nothing else is called with its token.
    fn address(&self, reference: &str) -> Result<Pointer, Fault> {
        let elsewhere = || Fault::new(FaultCode::FhirUnresolved, "it refers to another server than the configured one");
        let url = if reference.contains(':') {
            reference.to_owned()
        } else if reference.starts_with(['/', '#']) {
            return Err(elsewhere());
        } else {
            format!("{}/{reference}", self.base)
        };
        let to = Pointer::read(&url, &self.hosts).map_err(|_| elsewhere())?;
        if self.below(&to) { Ok(to) } else { Err(elsewhere()) }
    }

    /// Compared as read: hosts are the same in any case, and so is the usual port, named or not.
    fn below(&self, to: &Pointer) -> bool {
        let (Pointer::Web { tls, host, port, path }, Pointer::Web { tls: t, host: h, port: p, path: base }) =
            (to, &self.at)
        else {
            return false;
        };
        let rest = path.strip_prefix(base.trim_end_matches('/'));
        let inside = rest.is_some_and(|rest| rest.starts_with(['/', '?']));
        let up = path.split('?').next().unwrap_or_default().split('/').any(|part| part == "..");
        (tls, host, port) == (t, h, p) && inside && !up
    }

    async fn get(&self, to: &Pointer, accept: &str, limit: usize) -> Result<Bytes, Fault> {
        for fresh in [false, true] {
            let token = self.token(fresh).await?;
            let request =
                Request::get(path(to)).header(ACCEPT, accept).header(AUTHORIZATION, format!("Bearer {token}"));
            let (status, content) = self.answer(to, Chosen::Listed, request.body(Full::default()), limit).await?;
            match status {
                200 => return Ok(content),
                // A token that was withdrawn, once.
                401 if !fresh => {}
                404 | 410 => return Err(Fault::new(FaultCode::FhirUnresolved, "the EHR does not have it")),
                401 | 403 => return Err(refused("the EHR does not let us read: are the scopes granted?")),
                // These pass; the other ones say the same however often they are asked.
                status @ (407 | 408 | 425 | 429) => return Err(unreachable(format!("HTTP status {status}"))),
                status @ 300..500 => {
                    return Err(Fault::new(FaultCode::FhirUnresolved, format!("the EHR answers HTTP status {status}")));
                }
                status => return Err(unreachable(format!("HTTP status {status}"))),
            }
        }
        Err(refused("the EHR refuses a token that it has just given"))
    }

    /// An answer: its status, and what it holds if that is 200. All of a short one comes within the time for it; a
    /// longer one may take its time as long as more of it comes.
    async fn answer(
        &self,
        to: &Pointer,
        chosen: Chosen,
        request: Result<Request<Full<Bytes>>, http::Error>,
        limit: usize,
    ) -> Result<(u16, Bytes), Fault> {
        let request = request.map_err(|_| refused("it is no request"))?;
        let patience = self.web.patience();
        let late = || unreachable("it took too long");
        let until = Instant::now() + patience;
        let sent = tokio::time::timeout_at(until, self.web.send(to, chosen, request)).await;
        let response = sent.map_err(|_| late())?.map_err(of_web)?;
        let status = response.status().as_u16();
        if status != 200 {
            return Ok((status, Bytes::new()));
        }
        let rest = body(response, limit, patience);
        let content =
            if limit > SMALL { rest.await } else { tokio::time::timeout_at(until, rest).await.map_err(|_| late())? };
        let content = content.map_err(|fault| match fault.code {
            FaultCode::PointerUnreachable => unreachable(fault.detail),
            _ => too_long(limit),
        })?;
        Ok((status, content))
    }

    async fn token(&self, fresh: bool) -> Result<String, Fault> {
        // Held while it is asked for, so that many pulls ask once.
        let mut held = self.token.lock().await;
        if let Some((token, _)) = held.as_ref().filter(|(_, until)| !fresh && Instant::now() < *until) {
            return Ok(token.clone());
        }
        let (token, lasts) = self.ask().await?;
        *held = Some((token.clone(), Instant::now() + lasts.saturating_sub(MARGIN)));
        Ok(token)
    }

    async fn ask(&self) -> Result<(String, Duration), Fault> {
        let smart = self.address(".well-known/smart-configuration")?;
        let request = Request::get(path(&smart)).header(ACCEPT, "application/json").body(Full::default());
        let smart = json_of(self.answer(&smart, Chosen::Listed, request, SMALL).await, "smart-configuration")?;
        let endpoint =
            smart.text("token_endpoint").ok_or_else(|| refused("its SMART configuration has no token_endpoint"))?;
        self.ask_at(endpoint).await
    }

    /// The token endpoint may be on another host than the server, and it is the server that says so: it must not lead to
    /// this machine's own services, unless that is where the server itself was configured to be.
    fn endpoint(&self, said: &str) -> Result<(Pointer, Chosen), Fault> {
        let to = host(said).and_then(|h| Pointer::read(said, &BTreeSet::from([h])).ok());
        match to {
            Some(to @ Pointer::Web { .. }) if self.at.is_loopback() => Ok((to, Chosen::Listed)),
            Some(to @ Pointer::Web { tls: true, .. }) => Ok((to, Chosen::Told)),
            _ => Err(refused("its token_endpoint is not an https address")),
        }
    }

    async fn ask_at(&self, endpoint: &str) -> Result<(String, Duration), Fault> {
        let (to, chosen) = self.endpoint(endpoint)?;
        let assertion = self.assertion(endpoint)?;
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("scope", "system/DocumentReference.read system/DiagnosticReport.read system/Binary.read")
            .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            .append_pair("client_assertion", &assertion)
            .finish();
        let request = Request::post(path(&to))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(form));
        let answer = self.answer(&to, chosen, request, SMALL).await;
        if let Ok((400 | 401 | 403, _)) = answer {
            return Err(refused("it refuses our client id or key: is the public key registered there?"));
        }
        let token = json_of(answer, "token")?;
        let lasts = match token.get("expires_in") {
            Some(Json::Whole(seconds)) => Duration::from_secs((*seconds).min(86_400)),
            _ => Duration::from_secs(300),
        };
        let token = token.text("access_token").ok_or_else(|| refused("it gives no access_token"))?;
        Ok((token.to_owned(), lasts))
    }

    /// The JWT that says who we are (RFC 7523 section 3; RFC 7518 section 3.1 for the algorithms).
    fn assertion(&self, audience: &str) -> Result<String, Fault> {
        let bug = |_| Fault::new(FaultCode::BugInvariant, "signing an assertion");
        let random = SystemRandom::new();
        let mut id = [0; 16];
        aws_lc_rs::rand::SecureRandom::fill(&random, &mut id).map_err(bug)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let algorithm = if matches!(self.key, Key::Es384(_)) { "ES384" } else { "RS384" };
        let mut header = json!({ "typ": "JWT", "alg": algorithm });
        if let Some(kid) = &self.key_id {
            header["kid"] = json!(kid);
        }
        let claims = json!({
            "iss": self.client_id, "sub": self.client_id, "aud": audience, "jti": URL_SAFE_NO_PAD.encode(id),
            "iat": now, "exp": now + ASSERTION_S,
        });
        let part = |v: &serde_json::Value| URL_SAFE_NO_PAD.encode(v.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = match &self.key {
            Key::Es384(pair) => pair.sign(&random, signed.as_bytes()).map_err(bug)?.as_ref().to_vec(),
            Key::Rs384(pair) => {
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA384, &random, signed.as_bytes(), &mut out).map_err(bug)?;
                out
            }
        };
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn json_of(answer: Result<(u16, Bytes), Fault>, what: &str) -> Result<Json, Fault> {
    match answer {
        Ok((200, raw)) => Json::parse(&raw).map_err(|_| unreachable(format!("its {what} is no JSON"))),
        Ok((status, _)) => Err(unreachable(format!("HTTP status {status} for its {what}"))),
        Err(fault) if fault.code == FaultCode::FileTooLarge => Err(refused(fault.detail)),
        Err(fault) => Err(fault),
    }
}

fn path(pointer: &Pointer) -> &str {
    match pointer {
        Pointer::Web { path, .. } => path,
        Pointer::File { .. } => "/",
    }
}

/// The host of an address, as pointers have it.
fn host(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let end = authority.rfind(':').filter(|at| !authority[*at..].contains(']')).unwrap_or(authority.len());
    Some(authority[..end].to_ascii_lowercase()).filter(|h| !h.is_empty())
}

#[cfg(test)]
pub(super) mod tests;
