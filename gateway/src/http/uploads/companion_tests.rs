//! Putting parts together, against a store that says what it is told to.

use super::*;
use crate::http::auth::Tokens;
use crate::http::server::tests::Two;
use crate::http::{Directory, HttpConfig, Limits, OidcConfig, Parts, Routes, UploadRules, router};
use crate::intake_fake::FakeIntake;
use async_trait::async_trait;
use axum::body::Body as Sent;
use axum::http::{HeaderValue, Request, header};
use leadline_activities::ports::uploads::{Form, HeldPart, ListedObject, OpenUpload, Presigned, StagedObject, Uploads};
use leadline_domain::{Digest, EnvFacts, EnvId, OrgId, OrgScope, Placement};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;
use tower::ServiceExt as _;

/// A store with one upload, of which it holds all parts.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// What `complete` fails with; what it puts there all the same.
    fails: Option<FaultCode>,
    staged: bool,
}

#[async_trait]
impl OrgUploads for Store {
    async fn put(&self, _: &StagedName, _: &Declared, _: Duration) -> Result<Presigned, Fault> {
        unreachable!("parts only")
    }
    async fn form(&self, _: &StagedName, _: &Declared, _: (u64, u64), _: Duration) -> Result<Form, Fault> {
        unreachable!("parts only")
    }
    async fn begin(&self, _: &StagedName, _: &Declared) -> Result<String, Fault> {
        unreachable!("it has begun")
    }
    async fn part(&self, _: &StagedName, _: &str, _: u32, _: Option<u64>, _: Duration) -> Result<Presigned, Fault> {
        Ok(Presigned { method: "PUT".into(), url: "https://store/part".into(), headers: BTreeMap::new() })
    }
    async fn parts(&self, _: &StagedName, _: &str) -> Result<Vec<HeldPart>, Fault> {
        Ok(vec![HeldPart { number: 1, etag: "e".into(), size: 3 }])
    }
    async fn complete(&self, _: &StagedName, _: &str, _: &[HeldPart]) -> Result<(), Fault> {
        // Longer than a request that carries little may take here.
        let _ = tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await;
        match self.0.lock().unwrap().fails {
            Some(code) => Err(Fault::new(code, "")),
            None => Ok(()),
        }
    }
    async fn abort(&self, _: &str, _: &str) -> Result<(), Fault> {
        unreachable!("it is not given up")
    }
    async fn staged(&self, _: &StagedName) -> Result<Option<StagedObject>, Fault> {
        let there = self.0.lock().unwrap().staged;
        Ok(there.then_some(StagedObject { size: 3, version: None, declared: None }))
    }
    async fn stored_s(&self, _: &Digest) -> Result<Option<i64>, Fault> {
        Ok(None)
    }
    async fn open_uploads(&self, _: &str) -> Result<Vec<OpenUpload>, Fault> {
        Ok(vec![])
    }
    async fn list_staged(&self, _: &str) -> Result<Vec<ListedObject>, Fault> {
        Ok(vec![])
    }
}

#[async_trait]
impl Uploads for Store {
    async fn open(&self, _: &OrgScope) -> Result<Arc<dyn OrgUploads>, Fault> {
        Ok(Arc::new(self.clone()))
    }
}

fn org() -> OrgId {
    OrgId::parse("north").unwrap()
}

fn scope() -> OrgScope {
    let facts = EnvFacts {
        env: EnvId::parse("test").unwrap(),
        account: "111111111111".into(),
        region: "us-east-1".into(),
        jurisdictions: ["us".to_owned()].into(),
    };
    OrgScope::new(org(), Placement::resolve(&org(), "us", &facts).unwrap())
}

impl Directory for Store {
    fn uploads(&self, _: &OrgId) -> Result<UploadRules, Fault> {
        Ok(UploadRules { scope: scope(), max_bytes: 1 << 20 })
    }
    fn open(&self, _: &OrgId, _: Ingress) -> Result<(), Fault> {
        Ok(())
    }
    fn uploading(&self) -> Vec<OrgId> {
        vec![]
    }
    fn of_bucket(&self, _: &str) -> Option<OrgId> {
        None
    }
    fn origins(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }
}

#[async_trait]
impl Tokens for Store {
    async fn caller(&self, _: &str) -> Result<Caller, Fault> {
        Ok(Caller { org: org(), subject: "s".into(), scopes: BTreeSet::new() })
    }
}

/// Completes the upload: the status, where a request that carries little may take no time at all.
async fn completed(store: &Store) -> u16 {
    let name = rules::new_name([7; 16], Some(3));
    let request = Request::post(format!("/s3/multipart/id/complete?key={KEY_PREFIX}{name}"))
        .header(header::CONTENT_TYPE, "application/json");
    let body = Sent::from(r#"{"parts":[{"PartNumber":1,"ETag":"e"}]}"#);
    asked(store, Duration::ZERO, request.body(body).unwrap()).await
}

/// Asks a gateway whose requests that carry little may take so long: the status.
async fn asked(store: &Store, longest: Duration, mut request: Request<Sent>) -> u16 {
    request.headers_mut().insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer t"));
    let limits = Limits { request: longest, ..Limits::default() };
    let oidc = OidcConfig {
        issuer: "http://127.0.0.1".into(),
        audience: "a".into(),
        organization_claim: "org".into(),
        page_client_id: None,
    };
    let config = HttpConfig { public_url: "http://127.0.0.1".into(), oidc, store_origins: vec![], limits };
    let s = Arc::new(store.clone());
    let parts = Parts {
        intake: FakeIntake::new(),
        uploads: s.clone(),
        directory: s.clone(),
        ready: Arc::new(Two),
        routes: Routes::default(),
    };
    let app = App::new(&config, &parts, s);
    router(&config, app, parts.routes, None).oneshot(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn who_completes_while_another_does_hears_that_it_is_complete() {
    for (fails, staged, status) in [
        (None, true, 200),
        (Some(FaultCode::StoreUploadLost), true, 200),
        (Some(FaultCode::StoreUploadLost), false, 404),
        (Some(FaultCode::StoreUnreachable), true, 503),
    ] {
        let store = Store::default();
        *store.0.lock().unwrap() = State { fails, staged };
        assert_eq!(completed(&store).await, status, "{fails:?} {staged}");
    }
}

#[tokio::test]
async fn no_part_is_signed_that_the_declared_size_cannot_have() {
    let name = rules::new_name([7; 16], Some(3));
    for (at, status) in [("1?", 200), ("2?", 400), ("batch?partNumbers=1&", 200), ("batch?partNumbers=1,2&", 400)] {
        let request = Request::get(format!("/s3/multipart/id/{at}key={KEY_PREFIX}{name}")).body(Sent::empty()).unwrap();
        assert_eq!(asked(&Store::default(), Duration::from_secs(10), request).await, status, "{at}");
    }
}
