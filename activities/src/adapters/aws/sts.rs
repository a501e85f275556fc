//! Who asks: the worker's own credentials, and each organization's role. A raw client never leaves the adapters.

use super::errors::{RoleFault, Service, fault};
use super::requests::{Counting, RequestCounts};
use super::s3::S3OrgStore;
use crate::ports::content::Pieces;
use crate::ports::store::{OrgStore, OrgStores};
use crate::ports::uploads::LONGEST_VALID;
use async_trait::async_trait;
use aws_config::identity::IdentityCache;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_sts::operation::get_caller_identity::GetCallerIdentityOutput;
use aws_smithy_http_client::tls;
use aws_smithy_types::retry::RetryConfig;
use leadline_domain::place::Whereabouts;
use leadline_domain::transfer::{MOVING_SESSION, Storage};
use leadline_domain::{EnvScope, Fault, FaultCode, OrgScope};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How to reach AWS.
#[derive(Debug, Clone)]
pub struct AwsSettings {
    /// Another endpoint than AWS's own, e.g. `http://127.0.0.1:4566`.
    pub endpoint_url: Option<String>,
    /// Take the environment's worker role first.
    pub assume_worker_role: bool,
    /// The profile of the AWS configuration files to take credentials from. `None`: whatever AWS's own chain finds.
    pub profile: Option<String>,
}

/// Clients by role and name of the session.
type Opened = HashMap<(String, &'static str), Arc<OrgClients>>;

/// AWS for one environment. A clone is the same.
#[derive(Clone)]
pub struct Aws {
    base: SdkConfig,
    worker: SdkConfig,
    counts: Arc<RequestCounts>,
    organizations: Arc<Mutex<Opened>>,
}

const CONNECT: Duration = Duration::from_secs(3);
/// Until an answer begins, for requests that carry little.
const READ: Duration = Duration::from_secs(30);
/// The same for parts and server-side copies: an 8 MiB part over an uplink of 128 kbit/s takes nine minutes, and a
/// part that moves no bytes at all is ended much earlier by the SDK's stalled-stream protection (20 s).
const READ_BULK: Duration = Duration::from_secs(600);
/// Attempts of the SDK. More is the workflow's business, which waits durably.
const ATTEMPTS: u32 = 2;
/// Names sessions. Seen in CloudTrail; what tells organizations apart there is the role itself.
const SESSION_NAME: &str = "leadline-worker";
/// STS: role chaining allows sessions of an hour at most.
const SESSION: i32 = 3600;
/// A session is renewed when it has less than this left: more than what is presigned with it is good for, since that
/// dies with the session.
const RENEW: Duration = Duration::from_secs(LONGEST_VALID.as_secs() + 60);
/// While a session is still good, a renewal that failed is not repeated sooner.
const RENEW_AGAIN: Duration = Duration::from_secs(15);
/// A session younger than this is not thrown away because of a refusal: many requests see the same refusal at once.
/// (In tests nothing is young: they do not wait.)
const YOUNG: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_secs(5) };

/// Timeouts of requests that carry little.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .read_timeout(READ)
        .operation_attempt_timeout(CONNECT + READ)
        .build()
}

/// Timeouts of requests that move much. Two kinds only: the SDK keeps a connection pool for each set of timeouts.
pub(super) fn bulk_timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .read_timeout(READ_BULK)
        .operation_attempt_timeout(CONNECT + READ_BULK)
        .build()
}

impl Aws {
    /// Reads base credentials the way every AWS tool does (environment, profile, instance).
    pub async fn connect(scope: &EnvScope, settings: &AwsSettings) -> Self {
        Self::load(scope, settings, None).await
    }

    /// With a given access key instead: several environments at once on one local endpoint, where the key names the
    /// account.
    pub async fn connect_as(scope: &EnvScope, settings: &AwsSettings, key_id: &str, secret: &str) -> Self {
        let credentials = Credentials::new(key_id, secret, None, None, "leadline");
        Self::load(scope, settings, Some(SharedCredentialsProvider::new(credentials))).await
    }

    async fn load(scope: &EnvScope, settings: &AwsSettings, given: Option<SharedCredentialsProvider>) -> Self {
        // One pool of connections and one TLS configuration for all organizations: they differ in signatures only.
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
            .build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(scope.region().to_owned()))
            .http_client(http)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .stalled_stream_protection(StalledStreamProtectionConfig::enabled().build())
            .timeout_config(timeouts());
        if let Some(url) = &settings.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        if let Some(g) = given {
            loader = loader.credentials_provider(g);
        } else if let Some(name) = &settings.profile {
            loader = loader.credentials_provider(
                aws_config::profile::ProfileFileCredentialsProvider::builder().profile_name(name).build(),
            );
        }
        let base = loader.load().await;
        let counts: Arc<RequestCounts> = Arc::default();
        let worker = if settings.assume_worker_role {
            let role = Role::new(&base, &counts, scope.worker_role_arn(), None, SESSION_NAME);
            with_role(&base, &role)
        } else {
            base.clone()
        };
        Self { base, worker, counts, organizations: Arc::default() }
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

