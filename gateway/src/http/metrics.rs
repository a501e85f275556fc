//! Counters of the gateway's HTTP, in the Prometheus text format. Names, units and stability: docs/METRICS.md.

use leadline_activities::exposition::{Exposition, Kind};
use std::collections::BTreeMap;
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

    /// All counters in the Prometheus text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut o = Exposition::default();
        let mut counter = |name: &str, help: &str, samples: Vec<(Vec<(&'static str, String)>, f64)>| {
            o.family(Kind::Counter, name, help, samples);
        };
        let requests = lock(&self.requests).clone();
        let by_route = |of: &dyn Fn(&(u64, f64)) -> f64| -> Vec<_> {
            let labels = |route: &String, status: &u16| vec![("route", route.clone()), ("status", status.to_string())];
            requests.iter().map(|((route, status), r)| (labels(route, status), of(r))).collect()
        };
        let each = |of: &Mutex<BTreeMap<&'static str, u64>>| -> Vec<_> {
            lock(of).iter().map(|(what, n)| (vec![("what", (*what).to_owned())], number(*n))).collect()
        };
        let answered = by_route(&|(n, _)| number(*n));
        counter("leadline_http_requests_total", "Requests answered, by route and status.", answered);
        counter("leadline_http_request_seconds_total", "Time spent on them.", by_route(&|(_, s)| *s));
        counter("leadline_uploads_total", "What happened to uploads.", each(&self.uploads));
        counter("leadline_upload_events_total", "Events of the store, by what came of them.", each(&self.events));
        let swept = lock(&self.swept).iter().map(|(org, n)| (vec![("org", org.clone())], number(*n))).collect();
        counter("leadline_uploads_swept_total", "Abandoned uploads that were given up.", swept);
        o.text()
    }
}

#[expect(clippy::cast_precision_loss, reason = "counters stay far below 2^52")]
fn number(n: u64) -> f64 {
    n as f64
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
