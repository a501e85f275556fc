//! The plain way, for programs: ask for a permission, send the bytes to the store, say that it is complete, look.

use super::finish::fits;
use super::rules::{self, KEY_PREFIX, MULTIPART_FROM, Way};
use super::status::{State as Stand, UploadStatus};
use super::{Body, finish};
use crate::http::App;
use crate::http::auth::Caller;
use crate::http::extract::InPath;
use crate::http::metrics::METRICS;
use crate::http::problem::{Problem, ProblemBody};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use leadline_activities::ports::uploads::Declared;
use leadline_domain::lifecycle::Outcome;
use leadline_domain::{Fault, Ingress};
use leadline_workflows::recording_lifecycle::FileReport;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What is to be uploaded. The file's name is not asked for: it may be a patient's.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUpload {
    /// Bytes, 1 to 5 TiB, and not more than the organization allows.
    pub size: u64,
    /// Media type; `application/octet-stream` if it is not known.
    #[serde(rename = "type")]
    pub media_type: Option<String>,
    /// SHA-256 of the content, 64 hexadecimal digits. Other content is refused.
    pub sha256: Option<String>,
    /// In parts, or in one request (5 GiB at most). Left out: in parts from 100 MiB on.
    pub multipart: Option<bool>,
    /// If it is there it must be the caller's own.
    pub organization: Option<String>,
}

/// A permission to upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Permission {
    /// The upload, for `/uploads/{id}`.
    pub id: String,
    /// Its key, for `/s3/multipart`.
    pub key: String,
    /// For one request: `PUT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// For one request: where to. Whoever has it may use it until it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// For one request: headers that have to be sent just so.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// For one request: how long it is good, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_s: Option<u64>,
    /// For an upload in parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multipart: Option<Parted>,
}

/// An upload in parts: `/s3/multipart/{upload_id}` signs, lists and completes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Parted {
    /// Its id.
    pub upload_id: String,
    /// Bytes of each part but the last.
    pub part_size: u64,
    /// How many parts that makes.
    pub parts: u32,
}

/// Begin an upload.
#[utoipa::path(
    post, path = "/uploads", tag = "uploads", request_body = NewUpload, security(("oidc" = [])),
    responses(
        (status = 201, body = Permission),
        (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 413, body = ProblemBody), (status = 422, body = ProblemBody), (status = 503, body = ProblemBody),
    ),
)]
pub(crate) async fn begin(
    State(app): State<App>,
    caller: Caller,
    Body(new): Body<NewUpload>,
) -> Result<(StatusCode, Json<Permission>), Problem> {
    caller.only(new.organization.as_deref())?;
    let allowed = app.directory().uploads(&caller.org)?;
    let way = rules::way(new.size, allowed.max_bytes, new.multipart)?;
    let what = Declared {
        media_type: rules::media_type(new.media_type.as_deref())?,
        size: Some(new.size),
        sha256: rules::digest(new.sha256.as_deref())?,
    };
    let name = rules::new_name(app.random(), Some(new.size));
    let store = app.uploads().open(&allowed.scope).await?;
    let mut p = Permission {
        id: name.to_string(),
        key: format!("{KEY_PREFIX}{name}"),
        method: None,
        url: None,
        headers: BTreeMap::new(),
        expires_s: None,
        multipart: None,
    };
    match way {
        Way::Single => {
            let put = store.put(&name, &what, app.valid()).await?;
            (p.method, p.url, p.headers) = (Some(put.method), Some(put.url), put.headers);
            p.expires_s = Some(app.valid().as_secs());
        }
        Way::Parts { size, count } => {
            let upload_id = store.begin(&name, &what).await?;
            p.multipart = Some(Parted { upload_id, part_size: size, parts: count });
        }
    }
    METRICS.upload(if new.size >= MULTIPART_FROM { "begun_large" } else { "begun" });
    Ok((StatusCode::CREATED, Json(p)))
}

/// All bytes are sent: take it in. Repeats are harmless.
#[utoipa::path(
    post, path = "/uploads/{id}/complete", tag = "uploads", security(("oidc" = [])),
    params(("id" = String, Path, description = "The upload, as it was given, or its key's last part")),
    responses(
        (status = 202, body = UploadStatus, description = "Nothing of it can get lost any more"),
        (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody, description = "Your organization has no such upload"),
        (status = 413, body = ProblemBody),
        (status = 422, body = ProblemBody, description = "It is not what was declared"),
        (status = 503, body = ProblemBody),
    ),
)]
pub(crate) async fn complete(
    State(app): State<App>,
    caller: Caller,
    InPath(id): InPath<String>,
) -> Result<(StatusCode, Json<UploadStatus>), Problem> {
    let name = rules::parse_name(&id)?;
    let report = finish(&app, &caller.org, &name).await?;
    Ok((StatusCode::ACCEPTED, Json(status(&app, &caller, name.as_str(), report).await?)))
}

/// Where an upload stands.
#[utoipa::path(
    get, path = "/uploads/{id}", tag = "uploads", security(("oidc" = [])),
    params(("id" = String, Path, description = "The upload, as it was given, or its key's last part")),
    responses(
        (status = 200, body = UploadStatus),
        (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 503, body = ProblemBody),
    ),
)]
pub(crate) async fn show(
    State(app): State<App>,
    caller: Caller,
    InPath(id): InPath<String>,
) -> Result<Json<UploadStatus>, Problem> {
    let name = rules::parse_name(&id)?;
    let report = app.intake().report(&caller.org, Ingress::Web, &name).await?;
    if report.is_some() {
        return Ok(Json(status(&app, &caller, name.as_str(), report).await?));
    }
    let allowed = app.directory().uploads(&caller.org)?;
    let store = app.uploads().open(&allowed.scope).await?;
    if let Some(object) = store.staged(&name).await? {
        if let Err(fault) = fits(object.size, rules::declared_size(&name), allowed.max_bytes) {
            return Ok(Json(UploadStatus::refused(&id, fault.code)));
        }
        let early = UploadStatus::early(&id, Stand::Checking, "Received. It is about to be checked.");
        return Ok(Json(early));
    }
    let open = store.open_uploads(name.as_str()).await?;
    if open.iter().any(|u| u.name == name.as_str()) {
        return Ok(Json(UploadStatus::early(&id, Stand::Uploading, "Not all of it has arrived yet.")));
    }
    Err(rules::unknown().into())
}

async fn status(app: &App, caller: &Caller, id: &str, report: Option<FileReport>) -> Result<UploadStatus, Fault> {
    let Some(report) = report else {
        return Ok(UploadStatus::early(id, Stand::Checking, "Received. It is being checked."));
    };
    let mut original = None;
    if let (Some(Outcome::Duplicate { .. }), Some(d)) = (report.outcome(), report.lifecycle.digest) {
        let allowed = app.directory().uploads(&caller.org)?;
        original = app.uploads().open(&allowed.scope).await?.stored_s(&d).await?;
    }
    Ok(UploadStatus::of(id, &report, original))
}
