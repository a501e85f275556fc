//! All of it together: Temporal, the AWS endpoint, Samba with clinics' shares, an environments folder, the binary.

use super::aws::AwsEndpoint;
use super::samba::{Samba, ShareSpec};
use super::temporal::Temporal;
use super::tools::{Owned, root};
use crate::device::Device;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// One organization with one share.
#[derive(Debug, Clone)]
pub struct Clinic {
    /// Organization id.
    pub org: String,
    /// Share id in the organization's file, and name on the server.
    pub share: String,
    /// Lines of the share's table in the organization's file, on top of the address.
    pub settings: String,
    /// Options of the share on the server.
    pub options: Vec<String>,
    /// Time between two full listings, seconds.
    pub reconcile_s: u32,
}

impl Clinic {
    /// A clinic whose share is watched at `in/` with quick listings.
    #[must_use]
    pub fn new(org: &str, share: &str) -> Self {
        Self { org: org.into(), share: share.into(), settings: String::new(), options: vec![], reconcile_s: 5 }
    }
    /// With further lines for the share's table.
    #[must_use]
    pub fn with(mut self, settings: &str) -> Self {
        self.settings.push_str(settings);
        self.settings.push('\n');
        self
    }
    /// Listed in full so often.
    #[must_use]
    pub fn listed_every(self, reconcile_s: u32) -> Self {
        Self { reconcile_s, ..self }
    }
    /// With an option of the share on the server.
    #[must_use]
    pub fn served(mut self, option: &str) -> Self {
        self.options.push(option.into());
        self
    }
    /// SMB user.
    #[must_use]
    pub fn user(&self) -> String {
        format!("ll_{}", self.org.replace('-', "_"))
    }
    /// SMB password.
    #[must_use]
    pub fn password(&self) -> String {
        format!("pw-of-{}", self.org)
    }
}

/// Account of the `test` environment on the local endpoint; also the access key that stands for its root.
pub const ACCOUNT: &str = "111111111111";

/// Everything, running. What it started ends with it.
pub struct Stack {
    /// State of all servers, logs, the environments folder.
    pub dir: PathBuf,
    /// Temporal.
    pub temporal: Temporal,
    /// AWS.
    pub aws: AwsEndpoint,
    /// The file server.
    pub samba: Samba,
    /// Who is on it.
    pub clinics: Vec<Clinic>,
    _keep: Option<tempfile::TempDir>,
}

/// A test that fails leaves its state behind and tells the end of its worker's log: what happens seldom must be seen the
/// first time.
impl Drop for Stack {
    #[expect(clippy::print_stderr, reason = "this is what the test's runner shows")]
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        if let Some(dir) = self._keep.take() {
            eprintln!("the state of the failed test stays in {}", dir.keep().display());
        }
        let log = self.last_worker_log();
        let lines: Vec<&str> = log.lines().collect();
        eprintln!("{}", lines[lines.len().saturating_sub(60)..].join("\n"));
    }
}

/// Where the servers of a stack listen; 0 takes a free port.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ports {
    /// Port of Temporal's UI; without it there is none.
    pub ui: Option<u16>,
}

impl Stack {
    /// Starts one in a temporary folder that goes with it.
    ///
    /// # Panics
    /// When a server does not start.
    #[must_use]
    pub fn start(clinics: &[Clinic]) -> Self {
        let tmp = tempfile::Builder::new().prefix("leadline-").tempdir().expect("temporary folder");
        let mut s = Self::start_in(tmp.path(), clinics, Ports::default());
        s._keep = Some(tmp);
        s
    }

    /// Starts one with its state in a folder.
    ///
    /// # Panics
    /// When a server does not start.
    #[must_use]
    pub fn start_in(dir: &Path, clinics: &[Clinic], ports: Ports) -> Self {
        let _ = binary();
        std::fs::create_dir_all(dir.join("environments/orgs")).expect("state folder");
        // smbd changes to the share's user, who must be able to pass through.
        let _ = Command::new("chmod").args(["755"]).arg(dir).status();
        let shares: Vec<ShareSpec> = clinics
            .iter()
            .map(|c| ShareSpec {
                name: c.share.clone(),
                user: c.user(),
                password: c.password(),
                options: c.options.clone(),
            })
            .collect();
        let (temporal, aws, samba) = std::thread::scope(|s| {
            let aws = s.spawn(|| AwsEndpoint::start(&dir.join("aws")));
            let samba = s.spawn(|| Samba::start(&dir.join("samba"), &shares));
            let ui = ports.ui;
            let temporal = Temporal::start_on(dir, super::tools::free_port(), ui);
            (temporal, aws.join().expect("AWS endpoint"), samba.join().expect("samba"))
        });
        let stack = Self { dir: dir.to_owned(), temporal, aws, samba, clinics: clinics.to_vec(), _keep: None };
        stack.write_environments();
        stack
    }

