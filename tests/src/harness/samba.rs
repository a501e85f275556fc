//! A private Samba server, through `script/samba`: one place knows how Samba wants to be configured.

use super::tools::{answers, free_port, guard, root, wait_for};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A share of the server.
#[derive(Debug, Clone)]
pub struct ShareSpec {
    /// Share name.
    pub name: String,
    /// User who may use it; a unix account of this name is made if there is none.
    pub user: String,
    /// Password.
    pub password: String,
    /// Further options of `script/samba`, e.g. `encrypt=required`.
    pub options: Vec<String>,
}

impl ShareSpec {
    /// A share without further options.
    #[must_use]
    pub fn new(name: &str, user: &str, password: &str) -> Self {
        Self { name: name.into(), user: user.into(), password: password.into(), options: vec![] }
    }
    /// With an option more.
    #[must_use]
    pub fn with(mut self, option: &str) -> Self {
        self.options.push(option.into());
        self
    }
}

/// The server; stopped when dropped.
pub struct Samba {
    dir: PathBuf,
    port: u16,
    shares: Vec<ShareSpec>,
    options: Vec<String>,
}

impl Samba {
    /// Starts one on a free port with its state below `dir`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(dir: &Path, shares: &[ShareSpec]) -> Self {
        Self::start_with(dir, shares, &[])
    }

    /// Starts one with further options of `script/samba start`, e.g. `--encryption off`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_with(dir: &Path, shares: &[ShareSpec], options: &[&str]) -> Self {
        let options = options.iter().map(ToString::to_string).collect();
        let mut s = Self { dir: dir.to_owned(), port: free_port(), shares: shares.to_vec(), options };
        s.restart();
        s
    }

    /// Starts it (again) on the same port, folder and shares.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        std::fs::create_dir_all(&self.dir).expect("state folder");
        let mut c = Command::new(root().join("script/samba"));
        c.args(["start", "--dir"]).arg(&self.dir).args(["--port", &self.port.to_string()]).args(&self.options);
        for s in &self.shares {
            let mut spec = format!(
                "name={},user={},password={},path={}",
                s.name,
                s.user,
                s.password,
                self.path(&s.name).display()
            );
            for o in &s.options {
                spec.push(',');
                spec.push_str(o);
            }
            c.args(["--share", &spec]);
        }
        let out = c.stdin(Stdio::null()).output().expect("script/samba runs");
        assert!(out.status.success(), "samba did not start: {}", String::from_utf8_lossy(&out.stderr));
        self.guarded("started");
    }

    /// It is none of this process's own, but ends with it.
    fn guarded(&self, what: &str) {
        let pid = std::fs::read_to_string(self.dir.join("smbd.pid")).unwrap_or_default();
        if let Ok(pid) = pid.trim().parse() {
            guard(what, pid);
        }
    }

    /// Changes what a share is served with and starts the server again.
    ///
    /// # Panics
    /// When there is no such share, or the server does not start.
    pub fn serve(&mut self, share: &str, change: impl FnOnce(&mut ShareSpec)) {
        change(self.shares.iter_mut().find(|s| s.name == share).expect("a share of this name"));
        self.restart();
    }

    /// `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where a share lies on the server's own file system.
    #[must_use]
    pub fn path(&self, share: &str) -> PathBuf {
        self.dir.join("shares").join(share)
    }

    /// SIGKILL to every process of it.
    pub fn kill(&mut self) {
        self.signal("-KILL");
        self.guarded("ended");
        wait_for("the end of samba", Duration::from_secs(5), || !answers(self.port));
    }

    /// SIGSTOP to every process of it: connections stay and nobody answers, until [`Samba::resume`].
    pub fn pause(&mut self) {
        self.signal("-STOP");
    }

    /// SIGCONT to every process of it.
    pub fn resume(&mut self) {
        self.signal("-CONT");
    }

    /// All its processes are one session, which has the number of the first.
    fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(self.dir.join("smbd.pid")).unwrap_or_default();
        if pid.trim().is_empty() {
            return;
        }
        let members = Command::new("ps").args(["-o", "pid=", "-s", pid.trim()]).output().expect("ps runs");
        for p in String::from_utf8_lossy(&members.stdout).split_whitespace() {
            let _ = Command::new("kill").args([signal, p]).stderr(Stdio::null()).status();
        }
    }
}

impl Drop for Samba {
    fn drop(&mut self) {
        // A stopped process does not end by SIGTERM.
        self.resume();
        self.guarded("ended");
        let _ = Command::new(root().join("script/samba")).arg("stop").arg(&self.dir).output();
    }
}
