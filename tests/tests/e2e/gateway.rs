//! The same recording by every way in, with the real gateway, Samba, Temporal and AWS endpoint: one message, and links.

use leadline_domain::Digest;
use leadline_formats::synth::{Spec, SynthFormat};
use leadline_tests::fleet::recording;
use leadline_tests::harness::stack::{Clinic, Stack};
use leadline_tests::harness::tools::wait_for;
use leadline_tests::ways_in::{WaysIn, open_to};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
const ORG: &str = "st-mary";

fn clinic() -> Clinic {
    let settle = "settle = { strong_quiet_ms = 100, unverifiable_quiet_ms = 500 }\n";
    Clinic::new(ORG, "ward").with(settle).with(&open_to("MARY"))
}

fn states(stack: &Stack) -> Vec<(String, String)> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    stack.files().iter().map(|f| (text(&f["ingress"]), text(&f["state"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_recording_by_every_way() {
    let uploads_only = Clinic::new("kings-road", "office").with("\n[gateway.uploads]\n");
    let stack = Stack::start(&[clinic(), uploads_only]);
    let ports = WaysIn::configure(&stack);
    let _worker = stack.worker();
    stack.provision();
    let mut ways = WaysIn::start(&stack, ports);
    let device = stack.device(ORG).await;
    let bytes = recording(SynthFormat::Dicom, 11);
    what_is_not_opened_is_not_served(&ways, &bytes);

    let first = ways.web(ORG, "application/dicom", &bytes);
    wait_for("the upload is delivered", LIMIT, || ways.upload(ORG, &first)["done"] == true);
    device.put("in/DOE_JANE.dcm", &bytes).await.expect("written");
    assert_eq!(ways.hl7("7", "dicom", &bytes).as_deref(), Some("AA"));
    assert_eq!(ways.fhir(ORG, "urn-7", "application/dicom", &bytes), 201);
    assert_eq!(ways.stow(ORG, &bytes), 200);
    let again = ways.web(ORG, "application/dicom", &bytes);
    wait_for("all have an outcome", LIMIT, || {
        states(&stack).iter().filter(|(_, s)| s == "delivered" || s == "duplicate").count() == 6
    });
    let all = states(&stack);
    let delivered: Vec<&String> = all.iter().filter(|(_, s)| s == "delivered").map(|(i, _)| i).collect();
    assert_eq!(delivered, ["web"], "{all:?}");
    let linked: BTreeSet<&str> = all.iter().filter(|(_, s)| s == "duplicate").map(|(i, _)| i.as_str()).collect();
    assert_eq!(linked, BTreeSet::from(["smb", "hl7v2", "fhir", "dicom", "web"]));
    assert!(ways.upload(ORG, &again).to_string().contains("duplicate"), "{}", ways.upload(ORG, &again));
    let messages = stack.take_messages("ingest");
    assert_eq!(messages.len(), 1);
    reported_by_http(&stack, &ways, messages[0]["id"].as_str().expect("an id"));

    // The same control id with the same message makes no new work, whatever happens to the gateway in between.
    ways.kill_gateway();
    ways.start_gateway();
    assert_eq!(ways.hl7("7", "dicom", &bytes).as_deref(), Some("AA"));
    assert_eq!(states(&stack).len(), 6);

    // A C-STORE sender may encode anew: other bytes of the same object are delivered, and linked.
    let file = stack.dir.join("same.dcm");
    std::fs::write(&file, recording(SynthFormat::Dicom, 12)).expect("written");
    assert!(ways.c_store("MARY", &file), "storescu is told that it is stored");
    assert!(!ways.c_store("NOBODY", &file), "a title that nobody has");
    wait_for("it is delivered", LIMIT, || states(&stack).contains(&("dicom".into(), "delivered".into())));

    // Another encoding of the same measurement has another identifier, and is linked all the same.
    let xml = recording(SynthFormat::Aecg, 11);
    assert_eq!(ways.fhir(ORG, "urn-11", "application/xml", &xml), 201);
    let scp = recording(SynthFormat::Scp, 11);
    device.put("in/DOE_JANE.scp", &scp).await.expect("written");
    for (ingress, content) in [("fhir", &xml), ("smb", &scp)] {
        wait_for("it is delivered", LIMIT, || states(&stack).contains(&(ingress.into(), "delivered".into())));
        let files = stack.files();
        let of = files.iter().find(|f| f["ingress"] == ingress && f["state"] == "delivered").expect("listed");
        let shown =
            stack.ok(&["file", "show", of["file"].as_str().expect("a key"), "--env", "test", "--output", "json"]);
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        assert!(shown.to_string().contains(&Digest::of(content).to_hex()), "{shown}");
        let id = format!("{ORG}.{}", Digest::of(&bytes).to_hex());
        assert_eq!(shown["related"], serde_json::json!([{ "recording": id, "how": "link" }]), "{shown}");
    }

    // What is not whole is refused in the sender's own protocol, and what cannot be refused there is kept.
    let cut = &bytes[..bytes.len() / 2];
    assert_eq!(ways.hl7("8", "dicom", cut).as_deref(), Some("AE"));
    assert_eq!(ways.fhir(ORG, "urn-8", "application/dicom", cut), 422);
    let upload = ways.web(ORG, "application/dicom", cut);
    wait_for("the upload is judged", LIMIT, || ways.upload(ORG, &upload)["done"] == true);
    let said = ways.upload(ORG, &upload);
    assert!(said.to_string().contains("incomplete"), "{said}");

    // What would become too large if somebody read it as XML is nothing but the bytes that it is.
    let ten = |n: u32| format!("<!ENTITY e{} \"{}\">", n + 1, format!("&e{n};").repeat(10));
    let entities: String = (0..40).map(ten).collect();
    let bomb = format!(
        "<?xml version=\"1.0\"?><!DOCTYPE AnnotatedECG [<!ENTITY e0 \"1\">{entities}]>\
         <AnnotatedECG xmlns=\"urn:hl7-org:v3\"><digits>&e40;</digits></AnnotatedECG>"
    );
    let upload = ways.web(ORG, "application/xml", bomb.as_bytes());
    wait_for("the upload is judged", LIMIT, || ways.upload(ORG, &upload)["done"] == true);
    assert_eq!(ways.upload(ORG, &upload)["state"], "delivered");
}

/// An organization whose file opens uploads only: its token is good, and opens nothing else. Told in the words of each
/// protocol; nothing is kept.
fn what_is_not_opened_is_not_served(ways: &WaysIn, bytes: &[u8]) {
    let shut = "kings-road";
    let body = br#"{"resourceType":"DocumentReference"}"#;
    let (status, told) = ways.asked(shut, "/fhir/DocumentReference", "application/fhir+json", body);
    let told: Value = serde_json::from_slice(&told).expect("JSON");
    assert_eq!((status, &told["resourceType"]), (403, &"OperationOutcome".into()), "{told}");
    assert_eq!(told["issue"][0]["details"]["coding"][0]["code"], "request.forbidden");
    assert_eq!(ways.fhir(shut, "urn-1", "application/dicom", bytes), 403);
    let media_type = "multipart/related; type=\"application/dicom\"; boundary=edge";
    let (status, told) = ways.asked(shut, "/dicom-web/studies", media_type, b"--edge--");
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(status == 403 && told.starts_with("request.forbidden: "), "{status} {told}");
    assert_eq!(ways.stow(shut, bytes), 403);
}

/// The processor's report by HTTP: with a token for that, as often as it likes, and it is in the recording's history.
fn reported_by_http(stack: &Stack, ways: &WaysIn, recording: &str) {
    let report = serde_json::json!({
        "schema": "urn:leadline:schema:outcome:v1", "report": "run-1", "recording": recording, "status": "processed",
        "processor": "by-http/1", "time": "2026-01-02T03:04:05Z",
    });
    let send = |scope: &str, report: &Value| {
        let auth = format!("Authorization: Bearer {}", ways.token_for(ORG, scope));
        let json = ["-H", "Content-Type: application/json", "-d", &report.to_string()].map(str::to_owned);
        let args: Vec<&str> = ["/outcomes", "-H", &auth].into_iter().chain(json.iter().map(String::as_str)).collect();
        let (status, body) = ways.curl(&args);
        (status, serde_json::from_slice::<Value>(&body).unwrap_or_default())
    };
    assert_eq!(send("", &report).0, 403, "a token that is for something else");
    let (status, first) = send("leadline.outcomes", &report);
    assert_eq!((status, &first["recording"]), (200, &recording.into()), "{first}");
    assert_eq!(send("leadline.outcomes", &report), (200, first), "a repeat");
    let mut foreign = report.clone();
    foreign["recording"] = recording.replace(ORG, "kings-road").into();
    assert_eq!(send("leadline.outcomes", &foreign).0, 403, "another organization's recording");
    let shown = stack.ok(&["outcome", "show", recording, "--env", "test"]);
    assert!(shown.contains("by-http/1"), "{shown}");
}

/// What a sender makes of an answer.
enum Answer {
    Taken,
    /// It is to send the same again.
    Later,
    Refused(String),
}

fn answer<T, U: PartialEq<T> + std::fmt::Debug>(said: U, taken: T, later: &[T]) -> Answer {
    match said {
        said if said == taken => Answer::Taken,
        said if later.iter().any(|l| said == *l) => Answer::Later,
        said => Answer::Refused(format!("{said:?}")),
    }
}

/// Sends as a sender does, which sends again what is refused for now: on a busy machine a step takes its time.
fn sent(way: &str, send: impl Fn() -> Answer) -> bool {
    for _ in 0..10 {
        match send() {
            Answer::Taken => return true,
            Answer::Later => {}
            Answer::Refused(said) => panic!("{way}: {said}"),
        }
    }
    panic!("{way}: put off ten times")
}

/// Rounds of one recording by five ways at once: each round has one delivery and one message, whoever wins.
#[tokio::test(flavor = "multi_thread")]
async fn racing_ways_deliver_once() {
    const ROUNDS: u64 = 100;
    const WAYS: u64 = 5;
    let stack = Stack::start(&[clinic()]);
    let ports = WaysIn::configure(&stack);
    let _worker = stack.worker();
    stack.provision();
    let ways = WaysIn::start(&stack, ports);
    let device = stack.device(ORG).await;
    let failed = AtomicBool::new(false);
    let now = tokio::runtime::Handle::current();
    std::thread::scope(|s| {
        for lane in 0..4 {
            let (ways, failed, device, now) = (&ways, &failed, &device, &now);
            s.spawn(move || {
                for round in (lane..ROUNDS).step_by(4) {
                    let bytes = recording(SynthFormat::Dicom, 1_000 + round);
                    let write = || now.block_on(device.put(&format!("in/r{round}.dcm"), &bytes)).is_ok();
                    // A share's file is looked at before it is taken: now and then it has a start.
                    let early = (round % 8 < 4).then(write);
                    let name = format!("r{round}");
                    let outcome = std::thread::scope(|s| {
                        let hl7 = || ways.hl7(&name, "dicom", &bytes).unwrap_or_default();
                        let fhir = || ways.fhir(ORG, &name, "application/dicom", &bytes);
                        let a = s.spawn(move || sent("hl7", || answer(hl7(), "AA", &["AR", ""])));
                        let b = s.spawn(move || sent("fhir", || answer(fhir(), 201, &[0, 429, 503])));
                        let c = s.spawn(|| !ways.web(ORG, "application/dicom", &bytes).is_empty());
                        let d = s.spawn(|| sent("stow", || answer(ways.stow(ORG, &bytes), 200, &[0, 429, 503])));
                        let e = early.unwrap_or_else(write);
                        [a, b, c, d].into_iter().all(|t| t.join().is_ok_and(|ok| ok)) && e
                    });
                    failed.fetch_or(!outcome, Ordering::Relaxed);
                }
            });
        }
    });
    assert!(!failed.load(Ordering::Relaxed), "a way refused a whole recording");
    let count = |state: &str| states(&stack).iter().filter(|(_, s)| s == state).count() as u64;
    wait_for("every round has its outcomes", LIMIT, || count("delivered") + count("duplicate") == WAYS * ROUNDS);
    assert_eq!(count("delivered"), ROUNDS);
    // Not a set: the same message twice would be one in it. The queue itself hides a repeat within minutes; what was
    // claimed and delivered is in the ledger, which hides nothing but a repeat of the same entry.
    let ids = |messages: &[Value], key: &str| {
        messages.iter().map(|m| m[key].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let messages = ids(&stack.take_messages("ingest"), "id");
    let entries = stack.await_messages("audit", usize::try_from(WAYS * ROUNDS).expect("few"), LIMIT);
    // One more once its copy was archived late says the same of the same file.
    let entries: BTreeMap<(&str, String), &Value> = entries
        .iter()
        .map(|e| ((e["file"].as_str().expect("a file"), e["outcome"].to_string()), &e["outcome"]))
        .collect();
    let of = |kind: &str, key: &str| {
        let outcomes: Vec<Value> = entries.values().filter(|o| o["kind"] == kind).map(|o| (*o).clone()).collect();
        ids(&outcomes, key)
    };
    let (delivered, linked) = (of("delivered", "recording"), of("duplicate", "of"));
    for round in 0..ROUNDS {
        let id = format!("{ORG}.{}", Digest::of(&recording(SynthFormat::Dicom, 1_000 + round)).to_hex());
        let times = |all: &[String]| all.iter().filter(|m| **m == id).count() as u64;
        assert_eq!((times(&messages), times(&delivered), times(&linked)), (1, 1, WAYS - 1), "round {round}");
    }
    assert_eq!((messages.len() as u64, entries.len() as u64), (ROUNDS, WAYS * ROUNDS));
}

/// A recording of a few parts.
fn long(seed: u64) -> Vec<u8> {
    let spec = Spec { seconds: 110, sample_rate_hz: 8_000, ..Spec::new(seed) };
    SynthFormat::Edf.write(&spec).expect("a recording").remove(0).bytes
}

/// Uploads in parts all the way: what is whole is delivered, what is not what was declared, or ends early, is told.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_parts_is_delivered_or_told_why_not() {
    let stack = Stack::start(&[clinic()]);
    let ports = WaysIn::configure(&stack);
    let _worker = stack.worker();
    stack.provision();
    let ways = WaysIn::start(&stack, ports);
    let [whole, other] = [long(1), long(2)];
    assert!(whole.len() > 16 << 20 && whole.len() == other.len(), "three parts, and only the digest differs");
    let judged = |id: &str| {
        wait_for("the upload is judged", LIMIT, || ways.upload(ORG, id)["done"] == true);
        ways.upload(ORG, id)
    };

    let (id, status, told) = ways.web_in_parts(ORG, &other, &Digest::of(&whole));
    assert!(status == 200 || status == 422, "{status} {told}");
    let said = judged(&id);
    assert_eq!((&said["state"], &said["code"]), (&"refused".into(), &"file.checksum_mismatch".into()), "{said}");
    assert!(said["text"].as_str().is_some_and(|t| t.starts_with("What arrived is not what was sent.")), "{said}");
    let cut = &whole[..whole.len() - 100_000];
    let (id, status, told) = ways.web_in_parts(ORG, cut, &Digest::of(cut));
    assert_eq!(status, 200, "{told}");
    let said = judged(&id);
    assert_eq!((&said["state"], &said["code"]), (&"refused".into(), &"file.incomplete".into()), "{said}");
    assert!(stack.take_messages("ingest").is_empty(), "something was delivered");

    let (id, status, told) = ways.web_in_parts(ORG, &whole, &Digest::of(&whole));
    assert_eq!(status, 200, "{told}");
    let said = judged(&id);
    assert_eq!(said["state"], "delivered", "{said}");
    let messages = stack.await_messages("ingest", 1, LIMIT);
    let recording = format!("{ORG}.{}", Digest::of(&whole).to_hex());
    assert_eq!((messages.len(), &messages[0]["id"]), (1, &recording.clone().into()));
    assert_eq!(messages[0]["data"]["size"], whole.len());
    // The same again by another upload, and complete again once it is: linked, and no second message.
    let (again, status, told) = ways.web_in_parts(ORG, &whole, &Digest::of(&whole));
    assert_eq!(status, 200, "{told}");
    let said = judged(&again);
    assert_eq!((&said["state"], &said["recording"]), (&"duplicate".into(), &recording.into()), "{said}");
    for id in [&id, &again] {
        assert_eq!(ways.asked(ORG, &format!("/uploads/{id}/complete"), "application/json", b"{}").0, 202);
    }
    let states = states(&stack);
    let of = |state: &str| states.iter().filter(|(way, s)| way == "web" && s == state).count();
    assert_eq!((of("delivered"), of("duplicate"), of("quarantined"), states.len()), (1, 1, 2, 4), "{states:?}");
    assert!(stack.take_messages("ingest").is_empty(), "a second message");
}
