//! The gateway's HTTP in this process over the real AWS endpoint: two organizations with buckets, roles and events of
//! their own, and an issuer with real tokens. What is taken in ends in a fake.

use crate::contract::stacks;
use crate::harness::aws::AwsEndpoint;
use crate::harness::stack::ACCOUNT;
use crate::harness::tools::free_port;
use crate::rig::{bare, facts, scope};
use leadline_activities::adapters::aws::{Aws, AwsOrgStores, AwsSettings, AwsUploads, CfnStacks, SqsQueue};
use leadline_activities::outcomes::Outcomes;
use leadline_activities::ports::uploads::{OrgUploads, Uploads};
use leadline_activities::registry::{OrgConfig, Registry, Snapshot};
use leadline_domain::{EnvScope, Fault, FaultCode, Ingress, OrgId, OrgScope};
use leadline_gateway::http::auth::Tokens;
use leadline_gateway::http::oidc::Oidc;
use leadline_gateway::http::outbound::Network;
use leadline_gateway::http::{
    App, Directory, HttpConfig, Limits, OidcConfig, Parts, Ready, Routes, UploadRules, events, reports, serve,
};
use leadline_gateway::intake_fake::FakeIntake;
use leadline_gateway::issuer::{Issuer, IssuerConfig, bind};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Largest file that the organizations take, bytes.
pub const MAX_BYTES: u64 = 6 << 30;

/// See the module. Everything ends with it.
pub struct UploadRig {
    /// The endpoint.
    pub endpoint: AwsEndpoint,
    /// AWS as the gateway uses it.
    pub aws: Aws,
    /// Where it all ends.
    pub intake: Arc<FakeIntake>,
    /// Who issues tokens.
    pub issuer: Issuer,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// State like the server's, for calling parts of it.
    pub app: App,
    stop: watch::Sender<bool>,
    _dir: tempfile::TempDir,
}

struct Two(BTreeMap<OrgId, OrgScope>, String);

impl Directory for Two {
    fn uploads(&self, org: &OrgId) -> Result<UploadRules, Fault> {
        let scope = self.0.get(org).cloned();
        let scope = scope.ok_or_else(|| Fault::new(FaultCode::ConfigUnknownOrg, "not configured here"))?;
        Ok(UploadRules { scope, max_bytes: MAX_BYTES })
    }
    fn open(&self, org: &OrgId, _: Ingress) -> Result<(), Fault> {
        self.uploads(org).map(drop)
    }
    fn uploading(&self) -> Vec<OrgId> {
        self.0.keys().cloned().collect()
    }
    fn of_bucket(&self, bucket: &str) -> Option<OrgId> {
        self.0.iter().find(|(_, s)| s.bucket() == bucket).map(|(o, _)| o.clone())
    }
    fn origins(&self) -> BTreeSet<String> {
        BTreeSet::from([self.1.clone()])
    }
}

struct Always;

#[async_trait::async_trait]
impl Ready for Always {
    async fn check(&self) -> Result<(), Fault> {
        Ok(())
    }
}

/// The origin that other pages may call from.
pub const ORIGIN: &str = "https://intranet.example.org";

