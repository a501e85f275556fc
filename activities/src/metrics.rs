//! Counters of the worker, exposed in the Prometheus text format. Names, units and stability: docs/METRICS.md.

use crate::exposition::{Exposition, Kind};
use leadline_domain::FaultCode;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of this process.
pub static METRICS: Metrics = Metrics::new();

/// See docs/METRICS.md.
pub struct Metrics {
    outcomes: Mutex<BTreeMap<(String, &'static str), u64>>,
    faults: Mutex<BTreeMap<&'static str, u64>>,
    bytes_stored: AtomicU64,
    invariants: Mutex<BTreeMap<&'static str, u64>>,
    probed: Mutex<BTreeMap<(String, &'static str), u64>>,
    drift: Mutex<BTreeMap<String, u64>>,
    reported: Mutex<BTreeMap<(String, &'static str), u64>>,
    overdue: Mutex<BTreeMap<String, u64>>,
    alarms: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

impl Metrics {
    const fn new() -> Self {
        Self {
            outcomes: Mutex::new(BTreeMap::new()),
            faults: Mutex::new(BTreeMap::new()),
            bytes_stored: AtomicU64::new(0),
            invariants: Mutex::new(BTreeMap::new()),
            probed: Mutex::new(BTreeMap::new()),
            drift: Mutex::new(BTreeMap::new()),
            reported: Mutex::new(BTreeMap::new()),
            overdue: Mutex::new(BTreeMap::new()),
            alarms: Mutex::new(BTreeMap::new()),
        }
    }

    /// An outcome was recorded.
    pub fn outcome(&self, org: &str, kind: &'static str) {
        bump(&self.outcomes, (org.to_owned(), kind));
    }
    /// A step failed.
    pub fn fault(&self, code: FaultCode) {
        bump(&self.faults, code.as_str());
    }
    /// Bytes of a new recording were stored.
    pub fn stored(&self, bytes: u64) {
        self.bytes_stored.fetch_add(bytes, Ordering::Relaxed);
    }
    /// An invariant of the design was found broken.
    pub fn broken(&self, invariant: &'static str) {
        tracing::error!(invariant, "invariant broken");
        bump(&self.invariants, invariant);
    }

    /// The isolation probe of an organization made this many tries that ended so.
    pub fn probed(&self, org: &str, verdict: &'static str, n: u64) {
        *lock(&self.probed).entry((org.to_owned(), verdict)).or_insert(0) += n;
    }
    /// The last look at a stack found this many settings changed outside leadline.
    pub fn drift(&self, stack: &str, n: u64) {
        lock(&self.drift).insert(stack.to_owned(), n);
    }

    /// A report of the processor was kept.
    pub fn reported(&self, org: &str, status: &'static str) {
        bump(&self.reported, (org.to_owned(), status));
    }
    /// At the last look this many recordings of an organization had no report though one was due.
    pub fn overdue(&self, org: &str, n: u64) {
        lock(&self.overdue).insert(org.to_owned(), n);
    }

    /// An alarm of this code was raised, or could not be.
    pub fn alarm(&self, code: FaultCode, what: &'static str) {
        bump(&self.alarms, (code.as_str(), what));
    }

    /// All counters in the Prometheus text format.
    #[must_use]
    pub fn render(&self) -> String {
        use Kind::{Counter, Gauge};
        let mut o = Exposition::default();
        let pairs = |of: &Mutex<BTreeMap<(String, &'static str), u64>>, name: &'static str| -> Vec<_> {
            lock(of).iter().map(|((org, v), n)| ([("org", org.clone()), (name, (*v).to_owned())], *n)).collect()
        };
        let outcomes = pairs(&self.outcomes, "outcome");
        o.family(Counter, "leadline_outcomes_total", "Files that reached an outcome.", outcomes);
        let faults = each(&self.faults, "code");
        o.family(Counter, "leadline_faults_total", "Steps that failed, by fault code.", faults);
        let stored = [([], self.bytes_stored.load(Ordering::Relaxed))];
        o.family(Counter, "leadline_stored_bytes_total", "Bytes of new recordings.", stored);
        o.family(
            Counter,
            "leadline_invariant_violations_total",
            "Invariants found broken; anything but 0 is a bug.",
            each(&self.invariants, "invariant"),
        );
        o.family(
            Counter,
            "leadline_isolation_tries_total",
            "Tries of the isolation probe, by what came of them; `broken` is an alarm.",
            pairs(&self.probed, "verdict"),
        );
        o.family(
            Gauge,
            "leadline_drifted_settings",
            "Settings changed outside leadline, at the last look.",
            each(&self.drift, "stack"),
        );
        o.family(
            Counter,
            "leadline_processor_reports_total",
            "Reports of the processor that were kept.",
            pairs(&self.reported, "status"),
        );
        o.family(
            Gauge,
            "leadline_recordings_without_report",
            "Recordings whose report of the processor was overdue at the last look.",
            each(&self.overdue, "org"),
        );
        let alarms: Vec<_> = lock(&self.alarms)
            .iter()
            .map(|((code, what), n)| ([("code", (*code).to_owned()), ("what", (*what).to_owned())], *n))
            .collect();
        o.family(Counter, "leadline_alarms_total", "Alarms for people; `not_raised` reached nobody.", alarms);
        o.text()
    }
}

fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Samples with one label of this name.
fn each<K: ToString>(of: &Mutex<BTreeMap<K, u64>>, name: &'static str) -> Vec<([(&'static str, String); 1], u64)> {
    lock(of).iter().map(|(v, n)| ([(name, v.to_string())], *n)).collect()
}

fn bump<K: Ord>(m: &Mutex<BTreeMap<K, u64>>, k: K) {
    *lock(m).entry(k).or_insert(0) += 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::aws::RequestCounts;

    #[test]
    fn each_metric_has_a_row() {
        let page = include_str!("../../docs/METRICS.md");
        let text = METRICS.render() + &RequestCounts::default().render();
        let names: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("# TYPE ")).collect();
        assert_eq!(names.len(), 12, "{names:?}");
        for name in names {
            let (name, kind) = name.split_once(' ').expect("a kind");
            assert!(page.contains(&format!("| `{name}` | {kind} |")), "docs/METRICS.md has no row for {name}");
        }
    }
}
