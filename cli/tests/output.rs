//! What a program that reads leadline's output can rely on.

use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Output, Stdio};

fn leadline() -> Command {
    Command::new(env!("CARGO_BIN_EXE_leadline"))
}

fn run(arguments: &[&str]) -> Output {
    leadline().args(arguments).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    for arguments in [&["schema", "message"][..], &["completions", "bash"], &["fault"], &["fault", "file.incomplete"]] {
        let full = File::options().write(true).open("/dev/full").expect("Linux has it");
        let out = leadline().args(arguments).stdout(full).output().expect("it runs");
        assert_eq!(out.status.code(), Some(1), "{arguments:?}");
        assert!(text(&out.stderr).starts_with("leadline: standard output: "), "{}", text(&out.stderr));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for arguments in [&["completions", "bash"][..], &["fault"]] {
        let mut c = leadline().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let mut first = [0; 1];
        let mut reader = c.stdout.take().expect("a pipe");
        reader.read_exact(&mut first).expect("something");
        drop(reader);
        let out = c.wait_with_output().expect("it ends");
        assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn a_fault_has_a_page_for_whoever_has_only_the_program() {
    let page = run(&["fault", "share.missing"]);
    assert!(page.status.success() && text(&page.stdout).starts_with("# share.missing\n"), "{}", text(&page.stdout));
    let all = text(&run(&["fault", "--output", "json"]).stdout);
    let codes: Vec<serde_json::Value> = all.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert!(codes.len() > 50 && codes.iter().all(|c| c["code"].is_string() && c["class"].is_string()), "{all}");
    assert_eq!(run(&["fault", "no.such"]).status.code(), Some(1));
}

#[test]
fn a_level_of_logs_that_is_none_is_told() {
    let out = leadline().args(["schema", "message"]).env("LEADLINE_LOG", "loud").output().expect("it runs");
    assert_eq!(out.status.code(), Some(64));
    assert!(text(&out.stderr).contains("LEADLINE_LOG is \"loud\""), "{}", text(&out.stderr));
}

#[test]
fn every_format_at_once_needs_a_folder() {
    let folder = tempfile::tempdir().expect("folder");
    let into = |out: &std::path::Path, format: &str| {
        let mut c = leadline();
        c.args(["synth", "--format", format, "--seconds", "2", "--leads", "2"]).arg(out);
        c.output().expect("it runs")
    };
    let file = folder.path().join("one");
    let out = into(&file, "all");
    assert_eq!(out.status.code(), Some(1), "{}", text(&out.stderr));
    assert!(!file.exists(), "something was written");
    let out = into(folder.path(), "all");
    assert!(out.status.success(), "{}", text(&out.stderr));
    let made = text(&out.stdout).lines().count();
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), made, "a name was used twice");
    assert_eq!(into(&file, "nonsense").status.code(), Some(64));
}

#[test]
fn an_environment_is_named_with_or_without_its_option() {
    for arguments in [&["env", "drift", "--help"][..], &["env", "status", "--help"], &["env", "resume", "--help"]] {
        let help = text(&run(arguments).stdout);
        assert!(help.contains("--env <ENV>") && help.contains("Global options:"), "{help}");
    }
}
