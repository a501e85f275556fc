//! Health, readiness, and the pages about faults that errors point to.

use super::App;
use super::extract::InPath;
use super::problem::Problem;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use leadline_domain::{Fault, FaultCode};
use std::time::Duration;

/// A look at readiness ends after this time.
const LOOK: Duration = Duration::from_secs(5);

include!(concat!(env!("OUT_DIR"), "/fault_pages.rs"));

/// The process runs.
#[utoipa::path(get, path = "/healthz", tag = "service", responses((status = 200, description = "It runs")))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The service can do its work: Temporal answers and AWS knows our credentials.
#[utoipa::path(
    get, path = "/readyz", tag = "service",
    responses(
        (status = 200, description = "It can work"),
        (status = 503, body = super::problem::ProblemBody, description = "It cannot, or is about to stop"),
    ),
)]
pub(super) async fn readyz(State(app): State<App>) -> Result<&'static str, Problem> {
    if app.stopping() {
        return Err(Problem::new(FaultCode::RequestOverloaded, "it is about to stop"));
    }
    match tokio::time::timeout(LOOK, app.ready().check()).await {
        Ok(done) => done.map(|()| "ready\n").map_err(Problem::from),
        Err(_) => Err(Fault::new(FaultCode::EngineUnreachable, "no answer in time").into()),
    }
}

/// The page about a fault.
pub(super) async fn fault_page(InPath(code): InPath<String>) -> Result<Response, Problem> {
    match FAULT_PAGES.iter().find(|(c, _)| *c == code) {
        Some((_, text)) => Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], *text).into_response()),
        None => Err(Problem::new(FaultCode::UploadUnknown, "there is no fault of this code")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_page() {
        for c in FaultCode::ALL {
            assert!(FAULT_PAGES.iter().any(|(n, _)| n == &c.as_str()), "{c}");
        }
    }
}
