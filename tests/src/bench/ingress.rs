//! The other ways in, each beside storing the same bytes on the same endpoint, as many at once.

use super::http::Http;
use super::many::{LIMIT, digests, files, rate};
use super::parts::Parts;
use super::table::Row;
use crate::harness::tools::{cpu_ms, eventually};
use crate::rig::scope;
use crate::ways_in::{Ports, WaysIn};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::StreamExt as _;
use hyper::Method;
use leadline_activities::adapters::aws::{AwsOrgStores, AwsUploads};
use leadline_activities::ports::store::OrgStores as _;
use leadline_activities::ports::uploads::{Declared, Uploads as _};
use leadline_domain::{Digest, Ingress, StagedName};
use leadline_formats::inspect_bytes;
use leadline_gateway::senders::envelopes;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Senders at once, of every way and of what it is beside: as many as STOW-RS takes. More are asked to come again.
const SENDERS: usize = 4;

type Files = Vec<(String, Vec<u8>)>;

/// What one way has cost, beside what the store alone has cost.
struct Measured {
    /// Until the last one was answered well.
    took: Duration,
    /// The same files on the endpoint alone.
    alone: Duration,
    /// Of the gateway, milliseconds.
    cpu_ms: u64,
    /// To AWS, by the gateway.
    requests: u64,
}

struct Bench<'a> {
    p: &'a Parts<'a>,
    ways: &'a WaysIn,
    http: Http,
}

/// Files by each way in, while a worker takes what comes of them.
///
/// # Panics
/// When one is refused, lost or delivered twice.
pub async fn ingress(p: &Parts<'_>, ports: Ports, n: u64, rows: &mut Vec<Row>) {
    let mut worker = p.stack.worker();
    let ways = tokio::task::block_in_place(|| WaysIn::start(p.stack, ports));
    let b = Bench { p, ways: &ways, http: Http::new() };
    let token = tokio::task::block_in_place(|| ways.token(&p.clinic.org));
    let auth = format!("Bearer {token}");
    let kb = files(1, 5_999_999)[0].1.len() / 1_000;

    let web = b.measure(n, 5_000_000, async |all| each(all, |f| b.upload(&auth, f)).await).await;
    row(
        rows,
        &format!("{n} uploads of {kb} KB: permission, PUT, completion"),
        &web,
        n,
        ("files/s", "PUT of the same alone"),
    );
    let hl7 = b.measure(n, 5_100_000, async |all| b.hl7(all).await).await;
    row(
        rows,
        &format!("{n} HL7 v2 messages over MLLP, until AA"),
        &hl7,
        n,
        ("messages/s", "PUT of the same documents"),
    );
    let fhir = b.measure(n, 5_200_000, async |all| each(all, |f| b.fhir(&auth, f)).await).await;
    row(
        rows,
        &format!("{n} FHIR DocumentReferences, until 201"),
        &fhir,
        n,
        ("requests/s", "PUT of the same documents"),
    );
    let stow = b.measure(n, 5_300_000, async |all| each(all, |f| b.stow(&auth, f)).await).await;
    row(rows, &format!("{n} instances by STOW-RS, until 200"), &stow, n, ("instances/s", "PUT of the same alone"));
    let dicom = b.measure(n, 5_400_000, async |all| b.c_store(all).await).await;
    row(rows, &format!("{n} instances by C-STORE, until 0000"), &dicom, n, ("instances/s", "PUT of the same alone"));
    worker.stop(Duration::from_secs(20));
}

