//! The codec server, over HTTP, on payloads as Temporal has them.

use leadline_formats::synth::{Spec, SynthFormat};
use leadline_tests::harness::stack::{Clinic, Stack};
use leadline_tests::harness::tools::{Owned, free_port, wait_for};
use leadline_tests::rig::connect_plain;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::time::Duration;
use temporalio_client::{UntypedWorkflow, WorkflowFetchHistoryOptions};

const LIMIT: Duration = Duration::from_secs(60);
const UI: &str = "http://127.0.0.1:8233";

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{} {}", self.head, self.body))
    }
    fn error(&self) -> String {
        self.json()["error"].as_str().expect("an error says why").to_owned()
    }
}

fn ask(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut s = std::net::TcpStream::connect(("127.0.0.1", port)).expect("the codec server answers");
    let headers: String = headers.iter().map(|(k, v)| format!("{k}: {v}\r\n")).collect();
    let length = body.len();
    write!(
        s,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
    .expect("sent");
    let mut text = String::new();
    s.read_to_string(&mut text).expect("answered");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer of HTTP");
    let status = head.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a status");
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

fn serve(stack: &Stack, port: u16, more: &[&str]) -> Owned {
    let listen = format!("127.0.0.1:{port}");
    let args = [&["codec-server", "--env", "test", "--listen", &listen, "--ui-origin", UI], more].concat();
    let server = Owned::start(&mut stack.command(&args));
    wait_for("the codec server", LIMIT, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    server
}

/// The input of a file's lifecycle in its history, as the JSON of Payloads.
async fn recorded(stack: &Stack) -> Value {
    let client = connect_plain(&stack.temporal.address()).await;
    let file = stack.files().remove(0);
    let key = file["file"].as_str().expect("a key");
    let handle = client.get_workflow_handle::<UntypedWorkflow>(format!("recording/st-mary/ward/{key}"));
    let history = handle.fetch_history(WorkflowFetchHistoryOptions::default()).to_json().await.expect("a history");
    let history: Value = serde_json::from_slice(&history).expect("JSON");
    let started = &history["events"][0]["attributes"]["WorkflowExecutionStartedEventAttributes"];
    let input = started["input"].clone();
    assert!(input["payloads"][0]["data"].is_string(), "{started}");
    input
}

fn from_base64(s: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut bits, mut n) = (0u32, 0);
    for c in s.as_str().expect("base64").bytes().filter(|c| *c != b'=') {
        let v = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".iter().position(|x| *x == c);
        bits = bits << 6 | u32::try_from(v.expect("base64")).expect("small");
        n += 6;
        if n >= 8 {
            n -= 8;
            out.push(u8::try_from(bits >> n & 0xff).expect("a byte"));
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ui_and_the_cli_read_what_is_recorded() {
    let quick = "settle = { strong_quiet_ms = 100, weak_quiet_ms = 100, unverifiable_quiet_ms = 200, stalled_after_ms = 86400000 }";
    let stack = Stack::start(&[Clinic::new("st-mary", "ward").with(quick)]);
    let mut worker = stack.worker();
    stack.provision();
    let device = stack.device("st-mary").await;
    let bytes = SynthFormat::Dicom.write(&Spec::new(3)).expect("made").remove(0).bytes;
    device.put("in/ZEPHYRINA QUIXOTE.dcm", &bytes).await.expect("written");
    wait_for("a file is listed", LIMIT, || !stack.files().is_empty());
    let sealed = recorded(&stack).await;
    let text = sealed.to_string();
    assert!(!String::from_utf8_lossy(&from_base64(&sealed["payloads"][0]["data"])).contains("QUIXOTE"), "{text}");

    let port = free_port();
    let mut server = serve(&stack, port, &[]);
    let plain = [("Content-Type", "application/json"), ("X-Namespace", "default")];
    let a = ask(port, "POST", "/decode", &plain, &text);
    assert_eq!(a.status, 200, "{} {}", a.head, a.body);
    let open = a.json();
    let clear = String::from_utf8(from_base64(&open["payloads"][0]["data"])).expect("JSON is text");
    assert!(clear.contains("ZEPHYRINA QUIXOTE.dcm") && clear.contains("st-mary"), "{clear}");
    assert_eq!(from_base64(&open["payloads"][0]["metadata"]["encoding"]), b"json/plain");
    assert!(a.head.contains("cache-control: no-store"), "{}", a.head);
    // There and back, with the namespace in the path.
    let again = ask(port, "POST", "/default/encode", &plain, &open.to_string());
    assert!(!again.body.contains(open["payloads"][0]["data"].as_str().expect("text")), "sealed: {}", again.body);
    assert_eq!(ask(port, "POST", "/default/decode", &plain, &again.body).json(), open);

    // A browser asks first; the UI may, another page may not.
    let ui = [("Origin", UI), ("Access-Control-Request-Method", "POST")];
    let a = ask(port, "OPTIONS", "/decode", &ui, "");
    assert_eq!(a.status, 204);
    assert!(a.head.contains(&format!("access-control-allow-origin: {UI}")), "{}", a.head);
    assert!(a.head.contains("x-namespace") && a.head.contains("authorization"), "{}", a.head);
    assert!(ask(port, "POST", "/decode", &[("Origin", UI)], &text).head.contains("access-control-allow-origin: http"));
    for (method, body) in [("OPTIONS", ""), ("POST", text.as_str())] {
        let a = ask(port, method, "/decode", &[("Origin", "http://evil.example")], body);
        assert_eq!(a.status, 403);
        assert!(
            !a.head.contains("access-control-allow-origin") && a.error().contains("origin"),
            "{} {}",
            a.head,
            a.body
        );
    }

    // Garbage, and what was sealed with another key.
    for body in ["", "no json", "{\"payloads\":[{\"data\":\"no base64!\"}]}", "{\"payloads\":3}"] {
        let a = ask(port, "POST", "/decode", &plain, body);
        assert_eq!((a.status, a.error().contains("Payloads")), (400, true), "{body}: {}", a.body);
    }
    let mut foreign = sealed.clone();
    foreign["payloads"][0]["metadata"]["encryption-key-id"] = json!("b3RoZXI=");
    let a = ask(port, "POST", "/decode", &plain, &foreign.to_string());
    assert_eq!((a.status, a.error().contains("a key that is not here")), (422, true), "{}", a.body);
    let mut cut = sealed.clone();
    cut["payloads"][0]["data"] = json!("AAAA");
    assert_eq!(ask(port, "POST", "/decode", &plain, &cut.to_string()).status, 422);
    let a = ask(port, "POST", "/decode", &[("X-Namespace", "leadline-uk")], &text);
    assert_eq!((a.status, a.error().contains("leadline-uk")), (400, true), "{}", a.body);
    assert_eq!(ask(port, "POST", "/open", &plain, &text).status, 404);
    assert_eq!(ask(port, "GET", "/decode", &plain, "").status, 405);
    assert!(server.stop(LIMIT).is_some_and(|s| s.success()), "it stops when told");

    // With a token, which is made where there is none.
    let port = free_port();
    let _server = serve(&stack, port, &["--token-secret", "leadline/test/codec-token"]);
    let endpoint = stack.aws.url();
    let token = secret(&endpoint, "leadline/test/codec-token").await;
    assert_eq!(token.len(), 64);
    for wrong in [None, Some("Bearer nonsense".to_owned()), Some(token.clone()), Some("Bearer ".to_owned())] {
        let headers: Vec<(&str, &str)> = wrong.as_deref().map(|w| ("Authorization", w)).into_iter().collect();
        let a = ask(port, "POST", "/decode", &headers, &text);
        assert_eq!((a.status, a.error().contains("token")), (401, true), "{wrong:?}: {}", a.body);
        assert!(a.head.contains("www-authenticate: bearer"), "{}", a.head);
    }
    let right = format!("Bearer {token}");
    assert_eq!(ask(port, "POST", "/decode", &[("Authorization", &right)], &text).status, 200);
    // A browser's question carries no token and gets its answer.
    assert_eq!(ask(port, "OPTIONS", "/decode", &ui, "").status, 204);

    // Everybody's address, and no token: refused before it listens.
    let out = stack.run(&["codec-server", "--env", "test", "--listen", "0.0.0.0:0"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("--token-secret"), "{out:?}");
    worker.stop(Duration::from_secs(20));
}

async fn secret(endpoint: &str, name: &str) -> String {
    use leadline_activities::adapters::aws::{Aws, AwsSecrets, AwsSettings};
    let scope = leadline_domain::EnvScope::new(&leadline_tests::rig::facts("test"));
    let settings = AwsSettings { endpoint_url: Some(endpoint.to_owned()), assume_worker_role: false, profile: None };
    let aws = Aws::connect_as(&scope, &settings, leadline_tests::harness::stack::ACCOUNT, "test").await;
    AwsSecrets::new(aws).environment_secret(name, || panic!("it is there")).await.expect("read")
}
