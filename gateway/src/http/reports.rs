//! The processor's reports by HTTP, for a processor that has no queue: what the outcome queue takes, and no more.

use super::App;
use super::auth::Caller;
use super::extract::Whole;
use super::problem::{Problem, ProblemBody};
use axum::extract::{DefaultBodyLimit, FromRequestParts};
use axum::http::request::Parts;
use axum::routing::post;
use axum::{Json, Router};
use leadline_activities::metrics::METRICS;
use leadline_activities::outcomes::Outcomes;
use leadline_domain::outcome::ProcessorReport;
use leadline_domain::{Fault, FaultCode, OrgId};
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

/// Who may report. An extractor, so that nothing of the body is waited for on behalf of anybody else.
pub(crate) struct Reporter(Caller);

impl TryFrom<Caller> for Reporter {
    type Error = Fault;

    fn try_from(caller: Caller) -> Result<Self, Fault> {
        if !caller.scopes.contains(SCOPE) {
            return Err(Fault::new(FaultCode::RequestForbidden, format!("the token lacks scope {SCOPE}")));
        }
        Ok(Self(caller))
    }
}

impl FromRequestParts<App> for Reporter {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let org = caller.org.clone();
        Self::try_from(caller).map_err(|fault| not_recorded(&org, fault))
    }
}

/// `POST /outcomes`, to be merged into the service's routes.
pub fn routes(outcomes: Outcomes) -> Router<App> {
    let outcomes = Arc::new(outcomes);
    let handler = move |reporter: Reporter, Whole(body): Whole| {
        let outcomes = Arc::clone(&outcomes);
        async move { record(&outcomes, &reporter, &body).await }
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
pub(crate) async fn record(outcomes: &Outcomes, reporter: &Reporter, body: &[u8]) -> Result<Json<Recorded>, Problem> {
    let Reporter(caller) = reporter;
    taken(outcomes, caller, body).await.map(Json).map_err(|fault| not_recorded(&caller.org, fault))
}

/// Counts and logs a refusal.
fn not_recorded(org: &OrgId, fault: Fault) -> Problem {
    METRICS.fault(fault.code);
    tracing::warn!(%fault, %org, "outcome not recorded");
    fault.into()
}

async fn taken(outcomes: &Outcomes, caller: &Caller, body: &[u8]) -> Result<Recorded, Fault> {
    let text = std::str::from_utf8(body).map_err(|_| Fault::new(FaultCode::OutcomeInvalid, "it is not UTF-8"))?;
    caller.only(Some(ProcessorReport::parse(text)?.org.as_str()))?;
    let entry = outcomes.record(text).await?;
    Ok(Recorded { entry: entry.id, recording: entry.recording.to_string(), report: entry.report })
}
