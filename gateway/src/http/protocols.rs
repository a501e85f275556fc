//! The protocols beside uploads: FHIR and STOW-RS. Each is served to the organizations whose
//! file opens it and to nobody else, and refuses in its own words, whoever refuses: the handler, the token, the frame.

use super::App;
use super::auth::Caller;
use super::extract::InPath;
use super::problem::Problem;
use crate::dicom::stow::{self, Stow};
use crate::fhir::{self, Named, Service};
use crate::intake::Intake;
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::post;
use leadline_domain::{Ingress, OrgId};
use std::sync::Arc;

/// Where FHIR is.
pub const FHIR: &str = "/fhir";
/// Where STOW-RS is.
pub const DICOM_WEB: &str = "/dicom-web";

/// FHIR below [`FHIR`], STOW-RS below [`DICOM_WEB`].
pub fn routes(fhir: Service, stow: Stow, intake: &Arc<dyn Intake>) -> Router<App> {
    let fhir: Router<App> = fhir::routes::<App, Asking>(Arc::new(fhir));
    Router::new().nest(FHIR, fhir).nest(DICOM_WEB, stow_routes(&Arc::new(stow), intake))
}

fn stow_routes(stow: &Arc<Stow>, intake: &Arc<dyn Intake>) -> Router<App> {
    let of = |with_study: bool| {
        let (stow, intake) = (Arc::clone(stow), Arc::clone(intake));
        post(move |Sending(org): Sending, study: Option<InPath<String>>, request: Request| {
            let (stow, intake) = (Arc::clone(&stow), Arc::clone(&intake));
            async move {
                let (parts, body) = request.into_parts();
                let study = study.filter(|_| with_study).map(|InPath(s)| s);
                stow.serve(intake.as_ref(), &org, study.as_deref(), &parts.headers, body).await
            }
        })
    };
    Router::new().route("/studies", of(false)).route("/studies/{study}", of(true)).layer(DefaultBodyLimit::disable())
}

/// The organization that asks for FHIR.
struct Asking(OrgId);

impl Named for Asking {
    fn org(&self) -> &OrgId {
        &self.0
    }
}

impl FromRequestParts<App> for Asking {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let_in(parts, app, Ingress::Fhir).await.map(Self)
    }
}

/// The organization that sends by STOW-RS.
struct Sending(OrgId);

impl FromRequestParts<App> for Sending {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let_in(parts, app, Ingress::Dicom).await.map(Self)
    }
}

async fn let_in(parts: &mut Parts, app: &App, way: Ingress) -> Result<OrgId, Problem> {
    let caller = Caller::from_request_parts(parts, app).await?;
    app.directory().open(&caller.org, way)?;
    Ok(caller.org)
}

/// A refusal in the words of the protocol at this path. What the protocol says of itself passes as it is.
pub(super) fn in_its_words(path: &str, answer: Response) -> Response {
    let below = |at: &str| path.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let Some(problem) = answer.extensions().get::<Problem>() else { return answer };
    let (media_type, body) = if below(FHIR) {
        (fhir::MEDIA_TYPE, fhir::refusal(problem.status().as_u16(), &problem.0))
    } else if below(DICOM_WEB) {
        (stow::REFUSAL, stow::told(&problem.body()))
    } else {
        return answer;
    };
    let (mut parts, _) = answer.into_parts();
    // What tells a client to log on or to come back stays.
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    Response::from_parts(parts, Body::from(body))
}