/// One way's rows.
#[allow(clippy::cast_precision_loss)] // counts
fn row(rows: &mut Vec<Row>, what: &str, m: &Measured, n: u64, (unit, beside): (&'static str, &str)) {
    rows.push(Row::new(what, rate(n, m.took), unit).beside(beside, rate(n, m.alone)));
    rows.push(Row::new("  CPU time of the gateway, each", m.cpu_ms as f64 / n as f64, "ms"));
    rows.push(Row::new("  requests to AWS by the gateway, each", m.requests as f64 / n as f64, ""));
}

/// Sends all, [`SENDERS`] at once.
async fn each<'f, F: Future<Output = ()>>(all: &'f [(String, Vec<u8>)], send: impl Fn(&'f (String, Vec<u8>)) -> F) {
    let mut sent = futures::stream::iter(all).map(send).buffer_unordered(SENDERS);
    while sent.next().await.is_some() {}
}

/// What files say of themselves: SOP Instance UIDs and digests of samples.
fn identities(files: &Files) -> BTreeSet<(Option<String>, Option<String>)> {
    files.iter().map(|f| inspect_bytes(&f.1).identity).map(|i| (i.native, i.waveform)).collect()
}

impl Bench<'_> {
    async fn measure(&self, n: u64, from: u64, send: impl AsyncFn(&[(String, Vec<u8>)])) -> Measured {
        let alone = self.alone(&files(n, from + 50_000)).await;
        // The first one fetches keys, takes sessions, makes connections.
        let first = files(1, from + 99_999);
        send(&first).await;
        let all = files(n, from);
        let pid = self.ways.gateway_pid();
        let look = || (cpu_ms(pid).expect("the gateway runs"), self.ways.aws_requests());
        let before = look();
        let began = Instant::now();
        send(&all).await;
        let took = began.elapsed();
        let after = look();
        self.judge([first, all].concat()).await;
        Measured { took, alone, cpu_ms: after.0 - before.0, requests: after.1 - before.1 }
    }

    /// The same number and size of files, by the same client to the same bucket, with permissions that were made before.
    async fn alone(&self, all: &Files) -> Duration {
        let (aws, scope) = (self.p.aws().await, scope(&self.p.clinic.org));
        let uploads = AwsUploads::new(aws.clone());
        let store = uploads.open(&scope).await.expect("the organization's role");
        let mut permitted = Vec::new();
        for (name, bytes) in all {
            let what = Declared {
                media_type: "application/dicom".into(),
                size: Some(bytes.len() as u64),
                sha256: Some(Digest::of(bytes)),
            };
            // No name that the gateway gives: events of the store for these are nobody's upload.
            let name = StagedName::derived(Ingress::Dicom, &["bench", name]);
            let put = store.put(&name, &what, Duration::from_secs(600)).await.expect("a permission");
            permitted.push((put.url, json!(put.headers), Bytes::copy_from_slice(bytes), name));
        }
        let began = Instant::now();
        let mut sent = futures::stream::iter(&permitted)
            .map(|(url, headers, bytes, _)| self.http.put(url, headers, bytes.clone()))
            .buffer_unordered(SENDERS);
        while sent.next().await.is_some() {}
        let took = began.elapsed();
        drop(sent);
        let store = AwsOrgStores::new(aws).open(&scope).await.expect("the organization's role");
        for (.., name) in &permitted {
            store.remove_staged(name.as_str()).await.expect("removed");
        }
        took
    }

    /// Waits for the messages, and compares: each of these recordings once, and nothing else.
    async fn judge(&self, all: Files) {
        let mut got: Vec<Value> = Vec::new();
        let taken = std::sync::Mutex::new(&mut got);
        eventually("all are delivered", LIMIT, || async {
            let more = tokio::task::block_in_place(|| self.p.stack.take_messages("ingest"));
            let mut got = taken.lock().expect("not poisoned");
            got.extend(more);
            (got.len() >= all.len()).then_some(())
        })
        .await;
        tokio::task::block_in_place(|| self.p.stack.await_quiet(LIMIT));
        got.extend(tokio::task::block_in_place(|| self.p.stack.take_messages("ingest")));
        let of: BTreeSet<String> =
            got.iter().map(|m| m["data"]["sha256"].as_str().unwrap_or_default().to_owned()).collect();
        assert_eq!((got.len(), of.len()), (all.len(), all.len()), "recordings that were delivered, and that were sent");
        if of == digests(&all) {
            return;
        }
        // C-STORE sends data sets and not files: what was stored has to be the same recordings, each as its message says.
        let (store, mut stored) = (self.p.store().await, Vec::new());
        for d in of {
            let digest = Digest::parse(&d).expect("a digest");
            let bytes = store.read_recording(&digest, 1 << 20).await.expect("what was stored, with this digest");
            stored.push((d, bytes.to_vec()));
        }
        let (stored, sent) = (identities(&stored), identities(&all));
        assert_eq!(sent.len(), all.len(), "every file has an identity of its own");
        assert_eq!(stored, sent, "recordings that were delivered, and that were sent");
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.ways.ports.http)
    }

    async fn upload(&self, auth: &str, (_, bytes): &(String, Vec<u8>)) {
        let json = [("authorization", auth), ("content-type", "application/json")];
        let ask = json!({ "size": bytes.len(), "type": "application/dicom", "sha256": Digest::of(bytes).to_hex() });
        let told = self.http.ask(Method::POST, &self.url("/uploads"), &json, ask.to_string().into()).await;
        let told: Value = serde_json::from_slice(&told).expect("JSON");
        let url = told["url"].as_str().expect("an address");
        self.http.put(url, &told["headers"], Bytes::copy_from_slice(bytes)).await;
        let done = self.url(&format!("/uploads/{}/complete", told["id"].as_str().expect("an id")));
        self.http.ask(Method::POST, &done, &json, Bytes::from_static(b"{}")).await;
    }

    async fn fhir(&self, auth: &str, (name, bytes): &(String, Vec<u8>)) {
        let body = envelopes::document_reference(name, "application/dicom", bytes);
        let headers = [("authorization", auth), ("content-type", "application/fhir+json")];
        self.http.ask(Method::POST, &self.url("/fhir/DocumentReference"), &headers, body.to_string().into()).await;
    }

    async fn stow(&self, auth: &str, (_, bytes): &(String, Vec<u8>)) {
        let (of, body) = envelopes::instances(bytes);
        let headers = [("authorization", auth), ("content-type", &*of), ("accept", "application/dicom+json")];
        self.http.ask(Method::POST, &self.url("/dicom-web/studies"), &headers, body.into()).await;
    }

    /// Over connections that stay, one message at a time on each, as EHRs send.
    async fn hl7(&self, all: &[(String, Vec<u8>)]) {
        let each = all.len().div_ceil(SENDERS);
        futures::future::join_all(all.chunks(each.max(1)).map(async |some| {
            let mut stream = TcpStream::connect(("127.0.0.1", self.ways.ports.mllp)).await.expect("connected");
            stream.set_nodelay(true).expect("without delay");
            for (name, bytes) in some {
                let text = format!(
                    "\x0bMSH|^~\\&|CART|WARD|LL|HUB|20260101||ORU^R01|{}|P|2.5\rPID|||4711||Doe^John\rOBR|1\r\
                     OBX|1|ED|11524-6^EKG study^LN||^application^dicom^Base64^{}||||||F\r\x1c\r",
                    name.trim_end_matches(".dcm"),
                    BASE64.encode(bytes)
                );
                stream.write_all(text.as_bytes()).await.expect("sent");
                let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
                while !answer.ends_with(b"\x1c\r") {
                    let n = stream.read(&mut buffer).await.expect("an answer");
                    assert!(n > 0, "the connection ended");
                    answer.extend_from_slice(&buffer[..n]);
                }
                let answer = String::from_utf8_lossy(&answer).into_owned();
                assert!(answer.contains("MSA|AA|"), "{answer}");
            }
        }))
        .await;
    }

    /// dcmtk's sender, with an association for each of its processes.
    async fn c_store(&self, all: &[(String, Vec<u8>)]) {
        let dir = tempfile::tempdir().expect("a folder");
        let each = all.len().div_ceil(SENDERS).max(1);
        let mut senders = Vec::new();
        for some in all.chunks(each) {
            let mut c = tokio::process::Command::new("storescu");
            c.args(["-R", "-xs", "-aec", "MARY", "127.0.0.1", &self.ways.ports.dicom.to_string()]);
            for (name, bytes) in some {
                let path = dir.path().join(name);
                std::fs::write(&path, bytes).expect("written");
                c.arg(path);
            }
            senders.push(c);
        }
        let ended = futures::future::join_all(senders.iter_mut().map(tokio::process::Command::output)).await;
        for out in ended {
            let out = out.expect("storescu runs: script/bootstrap --bench installs dcmtk");
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        }
    }
}
