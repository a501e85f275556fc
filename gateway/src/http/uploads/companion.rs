//! The endpoints that Uppy's S3 plugin asks (`companionEndpoint`), in Companion's shapes, so that stock Uppy works:
//! `@uppy/aws-s3` 6, `src/s3-client/CompanionS3.ts`, and `@uppy/companion` 6, `src/server/controllers/s3.js`.
//!
//! What Companion takes beyond that is taken too; the name of a file is read past, for it may be a patient's.

use super::rules::{self, KEY_PREFIX, ListedPart, invalid};
use super::{Body, finish};
use crate::http::auth::Caller;
use crate::http::extract::InPath;
use crate::http::metrics::METRICS;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::{App, Known};
use axum::Json;
use axum::extract::{Query, State};
use leadline_activities::ports::uploads::{Declared, MAX_OBJECT, MAX_SINGLE, OrgUploads};
use leadline_domain::{Fault, FaultCode, Ingress, StagedName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

type Pairs = Query<Vec<(String, String)>>;

fn of<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
}

/// The upload that `key` and id name, for the caller's own organization.
async fn named(app: &App, caller: &Caller, key: Option<&str>) -> Result<(StagedName, Arc<dyn OrgUploads>), Fault> {
    let name = rules::parse_name(key.ok_or_else(|| invalid("key is missing"))?)?;
    let allowed = app.directory().uploads(&caller.org)?;
    Ok((name, app.uploads().open(&allowed.scope).await?))
}

/// The store's word for an upload that is not there is ours for the client.
fn told(f: Fault) -> Fault {
    if f.code == FaultCode::StoreUploadLost { rules::unknown() } else { f }
}

/// A form to send one file with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FormAnswer {
    /// `POST`.
    pub method: String,
    /// Where to.
    pub url: String,
    /// Fields of the form (`multipart/form-data`), before the field `file`.
    pub fields: BTreeMap<String, String>,
    /// How long it is good, seconds.
    pub expires: u64,
}

/// A form (presigned POST) for one file in one request.
#[utoipa::path(
    get, path = "/s3/params", tag = "uppy", security(("oidc" = [])),
    params(
        ("type" = Option<String>, Query, description = "Media type"),
        ("filename" = Option<String>, Query, description = "Read past: it may be a patient's name"),
        ("metadata[size]" = Option<u64>, Query, description = "Bytes; another length is refused"),
        ("metadata[sha256]" = Option<String>, Query, description = "SHA-256, hexadecimal; other content is refused"),
    ),
    responses(
        (status = 200, body = FormAnswer),
        (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 413, body = ProblemBody), (status = 422, body = ProblemBody), (status = 503, body = ProblemBody),
    ),
)]
pub(crate) async fn params(
    State(app): State<App>,
    caller: Caller,
    Query(q): Pairs,
) -> Result<Json<FormAnswer>, Problem> {
    caller.only(of(&q, "organization").or(of(&q, "metadata[organization]")))?;
    let allowed = app.directory().uploads(&caller.org)?;
    let what = Declared {
        media_type: rules::media_type(of(&q, "type"))?,
        size: rules::size(of(&q, "metadata[size]"))?,
        sha256: rules::digest(of(&q, "metadata[sha256]"))?,
    };
    let length = match what.size {
        Some(n) => {
            rules::way(n, allowed.max_bytes, Some(false))?;
            (n, n)
        }
        None => (1, allowed.max_bytes.min(MAX_SINGLE)),
    };
    let name = rules::new_name(app.random(), what.size);
    let form = app.uploads().open(&allowed.scope).await?.form(&name, &what, length, app.valid()).await?;
    METRICS.upload("begun");
    let expires = app.valid().as_secs();
    Ok(Json(FormAnswer { method: "POST".into(), url: form.url, fields: form.fields, expires }))
}

/// What is to be uploaded in parts.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct CreateBody {
    /// Media type.
    #[serde(rename = "type")]
    pub media_type: Option<String>,
    /// `size` in bytes and `sha256`, where they are known. Everything else is read past.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub metadata: Option<Map<String, Value>>,
    /// If it is there it must be the caller's own.
    pub organization: Option<String>,
}

/// An upload in parts that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Created {
    /// Its key; the last part of it is the id for `/uploads/{id}`.
    pub key: String,
    /// Its id.
    pub upload_id: String,
    /// Bytes of each part but the last, if the size is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_size: Option<u64>,
}

