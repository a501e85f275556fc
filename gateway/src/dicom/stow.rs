//! STOW-RS: Store Instances (PS3.18 10.5), `POST /studies` and `POST /studies/{study}` with `multipart/related` of
//! `application/dicom`. The answer is the Store Instances Response Module in DICOM JSON (PS3.18 annex I, annex F).
//!
//! An instance passes unchanged: the file that a client sends is the recording.

mod feed;

use super::exchange::{Budget, Hold};
use super::store::{self, Announced, Refused, status};
use super::{head, part10, uids};
use crate::http::problem::ProblemBody;
use crate::intake::Intake;
use crate::pace::allowance;
use crate::seats::Seats;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use feed::{Feed, TooFar};
use leadline_activities::metrics::METRICS;
use leadline_domain::{FaultCode, OrgId};
use multer::{Constraints, Field, Multipart, SizeLimit};
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Media type of an instance, and of the answer.
const DICOM: &str = "application/dicom";
const DICOM_JSON: &str = "application/dicom+json";
/// Instances in one request. A client with more sends a second request.
const MAX_INSTANCES: usize = 1_000;

/// Media type of a refusal: PS3.18 8.7.2, a text says why.
pub const REFUSAL: &str = "text/plain; charset=utf-8";
/// Largest instances that are held in memory at a time, whosever they are.
const HELD: usize = 4;

/// The service, with its bounds.
#[derive(Debug)]
pub struct Stow {
    instance_bytes: usize,
    /// Requests of one organization at a time.
    seats: Seats,
    /// What all hold in memory together: not seats of all, or a few slow senders would keep everybody else out.
    budget: Arc<Budget>,
    silence: Duration,
}

/// An instance that was in the request, and what became of it.
struct Instance {
    class: String,
    uid: String,
    kept: Result<(), Refused>,
}

impl Stow {
    /// Takes instances of so many bytes, and so many requests of an organization at a time; a sender from whom nothing
    /// comes for `silence` is given up, and so is one that is slower in all than `allowance` has it.
    #[must_use]
    pub fn new(instance_bytes: usize, seats: usize, silence: Duration) -> Self {
        let budget = Budget::new(instance_bytes.saturating_mul(HELD), instance_bytes);
        Self { instance_bytes, seats: Seats::new(seats), budget, silence }
    }

    /// Serves a request: 200 if everything is kept, 202 if a part is, 409 if nothing is; 400, 406, 408, 413, 415 or 503
    /// if it is not a request that can be served. What was kept before a request broke off stays kept; a repeat is harmless.
    pub async fn serve(
        &self,
        intake: &dyn Intake,
        org: &OrgId,
        study: Option<&str>,
        headers: &HeaderMap,
        body: Body,
    ) -> Response {
        match self.all(intake, org, study, headers, body).await {
            Ok(done) => {
                let (status, body) = answer(&done);
                (status, [(header::CONTENT_TYPE, DICOM_JSON)], body.to_string()).into_response()
            }
            Err(no) => {
                METRICS.fault(no.code);
                tracing::info!(%org, code = %no.code, status = no.status.as_u16(), why = no.why, "STOW-RS request refused");
                no.into_response()
            }
        }
    }

