//! Against an EHR that checks what a real one checks: the assertion's signature, audience, life and single use.

use super::*;
use aws_lc_rs::signature::{KeyPair as _, UnparsedPublicKey};
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response as Answer};
use axum::routing::{get, post};
use std::collections::HashSet;
use std::sync::{Arc, Mutex as Lock};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

/// What the EHR has, and what it was asked.
#[derive(Default)]
pub(in crate::fhir) struct Hospital {
    pub(in crate::fhir) base: Lock<String>,
    pub(in crate::fhir) resources: Lock<BTreeMapOf>,
    pub(in crate::fhir) tokens: Lock<u32>,
    pub(in crate::fhir) withdrawn: Lock<bool>,
    pub(in crate::fhir) searches: Lock<Vec<String>>,
    /// What is answered with another status.
    pub(in crate::fhir) statuses: Lock<std::collections::BTreeMap<String, u16>>,
    /// Sends resources whole, so that pages with many of them are too long.
    pub(in crate::fhir) whole: Lock<bool>,
    public_key: Lock<(&'static str, Vec<u8>)>,
    used: Lock<HashSet<String>>,
}

type BTreeMapOf = std::collections::BTreeMap<String, String>;

fn json_answer(body: String) -> Answer {
    ([("content-type", "application/fhir+json")], body).into_response()
}

async fn token(State(h): State<Arc<Hospital>>, form: String) -> Answer {
    let fields: BTreeMapOf = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    let assertion = fields["client_assertion"].clone();
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let parsed = |part: &str| serde_json::from_slice::<serde_json::Value>(&decode(part)).unwrap();
    let (header, claims) = (parsed(header), parsed(claims));
    let (algorithm, key) = h.public_key.lock().unwrap().clone();
    let how: &dyn signature::VerificationAlgorithm = match algorithm {
        "ES384" => &signature::ECDSA_P384_SHA384_FIXED,
        _ => &signature::RSA_PKCS1_2048_8192_SHA384,
    };
    let good = UnparsedPublicKey::new(how, key).verify(signed.as_bytes(), &decode(signature)).is_ok();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let base = h.base.lock().unwrap().clone();
    let fits = header["alg"] == algorithm
        && header["kid"] == "key-1"
        && claims["iss"] == "leadline"
        && claims["sub"] == "leadline"
        && claims["aud"] == format!("{base}/token")
        && claims["exp"].as_u64().unwrap() <= now + 300
        && fields["grant_type"] == "client_credentials"
        && fields["scope"].contains("system/Binary.read")
        && h.used.lock().unwrap().insert(claims["jti"].as_str().unwrap().to_owned());
    if !good || !fits {
        return (StatusCode::BAD_REQUEST, r#"{"error":"invalid_client"}"#).into_response();
    }
    let mut tokens = h.tokens.lock().unwrap();
    *tokens += 1;
    json_answer(format!(r#"{{"access_token":"t{tokens}","token_type":"bearer","expires_in":300}}"#))
}

async fn resource(
    State(h): State<Arc<Hospital>>,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let token = headers.get("authorization").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
    let newest = format!("Bearer t{}", h.tokens.lock().unwrap());
    if token != newest || std::mem::take(&mut *h.withdrawn.lock().unwrap()) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let asked = query.as_ref().map_or_else(|| path.clone(), |q| format!("{path}?{q}"));
    if let Some(status) = h.statuses.lock().unwrap().get(&asked) {
        return StatusCode::from_u16(*status).unwrap().into_response();
    }
    let resources = h.resources.lock().unwrap();
    if let Some(query) = query {
        // Pages of one resource each.
        h.searches.lock().unwrap().push(asked);
        if *h.whole.lock().unwrap() && query.contains("_count=100") {
            return json_answer(" ".repeat(SMALL + 1));
        }
        let found: Vec<&String> =
            resources.iter().filter(|(k, _)| k.starts_with(&format!("{path}/"))).map(|(_, v)| v).collect();
        let page: usize = query.split("page=").nth(1).map_or(0, |p| p.parse().unwrap());
        let next = (page + 1 < found.len())
            .then(|| format!(r#"{{"relation":"next","url":"{}/{path}?page={}"}}"#, h.base.lock().unwrap(), page + 1));
        let entry = found.get(page).map(|r| format!(r#"{{"resource":{r}}}"#));
        let (next, entry) = (next.unwrap_or_default(), entry.unwrap_or_default());
        return json_answer(format!(
            r#"{{"resourceType":"Bundle","type":"searchset","link":[{next}],"entry":[{entry}]}}"#
        ));
    }
    match resources.get(&path) {
        Some(body) if path.starts_with("Binary/") && headers["accept"] == "*/*" && !body.starts_with('{') => {
            body.clone().into_response()
        }
        Some(body) => json_answer(body.clone()),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Starts an EHR, and a client of it with a new key.
pub(in crate::fhir) async fn hospital(rsa: bool) -> (Arc<Hospital>, Ehr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let (key, public) = if rsa {
        use aws_lc_rs::encoding::AsDer as _;
        let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let public = pair.public_key().as_ref().to_vec();
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
        (der.as_ref().to_vec(), ("RS384", public))
    } else {
        let curve = &signature::ECDSA_P384_SHA384_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(curve, document.as_ref()).unwrap();
        (document.as_ref().to_vec(), ("ES384", pair.public_key().as_ref().to_vec()))
    };
    let hospital =
        Arc::new(Hospital { base: Lock::new(base.clone()), public_key: Lock::new(public), ..Hospital::default() });
    let configuration = format!(r#"{{"token_endpoint":"{base}/token"}}"#);
    let router = Router::new()
        .route("/.well-known/smart-configuration", get(move || async { configuration }))
        .route("/token", post(token))
        .route("/{*path}", get(resource))
        .with_state(hospital.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let lines = base64::engine::general_purpose::STANDARD.encode(key);
    // The label in two pieces: what looks for keys in the repository has found none then.
    let label = ["PRIVATE", "KEY"].join(" ");
    let key = format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n").into_bytes();
    let settings = Settings { base, client_id: "leadline".into(), key, key_id: Some("key-1".into()), limit: 1 << 20 };
    (hospital, Ehr::new(settings, patient(Duration::from_secs(5))).unwrap())
}

fn patient(time: Duration) -> Web {
    Web::trusting(tokio_rustls::rustls::RootCertStore::empty(), time)
}

impl Hospital {
    pub(in crate::fhir) fn put(&self, path: &str, body: &str) {
        self.resources.lock().unwrap().insert(path.into(), body.into());
    }
}

#[tokio::test]
async fn both_kinds_of_keys_are_believed_and_one_token_serves_many_pulls() {
    for rsa in [false, true] {
        let (hospital, ehr) = hospital(rsa).await;
        hospital.put("DocumentReference/1", "{\"resourceType\":\"DocumentReference\"}");
        for _ in 0..3 {
            ehr.read("DocumentReference/1").await.unwrap();
        }
        assert_eq!(*hospital.tokens.lock().unwrap(), 1);
        *hospital.withdrawn.lock().unwrap() = true;
        ehr.read("DocumentReference/1").await.unwrap();
        assert_eq!(*hospital.tokens.lock().unwrap(), 2, "a withdrawn token is replaced");
    }
}

#[tokio::test]
async fn a_key_that_is_not_registered_is_refused() {
    let (hospital, ehr) = hospital(false).await;
    hospital.public_key.lock().unwrap().1[10] ^= 1;
    assert_eq!(ehr.read("Binary/1").await.unwrap_err().code, FaultCode::EhrRefused);
}

#[tokio::test]
async fn documents_come_as_they_are_or_inside_their_resource() {
    let (hospital, ehr) = hospital(false).await;
    hospital.put("Binary/1", "1,2\n");
    hospital.put("Binary/2", r#"{"resourceType":"Binary","contentType":"text/csv","data":"MSwyCg=="}"#);
    let base = hospital.base.lock().unwrap().clone();
    for url in ["Binary/1", "Binary/2", &format!("{base}/Binary/1")] {
        assert_eq!(ehr.document(url).await.unwrap(), "1,2\n", "{url}");
    }
    assert_eq!(ehr.document("Binary/3").await.unwrap_err().code, FaultCode::FhirUnresolved);
    for url in ["https://evil.example.org/Binary/1", "//evil.example.org/x", &format!("{base}.evil/x"), "../x", "/x"] {
        let fault = ehr.document(url).await.unwrap_err();
        assert_eq!(fault.code, FaultCode::FhirUnresolved, "{url}");
    }
}

#[tokio::test]
async fn searches_follow_their_pages() {
    let (hospital, ehr) = hospital(false).await;
    for i in 1..=3 {
        hospital
            .put(&format!("DocumentReference/{i}"), &format!(r#"{{"resourceType":"DocumentReference","id":"{i}"}}"#));
    }
    for whole in [false, true] {
        *hospital.whole.lock().unwrap() = whole;
        let mut search = ehr.updated_since("DocumentReference", "2026-01-01T00:00:00Z");
        let mut ids = Vec::new();
        while let Some(page) = ehr.page(&mut search).await.unwrap() {
            ids.extend(page);
        }
        assert_eq!(ids, ["1", "2", "3"]);
    }
    let searches = hospital.searches.lock().unwrap().clone();
    assert!(searches[0].contains("_lastUpdated=ge2026-01-01T00%3A00%3A00Z"));
    assert!(searches[0].contains("_elements=id&_count=100"));
    // Pages that are too long are asked for again, shorter.
    assert!(searches[4].ends_with("_count=1"), "{searches:?}");
}

#[tokio::test]
async fn a_search_is_never_passed_over() {
    let (hospital, ehr) = hospital(false).await;
    let query = "DocumentReference?_lastUpdated=ge2026&_sort=_lastUpdated&_elements=id&_count=100";
    for status in [400, 404, 410, 500] {
        hospital.statuses.lock().unwrap().insert(query.into(), status);
        let fault = ehr.page(&mut ehr.updated_since("DocumentReference", "2026")).await.unwrap_err();
        assert_eq!(fault.code, FaultCode::EhrUnreachable, "{status}");
    }
}

#[tokio::test]
async fn what_does_not_pass_is_the_resources_own_affair() {
    let (hospital, ehr) = hospital(false).await;
    for (status, code) in [
        (302, FaultCode::FhirUnresolved),
        (400, FaultCode::FhirUnresolved),
        (404, FaultCode::FhirUnresolved),
        (406, FaultCode::FhirUnresolved),
        (410, FaultCode::FhirUnresolved),
        (451, FaultCode::FhirUnresolved),
        (403, FaultCode::EhrRefused),
        (407, FaultCode::EhrUnreachable),
        (408, FaultCode::EhrUnreachable),
        (425, FaultCode::EhrUnreachable),
        (429, FaultCode::EhrUnreachable),
        (503, FaultCode::EhrUnreachable),
    ] {
        hospital.statuses.lock().unwrap().insert("Binary/1".into(), status);
        assert_eq!(ehr.document("Binary/1").await.unwrap_err().code, code, "{status}");
    }
    // The documents' limit here is 1 MiB.
    hospital.put("Binary/2", &"x".repeat((1 << 20) + 1));
    assert_eq!(ehr.document("Binary/2").await.unwrap_err().code, FaultCode::FileTooLarge);
    hospital.put("DocumentReference/2", &" ".repeat(SMALL + 1));
    assert_eq!(ehr.read("DocumentReference/2").await.unwrap_err().code, FaultCode::FileTooLarge);
}

/// Where a server says that tokens are given, at a base that was configured.
fn elsewhere(ehr: &mut Ehr, base: &str) {
    let hosts = BTreeSet::from([host(base).unwrap()]);
    (ehr.base, ehr.at, ehr.hosts) = (base.to_owned(), Pointer::read(base, &hosts).unwrap(), hosts);
}

#[tokio::test]
async fn a_server_elsewhere_does_not_lead_to_this_machine() {
    let (_, mut ehr) = hospital(false).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let port = at.port();
    elsewhere(&mut ehr, "https://ehr.example.org/fhir");
    for here in [
        format!("http://127.0.0.1:{port}/token"),
        format!("http://localhost:{port}/token"),
        format!("http://[::1]:{port}/token"),
        format!("https://127.0.0.1:{port}/token"),
        format!("https://localhost:{port}/token"),
        format!("https://[::ffff:127.0.0.1]:{port}/token"),
        format!("https://0.0.0.0:{port}/token"),
        format!("https://169.254.169.254:{port}/token"),
        format!("file://127.0.0.1/{port}/token"),
    ] {
        let asked = tokio::time::timeout(Duration::from_secs(5), ehr.ask_at(&here)).await.unwrap();
        assert_eq!(asked.unwrap_err().code, FaultCode::EhrRefused, "{here}");
    }
    let first = tokio::net::TcpStream::connect(at).await.unwrap();
    let (_, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, first.local_addr().unwrap(), "nobody came before");
    // A server of this machine may name another one of it.
    elsewhere(&mut ehr, "https://localhost/fhir");
    assert_eq!(ehr.endpoint(&format!("http://127.0.0.1:{port}/token")).unwrap().1, Chosen::Listed);
}

#[tokio::test]
async fn a_server_that_stalls_is_given_up() {
    for (said, stalls_at) in [
        // Before the headers, in the middle of the configuration, and in a document.
        ("", ".well-known"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", ".well-known"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", "Binary"),
    ] {
        let (hospital, mut ehr) = hospital(false).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(said.as_bytes()).await.unwrap();
                open.push(stream);
            }
        });
        ehr.web = patient(Duration::from_millis(100));
        if stalls_at == "Binary" {
            *ehr.token.lock().await = Some(("t".into(), Instant::now() + Duration::from_secs(60)));
        }
        elsewhere(&mut ehr, &base);
        for limit in [1 << 20, SMALL + 1] {
            ehr.limit = limit;
            let asked = tokio::time::timeout(Duration::from_secs(5), ehr.document("Binary/1")).await;
            assert_eq!(asked.unwrap().unwrap_err().code, FaultCode::EhrUnreachable, "{stalls_at} {limit}");
        }
        // And others are not kept waiting: the server is asked again as soon as it answers.
        *ehr.token.lock().await = None;
        let back = hospital.base.lock().unwrap().clone();
        elsewhere(&mut ehr, &back);
        ehr.web = patient(Duration::from_secs(5));
        hospital.put("Binary/1", "1,2\n");
        assert_eq!(ehr.document("Binary/1").await.unwrap(), "1,2\n");
    }
}

#[tokio::test]
async fn one_server_may_be_written_in_several_ways() {
    let (_, mut ehr) = hospital(false).await;
    elsewhere(&mut ehr, "https://ehr.example.org/fhir");
    for same in ["https://ehr.example.org/fhir/Binary/1", "https://EHR.example.org:443/fhir/Binary/1", "Binary/1"] {
        let expected =
            Pointer::Web { tls: true, host: "ehr.example.org".into(), port: 443, path: "/fhir/Binary/1".into() };
        assert_eq!(ehr.address(same).unwrap(), expected, "{same}");
    }
    assert!(ehr.address("https://ehr.example.org/fhir?_getpages=1").is_ok());
    for other in [
        "https://ehr-public.example.org/fhir/Binary/1",
        "https://ehr.example.org:8443/fhir/Binary/1",
        "https://ehr.example.org/fhirs/Binary/1",
        "https://ehr.example.org/Binary/1",
        "https://ehr.example.org/fhir/../Binary/1",
        "http://ehr.example.org:443/fhir/Binary/1",
        "file://ehr.example.org/fhir/Binary/1",
    ] {
        assert_eq!(ehr.address(other).unwrap_err().code, FaultCode::FhirUnresolved, "{other}");
    }
}
