//! Counting what is asked of AWS: cost per file is shown, tested and exported.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

/// Requests sent, by service and operation, retries included.
#[derive(Debug, Default)]
pub struct RequestCounts(Mutex<BTreeMap<(String, String), u64>>);

impl RequestCounts {
    /// The counts as they are now.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<(String, String), u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All requests to a service, e.g. `S3`.
    #[must_use]
    pub fn of(&self, service: &str) -> u64 {
        self.snapshot().iter().filter(|((s, _), _)| s == service).map(|(_, n)| n).sum()
    }

    /// In the Prometheus text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut o = String::from(
            "# HELP leadline_aws_requests_total Requests sent to AWS.\n# TYPE leadline_aws_requests_total counter\n",
        );
        for ((service, operation), n) in self.snapshot() {
            let _ = writeln!(o, "leadline_aws_requests_total{{service=\"{service}\",operation=\"{operation}\"}} {n}");
        }
        o
    }
}

/// Counts into [`RequestCounts`].
#[derive(Debug, Clone)]
pub(super) struct Counting(pub(super) Arc<RequestCounts>);

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
            let key = (m.service().to_owned(), m.name().to_owned());
            *self.0.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert(0) += 1;
        }
        Ok(())
    }
}
