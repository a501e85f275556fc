//! From the environments folder to the parts that a command works with.

mod place;

use crate::Global;
use crate::exit::Failure;
use async_trait::async_trait;
use leadline_activities::adapters::aws::{
    Aws, AwsIsolation, AwsOrgStores, AwsSecrets, AwsSettings, AwsSettingsReader, CfnStacks, SnsAlarms, SqsQueue,
};
use leadline_activities::adapters::shares::ConfiguredShares;
use leadline_activities::alarms::Alarming;
use leadline_activities::codec::{EncryptingCodec, KeySource, PayloadKeys, converter, parse_keys, random_keys};
use leadline_activities::content_cache::ContentCache;
use leadline_activities::deps::Deps;
use leadline_activities::outcomes::Outcomes;
use leadline_activities::ports::checks::{Planned, Plans};
use leadline_activities::ports::content::Pieces;
use leadline_activities::ports::signing::Signing;
use leadline_activities::registry::{OrgConfig, Registry, ShareConfig, Snapshot};
use leadline_activities::schedules::Registered;
use leadline_domain::outcome::OutcomeRule;
use leadline_domain::{EnvId, Fault, FaultCode, OrgId, SharePath};
use leadline_gateway::senders::AsSystems;
use leadline_provisioning::check::{Finding, Severity};
use leadline_provisioning::config::{
    Config, Environment, Organization, PromotionRule, Share, TemporalTls, ehr_key_name,
};
use leadline_provisioning::{Plan, Refusal, plan_backup, plan_env, plan_opening, plan_org};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use temporalio_client::{Client, ClientOptions, ClientTlsOptions, Connection, ConnectionOptions, TlsOptions};
use tokio::sync::OnceCell;

/// One environment, as configured.
pub(crate) struct Site {
    dir: PathBuf,
    env: EnvId,
    config: Config,
    profile: Option<String>,
    /// Set once AWS has said that this is the environment's place.
    here: OnceCell<()>,
}

