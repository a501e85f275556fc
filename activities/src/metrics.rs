//! Counters of the worker, exposed in the Prometheus text format. Names, units and stability: docs/METRICS.md.

use leadline_domain::FaultCode;
use std::collections::BTreeMap;
use std::fmt::Write as _;
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

    /// All counters in the Prometheus text format (version 0.0.4).
    #[must_use]
    pub fn render(&self) -> String {
        let mut o = String::new();
        let _ = writeln!(
            o,
            "# HELP leadline_outcomes_total Files that reached an outcome.\n# TYPE leadline_outcomes_total counter"
        );
        for ((org, kind), n) in lock(&self.outcomes).iter() {
            let _ = writeln!(o, "leadline_outcomes_total{{org=\"{org}\",outcome=\"{kind}\"}} {n}");
        }
        let _ = writeln!(
            o,
            "# HELP leadline_faults_total Steps that failed, by fault code.\n# TYPE leadline_faults_total counter"
        );
        for (code, n) in lock(&self.faults).iter() {
            let _ = writeln!(o, "leadline_faults_total{{code=\"{code}\"}} {n}");
        }
        let _ = writeln!(
            o,
            "# HELP leadline_stored_bytes_total Bytes of new recordings.\n# TYPE leadline_stored_bytes_total counter\nleadline_stored_bytes_total {}",
            self.bytes_stored.load(Ordering::Relaxed)
        );
        let _ = writeln!(
            o,
            "# HELP leadline_invariant_violations_total Invariants found broken; anything but 0 is a bug.\n# TYPE leadline_invariant_violations_total counter"
        );
        for (name, n) in lock(&self.invariants).iter() {
            let _ = writeln!(o, "leadline_invariant_violations_total{{invariant=\"{name}\"}} {n}");
        }
        let _ = writeln!(
            o,
            "# HELP leadline_isolation_tries_total Tries of the isolation probe, by what came of them; `broken` is an alarm.\n# TYPE leadline_isolation_tries_total counter"
        );
        for ((org, verdict), n) in lock(&self.probed).iter() {
            let _ = writeln!(o, "leadline_isolation_tries_total{{org=\"{org}\",verdict=\"{verdict}\"}} {n}");
        }
        let _ = writeln!(
            o,
            "# HELP leadline_drifted_settings Settings changed outside leadline, at the last look.\n# TYPE leadline_drifted_settings gauge"
        );
        for (stack, n) in lock(&self.drift).iter() {
            let _ = writeln!(o, "leadline_drifted_settings{{stack=\"{stack}\"}} {n}");
        }
        let _ = writeln!(
            o,
            "# HELP leadline_processor_reports_total Reports of the processor that were kept.\n# TYPE leadline_processor_reports_total counter"
        );
        for ((org, status), n) in lock(&self.reported).iter() {
            let _ = writeln!(o, "leadline_processor_reports_total{{org=\"{org}\",status=\"{status}\"}} {n}");
        }
        let _ = writeln!(
            o,
            "# HELP leadline_recordings_without_report Recordings whose report of the processor was overdue at the last look.\n# TYPE leadline_recordings_without_report gauge"
        );
        for (org, n) in lock(&self.overdue).iter() {
            let _ = writeln!(o, "leadline_recordings_without_report{{org=\"{org}\"}} {n}");
        }
        let _ = writeln!(
            o,
            "# HELP leadline_alarms_total Alarms for people; `not_raised` reached nobody.\n# TYPE leadline_alarms_total counter"
        );
        for ((code, what), n) in lock(&self.alarms).iter() {
            let _ = writeln!(o, "leadline_alarms_total{{code=\"{code}\",what=\"{what}\"}} {n}");
        }
        o
    }
}

fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn bump<K: Ord>(m: &Mutex<BTreeMap<K, u64>>, k: K) {
    *lock(m).entry(k).or_insert(0) += 1;
}
