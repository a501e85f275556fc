//! Whoever changes things past leadline: the account's root, with the services' own requests.

use super::stack::ACCOUNT;
use crate::rig::facts;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use leadline_domain::{EnvScope, OrgScope};
use std::process::Command;

/// An S3 client of a session of an organization's role, taken as the worker of the environment `test` takes it, with a
/// name of one's own for the session.
pub async fn session_of(url: &str, org: &OrgScope, session: &str) -> aws_sdk_s3::Client {
    let root = root(url).await;
    let taken = async |from: &SdkConfig, role: String, name: &str, external_id: Option<String>| {
        let mut taken = AssumeRoleProvider::builder(role).session_name(name).configure(from);
        if let Some(id) = external_id {
            taken = taken.external_id(id);
        }
        let provider = SharedCredentialsProvider::new(taken.build().await);
        from.to_builder().credentials_provider(provider).build()
    };
    let worker = EnvScope::new(&facts("test")).worker_role_arn();
    let worker = taken(&root, worker, "leadline-worker", None).await;
    let config = taken(&worker, org.role_arn(), session, Some(org.external_id())).await;
    let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
    aws_sdk_s3::Client::from_conf(s3)
}

async fn root(url: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(url)
        .credentials_provider(Credentials::new(ACCOUNT, "test", None, None, "test"))
        .load()
        .await
}

/// Clients of the account's root on a local endpoint.
pub struct PastUs {
    /// S3.
    pub s3: aws_sdk_s3::Client,
    /// IAM.
    pub iam: aws_sdk_iam::Client,
    /// KMS.
    pub kms: aws_sdk_kms::Client,
    /// SQS.
    pub sqs: aws_sdk_sqs::Client,
    url: String,
}

impl PastUs {
    /// Of the endpoint at this address.
    pub async fn new(url: &str) -> Self {
        let c = root(url).await;
        let s3 = aws_sdk_s3::config::Builder::from(&c).force_path_style(true).build();
        Self {
            s3: aws_sdk_s3::Client::from_conf(s3),
            iam: aws_sdk_iam::Client::new(&c),
            kms: aws_sdk_kms::Client::new(&c),
            sqs: aws_sdk_sqs::Client::new(&c),
            url: url.to_owned(),
        }
    }

    /// A request in the query protocol to a service without a client here. The endpoint does not check signatures of root.
    ///
    /// # Panics
    /// When it is refused.
    pub fn query(&self, service: &str, version: &str, parameters: &[(&str, &str)]) -> String {
        let mut c = self.request(service, "application/x-www-form-urlencoded");
        c.arg("--data-urlencode").arg(format!("Version={version}"));
        for (k, v) in parameters {
            c.arg("--data-urlencode").arg(format!("{k}={v}"));
        }
        sent(c)
    }

    /// A request in the JSON protocol, likewise.
    ///
    /// # Panics
    /// When it is refused.
    pub fn json(&self, service: &str, target: &str, body: &serde_json::Value) {
        let mut c = self.request(service, "application/x-amz-json-1.1");
        c.arg("--header").arg(format!("X-Amz-Target: {target}")).arg("--data").arg(body.to_string());
        sent(c);
    }

    fn request(&self, service: &str, content: &str) -> Command {
        let mut c = Command::new("curl");
        let scope = format!("{ACCOUNT}/20260101/us-east-1/{service}/aws4_request");
        let signed = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none");
        c.args(["--silent", "--show-error", "--fail-with-body", &self.url]);
        c.arg("--header").arg(format!("Authorization: {signed}"));
        c.arg("--header").arg(format!("Content-Type: {content}"));
        c
    }
}

fn sent(mut c: Command) -> String {
    let out = c.output().expect("curl runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    said
}
