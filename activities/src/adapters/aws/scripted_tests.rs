//! What AWS answers and a local endpoint does not: conflicts, lost answers, sessions that run out, checksums of copies.
//! A server in this process gives the answers.

use super::sts::{Aws, AwsOrgStores, AwsSettings};
use crate::ports::content::{Content, Pieces};
use crate::ports::store::{OrgStore, OrgStores, Part, Put, RecordingMeta, Shelf, Upload};
use aws_smithy_types::date_time::{DateTime, Format};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use leadline_domain::placement::{EnvFacts, EnvScope, OrgScope, Placement};
use leadline_domain::{Digest, EnvId, Fault, FaultClass, FaultCode, OrgId};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// An answer: status, body, headers as text.
type Answer = (u16, String, &'static str);

/// Answers by kind of request, in order; the last one is repeated. What has none succeeds without a body.
#[derive(Default)]
struct Script {
    answers: Mutex<Vec<(&'static str, VecDeque<Answer>)>>,
    seen: Mutex<Vec<&'static str>>,
}

impl Script {
    fn on(&self, kind: &'static str, answers: impl IntoIterator<Item = Answer>) {
        self.answers.lock().unwrap().push((kind, answers.into_iter().collect()));
    }

    fn answer(&self, kind: &'static str) -> Answer {
        self.seen.lock().unwrap().push(kind);
        let mut all = self.answers.lock().unwrap();
        match all.iter_mut().find(|(k, _)| *k == kind) {
            Some((_, q)) if q.len() > 1 => q.pop_front().unwrap(),
            Some((_, q)) => q[0].clone(),
            None if kind == "AssumeRole" => session(3600),
            None => (200, String::new(), ""),
        }
    }

    fn count(&self, kind: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|k| **k == kind).count()
    }
}

fn kind(line: &str, head: &str) -> &'static str {
    let method = line.split(' ').next().unwrap_or_default();
    match method {
        "POST" if line.starts_with("POST / ") => "AssumeRole",
        "POST" if line.contains("?uploads") => "Create",
        "POST" => "Complete",
        "PUT" if head.contains("x-amz-copy-source:") => "Copy",
        "PUT" => "Put",
        "HEAD" => "Head",
        "DELETE" if line.contains("uploadId=") => "Abort",
        "DELETE" => "Delete",
        _ => "Get",
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Script>) -> std::io::Result<()> {
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    loop {
        let (mut head, mut line) = (String::new(), String::new());
        while read.read_line(&mut line).await? > 2 {
            head.push_str(&line);
            line.clear();
        }
        if head.is_empty() {
            return Ok(());
        }
        let lower = head.to_ascii_lowercase();
        let field = |name: &str| lower.lines().find_map(|l| l.strip_prefix(name).map(|v| v.trim().to_owned()));
        let len: usize = field("content-length:").and_then(|v| v.parse().ok()).unwrap_or(0);
        if field("expect:").is_some() {
            write.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        read.read_exact(&mut vec![0; len]).await?;
        let (status, body, headers) = script.answer(kind(head.lines().next().unwrap_or_default(), &lower));
        // The answer to a HEAD tells the length of what it leaves out.
        let length = if headers.contains("content-length") {
            String::new()
        } else {
            format!("content-length: {}\r\n", body.len())
        };
        write.write_all(format!("HTTP/1.1 {status} X\r\n{length}{headers}\r\n{body}").as_bytes()).await?;
    }
}

fn session(seconds: u64) -> Answer {
    let end = DateTime::from(SystemTime::now() + Duration::from_secs(seconds)).fmt(Format::DateTime).unwrap();
    let body = format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
         <AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
         <Expiration>{end}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    );
    (200, body, "")
}

fn error(status: u16, code: &str) -> Answer {
    (status, format!("<Error><Code>{code}</Code><Message>m</Message></Error>"), "")
}

fn ok() -> Answer {
    (200, String::new(), "")
}

/// The answer to HEAD when `mine` holds it.
const MINE: &str = "x-amz-meta-leadline-claim: mine\r\ncontent-length: 5\r\n";

fn meta() -> RecordingMeta {
    RecordingMeta {
        claim: "mine".into(),
        format: "dicom".into(),
        media_type: "application/dicom".into(),
        shelf: Shelf::Recordings,
    }
}

fn scope() -> (EnvScope, OrgScope) {
    let env = EnvFacts {
        env: EnvId::parse("test").unwrap(),
        account: "111111111111".into(),
        region: "eu-west-2".into(),
        jurisdictions: ["uk".to_owned()].into(),
    };
    let org = OrgId::parse("clinic").unwrap();
    (EnvScope::new(&env), OrgScope::new(org.clone(), Placement::resolve(&org, "uk", &env).unwrap()))
}

async fn stores(script: &Arc<Script>) -> AwsOrgStores {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint_url = Some(format!("http://{}", listener.local_addr().unwrap()));
    let script = Arc::clone(script);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&script)));
        }
    });
    let settings = AwsSettings { endpoint_url, assume_worker_role: false, profile: None };
    AwsOrgStores::new(Aws::connect_as(&scope().0, &settings, "AKIA", "secret").await)
}

