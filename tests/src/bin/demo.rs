//! `script/demo`: the main job on real parts, live.
#![expect(clippy::print_stdout, reason = "a program that shows something")]

use leadline_tests::demo::{Row, State, Table, scenes, send_by_every_way};
use leadline_tests::harness::stack::{Clinic, Ports, Stack};
use leadline_tests::harness::tools::free_port;
use leadline_tests::spent::{Requests, carrying_actions};
use leadline_tests::ways_in::{WaysIn, open_to};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long files may take to their outcomes.
const PATIENCE: Duration = Duration::from_secs(90);

#[tokio::main]
async fn main() -> ExitCode {
    let keep = std::env::args().any(|a| a == "--keep");
    let state = std::env::var_os("LEADLINE_DEMO_STATE").map(PathBuf::from).expect("script/demo names a state folder");
    // Not one that is there: another run may be at work in it.
    std::fs::create_dir(&state).expect("a state folder that is not there yet");
    let state = state.canonicalize().expect("state folder");
    let rule = "settle = { strong_quiet_ms = 200, weak_quiet_ms = 60000, unverifiable_quiet_ms = 3000, stalled_after_ms = 86400000 }";
    let clinics = [
        Clinic::new("st-mary", "ward").with(rule).with(&open_to("MARY")).served("case=yes"),
        Clinic::new("kings-road", "clinic").with(rule).with(&open_to("KING")),
    ];

    step("Starting Temporal, an AWS endpoint and a Samba server with two clinics' shares, all on loopback");
    let began = Instant::now();
    let ui = free_port();
    let stack = Stack::start_in(&state, &clinics, Ports { ui: Some(ui) });
    println!("  up after {:.1} s; state in {}", began.elapsed().as_secs_f32(), state.display());
    let ports = WaysIn::configure(&stack);
    let mut worker = stack.worker();
    // Logged on, with the watched folders made, as at a clinic that is about to be onboarded.
    let mut devices = BTreeMap::new();
    for c in &clinics {
        devices.insert(c.org.clone(), stack.device(&c.org).await);
    }

    step("Provisioning the environment and both organizations: workflow, change set, CloudFormation");
    let began = Instant::now();
    print_indented(&stack.ok(&["env", "apply", "--env", "test"]));
    for c in &clinics {
        stack.onboard(c);
    }
    print_indented(&stack.ok(&["org", "list", "--env", "test"]));
    println!("  provisioned in {:.1} s", began.elapsed().as_secs_f32());

    step("The clinics' devices write");
    let scenes = scenes();
    let rows = scenes
        .iter()
        .map(|s| Row {
            org: s.org.into(),
            path: s.path.into(),
            says: s.says.into(),
            last_write: None,
            state: State::default(),
        })
        .collect();
    let mut table = Table::new(rows);
    let before = tokio::task::block_in_place(|| Requests::now(&stack));
    for later in [false, true] {
        let acts: Vec<usize> = (0..scenes.len()).filter(|n| scenes[*n].later == later).collect();
        let playing = futures::future::join_all(acts.iter().map(|n| scenes[*n].play(&devices[scenes[*n].org])));
        tokio::pin!(playing);
        let mut played = None;
        let end = Instant::now() + PATIENCE;
        loop {
            tokio::select! {
                p = &mut playing, if played.is_none() => {
                    for (n, at) in acts.iter().zip(&p) {
                        match at {
                            Ok(at) => table.rows[*n].last_write = Some(*at),
                            Err(e) => println!("  the device could not write {}: {e}", scenes[*n].path),
                        }
                    }
                    played = Some(p);
                }
                () = tokio::time::sleep(Duration::from_millis(300)) => {}
            }
            let listed = tokio::task::block_in_place(|| {
                stack.ok(&["file", "list", "--env", "test", "--output", "json", "--show-paths", "--limit", "1000"])
            });
            table.take(&listed);
            let settled = |n: &usize| scenes[*n].expected.contains(&table.rows[*n].state.state.as_str());
            if played.is_some() && (acts.iter().all(settled) || Instant::now() > end) {
                break;
            }
        }
    }

    step("What happened");
    let mut last = Table::new(table.rows.clone());
    last.draw();
    let latencies: Vec<i64> = table.rows.iter().filter_map(Row::latency_ms).collect();
    println!("\n  evidence:");
    for r in &table.rows {
        println!("  {:<11} {:<26} {}", r.org, r.path, r.state.evidence);
    }

    step("The messages, as a consumer of the queue receives them");
    let messages = stack.ok(&["queue", "receive", "--env", "test", "--max", "100"]);
    print_indented(&messages);

    step("The shares, as the clinics see them");
    for c in &clinics {
        for name in devices[&c.org].names("").await.unwrap_or_default() {
            println!("  {:<11} {name}", c.org);
        }
    }

    step("One file's history");
    if let Some(r) = table.rows.iter().find(|r| r.state.state == "delivered") {
        print_indented(&stack.ok(&["file", "show", &r.state.key, "--env", "test", "--show-paths"]));
    }

    step("What the files have cost so far");
    let (s3, sqs) = tokio::task::block_in_place(|| Requests::now(&stack)).since(&before);
    let actions = carrying_actions(&stack).await;
    let files = scenes.len();
    let each = |n: f64| n / files as f64;
    println!("  {files} files, some of which wait, are duplicates, or are held open for long:");
    println!("  Temporal actions  {actions:>4}  {:>5.1} a file", each(actions));
    println!("  S3 requests       {s3:>4}  {:>5.1} a file", each(s3 as f64));
    println!("  SQS requests      {sqs:>4}  {:>5.1} a file", each(sqs as f64));

    let mut wrong = 0;
    for (s, r) in scenes.iter().zip(&table.rows) {
        if !s.expected.contains(&r.state.state.as_str()) {
            println!("  NOT AS EXPECTED: {} {} is {:?}, expected {:?}", s.org, s.path, r.state.state, s.expected);
            wrong += 1;
        }
    }
    let racing: Vec<_> = scenes.iter().zip(&table.rows).filter(|(s, _)| s.expected.len() > 1).collect();
    if racing.iter().filter(|(_, r)| r.state.state == "delivered").count() != 1 {
        println!("  NOT AS EXPECTED: of two files with the same bytes exactly one is delivered");
        wrong += 1;
    }
    let delivered = table.rows.iter().filter(|r| r.state.state == "delivered").count();
    if messages.lines().count() != delivered {
        println!("  NOT AS EXPECTED: {} messages for {delivered} delivered files", messages.lines().count());
        wrong += 1;
    }

    // The ingest queue drops what is sent twice within minutes; in the ledger two deliveries would be seen.
    let (mut told, end) = (BTreeSet::new(), Instant::now() + Duration::from_secs(10));
    while told.len() < delivered && Instant::now() < end {
        let ledger = stack.ok(&["queue", "receive", "--env", "test", "--queue", "audit", "--max", "1000"]);
        let entries = ledger.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
        let delivered = entries.filter(|e| e["outcome"]["kind"] == "delivered");
        told.extend(delivered.map(|e| (e["file"].to_string(), e["version"].to_string())));
    }
    if told.len() != delivered {
        println!("  NOT AS EXPECTED: the ledger tells of {} delivered files, {delivered} are", told.len());
        wrong += 1;
    }

    step("Uploads, HL7 v2, FHIR and DICOM: one recording by every way, one from the share again, one that is cut");
    let ways = WaysIn::start(&stack, ports);
    let known = scenes[0].bytes();
    let (sent, amiss) = tokio::task::block_in_place(|| send_by_every_way(&stack, &ways, "st-mary", &known));
    for s in &sent {
        println!("  {:<7} {:<36} {}", s.way, s.what, s.told);
    }
    for a in &amiss {
        println!("  NOT AS EXPECTED: {a}");
    }
    wrong += amiss.len();

    step(
        "The processor takes what nobody holds at the moment, and reports; a report lands in the history of the recording",
    );
    print_indented(&stack.ok(&["processor", "--simulate", "--once", "--env", "test"]));

    step("To look further");
    println!("  upload page     http://127.0.0.1:{}/upload (log on as alice)", ports.http);
    println!("  HL7 v2          127.0.0.1:{} (MLLP); DICOM 127.0.0.1:{}, AE title MARY", ports.mllp, ports.dicom);
    println!("  Temporal UI     http://127.0.0.1:{ui} (payloads are encrypted: they hold file names)");
    println!("  AWS endpoint    {}", stack.aws.url());
    println!("  Samba           smb://{}", stack.samba.address());
    println!("  state and logs  {}", state.display());
    if !latencies.is_empty() {
        println!(
            "  last write to queue: {} files, slowest {} ms",
            latencies.len(),
            latencies.iter().max().unwrap_or(&0)
        );
    }
    if keep {
        println!("\nEverything keeps running; Ctrl-C stops it. To use the program against it:");
        println!("  export LEADLINE_ENVIRONMENTS={}", stack.environments().display());
        println!("  export AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY=test", leadline_tests::harness::stack::ACCOUNT);
        for c in &clinics {
            println!("  smbclient -p {} -U {}%{} //127.0.0.1/{}", stack.samba.port(), c.user(), c.password(), c.share);
        }
        let _ = tokio::signal::ctrl_c().await;
    }
    drop(ways);
    worker.stop(Duration::from_secs(10));
    drop(stack);
    if wrong == 0 {
        println!("\nEvery outcome is the expected one.");
        ExitCode::SUCCESS
    } else {
        println!("\n{wrong} outcomes are not the expected ones.");
        ExitCode::FAILURE
    }
}

fn step(s: &str) {
    println!("\n== {s}");
}

fn print_indented(s: &str) {
    for l in s.lines() {
        println!("  {l}");
    }
}