impl UploadRig {
    /// Starts everything. `events`: also the loop that reads the store's events.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn start(read_events: bool, url_valid: Duration) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let endpoint = AwsEndpoint::start(dir.path());
        let env = EnvScope::new(&facts("test"));
        let settings = AwsSettings { endpoint_url: Some(endpoint.url()), assume_worker_role: true, profile: None };
        let aws = Aws::connect_as(&env, &settings, ACCOUNT, "secret").await;
        let made = CfnStacks::new(&aws);
        stacks::apply(&made, &env.stack(), "plan-1", &environment(&env).to_string()).await;
        let orgs = [scope("clinic-a"), scope("clinic-b")];
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        for o in &orgs {
            stacks::apply(&made, &o.stack(), "plan-1", &organization(&env, o).to_string()).await;
            allow_browsers(&endpoint, &o.bucket(), &url).await;
        }
        let config = IssuerConfig {
            audience: "leadline".into(),
            organization_claim: "org".into(),
            people: [("alice", "clinic-a"), ("bob", "clinic-b")].map(|(n, o)| (n.to_owned(), org(o))).into(),
            systems: BTreeMap::from([("loader".to_owned(), ("s3cret".to_owned(), org("clinic-a")))]),
            client_id: "upload-page".into(),
            redirects: vec![format!("{url}/upload")],
        };
        let (listener, issuer) = bind("127.0.0.1:0".parse().expect("an address"), config).await.expect("the issuer");
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(issuer.clone().serve(listener, until(stopped.clone())));
        let oidc = OidcConfig {
            issuer: issuer.url().to_owned(),
            audience: "leadline".into(),
            organization_claim: "org".into(),
            page_client_id: Some("upload-page".into()),
        };
        let config = HttpConfig {
            public_url: url.clone(),
            oidc: oidc.clone(),
            store_origins: vec![endpoint.url()],
            limits: Limits { url_valid, ..Limits::default() },
        };
        let intake = FakeIntake::new();
        let reports = reports::routes(outcomes(&aws, &env, &orgs));
        let directory = Two(orgs.into_iter().map(|s| (s.org().clone(), s)).collect(), ORIGIN.to_owned());
        let parts = Parts {
            intake: intake.clone(),
            uploads: Arc::new(AwsUploads::new(aws.clone())),
            directory: Arc::new(directory),
            ready: Arc::new(Always),
            routes: Routes { reports, ..Routes::default() },
        };
        let tokens: Arc<dyn Tokens> = Arc::new(Oidc::new(oidc, Arc::new(Network::new().expect("a client"))));
        let app = App::new(&config, &parts, tokens);
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a port");
        let until_stopped = until(stopped.clone());
        tokio::spawn(async move { serve(listener, config, parts, until_stopped).await });
        if read_events {
            let (app, queue) = (app.clone(), SqsQueue::new(&aws, env.upload_queue()));
            tokio::spawn(async move { events::run(&app, &queue, until(stopped)).await });
        }
        Self { endpoint, aws, intake, issuer, url, app, stop, _dir: dir }
    }

    /// A token of someone of an organization.
    #[must_use]
    pub fn token(&self, of: &str) -> String {
        self.issuer.token("someone", &org(of))
    }

    /// An organization's uploads, past the gateway.
    ///
    /// # Panics
    /// When the role cannot be taken.
    pub async fn store(&self, of: &str) -> Arc<dyn OrgUploads> {
        AwsUploads::new(self.aws.clone()).open(&scope(of)).await.expect("the role")
    }

    /// A request to the gateway with curl; status and JSON, if there is any.
    pub async fn call(&self, method: &str, path: &str, token: &str, body: Option<&Value>) -> (u16, Value) {
        let mut args = vec!["-X".to_owned(), method.to_owned()];
        if !token.is_empty() {
            args.extend(["-H".into(), format!("Authorization: Bearer {token}")]);
        }
        if let Some(b) = body {
            args.extend(["-H".into(), "Content-Type: application/json".into(), "-d".into(), b.to_string()]);
        }
        args.push(format!("{}{path}", self.url));
        let (status, text) = curl(args).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}

impl Drop for UploadRig {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
    }
}

/// Where reports of the processor go.
fn outcomes(aws: &Aws, env: &EnvScope, orgs: &[OrgScope]) -> Outcomes {
    let known = |scope: &OrgScope| {
        let config = OrgConfig { limits: (1 << 20, MAX_BYTES), ..bare(scope.clone()) };
        (scope.org().clone(), config)
    };
    let orgs = orgs.iter().map(known).collect();
    let snapshot = Snapshot { facts: facts("test"), gates: None, retention_days: 1, outcomes: None, orgs };
    Outcomes {
        registry: Arc::new(Registry::fixed(snapshot)),
        stores: Arc::new(AwsOrgStores::new(aws.clone())),
        queue: Arc::new(SqsQueue::new(aws, env.outcome_queue())),
        audit: Arc::new(SqsQueue::new(aws, env.audit_queue())),
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|s| *s).await;
}

/// An organization's id.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn org(id: &str) -> OrgId {
    OrgId::parse(id).expect("an organization id")
}

