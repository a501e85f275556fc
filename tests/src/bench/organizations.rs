//! Many organizations onboarded in one run.

use super::Row;
use crate::harness::stack::{Clinic, Stack};
use crate::scale::{onboard_all, placed, requests, states};
use std::process::Output;
use std::time::{Duration, Instant};

/// How many at a time.
const PARALLEL: usize = 8;
/// How many are planned at last.
const MANY: usize = 1_000;
/// Without anything new for so long the run is given up.
const LIMIT: Duration = Duration::from_secs(1_800);

/// On servers of its own: `n` organizations onboarded in one run, while the worker is killed after a third and after two
/// thirds of them.
///
/// # Panics
/// When one is not onboarded.
pub fn organizations(n: usize, rows: &mut Vec<Row>) {
    let first = Clinic::new("clinic-0", "ward-0");
    let stack = Stack::start(std::slice::from_ref(&first));
    // The file server is not what is measured: the shares are not watched.
    let unwatched = |n: usize| Clinic::new(&format!("clinic-{n}"), &format!("ward-{n}")).with("enabled = false");
    let clinics: Vec<Clinic> = std::iter::once(first).chain((1..n).map(unwatched)).collect();
    let credentials = placed(&stack, &clinics);
    let mut worker = stack.worker();
    let _ = stack.ok(&["env", "apply", "--env", "test"]);
    let (out, took) = onboard_all(&stack, &credentials, PARALLEL, &mut worker, &[n / 3, n * 2 / 3], LIMIT);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(states(&stack), vec!["CREATE_COMPLETE"; n]);
    let what = format!("{n} organizations onboarded, {PARALLEL} at a time, worker killed twice");
    rows.push(Row::new(&what, took.as_secs_f64(), "s"));
    // Who is starved takes much longer than the others, which take what their turn takes.
    let each = seconds(&out);
    let (median, slowest) = (each[each.len() / 2], each[each.len() - 1]);
    rows.push(Row::new("  the slowest of them", slowest, "s").beside("the median", median));
    let (out, took) = planned(&stack, 0);
    rows.push(Row::new(&format!("{n} organizations planned, nothing to change"), took.as_secs_f64(), "s"));
    let requests = requests(&out).expect("it says how many");
    rows.push(Row::new("  requests to CloudFormation, all together", f64::from(requests), ""));
    let more: Vec<Clinic> = (n..MANY.max(n + 1)).map(unwatched).collect();
    let _ = placed(&stack, &more);
    let (_, took) = planned(&stack, 2);
    let what = format!("{} organizations planned, {} of them to be made", n + more.len(), more.len());
    rows.push(Row::new(&what, took.as_secs_f64(), "s"));
}

/// Plans all, which ends with this status; and how long it took.
fn planned(stack: &Stack, status: i32) -> (Output, Duration) {
    let began = Instant::now();
    let out = stack.run(&["org", "plan", "--all", "--env", "test"]);
    let took = began.elapsed();
    assert_eq!(out.status.code(), Some(status), "{}", String::from_utf8_lossy(&out.stderr));
    (out, took)
}

/// How long each onboarding took, in ascending order.
fn seconds(out: &Output) -> Vec<f64> {
    let of = |l: &str| serde_json::from_str::<serde_json::Value>(l).ok()?["seconds"].as_f64();
    let mut all: Vec<f64> = String::from_utf8_lossy(&out.stdout).lines().filter_map(of).collect();
    all.sort_by(f64::total_cmp);
    all
}
