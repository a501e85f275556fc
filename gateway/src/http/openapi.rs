//! The OpenAPI document, made from the code: `docs/openapi.json`, `GET /openapi.json`, `leadline schema openapi`.

use super::{described, health, reports, uploads};
use axum::Json;
use serde_json::{Value, json};
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "leadline gateway",
        description = "Uploads of ECG recordings. Bytes go from the sender to the organization's own store, by permissions that are good for minutes; the gateway hands these out and takes in what has arrived. Errors are problem documents (RFC 9457) with the code of docs/faults. FHIR R4 below /fhir (docs/EHR.md) and DICOM's STOW-RS below /dicom-web (docs/DICOM.md) are served with the same tokens, and refuse in their own words. Any path answers another method with 405.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        uploads::begin,
        uploads::complete,
        uploads::show,
        uploads::params,
        uploads::create,
        uploads::list,
        uploads::sign,
        uploads::sign_batch,
        uploads::complete_parts,
        uploads::abort,
        reports::record,
        health::healthz,
        health::readyz,
    ),
    tags(
        (name = "uploads", description = "For programs."),
        (name = "uppy", description = "For Uppy's S3 plugin, in the shapes of its Companion."),
        (name = "fhir", description = "FHIR R4: documents out of EHRs."),
        (name = "dicomweb", description = "DICOM objects by HTTP."),
        (name = "page", description = "For clinicians, in a browser."),
        (name = "processor", description = "For whoever processes recordings, besides the outcome queue."),
        (name = "service", description = "For whoever runs it."),
    ),
)]
struct Api;

/// The document.
#[must_use]
pub fn openapi() -> Value {
    let mut v = serde_json::to_value(Api::openapi()).unwrap_or_default();
    for (to, more) in [(&["paths"][..], described::paths()), (&["components", "schemas"], described::schemas())] {
        let place = to.iter().fold(&mut v, |at, name| &mut at[*name]);
        if let Some(place) = place.as_object_mut() {
            place.extend(more);
        }
    }
    v["components"]["securitySchemes"] = json!({ "oidc": {
        "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
        "description": "A token of the environment's OpenID Connect issuer. Its claim names the organization.",
    } });
    v
}

pub(super) async fn document() -> Json<Value> {
    Json(openapi())
}

#[cfg(test)]
#[path = "openapi_tests.rs"]
pub(super) mod described_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_this_one() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
        let now = serde_json::to_string_pretty(&openapi()).unwrap() + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &now).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == now,
            "docs/openapi.json is not what the code says: UPDATE_GOLDEN=1 cargo test -p leadline-gateway"
        );
    }
}