    /// The environments folder.
    #[must_use]
    pub fn environments(&self) -> PathBuf {
        self.dir.join("environments")
    }

    /// Writes the files of the environment and the organizations.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn write_environments(&self) {
        let env = format!(
            r#"id = "test"
name = "test"
account = "{ACCOUNT}"
region = "us-east-1"
jurisdictions = ["us", "uk"]
synthetic_only = true

[queue]
consumers = ["arn:aws:iam::{ACCOUNT}:role/leadline-test-worker"]

[temporal]
address = "{}"
namespace = "default"

[aws]
endpoint_url = "{}"
worker_principals = ["root"]

[worker]
metrics_address = "127.0.0.1:0"
"#,
            self.temporal.address(),
            self.aws.url()
        );
        std::fs::write(self.environments().join("test.toml"), env).expect("environment file");
        for c in &self.clinics {
            self.write_organization(c);
        }
    }

    /// Writes one organization's file.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_organization(&self, c: &Clinic) {
        let text = format!(
            r#"id = "{org}"
name = "{org}"
jurisdiction = "us"
environments = ["test"]

[limits]
small_file_bytes = 8388608

[share.{share}]
host = "127.0.0.1"
port = {port}
share = "{share}"
path = "in"
encryption_required = false
reconcile_s = {reconcile_s}
{settings}"#,
            reconcile_s = c.reconcile_s,
            org = c.org,
            share = c.share,
            port = self.samba.port(),
            settings = c.settings,
        );
        std::fs::write(self.environments().join(format!("orgs/{}.toml", c.org)), text).expect("organization file");
        std::fs::write(
            self.dir.join(format!("{}.credentials.toml", c.org)),
            format!("[{}]\nuser = \"{}\"\npassword = \"{}\"\n", c.share, c.user(), c.password()),
        )
        .expect("credentials file");
    }

    /// A command of the binary with everything set to reach this stack.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut c = command(args);
        c.env("LEADLINE_ENVIRONMENTS", self.environments());
        c
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When the binary cannot be run.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("leadline runs")
    }

    /// Runs a command that must succeed; its standard output.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn ok(&self, args: &[&str]) -> String {
        let out = self.run(args);
        assert!(
            out.status.success(),
            "leadline {args:?} ended with {}\n{}{}",
            out.status,
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// Runs a command; what it printed, standard error included, whatever its exit status.
    #[must_use]
    pub fn run_text(&self, args: &[&str]) -> String {
        let out = self.run(args);
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
    }

    /// The files of the environment as `leadline file list` tells them.
    #[must_use]
    pub fn files(&self) -> Vec<serde_json::Value> {
        let out = self.ok(&["file", "list", "--env", "test", "--output", "json", "--show-paths", "--limit", "100000"]);
        out.lines().map(|l| serde_json::from_str(l).expect("a file is JSON")).collect()
    }

    /// Waits until no file's lifecycle is under way.
    ///
    /// # Panics
    /// After `limit`.
    pub fn await_quiet(&self, limit: Duration) {
        let ended = ["delivered", "duplicate", "quarantined", "withdrawn"];
        super::tools::wait_for("every file has an outcome", limit, || {
            self.files().iter().all(|f| f["state"].as_str().is_some_and(|s| ended.contains(&s)))
        });
    }

    /// Starts a worker; its log is `worker-N.log`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn worker(&self) -> Owned {
        let log = std::fs::File::create(self.worker_log(self.workers())).expect("log file");
        let mut c = self.command(&["worker", "--env", "test", "--log-format", "json"]);
        c.stdout(log.try_clone().expect("log file")).stderr(log);
        Owned::start(&mut c)
    }

    /// The metrics of the worker that was started last, in the Prometheus text format; `None` if it does not answer.
    #[must_use]
    pub fn metrics(&self) -> Option<String> {
        use std::io::{Read as _, Write as _};
        let log = self.last_worker_log();
        let lines = log.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
        let at = lines
            .filter_map(|l| l["fields"]["metrics"].as_str().or(l["metrics"].as_str()).map(str::to_owned))
            .next()?;
        let mut s = std::net::TcpStream::connect(at).ok()?;
        s.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        s.read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// Requests to AWS that the running worker has made, of the service or operation that `label` names as its metrics
    /// do, e.g. `service="S3"`; `None` if it does not answer.
    #[must_use]
    pub fn aws_requests(&self, label: &str) -> Option<u64> {
        let text = self.metrics()?;
        let of = |l: &&str| l.starts_with("leadline_aws_requests_total") && l.contains(label);
        Some(text.lines().filter(of).filter_map(|l| l.rsplit_once(' ')?.1.parse::<u64>().ok()).sum())
    }

    /// Log of the worker that was started last; empty if there is none.
    #[must_use]
    pub fn last_worker_log(&self) -> String {
        let last = self.workers().saturating_sub(1);
        std::fs::read_to_string(self.worker_log(last)).unwrap_or_default()
    }

    /// How many workers were started; their logs are numbered.
    fn workers(&self) -> usize {
        (0..).take_while(|n| self.worker_log(*n).exists()).count()
    }

    fn worker_log(&self, n: usize) -> PathBuf {
        self.dir.join(format!("worker-{n}.log"))
    }

    /// Provisions the environment and every organization, through workflows and CloudFormation. Needs a worker.
    pub fn provision(&self) {
        let _ = self.ok(&["env", "apply", "--env", "test"]);
        for c in &self.clinics {
            self.onboard(c);
        }
    }

    /// Onboards one organization. Needs a worker.
    pub fn onboard(&self, c: &Clinic) {
        let credentials = self.dir.join(format!("{}.credentials.toml", c.org));
        let _ = self.ok(&["org", "onboard", &c.org, "--env", "test", "--credentials", &credentials.to_string_lossy()]);
    }

    /// A device of a clinic, logged on, with the watched folder made.
    ///
    /// # Panics
    /// When the share cannot be used.
    pub async fn device(&self, org: &str) -> Device {
        let c = self.clinics.iter().find(|c| c.org == org).expect("a clinic of this name");
        let d =
            Device::connect(&self.samba.address(), &c.share, &c.user(), &c.password()).await.expect("device logs on");
        d.mkdir("in").await.expect("watched folder");
        d
    }

    /// Messages of the ingest queue as a consumer gets them, taken off it.
    #[must_use]
    pub fn take_messages(&self, queue: &str) -> Vec<serde_json::Value> {
        let out = self.ok(&["queue", "receive", "--env", "test", "--queue", queue, "--max", "100000", "--delete"]);
        out.lines().map(|l| serde_json::from_str(l).expect("a message is JSON")).collect()
    }

    /// Takes messages until there are `n` of them or `limit` has passed.
    #[must_use]
    pub fn await_messages(&self, queue: &str, n: usize, limit: Duration) -> Vec<serde_json::Value> {
        let end = Instant::now() + limit;
        let mut all = Vec::new();
        while all.len() < n && Instant::now() < end {
            all.extend(self.take_messages(queue));
        }
        all
    }
}

/// A command of the binary, as root of the local endpoint.
#[must_use]
pub fn command(args: &[&str]) -> Command {
    let mut c = Command::new(binary());
    c.args(args)
        .env("AWS_ACCESS_KEY_ID", ACCOUNT)
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env_remove("AWS_PROFILE")
        .stdin(Stdio::null());
    c
}

/// Builds the binary in the profile of this very program and says where it is.
fn binary() -> PathBuf {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    BUILT
        .get_or_init(|| {
            if let Some(b) = std::env::var_os("LEADLINE_BINARY") {
                return b.into();
            }
            let me = std::env::current_exe().expect("path of this program");
            let dir = me.ancestors().find(|p| p.ends_with("debug") || p.ends_with("release")).expect("a target folder");
            let mut c = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            c.args(["build", "--quiet", "--locked", "--package", "leadline"]).current_dir(root());
            c.arg("--target-dir").arg(dir.parent().expect("a target folder has a parent"));
            if dir.ends_with("release") {
                c.arg("--release");
            }
            assert!(c.status().expect("cargo runs").success(), "the binary does not build");
            dir.join("leadline")
        })
        .clone()
}
