//! The routes, to be nested below the address of the service. Who asks is for the HTTP service to find out.

use super::{Ask, Headers, Reply, Service};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::routing::{get, post};
use leadline_domain::{FaultCode, OrgId};
use leadline_ehr::fhir::{Issue, KINDS, Problem, capability_statement};
use std::error::Error as _;
use std::sync::Arc;

/// Media type of the answers (FHIR R4 section 3.1.0.1.9).
pub const MEDIA_TYPE: &str = "application/fhir+json; fhirVersion=4.0";

/// Who asks, by the credentials of the request.
pub trait Named {
    /// The organization.
    fn org(&self) -> &OrgId;
}

/// `/metadata` for anybody; creates and transactions for callers that the extractor `C` lets through.
pub fn routes<S, C>(service: Arc<Service>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    C: FromRequestParts<S> + Named + Send + 'static,
{
    let statement = capability_statement(&service.base, env!("CARGO_PKG_VERSION"));
    let metadata = move || {
        let statement = statement.clone();
        async move { answer(Reply { status: 200, location: None, retry_after_s: None, body: Some(statement) }) }
    };
    let ask = |ask: Ask| {
        let service = Arc::clone(&service);
        post(move |caller: C, request: Request| {
            let service = Arc::clone(&service);
            async move { answer(received(&service, caller.org(), ask, request).await) }
        })
        .fallback(only_created)
    };
    let mut router =
        Router::new().route("/metadata", get(metadata).fallback(only_read)).route("/", ask(Ask::Transaction));
    router = router.route("/notifications", ask(Ask::Notification));
    for kind in KINDS {
        router = router.route(&format!("/{kind}"), ask(Ask::Create(kind)));
    }
    router.fallback(nothing)
}

async fn received(service: &Service, org: &OrgId, ask: Ask, request: Request) -> Reply {
    let refused = |problem: Problem| {
        leadline_activities::metrics::METRICS.fault(problem.fault.code);
        Reply::problem(&problem)
    };
    // A place first, and then the body: what waits is not held in memory.
    let _place = match service.place(org) {
        Ok(place) => place,
        Err(problem) => return refused(problem),
    };
    let (parts, body) = request.into_parts();
    let text = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let too_long = || {
        let why = format!("it is longer than {} bytes: upload large documents by the web", service.limit);
        refused(Problem::new(413, Issue::TooLong, FaultCode::FileTooLarge, why))
    };
    let announced = text(CONTENT_LENGTH.as_str()).and_then(|l| l.parse::<usize>().ok());
    if announced.is_some_and(|len| len > service.limit) {
        return too_long();
    }
    let body = match to_bytes(body, service.limit).await {
        Ok(body) => body,
        Err(e) if e.source().is_some_and(|e| e.is::<http_body_util::LengthLimitError>()) => return too_long(),
        Err(_) => {
            let why = "the body is not complete";
            return refused(Problem::new(400, Issue::Structure, FaultCode::FhirInvalid, why));
        }
    };
    let headers =
        Headers { content_type: text(CONTENT_TYPE.as_str()).unwrap_or_default(), if_none_exist: text("if-none-exist") };
    service.serve(org, ask, headers, body).await
}

async fn only_created() -> Response<Body> {
    answer(method("nothing is read or changed here: send by POST"))
}

async fn only_read() -> Response<Body> {
    answer(method("it is read by GET"))
}

/// FHIR R4 section 3.1.0: a server that does not support an interaction says so by 405, with an OperationOutcome.
fn method(why: &str) -> Reply {
    Reply::problem(&Problem::new(405, Issue::NotSupported, FaultCode::RequestMethod, why))
}

async fn nothing() -> Response<Body> {
    let why = "resources can be created at /Binary, /DocumentReference and /DiagnosticReport, transactions sent to /";
    answer(Reply::problem(&Problem::new(404, Issue::NotSupported, FaultCode::FhirNotSupported, why)))
}

fn answer(reply: Reply) -> Response<Body> {
    let mut headers = HeaderMap::new();
    let mut put = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    if let Some(location) = &reply.location {
        put(LOCATION, location);
        put(ETAG, "W/\"1\"");
    }
    if let Some(seconds) = reply.retry_after_s {
        put(RETRY_AFTER, &seconds.to_string());
    }
    let body = reply.body.map_or_else(Body::empty, |body| {
        put(CONTENT_TYPE, MEDIA_TYPE);
        Body::from(body.to_string())
    });
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = headers;
    response
}