/// Reads the folder; findings that are errors fail.
pub(crate) fn load(dir: &Path) -> Result<Config, Failure> {
    let (config, findings) = leadline_provisioning::load(dir);
    match config {
        Some(c) => Ok(c),
        None => {
            let detail = format!("the files in {} are not valid:\n{}", dir.display(), errors(&findings));
            Err(Fault::new(FaultCode::ConfigInvalid, detail).into())
        }
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
            return Err(Failure::command(format!("there is no environment {env}; there are: {}", known.join(", "))));
        }
        Ok(Self { dir: g.environments.clone(), env: env.clone(), config, profile: None, here: OnceCell::new() })
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

    /// All parts, opened lazily: nothing but the place is asked for.
    pub(crate) async fn deps(&self) -> Result<Arc<Deps>, Failure> {
        self.deps_on(&self.aws_here().await?)
    }

    /// The same on an AWS that others use too: one pool of connections, one session of each role, one count of requests.
    /// This makes no request.
    pub(crate) fn deps_on(&self, aws: &Aws) -> Result<Arc<Deps>, Failure> {
        let scope = self.environment().scope();
        let (mut stacks, mut settings) = (CfnStacks::new(aws), AwsSettingsReader::new(aws));
        if let Some(b) = &self.environment().backup {
            stacks = stacks.with_stack_in(aws, scope.backup_stack(), &b.region);
            settings = settings.with_stack_in(aws, scope.backup_stack(), &b.region);
        }
        let registry = Arc::new(Registry::reloading(reloader(self.dir.clone(), self.env.clone()))?);
        let secrets = Arc::new(AwsSecrets::new(aws.clone()));
        let pieces = Pieces::up_to(u64::from(self.environment().worker.copy_at_once_mib) << 20);
        let stores = Arc::new(AwsOrgStores::new(aws.clone()).copying(pieces));
        let audit_queue = Arc::new(SqsQueue::new(aws, scope.audit_queue()));
        let outcomes = Outcomes {
            registry: Arc::clone(&registry),
            stores: stores.clone(),
            queue: Arc::new(SqsQueue::new(aws, scope.outcome_queue())),
            audit: audit_queue.clone(),
        };
        let deps = Deps {
            shares: Arc::new(ConfiguredShares::new(Arc::clone(&registry), secrets.clone())),
            alarms: Alarming::new(Arc::clone(&registry), Arc::new(SnsAlarms::new(aws, &scope))),
            registry,
            storages: stores.clone(),
            stores,
            outcomes,
            ingest_queue: Arc::new(SqsQueue::new(aws, scope.ingest_queue())),
            audit_queue,
            stacks: Arc::new(stacks),
            isolation: Arc::new(AwsIsolation::new(aws.clone())),
            settings: Arc::new(settings),
            removal: Arc::new(AwsSettingsReader::new(aws)),
            registrations: Arc::new(Registered),
            signing: Arc::new(self.evidence_key(aws)),
            senders: Arc::new(AsSystems::new(secrets.clone())),
            plans: Arc::new(FolderPlans::new(self.dir.clone(), self.env.clone())),
            secrets,
            cache: ContentCache::new((self.environment().worker.buffer_mib as usize) << 20),
        };
        Ok(Arc::new(deps))
    }

    /// A secret of the environment; `make` gives its first value.
    pub(crate) async fn environment_secret(&self, name: &str, make: impl Fn() -> String) -> Result<String, Failure> {
        Ok(AwsSecrets::new(self.aws_here().await?).environment_secret(name, make).await?)
    }

    /// The environment's key for evidence; whoever asks first makes it.
    pub(crate) fn evidence_key(&self, aws: &Aws) -> EvidenceKey {
        let name = format!("leadline/{}/evidence-key", self.env);
        EvidenceKey { secrets: AwsSecrets::new(aws.clone()), name }
    }

    /// Name of the secret with the environment's payload keys.
    pub(crate) fn payload_keys_secret(&self) -> String {
        let e = self.environment();
        e.temporal.payload_keys_secret.clone().unwrap_or_else(|| format!("leadline/{}/payload-keys", e.id))
    }

    async fn payload_keys_source(&self) -> Result<PayloadKeysSecret, Failure> {
        Ok(PayloadKeysSecret { secrets: AwsSecrets::new(self.aws_here().await?), name: self.payload_keys_secret() })
    }

    /// The environment's payload keys; whoever asks first makes them.
    pub(crate) async fn payload_keys(&self) -> Result<PayloadKeys, Failure> {
        Ok(self.payload_keys_source().await?.keys().await?)
    }

    /// How payloads are encrypted here. Keys that are added later are read when they are met.
    pub(crate) async fn codec(&self) -> Result<EncryptingCodec, Failure> {
        let source = self.payload_keys_source().await?;
        Ok(EncryptingCodec::reloading(source.keys().await?, Arc::new(source)))
    }

    /// A Temporal client that encrypts with the environment's payload keys, in a namespace that is not another one's.
    pub(crate) async fn temporal(&self) -> Result<Client, Failure> {
        Ok(self.temporal_and_mark().await?.0)
    }

    /// The same, and whether the namespace is marked as the environment's.
    pub(crate) async fn temporal_and_mark(&self) -> Result<(Client, bool), Failure> {
        let e = self.environment();
        let converter = converter(self.codec().await?);
        let api_key = match &e.temporal.api_key_secret {
            Some(name) => Some(AwsSecrets::new(self.aws().await).given_secret(name).await?.trim().to_owned()),
            None => None,
        };
        let scheme = if e.temporal.tls.is_some() || api_key.is_some() { "https" } else { "http" };
        let target: temporalio_client::Url = format!("{scheme}://{}", e.temporal.address)
            .parse()
            .map_err(|_| Fault::new(FaultCode::ConfigInvalid, "temporal.address is not a host and port"))?;
        let tls = match &e.temporal.tls {
            None => None,
            Some(t) => Some(self.tls(t).await?),
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
        let client = Client::new(connection, options)
            .map_err(|e| Fault::new(FaultCode::EngineRefused, format!("temporal client: {e}")))?;
        let marked = self.marked(&client).await?;
        Ok((client, marked))
    }

    async fn tls(&self, t: &TemporalTls) -> Result<TlsOptions, Failure> {
        let ca = t.ca_file.as_ref().map(std::fs::read).transpose();
        let mut o = TlsOptions::default();
        o.server_root_ca_cert =
            ca.map_err(|e| Failure::machine(format!("temporal.tls.ca_file cannot be read: {e}")))?;
        o.domain.clone_from(&t.server_name);
        if let Some(name) = &t.client_certificate_secret {
            let text = AwsSecrets::new(self.aws().await).given_secret(name).await?;
            let parts = certificate_and_key(&text);
            let wrong = || {
                Fault::new(
                    FaultCode::SecretMissing,
                    format!("secret {name} does not hold a certificate and its key, as PEM"),
                )
            };
            o.client_tls_options = Some(parts.ok_or_else(wrong)?);
        }
        Ok(o)
    }
}

/// A client certificate with those that lead to its root, and its key.
fn certificate_and_key(pem: &str) -> Option<ClientTlsOptions> {
    let (mut certificates, mut key, mut kind) = (String::new(), String::new(), "");
    for line in pem.lines().map(str::trim) {
        if let Some(k) = line.strip_prefix("-----BEGIN ").and_then(|l| l.strip_suffix("-----")) {
            kind = k;
        }
        let part = match kind {
            "CERTIFICATE" => &mut certificates,
            k if k.ends_with("PRIVATE KEY") => &mut key,
            _ => continue,
        };
        part.push_str(line);
        part.push('\n');
        if line.starts_with("-----END ") {
            kind = "";
        }
    }
    let both = !certificates.is_empty() && !key.is_empty();
    both.then(|| ClientTlsOptions::builder().client_cert(certificates.into()).client_private_key(key.into()).build())
}

/// What the folder said, and when.
type Read = (Stamp, Result<Arc<Config>, Fault>);

/// Plans from the folder as it is when they are asked for; it is read again only if a file in it has changed.
struct FolderPlans {
    dir: PathBuf,
    env: EnvId,
    read: Mutex<Option<Read>>,
}

impl FolderPlans {
    fn new(dir: PathBuf, env: EnvId) -> Self {
        Self { dir, env, read: Mutex::default() }
    }

    /// What the folder says. Unlike what is served by it, a plan is not made from what was valid before.
    fn config(&self) -> Result<Arc<Config>, Fault> {
        let now = stamp(&self.dir);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, config)) = read.as_ref()
            && *of == now
        {
            return config.clone();
        }
        let (config, findings) = leadline_provisioning::load(&self.dir);
        let config = config.map(Arc::new).ok_or_else(|| Fault::new(FaultCode::ConfigInvalid, errors(&findings)));
        *read = Some((now, config.clone()));
        config
    }

    fn environment<T>(&self, of: impl FnOnce(&Config, &Environment) -> Result<T, Fault>) -> Result<T, Fault> {
        let config = self.config()?;
        let gone = || Fault::new(FaultCode::ConfigInvalid, format!("there is no environment {} any more", self.env));
        of(&config, config.environment(&self.env).ok_or_else(gone)?)
    }

    /// Without an organization: of the environment itself.
    fn plan(
        &self,
        org: Option<&OrgId>,
        of_org: impl FnOnce(&Config, &Environment, &Organization) -> Result<Plan, Refusal>,
    ) -> Result<Plan, Fault> {
        self.environment(|config, env| {
            let plan = match org {
                None => plan_env(config, env, None, &[]),
                Some(id) => {
                    let o = config.organization(&self.env, id).ok_or_else(|| {
                        Fault::new(FaultCode::ConfigUnknownOrg, format!("organization {id} is not configured here"))
                    })?;
                    of_org(config, env, o)
                }
            };
            plan.map_err(no_plan)
        })
    }
}

