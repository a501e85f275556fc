use super::*;
use crate::issuer::{Issuer, IssuerConfig, bind};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An issuer that is asked without a network, counts, and can be away, or hang until it is let go.
struct Direct {
    issuer: std::sync::Mutex<Issuer>,
    asked: AtomicUsize,
    away: std::sync::atomic::AtomicBool,
    hangs: std::sync::atomic::AtomicBool,
    go: tokio::sync::Notify,
    as_url: String,
}

#[async_trait]
impl Fetch for Direct {
    async fn json(&self, url: &str) -> Result<Value, Fault> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.hangs.load(Ordering::SeqCst) {
            self.go.notified().await;
        }
        if self.away.load(Ordering::SeqCst) {
            return Err(unreachable("away"));
        }
        let i = self.issuer.lock().unwrap();
        if url.ends_with("/jwks") {
            return Ok(i.jwks());
        }
        let mut d = i.discovery();
        d["issuer"] = json!(self.as_url);
        Ok(d)
    }
}

async fn issuer() -> Issuer {
    let config = IssuerConfig {
        audience: "leadline".into(),
        organization_claim: "org".into(),
        people: BTreeMap::new(),
        systems: BTreeMap::new(),
        client_id: "page".into(),
        redirects: vec![],
    };
    bind("127.0.0.1:0".parse().unwrap(), config).await.unwrap().1
}

fn north() -> OrgId {
    OrgId::parse("north").unwrap()
}

async fn world() -> (Issuer, Arc<Direct>, Oidc) {
    let i = issuer().await;
    let direct = Arc::new(Direct {
        as_url: i.url().to_owned(),
        issuer: std::sync::Mutex::new(i.clone()),
        asked: AtomicUsize::new(0),
        away: false.into(),
        hangs: false.into(),
        go: tokio::sync::Notify::new(),
    });
    let config = OidcConfig {
        issuer: i.url().to_owned(),
        audience: "leadline".into(),
        organization_claim: "org".into(),
        page_client_id: None,
    };
    let oidc = Oidc::new(config, Arc::clone(&direct) as Arc<dyn Fetch>);
    (i, direct, oidc)
}

async fn code(oidc: &Oidc, token: &str) -> FaultCode {
    oidc.caller(token).await.unwrap_err().code
}

#[tokio::test]
async fn a_good_token_names_its_organization() {
    let (i, _, oidc) = world().await;
    let t = i.sign(&i.claims("alice", &north(), &json!({ "scope": "a b" })));
    let c = oidc.caller(&t).await.unwrap();
    assert_eq!((c.org, c.subject.as_str()), (north(), "alice"));
    assert!(c.scopes.contains("b"));
}

#[tokio::test]
async fn each_wrong_claim_is_refused() {
    let (i, _, oidc) = world().await;
    for wrong in [
        json!({ "exp": 1_000_000 }),
        json!({ "nbf": 99_999_999_999_u64 }),
        json!({ "iss": "https://other.example.org" }),
        json!({ "aud": "other" }),
        json!({ "aud": null }),
        json!({ "exp": null }),
    ] {
        let t = i.sign(&i.claims("alice", &north(), &wrong));
        assert_eq!(code(&oidc, &t).await, FaultCode::RequestUnauthenticated, "{wrong}");
    }
    for wrong in [json!({ "org": null }), json!({ "org": "../south" }), json!({ "org": ["north"] })] {
        let t = i.sign(&i.claims("alice", &north(), &wrong));
        assert_eq!(code(&oidc, &t).await, FaultCode::RequestForbidden, "{wrong}");
    }
}

#[tokio::test]
async fn forged_signatures_are_refused() {
    let (i, _, oidc) = world().await;
    let good = i.token("alice", &north());
    let parts: Vec<&str> = good.split('.').collect();
    let b64 = |v: &Value| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(v.to_string())
    };
    let none = format!("{}.{}.", b64(&json!({ "alg": "none" })), parts[1]);
    let kid = &i.jwks()["keys"][0]["kid"];
    // A shared secret made of the public key, which everybody has (RFC 8725 section 2.1).
    let public = i.jwks()["keys"][0].to_string();
    let mut h = jsonwebtoken::Header::new(Algorithm::HS256);
    h.kid = kid.as_str().map(str::to_owned);
    let secret = jsonwebtoken::EncodingKey::from_secret(public.as_bytes());
    let shared = jsonwebtoken::encode(&h, &i.claims("alice", &north(), &json!({})), &secret).unwrap();
    let tampered =
        format!("{}.{}.{}", parts[0], b64(&i.claims("alice", &OrgId::parse("south").unwrap(), &json!({}))), parts[2]);
    let other = issuer().await;
    let others = other.sign(&i.claims("alice", &north(), &json!({})));
    for t in [none.as_str(), &shared, &tampered, &others, "", "a.b.c", &"x".repeat(20_000)] {
        assert_eq!(code(&oidc, t).await, FaultCode::RequestUnauthenticated, "{t}");
    }
}

#[tokio::test]
async fn unknown_keys_do_not_make_us_ask_again_and_again() {
    let (i, direct, oidc) = world().await;
    oidc.caller(&i.token("alice", &north())).await.unwrap();
    let before = direct.asked.load(Ordering::SeqCst);
    let other = issuer().await;
    for _ in 0..50 {
        let t = other.sign(&i.claims("mallory", &north(), &json!({})));
        assert_eq!(code(&oidc, &t).await, FaultCode::RequestUnauthenticated);
    }
    assert_eq!(direct.asked.load(Ordering::SeqCst), before);
}

