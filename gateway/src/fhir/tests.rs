use super::*;
use crate::double::{Memory, bomb};
use axum::body::{Body, to_bytes};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Request, StatusCode};
use tower::ServiceExt;

/// Whoever the header `org` says.
struct Anyone(OrgId);

impl Named for Anyone {
    fn org(&self) -> &OrgId {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Anyone {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let named = parts.headers.get("org").and_then(|v| v.to_str().ok()).and_then(|v| OrgId::parse(v).ok());
        named.map(Self).ok_or(StatusCode::UNAUTHORIZED)
    }
}

struct Heard {
    status: u16,
    location: String,
    retry_after: String,
    body: Value,
}

struct Rig {
    memory: Arc<Memory>,
    router: axum::Router,
    service: Arc<Service>,
}

fn rig() -> Rig {
    let memory = Memory::new();
    let service = Arc::new(Service::new(memory.clone(), "https://ecg.example.org/fhir/", 1 << 20));
    Rig { memory, router: routes::<(), Anyone>(service.clone()), service }
}

impl Rig {
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Heard {
        let mut request = Request::builder().method(method).uri(path).header("org", "north");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let header = |name| response.headers().get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
        let (status, location, retry_after) = (response.status().as_u16(), header("location"), header("retry-after"));
        let raw = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        Heard { status, location, retry_after, body: serde_json::from_slice(&raw).unwrap_or_default() }
    }

    async fn post(&self, path: &str, body: String) -> Heard {
        self.send("POST", path, &[("content-type", "application/fhir+json")], body).await
    }