/// Begin an upload in parts.
#[utoipa::path(
    post, path = "/s3/multipart", tag = "uppy", request_body = CreateBody, security(("oidc" = [])),
    responses(
        (status = 200, body = Created),
        (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 413, body = ProblemBody), (status = 422, body = ProblemBody), (status = 503, body = ProblemBody),
    ),
)]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    Body(body): Body<CreateBody>,
) -> Result<Json<Created>, Problem> {
    let meta = |k: &str| match body.metadata.as_ref().and_then(|m| m.get(k)) {
        Some(Value::String(s)) => Some(s.clone()),
        Some(Value::Number(n)) => Some(n.to_string()),
        _ => None,
    };
    caller.only(body.organization.as_deref())?;
    caller.only(meta("organization").as_deref())?;
    let allowed = app.directory().uploads(&caller.org)?;
    let what = Declared {
        media_type: rules::media_type(body.media_type.as_deref())?,
        size: rules::size(meta("size").as_deref())?,
        sha256: rules::digest(meta("sha256").as_deref())?,
    };
    if let Some(n) = what.size {
        rules::way(n, allowed.max_bytes.min(MAX_OBJECT), Some(true))?;
    }
    let name = rules::new_name(app.random(), what.size);
    let store = app.uploads().open(&allowed.scope).await?;
    let upload_id = store.begin(&name, &what).await?;
    METRICS.upload("begun_large");
    app.remember(Known::new(&caller.org, &name, &upload_id));
    Ok(Json(Created { key: format!("{KEY_PREFIX}{name}"), upload_id, part_size: what.size.map(rules::part_size) }))
}

/// A part, as S3 and Companion write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct PartShape {
    /// 1 to 10,000.
    pub part_number: u32,
    /// The store's tag of it.
    #[serde(rename = "ETag")]
    #[schema(rename = "ETag")]
    pub etag: String,
    /// Bytes; not needed to complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// The parts that have arrived.
#[utoipa::path(
    get, path = "/s3/multipart/{upload_id}", tag = "uppy", security(("oidc" = [])),
    params(("upload_id" = String, Path, description = "As it was given"), ("key" = String, Query, description = "As it was given")),
    responses(
        (status = 200, body = [PartShape]),
        (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody), (status = 503, body = ProblemBody),
    ),
)]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    InPath(id): InPath<String>,
    Query(q): Pairs,
) -> Result<Json<Vec<PartShape>>, Problem> {
    let (name, store) = named(&app, &caller, of(&q, "key")).await?;
    let parts = store.parts(&name, &id).await.map_err(told)?;
    app.remember(Known::new(&caller.org, &name, &id));
    let shape = |p: leadline_activities::ports::uploads::HeldPart| PartShape {
        part_number: p.number,
        etag: format!("\"{}\"", p.etag),
        size: Some(p.size),
    };
    Ok(Json(parts.into_iter().map(shape).collect()))
}

/// Where a part goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PartAnswer {
    /// `PUT` to this; whoever has it may use it until it expires.
    pub url: String,
    /// How long it is good, seconds.
    pub expires: u64,
}

/// A permission to send one part.
#[utoipa::path(
    get, path = "/s3/multipart/{upload_id}/{part_number}", tag = "uppy", security(("oidc" = [])),
    params(
        ("upload_id" = String, Path, description = "As it was given"),
        ("part_number" = u32, Path, description = "1 to 10,000"),
        ("key" = String, Query, description = "As it was given"),
        ("size" = Option<u64>, Query, description = "Bytes of the part; another length is refused"),
    ),
    responses(
        (status = 200, body = PartAnswer),
        (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody), (status = 503, body = ProblemBody),
    ),
)]
pub(crate) async fn sign(
    State(app): State<App>,
    caller: Caller,
    InPath((id, number)): InPath<(String, String)>,
    Query(q): Pairs,
) -> Result<Json<PartAnswer>, Problem> {
    let number = rules::part_number(&number)?;
    let size = rules::size(of(&q, "size"))?;
    let (name, store) = named(&app, &caller, of(&q, "key")).await?;
    rules::has_part(number, rules::declared_size(&name))?;
    there(&app, &caller, &name, &id, store.as_ref()).await?;
    let part = store.part(&name, &id, number, size, app.valid()).await?;
    Ok(Json(PartAnswer { url: part.url, expires: app.valid().as_secs() }))
}

/// A signature says nothing about whether there is such an upload: it is looked for, and remembered for a while.
async fn there(app: &App, caller: &Caller, name: &StagedName, id: &str, store: &dyn OrgUploads) -> Result<(), Fault> {
    let known = Known::new(&caller.org, name, id);
    if !app.remembers(&known) {
        store.parts(name, id).await.map_err(told)?;
        app.remember(known);
    }
    Ok(())
}

/// Where parts go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartsAnswer {
    /// By number.
    pub presigned_urls: BTreeMap<u32, String>,
}

/// Most parts that are signed at once.
const BATCH: usize = 1000;

