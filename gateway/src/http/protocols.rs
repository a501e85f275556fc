//! Other protocols over HTTP, for callers of this service.

use super::App;
use super::auth::Caller;
use crate::dicom::stow::Stow;
use crate::fhir;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use leadline_domain::OrgId;
use std::sync::Arc;

impl fhir::Named for Caller {
    fn org(&self) -> &OrgId {
        &self.org
    }
}

/// FHIR R4 below `/fhir`.
#[must_use]
pub fn fhir(service: Arc<fhir::Service>) -> Router<App> {
    Router::new().nest("/fhir", fhir::routes::<App, Caller>(service))
}

/// STOW-RS below `/dicom-web`.
pub fn stow(stow: Arc<Stow>) -> Router<App> {
    let (any, one) = (Arc::clone(&stow), stow);
    let any = async move |State(app): State<App>, caller: Caller, headers: HeaderMap, body: Body| -> Response {
        any.serve(app.intake(), &caller.org, None, &headers, body).await
    };
    let one = async move |State(app): State<App>,
                          caller: Caller,
                          Path(study): Path<String>,
                          headers: HeaderMap,
                          body: Body|
                -> Response { one.serve(app.intake(), &caller.org, Some(&study), &headers, body).await };
    Router::new().route("/dicom-web/studies", post(any)).route("/dicom-web/studies/{study}", post(one))
}