fn no_plan(r: Refusal) -> Fault {
    match r {
        Refusal::Residency(f) => f,
        r => Fault::new(FaultCode::ConfigInvalid, format!("there is no plan: {r}")),
    }
}

/// The key for evidence, in a secret of the environment.
pub(crate) struct EvidenceKey {
    secrets: AwsSecrets,
    name: String,
}

#[async_trait]
impl Signing for EvidenceKey {
    async fn key(&self) -> Result<String, Fault> {
        self.secrets.environment_secret(&self.name, leadline_activities::evidence::new_key).await
    }
}

/// The environment's payload keys, in a secret of it.
struct PayloadKeysSecret {
    secrets: AwsSecrets,
    name: String,
}

#[async_trait]
impl KeySource for PayloadKeysSecret {
    async fn keys(&self) -> Result<PayloadKeys, Fault> {
        let text = self.secrets.environment_secret(&self.name, random_keys).await?;
        let none = || Fault::new(FaultCode::SecretMissing, format!("secret {} does not hold payload keys", self.name));
        parse_keys(&text).ok_or_else(none)
    }
}

impl Plans for FolderPlans {
    fn inputs(&self, env: &EnvId, org: &OrgId) -> Result<String, Fault> {
        let config = self.config()?;
        let found = config.environment(env).and_then(|e| Some((e, config.organization(env, org)?)));
        let (e, o) = found.ok_or_else(|| {
            Fault::new(FaultCode::ConfigUnknownOrg, format!("organization {org} is not configured in {env}"))
        })?;
        leadline_provisioning::inputs(&config, e, o).map_err(|r| match r {
            Refusal::Residency(f) => f,
            r => Fault::new(FaultCode::ConfigInvalid, r.to_string()),
        })
    }

