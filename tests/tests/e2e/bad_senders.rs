//! What a careless or hostile sender meets by each way in, with the real gateway, Temporal and AWS endpoint: a clear answer in
//! the protocol's own terms, nothing that is lost, and operators who hear of what only they can mend.

use leadline_domain::{Digest, EnvScope};
use leadline_formats::synth::SynthFormat;
use leadline_tests::fleet::recording;
use leadline_tests::harness::alarm_queue::AlarmQueue;
use leadline_tests::harness::past_us::PastUs;
use leadline_tests::harness::stack::{Clinic, Stack};
use leadline_tests::harness::tools::{Owned, wait_for};
use leadline_tests::rig::facts;
use leadline_tests::ways_in::{WaysIn, open_to};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
const ORG: &str = "st-mary";

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in() {
    let settle = "settle = { strong_quiet_ms = 100, unverifiable_quiet_ms = 500 }\n";
    let stack = Stack::start(&[Clinic::new(ORG, "ward").with(settle).with(&open_to("MARY"))]);
    let ports = WaysIn::configure(&stack);
    let mut worker = stack.worker();
    stack.provision();
    let ways = WaysIn::start(&stack, ports);
    let files = stack.files().len();
    asked_badly_by_http(&ways);
    asked_badly_by_mllp(&ways);
    asked_badly_by_dicom(&ways);
    assert_eq!(stack.files().len(), files, "something of it was taken in");
    a_control_id_that_was_used_is_told_to_operators(&stack, &ways).await;
    permissions_that_are_used_again(&stack, &ways, &mut worker);
}

