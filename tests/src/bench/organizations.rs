//! Many organizations onboarded in one run.

use super::Row;
use crate::harness::stack::{Clinic, Stack};
use crate::scale::{onboard_all, placed, requests, states};
use std::time::{Duration, Instant};

/// How many at a time.
const PARALLEL: usize = 8;
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
    let rest = (1..n).map(|n| Clinic::new(&format!("clinic-{n}"), &format!("ward-{n}")).with("enabled = false"));
    let clinics: Vec<Clinic> = std::iter::once(first).chain(rest).collect();
    let credentials = placed(&stack, &clinics);
    let mut worker = stack.worker();
    let _ = stack.ok(&["env", "apply", "--env", "test"]);
    let (out, took) = onboard_all(&stack, &credentials, PARALLEL, &mut worker, &[n / 3, n * 2 / 3], LIMIT);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(states(&stack), vec!["CREATE_COMPLETE"; n]);
    let what = format!("{n} organizations onboarded, {PARALLEL} at a time, worker killed twice");
    rows.push(Row::new(&what, took.as_secs_f64(), "s"));
    let began = Instant::now();
    let out = stack.run(&["org", "plan", "--all", "--env", "test"]);
    let took = began.elapsed();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    rows.push(Row::new(&format!("{n} organizations planned, nothing to change"), took.as_secs_f64(), "s"));
    let requests = requests(&out).expect("it says how many");
    rows.push(Row::new("  requests to CloudFormation, all together", f64::from(requests), ""));
}
