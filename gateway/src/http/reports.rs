//! The processor's reports by HTTP, for a processor that has no queue: what the outcome queue takes, and no more.

use super::App;
use super::auth::Caller;
use super::extract::Whole;
use super::problem::{Problem, ProblemBody};
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use axum::{Json, Router};
use leadline_activities::metrics::METRICS;
use leadline_activities::outcomes::Outcomes;
use leadline_domain::outcome::ProcessorReport;
use leadline_domain::{Fault, FaultCode};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// The scope (RFC 6749 section 3.3) that a token has to have: a clinician's has not, and says nothing of what became of
/// recordings.
pub const SCOPE: &str = "leadline.outcomes";
/// A report is much shorter; what is longer is not read.
const BODY: usize = 16 << 10;

/// A report that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Recorded {
    /// Id of its entry in the audit trail: the same for a repeat.
    pub entry: String,
    /// The recording.
    pub recording: String,
    /// The processor's id of the report.
    pub report: String,
}

/// `POST /outcomes`, to be merged into the service's routes.
pub fn routes(outcomes: Outcomes) -> Router<App> {
    let outcomes = Arc::new(outcomes);
    let handler = move |caller: Caller, Whole(body): Whole| {
        let outcomes = Arc::clone(&outcomes);
        async move { record(&outcomes, &caller, &body).await }
    };
    Router::new().route("/outcomes", post(handler)).layer(DefaultBodyLimit::max(BODY))
}

/// Report what became of a recording. Repeats are harmless.
#[utoipa::path(
    post, path = "/outcomes", tag = "processor", security(("oidc" = ["leadline.outcomes"])),
    request_body(
        content = serde_json::Value, content_type = "application/json",
        description = "A report as docs/schema/outcome.v1.json has it, at most 4,096 bytes"
    ),
    responses(
        (status = 200, body = Recorded, description = "It is kept, and in the history of the recording"),
        (status = 401, body = ProblemBody),
        (status = 403, body = ProblemBody, description = "The token is another organization's, or not for reports"),
        (status = 404, body = ProblemBody, description = "Your organization has no such recording"),
        (status = 409, body = ProblemBody, description = "Another report of this id is kept"),
        (status = 413, body = ProblemBody),
        (status = 422, body = ProblemBody, description = "It is no report"),
        (status = 503, body = ProblemBody),
    ),
)]
pub(crate) async fn record(outcomes: &Outcomes, caller: &Caller, body: &[u8]) -> Result<Json<Recorded>, Problem> {
    let done = taken(outcomes, caller, body).await;
    done.map(Json).map_err(|fault| {
        METRICS.fault(fault.code);
        tracing::warn!(%fault, org = %caller.org, "outcome not recorded");
        fault.into()
    })
}

async fn taken(outcomes: &Outcomes, caller: &Caller, body: &[u8]) -> Result<Recorded, Fault> {
    if !caller.scopes.contains(SCOPE) {
        return Err(Fault::new(FaultCode::RequestForbidden, format!("the token lacks scope {SCOPE}")));
    }
    let text = std::str::from_utf8(body).map_err(|_| Fault::new(FaultCode::OutcomeInvalid, "it is not UTF-8"))?;
    caller.only(Some(ProcessorReport::parse(text)?.org.as_str()))?;
    let entry = outcomes.record(text).await?;
    Ok(Recorded { entry: entry.id, recording: entry.recording.to_string(), report: entry.report })
}
