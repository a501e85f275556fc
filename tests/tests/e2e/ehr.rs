//! HL7 v2 and FHIR down to the queue, on a real Temporal server: one recording, whatever brings it and however often,
//! is one message; nothing that was answered well can get lost.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use bytes::Bytes;
use leadline_activities::adapters::aws_fake::Planned;
use leadline_domain::{ArchiveRule, Digest, Fault, FaultCode, OrgId};
use leadline_ehr::mllp::frame;
use leadline_formats::synth::SynthFormat;
use leadline_gateway::durable::DurableIntake;
use leadline_gateway::fhir::notify::{Remembered, Subscriptions};
use leadline_gateway::fhir::{Ask, Headers, Named, Service, routes};
use leadline_gateway::hl7::{Receiver, Senders};
use leadline_gateway::mllp::{Limits, Listen, Server};
use leadline_gateway::pointers::{Followed, Web};
use leadline_tests::fleet::recording;
use leadline_tests::harness::temporal::Temporal;
use leadline_tests::harness::tools::eventually;
use leadline_tests::rig::{Lane, Rig};
use leadline_workflows::offboard::OffboardInput;
use leadline_workflows::subscription::Seen;
use leadline_workflows::{OffboardOrganization, ids};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use temporalio_client::WorkflowStartOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(60);
const ORG: &str = "st-mary";

struct Ways {
    rig: Rig,
    fhir: Arc<Service>,
    mllp: std::net::SocketAddr,
    _temporal: (Temporal, tempfile::TempDir),
}

async fn ways(name: &str) -> Ways {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let rig = Rig::start(&temporal.address(), name, &[ORG], &ArchiveRule::Leave, 8 << 20).await;
    let intake = Arc::new(DurableIntake::new(rig.deps.clone(), rig.engine.clone()));
    let org = rig.lane(ORG).org.clone();
    let web = Web::new(Duration::from_secs(5));
    let pointers = Arc::new(Followed::new(rig.deps.registry.clone(), rig.deps.shares.clone(), web));
    let receiver =
        Receiver::new(intake.clone(), pointers, BTreeMap::from([(org.clone(), Senders::default())]), 8 << 20);
    let listen = Listen { tls: None, plain: BTreeMap::from([(org, "127.0.0.1:0".parse().unwrap())]) };
    let server = Server::bind(listen, Limits::default(), Arc::new(receiver)).await.expect("bound");
    let mllp = server.addresses()[0];
    tokio::spawn(server.run(std::future::pending()));
    let fhir = Arc::new(Service::new(intake, "http://127.0.0.1/fhir", 8 << 20));
    Ways { rig, fhir, mllp, _temporal: (temporal, dir) }
}

impl Ways {
    fn lane(&self) -> &Lane {
        self.rig.lane(ORG)
    }

