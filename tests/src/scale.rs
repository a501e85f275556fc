//! Many organizations onboarded in one run, with the worker killed in between.

use crate::harness::stack::{Clinic, Stack};
use crate::harness::tools::{Owned, wait_for};
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

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
/// When a worker cannot be started, or nothing goes on for `limit`.
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
    let running: Child = c.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("leadline runs");
    for n in kills {
        wait_for("some organizations are complete", limit, || complete(stack) >= *n);
        worker.kill();
        *worker = stack.worker();
    }
    (running.wait_with_output().expect("it ends"), began.elapsed())
}
