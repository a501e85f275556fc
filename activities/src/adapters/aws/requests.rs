//! Counting what is asked of AWS: cost per file is shown, tested and exported.

use crate::exposition::{Exposition, Kind};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Requests of one operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OperationStats {
    /// Requests sent, retries included.
    pub requests: u64,
    /// Those without a success, an expected refusal (412) included.
    pub failed: u64,
    /// Time from sending to the end of the answer, all requests together.
    pub total: Duration,
    /// The slowest.
    pub slowest: Duration,
}

/// Requests sent, by service and operation, retries included.
#[derive(Debug, Default)]
pub struct RequestCounts(Mutex<BTreeMap<(String, String), OperationStats>>);

impl RequestCounts {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), OperationStats>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counts as they are now.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<(String, String), u64> {
        self.lock().iter().map(|(k, s)| (k.clone(), s.requests)).collect()
    }

    /// Counts and times as they are now.
    #[must_use]
    pub fn stats(&self) -> BTreeMap<(String, String), OperationStats> {
        self.lock().clone()
    }

    /// All requests to a service, e.g. `S3`.
    #[must_use]
    pub fn of(&self, service: &str) -> u64 {
        self.lock().iter().filter(|((s, _), _)| s == service).map(|(_, n)| n.requests).sum()
    }

    /// In the Prometheus text format.
    #[must_use]
    pub fn render(&self) -> String {
        let stats = self.stats();
        let mut o = Exposition::default();
        let mut family = |name: &str, help: &str, value: &dyn Fn(&OperationStats) -> f64| {
            let labels =
                |service: &str, operation: &str| [("service", service.to_owned()), ("operation", operation.to_owned())];
            let samples = stats.iter().map(|((service, operation), s)| (labels(service, operation), value(s)));
            o.family(Kind::Counter, name, help, samples);
        };
        #[expect(clippy::cast_precision_loss, reason = "counters stay far below 2^52")]
        let n = |v: u64| v as f64;
        family("leadline_aws_requests_total", "Requests sent to AWS.", &|s| n(s.requests));
        family("leadline_aws_requests_failed_total", "Requests to AWS without a success.", &|s| n(s.failed));
        family("leadline_aws_request_seconds_total", "Time spent in requests to AWS.", &|s| s.total.as_secs_f64());
        o.text()
    }

    fn sent(&self, m: &Metadata) {
        self.lock().entry((m.service().to_owned(), m.name().to_owned())).or_default().requests += 1;
    }

    fn ended(&self, m: &Metadata, took: Duration, failed: bool) {
        let mut all = self.lock();
        let s = all.entry((m.service().to_owned(), m.name().to_owned())).or_default();
        s.failed += u64::from(failed);
        s.total += took;
        s.slowest = s.slowest.max(took);
    }
}

/// Counts into [`RequestCounts`].
#[derive(Debug, Clone)]
pub(super) struct Counting(pub(super) Arc<RequestCounts>);

#[derive(Debug)]
struct Sent(Instant);

impl Storable for Sent {
    type Storer = StoreReplace<Self>;
}

impl Intercept for Counting {
    fn name(&self) -> &'static str {
        "leadline-request-counts"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(m) = config.load::<Metadata>() {
            self.0.sent(m);
        }
        config.interceptor_state().store_put(Sent(Instant::now()));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // An attempt that ended before it was sent (no credentials) is no request.
        if let (Some(Sent(at)), Some(m)) = (config.load::<Sent>(), config.load::<Metadata>()) {
            let failed = !matches!(context.output_or_error(), Some(Ok(_)));
            self.0.ended(m, at.elapsed(), failed);
        }
        config.interceptor_state().unset::<Sent>();
        Ok(())
    }
}
