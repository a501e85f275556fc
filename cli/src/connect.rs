//! From the environments folder to the parts that a command works with.

use crate::Global;
use crate::exit::Failure;
use leadline_activities::adapters::aws::{
    Aws, AwsOrgStores, AwsSecrets, AwsSettings, CfnStacks, RequestCounts, SqsQueue,
};
use leadline_activities::adapters::shares::ConfiguredShares;
use leadline_activities::codec::{PayloadKeys, data_converter, parse_keys, random_keys};
use leadline_activities::content_cache::ContentCache;
use leadline_activities::deps::Deps;
use leadline_activities::registry::{OrgConfig, Registry, ShareConfig, Snapshot};
use leadline_domain::{EnvId, Fault, FaultCode, SharePath};
use leadline_provisioning::check::{Finding, Severity};
use leadline_provisioning::config::{Config, Environment, Organization, PromotionRule, Share};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use temporalio_client::{Client, ClientOptions, Connection, ConnectionOptions, TlsOptions};
use temporalio_common::data_converters::DataConverter;

/// Small contents kept between look and store.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// One environment, as configured.
pub(crate) struct Site {
    dir: PathBuf,
    env: EnvId,
    config: Config,
    profile: Option<String>,
}

/// Reads the folder; findings that are errors fail.
pub(crate) fn load(dir: &Path) -> Result<Config, Failure> {
    let (config, findings) = leadline_provisioning::load(dir);
    match config {
        Some(c) => Ok(c),
        None => Err(Failure::new(format!("the files in {} are not valid:\n{}", dir.display(), errors(&findings)))),
    }
}

fn errors(findings: &[Finding]) -> String {
    let lines: Vec<String> =
        findings.iter().filter(|f| f.severity == Severity::Error).map(|f| format!("  {f}")).collect();
    lines.join("\n")
}

impl Site {
    pub(crate) fn load(g: &Global, env: &EnvId) -> Result<Self, Failure> {
        let config = load(&g.environments)?;
        if config.environment(env).is_none() {
            let known: Vec<&str> = config.environments().keys().map(EnvId::as_str).collect();
            return Err(Failure::new(format!("there is no environment {env}; there are: {}", known.join(", "))));
        }
        Ok(Self { dir: g.environments.clone(), env: env.clone(), config, profile: None })
    }

    /// With the credentials of a profile of the AWS configuration files, if one is named.
    pub(crate) fn with_profile(self, profile: Option<String>) -> Self {
        Self { profile, ..self }
    }

