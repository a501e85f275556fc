//! Uploads past us: presigned requests and forms, with the organization's own credentials, below `staging/` of the
//! organization's own bucket.

use super::errors::{Service, fault, status};
use super::multipart::staging;
use super::s3::{S3OrgStore, bulk};
use super::sts::Aws;
use crate::ports::content::Pieces;
use crate::ports::uploads::{
    Declared, Form, HeldPart, LONGEST_VALID, ListedObject, OpenUpload, OrgUploads, Presigned, StagedObject, Uploads,
};
use async_trait::async_trait;
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, SecondsFormat, Utc};
use leadline_domain::message::recording_key;
use leadline_domain::{Digest, Fault, FaultCode, OrgScope, StagedName};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Metadata `x-amz-meta-leadline-sha256`: what the sender declared, for whoever takes the object in. Signed with the
/// rest, so that it cannot be left out or changed.
const DECLARED: &str = "leadline-sha256";

/// See [`Uploads`].
pub struct AwsUploads {
    aws: Aws,
}

impl AwsUploads {
    /// Nothing is opened yet.
    #[must_use]
    pub fn new(aws: Aws) -> Self {
        Self { aws }
    }
}

#[async_trait]
impl Uploads for AwsUploads {
    async fn open(&self, scope: &OrgScope) -> Result<Arc<dyn OrgUploads>, Fault> {
        let org = self.aws.organization(scope);
        // Here rather than in the first request: a role that cannot be taken is reported as itself.
        org.role.credentials().await?;
        Ok(Arc::new(S3Uploads { store: S3OrgStore::new(org, Pieces::default()) }))
    }
}

struct S3Uploads {
    store: S3OrgStore,
}

impl S3Uploads {
    fn client(&self) -> &aws_sdk_s3::Client {
        &self.store.org.s3
    }

    fn bucket(&self) -> &str {
        &self.store.org.bucket
    }
}

fn presigning(valid: Duration) -> Result<PresigningConfig, Fault> {
    PresigningConfig::expires_in(valid.min(LONGEST_VALID))
        .map_err(|_| Fault::new(FaultCode::BugInvariant, "a permission cannot be good for so long"))
}

/// As the port has it. `host` follows from the URL, and no browser lets a page set `content-length`.
fn presigned(r: &PresignedRequest) -> Presigned {
    let own = |n: &str| n.eq_ignore_ascii_case("host") || n.eq_ignore_ascii_case("content-length");
    Presigned {
        method: r.method().to_owned(),
        url: r.uri().to_owned(),
        headers: r.headers().filter(|(n, _)| !own(n)).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect(),
    }
}

fn length(n: Option<u64>) -> Option<i64> {
    n.and_then(|n| i64::try_from(n).ok())
}

#[async_trait]
impl OrgUploads for S3Uploads {
    async fn put(&self, name: &StagedName, what: &Declared, valid: Duration) -> Result<Presigned, Fault> {
        let mut put = self
            .client()
            .put_object()
            .bucket(self.bucket())
            .key(staging(name.as_str()))
            .if_none_match("*")
            .content_type(&what.media_type)
            .set_content_length(length(what.size));
        if let Some(d) = &what.sha256 {
            put = put.checksum_sha256(BASE64.encode(d.as_bytes())).metadata(DECLARED, d.to_hex());
        }
        let made = put.presigned(presigning(valid)?).await;
        made.map(|r| presigned(&r)).map_err(|e| fault(Service::S3, "PutObject", &e))
    }

    async fn form(
        &self,
        name: &StagedName,
        what: &Declared,
        length: (u64, u64),
        valid: Duration,
    ) -> Result<Form, Fault> {
        // The bucket's own URL, as the SDK would address it.
        let put = self.put(name, what, valid).await?;
        let key = staging(name.as_str());
        let url = put.url.split_once(&format!("/{key}")).map(|(before, _)| before.to_owned());
        let url =
            url.ok_or_else(|| Fault::new(FaultCode::BugInvariant, "the URL of an object does not hold its key"))?;
        let credentials = self.store.org.role.credentials().await?;
        let region = self.store.org.config.region().map(ToString::to_string).unwrap_or_default();
        let signer = Signer {
            key_id: credentials.access_key_id(),
            secret: credentials.secret_access_key(),
            token: credentials.session_token(),
            region: &region,
        };
        Ok(Form { url, fields: form_fields(&signer, self.bucket(), &key, what, length, SystemTime::now(), valid) })
    }

    async fn begin(&self, name: &StagedName, what: &Declared) -> Result<String, Fault> {
        let made = self
            .client()
            .create_multipart_upload()
            .bucket(self.bucket())
            .key(staging(name.as_str()))
            .content_type(&what.media_type)
            .set_metadata(what.sha256.map(|d| [(DECLARED.to_owned(), d.to_hex())].into()))
            .send()
            .await;
        match made {
            Ok(m) => Ok(m.upload_id().unwrap_or_default().to_owned()),
            Err(e) => Err(self.store.fail("CreateMultipartUpload", &e).await),
        }
    }

