//! `script/bench`: leadline beside what people know, on the same parts in the same run.
#![expect(clippy::print_stdout, reason = "a program that shows something")]
#![expect(clippy::print_stderr, reason = "its progress")]

use leadline_tests::bench::{Parts, Rows, backlog, ingress, large, latency, organizations, singles};
use leadline_tests::harness::stack::{Clinic, Stack};
use leadline_tests::ways_in::{WaysIn, open_to};

const SETTLE: &str = "settle = { strong_quiet_ms = 200, weak_quiet_ms = 60000, unverifiable_quiet_ms = 200, stalled_after_ms = 86400000 }";

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u64| {
        let given = args.iter().position(|a| a == name).and_then(|n| args.get(n + 1));
        given.map_or(default, |v| v.parse().unwrap_or_else(|_| panic!("{name} wants a number")))
    };
    let (files, ones, paced, mib) =
        (number("--files", 5_000), number("--singles", 5_000), number("--paced", 300), number("--large-mib", 1_024));
    let orgs = usize::try_from(number("--orgs", 200)).expect("a number of organizations");
    let received = number("--ingress", 200);
    let clinic = Clinic::new("st-mary", "ward").with(SETTLE).with(&open_to("MARY"));
    note("starting Temporal, an AWS endpoint and a Samba server on loopback; provisioning");
    let stack = Stack::start(std::slice::from_ref(&clinic));
    let ports = WaysIn::configure(&stack);
    // The other ways in are open for their own rows. A clinic that has only its share claims one identity a recording.
    let file = stack.environments().join("orgs/st-mary.toml");
    let text = std::fs::read_to_string(&file).expect("the organization's file");
    std::fs::write(&file, format!("link_encodings = false\n{text}")).expect("written");
    let p = Parts { stack: &stack, clinic: &clinic };
    let mut worker = stack.worker();
    let _ = stack.device("st-mary").await;
    tokio::task::block_in_place(|| stack.provision());
    worker.stop(std::time::Duration::from_secs(20));

    let mut rows = Rows::default();
    let mut told = 0;
    // A part takes minutes: what it measured is told when it ends, too.
    let mut tell = |rows: &Rows| {
        rows.0[told..].iter().for_each(|r| note(r.line().trim_end()));
        told = rows.0.len();
    };
    let mut copied = None;
    if files > 0 {
        note(&format!("a backlog of {files} files, and rclone with 8, 16 and 32 transfers, the best of which counts"));
        copied = Some(backlog(&p, files, &mut rows.0).await);
        tell(&rows);
    }
    if ones > 0 {
        note(&format!("{ones} files with a lifecycle each"));
        singles(&p, ones, copied, &mut rows.0).await;
        tell(&rows);
    }
    if paced > 0 {
        note(&format!("{paced} files, one every 150 ms"));
        latency(&p, paced, &mut rows.0).await;
        tell(&rows);
    }
    if received > 0 {
        note(&format!("{received} files by each of the other ways in"));
        ingress(&p, ports, received, &mut rows.0).await;
        tell(&rows);
    }
    if mib > 0 {
        note(&format!("one file of {mib} MiB"));
        large(&p, mib, &mut rows.0).await;
        tell(&rows);
    }
    if orgs > 0 {
        note(&format!("{orgs} organizations onboarded in one run, on servers of their own"));
        tokio::task::block_in_place(|| organizations(orgs, &mut rows.0));
    }
    if args.iter().any(|a| a == "json") { println!("{}", rows.json()) } else { print!("{}", rows.text()) }
}

fn note(s: &str) {
    eprintln!("bench: {s}");
}
