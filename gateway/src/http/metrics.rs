//! Counters of the gateway's HTTP, in the Prometheus text format. Names, units and stability: docs/METRICS.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The counters of this process.
pub static METRICS: Metrics = Metrics::new();

/// See docs/METRICS.md.
pub struct Metrics {
    requests: Mutex<BTreeMap<(String, u16), (u64, f64)>>,
    uploads: Mutex<BTreeMap<&'static str, u64>>,
    events: Mutex<BTreeMap<&'static str, u64>>,
    swept: Mutex<BTreeMap<String, u64>>,
}

impl Metrics {
    const fn new() -> Self {
        Self {
            requests: Mutex::new(BTreeMap::new()),
            uploads: Mutex::new(BTreeMap::new()),
            events: Mutex::new(BTreeMap::new()),
            swept: Mutex::new(BTreeMap::new()),
        }
    }

    /// A request to a route (its pattern, never the path) was answered with this status after so many seconds.
    pub fn request(&self, route: &str, status: u16, seconds: f64) {
        let mut all = lock(&self.requests);
        let (n, s) = all.entry((route.to_owned(), status)).or_insert((0, 0.0));
        (*n, *s) = (*n + 1, *s + seconds);
    }

    /// Something happened to an upload: begun, begun_large, taken, refused, written_again, given_up.
    pub fn upload(&self, what: &'static str) {
        *lock(&self.uploads).entry(what).or_insert(0) += 1;
    }

    /// An event of the store was dealt with: taken, refused, ignored, failed.
    pub fn event(&self, what: &'static str) {
        *lock(&self.events).entry(what).or_insert(0) += 1;
    }

    /// Abandoned uploads of an organization were given up.
    pub fn swept(&self, org: &str, n: u64) {
        *lock(&self.swept).entry(org.to_owned()).or_insert(0) += n;
    }

    /// All counters in the Prometheus text format (version 0.0.4).
    #[must_use]
    pub fn render(&self) -> String {
        let mut o = String::new();
        head(&mut o, "leadline_http_requests_total", "Requests answered, by route and status.");
        let requests = lock(&self.requests).clone();
        for ((route, status), (n, _)) in &requests {
            let _ = writeln!(o, "leadline_http_requests_total{{route=\"{route}\",status=\"{status}\"}} {n}");
        }
        head(&mut o, "leadline_http_request_seconds_total", "Time spent on them.");
        for ((route, status), (_, s)) in &requests {
            let _ = writeln!(o, "leadline_http_request_seconds_total{{route=\"{route}\",status=\"{status}\"}} {s}");
        }
        for (name, help, label, of) in [
            ("leadline_uploads_total", "What happened to uploads.", "what", &self.uploads),
            ("leadline_upload_events_total", "Events of the store, by what came of them.", "what", &self.events),
        ] {
            head(&mut o, name, help);
            for (what, n) in lock(of).iter() {
                let _ = writeln!(o, "{name}{{{label}=\"{what}\"}} {n}");
            }
        }
        head(&mut o, "leadline_uploads_swept_total", "Abandoned uploads that were given up.");
        for (org, n) in lock(&self.swept).iter() {
            let _ = writeln!(o, "leadline_uploads_swept_total{{org=\"{org}\"}} {n}");
        }
        o
    }
}

fn head(o: &mut String, name: &str, help: &str) {
    let _ = writeln!(o, "# HELP {name} {help}\n# TYPE {name} counter");
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_written_as_prometheus_reads_them() {
        let m = Metrics::new();
        m.request("/uploads/{id}", 200, 0.5);
        m.request("/uploads/{id}", 200, 0.25);
        m.swept("north", 2);
        let text = m.render();
        assert!(text.contains("leadline_http_requests_total{route=\"/uploads/{id}\",status=\"200\"} 2\n"), "{text}");
        assert!(text.contains("leadline_http_request_seconds_total{route=\"/uploads/{id}\",status=\"200\"} 0.75\n"));
        assert!(text.contains("leadline_uploads_swept_total{org=\"north\"} 2\n"));
    }
}
