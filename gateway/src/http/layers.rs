//! What happens to every request and every answer: an id, limits, counting, and headers.

use super::App;
use super::auth::{Caller, Found};
use super::metrics::METRICS;
use super::problem::Problem;
use super::protocols::in_its_words;
use crate::seats::Seats;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use axum::extract::{FromRequestParts as _, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use leadline_domain::FaultCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tracing::Instrument as _;

/// Limits and headers that all requests share.
pub(super) struct Frame {
    /// Requests that may be under way.
    pub(super) places: Semaphore,
    /// The longest that one may take.
    pub(super) longest: Duration,
    /// Whether browsers are told to use https only.
    pub(super) https: bool,
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Around every request.
pub(super) async fn frame(State(f): State<Arc<Frame>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    // Ours, not the client's: it goes into logs.
    let id = request_id();
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!("http", request = %id, %method, route);
    let health = matches!(route.as_str(), "/healthz" | "/readyz");
    let mut answer = async {
        let Ok(_place) = (if health { Ok(None) } else { f.places.try_acquire().map(Some) }) else {
            return Problem::new(FaultCode::RequestOverloaded, "too many requests at the moment").into_response();
        };
        within(f.longest, request, next).await
    }
    .instrument(span)
    .await;
    answer = in_its_words(&path, answer);
    METRICS.request(&route, answer.status().as_u16(), begun.elapsed().as_secs_f64());
    let h = answer.headers_mut();
    if let Ok(v) = HeaderValue::from_str(&id) {
        h.insert(REQUEST_ID, v);
    }
    for (name, value) in SECURITY {
        h.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if f.https {
        h.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000; includeSubDomains"));
    }
    answer
}

/// Around requests that carry little.
pub(super) async fn hurry(State(longest): State<Duration>, request: Request, next: Next) -> Response {
    within(longest, request, next).await
}

/// Around requests that every organization has places of its own for. Who asks without a token that is believed is told by
/// the handler, which reads nothing of the body then.
pub(super) async fn seated(State((app, seats)): State<(App, Arc<Seats>)>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &app).await;
    let seat = caller.as_ref().ok().map(|c| seats.take(&c.org));
    if matches!(seat, Some(None)) {
        let why = "too many requests of this organization at the moment";
        return Problem::new(FaultCode::RequestOverloaded, why).into_response();
    }
    parts.extensions.insert(Found(caller));
    next.run(Request::from_parts(parts, body)).await
}

async fn within(longest: Duration, request: Request, next: Next) -> Response {
    let done = tokio::time::timeout(longest, next.run(request)).await;
    done.unwrap_or_else(|_| Problem::new(FaultCode::RequestOverloaded, "no answer in time").into_response())
}

/// For answers that do not say otherwise: nothing of them is a page, and nobody keeps them.
const SECURITY: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

fn request_id() -> String {
    let mut b = [0u8; 12];
    let _ = SystemRandom::new().fill(&mut b);
    hex::encode(b)
}

/// A handler that panicked is a bug of ours, not the end of the process.
pub(super) fn panicked(_: Box<dyn std::any::Any + Send + 'static>) -> Response {
    Problem::new(FaultCode::BugInvariant, "a handler panicked").into_response()
}