    /// As an organization. Makes no request.
    pub(super) fn organization(&self, scope: &OrgScope) -> Arc<OrgClients> {
        self.organization_as(scope, SESSION_NAME)
    }

    /// The same, in a session of this name.
    fn organization_as(&self, scope: &OrgScope, session: &'static str) -> Arc<OrgClients> {
        let mut known = self.organizations.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || {
            let role = Role::new(&self.worker, &self.counts, scope.role_arn(), Some(scope.external_id()), session);
            let region = Region::new(scope.region().to_owned());
            let config = with_role(&self.worker, &role).into_builder().region(region).build();
            Arc::new(OrgClients::new(&config, &self.counting(), role, scope.bucket()))
        };
        Arc::clone(known.entry((scope.role_arn(), session)).or_insert_with(made))
    }
}

/// One organization's clients. Bucket and credentials belong together and nothing takes another bucket: credentials
/// of A with a key of B have no spelling.
#[derive(Clone)]
pub(super) struct OrgClients {
    pub(super) bucket: String,
    pub(super) s3: aws_sdk_s3::Client,
    pub(super) secrets: aws_sdk_secretsmanager::Client,
    pub(super) role: Arc<Role>,
    pub(super) config: SdkConfig,
}

impl OrgClients {
    /// The same credentials, for another storage of the same organization.
    pub(super) fn of(&self, scope: &OrgScope, storage: Storage) -> Self {
        Self { bucket: scope.storage_bucket(storage), ..self.clone() }
    }

    fn new(config: &SdkConfig, counting: &Counting, role: Arc<Role>, bucket: String) -> Self {
        let s3 = aws_sdk_s3::config::Builder::from(config)
            // A local endpoint has no host name for each bucket.
            .force_path_style(config.endpoint_url().is_some())
            .interceptor(counting.clone())
            .build();
        let secrets = aws_sdk_secretsmanager::config::Builder::from(config).interceptor(counting.clone()).build();
        Self {
            bucket,
            s3: aws_sdk_s3::Client::from_conf(s3),
            secrets: aws_sdk_secretsmanager::Client::from_conf(secrets),
            role,
            config: config.clone(),
        }
    }
}

/// The same configuration, signing as a role. The role caches its session itself, so that a session can be thrown
/// away when a service says that it is not good any more; the SDK's cache has no such thing.
fn with_role(from: &SdkConfig, role: &Arc<Role>) -> SdkConfig {
    from.to_builder()
        .credentials_provider(SharedCredentialsProvider::new(AsRole(Arc::clone(role))))
        .identity_cache(IdentityCache::no_cache())
        .build()
}

/// A role and the session that was taken of it.
pub(super) struct Role {
    sts: aws_sdk_sts::Client,
    arn: String,
    external_id: Option<String>,
    name: &'static str,
    // Held while a session is taken: everybody else waits for that one.
    session: tokio::sync::Mutex<Option<Session>>,
}

struct Session {
    credentials: Credentials,
    taken: Instant,
    renew_tried: Option<Instant>,
}

impl Session {
    fn left(&self) -> Duration {
        let end = self.credentials.expiry().unwrap_or(SystemTime::UNIX_EPOCH);
        end.duration_since(SystemTime::now()).unwrap_or_default()
    }
}

impl Role {
    fn new(
        from: &SdkConfig,
        counts: &Arc<RequestCounts>,
        arn: String,
        external_id: Option<String>,
        name: &'static str,
    ) -> Arc<Self> {
        let config = aws_sdk_sts::config::Builder::from(from).interceptor(Counting(Arc::clone(counts))).build();
        let sts = aws_sdk_sts::Client::from_conf(config);
        Arc::new(Self { sts, arn, external_id, name, session: tokio::sync::Mutex::default() })
    }

    /// The session, taken or renewed when needed.
    pub(super) async fn credentials(&self) -> Result<Credentials, Fault> {
        let mut session = self.session.lock().await;
        if let Some(s) = session.as_ref() {
            let rests = s.renew_tried.is_some_and(|t| t.elapsed() < RENEW_AGAIN);
            if s.left() > RENEW || (rests && !s.left().is_zero()) {
                return Ok(s.credentials.clone());
            }
        }
        match self.assume().await {
            Ok(credentials) => {
                *session = Some(Session { credentials: credentials.clone(), taken: Instant::now(), renew_tried: None });
                Ok(credentials)
            }
            Err(f) => match session.as_mut() {
                // There is time left to try again: what works goes on working.
                Some(s) if !s.left().is_zero() => {
                    tracing::warn!(fault = %f, "a session was not renewed, using the present one");
                    s.renew_tried = Some(Instant::now());
                    Ok(s.credentials.clone())
                }
                _ => Err(f),
            },
        }
    }