/// Permissions to send several parts.
#[utoipa::path(
    get, path = "/s3/multipart/{upload_id}/batch", tag = "uppy", security(("oidc" = [])),
    params(
        ("upload_id" = String, Path, description = "As it was given"),
        ("key" = String, Query, description = "As it was given"),
        ("partNumbers" = String, Query, description = "Numbers, separated by commas, 1,000 at most"),
    ),
    responses(
        (status = 200, body = PartsAnswer),
        (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody), (status = 503, body = ProblemBody),
    ),
)]
pub(crate) async fn sign_batch(
    State(app): State<App>,
    caller: Caller,
    InPath(id): InPath<String>,
    Query(q): Pairs,
) -> Result<Json<PartsAnswer>, Problem> {
    let numbers = of(&q, "partNumbers").ok_or_else(|| invalid("partNumbers is missing"))?;
    let numbers = numbers.split(',').map(rules::part_number).collect::<Result<Vec<_>, _>>()?;
    if numbers.len() > BATCH {
        return Err(invalid("at most 1000 parts at once").into());
    }
    let (name, store) = named(&app, &caller, of(&q, "key")).await?;
    numbers.iter().try_for_each(|n| rules::has_part(*n, rules::declared_size(&name)))?;
    there(&app, &caller, &name, &id, store.as_ref()).await?;
    let mut presigned_urls = BTreeMap::new();
    for n in numbers {
        presigned_urls.insert(n, store.part(&name, &id, n, None, app.valid()).await?.url);
    }
    Ok(Json(PartsAnswer { presigned_urls }))
}

/// The parts to put together.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct CompleteBody {
    /// All of them, in order.
    pub parts: Vec<PartShape>,
}

/// An upload that was put together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Completed {
    /// Where to ask what becomes of it.
    pub location: String,
    /// Its key.
    pub key: String,
}

/// Put the parts together and take the whole in. Repeats are harmless.
#[utoipa::path(
    post, path = "/s3/multipart/{upload_id}/complete", tag = "uppy", request_body = CompleteBody, security(("oidc" = [])),
    params(("upload_id" = String, Path, description = "As it was given"), ("key" = String, Query, description = "As it was given")),
    responses(
        (status = 200, body = Completed),
        (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody),
        (status = 409, body = ProblemBody, description = "Parts are missing or are not the ones the store holds"),
        (status = 413, body = ProblemBody),
        (status = 422, body = ProblemBody), (status = 503, body = ProblemBody),
    ),
)]
pub(crate) async fn complete_parts(
    State(app): State<App>,
    caller: Caller,
    InPath(id): InPath<String>,
    Query(q): Pairs,
    Body(body): Body<CompleteBody>,
) -> Result<Json<Completed>, Problem> {
    let (name, store) = named(&app, &caller, of(&q, "key")).await?;
    let max = app.directory().uploads(&caller.org)?.max_bytes;
    let together = match store.parts(&name, &id).await {
        Ok(held) => {
            let listed: Vec<_> =
                body.parts.into_iter().map(|p| ListedPart { number: p.part_number, etag: p.etag }).collect();
            rules::complete(&listed, &held, rules::declared_size(&name), max)?;
            store.complete(&name, &id, &held).await
        }
        Err(f) => Err(f),
    };
    match together {
        Ok(()) => {}
        // By an earlier call whose answer was lost, or by another one in the meantime.
        Err(f) if f.code == FaultCode::StoreUploadLost => {
            let there = store.staged(&name).await?.is_some()
                || app.intake().report(&caller.org, Ingress::Web, &name).await?.is_some();
            if !there {
                return Err(rules::unknown().into());
            }
        }
        Err(f) => return Err(f.into()),
    }
    finish(&app, &caller.org, &name).await?;
    let location = format!("{}/uploads/{name}", app.public_url());
    Ok(Json(Completed { location, key: format!("{KEY_PREFIX}{name}") }))
}

/// Give an upload up.
#[utoipa::path(
    delete, path = "/s3/multipart/{upload_id}", tag = "uppy", security(("oidc" = [])),
    params(("upload_id" = String, Path, description = "As it was given"), ("key" = String, Query, description = "As it was given")),
    responses(
        (status = 200, description = "It is given up, as an empty object"),
        (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody), (status = 503, body = ProblemBody),
    ),
)]
pub(crate) async fn abort(
    State(app): State<App>,
    caller: Caller,
    InPath(id): InPath<String>,
    Query(q): Pairs,
) -> Result<Json<Value>, Problem> {
    let (name, store) = named(&app, &caller, of(&q, "key")).await?;
    app.forget(&Known::new(&caller.org, &name, &id));
    store.parts(&name, &id).await.map_err(told)?;
    store.abort(name.as_str(), &id).await?;
    METRICS.upload("given_up");
    Ok(Json(Value::Object(Map::new())))
}

#[cfg(test)]
#[path = "companion_tests.rs"]
mod tests;
