//! The gateway and a token issuer as processes of the binary, and senders for each way in.

use crate::harness::stack::Stack;
use crate::harness::tools::{Owned, answers, free_port, wait_for};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use leadline_domain::Digest;
use leadline_gateway::senders::envelopes;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Where the ways in are.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// HTTP.
    pub http: u16,
    /// The issuer.
    pub issuer: u16,
    /// MLLP without TLS, for the first organization.
    pub mllp: u16,
    /// DICOM.
    pub dicom: u16,
    /// The gateway's metrics.
    pub metrics: u16,
}

/// A running gateway and its issuer. They end with it.
pub struct WaysIn {
    /// Where they are.
    pub ports: Ports,
    gateway: Option<Owned>,
    _issuer: Owned,
    dir: PathBuf,
    environments: PathBuf,
}

/// The secret of the system `loader-<org>` at the issuer.
const SECRET: &str = "made-up";

/// What makes an organization's file open its ways in, to be put at the end of it.
#[must_use]
pub fn open_to(title: &str) -> String {
    format!("\n[gateway.uploads]\n[gateway.hl7]\n[gateway.fhir]\n[gateway.dicom]\ncalled_ae_title = \"{title}\"\n")
}

impl WaysIn {
    /// Adds `[gateway]` to the environment's file; the first of its clinics gets the MLLP address. Starts nothing.
    ///
    /// # Panics
    /// When the file cannot be written.
    #[must_use]
    pub fn configure(stack: &Stack) -> Ports {
        let [http, issuer, mllp, dicom, metrics] = std::array::from_fn(|_| free_port());
        let ports = Ports { http, issuer, mllp, dicom, metrics };
        let text = format!(
            r#"
[gateway.http]
listen = "127.0.0.1:{http}"
public_url = "http://127.0.0.1:{http}"
[gateway.http.oidc]
issuer = "http://127.0.0.1:{issuer}"
audience = "leadline"
page_client_id = "upload-page"
[gateway.mllp.plain]
{org} = "127.0.0.1:{mllp}"
[gateway.dicom]
listen = "127.0.0.1:{dicom}"
"#,
            org = stack.clinics[0].org,
        );
        let file = stack.environments().join("test.toml");
        let old = std::fs::read_to_string(&file).expect("the environment's file");
        std::fs::write(&file, old + &text).expect("written");
        ports
    }

    /// Starts the issuer and the gateway, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become so.
    #[must_use]
    pub fn start(stack: &Stack, ports: Ports) -> Self {
        let mut issuer = stack.command(&["dev-issuer"]);
        issuer.args([
            "--listen",
            &format!("127.0.0.1:{}", ports.issuer),
            "--person",
            &format!("alice={}", stack.clinics[0].org),
        ]);
        issuer.args(["--redirect", &format!("http://127.0.0.1:{}/upload", ports.http)]);
        for c in &stack.clinics {
            issuer.args(["--system", &format!("loader-{org}:{SECRET}={org}", org = c.org)]);
        }
        let log = std::fs::File::create(stack.dir.join("issuer.log")).expect("a log");
        let issuer = Owned::start(issuer.stdout(log.try_clone().expect("a log")).stderr(log));
        let mut s =
            Self { ports, gateway: None, _issuer: issuer, dir: stack.dir.clone(), environments: stack.environments() };
        s.start_gateway();
        s
    }