    async fn part(
        &self,
        name: &StagedName,
        id: &str,
        number: u32,
        size: Option<u64>,
        valid: Duration,
    ) -> Result<Presigned, Fault> {
        let made = self
            .client()
            .upload_part()
            .bucket(self.bucket())
            .key(staging(name.as_str()))
            .upload_id(id)
            .part_number(i32::try_from(number).unwrap_or(i32::MAX))
            .set_content_length(length(size))
            .presigned(presigning(valid)?)
            .await;
        made.map(|r| presigned(&r)).map_err(|e| fault(Service::S3, "UploadPart", &e))
    }

    async fn parts(&self, name: &StagedName, id: &str) -> Result<Vec<HeldPart>, Fault> {
        let list = self.client().list_parts().bucket(self.bucket()).key(staging(name.as_str())).upload_id(id);
        let mut pages = list.into_paginator().send();
        let mut parts = Vec::new();
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(p) => p,
                Err(e) => return Err(self.store.fail("ListParts", &e).await),
            };
            parts.extend(page.parts().iter().filter_map(|p| {
                Some(HeldPart {
                    number: u32::try_from(p.part_number()?).ok()?,
                    etag: p.e_tag()?.trim_matches('"').to_owned(),
                    size: u64::try_from(p.size()?).ok()?,
                })
            }));
        }
        parts.sort_by_key(|p| p.number);
        Ok(parts)
    }

    async fn complete(&self, name: &StagedName, id: &str, parts: &[HeldPart]) -> Result<(), Fault> {
        let size = parts.iter().map(|p| p.size).sum::<u64>();
        let one = |p: &HeldPart| {
            let number = i32::try_from(p.number).unwrap_or(i32::MAX);
            CompletedPart::builder().part_number(number).e_tag(format!("\"{}\"", p.etag)).build()
        };
        let done = self
            .client()
            .complete_multipart_upload()
            .bucket(self.bucket())
            .key(staging(name.as_str()))
            .upload_id(id)
            .set_mpu_object_size(i64::try_from(size).ok())
            .multipart_upload(
                CompletedMultipartUpload::builder().set_parts(Some(parts.iter().map(one).collect())).build(),
            )
            .customize()
            .config_override(bulk())
            .send()
            .await;
        match done {
            Ok(_) => Ok(()),
            Err(e) => Err(self.store.fail("CompleteMultipartUpload", &e).await),
        }
    }

    async fn abort(&self, name: &str, id: &str) -> Result<(), Fault> {
        self.store.abort(&staging(name), id).await
    }

    async fn staged(&self, name: &StagedName) -> Result<Option<StagedObject>, Fault> {
        match self.client().head_object().bucket(self.bucket()).key(staging(name.as_str())).send().await {
            Ok(h) => Ok(Some(StagedObject {
                size: h.content_length().and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
                version: h.version_id().map(str::to_owned),
                declared: h.metadata().and_then(|m| m.get(DECLARED)).and_then(|d| Digest::parse(d).ok()),
            })),
            Err(e) if status(&e) == 404 => Ok(None),
            Err(e) => Err(self.store.fail("HeadObject", &e).await),
        }
    }

    async fn stored_s(&self, digest: &Digest) -> Result<Option<i64>, Fault> {
        match self.client().head_object().bucket(self.bucket()).key(recording_key(digest)).send().await {
            Ok(h) => Ok(h.last_modified().map(aws_sdk_s3::primitives::DateTime::secs)),
            Err(e) if status(&e) == 404 => Ok(None),
            Err(e) => Err(self.store.fail("HeadObject", &e).await),
        }
    }

    async fn open_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>, Fault> {
        let mut out = Vec::new();
        let (mut key, mut upload) = (None, None);
        loop {
            let listed = self
                .client()
                .list_multipart_uploads()
                .bucket(self.bucket())
                .prefix(staging(prefix))
                .set_key_marker(key)
                .set_upload_id_marker(upload)
                .send()
                .await;
            let page = match listed {
                Ok(p) => p,
                Err(e) => return Err(self.store.fail("ListMultipartUploads", &e).await),
            };
            out.extend(page.uploads().iter().filter_map(|u| {
                Some(OpenUpload {
                    name: u.key()?.strip_prefix("staging/")?.to_owned(),
                    id: u.upload_id()?.to_owned(),
                    begun_s: u.initiated()?.secs(),
                })
            }));
            if page.is_truncated() != Some(true) || page.next_key_marker().is_none() {
                return Ok(out);
            }
            (key, upload) =
                (page.next_key_marker().map(str::to_owned), page.next_upload_id_marker().map(str::to_owned));
        }
    }

    async fn list_staged(&self, prefix: &str) -> Result<Vec<ListedObject>, Fault> {
        let list = self.client().list_objects_v2().bucket(self.bucket()).prefix(staging(prefix));
        let mut pages = list.into_paginator().send();
        let mut out = Vec::new();
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(p) => p,
                Err(e) => return Err(self.store.fail("ListObjectsV2", &e).await),
            };
            out.extend(page.contents().iter().filter_map(|o| {
                Some(ListedObject {
                    name: o.key()?.strip_prefix("staging/")?.to_owned(),
                    size: u64::try_from(o.size()?).ok()?,
                    modified_s: o.last_modified()?.secs(),
                })
            }));
        }
        Ok(out)
    }
}

