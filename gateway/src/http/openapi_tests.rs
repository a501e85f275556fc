//! The document against the router: what is served is described, and what is described is served.

use super::openapi;
use crate::dicom::stow::Stow;
use crate::fhir::Service;
use crate::http::server::tests::Two;
use crate::http::{HttpConfig, Limits, OidcConfig, Parts, Routes, assemble, protocols, reports, router};
use crate::intake::Intake;
use crate::intake_fake::FakeIntake;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use leadline_activities::adapters::aws_fake::FakeQueue;
use leadline_activities::adapters::outcomes_fake::FakeOutcomeStores;
use leadline_activities::outcomes::Outcomes;
use leadline_activities::registry::{Registry, Snapshot};
use leadline_domain::{EnvFacts, EnvId};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt as _;

/// Where reports go, and none is of an organization that is known.
pub(in crate::http) fn outcomes() -> Outcomes {
    let facts = EnvFacts {
        env: EnvId::parse("test").unwrap(),
        account: "111111111111".into(),
        region: "us-east-1".into(),
        jurisdictions: ["us".to_owned()].into(),
    };
    let snapshot = Snapshot { facts, gates: None, retention_days: 1, orgs: BTreeMap::new(), outcomes: None };
    Outcomes {
        registry: Arc::new(Registry::fixed(snapshot)),
        stores: Arc::new(FakeOutcomeStores::default()),
        queue: FakeQueue::standard(),
        audit: FakeQueue::standard(),
    }
}

/// Everything that a gateway serves by HTTP.
fn whole() -> Router {
    let intake = FakeIntake::new() as Arc<dyn Intake>;
    let service = Service::new(Arc::clone(&intake), "http://x/fhir", 1 << 20);
    let stow = Stow::new(1 << 20, 2, Duration::from_secs(1));
    let protocols = protocols::routes(service, stow, &intake);
    let routes = Routes { protocols, reports: reports::routes(outcomes()) };
    let oidc = OidcConfig {
        issuer: "http://127.0.0.1:1".into(),
        audience: "leadline".into(),
        organization_claim: "org".into(),
        page_client_id: Some("page".into()),
    };
    let public_url = "http://x".into();
    let config = HttpConfig { public_url, oidc, store_origins: vec![], limits: Limits::default() };
    let two = Arc::new(Two);
    let parts = Parts { intake, uploads: two.clone(), directory: two.clone(), ready: two, routes };
    let (app, oidc) = assemble(&config, &parts).unwrap();
    router(&config, app, parts.routes, Some(oidc))
}

/// The paths of a router, as it prints them: axum has no other way to tell.
fn paths(of: &Router) -> BTreeSet<String> {
    let text = format!("{of:?}");
    let (own, _) = text.split_once("fallback_router").expect("as axum 0.8 prints a router");
    let (_, nodes) = own.rsplit_once("paths: {").expect("as axum 0.8 prints a router");
    nodes.split('"').skip(1).step_by(2).filter(|p| p.starts_with('/')).map(str::to_owned).collect()
}

/// The same path with something in the places of its parameters.
fn filled(path: &str) -> String {
    let part = |p: &str| if p.starts_with('{') { "x".to_owned() } else { p.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

async fn asked(of: &Router, method: &str, path: &str) -> Response<Body> {
    let request = Request::builder().method(method).uri(filled(path)).body(Body::empty()).unwrap();
    of.clone().oneshot(request).await.unwrap()
}

fn described() -> BTreeMap<String, BTreeSet<String>> {
    let document = openapi();
    let methods = |v: &Value| v.as_object().unwrap().keys().map(|m| m.to_uppercase()).collect();
    document["paths"].as_object().unwrap().iter().map(|(path, of)| (path.clone(), methods(of))).collect()
}

#[tokio::test]
async fn every_route_is_described_with_its_methods_and_no_other_is() {
    let router = whole();
    let mut served = BTreeMap::new();
    for path in paths(&router) {
        let said = asked(&router, "TRACE", &path).await;
        assert_eq!(said.status().as_u16(), 405, "{path}");
        let allow = said.headers()["allow"].to_str().unwrap().to_owned();
        // HEAD comes with GET.
        let methods: BTreeSet<String> = allow.split(',').filter(|m| *m != "HEAD").map(str::to_owned).collect();
        let media_type = said.headers()["content-type"].to_str().unwrap().to_owned();
        let body = to_bytes(said.into_body(), 1 << 16).await.unwrap();
        let text = String::from_utf8_lossy(&body).into_owned();
        assert!(text.contains("request.method"), "{path}: {text}");
        let words = match path.split('/').nth(1) {
            Some("fhir") => "application/fhir+json; fhirVersion=4.0",
            Some("dicom-web") => "text/plain; charset=utf-8",
            _ => "application/problem+json",
        };
        assert_eq!(media_type, words, "{path}");
        served.insert(path, methods);
    }
    assert_eq!(served, described());
}

/// What needs a token says so, and nothing else does.
#[tokio::test]
async fn what_is_described_as_closed_is_closed() {
    let (router, document) = (whole(), openapi());
    for (path, methods) in described() {
        for method in methods {
            let operation = &document["paths"][&path][method.to_lowercase()];
            let said = asked(&router, &method, &path).await.status().as_u16();
            assert_eq!(said == 401, operation.get("security").is_some(), "{method} {path}: {said}");
            assert!(operation["responses"].get(said.to_string()).is_some(), "{method} {path}: {said} is not described");
            assert!(operation.get("summary").is_some() || operation.get("description").is_some(), "{method} {path}");
        }
    }
}

/// Everything that is referred to is there, and every parameter of a path is described.
#[test]
fn the_document_holds_together() {
    fn references(v: &Value, into: &mut BTreeSet<String>) {
        match v {
            Value::Object(o) => {
                if let Some(Value::String(r)) = o.get("$ref") {
                    into.insert(r.clone());
                }
                o.values().for_each(|v| references(v, into));
            }
            Value::Array(a) => a.iter().for_each(|v| references(v, into)),
            _ => {}
        }
    }
    let document = openapi();
    let mut all = BTreeSet::new();
    references(&document, &mut all);
    for r in all {
        assert!(document.pointer(r.trim_start_matches('#')).is_some(), "{r}");
    }
    let mut ids = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let wanted: BTreeSet<&str> = path.split('/').filter_map(|p| p.strip_prefix('{')?.strip_suffix('}')).collect();
        for operation in operations.as_object().unwrap().values() {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let named = parameters.iter().filter(|p| p["in"] == "path").filter_map(|p| p["name"].as_str());
            assert_eq!(named.collect::<BTreeSet<_>>(), wanted, "{path}");
            assert!(ids.insert(operation["operationId"].to_string()), "{path}: an id that another one has");
        }
    }
}