    fn counts(&self) -> (usize, usize) {
        (self.memory.taken.lock().unwrap().len(), self.memory.kept.lock().unwrap().len())
    }
}

fn document(attachment: &str, date: &str) -> String {
    format!(
        r#"{{"resourceType":"DocumentReference","identifier":[{{"system":"urn:x","value":"7"}}],"status":"current","date":"{date}","content":[{{"attachment":{attachment}}}]}}"#
    )
}

/// `1,2\n3,4\n`
const INLINE_DATA: &str = r#"{"contentType":"text/csv","data":"MSwyCjMsNAo=","size":8}"#;

#[tokio::test]
async fn a_resource_is_created_once_however_often_it_is_sent() {
    let rig = rig();
    let first = rig.post("/DocumentReference", document(INLINE_DATA, "2026")).await;
    assert_eq!((first.status, rig.counts()), (201, (1, 1)));
    assert!(first.location.starts_with("https://ecg.example.org/fhir/DocumentReference/fhir-"), "{}", first.location);
    let again = rig.post("/DocumentReference", document(INLINE_DATA, "2026")).await;
    assert_eq!((again.status, again.location, rig.counts()), (201, first.location.clone(), (1, 1)));
    // Another version of it without a condition is another resource.
    let other = rig.post("/DocumentReference", document(INLINE_DATA, "2027")).await;
    assert_eq!((other.status, rig.counts()), (201, (2, 2)));
    assert_ne!(other.location, first.location);
}

#[tokio::test]
async fn entities_of_a_document_are_not_expanded() {
    use base64::Engine as _;
    let rig = rig();
    let data = base64::engine::general_purpose::STANDARD.encode(bomb());
    let attachment = format!(r#"{{"contentType":"application/xml","data":"{data}","size":{}}}"#, bomb().len());
    let said = rig.post("/DocumentReference", document(&attachment, "2026")).await;
    assert_eq!((said.status, rig.memory.contents()), (201, vec![bomb()]));
}

#[tokio::test]
async fn a_condition_that_is_met_creates_nothing() {
    let rig = rig();
    let send = |date: &'static str| {
        let headers = [("content-type", "application/fhir+json"), ("if-none-exist", "identifier=urn:x|7")];
        let rig = &rig;
        async move { rig.send("POST", "/DocumentReference", &headers, document(INLINE_DATA, date)).await }
    };
    let first = send("2026").await;
    assert_eq!(first.status, 201);
    for date in ["2026", "2027"] {
        let again = send(date).await;
        assert_eq!((again.status, &again.location), (200, &first.location), "{date}");
    }
    assert_eq!(rig.counts(), (1, 1));
}

#[tokio::test]
async fn what_a_failure_left_of_a_resource_is_taken_when_it_is_sent_again_and_was_changed_since() {
    let rig = rig();
    let second = r#"{"contentType":"text/csv","data":"NSw2Cg==","size":4}"#;
    let both = format!(r#"{INLINE_DATA}}},{{"attachment":{second}"#);
    let headers = [("content-type", "application/fhir+json"), ("if-none-exist", "identifier=urn:x|7")];
    *rig.memory.spared.lock().unwrap() = 1;
    rig.memory.fails.lock().unwrap().push(FaultCode::StoreUnreachable);
    for (date, status, taken) in [("2026", 503, 1), ("2027", 200, 2), ("2028", 200, 2)] {
        let said = rig.send("POST", "/DocumentReference", &headers, document(&both, date)).await;
        assert_eq!((said.status, rig.memory.taken.lock().unwrap().len()), (status, taken), "{date}");
    }
    let contents = rig.memory.contents();
    assert!(contents.contains(&b"1,2\n3,4\n".to_vec()) && contents.contains(&b"5,6\n".to_vec()));
    assert_eq!(*rig.memory.takes.lock().unwrap(), 3);
}

#[tokio::test]
async fn a_binary_is_taken_by_itself_and_may_be_referred_to_later() {
    let rig = rig();
    let sent = rig.send("POST", "/Binary", &[("content-type", "text/csv")], "1,2\n3,4\n").await;
    assert_eq!((sent.status, rig.memory.contents()), (201, vec![b"1,2\n3,4\n".to_vec()]));
    let id = sent.location.split('/').rev().nth(2).unwrap().to_owned();
    // The resource under JSON's own name is the resource all the same.
    let resource = r#"{"resourceType":"Binary","contentType":"text/csv","data":"NSw2Cg=="}"#;
    assert_eq!(rig.send("POST", "/Binary", &[("content-type", "application/json")], resource).await.status, 201);
    assert!(rig.memory.contents().contains(&b"5,6\n".to_vec()));
    for url in [format!("Binary/{id}"), format!("https://ecg.example.org/fhir/Binary/{id}/_history/1")] {
        let refers = document(&format!(r#"{{"url":"{url}"}}"#), &url.len().to_string());
        assert_eq!(rig.post("/DocumentReference", refers).await.status, 201, "{url}");
    }
    for url in ["Binary/none", "https://evil.example.org/Binary/1", "urn:uuid:1", "Patient/1"] {
        let refused = rig.post("/DocumentReference", document(&format!(r#"{{"url":"{url}"}}"#), "1")).await;
        assert_eq!(refused.status, 422, "{url}");
        assert_eq!(refused.body["issue"][0]["details"]["coding"][0]["code"], "fhir.unresolved");
    }
    assert_eq!(rig.counts().0, 2);
}

#[tokio::test]
async fn a_transaction_is_answered_entry_by_entry_or_not_at_all() {
    let rig = rig();
    let bundle = |size: u32| {
        let refers = document(&format!(r#"{{"url":"urn:uuid:1","size":{size}}}"#), "2026");
        format!(
            r#"{{"resourceType":"Bundle","type":"transaction","entry":[
            {{"fullUrl":"urn:uuid:1","resource":{{"resourceType":"Binary","contentType":"text/csv","data":"MSwyCjMsNAo="}},"request":{{"method":"POST","url":"Binary"}}}},
            {{"fullUrl":"urn:uuid:2","resource":{refers},"request":{{"method":"POST","url":"DocumentReference","ifNoneExist":"identifier=urn:x|7"}}}}]}}"#
        )
    };
    let refused = rig.post("/", bundle(9)).await;
    assert_eq!((refused.status, rig.counts()), (422, (0, 0)));
    assert_eq!(refused.body["issue"][0]["expression"][0], "Bundle.entry[1].resource.content[0].attachment");
    let taken = rig.post("/", bundle(8)).await;
    // Kept: the transaction, the Binary, the DocumentReference.
    assert_eq!((taken.status, rig.counts()), (200, (1, 3)));
    let statuses = |heard: &Heard| -> Vec<String> {
        let entries = heard.body["entry"].as_array().unwrap();
        entries.iter().map(|e| e["response"]["status"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(statuses(&taken), ["201 Created", "201 Created"]);
    assert_eq!(statuses(&rig.post("/", bundle(8)).await), ["201 Created", "200 OK"]);
    assert_eq!(rig.counts(), (1, 3));
}

#[tokio::test]
async fn what_is_bad_is_told_as_an_operation_outcome() {
    let rig = rig();
    let json = "application/fhir+json";
    let bomb = "<!DOCTYPE a [<!ENTITY b \"bbbb\"><!ENTITY c \"&b;&b;\">]><Binary>&c;</Binary>";
    let long = "x".repeat((1 << 20) + 1);
    for (path, kind, body, status, code) in [
        ("/Binary", "application/fhir+xml", bomb, 415, "fhir.not_supported"),
        ("/DocumentReference", "application/xml", bomb, 415, "fhir.not_supported"),
        ("/DocumentReference", "application/fhir+json; fhirVersion=3.0", "{}", 415, "fhir.not_supported"),
        ("/DocumentReference", json, "{\"Doe\"", 400, "fhir.invalid"),
        ("/DocumentReference", json, &"[".repeat(100_000), 400, "fhir.invalid"),
        ("/Binary", "application/pdf", "%PDF-1.4\n", 422, "attachment.incomplete"),
        ("/Binary", "application/pdf", "", 422, "attachment.unreadable"),
        ("/Binary", "application/pdf", &long, 413, "file.too_large"),
        ("/Patient", json, "{}", 404, "fhir.not_supported"),
    ] {
        let heard = rig.send("POST", path, &[("content-type", kind)], body.to_owned()).await;
        assert_eq!(heard.status, status, "{path} {kind}");
        assert_eq!(heard.body["resourceType"], "OperationOutcome");
        assert_eq!(heard.body["issue"][0]["details"]["coding"][0]["code"], code);
        assert!(!heard.body.to_string().contains("Doe"));
    }
    assert_eq!(rig.send("GET", "/DocumentReference", &[], "").await.status, 405);
    assert_eq!(rig.counts(), (0, 0));
}

#[tokio::test]
async fn what_passes_says_when_to_come_again_and_nothing_of_the_inside() {
    let rig = rig();
    rig.memory.fails.lock().unwrap().push(FaultCode::StoreUnreachable);
    let heard = rig.post("/DocumentReference", document(INLINE_DATA, "2026")).await;
    assert_eq!((heard.status, heard.retry_after.as_str()), (503, "5"));
    assert!(!heard.body.to_string().contains("10.1.2.3"));
    assert_eq!(rig.post("/DocumentReference", document(INLINE_DATA, "2026")).await.status, 201);
    assert_eq!(rig.counts(), (1, 1));
    let org = OrgId::parse("north").unwrap();
    let _held: Vec<_> = (0..AT_A_TIME).map(|_| rig.service.place(&org).unwrap()).collect();
    let heard = rig.post("/DocumentReference", document(INLINE_DATA, "2026")).await;
    assert_eq!((heard.status, heard.retry_after.as_str()), (429, "1"));
}

#[tokio::test]
async fn metadata_is_for_anybody_and_the_rest_is_not() {
    let rig = rig();
    let request = |method: &str, path: &str| Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let metadata = rig.router.clone().oneshot(request("GET", "/metadata")).await.unwrap();
    assert_eq!(metadata.status().as_u16(), 200);
    assert_eq!(metadata.headers()["content-type"], "application/fhir+json; fhirVersion=4.0");
    for path in ["/", "/Binary", "/DocumentReference"] {
        assert_eq!(rig.router.clone().oneshot(request("POST", path)).await.unwrap().status().as_u16(), 401);
    }
}