    pub(crate) fn environment(&self) -> &Environment {
        // Checked in `load`.
        &self.config.environments()[&self.env]
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// AWS as the environment says.
    pub(crate) async fn aws(&self) -> Aws {
        let e = self.environment();
        let settings = AwsSettings {
            endpoint_url: e.aws.endpoint_url.clone(),
            assume_worker_role: e.aws.assume_worker_role,
            profile: self.profile.clone(),
        };
        Aws::connect(&e.scope(), &settings).await
    }

    /// All parts, opened lazily: this makes no request.
    pub(crate) async fn deps(&self) -> Result<(Arc<Deps>, Arc<RequestCounts>), Failure> {
        let aws = self.aws().await;
        let scope = self.environment().scope();
        let registry = Arc::new(Registry::reloading(reloader(self.dir.clone(), self.env.clone()))?);
        let secrets = Arc::new(AwsSecrets::new(aws.clone()));
        let deps = Deps {
            shares: Arc::new(ConfiguredShares::new(Arc::clone(&registry), secrets.clone())),
            registry,
            stores: Arc::new(AwsOrgStores::new(aws.clone())),
            ingest_queue: Arc::new(SqsQueue::new(&aws, scope.ingest_queue())),
            audit_queue: Arc::new(SqsQueue::new(&aws, scope.audit_queue())),
            stacks: Arc::new(CfnStacks::new(&aws)),
            secrets,
            cache: ContentCache::new(CACHE_BYTES),
        };
        Ok((Arc::new(deps), aws.counts()))
    }

    /// How payloads are encrypted here; whoever asks first makes the keys.
    pub(crate) async fn converter(&self) -> Result<DataConverter, Failure> {
        let e = self.environment();
        let name = e.temporal.payload_keys_secret.clone().unwrap_or_else(|| format!("leadline/{}/payload-keys", e.id));
        let text = AwsSecrets::new(self.aws().await).environment_secret(&name, random_keys).await?;
        let keys: PayloadKeys =
            parse_keys(&text).ok_or_else(|| Failure::new(format!("secret {name} does not hold payload keys")))?;
        Ok(data_converter(Arc::new(keys)))
    }

    /// A Temporal client that encrypts with the environment's payload keys.
    pub(crate) async fn temporal(&self) -> Result<Client, Failure> {
        let e = self.environment();
        let converter = self.converter().await?;
        let api_key = match &e.temporal.api_key_secret {
            Some(name) => Some(AwsSecrets::new(self.aws().await).environment_secret(name, String::new).await?),
            None => None,
        };
        let scheme = if e.temporal.tls.is_some() || api_key.is_some() { "https" } else { "http" };
        let target: temporalio_client::Url = format!("{scheme}://{}", e.temporal.address)
            .parse()
            .map_err(|_| Failure::new("temporal.address is not a host and port"))?;
        let tls = match &e.temporal.tls {
            None => None,
            Some(t) => {
                let ca = t.ca_file.as_ref().map(std::fs::read).transpose();
                let ca = ca.map_err(|e| Failure::new(format!("temporal.tls.ca_file cannot be read: {e}")))?;
                let mut o = TlsOptions::default();
                o.server_root_ca_cert = ca;
                o.domain = t.server_name.clone();
                Some(o)
            }
        };
        let options = ConnectionOptions::new(target)
            .identity(format!("leadline@{}", std::process::id()))
            .connect_timeout(std::time::Duration::from_secs(10))
            .maybe_tls_options(tls)
            .maybe_api_key(api_key)
            .build();
        let connection = Connection::connect(options).await.map_err(|_| {
            let f =
                Fault::new(FaultCode::EngineUnreachable, format!("temporal at {} does not answer", e.temporal.address));
            Failure::from(f)
        })?;
        let options = ClientOptions::new(e.temporal.namespace.clone()).data_converter(converter).build();
        Client::new(connection, options).map_err(|e| Failure::new(format!("temporal client: {e}")))
    }
}

/// Reads the folder again whenever a file in it has changed.
fn reloader(dir: PathBuf, env: EnvId) -> leadline_activities::registry::Reload {
    let seen: Mutex<Option<Vec<(PathBuf, SystemTime)>>> = Mutex::new(None);
    Box::new(move || {
        let now = stamp(&dir);
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.as_ref() == Some(&now) {
            return Ok(None);
        }
        *seen = Some(now);
        let (config, findings) = leadline_provisioning::load(&dir);
        let config = config.ok_or_else(|| Fault::new(FaultCode::ConfigInvalid, errors(&findings)))?;
        snapshot(&config, &env).map(Some)
    })
}

fn stamp(dir: &Path) -> Vec<(PathBuf, SystemTime)> {
    let list = |d: &Path| std::fs::read_dir(d).into_iter().flatten().flatten().map(|e| e.path()).collect::<Vec<_>>();
    let mut out: Vec<_> = [list(dir), list(&dir.join("orgs"))]
        .concat()
        .into_iter()
        .filter(|p| p.extension().is_some_and(|e| e == "toml"))
        .filter_map(|p| Some((p.clone(), p.metadata().ok()?.modified().ok()?)))
        .collect();
    out.sort();
    out
}

/// What a worker of `env` works with.
fn snapshot(config: &Config, env: &EnvId) -> Result<Snapshot, Fault> {
    let environment = config
        .environment(env)
        .ok_or_else(|| Fault::new(FaultCode::ConfigInvalid, format!("there is no environment {env} any more")))?;
    let mut orgs = std::collections::BTreeMap::new();
    for o in config.organizations(env) {
        let shares = o.watched().map(|(id, s)| (id.clone(), share_config(o, s))).collect();
        orgs.insert(o.id.clone(), OrgConfig { scope: o.scope(environment)?, shares });
    }
    Ok(Snapshot {
        facts: environment.facts(),
        gates: config.promotion().to.get(env).map(PromotionRule::gates),
        retention_days: environment.offboarding.retention_days,
        orgs,
    })
}

/// A share as the worker sees it.
pub(crate) fn share_config(o: &Organization, s: &Share) -> ShareConfig {
    ShareConfig {
        address: format!("{}:{}", s.host, s.port),
        share: s.share.clone(),
        folder: SharePath::new(s.path.clone()),
        group: s.group.clone(),
        settle: s.settle.clone(),
        archive: s.archive.clone(),
        reconcile_ms: u64::from(s.reconcile_s) * 1000,
        only: s.only.clone(),
        ignore: s.ignore.clone(),
        small_bytes: o.limits.small_file_bytes,
        max_bytes: o.limits.max_file_bytes,
        require_encryption: s.encryption_required,
    }
}
