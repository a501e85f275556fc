//! Uploads past the gateway: its HTTP in this process, curl, and an AWS endpoint that checks signatures and IAM.

use leadline_activities::adapters::aws::AwsUploads;
use leadline_activities::ports::uploads::{Declared, MIN_PART, Uploads};
use leadline_domain::{Digest, Fault, FaultCode, StagedName};
use leadline_gateway::http::metrics::METRICS;
use leadline_gateway::http::sweep;
use leadline_gateway::intake_fake::Planned;
use leadline_tests::harness::tools::eventually;
use leadline_tests::rig::scope;
use leadline_tests::upload_rig::{MAX_BYTES, ORIGIN, UploadRig, curl, org, send};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(600);

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn with(&self, name: &str, content: &[u8]) -> PathBuf {
        let p = self.0.path().join(name);
        std::fs::write(&p, content).unwrap();
        p
    }
}

fn of(v: &Value, k: &str) -> String {
    v[k].as_str().unwrap_or_else(|| panic!("{k} in {v}")).to_owned()
}

async fn begin(r: &UploadRig, token: &str, content: &[u8], sha256: bool) -> Value {
    let mut body = json!({ "size": content.len(), "type": "application/pdf" });
    if sha256 {
        body["sha256"] = json!(Digest::of(content).to_hex());
    }
    let (status, p) = r.call("POST", "/uploads", token, Some(&body)).await;
    assert_eq!(status, 201, "{p}");
    p
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_put_is_bound_to_what_was_declared_and_works_once() {
    let r = UploadRig::start(false, LONG).await;
    let (files, a) = (Files::new(), r.token("clinic-a"));
    let content = b"%PDF-1.7 a recording";
    let p = begin(&r, &a, content, true).await;
    // Nothing is there before the bytes are.
    let id = of(&p, "id");
    assert_eq!(r.call("POST", &format!("/uploads/{id}/complete"), &a, None).await.0, 404);
    assert_eq!(r.call("GET", &format!("/uploads/{id}"), &a, None).await.0, 404);
    let other_size = files.with("other-size", b"%PDF-1.7");
    assert_eq!(send(&p, &other_size).await.0 / 100, 4, "another size");
    let other = files.with("other", b"%PDF-1.7 A recording");
    assert_eq!(send(&p, &other).await.0, 400, "another checksum");
    let mut without = p.clone();
    without["headers"].as_object_mut().unwrap().remove("x-amz-checksum-sha256");
    assert_eq!(send(&without, &other).await.0, 403, "a signed header left out");
    let right = files.with("right", content);
    assert_eq!(send(&p, &right).await.0, 200);
    assert_eq!(send(&p, &right).await.0, 412, "used twice");
    let (status, s) = r.call("GET", &format!("/uploads/{id}"), &a, None).await;
    assert_eq!((status, s["state"].as_str()), (200, Some("checking")));
    for _ in 0..2 {
        let (status, s) = r.call("POST", &format!("/uploads/{id}/complete"), &a, None).await;
        assert_eq!((status, s["state"].as_str()), (202, Some("delivered")), "{s}");
    }
    assert_eq!(r.intake.lifecycles(), 1);
    assert_eq!(r.intake.received()[0].declared, Some(Digest::of(content)));
    // The same again is told as a duplicate; without the recording's object its time is not known.
    let p = begin(&r, &a, content, true).await;
    assert_eq!(send(&p, &right).await.0, 200);
    let (_, s) = r.call("POST", &format!("/uploads/{}/complete", of(&p, "id")), &a, None).await;
    assert_eq!(s["state"], "duplicate");
    assert!(of(&s, "text").starts_with("Duplicate"), "{s}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permission_ends_and_is_for_one_organization() {
    let r = UploadRig::start(false, Duration::from_secs(1)).await;
    let (files, a, b) = (Files::new(), r.token("clinic-a"), r.token("clinic-b"));
    let content = files.with("x", b"%PDF-1.7");
    let p = begin(&r, &a, b"%PDF-1.7", false).await;
    let late = eventually("the permission has expired", Duration::from_secs(20), || async {
        let (status, text) = send(&p, &content).await;
        // The first tries store it and are refused as repeats: both are answers of a permission that is good.
        (status == 403).then_some(text)
    });
    assert!(late.await.contains("expired"), "AccessDenied: Request has expired");
    // Another organization's staging: the key is another's, so is the bucket, and the signature covers both.
    let p = begin(&r, &a, b"%PDF-1.7", false).await;
    let url = of(&p, "url").replace(&scope("clinic-a").bucket(), &scope("clinic-b").bucket());
    let mut moved = p.clone();
    moved["url"] = json!(url);
    assert_eq!(send(&moved, &content).await.0, 403);
    // Not even its own credentials would reach the other's bucket.
    let stolen = AwsUploads::new(r.aws.clone()).open(&scope("clinic-a")).await.unwrap();
    assert_eq!(stolen.staged(&StagedName::parse("isolation-probe").unwrap()).await, Ok(None));
    // To the other organization this upload does not exist, whatever it asks.
    let id = of(&begin(&r, &a, b"%PDF-1.7", false).await, "id");
    for (method, path) in [("GET", format!("/uploads/{id}")), ("POST", format!("/uploads/{id}/complete"))] {
        let (status, v) = r.call(method, &path, &b, None).await;
        assert_eq!((status, v["code"].as_str()), (404, Some("upload.unknown")), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_and_names_that_are_refused() {
    let r = UploadRig::start(false, LONG).await;
    let a = r.token("clinic-a");
    let five_gib = 5_u64 << 30;
    for (body, status, code) in [
        (json!({ "size": 0 }), 422, "file.empty"),
        (json!({ "size": five_gib + 1, "multipart": false }), 413, "file.too_large"),
        (json!({ "size": MAX_BYTES + 1 }), 413, "file.too_large"),
        (json!({ "size": 1, "sha256": "abc" }), 400, "request.invalid"),
        (json!({ "size": 1, "type": "a/b\r\nx: y" }), 400, "request.invalid"),
        (json!({ "size": 1, "name": "Doe_John.pdf" }), 400, "request.invalid"),
        (json!({ "size": -1 }), 400, "request.invalid"),
        (json!({ "size": 1, "organization": "clinic-b" }), 403, "request.forbidden"),
    ] {
        let (s, v) = r.call("POST", "/uploads", &a, Some(&body)).await;
        assert_eq!((s, v["code"].as_str()), (status, Some(code)), "{body}");
        assert!(!v.to_string().contains("Doe"), "an error does not repeat what was sent");
    }
    let (s, v) = r.call("POST", "/uploads", &a, Some(&json!({ "size": five_gib + 1 }))).await;
    assert_eq!((s, v["multipart"]["part_size"].as_u64()), (201, Some(8 << 20)), "{v}");
    // The form of Uppy: 5 GiB + 1, nothing, and another organization.
    for (q, status) in [
        (format!("metadata[size]={}", five_gib + 1), 413),
        ("metadata[size]=0".into(), 422),
        ("metadata[organization]=clinic-b".into(), 403),
        ("metadata[size]=many".into(), 400),
    ] {
        assert_eq!(r.call("GET", &format!("/s3/params?filename=x&{q}"), &a, None).await.0, status, "{q}");
    }
    // A body that is longer than any that is meant.
    let files = Files::new();
    let long = files.with("long", format!("{{\"size\":{}1}}", " ".repeat(1 << 20)).as_bytes());
    let mut args = vec!["-H".to_owned(), format!("Authorization: Bearer {a}"), "--data-binary".into()];
    args.extend([format!("@{}", long.display()), "-H".into(), "Content-Type: application/json".into()]);
    args.push(format!("{}/uploads", r.url));
    let (s, text) = curl(args).await;
    assert_eq!(s, 413, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_real_and_the_frame_is_shut() {
    let r = UploadRig::start(false, LONG).await;
    let claims = |other: Value| r.issuer.sign(&r.issuer.claims("x", &org("clinic-a"), &other));
    let body = json!({ "size": 1 });
    for (token, status, code) in [
        (String::new(), 401, "request.unauthenticated"),
        ("a.b.c".to_owned(), 401, "request.unauthenticated"),
        (claims(json!({ "exp": 1_000_000 })), 401, "request.unauthenticated"),
        (claims(json!({ "aud": "another" })), 401, "request.unauthenticated"),
        (claims(json!({ "iss": "https://another.example.org" })), 401, "request.unauthenticated"),
        (claims(json!({ "org": "clinic-z" })), 403, "config.unknown_org"),
        (claims(json!({ "org": null })), 403, "request.forbidden"),
    ] {
        let (s, v) = r.call("POST", "/uploads", &token, Some(&body)).await;
        assert_eq!((s, v["code"].as_str()), (status, Some(code)), "{token}");
    }
    // Client credentials, as a system logs on.
    let (_, text) = curl(vec![
        "-u".into(),
        "loader:s3cret".into(),
        "-d".into(),
        "grant_type=client_credentials".into(),
        format!("{}/token", r.issuer.url()),
    ])
    .await;
    let token: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(r.call("POST", "/uploads", &of(&token, "access_token"), Some(&body)).await.0, 201);
    // What this gateway serves of the document asks who is calling; that all of it does is tested without a server.
    let (_, doc) = r.call("GET", "/openapi.json", "", None).await;
    let served = |path: &str| ["/uploads", "/s3/", "/outcomes"].iter().any(|p| path.starts_with(p));
    for (path, methods) in doc["paths"].as_object().unwrap().iter().filter(|(path, _)| served(path)) {
        for method in methods.as_object().unwrap().keys() {
            let path = path.replace(['{', '}'], "");
            let status = r.call(&method.to_uppercase(), &path, "", None).await.0;
            assert_eq!(status, 401, "{method} {path}");
        }
    }
    let head = |path: &str, more: Vec<&str>| {
        let mut args = vec!["-D".to_owned(), "-".into(), "-o".into(), "/dev/null".into(), format!("{}{path}", r.url)];
        args.extend(more.into_iter().map(str::to_owned));
        async { curl(args).await.1.to_lowercase() }
    };
    let h = head("/healthz", vec![]).await;
    for part in ["x-content-type-options: nosniff", "content-security-policy: default-src 'none'", "x-request-id: "] {
        assert!(h.contains(part), "{part} in {h}");
    }
    assert!(!h.contains("strict-transport-security"), "this one is not https");
    let preflight = vec!["-X", "OPTIONS", "-H", "Access-Control-Request-Method: POST", "-H"];
    let ours = format!("Origin: {ORIGIN}");
    let h = head("/uploads", [preflight.clone(), vec![ours.as_str()]].concat()).await;
    assert!(h.contains(&format!("access-control-allow-origin: {ORIGIN}")), "{h}");
    let h = head("/uploads", [preflight, vec!["Origin: https://evil.example.org"]].concat()).await;
    assert!(!h.contains("access-control-allow-origin"), "{h}");
    let (s, page) = curl(vec![format!("{}/faults/upload.unknown", r.url)]).await;
    assert!(s == 200 && page.starts_with("# upload.unknown"));
}

async fn part(r: &UploadRig, token: &str, id: &str, key: &str, n: u32, file: &std::path::Path) -> String {
    let (s, v) = r.call("GET", &format!("/s3/multipart/{id}/{n}?key={key}"), token, None).await;
    assert_eq!(s, 200, "{v}");
    let (s, text) = curl(vec![
        "-X".into(),
        "PUT".into(),
        "-D".into(),
        "-".into(),
        "--data-binary".into(),
        format!("@{}", file.display()),
        of(&v, "url"),
    ])
    .await;
    assert_eq!(s, 200, "{text}");
    let etag = text.lines().find_map(|l| l.to_lowercase().starts_with("etag:").then(|| l[5..].trim().to_owned()));
    etag.expect("an ETag")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_are_missing_shuffled_or_of_others() {
    let r = UploadRig::start(false, LONG).await;
    let (files, a, b) = (Files::new(), r.token("clinic-a"), r.token("clinic-b"));
    let first = files.with("1", &vec![1; usize::try_from(MIN_PART).unwrap()]);
    let last = files.with("2", b"the end");
    let size = MIN_PART + 7;
    let begin = json!({ "filename": "Doe_John.mp4", "type": "video/mp4", "metadata": { "size": size.to_string() } });
    let (s, u) = r.call("POST", "/s3/multipart", &a, Some(&begin)).await;
    assert_eq!((s, u["partSize"].as_u64()), (200, Some(8 << 20)), "{u}");
    let (id, key) = (of(&u, "uploadId"), of(&u, "key"));
    assert!(!u.to_string().contains("Doe"), "no name of a file in a key");
    let name = key.trim_start_matches("staging/").to_owned();
    let (_, s) = r.call("GET", &format!("/uploads/{name}"), &a, None).await;
    assert_eq!(s["state"], "uploading");
    let one = part(&r, &a, &id, &key, 1, &first).await;
    let at = format!("/s3/multipart/{id}?key={key}");
    let done = format!("/s3/multipart/{id}/complete?key={key}");
    let list = |parts: &[(u32, &str)]| json!({ "parts": parts.iter().map(|(n, e)| json!({ "PartNumber": n, "ETag": e })).collect::<Vec<_>>() });
    let (_, held) = r.call("GET", &at, &a, None).await;
    assert_eq!(held, json!([{ "PartNumber": 1, "ETag": one, "Size": MIN_PART }]));
    let (s, v) = r.call("POST", &done, &a, Some(&list(&[(1, &one)]))).await;
    assert_eq!((s, v["code"].as_str()), (409, Some("upload.parts_wrong")), "one is missing: {v}");
    let two = part(&r, &a, &id, &key, 2, &last).await;
    for wrong in [list(&[]), list(&[(2, &two), (1, &one)]), list(&[(2, &two)]), list(&[(1, &two), (2, &one)])] {
        assert_eq!(r.call("POST", &done, &a, Some(&wrong)).await.0, 409, "{wrong}");
    }
    assert_eq!(r.intake.lifecycles(), 0);
    // To another organization it does not exist: not to list, sign, complete or give up.
    let all = list(&[(1, &one), (2, &two)]);
    for (method, path, body) in [
        ("GET", at.clone(), None),
        ("GET", format!("/s3/multipart/{id}/1?key={key}"), None),
        ("GET", format!("/s3/multipart/{id}/batch?key={key}&partNumbers=1,2"), None),
        ("POST", done.clone(), Some(&all)),
        ("DELETE", at.clone(), None),
    ] {
        let (s, v) = r.call(method, &path, &b, body).await;
        assert_eq!((s, v["code"].as_str()), (404, Some("upload.unknown")), "{method} {path}");
    }
    assert_eq!(r.call("GET", &format!("/s3/multipart/{id}/10001?key={key}"), &a, None).await.0, 400);
    assert_eq!(r.call("GET", &format!("/s3/multipart/{id}/1"), &a, None).await.0, 400);
    let (_, urls) = r.call("GET", &format!("/s3/multipart/{id}/batch?key={key}&partNumbers=1,2"), &a, None).await;
    assert_eq!(urls["presignedUrls"].as_object().map(serde_json::Map::len), Some(2));
    // A length that is said is bound.
    let (_, v) = r.call("GET", &format!("/s3/multipart/{id}/1?key={key}&size=8"), &a, None).await;
    let short = vec!["-X".into(), "PUT".into(), "--data-binary".into(), format!("@{}", last.display()), of(&v, "url")];
    assert_eq!(curl(short).await.0 / 100, 4);
    // Once whole it is one, however often that is said.
    for _ in 0..2 {
        let (s, v) = r.call("POST", &done, &a, Some(&all)).await;
        assert_eq!((s, v["key"].as_str()), (200, Some(key.as_str())), "{v}");
    }
    assert_eq!(r.intake.lifecycles(), 1);
    let staged = r.store("clinic-a").await.staged(&StagedName::parse(&name).unwrap()).await.unwrap();
    assert_eq!(staged.unwrap().size, size);
    // Given up is gone.
    let (_, u) = r.call("POST", "/s3/multipart", &a, Some(&begin)).await;
    let at = format!("/s3/multipart/{}?key={}", of(&u, "uploadId"), of(&u, "key"));
    assert_eq!(r.call("DELETE", &at, &a, None).await, (200, json!({})));
    assert_eq!(r.call("GET", &at, &a, None).await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_is_bound_to_type_and_length() {
    let r = UploadRig::start(false, LONG).await;
    let (files, a) = (Files::new(), r.token("clinic-a"));
    let content = b"%PDF-1.7 a form";
    let q = format!(
        "filename=Doe.pdf&type=application%2Fpdf&metadata[size]={}&metadata[sha256]={}",
        content.len(),
        Digest::of(content).to_hex()
    );
    let (s, f) = r.call("GET", &format!("/s3/params?{q}"), &a, None).await;
    assert_eq!((s, f["method"].as_str()), (200, Some("POST")), "{f}");
    assert!(!f.to_string().contains("Doe"));
    let post = |fields: Value, file: PathBuf, url: String| async move {
        let mut args = vec![];
        for (k, v) in fields.as_object().unwrap() {
            args.extend(["--form-string".to_owned(), format!("{k}={}", v.as_str().unwrap())]);
        }
        args.extend(["-F".into(), format!("file=@{}", file.display()), url]);
        curl(args).await
    };
    let url = of(&f, "url");
    let (s, text) = post(f["fields"].clone(), files.with("short", b"%PDF"), url.clone()).await;
    assert_eq!(s, 400, "too short: {text}");
    assert_eq!(post(f["fields"].clone(), files.with("long", &[b'x'; 99]), url.clone()).await.0, 400, "too long");
    for (k, v) in [("Content-Type", "text/html"), ("key", "staging/other"), ("x-amz-meta-leadline-sha256", "00")] {
        let mut fields = f["fields"].clone();
        fields[k] = json!(v);
        assert_eq!(post(fields, files.with("right", content), url.clone()).await.0, 403, "{k}");
    }
    assert_eq!(post(f["fields"].clone(), files.with("right", content), url).await.0, 201);
    let id = of(&f["fields"], "key").replace("staging/", "");
    assert_eq!(r.call("POST", &format!("/uploads/{id}/complete"), &a, None).await.0, 202);
    assert_eq!(r.intake.received()[0].declared, Some(Digest::of(content)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_what_was_declared_is_refused_and_told_as_often_as_asked() {
    let r = UploadRig::start(true, LONG).await;
    let (files, a) = (Files::new(), r.token("clinic-a"));
    // Past the permission's size: only possible where a store does not hold to it, and found all the same.
    let name = StagedName::parse("web-00000000000000000000000000000000-4").unwrap();
    let what = Declared { media_type: "a/b".into(), size: None, sha256: None };
    let put = r.store("clinic-a").await.put(&name, &what, LONG).await.unwrap();
    let put = json!({ "url": put.url, "headers": put.headers });
    assert_eq!(send(&put, &files.with("y", b"abc")).await.0, 200);
    // The store's event comes first, and there is no client to tell.
    eventually("the event is worked off", Duration::from_secs(30), || async {
        METRICS.render().contains("leadline_upload_events_total{what=\"refused\"}").then_some(())
    })
    .await;
    for _ in 0..2 {
        let (s, v) = r.call("POST", &format!("/uploads/{name}/complete"), &a, None).await;
        assert_eq!((s, v["code"].as_str()), (422, Some("file.checksum_mismatch")), "{v}");
        let (s, v) = r.call("GET", &format!("/uploads/{name}"), &a, None).await;
        assert_eq!((s, v["state"].as_str(), v["done"].as_bool()), (200, Some("refused"), Some(true)), "{v}");
        assert_eq!(v["code"], "file.checksum_mismatch");
        assert!(of(&v, "text").starts_with("What arrived is not what was sent."), "{v}");
    }
    // What the intake says is told too.
    let p = begin(&r, &a, b"abc", false).await;
    for _ in 0..2 {
        r.intake.plan(Planned::Fails(Fault::new(FaultCode::FileChecksumMismatch, "another digest")));
    }
    assert_eq!(send(&p, &files.with("x", b"abc")).await.0, 200);
    let (s, v) = r.call("POST", &format!("/uploads/{}/complete", of(&p, "id")), &a, None).await;
    assert_eq!((s, v["code"].as_str()), (422, Some("file.checksum_mismatch")), "{v}");
    assert_eq!(r.intake.lifecycles(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stores_event_does_what_the_client_forgot_and_both_together_do_it_once() {
    let r = UploadRig::start(true, LONG).await;
    let (files, a) = (Files::new(), r.token("clinic-a"));
    let x = files.with("x", b"abc");
    // The client never says that it is complete.
    let p = begin(&r, &a, b"abc", false).await;
    assert_eq!(send(&p, &x).await.0, 200);
    let id = of(&p, "id");
    let told = eventually("the event is worked off", Duration::from_secs(30), || async {
        let (_, s) = r.call("GET", &format!("/uploads/{id}"), &a, None).await;
        (s["state"] == "delivered").then_some(s)
    });
    assert_eq!(told.await["done"], true);
    assert_eq!(r.intake.received()[0].org, org("clinic-a"));
    // Both at once, several times: one lifecycle each.
    for _ in 0..5 {
        let p = begin(&r, &a, b"abc", false).await;
        assert_eq!(send(&p, &x).await.0, 200);
        let at = format!("/uploads/{}/complete", of(&p, "id"));
        assert_eq!(r.call("POST", &at, &a, None).await.0, 202);
    }
    eventually("all events have come", Duration::from_secs(30), || async {
        (r.intake.received().len() >= 11).then_some(())
    })
    .await;
    assert_eq!(r.intake.lifecycles(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abandoned_uploads_are_given_up_and_young_ones_stay() {
    let r = UploadRig::start(false, LONG).await;
    let a = r.token("clinic-a");
    let begin = json!({ "type": "video/mp4", "metadata": {} });
    let (_, u) = r.call("POST", "/s3/multipart", &a, Some(&begin)).await;
    let at = format!("/s3/multipart/{}?key={}", of(&u, "uploadId"), of(&u, "key"));
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let hour = Duration::from_secs(3600);
    assert_eq!(sweep::organization(&r.app, &org("clinic-a"), now, hour).await, Ok(0));
    assert_eq!(r.call("GET", &at, &a, None).await.0, 200);
    assert_eq!(sweep::organization(&r.app, &org("clinic-b"), now + 7200, hour).await, Ok(0), "of another");
    assert_eq!(sweep::organization(&r.app, &org("clinic-a"), now + 7200, hour).await, Ok(1));
    assert_eq!(r.call("GET", &at, &a, None).await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_event_told_of_is_taken_in_later_and_what_is_refused_stays_refused() {
    let r = UploadRig::start(false, LONG).await;
    let (files, a) = (Files::new(), r.token("clinic-a"));
    let x = files.with("x", b"abc");
    let p = begin(&r, &a, b"abc", false).await;
    assert_eq!(send(&p, &x).await.0, 200);
    let short = StagedName::parse("web-00000000000000000000000000000000-4").unwrap();
    let what = Declared { media_type: "a/b".into(), size: None, sha256: None };
    let put = r.store("clinic-a").await.put(&short, &what, LONG).await.unwrap();
    assert_eq!(send(&json!({ "url": put.url, "headers": put.headers }), &x).await.0, 200);
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let (one, later, hour) = (org("clinic-a"), now + 7_200, Duration::from_secs(3_600));
    assert_eq!(sweep::left(&r.app, &one, now, hour).await, Ok(0), "its event may come yet");
    assert_eq!(sweep::left(&r.app, &org("clinic-b"), later, hour).await, Ok(0), "of another");
    r.intake.plan(Planned::Fails(Fault::new(FaultCode::EngineUnreachable, "planned")));
    assert_eq!(sweep::left(&r.app, &one, later, hour).await.unwrap_err().code, FaultCode::EngineUnreachable);
    assert_eq!(r.intake.lifecycles(), 0);
    assert_eq!(sweep::left(&r.app, &one, later, hour).await, Ok(1));
    assert_eq!(sweep::left(&r.app, &one, later + 3_600, hour).await, Ok(0));
    assert_eq!((r.intake.lifecycles(), r.intake.received().len()), (1, 1));
    assert_eq!(r.intake.received()[0].name.as_str(), of(&p, "id"));
}
