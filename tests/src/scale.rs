//! Many organizations onboarded in one run, with the worker killed in between.

use crate::harness::stack::{Clinic, Stack};
use crate::harness::tools::Owned;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time between two looks at an onboarding of all.
const LOOK: Duration = Duration::from_millis(500);

/// Writes the files of the clinics' organizations, and a folder with the credentials of each. Returns the folder.
///
/// # Panics
/// When they cannot be written.
#[must_use]
pub fn placed(stack: &Stack, clinics: &[Clinic]) -> PathBuf {
    let dir = stack.dir.join("credentials");
    std::fs::create_dir_all(&dir).expect("folder");
    for c in clinics {
        stack.write_organization(c);
        let made = stack.dir.join(format!("{}.credentials.toml", c.org));
        std::fs::rename(made, dir.join(format!("{}.toml", c.org))).expect("moved");
    }
    dir
}

/// Stacks of organizations that are complete.
#[must_use]
pub fn complete(stack: &Stack) -> usize {
    states(stack).into_iter().filter(|s| s == "CREATE_COMPLETE").count()
}

/// State of the stack of each organization.
#[must_use]
pub fn states(stack: &Stack) -> Vec<String> {
    let list = stack.ok(&["org", "list", "--env", "test", "--output", "json"]);
    let state = |l: &str| serde_json::from_str::<serde_json::Value>(l).ok()?["stack"].as_str().map(str::to_owned);
    list.lines().filter_map(state).collect()
}

/// Onboards all, and kills the worker each time so many stacks are complete. Returns the command's end and how long it
/// took.
///
/// # Panics
/// When a worker cannot be started or ends by itself, or nothing goes on for `limit`.
pub fn onboard_all(
    stack: &Stack,
    credentials: &std::path::Path,
    parallel: usize,
    worker: &mut Owned,
    kills: &[usize],
    limit: Duration,
) -> (Output, Duration) {
    let began = Instant::now();
    let parallel = parallel.to_string();
    let dir = credentials.to_string_lossy();
    let args = ["org", "onboard", "--all", "--env", "test", "--credentials-dir", &dir, "--parallel", &parallel];
    let mut c = stack.command(&[&args[..], &["--output", "json"]].concat());
    let mut running: Child = c.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("leadline runs");
    // Read all the while: a pipe that is full would stop the command.
    let (out, err) = (drained(running.stdout.take()), drained(running.stderr.take()));
    let mut kills = kills.iter().copied().peekable();
    let (mut before, mut moved) = (0, Instant::now());
    let status = loop {
        if let Some(status) = running.try_wait().expect("asked") {
            break status;
        }
        std::thread::sleep(LOOK);
        let now = complete(stack);
        if now != before {
            (before, moved) = (now, Instant::now());
        }
        if kills.next_if(|n| now >= *n).is_some() {
            worker.kill();
            *worker = stack.worker();
        }
        // Nobody starts a worker again that ended by itself, and nothing goes on without one: better told than waited for.
        let died = !worker.runs();
        if died || moved.elapsed() > limit {
            let why = if died { "the worker ended by itself" } else { "nothing goes on" };
            let _ = running.kill();
            let said = String::from_utf8_lossy(&err.join().expect("read")).into_owned();
            let states = states(stack);
            panic!("{why}: {now} complete, {states:?}\n{said}\n{}", stack.last_worker_log());
        }
    };
    assert!(kills.peek().is_none(), "it ended before the worker was killed as often as it should have been");
    let read = |t: JoinHandle<Vec<u8>>| t.join().expect("read");
    (Output { status, stdout: read(out), stderr: read(err) }, began.elapsed())
}

/// Reads a pipe to its end.
fn drained(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(mut p) = pipe {
            let _ = p.read_to_end(&mut all);
        }
        all
    })
}

/// Requests to CloudFormation that a command over all says it has made.
#[must_use]
pub fn requests(out: &Output) -> Option<u32> {
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let line = said.lines().find(|l| l.contains("requests to CloudFormation"))?;
    line.rsplit("; ").next()?.split(' ').next()?.parse().ok()
}
