//! What handlers take out of a request, refused in the service's own words: axum's own are plain texts.

use super::problem::Problem;
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Path, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use bytes::Bytes;
use leadline_domain::FaultCode;
use serde::de::DeserializeOwned;

/// The parameters of a path.
pub(crate) struct InPath<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let found = <Path<T> as FromRequestParts<S>>::from_request_parts(parts, state).await;
        found.map(|Path(t)| Self(t)).map_err(|_| unreadable_path())
    }
}

/// Where some of the paths that are served alike have parameters.
impl<S: Send + Sync, T: DeserializeOwned + Send + 'static> OptionalFromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Problem> {
        let found = <Path<T> as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await;
        found.map(|t| t.map(|Path(t)| Self(t))).map_err(|_| unreadable_path())
    }
}

/// What a path holds is no UTF-8.
fn unreadable_path() -> Problem {
    Problem::new(FaultCode::RequestInvalid, "the path holds something that is no text")
}

/// A whole body, as far as this path takes one.
pub(crate) struct Whole(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Bytes::from_request(request, state).await.map(Self).map_err(|e| {
            if e.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Problem::new(FaultCode::RequestTooLarge, "the body is longer than this path takes")
            } else {
                Problem::new(FaultCode::RequestInvalid, "the body is not complete")
            }
        })
    }
}