#[tokio::test]
async fn a_new_key_is_found_once_asking_is_allowed() {
    let (i, direct, oidc) = world().await;
    oidc.caller(&i.token("alice", &north())).await.unwrap();
    let rotated = issuer().await;
    *direct.issuer.lock().unwrap() = rotated.clone();
    let t = rotated.sign(&i.claims("alice", &north(), &json!({})));
    oidc.known.lock().await.asked = None;
    assert_eq!(oidc.caller(&t).await.unwrap().org, north());
    // What the issuer does not have any more is not believed.
    assert_eq!(code(&oidc, &i.token("alice", &north())).await, FaultCode::RequestUnauthenticated);
}

#[tokio::test]
async fn an_issuer_that_is_away_is_not_the_callers_fault() {
    let (i, direct, oidc) = world().await;
    direct.away.store(true, Ordering::SeqCst);
    let t = i.token("alice", &north());
    assert_eq!(code(&oidc, &t).await, FaultCode::IdentityUnreachable);
    assert_eq!(code(&oidc, &t).await, FaultCode::IdentityUnreachable);
    assert_eq!(direct.asked.load(Ordering::SeqCst), 1);
    direct.away.store(false, Ordering::SeqCst);
    oidc.known.lock().await.asked = None;
    oidc.caller(&t).await.unwrap();
    // Away again: keys that are known go on being believed.
    direct.away.store(true, Ordering::SeqCst);
    oidc.caller(&t).await.unwrap();
}

#[tokio::test]
async fn a_discovery_document_of_another_issuer_is_refused() {
    let (i, _, _) = world().await;
    let direct = Direct {
        as_url: "https://other.example.org".into(),
        issuer: std::sync::Mutex::new(i.clone()),
        asked: AtomicUsize::new(0),
        away: false.into(),
        hangs: false.into(),
        go: tokio::sync::Notify::new(),
    };
    let config = OidcConfig {
        issuer: i.url().to_owned(),
        audience: "leadline".into(),
        organization_claim: "org".into(),
        page_client_id: None,
    };
    let oidc = Oidc::new(config, Arc::new(direct));
    assert_eq!(code(&oidc, &i.token("alice", &north())).await, FaultCode::IdentityUnreachable);
}

#[tokio::test]
async fn the_local_issuer_is_for_this_machine() {
    let config = IssuerConfig {
        audience: "leadline".into(),
        organization_claim: "org".into(),
        people: BTreeMap::new(),
        systems: BTreeMap::new(),
        client_id: "page".into(),
        redirects: vec![],
    };
    assert!(bind("0.0.0.0:0".parse().unwrap(), config).await.is_err());
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(5), work).await.expect("it does not wait")
}

fn ago(time: Duration) -> Option<Instant> {
    Some(Instant::now().checked_sub(time).unwrap())
}

#[tokio::test]
async fn an_issuer_that_hangs_holds_up_nobody_whose_key_is_known() {
    let (i, direct, oidc) = world().await;
    let (oidc, good) = (Arc::new(oidc), i.token("alice", &north()));
    oidc.caller(&good).await.unwrap();
    for (token, fetched) in [
        // Somebody with a key that nobody has, and somebody who finds the keys old.
        (issuer().await.token("mallory", &north()), Duration::ZERO),
        (good.clone(), FRESH + Duration::from_secs(1)),
    ] {
        direct.hangs.store(true, Ordering::SeqCst);
        direct.away.store(true, Ordering::SeqCst);
        {
            let mut known = oidc.known.lock().await;
            (known.fetched, known.asked) = (ago(fetched), None);
        }
        let before = direct.asked.load(Ordering::SeqCst);
        let first = tokio::spawn({
            let (oidc, token) = (Arc::clone(&oidc), token.clone());
            async move { oidc.caller(&token).await.map(|c| c.subject) }
        });
        while direct.asked.load(Ordering::SeqCst) == before {
            tokio::task::yield_now().await;
        }
        for _ in 0..3 {
            soon(oidc.caller(&good)).await.unwrap();
        }
        // It hung for longer than the rest is: the rest begins with its end.
        oidc.known.lock().await.asked = ago(ASK_AGAIN * 2);
        direct.go.notify_one();
        assert_eq!(soon(first).await.unwrap().is_ok(), token == good);
        soon(oidc.caller(&good)).await.unwrap();
        let unknown = issuer().await.token("mallory", &north());
        assert_eq!(soon(code(&oidc, &unknown)).await, FaultCode::RequestUnauthenticated);
        assert_eq!(direct.asked.load(Ordering::SeqCst), before + 1);
    }
}

#[tokio::test]
async fn the_places_to_log_on_are_asked_for_with_rests_too() {
    let (_, direct, oidc) = world().await;
    direct.away.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(oidc.endpoints().await.unwrap_err().code, FaultCode::IdentityUnreachable);
    }
    assert_eq!(direct.asked.load(Ordering::SeqCst), 1);
    direct.away.store(false, Ordering::SeqCst);
    oidc.known.lock().await.asked = None;
    oidc.endpoints().await.unwrap();
}