/// Runs curl; the status and the body of the answer.
///
/// # Panics
/// When it cannot be run.
pub async fn curl(args: Vec<String>) -> (u16, String) {
    let run = move || {
        let mut c = Command::new("curl");
        c.args(["-sS", "-g", "--max-time", "60", "-w", "\n%{http_code}"]).args(args);
        let out = c.output().expect("curl runs");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let text = tokio::task::spawn_blocking(run).await.expect("curl");
    let (body, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
    (status.parse().unwrap_or(0), body.to_owned())
}

/// Sends a file to a permission of the gateway's, as it was given.
///
/// # Panics
/// When it is none.
pub async fn send(permission: &Value, file: &std::path::Path) -> (u16, String) {
    let mut args = vec!["-X".to_owned(), "PUT".into(), "--data-binary".into(), format!("@{}", file.display())];
    for (k, v) in permission["headers"].as_object().into_iter().flatten() {
        args.extend(["-H".into(), format!("{k}: {}", v.as_str().expect("a header"))]);
    }
    args.push(permission["url"].as_str().expect("a URL").to_owned());
    curl(args).await
}

async fn allow_browsers(endpoint: &AwsEndpoint, bucket: &str, origin: &str) {
    use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
    use aws_sdk_s3::types::{CorsConfiguration, CorsRule};
    let config = aws_sdk_s3::config::Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint.url())
        .credentials_provider(Credentials::new(ACCOUNT, "secret", None, None, "test"))
        .force_path_style(true)
        .build();
    let rule = CorsRule::builder()
        .allowed_origins(origin)
        .allowed_methods("PUT")
        .allowed_methods("POST")
        .allowed_headers("*")
        .expose_headers("ETag")
        .build()
        .expect("a rule");
    let cors = CorsConfiguration::builder().cors_rules(rule).build().expect("rules");
    let put = aws_sdk_s3::Client::from_conf(config).put_bucket_cors().bucket(bucket).cors_configuration(cors);
    put.send().await.expect("CORS is set");
}

fn allow(actions: &Value, resources: &Value) -> Value {
    json!({ "Effect": "Allow", "Action": actions, "Resource": resources })
}

fn role(name: &str, trust: &Value, statements: &Value) -> Value {
    json!({ "Type": "AWS::IAM::Role", "Properties": {
        "RoleName": name,
        "AssumeRolePolicyDocument": { "Version": "2012-10-17", "Statement": [trust] },
        "Policies": [{ "PolicyName": "inline", "PolicyDocument": { "Version": "2012-10-17", "Statement": statements } }],
    }})
}

fn environment(env: &EnvScope) -> Value {
    let trust = json!({ "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": { "AWS": format!("arn:aws:iam::{ACCOUNT}:root") } });
    let orgs = format!("arn:aws:iam::{ACCOUNT}:role/leadline-test-org-*");
    let may = json!([allow(&json!("sts:AssumeRole"), &json!(orgs)), allow(&json!("sqs:*"), &json!("*"))]);
    let buckets = json!({ "Effect": "Allow", "Principal": { "Service": "s3.amazonaws.com" }, "Action": "sqs:SendMessage",
        "Resource": { "Fn::GetAtt": ["Uploads", "Arn"] } });
    json!({ "Resources": {
        "Uploads": { "Type": "AWS::SQS::Queue", "Properties": { "QueueName": env.upload_queue() } },
        "UploadsPolicy": { "Type": "AWS::SQS::QueuePolicy", "Properties": { "Queues": [{ "Ref": "Uploads" }],
            "PolicyDocument": { "Version": "2012-10-17", "Statement": [buckets] } } },
        "Worker": role(&env.worker_role_name(), &trust, &may),
    }})
}

/// As `leadline org plan` makes it, as far as uploads go.
fn organization(env: &EnvScope, o: &OrgScope) -> Value {
    let trust = json!({ "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": { "AWS": env.worker_role_arn() },
        "Condition": { "StringEquals": { "sts:ExternalId": o.external_id() } } });
    let bucket = format!("arn:aws:s3:::{}", o.bucket());
    let objects = json!(["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]);
    let prefixes = json!([format!("{bucket}/recordings/*"), format!("{bucket}/staging/*")]);
    let may = json!([
        allow(&json!(["s3:ListBucket", "s3:ListBucketMultipartUploads"]), &json!(bucket)),
        allow(&objects, &prefixes),
        allow(&json!(["s3:DeleteObject", "s3:GetObjectVersion"]), &json!(format!("{bucket}/staging/*"))),
    ]);
    let queue = format!("arn:aws:sqs:us-east-1:{ACCOUNT}:{}", env.upload_queue());
    json!({ "Resources": {
        "Bucket": { "Type": "AWS::S3::Bucket", "Properties": {
            "BucketName": o.bucket(),
            "NotificationConfiguration": { "QueueConfigurations": [{
                "Event": "s3:ObjectCreated:*", "Queue": queue,
                "Filter": { "S3Key": { "Rules": [{ "Name": "prefix", "Value": "staging/" }] } },
            }] },
        } },
        "Role": role(&o.role_name(), &trust, &may),
    }})
}