    fn opening(&self, org: &OrgId, certificate: &str) -> Result<Plan, Fault> {
        self.plan(Some(org), |config, env, o| plan_opening(config, env, o, certificate))
    }

    fn planned(&self, org: Option<&OrgId>) -> Result<Planned, Fault> {
        let plan = self.plan(org, |config, env, o| plan_org(config, env, o, None, &[]))?;
        Ok(Planned::from(&plan))
    }

    fn copies(&self) -> Result<Option<Planned>, Fault> {
        let plan = self.environment(|config, env| plan_backup(config, env, None, &[]).transpose().map_err(no_plan))?;
        Ok(plan.as_ref().map(Planned::from))
    }
}

/// The folder as it is now, for what serves for long. One that became invalid leaves what was valid before.
pub(crate) struct ConfigNow {
    dir: PathBuf,
    env: EnvId,
    read: Mutex<(Stamp, Arc<Config>)>,
}

impl ConfigNow {
    pub(crate) fn new(dir: PathBuf, env: EnvId, config: Config) -> Self {
        Self { read: Mutex::new((stamp(&dir), Arc::new(config))), dir, env }
    }

    /// The configuration, and the environment that is served.
    pub(crate) fn get(&self) -> (Arc<Config>, EnvId) {
        let now = stamp(&self.dir);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.0 != now {
            read.0 = now;
            match leadline_provisioning::load(&self.dir) {
                (Some(config), _) => read.1 = Arc::new(config),
                (None, findings) => tracing::error!(findings = findings.len(), "configuration not reloaded"),
            }
        }
        (Arc::clone(&read.1), self.env.clone())
    }
}

/// Reads the folder again whenever a file in it has changed.
fn reloader(dir: PathBuf, env: EnvId) -> leadline_activities::registry::Reload {
    let seen: Mutex<Option<Stamp>> = Mutex::new(None);
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

/// The files of a folder and when each was written.
type Stamp = Vec<(PathBuf, SystemTime)>;

fn stamp(dir: &Path) -> Stamp {
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
        orgs.insert(
            o.id.clone(),
            OrgConfig {
                scope: o.scope(environment)?,
                shares,
                limits: (o.limits.small_file_bytes, o.limits.max_file_bytes),
                formats: o.formats.clone(),
                secrets: o.shares.keys().cloned().chain(ehr_key_name().filter(|n| o.has_secret(n))).collect(),
                storages: o.storage.names(),
                link_encodings: o.links_encodings(),
                endpoints: leadline_provisioning::ingress_endpoints(environment, o),
            },
        );
    }
    Ok(Snapshot {
        facts: environment.facts(),
        gates: config.promotion().to.get(env).map(PromotionRule::gates),
        retention_days: environment.offboarding.retention_days,
        outcomes: environment.outcomes.as_ref().map(|o| OutcomeRule {
            within_ms: i64::from(o.within_h) * 3_600_000,
            look_back_ms: i64::from(o.look_back_days) * 86_400_000,
        }),
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
        sets: s.set_rules(),
        small_bytes: o.limits.small_file_bytes,
        max_bytes: o.limits.max_file_bytes,
        formats: o.formats.clone(),
        require_encryption: s.encryption_required,
    }
}

#[cfg(test)]
mod tests {
    use super::certificate_and_key;

    #[test]
    fn a_secret_holds_a_certificate_and_its_key_in_any_order() {
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let between = "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n";
        // Put together here: a scanner of the repository looks for private keys.
        let key = ["-----BEGIN ", "PRIVATE KEY-----\nCCCC\n-----END ", "PRIVATE KEY-----\n"].concat();
        for text in [format!("{certificate}{between}{key}"), format!("remark\n{key}\n{certificate}\r\n{between}")] {
            let parts = certificate_and_key(&text).expect("both are there");
            assert_eq!(parts.client_cert, format!("{certificate}{between}").into_bytes());
            assert_eq!(parts.client_private_key, key.clone().into_bytes());
        }
        for text in [certificate, &key, "", "anything"] {
            assert!(certificate_and_key(text).is_none(), "{text}");
        }
    }
}
