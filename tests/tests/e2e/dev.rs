//! `leadline dev` with the environment that the repository comes with: what it starts serves that environment, from nothing
//! to its gateway, and it ends what it started.

use leadline_tests::harness::stack::command;
use leadline_tests::harness::tools::{Owned, answers, free_port, root, wait_for};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// What a server says; `None` unless it is a success.
fn get(args: &[&str]) -> Option<String> {
    let out = Command::new("curl").args(["-sf", "-m", "5"]).args(args).output().expect("curl runs");
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}

/// The repository's environments, with these ports for those of `test`.
fn environments(to: &Path, ports: &[(u16, u16)]) {
    let from = root().join("environments");
    std::fs::create_dir_all(to.join("orgs")).expect("a folder");
    for folder in ["", "orgs"] {
        for file in std::fs::read_dir(from.join(folder)).expect("environments").flatten() {
            if file.path().extension().is_some_and(|e| e == "toml") {
                let mut text = std::fs::read_to_string(file.path()).expect("text");
                for (standard, port) in ports {
                    text = text.replace(&format!("127.0.0.1:{standard}"), &format!("127.0.0.1:{port}"));
                }
                std::fs::write(to.join(folder).join(file.file_name()), text).expect("written");
            }
        }
    }
}

#[test]
fn a_stack_in_the_foreground_serves_its_environment_and_ends_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    let [temporal, ui, aws, http, issuer] = std::array::from_fn(|_| free_port());
    let here = dir.path().join("environments");
    environments(&here, &[(7_233, temporal), (4_566, aws), (8_080, http), (8_300, issuer)]);
    let here = here.to_string_lossy().into_owned();
    let state = dir.path().join("state");

    let log = dir.path().join("dev.log");
    let mut dev = command(&["--environments", &here, "dev", "--state", &state.to_string_lossy()]);
    for (option, port) in [("--temporal-port", temporal), ("--ui-port", ui), ("--aws-port", aws)] {
        dev.arg(option).arg(port.to_string());
    }
    // Whatever the terminal has: the gateway and what dev says are of the environment's account.
    dev.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").stdout(Stdio::null());
    let mut dev = Owned::start(dev.stderr(std::fs::File::create(&log).expect("a log")));
    let told = || std::fs::read_to_string(&log).unwrap_or_default();
    wait_for("it says that all runs", LIMIT, || told().contains("Ctrl-C stops all of it"));
    assert!(told().contains("export AWS_ACCESS_KEY_ID=111111111111"), "{}", told());
    assert!([temporal, ui, aws, issuer].into_iter().all(answers), "{}", told());
    let token = format!("http://127.0.0.1:{issuer}/token");
    let token = get(&["-u", "loader-st-mary:dev", "-d", "grant_type=client_credentials", &token]).expect("a token");
    assert!(token.contains("access_token"), "{token}");

    let mut worker = command(&["--environments", &here, "worker", "--env", "test"]);
    let mut worker = Owned::start(worker.stdout(Stdio::null()).stderr(Stdio::null()));
    let out = command(&["--environments", &here, "env", "apply", "--env", "test"]).output().expect("it runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let ready = format!("http://127.0.0.1:{http}/readyz");
    wait_for("the gateway runs, now that there is an environment", LIMIT, || get(&[&ready]).is_some());
    let page = get(&[&format!("http://127.0.0.1:{http}/upload")]).expect("the upload page");
    assert!(page.contains("<html"), "{page}");
    worker.stop(LIMIT);

    let status = dev.stop(LIMIT).expect("it ends by itself");
    assert!(status.success(), "{status}: {}", told());
    for port in [temporal, ui, aws, http, issuer] {
        assert!(!answers(port), "something listens on {port} still: {}", told());
    }
}