    /// Throws the session away, because a service refused it.
    pub(super) async fn forget(&self) {
        let mut session = self.session.lock().await;
        if session.as_ref().is_some_and(|s| s.taken.elapsed() > YOUNG) {
            *session = None;
        }
    }

    async fn assume(&self) -> Result<Credentials, Fault> {
        let r = self
            .sts
            .assume_role()
            .role_arn(&self.arn)
            .role_session_name(self.name)
            .duration_seconds(SESSION)
            .set_external_id(self.external_id.clone())
            .send()
            .await
            .map_err(|e| fault(Service::Credentials, "AssumeRole", &e))?;
        let c = r
            .credentials()
            .ok_or_else(|| Fault::new(FaultCode::CredentialUnreachable, "AssumeRole: no credentials in the answer"))?;
        let end = SystemTime::try_from(*c.expiration())
            .map_err(|_| Fault::new(FaultCode::CredentialUnreachable, "AssumeRole: no usable expiration"))?;
        let token = Some(c.session_token().to_owned());
        Ok(Credentials::new(c.access_key_id(), c.secret_access_key(), token, Some(end), "AssumeRole"))
    }
}

struct AsRole(Arc<Role>);

impl fmt::Debug for AsRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsRole({})", self.0.arn)
    }
}

impl ProvideCredentials for AsRole {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.0.credentials().await.map_err(|f| CredentialsError::provider_error(RoleFault(f)))
        })
    }
}

/// Opens organizations' stores, each with a client of its own.
pub struct AwsOrgStores {
    aws: Aws,
    pieces: Pieces,
}

impl AwsOrgStores {
    /// Nothing is opened yet.
    #[must_use]
    pub fn new(aws: Aws) -> Self {
        Self { aws, pieces: Pieces::default() }
    }

    /// Copying in these pieces what the stores copy themselves.
    #[must_use]
    pub fn copying(self, pieces: Pieces) -> Self {
        Self { pieces, ..self }
    }
}

impl AwsOrgStores {
    pub(super) async fn opened(&self, scope: &OrgScope) -> Result<S3OrgStore, Fault> {
        self.opened_as(scope, SESSION_NAME).await
    }

    /// In the session that storages which let go of recordings ask for.
    pub(super) async fn opened_to_move(&self, scope: &OrgScope) -> Result<S3OrgStore, Fault> {
        self.opened_as(scope, MOVING_SESSION).await
    }

    async fn opened_as(&self, scope: &OrgScope, session: &'static str) -> Result<S3OrgStore, Fault> {
        let org = self.aws.organization_as(scope, session);
        // Here rather than in the first request: a role that cannot be taken is reported as itself.
        org.role.credentials().await?;
        Ok(S3OrgStore::new(org, self.pieces))
    }
}

#[async_trait]
impl OrgStores for AwsOrgStores {
    async fn open(&self, scope: &OrgScope) -> Result<Arc<dyn OrgStore>, Fault> {
        Ok(Arc::new(self.opened(scope).await?))
    }
}

/// Who the worker is, as AWS says it: for `doctor`.
///
/// # Errors
/// `credential.*`.
pub async fn who_am_i(aws: &Aws) -> Result<String, Fault> {
    Ok(caller(&aws.worker).await?.arn.unwrap_or_default())
}

/// Where the clients of this object are, as AWS says it of their credentials. `as_worker`: also where the worker role is.
///
/// # Errors
/// `credential.*`; a worker role that cannot be taken is none, and says itself so where it is needed.
pub async fn whereabouts(aws: &Aws, as_worker: bool) -> Result<Whereabouts, Fault> {
    let unsaid = || Fault::new(FaultCode::CredentialUnreachable, "GetCallerIdentity: no account in the answer");
    let account = caller(&aws.base).await?.account.ok_or_else(unsaid)?;
    let worker_account = match as_worker {
        false => None,
        true => match caller(&aws.worker).await {
            Ok(c) => c.account,
            Err(f) if f.code == FaultCode::CredentialRefused => None,
            Err(f) => return Err(f),
        },
    };
    let region = aws.worker.region().map(ToString::to_string).unwrap_or_default();
    Ok(Whereabouts { account, worker_account, region, endpoint_url: aws.worker.endpoint_url().map(str::to_owned) })
}

async fn caller(config: &SdkConfig) -> Result<GetCallerIdentityOutput, Fault> {
    let sent = aws_sdk_sts::Client::new(config).get_caller_identity().send().await;
    sent.map_err(|e| fault(Service::Credentials, "GetCallerIdentity", &e))
}
