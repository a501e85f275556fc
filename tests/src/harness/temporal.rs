//! A Temporal dev server with its database in a file.

use super::tools::{Owned, answers, free_port, tools, wait_for};
use leadline_workflows::ids::SEARCH_ATTRIBUTES;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The server. Killed and started again it goes on with the same database on the same port.
pub struct Temporal {
    port: u16,
    ui_port: Option<u16>,
    dir: PathBuf,
    /// Events after which a workflow is told to go on with a fresh history; `None`: as many as Temporal thinks.
    history: Option<u32>,
    process: Owned,
}

impl Temporal {
    /// Starts one with its database in `dir`, without its UI.
    ///
    /// # Panics
    /// When it does not answer within 30 s.
    #[must_use]
    pub fn start(dir: &Path) -> Self {
        Self::start_on(dir, free_port(), None)
    }

    /// Starts one on a port, with its UI on another.
    ///
    /// # Panics
    /// When it does not answer within 30 s.
    #[must_use]
    pub fn start_on(dir: &Path, port: u16, ui_port: Option<u16>) -> Self {
        Self::start_as(dir, port, ui_port, None)
    }

    /// Starts one that tells workflows to go on with a fresh history after this many events (4,096 is its own number).
    ///
    /// # Panics
    /// When it does not answer within 30 s.
    #[must_use]
    pub fn start_with_histories_of(dir: &Path, events: u32) -> Self {
        Self::start_as(dir, free_port(), None, Some(events))
    }

    fn start_as(dir: &Path, port: u16, ui_port: Option<u16>, history: Option<u32>) -> Self {
        let process = Self::spawn(dir, port, ui_port, history);
        let mut t = Self { port, ui_port, dir: dir.to_owned(), history, process };
        t.wait();
        t
    }

    fn spawn(dir: &Path, port: u16, ui_port: Option<u16>, history: Option<u32>) -> Owned {
        let program = std::env::var_os("LEADLINE_TEMPORAL").map_or_else(|| tools().join("bin/temporal"), PathBuf::from);
        let log = std::fs::File::options().create(true).append(true).open(dir.join("temporal.log")).expect("log file");
        let mut c = Command::new(program);
        c.args(["server", "start-dev", "--ip", "127.0.0.1", "--log-level", "warn", "--port"]).arg(port.to_string());
        c.arg("--db-filename").arg(dir.join("temporal.db"));
        c.args(["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"]);
        for a in SEARCH_ATTRIBUTES {
            c.args(["--search-attribute", &format!("{a}=Keyword")]);
        }
        if let Some(n) = history {
            c.args(["--dynamic-config-value", &format!("limit.historyCount.suggestContinueAsNew={n}")]);
        }
        match ui_port {
            Some(p) => c.arg("--ui-port").arg(p.to_string()),
            None => c.arg("--headless"),
        };
        c.stdin(Stdio::null()).stderr(log.try_clone().expect("log file")).stdout(log);
        Owned::start(&mut c)
    }

    fn wait(&mut self) {
        let (port, process) = (self.port, &mut self.process);
        wait_for("Temporal answers", Duration::from_secs(30), || {
            assert!(process.runs(), "the Temporal server ended, see temporal.log");
            answers(port)
        });
    }

    /// `host:port` of the frontend.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Asks Temporal's own CLI. What it printed, if it succeeded; else what it complained of.
    ///
    /// # Errors
    /// As it says.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn cli(&self, args: &[&str]) -> Result<String, String> {
        let mut c = Command::new(tools().join("bin/temporal"));
        let out = c.args(args).args(["--address", &self.address()]).output().expect("temporal runs");
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        if out.status.success() { Ok(text(&out.stdout)) } else { Err(text(&out.stderr)) }
    }

    /// Whether there is a schedule of this id.
    ///
    /// # Panics
    /// When the CLI cannot be run.
    #[must_use]
    pub fn knows_schedule(&self, id: &str) -> bool {
        self.cli(&["schedule", "describe", "--schedule-id", id]).is_ok()
    }

    /// How many workflows of this type have ended well.
    ///
    /// # Panics
    /// When the server does not answer.
    #[must_use]
    pub fn completed(&self, workflow_type: &str) -> usize {
        let query = format!("WorkflowType = '{workflow_type}' AND ExecutionStatus = 'Completed'");
        let counted = self.cli(&["workflow", "count", "--query", &query]).expect("counted");
        counted.split_whitespace().find_map(|w| w.parse().ok()).expect("a number")
    }

    /// Makes a namespace that has no search attributes of ours.
    ///
    /// # Panics
    /// When it is refused.
    pub fn make_namespace(&self, name: &str) {
        self.cli(&["operator", "namespace", "create", "--namespace", name]).expect("made");
    }

    /// Address of the UI.
    #[must_use]
    pub fn ui(&self) -> Option<String> {
        self.ui_port.map(|p| format!("http://127.0.0.1:{p}"))
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after a kill.
    pub fn restart(&mut self) {
        self.process = Self::spawn(&self.dir, self.port, self.ui_port, self.history);
        self.wait();
    }
}
