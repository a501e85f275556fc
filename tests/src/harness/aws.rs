//! The local AWS endpoint, through `script/aws-endpoint.py`.

use super::tools::{Owned, answers, free_port, root, tools, wait_for};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The endpoint. Killed and started again it goes on with the same data on the same port.
pub struct AwsEndpoint {
    port: u16,
    dir: PathBuf,
    process: Owned,
}

impl AwsEndpoint {
    /// Starts one on a free port with its data in `dir`.
    ///
    /// # Panics
    /// When it does not answer within 60 s.
    #[must_use]
    pub fn start(dir: &Path) -> Self {
        Self::start_on(dir, free_port())
    }

    /// Starts one on a port.
    ///
    /// # Panics
    /// When it does not answer within 60 s.
    #[must_use]
    pub fn start_on(dir: &Path, port: u16) -> Self {
        std::fs::create_dir_all(dir).expect("data folder");
        let mut e = Self { port, dir: dir.to_owned(), process: Self::spawn(dir, port) };
        e.wait();
        e
    }

    fn spawn(dir: &Path, port: u16) -> Owned {
        let python = std::env::var_os("LEADLINE_AWS_PYTHON").map_or_else(|| tools().join("bin/python"), PathBuf::from);
        let log = std::fs::File::options().create(true).append(true).open(dir.join("endpoint.log")).expect("log file");
        let mut c = Command::new(python);
        c.arg(root().join("script/aws-endpoint.py")).arg("--port").arg(port.to_string()).arg("--data").arg(dir);
        c.stdin(Stdio::null()).stderr(log.try_clone().expect("log file")).stdout(log);
        Owned::start(&mut c)
    }

    fn wait(&mut self) {
        let (port, process) = (self.port, &mut self.process);
        wait_for("the AWS endpoint answers", Duration::from_secs(60), || {
            assert!(process.runs(), "the AWS endpoint ended, see endpoint.log");
            answers(port)
        });
    }

    /// `http://host:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Pid, for measuring.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Runs a piece of Python as the account's root; `c(service)` is a boto3 client of the endpoint, `json` is there.
    /// Gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn python(&self, code: &str) -> String {
        let head = format!(
            "import boto3, json\nc = lambda s: boto3.client(s, endpoint_url='{}', region_name='us-east-1')\n",
            self.url()
        );
        let out = Command::new(tools().join("bin/python"))
            .args(["-c", &format!("{head}{code}")])
            .env("AWS_ACCESS_KEY_ID", super::stack::ACCOUNT)
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .output()
            .expect("python runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// Puts a stack into a state that only CloudFormation itself brings about, by writing the endpoint's data; the
    /// endpoint is killed for it and started again.
    ///
    /// # Panics
    /// When there is no such stack.
    pub fn set_stack_status(&mut self, stack: &str, status: &str) {
        const EDIT: &str = "
import json, sqlite3, sys
path, stack, status = sys.argv[1:]
db = sqlite3.connect(path)
found = 0
def walk(v):
    global found
    if isinstance(v, dict):
        if v.get('StackName') == stack and 'StackStatus' in v:
            v['StackStatus'] = status
            found += 1
        for x in v.values():
            walk(x)
    elif isinstance(v, list):
        for x in v:
            walk(x)
state = json.loads(db.execute(\"SELECT state FROM snapshot WHERE service = 'cloudformation'\").fetchone()[0])
walk(state)
assert found, 'no such stack'
db.execute(\"UPDATE snapshot SET state = ? WHERE service = 'cloudformation'\", (json.dumps(state),))
db.commit()
";
        self.kill();
        let out = Command::new(tools().join("bin/python"))
            .args(["-c", EDIT])
            .arg(self.dir.join("state.sqlite"))
            .args([stack, status])
            .output()
            .expect("python runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        self.restart();
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after a kill.
    pub fn restart(&mut self) {
        self.process = Self::spawn(&self.dir, self.port);
        self.wait();
    }
}
