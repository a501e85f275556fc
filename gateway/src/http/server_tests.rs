//! The frame around every request, and the endpoints of FHIR and STOW-RS, with a listener and real tokens.

use super::*;
use crate::dicom::stow::Stow;
use crate::fhir::Service;
use crate::http::metrics::METRICS;
use crate::http::openapi::described_tests::outcomes;
use crate::http::{Directory, OidcConfig, Ready, UploadRules, protocols, reports};
use crate::intake::Intake;
use crate::intake_fake::FakeIntake;
use crate::issuer::{Issuer, IssuerConfig, bind};
use async_trait::async_trait;
use leadline_activities::ports::uploads::{OrgUploads, Uploads};
use leadline_domain::{Ingress, OrgId, OrgScope};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// Longer bodies are announced only.
const SENT: usize = (1 << 20) + 1;
const LONG: Duration = Duration::from_secs(60);

/// `north` opens every way, `south` uploads only.
pub(crate) struct Two;

impl Directory for Two {
    fn uploads(&self, _: &OrgId) -> Result<UploadRules, Fault> {
        Err(Fault::new(FaultCode::StoreUnreachable, "there is no store here"))
    }
    fn open(&self, org: &OrgId, way: Ingress) -> Result<(), Fault> {
        match (org.as_str(), way) {
            ("north", _) | ("south", Ingress::Web) => Ok(()),
            ("south", _) => Err(Fault::new(FaultCode::RequestForbidden, "organization south takes nothing by it")),
            _ => Err(Fault::new(FaultCode::ConfigUnknownOrg, "")),
        }
    }
    fn uploading(&self) -> Vec<OrgId> {
        vec![]
    }
    fn of_bucket(&self, _: &str) -> Option<OrgId> {
        None
    }
    fn origins(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }
}

#[async_trait]
impl Uploads for Two {
    async fn open(&self, _: &OrgScope) -> Result<Arc<dyn OrgUploads>, Fault> {
        Err(Fault::new(FaultCode::StoreUnreachable, "there is no store here"))
    }
}

#[async_trait]
impl Ready for Two {
    async fn check(&self) -> Result<(), Fault> {
        Ok(())
    }
}

/// A service with routes beside its own: `/test/panic`, `/test/long` with a long answer, and `/test/wait` that answers
/// when it is let go.
struct World {
    port: u16,
    app: App,
    issuer: Issuer,
    intake: Arc<FakeIntake>,
    arrived: Arc<Notify>,
    go: Arc<Notify>,
    stop: watch::Sender<bool>,
    served: JoinHandle<()>,
}

async fn issuer() -> (TcpListener, Issuer) {
    let config = IssuerConfig {
        audience: "leadline".into(),
        organization_claim: "org".into(),
        people: BTreeMap::new(),
        systems: BTreeMap::new(),
        client_id: "page".into(),
        redirects: vec![],
    };
    bind("127.0.0.1:0".parse().unwrap(), config).await.unwrap()
}

async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|s| *s).await;
}