    /// Starts the gateway again after [`WaysIn::kill_gateway`].
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn start_gateway(&mut self) {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.dir.join("gateway.log")).expect("a log");
        let metrics = format!("127.0.0.1:{}", self.ports.metrics);
        let mut c = crate::harness::stack::command(&["gateway", "--env", "test", "--metrics", &metrics]);
        c.env("LEADLINE_ENVIRONMENTS", &self.environments);
        self.gateway = Some(Owned::start(c.stdout(log.try_clone().expect("a log")).stderr(log)));
        wait_for("the gateway is ready", LIMIT, || {
            answers(self.ports.http)
                && self.curl(&["/readyz"]).0 == 200
                && answers(self.ports.mllp)
                && answers(self.ports.dicom)
        });
    }

    /// SIGKILL.
    pub fn kill_gateway(&mut self) {
        if let Some(mut g) = self.gateway.take() {
            g.kill();
        }
    }

    /// The gateway's process.
    #[must_use]
    pub fn gateway_pid(&self) -> u32 {
        self.gateway.as_ref().map_or(0, Owned::pid)
    }

    /// Requests to AWS that the gateway has made.
    #[must_use]
    pub fn aws_requests(&self) -> u64 {
        let (_, text) = self.curl(&[&format!("http://127.0.0.1:{}/metrics", self.ports.metrics)]);
        let text = String::from_utf8_lossy(&text).into_owned();
        let counts = text.lines().filter(|l| l.starts_with("leadline_aws_requests_total"));
        counts.filter_map(|l| l.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
    }

    /// A request with curl: a path of the gateway, or a whole address, then options. Status and body.
    ///
    /// # Panics
    /// When curl cannot be run.
    #[must_use]
    pub fn curl(&self, args: &[&str]) -> (u16, Vec<u8>) {
        let url = if args[0].starts_with('/') {
            format!("http://127.0.0.1:{}{}", self.ports.http, args[0])
        } else {
            args[0].to_owned()
        };
        let out = Command::new("curl")
            .args(["-s", "-w", "\n%{http_code}", &url])
            .args(&args[1..])
            .output()
            .expect("curl runs");
        let at = out.stdout.iter().rposition(|b| *b == b'\n').unwrap_or(0);
        let status = String::from_utf8_lossy(&out.stdout[at..]).trim().parse().unwrap_or(0);
        (status, out.stdout[..at].to_vec())
    }

    /// A token of an organization's system.
    ///
    /// # Panics
    /// When the issuer gives none.
    #[must_use]
    pub fn token(&self, org: &str) -> String {
        self.token_for(org, "")
    }

    /// The same, for what a scope is asked for.
    ///
    /// # Panics
    /// When the issuer gives none.
    #[must_use]
    pub fn token_for(&self, org: &str, scope: &str) -> String {
        let who = format!("loader-{org}:{SECRET}");
        let url = format!("http://127.0.0.1:{}/token", self.ports.issuer);
        let (status, body) =
            self.curl(&[&url, "-u", &who, "-d", "grant_type=client_credentials", "-d", &format!("scope={scope}")]);
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let token: Value = serde_json::from_slice(&body).expect("JSON");
        token["access_token"].as_str().expect("a token").to_owned()
    }

    /// Posts a body with an organization's token; status and body of the answer.
    #[must_use]
    pub fn asked(&self, org: &str, path: &str, media_type: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let file = self.file(body);
        let (auth, of) = (format!("Authorization: Bearer {}", self.token(org)), format!("Content-Type: {media_type}"));
        let data = format!("@{}", file.display());
        self.curl(&[path, "-H", &auth, "-H", &of, "--data-binary", &data])
    }

    fn file(&self, body: &[u8]) -> PathBuf {
        let path = self.dir.join(format!("sent-{}", &Digest::of(body).to_hex()[..16]));
        std::fs::write(&path, body).expect("written");
        path
    }

    /// Uploads as a program does: permission, PUT, completion. The id of the upload.
    ///
    /// # Panics
    /// When it is not taken.
    #[must_use]
    pub fn web(&self, org: &str, media_type: &str, bytes: &[u8]) -> String {
        let ask = json!({ "size": bytes.len(), "type": media_type, "sha256": Digest::of(bytes).to_hex() });
        let (status, body) = self.asked(org, "/uploads", "application/json", ask.to_string().as_bytes());
        assert!((200..300).contains(&status), "{status} {}", String::from_utf8_lossy(&body));
        let told: Value = serde_json::from_slice(&body).expect("JSON");
        let file = format!("@{}", self.file(bytes).display());
        let headers: Vec<String> = told["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(k, v)| format!("{k}: {}", v.as_str().unwrap_or_default()))
            .collect();
        let mut args = vec![told["url"].as_str().expect("an address"), "-X", "PUT", "--data-binary", &file];
        for h in &headers {
            args.extend(["-H", h]);
        }
        let (status, body) = self.curl(&args);
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let id = told["id"].as_str().expect("an id").to_owned();
        let (status, body) = self.asked(org, &format!("/uploads/{id}/complete"), "application/json", b"{}");
        assert!((200..300).contains(&status), "{status} {}", String::from_utf8_lossy(&body));
        id
    }

    /// Uploads in parts as a program does, with this digest declared. The id of the upload, and what completing it was
    /// answered.
    ///
    /// # Panics
    /// When it is not begun, or a part is not taken.
    #[must_use]
    pub fn web_in_parts(&self, org: &str, bytes: &[u8], declared: &Digest) -> (String, u16, Value) {
        let ask = json!({ "size": bytes.len(), "sha256": declared.to_hex(), "multipart": true });
        let (status, body) = self.asked(org, "/uploads", "application/json", ask.to_string().as_bytes());
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
        let told: Value = serde_json::from_slice(&body).expect("JSON");
        let text = |v: &Value| v.as_str().expect("a text").to_owned();
        let (id, key, upload) = (text(&told["id"]), text(&told["key"]), text(&told["multipart"]["upload_id"]));
        let auth = format!("Authorization: Bearer {}", self.token(org));
        let get = |path: &str| {
            let (status, body) = self.curl(&[path, "-H", &auth]);
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
            serde_json::from_slice::<Value>(&body).expect("JSON")
        };
        let size = usize::try_from(told["multipart"]["part_size"].as_u64().expect("a size")).expect("a size");
        for (n, part) in bytes.chunks(size).enumerate() {
            let url = text(&get(&format!("/s3/multipart/{upload}/{}?key={key}", n + 1))["url"]);
            let file = format!("@{}", self.file(part).display());
            let (status, body) = self.curl(&[&url, "-X", "PUT", "--data-binary", &file]);
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        }
        let all = json!({ "parts": get(&format!("/s3/multipart/{upload}?key={key}")) }).to_string();
        let complete = format!("/s3/multipart/{upload}/complete?key={key}");
        let (status, body) = self.asked(org, &complete, "application/json", all.as_bytes());
        (id, status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// What the gateway says of an upload.
    ///
    /// # Panics
    /// When it says nothing.
    #[must_use]
    pub fn upload(&self, org: &str, id: &str) -> Value {
        let auth = format!("Authorization: Bearer {}", self.token(org));
        let (status, body) = self.curl(&[&format!("/uploads/{id}"), "-H", &auth]);
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).expect("JSON")
    }

    /// Sends an ORU^R01 with the document in it; the code of the acknowledgement. `None` if the connection broke.
    #[must_use]
    pub fn hl7(&self, control_id: &str, subtype: &str, bytes: &[u8]) -> Option<String> {
        let text = format!(
            "MSH|^~\\&|CART|WARD|LL|HUB|20260101||ORU^R01|{control_id}|P|2.5\rPID|||4711||Doe^John\rOBR|1\r\
             OBX|1|ED|11524-6^EKG study^LN||^application^{subtype}^Base64^{}||||||F\r",
            BASE64.encode(bytes)
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports.mllp)).ok()?;
        stream.set_read_timeout(Some(LIMIT)).ok()?;
        stream.write_all(&[b"\x0b", text.as_bytes(), b"\x1c\r"].concat()).ok()?;
        let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
        while !answer.ends_with(b"\x1c\r") {
            match stream.read(&mut buffer).ok()? {
                0 => return None,
                n => answer.extend_from_slice(&buffer[..n]),
            }
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        answer.split("MSA|").nth(1)?.split(['|', '\r']).next().map(str::to_owned)
    }

    /// Posts a DocumentReference with the document in it; the status.
    #[must_use]
    pub fn fhir(&self, org: &str, identifier: &str, media_type: &str, bytes: &[u8]) -> u16 {
        let body = envelopes::document_reference(identifier, media_type, bytes);
        self.asked(org, "/fhir/DocumentReference", "application/fhir+json", body.to_string().as_bytes()).0
    }

    /// Stores an instance by STOW-RS; the status.
    #[must_use]
    pub fn stow(&self, org: &str, bytes: &[u8]) -> u16 {
        let (media_type, body) = envelopes::instances(bytes);
        self.asked(org, "/dicom-web/studies", &media_type, &body).0
    }

    /// Stores a file by C-STORE with dcmtk; whether it was accepted.
    ///
    /// # Panics
    /// When dcmtk is not there.
    #[must_use]
    pub fn c_store(&self, called: &str, file: &Path) -> bool {
        let mut c = Command::new("storescu");
        c.args(["-xs", "-aec", called, "127.0.0.1", &self.ports.dicom.to_string()]).arg(file);
        c.output().expect("storescu runs: script/bootstrap --test installs dcmtk").status.success()
    }
}