struct Signer<'a> {
    key_id: &'a str,
    secret: &'a str,
    token: Option<&'a str>,
    region: &'a str,
}

/// Fields of a form with a signed policy. Amazon S3 API Reference, "Authenticating Requests in Browser-Based Uploads
/// Using POST (AWS Signature Version 4)": every field but `file`, `policy` and `x-amz-signature` needs a condition; the
/// string to sign is the policy in base64.
fn form_fields(
    signer: &Signer<'_>,
    bucket: &str,
    key: &str,
    what: &Declared,
    length: (u64, u64),
    now: SystemTime,
    valid: Duration,
) -> BTreeMap<String, String> {
    let at: DateTime<Utc> = now.into();
    let scope = format!("{}/{}/s3/aws4_request", at.format("%Y%m%d"), signer.region);
    let mut fields = BTreeMap::from([
        ("key".to_owned(), key.to_owned()),
        ("Content-Type".to_owned(), what.media_type.clone()),
        // An answer with a body that says what was stored, instead of an empty 204.
        ("success_action_status".to_owned(), "201".to_owned()),
        ("x-amz-algorithm".to_owned(), "AWS4-HMAC-SHA256".to_owned()),
        ("x-amz-credential".to_owned(), format!("{}/{scope}", signer.key_id)),
        ("x-amz-date".to_owned(), at.format("%Y%m%dT%H%M%SZ").to_string()),
    ]);
    if let Some(t) = signer.token {
        fields.insert("x-amz-security-token".to_owned(), t.to_owned());
    }
    if let Some(d) = &what.sha256 {
        fields.insert("x-amz-checksum-algorithm".to_owned(), "SHA256".to_owned());
        fields.insert("x-amz-checksum-sha256".to_owned(), BASE64.encode(d.as_bytes()));
        fields.insert(format!("x-amz-meta-{DECLARED}"), d.to_hex());
    }
    let mut conditions = vec![json!({ "bucket": bucket }), json!(["content-length-range", length.0, length.1])];
    conditions.extend(fields.iter().map(|(k, v)| Value::Object([(k.clone(), json!(v))].into_iter().collect())));
    let end: DateTime<Utc> = (now + valid.min(LONGEST_VALID)).into();
    let policy = json!({
        "expiration": end.to_rfc3339_opts(SecondsFormat::Millis, true),
        "conditions": conditions,
    });
    let policy = BASE64.encode(policy.to_string());
    let signing = generate_signing_key(signer.secret, now, signer.region, "s3");
    fields.insert("x-amz-signature".to_owned(), calculate_signature(signing, policy.as_bytes()));
    fields.insert("policy".to_owned(), policy);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the S3 API Reference ("Example: Browser-Based Upload using HTTP POST (Using AWS Signature Version
    /// 4)") signs its policy with this key and comes to this signature.
    #[test]
    fn the_signature_is_the_one_of_the_specification() {
        const POLICY: &str = "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9";
        let day = SystemTime::UNIX_EPOCH + Duration::from_secs(1_451_347_200);
        let key = generate_signing_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", day, "us-east-1", "s3");
        assert_eq!(
            calculate_signature(key, POLICY.as_bytes()),
            "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e"
        );
    }

    #[test]
    fn every_field_has_its_condition() {
        let signer = Signer { key_id: "AKID", secret: "s", token: Some("t"), region: "eu-west-2" };
        let what = Declared { media_type: "application/pdf".into(), size: Some(3), sha256: Some(Digest::of(b"abc")) };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let f = form_fields(&signer, "bucket", "staging/web-1", &what, (1, 3), now, Duration::from_secs(60));
        assert_eq!(f["x-amz-credential"], "AKID/20010909/eu-west-2/s3/aws4_request");
        let policy: Value = serde_json::from_slice(&BASE64.decode(&f["policy"]).unwrap()).unwrap();
        assert_eq!(policy["expiration"], "2001-09-09T01:47:40.000Z");
        let conditions = policy["conditions"].as_array().unwrap();
        for (k, v) in f.iter().filter(|(k, _)| *k != "policy" && *k != "x-amz-signature") {
            assert!(conditions.contains(&json!({ k: v })), "{k}");
        }
        assert!(conditions.contains(&json!(["content-length-range", 1, 3])));
        assert!(conditions.contains(&json!({ "bucket": "bucket" })));
    }
}
