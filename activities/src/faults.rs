//! The one place where a [`Fault`] becomes a Temporal activity failure.
//!
//! The SDK turns any `std::error::Error` into a retryable failure at a `?`. A fault is none, so that a stray `?` in the
//! body of an activity does not compile:
//!
//! ```compile_fail,E0277
//! # use temporalio_sdk::activities::ActivityError;
//! async fn body(r: Result<(), leadline_domain::Fault>) -> Result<(), ActivityError> {
//!     r?;
//!     Ok(())
//! }
//! ```
//!
//! An error does:
//!
//! ```
//! # use temporalio_sdk::activities::ActivityError;
//! async fn body(r: Result<(), std::io::Error>) -> Result<(), ActivityError> {
//!     r?;
//!     Ok(())
//! }
//! ```

use leadline_domain::{Fault, FaultClass};
use std::time::Duration;
use temporalio_common::error::ApplicationFailure;
use temporalio_sdk::activities::ActivityError;

/// Ends an activity: success as it is; a fault with its code as the failure's type, itself as the details, retryable
/// by the server only if its class says that it passes by itself. Logged here, once.
pub(crate) fn ended<T>(step: &'static str, r: Result<T, Fault>) -> Result<T, ActivityError> {
    r.map_err(|fault| {
        match fault.class() {
            FaultClass::Transient | FaultClass::Throttled => {
                tracing::warn!(step, %fault, "step failed, will be repeated")
            }
            FaultClass::Blocked => tracing::error!(step, %fault, "step waits for a human"),
            FaultClass::Rejected => tracing::warn!(step, %fault, "input rejected"),
            FaultClass::Bug => tracing::error!(step, %fault, "bug"),
        }
        crate::metrics::METRICS.fault(fault.code);
        ActivityError::application(failure(fault))
    })
}

fn failure(fault: Fault) -> ApplicationFailure {
    let retryable = fault.class().passes();
    let delay = fault.retry_after_ms.map(Duration::from_millis);
    ApplicationFailure::builder(fault.to_string())
        .type_name(fault.code.to_string())
        .non_retryable(!retryable)
        .maybe_next_retry_delay(delay)
        .details(fault)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use leadline_domain::FaultCode;

    #[test]
    fn only_what_passes_by_itself_is_retryable() {
        for code in FaultCode::ALL {
            let f = failure(Fault::new(*code, "x"));
            let passes = matches!(code.class(), FaultClass::Transient | FaultClass::Throttled);
            assert_eq!(f.is_non_retryable(), !passes, "{code}");
            assert_eq!(f.type_name(), Some(code.as_str()));
        }
    }
}
