//! FHIR R4 over HTTP: resources are read whole, kept, their documents taken in, and then answered.
//!
//! Ids are derived from what was sent: a request that is sent again has the answer that it had, and makes no new work.

pub mod ehr;
pub mod notify;
mod routes;
mod store;

pub use routes::{MEDIA_TYPE, Named, routes};
pub(crate) use store::document;

use crate::intake::Intake;
use crate::seats::Seats;
use leadline_activities::metrics::METRICS;
use leadline_domain::{Fault, FaultClass, FaultCode, OrgId};
use leadline_ehr::fhir::{self, Answered, Create, Media, Problem, operation_outcome};
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// Bodies up to this length are read where they are; longer ones would hold up other requests of the thread.
const INLINE: usize = 32 << 10;
/// Requests of one organization that are worked on at a time.
const AT_A_TIME: usize = 8;
/// What a client is to wait if nobody says otherwise, seconds.
const RETRY_AFTER_S: u64 = 5;

/// The service.
pub struct Service {
    intake: Arc<dyn Intake>,
    /// Its own address, e.g. `https://ecg.example.org/fhir`.
    base: String,
    /// Longest body, bytes.
    limit: usize,
    places: Seats,
    follower: Option<notify::Follower>,
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// `POST /<type>`
    Create(&'static str),
    /// `POST /`
    Transaction,
    /// `POST /notifications`
    Notification,
}

/// What of a request's headers matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// `Content-Type`
    pub content_type: String,
    /// `If-None-Exist`
    pub if_none_exist: Option<String>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `Location`
    pub location: Option<String>,
    /// `Retry-After`, seconds.
    pub retry_after_s: Option<u64>,
    /// The resource to send, if any.
    pub body: Option<Value>,
}

impl Reply {
    fn problem(problem: &Problem) -> Self {
        let wait = problem.fault.retry_after_ms.map_or(RETRY_AFTER_S, |ms| ms.div_ceil(1_000));
        Self {
            status: problem.status,
            location: None,
            retry_after_s: matches!(problem.status, 429 | 503).then_some(wait),
            body: Some(operation_outcome(problem)),
        }
    }
}

impl Service {
    /// A service at an address, for bodies up to `limit` bytes.
    #[must_use]
    pub fn new(intake: Arc<dyn Intake>, base: impl Into<String>, limit: usize) -> Self {
        let base = base.into().trim_end_matches('/').to_owned();
        Self { intake, base, limit, places: Seats::new(AT_A_TIME), follower: None }
    }

    /// Follows subscriptions of EHRs too.
    #[must_use]
    pub fn following(mut self, follower: notify::Follower) -> Self {
        self.follower = Some(follower);
        self
    }

    /// Does what is asked, for an organization.
    pub async fn serve(&self, org: &OrgId, ask: Ask, headers: Headers, body: bytes::Bytes) -> Reply {
        match self.work(org, ask, headers, body).await {
            Ok(reply) => reply,
            Err(problem) => {
                METRICS.fault(problem.fault.code);
                let place = problem.expression.as_deref().unwrap_or_default();
                tracing::warn!(%org, code = %problem.fault.code, detail = %problem.fault.detail, place, "FHIR request refused");
                Reply::problem(&problem)
            }
        }
    }

    async fn work(&self, org: &OrgId, ask: Ask, headers: Headers, body: bytes::Bytes) -> Result<Reply, Problem> {
        if ask == Ask::Notification {
            return self.notified(org, &headers, body).await;
        }
        let raw = body.clone();
        let creates = if body.len() <= INLINE {
            plan(ask, &headers, &body)?
        } else {
            let task = tokio::task::spawn_blocking(move || plan(ask, &headers, &body));
            task.await.unwrap_or_else(|_| Err(Fault::new(FaultCode::BugInvariant, "the reader panicked").into()))?
        };
        for (index, create) in creates.iter().enumerate() {
            let Some(create) = create else { continue };
            let place = |p: Problem| match ask {
                Ask::Create(_) | Ask::Notification => p,
                Ask::Transaction => p.at(format!("Bundle.entry[{index}].resource")),
            };
            self.resolvable(org, create).await.map_err(place)?;
        }
        if ask == Ask::Transaction {
            // As it came: with what is beside the documents, and to the last digit.
            self.keep_raw(org, "transaction", raw).await?;
        }
        let mut answers = Vec::with_capacity(creates.len());
        for create in creates {
            answers.push(match create {
                Some(create) => Some(self.store(org, create, None).await?),
                None => None,
            });
        }
        Ok(match (ask, &answers[..]) {
            (Ask::Create(_), [Some(Answered { kind, id, existed })]) => Reply {
                status: if *existed { 200 } else { 201 },
                location: Some(format!("{}/{kind}/{id}/_history/1", self.base)),
                retry_after_s: None,
                body: None,
            },
            _ => Reply { status: 200, location: None, retry_after_s: None, body: Some(fhir::response(&answers)) },
        })
    }

    async fn notified(&self, org: &OrgId, headers: &Headers, body: bytes::Bytes) -> Result<Reply, Problem> {
        fhir::media(&headers.content_type, false)?;
        let Some(follower) = &self.follower else {
            let why = "notifications are not configured here";
            return Err(Problem::new(404, fhir::Issue::NotSupported, FaultCode::FhirNotSupported, why));
        };
        follower.notified(self, org, body).await?;
        Ok(Reply { status: 200, location: None, retry_after_s: None, body: None })
    }

    /// A place among an organization's requests; without one the client is to come again.
    fn place(&self, org: &OrgId) -> Result<OwnedSemaphorePermit, Problem> {
        self.places.take(org).ok_or_else(|| {
            let why = format!("{AT_A_TIME} requests of this organization are being worked on");
            let mut problem = Problem::new(429, fhir::Issue::Throttled, FaultCode::FhirBusy, why);
            problem.fault.retry_after_ms = Some(1_000);
            problem
        })
    }
}

/// What a client is told that something around the service refuses, in the service's words: an `OperationOutcome`.
pub(crate) fn refusal(status: u16, fault: &Fault) -> String {
    let issue = match status {
        401 => fhir::Issue::Login,
        403 => fhir::Issue::Forbidden,
        404 => fhir::Issue::NotFound,
        413 => fhir::Issue::TooLong,
        500 => fhir::Issue::Exception,
        _ => match fault.class() {
            FaultClass::Throttled => fhir::Issue::Throttled,
            FaultClass::Transient | FaultClass::Blocked => fhir::Issue::Transient,
            FaultClass::Rejected | FaultClass::Bug => fhir::Issue::BusinessRule,
        },
    };
    operation_outcome(&Problem { status, issue, fault: fault.clone(), expression: None }).to_string()
}

/// Reads a request to what is to be created. Pure.
fn plan(ask: Ask, headers: &Headers, body: &[u8]) -> Result<Vec<Option<Create>>, Problem> {
    match ask {
        Ask::Transaction | Ask::Notification => {
            fhir::media(&headers.content_type, false)?;
            fhir::transaction(body)
        }
        Ask::Create(kind) => {
            let media = fhir::media(&headers.content_type, kind == "Binary")?;
            let condition = headers.if_none_exist.as_deref().map(fhir::condition).transpose()?;
            let create = match media {
                // Some clients send the resource under JSON's own name; a recording in JSON is no Binary by its words.
                Media::Native if fhir::is_binary(body) => fhir::read(kind, body, condition),
                Media::Native => fhir::binary(body),
                Media::Json => fhir::read(kind, body, condition),
            };
            create.map(|create| vec![Some(create)])
        }
    }
}

#[cfg(test)]
mod tests;