    /// Sends a message, and gives the code of the acknowledgement.
    async fn hl7(&self, id: &str, observation: &str) -> String {
        let mut stream = TcpStream::connect(self.mllp).await.expect("connected");
        let text = format!(
            "MSH|^~\\&|CART|WARD|LL|HUB|20260101||ORU^R01|{id}|P|2.5\rPID|||4711||Doe^John\rOBR|1\r{observation}\r"
        );
        stream.write_all(&frame(text.as_bytes())).await.expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\x1c\r") {
            answer.push(stream.read_u8().await.expect("an answer"));
        }
        let answer = String::from_utf8(answer).expect("text");
        answer.split("MSA|").nth(1).and_then(|rest| rest.split(['|', '\r']).next()).expect("MSA-1").to_owned()
    }

    async fn fhir(&self, content: &[u8], id: &str) -> u16 {
        let body = format!(
            r#"{{"resourceType":"DocumentReference","status":"current","identifier":[{{"value":"{id}"}}],"content":[{{"attachment":{{"data":"{}"}}}}]}}"#,
            base64(content)
        );
        let headers = Headers { content_type: "application/fhir+json".into(), if_none_exist: None };
        let org = self.lane().org.clone();
        self.fhir.serve(&org, Ask::Create("DocumentReference"), headers, Bytes::from(body)).await.status
    }

    /// Waits for so many entries in the ledger: what became of everything that was taken in.
    async fn outcomes(&self, n: usize) -> Vec<String> {
        let entries = || async {
            let all = self.lane().audit.accepted();
            (all.len() >= n).then_some(all)
        };
        let all = eventually("outcomes on record", LIMIT, entries).await;
        assert!(all.iter().all(|e| !e.body.contains("Doe") && !e.body.contains("4711")));
        let outcome = |body: &str| {
            let entry: serde_json::Value = serde_json::from_str(body).expect("JSON");
            entry["outcome"]["kind"]
                .as_str()
                .or(entry["outcome"].as_str())
                .map_or_else(|| entry.to_string(), str::to_owned)
        };
        all.iter().map(|e| outcome(&e.body)).collect()
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn observation(content: &[u8]) -> String {
    format!("OBX|1|ED|11524-6^EKG study^LN||^application^dicom^Base64^{}||||||F", base64(content))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_recording_by_two_ways_is_one_message() {
    let ways = ways("ehr").await;
    let dicom = recording(SynthFormat::Dicom, 1);
    assert_eq!(ways.hl7("1", &observation(&dicom)).await, "AA");
    ways.outcomes(1).await;
    // Again: acknowledged, and no new work; then the same by another way: linked.
    assert_eq!(ways.hl7("1", &observation(&dicom)).await, "AA");
    assert_eq!(ways.fhir(&dicom, "7").await, 201);
    assert_eq!(ways.fhir(&dicom, "7").await, 201);
    let outcomes = ways.outcomes(2).await;
    assert_eq!(outcomes, ["delivered", "duplicate"]);
    let lane = ways.lane();
    let recordings = lane.store.recordings();
    assert_eq!((recordings.len(), lane.ingest.accepted().len()), (1, 1));
    assert_eq!((recordings[0].0, &recordings[0].1[..]), (Digest::of(&dicom), &dicom[..]));
    assert!(lane.store.staged().is_empty(), "what is done is cleared");
    // The same control id for something else.
    assert_eq!(ways.hl7("1", &observation(&recording(SynthFormat::Dicom, 2))).await, "AE");
    assert_eq!(lane.ingest.accepted().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_on_the_way_in_is_not_acknowledged_and_goes_when_sent_again() {
    let ways = ways("ehr-faults").await;
    let lost = Fault::new(FaultCode::StoreUnreachable, "planned");
    for (i, (step, how)) in [
        ("put_once", Planned::Fail(lost.clone())),
        ("put_once", Planned::FailAfter(lost.clone())),
        ("stage", Planned::Fail(lost.clone())),
        ("stage", Planned::FailAfter(lost.clone())),
    ]
    .into_iter()
    .enumerate()
    {
        let (id, dicom) = (i.to_string(), recording(SynthFormat::Dicom, 10 + i as u64));
        // The lifecycles before have ended: they use the store too.
        ways.outcomes(2 * i).await;
        ways.lane().store.faults.plan(step, how.clone());
        assert_eq!(ways.hl7(&id, &observation(&dicom)).await, "AR", "{step} {i}");
        assert_eq!(ways.hl7(&id, &observation(&dicom)).await, "AA", "{step} {i}");
        ways.outcomes(2 * i + 1).await;
        let dicom = recording(SynthFormat::Dicom, 20 + i as u64);
        ways.lane().store.faults.plan(step, how);
        assert_eq!(ways.fhir(&dicom, &id).await, 503, "{step} {i}");
        assert_eq!(ways.fhir(&dicom, &id).await, 201, "{step} {i}");
    }
    assert_eq!(ways.outcomes(8).await, ["delivered"; 8]);
    assert_eq!(ways.lane().ingest.accepted().len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pointer_to_the_organizations_own_share_is_followed_and_no_other() {
    let ways = ways("ehr-pointer").await;
    let dicom = recording(SynthFormat::Dicom, 3);
    ways.lane().share.put("in/DOE_JOHN.dcm", &dicom);
    let pointer = |to: &str| format!("OBX|1|RP|x||{}^^AP^DICOM||||||F", to.replace('\\', r"\E\"));
    assert_eq!(ways.hl7("1", &pointer(r"\\127.0.0.1\ward\in\DOE_JOHN.dcm")).await, "AA");
    for (id, to) in
        [("2", r"\\127.0.0.1\other\in\a.dcm"), ("3", r"\\10.9.9.9\ward\in\a.dcm"), ("4", r"\\127.0.0.1\ward\out\a.dcm")]
    {
        assert_eq!(ways.hl7(id, &pointer(to)).await, "AE", "{to}");
    }
    // Not there yet: to be sent again.
    assert_eq!(ways.hl7("5", &pointer(r"\\127.0.0.1\ward\in\later.dcm")).await, "AR");
    assert_eq!(ways.outcomes(1).await, ["delivered"]);
    // Nor is what a device has open, as whole as it may look.
    let mut device = ways.lane().share.create("in/open.dcm");
    device.write(0, &recording(SynthFormat::Dicom, 4));
    assert_eq!(ways.hl7("6", &pointer(r"\\127.0.0.1\ward\in\open.dcm")).await, "AR");
    assert!(ways.lane().store.staged().is_empty());
    device.close();
    assert_eq!(ways.hl7("6", &pointer(r"\\127.0.0.1\ward\in\open.dcm")).await, "AA");
    assert_eq!(ways.outcomes(2).await, ["delivered"; 2]);
}

/// The one organization, whoever asks: who asks is not tried here.
struct Someone(OrgId);

impl Named for Someone {
    fn org(&self) -> &OrgId {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Someone {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(OrgId::parse(ORG).expect("an id")))
    }
}

/// What curl says: the status, and the headers and the body before it.
async fn curl(url: String, kind: &str, body: Vec<u8>) -> (String, String) {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    std::io::Write::write_all(&mut file, &body).expect("written");
    let kind = format!("Content-Type: {kind}");
    let data = format!("@{}", file.path().display());
    let asked = tokio::task::spawn_blocking(move || {
        let args = ["-sS", "-i", "-w", "\n%{http_code}", "-X", "POST", "-H", &kind, "--data-binary", &data, &url];
        std::process::Command::new("curl").args(args).output().expect("curl runs")
    });
    let said = String::from_utf8(asked.await.expect("asked").stdout).expect("text");
    let (rest, status) = said.rsplit_once('\n').expect("a status");
    (status.to_owned(), rest.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_creates_resources_and_hears_what_is_wrong() {
    let ways = ways("ehr-curl").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let base = format!("http://{}/fhir", listener.local_addr().expect("an address"));
    let router = axum::Router::new().nest("/fhir", routes::<(), Someone>(ways.fhir.clone()));
    tokio::spawn(async move { axum::serve(listener, router).await });
    // Of more than a megabyte, for which curl asks whether it may come.
    let mut pdf = recording(SynthFormat::Pdf, 5);
    pdf.extend(vec![b'\n'; 2 << 20]);
    let (status, heard) = curl(format!("{base}/Binary"), "application/pdf", pdf.clone()).await;
    assert_eq!(status, "201", "{heard}");
    let location = heard.lines().find_map(|l| l.strip_prefix("location: ")).expect("a location").trim();
    let id = location.split('/').rev().nth(2).expect("an id");
    let refers = format!(
        r#"{{"resourceType":"DocumentReference","status":"current","content":[{{"attachment":{{"url":"Binary/{id}"}}}}]}}"#
    );
    let (status, heard) = curl(format!("{base}/DocumentReference"), "application/fhir+json", refers.into()).await;
    assert_eq!(status, "201", "{heard}");
    for (path, kind, body, expected) in [
        ("Binary", "application/pdf", recording(SynthFormat::Pdf, 5)[..1_000].to_vec(), "422"),
        ("Binary", "application/pdf", vec![b'x'; 9 << 20], "413"),
        ("Binary", "application/fhir+xml", b"<Binary/>".to_vec(), "415"),
        ("DocumentReference", "application/fhir+json", b"{".to_vec(), "400"),
        ("Patient", "application/fhir+json", b"{}".to_vec(), "404"),
    ] {
        let (status, heard) = curl(format!("{base}/{path}"), kind, body).await;
        assert_eq!(status, expected, "{heard}");
        assert!(heard.contains("OperationOutcome"), "{heard}");
    }
    assert_eq!(ways.outcomes(1).await, ["delivered"]);
    assert_eq!(ways.lane().store.recordings()[0].0, Digest::of(&pdf));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_remembered() {
    let ways = ways("ehr-seen").await;
    let remembered = Remembered::new(ways.rig.engine.clone(), ways.rig.queue.clone());
    let org = ways.lane().org.clone();
    let (one, other) = ("https://ehr.example.org/Subscription/1", "Subscription/1");
    assert_eq!(remembered.seen(&org, one).await, Ok(None));
    for (number, at_ms) in [(3, 100), (2, 200), (3, 300)] {
        remembered.advance(&org, one, Seen { number, at_ms }).await.expect("written");
    }
    assert_eq!(remembered.seen(&org, one).await, Ok(Some(Seen { number: 3, at_ms: 300 })));
    assert_eq!(remembered.seen(&org, other).await, Ok(None));
}

/// Nothing is taken in for an organization that leaves, and its senders hear that they may not send.
#[tokio::test(flavor = "multi_thread")]
async fn an_organization_that_leaves_takes_nothing_more() {
    let w = ways("ehr-leaves").await;
    let org = w.lane().org.clone();
    let env = w.rig.deps.registry.env().env().clone();
    let input = OffboardInput { env: env.clone(), org: org.clone(), requested_by: "ann".into() };
    // On a queue without workers: it is under way, and stays so.
    let options = WorkflowStartOptions::new("nobody", ids::offboard(&env, &org)).build();
    w.rig.engine.client().start_workflow(OffboardOrganization::run, input, options).await.expect("started");
    let bytes = recording(SynthFormat::Dicom, 5);
    assert_eq!(w.fhir(&bytes, "leaves").await, 403);
    assert_ne!(w.hl7("leaves", &observation(&bytes)).await, "AA");
    assert!(w.lane().store.staged().is_empty() && w.lane().ingest.accepted().is_empty());
}