async fn world(public_url: &str, limits: Limits) -> World {
    let (at, issuer) = issuer().await;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(issuer.clone().serve(at, until(stopped.clone())));
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let wait = {
        let (arrived, go) = (Arc::clone(&arrived), Arc::clone(&go));
        get(move || async move {
            arrived.notify_one();
            go.notified().await;
            "gone"
        })
    };
    let intake = FakeIntake::new();
    let as_intake = Arc::clone(&intake) as Arc<dyn Intake>;
    let service = Service::new(Arc::clone(&as_intake), format!("{public_url}/fhir"), 1 << 20);
    let protocols = protocols::routes(service, Stow::new(1 << 20, 2, LONG), &as_intake)
        .route("/test/panic", get(async || -> &'static str { panic!("made up") }))
        .route("/test/long", get(async || vec![0_u8; 64 << 20]))
        .route("/test/wait", wait);
    let routes = Routes { protocols, reports: reports::routes(outcomes()) };
    let oidc = OidcConfig {
        issuer: issuer.url().to_owned(),
        audience: "leadline".into(),
        organization_claim: "org".into(),
        page_client_id: None,
    };
    let config = HttpConfig { public_url: public_url.into(), oidc, store_origins: vec![], limits };
    let two = Arc::new(Two);
    let parts = Parts { intake: as_intake, uploads: two.clone(), directory: two.clone(), ready: two, routes };
    let (app, oidc) = assemble(&config, &parts).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let state = app.clone();
    let served = tokio::spawn(async move {
        serve_app(listener, &config, state, parts.routes, oidc, until(stopped)).await;
    });
    World { port, app, issuer, intake, arrived, go, stop, served }
}

/// An answer: status, headers in lower case, body.
#[derive(Debug)]
struct Told(u16, String, String);

impl Told {
    fn json(&self) -> Value {
        serde_json::from_str(&self.2).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
    fn has(&self, header: &str) -> bool {
        self.1.contains(header)
    }
}

impl World {
    fn token(&self, org: &str) -> String {
        self.issuer.token("someone", &OrgId::parse(org).unwrap())
    }

    async fn ask(&self, method: &str, path: &str, token: &str, media_type: &str, body: &[u8]) -> Told {
        ask(self.port, method, path, token, media_type, body).await
    }

    async fn get(&self, path: &str) -> Told {
        self.ask("GET", path, "", "text/plain", b"").await
    }

    /// A request that is under way until `go`.
    async fn waiting(&self) -> JoinHandle<Told> {
        let port = self.port;
        let asked = tokio::spawn(async move { ask(port, "GET", "/test/wait", "", "text/plain", b"").await });
        self.arrived.notified().await;
        asked
    }
}

async fn ask(port: u16, method: &str, path: &str, token: &str, media_type: &str, body: &[u8]) -> Told {
    let mut peer = begun(port, method, path, token, media_type, body.len()).await;
    // A body that is refused by its length is not read. If it were sent the connection would be reset, and the answer
    // might be lost with it.
    if body.len() <= SENT {
        peer.write_all(body).await.unwrap();
    }
    answer(peer).await
}

/// A request of which the head is sent.
async fn begun(port: u16, method: &str, path: &str, token: &str, media_type: &str, length: usize) -> TcpStream {
    let mut peer = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let who = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{who}Content-Type: {media_type}\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    peer.write_all(head.as_bytes()).await.unwrap();
    peer
}

async fn answer(mut peer: TcpStream) -> Told {
    let mut all = Vec::new();
    let _ = peer.read_to_end(&mut all).await;
    let text = String::from_utf8_lossy(&all).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap();
    Told(status, head.to_ascii_lowercase(), body.to_owned())
}

const FHIR: (&str, &str) = ("/fhir/DocumentReference", "application/fhir+json");
const STOW: (&str, &str) = ("/dicom-web/studies", "multipart/related; type=\"application/dicom\"; boundary=b");

/// That it is a refusal by FHIR's own means.
fn outcome(told: &Told, status: u16, issue: &str, code: &str) {
    assert_eq!(told.0, status, "{told:?}");
    assert!(told.has("content-type: application/fhir+json"), "{told:?}");
    let body = told.json();
    assert_eq!(body["resourceType"], "OperationOutcome", "{told:?}");
    assert_eq!(body["issue"][0]["code"], issue, "{told:?}");
    assert_eq!(body["issue"][0]["details"]["coding"][0]["code"], code, "{told:?}");
}

/// That it is a refusal by STOW-RS's own means.
fn text(told: &Told, status: u16, code: &str) {
    assert_eq!(told.0, status, "{told:?}");
    assert!(told.has("content-type: text/plain") && told.2.starts_with(&format!("{code}: ")), "{told:?}");
}

#[tokio::test]
async fn tokens_and_doors_refuse_in_the_words_of_the_protocol() {
    let w = world("http://127.0.0.1", Limits::default()).await;
    let north = OrgId::parse("north").unwrap();
    let claims = |other: &Value| w.issuer.claims("someone", &north, other);
    let foreign = issuer().await.1;
    let wrong = [
        ("missing", String::new()),
        ("expired", w.issuer.sign(&claims(&json!({ "exp": 1_000_000 })))),
        ("for another audience", w.issuer.sign(&claims(&json!({ "aud": "other" })))),
        ("of another issuer", foreign.token("someone", &north)),
        ("signed by another issuer", foreign.sign(&claims(&json!({})))),
    ];
    for (what, token) in &wrong {
        let told = w.ask("POST", FHIR.0, token, FHIR.1, b"{}").await;
        outcome(&told, 401, "login", "request.unauthenticated");
        assert!(told.has("www-authenticate: bearer"), "{what}");
        let told = w.ask("POST", STOW.0, token, STOW.1, b"--b--\r\n").await;
        text(&told, 401, "request.unauthenticated");
        assert!(told.has("www-authenticate: bearer"), "{what}");
    }
    let nobody = w.issuer.sign(&claims(&json!({ "org": "" })));
    // Its file does not open the way; it is not configured here; the token names nobody.
    for (token, code) in [
        (w.token("south"), "request.forbidden"),
        (w.token("elsewhere"), "config.unknown_org"),
        (nobody, "request.forbidden"),
    ] {
        outcome(&w.ask("POST", FHIR.0, &token, FHIR.1, b"{}").await, 403, "forbidden", code);
        outcome(&w.ask("POST", "/fhir", &token, FHIR.1, b"{}").await, 403, "forbidden", code);
        text(&w.ask("POST", STOW.0, &token, STOW.1, b"--b--\r\n").await, 403, code);
        text(&w.ask("POST", "/dicom-web/studies/1.2", &token, STOW.1, b"--b--\r\n").await, 403, code);
    }
    let good = w.token("north");
    outcome(&w.ask("POST", FHIR.0, &good, FHIR.1, b"{}").await, 400, "structure", "fhir.invalid");
    outcome(&w.ask("POST", FHIR.0, &good, FHIR.1, &vec![b' '; 2 << 20]).await, 413, "too-long", "file.too_large");
    text(&w.ask("POST", STOW.0, &good, STOW.1, b"--b--\r\n").await, 400, "request.invalid");
    assert_eq!((w.intake.lifecycles(), w.intake.kept()), (0, 0));
    // Other paths say it as they did.
    let told = w.ask("POST", "/uploads", "", "application/json", b"{}").await;
    assert_eq!((told.0, told.json()["code"].as_str()), (401, Some("request.unauthenticated")));
    assert!(told.has("content-type: application/problem+json"));
}

#[tokio::test]
async fn more_requests_than_it_carries_are_told_to_come_back() {
    let w = world("http://127.0.0.1", Limits { requests: 1, ..Limits::default() }).await;
    let waiting = w.waiting().await;
    let told = w.get("/openapi.json").await;
    assert_eq!((told.0, told.json()["code"].as_str()), (503, Some("request.overloaded")));
    assert!(told.has("retry-after: 2"), "{told:?}");
    let good = w.token("north");
    let told = w.ask("POST", FHIR.0, &good, FHIR.1, b"{}").await;
    outcome(&told, 503, "throttled", "request.overloaded");
    assert!(told.has("retry-after: 2"), "{told:?}");
    text(&w.ask("POST", STOW.0, &good, STOW.1, b"").await, 503, "request.overloaded");
    // Whoever asks how it is gets an answer all the same.
    assert_eq!((w.get("/healthz").await.0, w.get("/readyz").await.0), (200, 200));
    w.go.notify_one();
    assert_eq!(waiting.await.unwrap().2, "gone");
    assert_eq!(w.get("/openapi.json").await.0, 200);
}

#[tokio::test]
async fn slow_uploads_of_one_organization_keep_nobody_elses_out() {
    let w = world("http://127.0.0.1", Limits { requests: 8, ..Limits::default() }).await;
    let [north, south] = ["north", "south"].map(|o| w.token(o));
    let overloaded = async |token: &str| {
        let told = w.ask("POST", "/uploads", token, "application/json", b"{}").await;
        match (told.0, told.json()["code"].as_str()) {
            (503, Some("request.overloaded")) => assert!(told.has("retry-after: 2"), "{told:?}"),
            (400, Some("request.invalid")) => return false,
            _ => panic!("{told:?}"),
        }
        true
    };
    let mut slow = Vec::new();
    for _ in 0..8 {
        slow.push(begun(w.port, "POST", "/uploads", &north, "application/json", 2).await);
    }
    // Those that have no seat are on their way out.
    while !overloaded(&north).await {}
    let gets_in = async { while overloaded(&south).await {} };
    tokio::time::timeout(Duration::from_secs(10), gets_in).await.expect("south gets in");
    assert!(overloaded(&north).await, "and north does not");
    drop(slow);
    while overloaded(&north).await {}
}

#[tokio::test]
async fn reports_that_never_end_keep_nobody_elses_out() {
    let w = world("http://127.0.0.1", Limits { requests: 8, ..Limits::default() }).await;
    let north = OrgId::parse("north").unwrap();
    let system = w.issuer.sign(&w.issuer.claims("someone", &north, &json!({ "scope": reports::SCOPE })));
    // Who may not report is told before anything of the body has come.
    let silent = begun(w.port, "POST", "/outcomes", &w.token("north"), "application/json", 2).await;
    let told = tokio::time::timeout(Duration::from_secs(10), answer(silent)).await.expect("an answer");
    assert_eq!((told.0, told.json()["code"].as_str()), (403, Some("request.forbidden")));
    let mut slow = Vec::new();
    for _ in 0..8 {
        slow.push(begun(w.port, "POST", "/outcomes", &system, "application/json", 2).await);
    }
    let asked = async |path: &str, token: &str| w.ask("POST", path, token, "application/json", b"{}").await.0;
    // Those that have no seat are on their way out.
    while asked("/outcomes", &system).await != 503 {}
    // Uploads of the organization are counted with them, and another organization gets in.
    let gets_in = async { while asked("/uploads", &w.token("south")).await != 400 {} };
    tokio::time::timeout(Duration::from_secs(10), gets_in).await.expect("south gets in");
    assert_eq!(asked("/uploads", &w.token("north")).await, 503);
    drop(slow);
    while asked("/outcomes", &system).await != 422 {}
}

#[tokio::test]
async fn a_report_that_does_not_come_is_given_up_soon() {
    let limits = Limits { request: Duration::from_millis(100), ..Limits::default() };
    let w = world("http://127.0.0.1", limits).await;
    let north = OrgId::parse("north").unwrap();
    let system = w.issuer.sign(&w.issuer.claims("someone", &north, &json!({ "scope": reports::SCOPE })));
    let silent = begun(w.port, "POST", "/outcomes", &system, "application/json", 2).await;
    let told = tokio::time::timeout(Duration::from_secs(10), answer(silent)).await.expect("an answer");
    assert_eq!((told.0, told.json()["code"].as_str()), (503, Some("request.overloaded")));
}

#[tokio::test]
async fn who_does_not_read_is_not_served_for_ever() {
    let limits = Limits { connections: 1, unread: Duration::from_millis(100), ..Limits::default() };
    let w = world("http://127.0.0.1", limits).await;
    let unread = begun(w.port, "GET", "/test/long", "", "text/plain", 0).await;
    unread.readable().await.unwrap();
    let next = tokio::time::timeout(Duration::from_secs(10), w.get("/healthz")).await;
    assert_eq!(next.expect("a place").0, 200);
    // Who reads has all of it.
    assert_eq!(w.get("/test/long").await.2.len(), 64 << 20);
}

#[tokio::test]
async fn what_takes_too_long_is_given_up_and_a_panic_is_one_requests() {
    let short = Duration::from_millis(100);
    let w = world("http://127.0.0.1", Limits { request: short, transfer: short, ..Limits::default() }).await;
    let told = w.get("/test/wait").await;
    assert_eq!((told.0, told.json()["code"].as_str()), (503, Some("request.overloaded")));
    let told = w.get("/test/panic").await;
    assert_eq!((told.0, told.json()["code"].as_str()), (500, Some("bug.invariant")));
    assert!(!told.2.contains("made up"), "{told:?}");
    assert_eq!(w.get("/healthz").await.0, 200);
    let counted = METRICS.render();
    for line in [
        "leadline_http_requests_total{route=\"/test/wait\",status=\"503\"} ",
        "leadline_http_requests_total{route=\"/test/panic\",status=\"500\"} ",
        "leadline_http_request_seconds_total{route=\"/healthz\",status=\"200\"} ",
    ] {
        assert!(counted.contains(line), "{line} in {counted}");
    }
}

#[tokio::test]
async fn a_body_that_is_longer_than_any_that_is_meant() {
    let w = world("http://127.0.0.1", Limits::default()).await;
    // One byte more, so that all of it has been read when it is refused.
    let long = vec![b' '; (1 << 20) + 1];
    let told = w.ask("POST", "/uploads", &w.token("north"), "application/json", &long).await;
    assert_eq!((told.0, told.json()["code"].as_str()), (413, Some("request.too_large")), "{told:?}");
}

#[tokio::test]
async fn a_body_that_ends_early_is_told_to_who_still_listens() {
    let w = world("http://127.0.0.1", Limits::default()).await;
    for (path, media_type) in [FHIR, STOW] {
        let mut peer = begun(w.port, "POST", path, &w.token("north"), media_type, 1000).await;
        peer.write_all(b"{\"resourceType\":").await.unwrap();
        peer.shutdown().await.unwrap();
        let told = answer(peer).await;
        assert!(told.1.starts_with("http/1.1 400 "), "{path}: {told:?}");
    }
}

#[tokio::test]
async fn browsers_are_told_to_stay_with_https_where_that_is_served() {
    let secure = world("https://ecg.example.org", Limits::default()).await;
    assert!(secure.get("/healthz").await.has("strict-transport-security: max-age=31536000"));
    let plain = world("http://127.0.0.1", Limits::default()).await;
    let told = plain.get("/nothing/here").await;
    assert!(!told.has("strict-transport-security"));
    assert!(told.has("x-content-type-options: nosniff") && told.has("x-request-id: "), "{told:?}");
    assert_eq!((told.0, told.json()["code"].as_str()), (404, Some("request.not_found")));
}

#[tokio::test]
async fn a_stop_lets_requests_end_for_as_long_as_there_is() {
    let w = world("http://127.0.0.1", Limits { drain: LONG, ..Limits::default() }).await;
    let waiting = w.waiting().await;
    assert_eq!(w.get("/readyz").await.0, 200);
    w.stop.send(true).unwrap();
    while !w.app.stopping() {
        tokio::task::yield_now().await;
    }
    // Who still has a connection hears that no more should come.
    let told = health::readyz(axum::extract::State(w.app.clone())).await.unwrap_err();
    assert_eq!((told.status().as_u16(), told.0.code), (503, FaultCode::RequestOverloaded));
    assert!(!w.served.is_finished());
    w.go.notify_one();
    assert_eq!(waiting.await.unwrap().2, "gone");
    w.served.await.unwrap();
    assert!(TcpStream::connect(("127.0.0.1", w.port)).await.is_err(), "nobody listens any more");

    let w = world("http://127.0.0.1", Limits { drain: Duration::from_millis(50), ..Limits::default() }).await;
    let _waiting = w.waiting().await;
    w.stop.send(true).unwrap();
    w.served.await.unwrap();
}
