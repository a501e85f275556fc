//! Who asks: the worker's own credentials, and each organization's role. A raw client never leaves the adapters.

use super::errors::Service;
use super::requests::{Counting, RequestCounts};
use super::s3::S3OrgStore;
use crate::ports::store::{OrgStore, OrgStores};
use async_trait::async_trait;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::SharedCredentialsProvider;
use aws_smithy_types::retry::RetryConfig;
use leadline_domain::{EnvScope, Fault, OrgScope};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// How to reach AWS.
#[derive(Debug, Clone)]
pub struct AwsSettings {
    /// Another endpoint than AWS's own, e.g. `http://127.0.0.1:4566`.
    pub endpoint_url: Option<String>,
    /// Take the environment's worker role first.
    pub assume_worker_role: bool,
}

/// AWS for one environment.
#[derive(Clone)]
pub struct Aws {
    base: SdkConfig,
    worker: SdkConfig,
    counts: Arc<RequestCounts>,
}

const CONNECT: Duration = Duration::from_secs(3);
/// One attempt at an operation, an 8 MiB part over a slow uplink included.
const ATTEMPT: Duration = Duration::from_secs(60);
/// Attempts of the SDK. More is the workflow's business, which waits durably.
const ATTEMPTS: u32 = 2;
/// Assumed roles: the longest session that role chaining allows is an hour.
const SESSION: Duration = Duration::from_secs(3600);

impl Aws {
    /// Reads base credentials the way every AWS tool does (environment, profile, instance).
    pub async fn connect(scope: &EnvScope, settings: &AwsSettings) -> Self {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(scope.region().to_owned()))
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(
                TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(ATTEMPT).build(),
            );
        if let Some(url) = &settings.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let base = loader.load().await;
        let worker = if settings.assume_worker_role {
            assumed(&base, &scope.worker_role_arn(), "leadline-worker", None).await
        } else {
            base.clone()
        };
        Self { base, worker, counts: Arc::default() }
    }

    /// Requests sent through this object.
    #[must_use]
    pub fn counts(&self) -> Arc<RequestCounts> {
        Arc::clone(&self.counts)
    }

    /// As the worker.
    pub(super) fn worker(&self) -> &SdkConfig {
        &self.worker
    }

    /// As whoever started this process: provisioning.
    pub(super) fn provisioner(&self) -> &SdkConfig {
        &self.base
    }

    pub(super) fn counting(&self) -> Counting {
        Counting(Arc::clone(&self.counts))
    }

    /// As an organization.
    pub(super) async fn organization(&self, scope: &OrgScope) -> SdkConfig {
        assumed(&self.worker, &scope.role_arn(), "leadline-worker", Some(&scope.external_id())).await
    }
}

/// The same configuration with the credentials of a role; cached and renewed before they expire.
async fn assumed(from: &SdkConfig, arn: &str, session: &str, external_id: Option<&str>) -> SdkConfig {
    let mut provider = AssumeRoleProvider::builder(arn).session_name(session).session_length(SESSION).configure(from);
    if let Some(id) = external_id {
        provider = provider.external_id(id);
    }
    let provider = match from.credentials_provider() {
        Some(p) => provider.build_from_provider(p).await,
        None => provider.build().await,
    };
    from.to_builder()
        .credentials_provider(SharedCredentialsProvider::new(provider))
        .identity_cache(aws_config::identity::IdentityCache::lazy().build())
        .build()
}

/// Opens organizations' stores, each with a client of its own.
pub struct AwsOrgStores {
    aws: Aws,
    open: Mutex<HashMap<String, Arc<S3OrgStore>>>,
}

impl AwsOrgStores {
    /// Nothing is opened yet.
    #[must_use]
    pub fn new(aws: Aws) -> Self {
        Self { aws, open: Mutex::default() }
    }
}

#[async_trait]
impl OrgStores for AwsOrgStores {
    async fn open(&self, scope: &OrgScope) -> Result<Arc<dyn OrgStore>, Fault> {
        let mut open = self.open.lock().await;
        if let Some(s) = open.get(&scope.bucket()) {
            return Ok(Arc::clone(s) as Arc<dyn OrgStore>);
        }
        let config = self.aws.organization(scope).await;
        let store = Arc::new(S3OrgStore::new(&config, &self.aws.counting(), scope.bucket()));
        open.insert(scope.bucket(), Arc::clone(&store));
        Ok(store)
    }
}

/// Whether credentials work at all: for `doctor`.
///
/// # Errors
/// `credential.*`.
pub async fn who_am_i(aws: &Aws) -> Result<String, Fault> {
    let client = aws_sdk_sts::Client::new(aws.worker());
    let me = client
        .get_caller_identity()
        .send()
        .await
        .map_err(|e| super::errors::fault(Service::Credentials, "GetCallerIdentity", &e))?;
    Ok(me.arn().unwrap_or_default().to_owned())
}
