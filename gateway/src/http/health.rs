//! Health, readiness, and the pages about faults that errors point to.

use super::extract::InPath;
use super::problem::Problem;
use super::{App, Ready};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use leadline_domain::{Fault, FaultCode};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// A look at readiness ends after this time.
const LOOK: Duration = Duration::from_secs(5);
/// And is good for this time: anybody may ask, and Temporal and AWS are not to be asked as often.
const GOOD: Duration = Duration::from_secs(5);

/// What the last look at readiness gave.
pub(super) struct Readiness {
    good: Duration,
    last: Mutex<Option<(Instant, Result<(), Fault>)>>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { good: GOOD, last: Mutex::default() }
    }
}

impl Readiness {
    /// Looks, unless that was done a moment ago or somebody is at it.
    async fn of(&self, ready: &dyn Ready) -> Result<(), Fault> {
        let mut last = self.last.lock().await;
        if let Some((_, told)) = last.as_ref().filter(|(at, _)| at.elapsed() < self.good) {
            return told.clone();
        }
        let late = || Err(Fault::new(FaultCode::EngineUnreachable, "no answer in time"));
        let told = tokio::time::timeout(LOOK, ready.check()).await.unwrap_or_else(|_| late());
        *last = Some((Instant::now(), told.clone()));
        told
    }
}

/// The process runs.
#[utoipa::path(get, path = "/healthz", tag = "service", responses((status = 200, description = "It runs")))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The service can do its work: Temporal answers and AWS knows our credentials, as of a few seconds ago.
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
    app.readiness().of(app.ready()).await?;
    Ok("ready\n")
}

/// The page about a fault.
pub(super) async fn fault_page(InPath(code): InPath<String>) -> Result<Response, Problem> {
    match FaultCode::parse(&code).map(FaultCode::page) {
        Some(text) => Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], text).into_response()),
        None => Err(Problem::new(FaultCode::RequestNotFound, "there is no fault of this code")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts looks, and gives way in each.
    #[derive(Default)]
    struct Counted(AtomicUsize);

    #[async_trait]
    impl Ready for Counted {
        async fn check(&self) -> Result<(), Fault> {
            let n = self.0.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            if n == 0 { Ok(()) } else { Err(Fault::new(FaultCode::EngineUnreachable, "")) }
        }
    }

    #[tokio::test]
    async fn however_many_ask_there_is_one_look_at_a_time() {
        let counted = Counted::default();
        let readiness = Readiness { good: Duration::from_secs(600), ..Readiness::default() };
        let all = futures::future::join_all((0..50).map(|_| readiness.of(&counted))).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(counted.0.load(Ordering::Relaxed), 1);
        // What is old is not told.
        let readiness = Readiness { good: Duration::ZERO, ..readiness };
        let told = readiness.of(&counted).await;
        assert_eq!(told.unwrap_err().code, FaultCode::EngineUnreachable);
        assert_eq!(counted.0.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_code_has_its_page_and_another_word_none() {
        let page = fault_page(InPath("upload.unknown".into())).await.unwrap();
        let text = axum::body::to_bytes(page.into_body(), 1 << 16).await.unwrap();
        assert!(text.starts_with(b"# upload.unknown\n"));
        let problem = fault_page(InPath("none".into())).await.unwrap_err().body();
        assert_eq!((problem.status, problem.code.as_str()), (404, "request.not_found"));
        assert!(!format!("{problem:?}").contains("upload"));
    }
}