    async fn all(
        &self,
        intake: &dyn Intake,
        org: &OrgId,
        study: Option<&str>,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Vec<Instance>, No> {
        use FaultCode as F;
        if !acceptable(headers) {
            return Err(No::new(StatusCode::NOT_ACCEPTABLE, F::RequestInvalid, "answers are application/dicom+json"));
        }
        let Some(boundary) = boundary(headers) else {
            let why = "send multipart/related; type=\"application/dicom\"; boundary=...";
            return Err(No::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, F::RequestInvalid, why));
        };
        let Some(_seat) = self.seats.take(org) else { return Err(No::busy("too many requests of this organization")) };
        let limit = u64::try_from(self.instance_bytes).unwrap_or(u64::MAX);
        let limits = Constraints::new().size_limit(SizeLimit::new().per_field(limit));
        let (feed, pieces) = Feed::new(body, self.silence);
        let mut parts = Multipart::with_constraints(pieces, boundary, limits);
        let mut done = Vec::new();
        loop {
            let part = match parts.next_field().await {
                Ok(Some(p)) => {
                    feed.used();
                    p
                }
                Ok(None) => break,
                Err(e) => return Err(broken(&e)),
            };
            if done.len() == MAX_INSTANCES {
                let why = "more than 1,000 instances in one request";
                return Err(No::new(StatusCode::PAYLOAD_TOO_LARGE, F::RequestTooLarge, why));
            }
            if part.content_type().is_some_and(|m| m.essence_str() != DICOM) {
                let why = "a part is not application/dicom";
                return Err(No::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, F::RequestInvalid, why));
            }
            let (file, _hold) = self.whole(org, part, &feed).await?;
            done.push(instance(intake, org, study, file).await);
        }
        if done.is_empty() {
            return Err(No::new(StatusCode::BAD_REQUEST, F::RequestInvalid, "no instance in the request"));
        }
        Ok(done)
    }

    /// A part, as far as there is room for it; it counts as held until the second is dropped.
    async fn whole(&self, org: &OrgId, mut part: Field<'_>, feed: &Feed) -> Result<(Bytes, Hold), No> {
        let (mut file, mut hold) = (BytesMut::new(), Hold::new(&self.budget, org));
        let begun = Instant::now();
        loop {
            let until = begun + allowance(self.silence, file.len());
            let next = tokio::time::timeout_at(until, part.chunk()).await;
            let next =
                next.map_err(|_| No::new(StatusCode::REQUEST_TIMEOUT, FaultCode::DicomPeerBrokeOff, "too slow"))?;
            let Some(piece) = next.map_err(|e| broken(&e))? else { break };
            feed.used();
            if !hold.more(piece.len()) {
                return Err(No::busy("too much at once"));
            }
            file.extend_from_slice(&piece);
        }
        Ok((file.freeze(), hold))
    }
}

/// A request that is not served.
#[derive(Debug)]
struct No {
    status: StatusCode,
    code: FaultCode,
    why: &'static str,
}

impl No {
    fn new(status: StatusCode, code: FaultCode, why: &'static str) -> Self {
        Self { status, code, why }
    }

    fn busy(why: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, FaultCode::RequestOverloaded, why)
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let text = format!("{}: {}\n", self.code, self.why);
        let mut r = (self.status, [(header::CONTENT_TYPE, REFUSAL)], text).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            r.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        r
    }
}

/// The text of a refusal that something around the service made.
pub(crate) fn told(problem: &ProblemBody) -> String {
    format!("{}: {}\n", problem.code, problem.detail.as_deref().unwrap_or(&problem.title))
}

async fn instance(intake: &dyn Intake, org: &OrgId, study: Option<&str>, file: Bytes) -> Instance {
    let done = kept(intake, org, study, file).await;
    if let Err(why) = &done.kept {
        why.count(org);
    }
    done
}

async fn kept(intake: &dyn Intake, org: &OrgId, study: Option<&str>, file: Bytes) -> Instance {
    let Some(meta) = part10::read(&file) else {
        let kept = Err(Refused::new(status::CANNOT_UNDERSTAND, "no DICOM file"));
        return Instance { class: String::new(), uid: String::new(), kept };
    };
    let (class, uid) = (meta.class.clone(), meta.instance.clone());
    if let Some(wanted) = study
        && head::read(file.get(meta.data..).unwrap_or_default(), &meta.syntax).study.as_deref() != Some(wanted)
    {
        // PS3.18 10.5.1.1: instances of another study than the URL names are refused.
        return Instance { class, uid, kept: Err(Refused::new(status::CLASS_MISMATCH, "of another study")) };
    }
    let announced = Announced { class: meta.class, instance: meta.instance, syntax: meta.syntax };
    let kept = store::keep(intake, org, announced, file, meta.data).await.map(|_| ());
    Instance { class, uid, kept }
}

/// The boundary, if this is `multipart/related` of DICOM instances (RFC 2387).
fn boundary(headers: &HeaderMap) -> Option<String> {
    let said = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let strict = said.parse::<mime::Mime>().ok();
    let parameter = |name: &str| match &strict {
        Some(mime) => mime.get_param(name).map(|v| v.as_str().to_owned()),
        None => loose(said, name),
    };
    let related = said.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("multipart/related");
    // Without `type`, the parts say what they are.
    let dicom = parameter("type").is_none_or(|t| t.eq_ignore_ascii_case(DICOM));
    if related && dicom { parameter("boundary").filter(|b| !b.is_empty()) } else { None }
}

