//! Uploads: the gateway gives permissions and puts together; the bytes go from the sender to the organization's store.

mod api;
mod companion;
mod finish;
pub mod rules;
mod status;

pub(crate) use api::{__path_begin, __path_complete, __path_show};
pub use api::{NewUpload, Parted, Permission};
pub(crate) use companion::{
    __path_abort, __path_complete_parts, __path_create, __path_list, __path_params, __path_sign, __path_sign_batch,
};
pub use companion::{CompleteBody, Completed, CreateBody, Created, FormAnswer, PartAnswer, PartShape, PartsAnswer};
pub use finish::finish;
pub(super) use finish::fits;
pub use status::{State, UploadStatus};

use super::App;
use super::problem::Problem;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use leadline_domain::{Fault, FaultCode};
use serde::de::DeserializeOwned;

/// A list of 10,000 parts has about 600 KiB.
const BODY: usize = 1 << 20;

/// Routes of uploads.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/uploads", post(api::begin))
        .route("/uploads/{id}", get(api::show))
        .route("/uploads/{id}/complete", post(api::complete))
        .route("/s3/params", get(companion::params))
        .route("/s3/multipart", post(companion::create))
        .route("/s3/multipart/{upload_id}", get(companion::list).delete(companion::abort))
        .route("/s3/multipart/{upload_id}/batch", get(companion::sign_batch))
        .route("/s3/multipart/{upload_id}/{part_number}", get(companion::sign))
        .layer(DefaultBodyLimit::max(BODY))
}

/// Those of them that may take long: a store puts ten thousand parts together.
pub(super) fn long_routes() -> Router<App> {
    Router::new()
        .route("/s3/multipart/{upload_id}/complete", post(companion::complete_parts))
        .layer(DefaultBodyLimit::max(BODY))
}

/// A JSON body. What was wrong with it is not quoted: it may hold the name of a file.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(t)) => Ok(Self(t)),
            Err(e) => Err(rejected(&e).into()),
        }
    }
}

fn rejected(e: &JsonRejection) -> Fault {
    match e {
        JsonRejection::MissingJsonContentType(_) => {
            Fault::new(FaultCode::RequestInvalid, "Content-Type: application/json is missing")
        }
        e if e.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Fault::new(FaultCode::RequestTooLarge, format!("a body has {BODY} bytes at most"))
        }
        _ => Fault::new(FaultCode::RequestInvalid, "the body is not the JSON that is described for this path"),
    }
}
