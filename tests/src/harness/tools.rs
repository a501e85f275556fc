//! Where `script/bootstrap` put the tools, and small helpers for processes.

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The folder of tools: `LEADLINE_TOOLS`, or where `script/bootstrap` puts them by default.
#[must_use]
pub fn tools() -> PathBuf {
    if let Some(d) = std::env::var_os("LEADLINE_TOOLS") {
        return d.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"), PathBuf::from);
    cache.join("leadline/tools")
}

/// The project's own folder.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap_or_default()
}

/// A loopback port that nothing uses, and that no other test is given while this process lives. It lies below the range
/// from which systems take ports for outgoing connections (32768 and up on Linux, 49152 and up elsewhere): a port of
/// that range may be taken by one between a look and the server's start, or while a killed server is started again.
///
/// # Panics
/// When the machine has none.
#[must_use]
pub fn free_port() -> u16 {
    static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let dir = std::env::temp_dir().join("leadline-ports");
    std::fs::create_dir_all(&dir).expect("folder of ports in use");
    let first = 15_000 + u16::try_from(std::process::id() * 7 % 16_000).unwrap_or(0);
    let free = (first..31_000).chain(15_000..first).find_map(|port| {
        let lock = File::create(dir.join(port.to_string())).ok()?;
        lock.try_lock().ok()?;
        TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).ok()?;
        Some((port, lock))
    });
    let (port, lock) = free.expect("no free port");
    HELD.lock().unwrap_or_else(PoisonError::into_inner).push(lock);
    port
}

/// Polls `ready` until it holds; panics with `what` after `limit`.
///
/// # Panics
/// After `limit`.
pub fn wait_for(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !ready() {
        assert!(Instant::now() < end, "gave up waiting: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Polls an async condition until it yields something; panics with `what` after `limit`.
///
/// # Panics
/// After `limit`.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    limit: Duration,
    mut ready: impl FnMut() -> F,
) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(t) = ready().await {
            return t;
        }
        assert!(Instant::now() < end, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether a loopback port takes connections.
#[must_use]
pub fn answers(port: u16) -> bool {
    std::net::TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Duration::from_millis(200))
        .is_ok()
}

/// The most memory that a process has held so far, KiB; `None` if it does not run.
#[must_use]
pub fn peak_kib(pid: u32) -> Option<u64> {
    status_kib(pid, "VmHWM:")
}

/// Processor time that a process has used so far, its own and the system's for it, milliseconds; `None` if it does not
/// run. The kernel counts it in steps of 10 ms (proc(5): `utime`, `stime`, 100 a second on all that Linux runs on).
#[must_use]
pub fn cpu_ms(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may hold anything, in parentheses: state is the first, utime and stime are 12th and 13th.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some((fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?) * 10)
}

/// [`peak_kib`] without the program itself, whose mapped text is three times as long in a debug build as in a release one.
#[must_use]
pub fn peak_data_kib(pid: u32) -> Option<u64> {
    Some(peak_kib(pid)?.saturating_sub(status_kib(pid, "RssFile:")?))
}

fn status_kib(pid: u32, key: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find(|l| l.starts_with(key))?.split_whitespace().nth(1)?.parse().ok()
}

/// Ends what [`Owned`] started when this process ends without dropping it, by SIGTERM say: its standard input ends then.
const GUARD: &str = r#"trap '' INT TERM HUP
while read -r what pid; do
    if [ "$what" = started ]; then all="$all $pid"; continue; fi
    left=
    for p in $all; do [ "$p" = "$pid" ] || left="$left $p"; done
    all=$left
done
[ -z "$all" ] || kill $all"#;

/// Tells the guard.
pub(super) fn guard(what: &str, pid: u32) {
    static STDIN: LazyLock<Mutex<Option<ChildStdin>>> = LazyLock::new(|| {
        let mut c = Command::new("sh");
        c.args(["-c", GUARD]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Mutex::new(c.spawn().ok().and_then(|mut c| c.stdin.take()))
    });
    if let Some(stdin) = STDIN.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        let _ = writeln!(stdin, "{what} {pid}");
    }
}

/// A process that ends with its owner. SIGKILL by [`Owned::kill`], SIGTERM first when dropped.
pub struct Owned {
    child: Option<Child>,
}

impl Owned {
    /// Starts it.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let child = command.spawn().unwrap_or_else(|e| panic!("cannot start {:?}: {e}", command.get_program()));
        guard("started", child.id());
        Self { child: Some(child) }
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Whether it runs.
    pub fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|c| matches!(c.try_wait(), Ok(None)))
    }

    /// SIGKILL, in the middle of whatever it does.
    pub fn kill(&mut self) {
        if let Some(mut c) = self.child.take() {
            let _ = c.kill();
            let _ = c.wait();
            guard("ended", c.id());
        }
    }

    /// SIGTERM, then SIGKILL after `grace`. Returns the exit status, if it ended by itself.
    pub fn stop(&mut self, grace: Duration) -> Option<std::process::ExitStatus> {
        let mut c = self.child.take()?;
        let _ = Command::new("kill").arg(c.id().to_string()).status();
        let end = Instant::now() + grace;
        let mut status = None;
        while status.is_none() && Instant::now() < end {
            status = c.try_wait().ok().flatten();
            if status.is_none() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        if status.is_none() {
            let _ = c.kill();
            let _ = c.wait();
        }
        guard("ended", c.id());
        status
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.stop(Duration::from_secs(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_owner_leaves_behind_is_ended() {
        let idle = || Command::new("sleep").arg("600").spawn().expect("sleep runs");
        let (mut left, mut ended) = (idle(), idle());
        let mut guard = Command::new("sh").args(["-c", GUARD]).stdin(Stdio::piped()).spawn().expect("sh runs");
        let mut told = guard.stdin.take().expect("piped");
        write!(told, "started {0}\nstarted {1}\nended {1}\n", left.id(), ended.id()).expect("told");
        drop(told);
        assert!(!left.wait().expect("waited for").success(), "by a signal");
        assert!(guard.wait().expect("waited for").success());
        assert!(ended.try_wait().expect("looked at").is_none(), "what ended before may be another's by now");
        ended.kill().expect("killed");
        ended.wait().expect("waited for");
    }
}