/// A parameter of a media type that is not written by the rules: many clients leave out the quotes that the slash in
/// `type` needs (RFC 2045 5.1).
fn loose(said: &str, name: &str) -> Option<String> {
    let all = said.split(';').skip(1).filter_map(|p| p.split_once('='));
    let mut named = all.filter(|(n, _)| n.trim().eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.trim().trim_matches('"').to_owned())
}

fn acceptable(headers: &HeaderMap) -> bool {
    let mut said = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).peekable();
    let ours = |v: &str| {
        let one = v.split(';').next().unwrap_or_default().trim();
        ["*/*", "application/*", DICOM_JSON, "application/json"].iter().any(|a| one.eq_ignore_ascii_case(a))
    };
    said.peek().is_none() || said.any(|v| v.split(',').any(ours))
}

fn broken(e: &multer::Error) -> No {
    use multer::Error as E;
    match e {
        E::FieldSizeExceeded { .. } | E::StreamSizeExceeded { .. } => {
            No::new(StatusCode::PAYLOAD_TOO_LARGE, FaultCode::FileTooLarge, "an instance is larger than allowed")
        }
        E::StreamReadFailed(e)
            if e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::TimedOut) =>
        {
            No::new(StatusCode::REQUEST_TIMEOUT, FaultCode::DicomPeerBrokeOff, "nothing came for too long")
        }
        E::StreamReadFailed(e) if e.is::<TooFar>() => {
            No::new(StatusCode::PAYLOAD_TOO_LARGE, FaultCode::RequestTooLarge, "too much before an instance")
        }
        E::StreamReadFailed(_) | E::IncompleteStream | E::IncompleteFieldData { .. } | E::IncompleteHeaders => {
            No::new(StatusCode::BAD_REQUEST, FaultCode::DicomPeerBrokeOff, "the body is not complete")
        }
        _ => No::new(StatusCode::BAD_REQUEST, FaultCode::RequestInvalid, "the body is not multipart"),
    }
}

/// Status and Store Instances Response Module (PS3.18 table I.1-1).
fn answer(all: &[Instance]) -> (StatusCode, Value) {
    let reference = |i: &Instance| {
        let mut item = serde_json::Map::new();
        for (tag, value) in [("00081150", &i.class), ("00081155", &i.uid)] {
            // Type 1C: an instance that could not be read has no UIDs.
            if uids::usable(value) {
                item.insert(tag.into(), json!({ "vr": "UI", "Value": [value] }));
            }
        }
        item
    };
    // Nothing can be retrieved here: the URLs are empty (type 2).
    let url = || json!({ "vr": "UR" });
    let (mut kept, mut failed) = (Vec::new(), Vec::new());
    for i in all {
        let mut item = reference(i);
        match &i.kept {
            Ok(()) => {
                item.insert("00081190".into(), url());
                kept.push(Value::Object(item));
            }
            Err(why) => {
                // Failure Reason (0008,1197), PS3.18 table I.2-2.
                item.insert("00081197".into(), json!({ "vr": "US", "Value": [why.status] }));
                failed.push(Value::Object(item));
            }
        }
    }
    // PS3.18 table 10.5.3-1. What passes by itself is told as such only if that is all there is: a client repeats it.
    let busy = |i: &Instance| i.kept.as_ref().is_err_and(|r| r.status == status::OUT_OF_RESOURCES);
    let status = match (kept.is_empty(), failed.is_empty()) {
        (_, true) => StatusCode::OK,
        (false, false) => StatusCode::ACCEPTED,
        (true, false) if all.iter().all(busy) => StatusCode::SERVICE_UNAVAILABLE,
        (true, false) => StatusCode::CONFLICT,
    };
    let mut body = serde_json::Map::new();
    body.insert("00081190".into(), url());
    for (tag, items) in [("00081198", failed), ("00081199", kept)] {
        if !items.is_empty() {
            body.insert(tag.into(), json!({ "vr": "SQ", "Value": items }));
        }
    }
    (status, Value::Object(body))
}

#[cfg(test)]
mod tests;