async fn open(script: &Arc<Script>) -> Arc<dyn OrgStore> {
    stores(script).await.open(&scope().1).await.unwrap()
}

async fn put(store: &dyn OrgStore) -> Result<Put, Fault> {
    store.put_recording(&Digest::of(b"hello"), Bytes::from_static(b"hello"), &meta()).await
}

#[tokio::test]
async fn a_conflict_of_conditional_writes_is_repeated_some_times() {
    let script: Arc<Script> = Arc::default();
    let conflict = || error(409, "ConditionalRequestConflict");
    script.on("Put", [conflict(), conflict(), ok()]);
    assert_eq!(put(open(&script).await.as_ref()).await, Ok(Put::Created));
    assert_eq!(script.count("Put"), 3);

    let script: Arc<Script> = Arc::default();
    script.on("Put", [conflict()]);
    let f = put(open(&script).await.as_ref()).await.unwrap_err();
    assert_eq!(f.class(), FaultClass::Transient, "{f}");
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_recognized_by_its_claim() {
    let script: Arc<Script> = Arc::default();
    script.on("Put", [error(500, "InternalError"), error(412, "PreconditionFailed")]);
    script.on("Head", [(200, String::new(), MINE)]);
    let there = Put::Exists { claim: "mine".into(), size: 5 };
    assert_eq!(put(open(&script).await.as_ref()).await, Ok(there));
}

#[tokio::test]
async fn a_request_to_slow_down_keeps_its_time() {
    let script: Arc<Script> = Arc::default();
    let (status, body, _) = error(503, "SlowDown");
    script.on("Put", [(status, body, "retry-after: 9\r\n")]);
    let f = put(open(&script).await.as_ref()).await.unwrap_err();
    assert_eq!((f.code, f.retry_after_ms), (FaultCode::StoreThrottled, Some(9_000)));
    assert_eq!(script.count("Put"), 2, "the SDK tries twice, the workflow waits");
}

#[tokio::test]
async fn an_expired_session_is_dropped_and_taken_anew() {
    let script: Arc<Script> = Arc::default();
    script.on("Put", [error(400, "ExpiredToken"), ok()]);
    let store = open(&script).await;
    let f = put(store.as_ref()).await.unwrap_err();
    assert_eq!((f.code, f.class()), (FaultCode::StoreUnreachable, FaultClass::Transient), "{f}");
    assert_eq!(put(store.as_ref()).await, Ok(Put::Created));
    assert_eq!(script.count("AssumeRole"), 2);
}

#[tokio::test]
async fn a_session_is_shared_renewed_before_its_end_and_used_to_its_end() {
    let script: Arc<Script> = Arc::default();
    let denied = error(403, "AccessDenied");
    script.on("AssumeRole", [session(3600), denied.clone()]);
    let all = stores(&script).await;
    let org = scope().1;
    let opened = futures::future::join_all((0..16).map(|_| all.open(&org))).await;
    assert!(opened.iter().all(Result::is_ok));
    assert_eq!(script.count("AssumeRole"), 1);

    // One that ends soon is renewed at once; if that fails, it is good for what is left of it.
    let script: Arc<Script> = Arc::default();
    script.on("AssumeRole", [session(100), denied.clone()]);
    let store = open(&script).await;
    for _ in 0..3 {
        assert_eq!(put(store.as_ref()).await, Ok(Put::Created));
    }
    assert_eq!(script.count("AssumeRole"), 2);

    let script: Arc<Script> = Arc::default();
    script.on("AssumeRole", [denied]);
    let f = stores(&script).await.open(&org).await.err().unwrap();
    assert_eq!(f.code, FaultCode::CredentialRefused, "{f}");
}

fn created() -> Answer {
    (200, "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>".into(), "")
}

fn copied(content: &[u8]) -> Answer {
    let sha = BASE64.encode(Digest::of(content).as_bytes());
    let body = format!("<CopyPartResult><ETag>\"e\"</ETag><ChecksumSHA256>{sha}</ChecksumSHA256></CopyPartResult>");
    (200, body, "")
}

fn completed() -> Answer {
    (200, "<CompleteMultipartUploadResult><ETag>\"e-1\"</ETag></CompleteMultipartUploadResult>".into(), "")
}

async fn promote(script: &Arc<Script>) -> Result<Put, Fault> {
    open(script).await.promote("staged", &Content::of(b"hello", Pieces::default()), &meta()).await
}

#[tokio::test]
async fn a_copy_with_another_digest_becomes_no_recording() {
    let script: Arc<Script> = Arc::default();
    script.on("Create", [created()]);
    script.on("Copy", [copied(b"other")]);
    let f = promote(&script).await.unwrap_err();
    assert_eq!(f.code, FaultCode::StoreChecksumMismatch, "{f}");
    assert_eq!((script.count("Complete"), script.count("Abort"), script.count("Delete")), (0, 1, 0));
}

#[tokio::test]
async fn a_promotion_that_meets_another_begins_anew() {
    let script: Arc<Script> = Arc::default();
    script.on("Create", [created()]);
    script.on("Copy", [copied(b"hello")]);
    script.on("Complete", [error(409, "ConditionalRequestConflict"), error(404, "NoSuchUpload"), completed()]);
    assert_eq!(promote(&script).await, Ok(Put::Created));
    assert_eq!((script.count("Create"), script.count("Abort"), script.count("Delete")), (3, 2, 1));
}

/// S3 answers 200 once it has begun to complete an upload, and says in the body what came of it.
#[tokio::test]
async fn what_became_of_a_promotion_may_be_in_the_body_of_a_success() {
    let script: Arc<Script> = Arc::default();
    script.on("Create", [created()]);
    script.on("Copy", [copied(b"hello")]);
    script.on("Complete", [error(200, "ConditionalRequestConflict"), error(200, "PreconditionFailed")]);
    script.on("Head", [(200, String::new(), MINE)]);
    assert_eq!(promote(&script).await, Ok(Put::Exists { claim: "mine".into(), size: 5 }));
}

/// Under a key of KMS a part that is sent again has another tag.
#[tokio::test]
async fn a_part_that_was_sent_again_has_the_upload_listed_anew() {
    let script: Arc<Script> = Arc::default();
    script.on("Complete", [error(400, "InvalidPart")]);
    let upload = Upload { name: "staged".into(), id: "u1".into() };
    let part = Part { number: 1, etag: "e".into(), sha256: [0; 32], size: 5 };
    let f = open(&script).await.complete_upload(&upload, &[part]).await.unwrap_err();
    assert_eq!(f.code, FaultCode::StoreUploadLost, "{f}");
}

#[tokio::test]
async fn what_cannot_be_removed_from_staging_fails_nothing() {
    let script: Arc<Script> = Arc::default();
    script.on("Create", [created()]);
    script.on("Copy", [copied(b"hello")]);
    script.on("Complete", [error(412, "PreconditionFailed")]);
    script.on("Head", [(200, String::new(), MINE)]);
    script.on("Delete", [error(403, "AccessDenied")]);
    assert_eq!(promote(&script).await, Ok(Put::Exists { claim: "mine".into(), size: 5 }));
}