/// Sends bytes, `done`: and no more, and reads what comes until the peer closes or nothing comes for a while.
fn raw(port: u16, bytes: &[u8], done: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    // A peer that has closed already does not take the rest.
    let _ = stream.write_all(bytes);
    if done {
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    all
}

/// An answer by HTTP: status, media type, body.
fn http(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String, String) {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !headers.iter().any(|(n, _)| matches!(*n, "Content-Length" | "Transfer-Encoding")) {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    let all = raw(port, &[head.as_bytes(), b"\r\n", body].concat(), false);
    let text = String::from_utf8_lossy(&all).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    let media_type =
        head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-type: ").map(str::to_owned));
    (status, media_type.unwrap_or_default(), body.to_owned())
}

/// A request (method, path, headers, body) and its answer: the status, and a text that is in it.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [u8], u16, &'a str);

/// Wrong methods, types, bodies and headers: status, and words of the protocol at the path.
fn asked_badly_by_http(ways: &WaysIn) {
    const JSON: (&str, &str) = ("Content-Type", "application/json");
    const FHIR: (&str, &str) = ("Content-Type", "application/fhir+json");
    const STOW: (&str, &str) = ("Content-Type", "multipart/related; type=\"application/dicom\"; boundary=b");
    let port = ways.ports.http;
    let token = format!("Bearer {}", ways.token(ORG));
    let auth = ("Authorization", token.as_str());
    let reporting = format!("Bearer {}", ways.token_for(ORG, "leadline.outcomes"));
    let reporting = ("Authorization", reporting.as_str());
    let long = "x".repeat(20 << 10);
    let big = format!("{{\"size\": 1, \"type\": \"{}\"}}", "x".repeat(2 << 20));
    let deep = "[".repeat(100_000);
    let chunked = ("Transfer-Encoding", "chunked");
    let instance = b"--b\r\nContent-Type: text/plain\r\n\r\nDoe\r\n--b--\r\n";
    let cases: &[Case] = &[
        // Uploads and the processor: problem documents.
        ("PUT", "/uploads", &[auth], b"", 405, "request.method"),
        ("GET", "/outcomes", &[auth], b"", 405, "request.method"),
        ("DELETE", "/healthz", &[], b"", 405, "request.method"),
        ("POST", "/uploads", &[JSON], b"{}", 401, "request.unauthenticated"),
        ("POST", "/uploads", &[("Authorization", "Bearer a.b.c"), JSON], b"{}", 401, "request.unauthenticated"),
        ("POST", "/uploads", &[("Authorization", "Basic YTpi"), JSON], b"{}", 401, "request.unauthenticated"),
        ("POST", "/uploads", &[auth, ("Content-Type", "text/plain")], b"{\"size\": 1}", 400, "request.invalid"),
        ("POST", "/uploads", &[auth, JSON], b"{\"size\": 1, \"size\": 2}", 400, "request.invalid"),
        ("POST", "/uploads", &[auth, JSON], b"{\"size\": -1}", 400, "request.invalid"),
        ("POST", "/uploads", &[auth, JSON], b"{\"size\": 1", 400, "request.invalid"),
        ("POST", "/uploads", &[auth, JSON], b"{\"size\": 1, \"name\": \"Doe\"}", 400, "request.invalid"),
        ("POST", "/uploads", &[auth, JSON], deep.as_bytes(), 400, "request.invalid"),
        ("POST", "/uploads", &[auth, JSON], big.as_bytes(), 413, "request.too_large"),
        ("POST", "/uploads", &[auth, JSON, chunked], b"zz\r\n", 400, "request.invalid"),
        ("POST", "/uploads", &[auth, JSON, chunked], b"5\r\n{\"siz\"zz\r\n", 400, "request.invalid"),
        ("GET", "/uploads/%FF%FE", &[auth], b"", 400, "request.invalid"),
        ("GET", "/uploads/..%2F..%2Fetc%2Fpasswd", &[auth], b"", 404, "upload.unknown"),
        ("GET", "/uploads/web-00000000000000000000000000000000", &[auth], b"", 404, "upload.unknown"),
        ("GET", "/s3/params?type=text/html%0d%0aX:%20Doe", &[auth], b"", 400, "request.invalid"),
        ("GET", "/s3/multipart/x/0?key=staging/web-1", &[auth], b"", 400, "request.invalid"),
        ("GET", "/nothing/here", &[], b"", 404, "request.not_found"),
        ("GET", "/faults/none", &[], b"", 404, "request.not_found"),
        ("GET", "/upload/none.js", &[], b"", 404, "request.not_found"),
        ("POST", "/outcomes", &[auth, JSON], b"{}", 403, "request.forbidden"),
        ("POST", "/outcomes", &[reporting, JSON], long.as_bytes(), 413, "request.too_large"),
        ("POST", "/outcomes", &[reporting, JSON], b"{\"report\": 1", 422, "outcome.invalid"),
        ("POST", "/outcomes", &[reporting, JSON, chunked], b"zz\r\n", 400, "request.invalid"),
        // FHIR: OperationOutcome.
        ("GET", "/fhir/DocumentReference", &[auth], b"", 405, "request.method"),
        ("PUT", "/fhir/Binary", &[auth], b"", 405, "request.method"),
        ("GET", "/fhir", &[auth], b"", 405, "request.method"),
        ("GET", "/fhir/Binary/1", &[auth], b"", 404, "fhir.not_supported"),
        ("POST", "/fhir/Patient", &[auth, FHIR], b"{}", 404, "fhir.not_supported"),
        ("POST", "/fhir/DocumentReference", &[FHIR], b"{}", 401, "request.unauthenticated"),
        (
            "POST",
            "/fhir/DocumentReference",
            &[auth, ("Content-Type", "application/xml")],
            b"<a/>",
            415,
            "fhir.not_supported",
        ),
        ("POST", "/fhir/DocumentReference", &[auth], b"{}", 415, "fhir.not_supported"),
        ("POST", "/fhir/DocumentReference", &[auth, FHIR], b"{\"a\": 1, \"a\": 2}", 400, "fhir.invalid"),
        ("POST", "/fhir/DocumentReference", &[auth, FHIR], b"{\"resourceType\": \"Doe", 400, "fhir.invalid"),
        ("POST", "/fhir/DocumentReference", &[auth, FHIR], deep.as_bytes(), 400, "fhir.invalid"),
        ("POST", "/fhir/DocumentReference", &[auth, FHIR, chunked], b"zz\r\n", 400, "fhir.invalid"),
        ("POST", "/fhir/DocumentReference", &[auth, FHIR, ("Content-Length", "99999999")], b"", 413, "file.too_large"),
        (
            "POST",
            "/fhir",
            &[auth, FHIR],
            b"{\"resourceType\": \"Bundle\", \"type\": \"batch\"}",
            422,
            "fhir.not_supported",
        ),
        // STOW-RS: a text.
        ("GET", "/dicom-web/studies", &[auth], b"", 405, "request.method"),
        ("GET", "/dicom-web/instances", &[auth], b"", 404, "request.not_found"),
        ("POST", "/dicom-web/studies", &[STOW], b"", 401, "request.unauthenticated"),
        ("POST", "/dicom-web/studies", &[auth, JSON], b"{}", 415, "request.invalid"),
        ("POST", "/dicom-web/studies", &[auth, ("Content-Type", "multipart/related")], b"", 415, "request.invalid"),
        ("POST", "/dicom-web/studies", &[auth, STOW, ("Accept", "image/png")], b"", 406, "request.invalid"),
        ("POST", "/dicom-web/studies", &[auth, STOW], b"--b--\r\n", 400, "request.invalid"),
        ("POST", "/dicom-web/studies", &[auth, STOW], b"", 400, ": "),
        ("POST", "/dicom-web/studies", &[auth, STOW], instance, 415, "request.invalid"),
        ("POST", "/dicom-web/studies", &[auth, STOW, chunked], b"5\r\n--b\r\nzz\r\n", 400, "dicom.peer_broke_off"),
        ("POST", "/dicom-web/studies/%FF", &[auth, STOW], b"--b--\r\n", 400, "request.invalid"),
    ];
    for (method, path, headers, body, status, code) in cases {
        let (said, media_type, text) = http(port, method, path, headers, body);
        let what = format!("{method} {path}: {said} {media_type} {text}");
        assert_eq!(said, *status, "{what}");
        assert!(text.contains(code), "{code}: {what}");
        let words = match path.split(['/', '?']).nth(1) {
            Some("fhir") => "application/fhir+json; fhirversion=4.0",
            Some("dicom-web") => "text/plain; charset=utf-8",
            _ => "application/problem+json",
        };
        assert_eq!(media_type, words, "{what}");
        assert!(!text.contains("Doe") && !text.contains("passwd"), "{what}");
    }
    // Below the protocols: HTTP itself.
    let header = ("X-Long", &*"x".repeat(200 << 10));
    assert_eq!(http(port, "GET", "/healthz", &[header], b"").0, 431);
    assert_eq!(http(port, "GET", &format!("/{}", "x".repeat(70 << 10)), &[], b"").0, 414);
    for bad in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"HELO x\r\n\r\n", b"GET /healthz HTTP/9.9\r\n\r\n"]
    {
        assert!(raw(port, bad, false).starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(bad));
    }
    let two = b"POST /outcomes HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 9\r\n\r\n{}\n";
    assert!(raw(port, two, false).starts_with(b"HTTP/1.1 400 "), "two lengths are none");
    assert_eq!(ways.curl(&["/readyz"]).0, 200, "it serves as before");
}

/// What is no message that is taken: the code of each, and nothing of it is quoted.
fn asked_badly_by_mllp(ways: &WaysIn) {
    let frame = |text: &str| [b"\x0b", text.as_bytes(), b"\x1c\r"].concat();
    let msh = |kind: &str, id: &str, processing: &str, version: &str| {
        format!("MSH|^~\\&|CART|WARD|LL|HUB|20260101||{kind}|{id}|{processing}|{version}\rPID|||4711||Doe^John\r")
    };
    for (what, text, code, number) in [
        ("nothing", String::new(), "MSA|AR|", "100"),
        ("no message", "hello Doe".into(), "MSA|AR|", "100"),
        ("half an MSH", "MSH|".into(), "MSA|AR|", "100"),
        ("no control id", msh("ORU^R01", "", "P", "2.5"), "MSA|AR|", "101"),
        ("another message", msh("ADT^A01", "b1", "P", "2.5"), "MSA|AR|b1", "200"),
        ("another trigger", msh("ORU^R99", "b2", "P", "2.5"), "MSA|AR|b2", "201"),
        ("a training message", msh("ORU^R01", "b3", "T", "2.5"), "MSA|AR|b3", "202"),
        ("an old version", msh("ORU^R01", "b4", "P", "2.1"), "MSA|AR|b4", "203"),
        ("a batch", format!("BHS|^~\\&|CART\r{}BTS|1\r", msh("ORU^R01", "b5", "P", "2.5")), "MSA|AR|", "100"),
        (
            "a document that is none",
            format!("{}OBX|1|ED|x||^^^Base64^????||||||F\r", msh("ORU^R01", "b6", "P", "2.5")),
            "MSA|AE|b6",
            "102",
        ),
        (
            "a pointer into the network",
            format!("{}OBX|1|RP|x||http://169.254.169.254/latest||||||F\r", msh("ORU^R01", "b7", "P", "2.5")),
            "MSA|AE|b7",
            "",
        ),
    ] {
        let said = String::from_utf8_lossy(&raw(ways.ports.mllp, &frame(&text), true)).into_owned();
        assert!(said.starts_with('\u{b}') && said.ends_with("\u{1c}\r"), "{what}: {said:?}");
        assert!(said.contains(code), "{what}: {said:?}");
        assert!(said.split('\r').any(|s| s.starts_with("ERR|") && s.contains(number)), "{what}: {said:?}");
        assert!(!said.contains("Doe") && !said.contains("|4711") && !said.contains("169.254"), "{what}: {said:?}");
    }
    // A frame that is not closed is discarded without a word, as MLLP has it.
    assert!(raw(ways.ports.mllp, &frame(&msh("ORU^R01", "b8", "P", "2.5"))[..60], true).is_empty());
}

/// What is no association that is taken: A-ABORT or A-ASSOCIATE-RJ, and an echo goes on working.
fn asked_badly_by_dicom(ways: &WaysIn) {
    let port = ways.ports.dicom;
    let abort = |bytes: &[u8]| raw(port, bytes, false).first() == Some(&0x07);
    assert!(abort(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "no DICOM");
    assert!(abort(&[0x04, 0, 0, 0, 0, 6, 0, 0, 0, 2, 1, 0]), "data before an association");
    assert!(abort(&[0x01, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 1]), "a PDU of four gigabytes");
    assert!(abort(&[0x09, 0, 0, 0, 0, 0]), "a type of PDU that is none");
    let echo = |called: &str| {
        let mut c = std::process::Command::new("echoscu");
        c.args(["-aec", called, "127.0.0.1", &port.to_string()]).output().expect("echoscu runs").status.success()
    };
    assert!(!echo("NOBODY") && echo("MARY"));
}

/// The sender hears AE each time, operators once.
async fn a_control_id_that_was_used_is_told_to_operators(stack: &Stack, ways: &WaysIn) {
    let root = PastUs::new(&stack.aws.url()).await;
    let alarms = AlarmQueue::at(&root, "alarms", &EnvScope::new(&facts("test")).alarm_topic_arn()).await;
    let [first, second, third] = [31, 32, 33].map(|n| recording(SynthFormat::Dicom, n));
    assert_eq!(ways.hl7("c-1", "dicom", &first).as_deref(), Some("AA"));
    assert_eq!(ways.hl7("c-1", "dicom", &first).as_deref(), Some("AA"), "a repeat is no other message");
    for other in [&second, &third, &second] {
        assert_eq!(ways.hl7("c-1", "dicom", other).as_deref(), Some("AE"));
    }
    let told = alarms.hears(1).await.remove(0);
    assert_eq!(told.subject, "leadline test: hl7.control_id_reused (st-mary)");
    let m = told.message;
    assert_eq!((m.organization.as_deref(), m.page.as_str()), (Some(ORG), "docs/faults/hl7.control_id_reused.md"));
    assert!(m.workflow.is_empty() && !m.run.is_empty(), "{m:?}");
    let kept =
        m.detail.split(' ').find(|w| w.starts_with("received/hl7v2/hl7v2-")).expect("the first message").to_owned();
    let bucket = leadline_tests::rig::scope(ORG).bucket();
    let there = root.s3.get_object().bucket(bucket).key(kept).send().await.expect("it is kept");
    let there = there.body.collect().await.expect("read").to_vec();
    assert!(there.starts_with(b"MSH|^~\\&|CART|WARD|"), "which says whose it is");
    assert!(!format!("{m:?}").contains("CART") && !format!("{m:?}").contains("Doe"), "{m:?}");
    // What was refused comes in with a control id of its own.
    assert_eq!(ways.hl7("c-2", "dicom", &second).as_deref(), Some("AA"));
    wait_for("both are delivered", LIMIT, || of_state(stack, "delivered") == 2);
    let log = std::fs::read_to_string(stack.dir.join("gateway.log")).expect("a log");
    assert!(!log.contains("Doe") && !log.contains("|4711"), "the log names a patient");
}

fn of_state(stack: &Stack, state: &str) -> usize {
    stack.files().iter().filter(|f| f["state"] == state).count()
}

fn text(v: &Value) -> String {
    v.as_str().unwrap_or_else(|| panic!("no text: {v}")).to_owned()
}

/// A form, a PUT and the parts of an upload whose holder uses them again, with another content: what was looked at first is
/// what is delivered.
fn permissions_that_are_used_again(stack: &Stack, ways: &WaysIn, worker: &mut Owned) {
    let before = of_state(stack, "delivered");
    let _ = stack.take_messages("ingest");
    let auth = format!("Authorization: Bearer {}", ways.token(ORG));
    let ask = |path: &str| {
        let (status, body) = ways.curl(&[path, "-H", &auth]);
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        serde_json::from_slice::<Value>(&body).expect("JSON")
    };
    let [first, second, third] = [41, 42, 43].map(|n| recording(SynthFormat::Dicom, n));
    let file = |name: &str, bytes: &[u8]| {
        let path = stack.dir.join(name);
        std::fs::write(&path, bytes).expect("written");
        path.display().to_string()
    };
    let complete = |id: &str| ways.asked(ORG, &format!("/uploads/{id}/complete"), "application/json", b"{}").0;
    let judged = |id: &str| {
        wait_for("the upload is judged", LIMIT, || ways.upload(ORG, id)["done"] == true);
        ways.upload(ORG, id)
    };
    let recording_of = |bytes: &[u8]| format!("{ORG}.{}", Digest::of(bytes).to_hex());

    // The form: while nobody works, the first content is completed and the second one sent.
    let form = ask("/s3/params?type=application/dicom&filename=DOE_JANE.dcm");
    let id = text(&form["fields"]["key"]).strip_prefix("staging/").expect("a key in staging").to_owned();
    let send = |bytes: &[u8]| {
        let fields: Vec<String> =
            form["fields"].as_object().expect("fields").iter().map(|(k, v)| format!("{k}={}", text(v))).collect();
        let (url, file) = (text(&form["url"]), format!("file=@{}", file("form.dcm", bytes)));
        let mut args = vec![url.as_str()];
        for f in &fields {
            args.extend(["-F", f]);
        }
        args.extend(["-F", &file]);
        ways.curl(&args).0
    };
    worker.kill();
    assert_eq!((send(&first), complete(&id)), (201, 202));
    assert_eq!((send(&second), complete(&id)), (201, 202), "S3 takes it again; the gateway goes on with the first");
    *worker = stack.worker();
    let said = judged(&id);
    assert_eq!((&said["state"], &said["recording"]), (&"delivered".into(), &recording_of(&first).into()), "{said}");
    // And once more when it is over.
    assert_eq!((send(&third), complete(&id)), (201, 202));
    assert_eq!(judged(&id), said);
    let metrics = format!("http://127.0.0.1:{}/metrics", ways.ports.metrics);
    wait_for("it is counted", LIMIT, || {
        String::from_utf8_lossy(&ways.curl(&[&metrics]).1).contains("leadline_uploads_total{what=\"written_again\"}")
    });

    // The PUT: refused while the object is there, and of no effect when it has gone to its place.
    let size = first.len().to_string();
    let ask_put = format!("{{\"size\": {size}, \"type\": \"application/dicom\"}}");
    let (status, told) = ways.asked(ORG, "/uploads", "application/json", ask_put.as_bytes());
    assert_eq!(status, 201);
    let told: Value = serde_json::from_slice(&told).expect("JSON");
    let put = |bytes: &[u8]| {
        let headers: Vec<String> =
            told["headers"].as_object().expect("headers").iter().map(|(k, v)| format!("{k}: {}", text(v))).collect();
        let (url, data) = (text(&told["url"]), format!("@{}", file("put.dcm", bytes)));
        let mut args = vec![url.as_str(), "-X", "PUT", "--data-binary", &data];
        for h in &headers {
            args.extend(["-H", h]);
        }
        ways.curl(&args).0
    };
    let id = text(&told["id"]);
    let (mut one, mut other) = (second.clone(), third.clone());
    one.resize(first.len(), 0);
    other.resize(first.len(), 0);
    worker.kill();
    assert_eq!((put(&one), complete(&id)), (200, 202));
    assert_eq!(put(&other), 412, "something is there");
    *worker = stack.worker();
    let said = judged(&id);
    let again = put(&other);
    assert!(again == 200 || again == 412, "{again}");
    assert_eq!(complete(&id), 202);
    assert_eq!(judged(&id), said);

    // Parts: the upload that they belong to is known no more.
    let whole = recording(SynthFormat::Edf, 44);
    let ask_parts = format!("{{\"size\": {}, \"multipart\": true}}", whole.len());
    let (_, told) = ways.asked(ORG, "/uploads", "application/json", ask_parts.as_bytes());
    let told: Value = serde_json::from_slice(&told).expect("JSON");
    let (id, key, upload) = (text(&told["id"]), text(&told["key"]), text(&told["multipart"]["upload_id"]));
    let url = text(&ask(&format!("/s3/multipart/{upload}/1?key={key}"))["url"]);
    let part = |bytes: &[u8]| ways.curl(&[&url, "-X", "PUT", "--data-binary", &format!("@{}", file("part", bytes))]).0;
    assert_eq!(part(&whole), 200);
    let list = ask(&format!("/s3/multipart/{upload}?key={key}"));
    let all = serde_json::json!({ "parts": list }).to_string();
    let path = format!("/s3/multipart/{upload}/complete?key={key}");
    assert_eq!(ways.asked(ORG, &path, "application/json", all.as_bytes()).0, 200);
    assert_eq!(part(&third), 404);
    assert_eq!(ways.asked(ORG, &path, "application/json", all.as_bytes()).0, 200, "a repeat is the same");
    let said = judged(&id);
    assert_eq!((&said["state"], &said["recording"]), (&"delivered".into(), &recording_of(&whole).into()), "{said}");

    let messages = stack.await_messages("ingest", 2, LIMIT);
    let ids: Vec<&str> = messages.iter().filter_map(|m| m["id"].as_str()).collect();
    for (what, bytes) in [("second", &second), ("third", &third), ("other", &other)] {
        assert!(!ids.contains(&recording_of(bytes).as_str()), "{what} was delivered");
    }
    assert!(ids.contains(&recording_of(&first).as_str()) && ids.contains(&recording_of(&whole).as_str()), "{ids:?}");
    assert!(of_state(stack, "delivered") >= before + 2);
}
