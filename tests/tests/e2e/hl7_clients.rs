//! HL7 v2 by other people's software: hl7apy builds messages, and holds our acknowledgements against the standard.

use base64::Engine as _;
use leadline_domain::OrgId;
use leadline_formats::synth::{Spec, SynthFormat};
use leadline_gateway::hl7::{Receiver, Senders};
use leadline_gateway::intake::Content;
use leadline_gateway::intake_fake::FakeIntake;
use leadline_gateway::mllp::{Limits, Listen, Server};
use leadline_gateway::pointers::Web;
use leadline_tests::harness::tools::{root, tools};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// A client that is up.
struct Client {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Client {
    fn start(address: &str) -> Self {
        let mut child = Command::new(tools().join("bin/python"))
            .arg(root().join("tests/clients/hl7.py"))
            .arg(address)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python of the tools: script/bootstrap --test");
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    fn send(&mut self, order: &Value) -> Vec<Value> {
        writeln!(self.input, "{order}").expect("the client is there");
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("the client said {line:?} to {order}"))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server for one organization, and what it took in.
async fn serve() -> (String, Arc<FakeIntake>) {
    let org = OrgId::parse("north").unwrap();
    let memory = FakeIntake::new();
    let web = Arc::new(Web::new(Duration::from_secs(5)));
    let receiver = Receiver::new(memory.clone(), web, BTreeMap::from([(org.clone(), Senders::default())]), 1 << 20);
    let listen = Listen { tls: None, plain: BTreeMap::from([(org, "127.0.0.1:0".parse().unwrap())]) };
    let server = Server::bind(listen, Limits::default(), Arc::new(receiver)).await.unwrap();
    let address = server.addresses()[0].to_string();
    tokio::spawn(server.run(std::future::pending()));
    (address, memory)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_megabytes_are_passed_over_and_answered() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (address, memory) = serve().await;
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let begin = b"\x0bMSH|^~\\&|CART|WARD|LL|HUB|20260101||ORU^R01|9|P|2.5\rOBX|1|ED|x||^T^^Base64^";
    stream.write_all(begin).await.unwrap();
    let block = vec![b'A'; 1 << 20];
    for _ in 0..200 {
        stream.write_all(&block).await.unwrap();
    }
    stream.write_all(b"\r\x1c\r").await.unwrap();
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.contains("MSA|AR|9|hl7.too_long: it is longer than 67108864 bytes"), "{answer}");
    assert_eq!(memory.kept(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn hl7apy_sends_and_understands_the_answers() {
    let (address, memory) = serve().await;
    let pdf = SynthFormat::Pdf.write(&Spec::new(3)).unwrap().remove(0).bytes;
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let order = |kind: &str, version: &str, id: &str, bytes: &[u8], modes: &[&str], answers: u32| {
        json!({ "kind": kind, "version": version, "id": id, "type": "application", "subtype": "pdf",
            "data": base64(bytes), "modes": modes, "answers": answers })
    };
    let orders = [
        (order("ORU_R01", "2.5.1", "1", &pdf, &[], 1), &["AA"][..]),
        (order("ORU_R01", "2.3", "2", &pdf, &[], 1), &["AA"]),
        (order("ORU_R01", "2.4", "3", &pdf, &[], 1), &["AA"]),
        (order("MDM_T02", "2.5", "4", &pdf, &[], 1), &["AA"]),
        (order("ORU_R01", "2.5.1", "5", &pdf, &["AL", "AL"], 2), &["CA", "AA"]),
        (order("ORU_R01", "2.5.1", "6", &pdf[..pdf.len() / 2], &[], 1), &["AE"]),
        (order("ORU_R01", "2.5.1", "7", &pdf[..pdf.len() / 2], &["AL", "AL"], 2), &["CA", "AE"]),
        (order("ORU_R01", "2.5.1", "1", &pdf, &[], 1), &["AA"]),
        (order("ORU_R01", "2.5.1", "1", b"other", &[], 1), &["AE"]),
        (order("ORU_R01", "2.6", "8", &pdf, &[], 1), &["AA"]),
        // From 2.7 on with a truncation character in MSH-2.
        (order("ORU_R01", "2.7", "9", &pdf, &["AL", "AL"], 2), &["CA", "AA"]),
        (order("MDM_T02", "2.8", "10", &pdf, &[], 1), &["AA"]),
        (order("ORU_R01", "2.8.2", "11", &pdf, &[], 1), &["AA"]),
        (order("ORU_R01", "2.8.2", "12", &pdf[..pdf.len() / 2], &[], 1), &["AE"]),
        (order("ORU_R01", "2.2", "13", &pdf, &[], 1), &["AR"]),
    ];
    let answers = tokio::task::spawn_blocking(move || {
        let mut client = Client::start(&address);
        orders.map(|(order, codes)| (client.send(&order), order, codes))
    });
    for (answers, order, codes) in answers.await.unwrap() {
        let found: Vec<&str> = answers.iter().filter_map(|a| a["code"].as_str()).collect();
        assert_eq!(found, codes, "{order}");
        for answer in &answers {
            assert_eq!((&answer["id"], &answer["to"]), (&order["id"], &json!(["CART", "WARD"])));
            assert_eq!(answer["version"], order["version"]);
            let failed = !matches!(answer["code"].as_str(), Some("AA" | "CA"));
            assert_eq!(answer["segments"].as_array().unwrap().len(), if failed { 3 } else { 2 }, "{answer}");
            assert!(!answer.to_string().contains("Doe"));
        }
        if order["id"] == "6" {
            assert_eq!(answers[0]["text"], "attachment.incomplete: attachment 1: the PDF ends early");
            assert_eq!(answers[0]["error"], "102");
        }
        if order["id"] == "12" {
            // Only in ERR: MSA-3 is no more.
            assert_eq!((&answers[0]["text"], &answers[0]["error"]), (&json!(""), &json!("102")));
        }
    }
    let whole = |c: &Content| matches!(c, Content::Bytes(bytes) if *bytes == pdf);
    assert!(memory.received().iter().all(|r| whole(&r.content)));
    assert_eq!((memory.lifecycles(), memory.kept()), (9, 12));
}
