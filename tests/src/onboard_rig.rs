//! A worker in this process with the real parts of provisioning (CloudFormation, secrets, roles, probes) on a real endpoint
//! and a real Temporal, each call of which can be failed, done and then failed, or left hanging until the worker is killed.

mod asked;
mod changed;

use crate::harness::aws::AwsEndpoint;
use crate::harness::stack::ACCOUNT;
use crate::harness::temporal::Temporal;
use crate::harness::tools::eventually;
use crate::onboard_faults::{
    FaultyIsolation, FaultyRegistrations, FaultySecrets, FaultyStacks, FaultyStores, Plights, locked,
};
use crate::rig::{bare, facts, scope, share_id};
use async_trait::async_trait;
use leadline_activities::adapters::aws::{
    Aws, AwsIsolation, AwsOrgStores, AwsSecrets, AwsSettings, AwsSettingsReader, CfnStacks,
};
use leadline_activities::adapters::aws_fake::{FakeAlarms, FakeQueue};
use leadline_activities::adapters::outcomes_fake::FakeOutcomeStores;
use leadline_activities::adapters::smb_fake::FakeShare;
use leadline_activities::alarms::Alarming;
use leadline_activities::content_cache::ContentCache;
use leadline_activities::deps::{Deps, Shares};
use leadline_activities::engine::Engine;
use leadline_activities::outcomes::Outcomes;
use leadline_activities::ports::checks::{Planned, Plans};
use leadline_activities::ports::share::Share;
use leadline_activities::ports::signing::Signing;
use leadline_activities::ports::stacks::{ChangeSetState, Secrets, ShareCredentials, Stacks};
use leadline_activities::registry::{OrgConfig, Registry, ShareConfig, Snapshot};
use leadline_activities::secret::Secret;
use leadline_activities::worker::{Capacity, worker};
use leadline_domain::{
    ArchiveRule, EnvId, EnvScope, Fault, FaultClass, FaultCode, OrgId, SettleRule, ShareId, SharePath, WorkerGroup,
};
use leadline_gateway::senders::AsSystems;
use leadline_provisioning::{Config, Plan};
use leadline_workflows::contracts::ApplyInput;
use leadline_workflows::onboard::ApplyStatus;
use leadline_workflows::{OnboardOrganization, UpdateEnvironment, UpdateOrganization, ids};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use temporalio_client::{
    Client, WorkflowGetResultOptions, WorkflowHandle, WorkflowQueryOptions, WorkflowSignalOptions, WorkflowStartOptions,
};
use temporalio_sdk::Runtime;
use temporalio_sdk::runtime::RuntimeOptions;

struct OneShare(Arc<FakeShare>);

#[async_trait]
impl Shares for OneShare {
    async fn open(&self, _: &OrgId, _: &ShareId) -> Result<Arc<dyn Share>, Fault> {
        Ok(Arc::clone(&self.0) as Arc<dyn Share>)
    }
    fn forget(&self, _: &OrgId, _: &ShareId) {}
}

/// Plans of what the rig is configured with.
struct RigPlans(Config);

struct NoSigning;

#[async_trait]
impl Signing for NoSigning {
    async fn key(&self) -> Result<String, Fault> {
        Err(Fault::new(FaultCode::ConfigInvalid, "not part of this rig"))
    }
}

impl Plans for RigPlans {
    fn inputs(&self, env: &EnvId, org: &OrgId) -> Result<String, Fault> {
        let found = self.0.environment(env).and_then(|e| Some((e, self.0.organization(env, org)?)));
        let (e, o) = found.ok_or_else(|| Fault::new(FaultCode::ConfigUnknownOrg, "not part of this rig"))?;
        Ok(leadline_provisioning::inputs(&self.0, e, o).expect("placed"))
    }
    fn opening(&self, _: &OrgId, _: &str) -> Result<Plan, Fault> {
        Err(Fault::new(FaultCode::ConfigInvalid, "not part of this rig"))
    }
    fn planned(&self, org: Option<&OrgId>) -> Result<Planned, Fault> {
        let plan = org.map_or_else(|| environment_plan(&self.0), |o| organization_plan(&self.0, o.as_str(), &[]));
        Ok(Planned::from(&plan))
    }
    fn copies(&self) -> Result<Option<Planned>, Fault> {
        Ok(None)
    }
}

fn environment_plan(config: &Config) -> Plan {
    let env = config.environment(&facts("test").env).expect("test");
    leadline_provisioning::plan_env(config, env, None, &[]).expect("a plan")
}

/// As if there were nothing: nothing seems to be lost, whatever is there.
fn organization_plan(config: &Config, org: &str, allow: &[String]) -> Plan {
    let id = facts("test").env;
    let (env, org) = (config.environment(&id), config.organization(&id, scope(org).org()));
    let (env, org) = (env.expect("test"), org.expect("an organization"));
    leadline_provisioning::plan_org(config, env, org, None, allow).expect("a plan")
}

/// The organization to which nothing happens: what the others come to is compared with what it came to.
pub const REFERENCE: &str = "reference";

/// See the module.
pub struct OnboardRig {
    /// Temporal, as activities use it.
    pub engine: Engine,
    /// What is to come.
    pub plights: Arc<Plights>,
    dir: PathBuf,
    config: Config,
    url: String,
    temporal: String,
    /// Whether what begins from now on is there already.
    edited: bool,
    running: Option<(tokio::sync::oneshot::Sender<()>, std::thread::JoinHandle<()>)>,
}

impl OnboardRig {
    /// Servers are the caller's; the environment and [`REFERENCE`] are applied when this returns.
    ///
    /// # Panics
    /// When something of it fails.
    pub async fn start(dir: &Path, temporal: &Temporal, aws: &AwsEndpoint, orgs: &[String]) -> Self {
        let dir = dir.join("environments");
        let config = configured(&dir, &aws.url(), orgs);
        let client = crate::rig::connect(&temporal.address()).await;
        let mut rig = Self {
            engine: Engine::new(client),
            plights: Arc::default(),
            dir,
            config,
            url: aws.url(),
            temporal: temporal.address(),
            edited: false,
            running: None,
        };
        rig.work();
        let env = environment_plan(&rig.config);
        let handle = rig.begin_environment(env).await;
        handle.get_result(WorkflowGetResultOptions::default()).await.expect("the environment is applied");
        rig.begin(REFERENCE).await;
        rig.onboarded(REFERENCE, Duration::from_secs(120)).await;
        rig
    }

    /// Starts a worker.
    ///
    /// # Panics
    /// When it does not start.
    pub fn work(&mut self) {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (url, plights, config) = (self.url.clone(), Arc::clone(&self.plights), self.config.clone());
        let temporal = self.temporal.clone();
        let thread = std::thread::spawn(move || {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            tokio.block_on(async {
                // Connections of a worker die with its runtime: each has its own.
                let client = crate::rig::connect(&temporal).await;
                let deps = Arc::new(deps(&url, plights, &config).await);
                let options = RuntimeOptions::builder().build().expect("options");
                let runtime = Runtime::from_current_tokio(options).expect("the Temporal runtime");
                let main = WorkerGroup::main();
                let mut w = worker(&runtime, client, &deps, &main, Capacity::default()).expect("a worker");
                tokio::select! {
                    r = w.run() => r.expect("the worker runs"),
                    _ = stopped => {}
                }
                // Whatever is under way is dropped without a word to Temporal, as when a process is killed.
                std::mem::forget(w);
            });
            tokio.shutdown_background();
        });
        self.running = Some((stop, thread));
    }

    /// Kills the worker: nothing of what it was doing is ended or told.
    ///
    /// # Panics
    /// When it panicked.
    pub fn kill(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            let _ = stop.send(());
            thread.join().expect("the worker did not panic");
        }
    }

    /// The plan of an organization, as if there were nothing.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn plan(&self, org: &str) -> Plan {
        self.plan_allowing(org, &[])
    }

    /// The same, in which these resources may be lost.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn plan_allowing(&self, org: &str, allow: &[&str]) -> Plan {
        let allow: Vec<String> = allow.iter().map(|a| (*a).to_owned()).collect();
        organization_plan(&self.config, org, &allow)
    }

    /// Changes an organization's file. A worker that runs has the files of when it was started.
    ///
    /// # Panics
    /// When the file cannot be read or written, or is not right then.
    pub fn edit(&mut self, org: &str, from: &str, to: &str) {
        let path = self.dir.join(format!("orgs/{org}.toml"));
        let text = std::fs::read_to_string(&path).expect("read");
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replace(from, to)).expect("written");
        self.config = loaded(&self.dir);
    }

    async fn begin_environment(&self, plan: Plan) -> WorkflowHandle<Client, UpdateEnvironment> {
        let id = ids::update_environment(plan.env());
        let options = WorkflowStartOptions::new(queue(), id.as_str()).build();
        let started = self.engine.client().start_workflow(UpdateEnvironment::run, self.asked(&plan), options).await;
        started.expect("started");
        self.engine.client().get_workflow_handle(id)
    }

    /// Starts an onboarding.
    ///
    /// # Panics
    /// When Temporal does not take it.
    pub async fn begin(&self, org: &str) {
        self.begin_with(self.asked(&self.plan(org))).await;
    }

    async fn begin_with(&self, input: ApplyInput) {
        let id = ids::onboard(&input.plan.env, input.plan.org.as_ref().expect("an organization"));
        let options = WorkflowStartOptions::new(queue(), id.as_str()).build();
        let client = self.engine.client();
        let started = if self.edited {
            client.start_workflow(UpdateOrganization::run, input, options).await.map(drop)
        } else {
            client.start_workflow(OnboardOrganization::run, input, options).await.map(drop)
        };
        started.expect("started");
    }

    /// Onboards with this plan; the credentials are there.
    ///
    /// # Panics
    /// When it fails.
    pub async fn applied(&self, plan: &Plan) -> ApplyStatus {
        self.begin_with(self.asked(plan)).await;
        let handle = self.handle(plan.org().expect("an organization").as_str());
        handle.get_result(WorkflowGetResultOptions::default()).await.expect("applied")
    }

    /// The onboarding of an organization.
    #[must_use]
    pub fn handle(&self, org: &str) -> WorkflowHandle<Client, OnboardOrganization> {
        let scope = scope(org);
        self.engine.client().get_workflow_handle(ids::onboard(scope.env(), scope.org()))
    }

    /// Where an onboarding stands; `None` while no worker answers.
    pub async fn status(&self, org: &str) -> Option<ApplyStatus> {
        let handle = self.handle(org);
        let query = handle.query(OnboardOrganization::status, (), WorkflowQueryOptions::default());
        tokio::time::timeout(Duration::from_secs(5), query).await.ok()?.ok()
    }

    /// Waits for the end of an onboarding, and mends what a human would: the credentials that are missing, and whatever
    /// else refused. Returns what it waited for, in order.
    ///
    /// # Panics
    /// When it fails, or after `limit`.
    pub async fn onboarded(&self, org: &str, limit: Duration) -> (ApplyStatus, Vec<FaultCode>) {
        let aws = connect(&self.url).await;
        // As `org onboard --credentials` writes them, with calls that can fail as the worker's can.
        let secrets = FaultySecrets(AwsSecrets::new(aws), Arc::clone(&self.plights));
        let mended = Mutex::new(Vec::new());
        let status = eventually(&format!("{org} is onboarded"), limit, || {
            let (secrets, mended) = (&secrets, &mended);
            async move {
                let s = self.status(org).await?;
                if s.step == "done" {
                    return Some(s);
                }
                let waits = s.paused?;
                if waits.code == FaultCode::SecretMissing && !locked(mended).contains(&waits.code) {
                    let c = ShareCredentials { user: "u".into(), password: Secret::new("p"), domain: String::new() };
                    if let Err(f) = secrets.put_share_credentials(&scope(org), &share_id(), &c).await {
                        // The command ends with it, and whoever ran it runs it again, once it is mended if it has to be.
                        if f.class() == FaultClass::Blocked {
                            locked(mended).push(f.code);
                        }
                        return None;
                    }
                }
                if locked(mended).last() != Some(&waits.code) {
                    locked(mended).push(waits.code);
                }
                let options = WorkflowSignalOptions::default();
                let _ = self.handle(org).signal(OnboardOrganization::resume, (), options).await;
                None
            }
        })
        .await;
        (status, mended.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// All that an onboarding brought about, with the organization's name taken out: as Temporal, CloudFormation and the
    /// secret store tell it.
    ///
    /// # Panics
    /// When something does not answer.
    pub async fn came_to(&self, org: &str, status: &ApplyStatus) -> BTreeMap<&'static str, String> {
        let aws = connect(&self.url).await;
        let (scope, stacks) = (scope(org), CfnStacks::new(&aws));
        let stack = stacks.describe(&scope.stack()).await.expect("described").expect("there is a stack");
        let credentials =
            AwsSecrets::new(aws.clone()).share_credentials(&scope, &share_id()).await.expect("credentials");
        let probe = status.isolation.clone().expect("isolation is proven");
        let left = change_set_left(&stacks, &scope.stack(), &status.plan).await;
        let template = stacks.template(&scope.stack()).await.expect("answered");
        let client = self.engine.client();
        let watched =
            client.get_workflow_handle::<leadline_workflows::ShareWatch>(ids::watch(scope.org(), &share_id()));
        let watch = watched.describe(Default::default()).await.expect("a watch").status();
        for id in &status.schedules {
            client.get_schedule_handle(id).describe(Default::default()).await.expect("a schedule");
        }
        BTreeMap::from([
            ("stack", stack.status),
            ("outputs", format!("{:?}", keys(&stack.outputs))),
            ("tags", format!("{:?}", stack.tags)),
            ("template", format!("as planned: {}", template == Some(self.plan(org).template_text()))),
            ("change set left", left),
            ("secret", format!("{} {}", credentials.user, credentials.password.expose().len())),
            ("probes", format!("{:?}", status.probes)),
            ("isolation", format!("{:?}", probe.fault())),
            ("watch", format!("{watch:?}")),
            ("watches", format!("{:?}", status.watches)),
            ("schedules", format!("{:?}", status.schedules)),
            ("waits", format!("{:?}", status.paused)),
        ])
        .into_iter()
        .map(|(k, v)| (k, v.replace(org, "ORG")))
        .collect()
    }
}

impl Drop for OnboardRig {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The change set of a plan, if it was not executed and is there.
async fn change_set_left(stacks: &CfnStacks, stack: &str, digest: &str) -> String {
    let change_set = format!("leadline-{}", &digest[..32]);
    match stacks.change_set(stack, &change_set).await.expect("answered") {
        ChangeSetState::Empty | ChangeSetState::Failed(_) => "none".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Outputs hold ARNs and ids that are each stack's own: there or not is what counts.
fn keys(outputs: &BTreeMap<String, String>) -> Vec<(&str, bool)> {
    outputs.iter().map(|(k, v)| (k.as_str(), !v.is_empty())).collect()
}

fn queue() -> String {
    EnvScope::new(&facts("test")).main_queue()
}

async fn connect(url: &str) -> Aws {
    let settings = AwsSettings { endpoint_url: Some(url.to_owned()), assume_worker_role: true, profile: None };
    Aws::connect_as(&EnvScope::new(&facts("test")), &settings, ACCOUNT, "test").await
}

async fn deps(url: &str, plights: Arc<Plights>, config: &Config) -> Deps {
    let aws = connect(url).await;
    let here = facts("test");
    let orgs = config.organizations(&here.env).map(|o| {
        let config = OrgConfig {
            shares: BTreeMap::from([(share_id(), share())]),
            secrets: BTreeSet::from([share_id()]),
            link_encodings: o.links_encodings(),
            ..bare(scope(o.id.as_str()))
        };
        (o.id.clone(), config)
    });
    let orgs = orgs.collect();
    let snapshot = Snapshot { facts: facts("test"), gates: None, retention_days: 0, outcomes: None, orgs };
    let share = FakeShare::new();
    share.make_folder("in");
    let stores = Arc::new(AwsOrgStores::new(aws.clone()));
    let (registry, audit_queue) = (Arc::new(Registry::fixed(snapshot)), FakeQueue::standard());
    let outcomes = Outcomes {
        registry: Arc::clone(&registry),
        stores: Arc::new(FakeOutcomeStores::default()),
        queue: FakeQueue::standard(),
        audit: audit_queue.clone(),
    };
    Deps {
        alarms: Alarming::new(Arc::clone(&registry), Arc::new(FakeAlarms::default())),
        registry,
        outcomes,
        storages: stores.clone(),
        shares: Arc::new(OneShare(share)),
        stores: Arc::new(FaultyStores(stores, Arc::clone(&plights))),
        ingest_queue: FakeQueue::fifo(),
        audit_queue,
        stacks: Arc::new(FaultyStacks(CfnStacks::new(&aws), Arc::clone(&plights))),
        secrets: Arc::new(FaultySecrets(AwsSecrets::new(aws.clone()), Arc::clone(&plights))),
        settings: Arc::new(AwsSettingsReader::new(&aws)),
        removal: Arc::new(AwsSettingsReader::new(&aws)),
        registrations: Arc::new(FaultyRegistrations(Arc::clone(&plights))),
        plans: Arc::new(RigPlans(config.clone())),
        signing: Arc::new(NoSigning),
        senders: Arc::new(AsSystems::new(Arc::new(AwsSecrets::new(aws.clone())))),
        cache: ContentCache::new(1 << 20),
        isolation: Arc::new(FaultyIsolation(AwsIsolation::new(aws), plights)),
    }
}

fn share() -> ShareConfig {
    ShareConfig {
        address: "127.0.0.1:1".into(),
        share: "ward".into(),
        folder: SharePath::new("in"),
        group: WorkerGroup::main(),
        settle: SettleRule::default(),
        archive: ArchiveRule::Leave,
        reconcile_ms: 60_000,
        only: vec![],
        ignore: vec![],
        sets: vec![],
        small_bytes: 1 << 20,
        max_bytes: 1 << 30,
        formats: BTreeSet::new(),
        require_encryption: false,
    }
}

/// Writes and reads the files of an environment `test` with these organizations, each with the rig's share.
fn configured(dir: &Path, url: &str, orgs: &[String]) -> Config {
    std::fs::create_dir_all(dir.join("orgs")).expect("folder");
    let env = format!(
        "id = \"test\"\nname = \"test\"\naccount = \"{ACCOUNT}\"\nregion = \"us-east-1\"\njurisdictions = [\"us\"]\n\
         synthetic_only = true\n[queue]\nconsumers = [\"arn:aws:iam::{ACCOUNT}:role/leadline-test-worker\"]\n\
         [temporal]\naddress = \"127.0.0.1:7233\"\nnamespace = \"default\"\n\
         [aws]\nendpoint_url = \"{url}\"\nworker_principals = [\"root\"]\n\
         [gateway.http]\nlisten = \"127.0.0.1:8080\"\npublic_url = \"http://127.0.0.1:8080\"\n\
         [gateway.http.oidc]\nissuer = \"http://127.0.0.1:8300\"\naudience = \"leadline\"\n"
    );
    std::fs::write(dir.join("test.toml"), env).expect("written");
    for org in orgs.iter().map(String::as_str).chain([REFERENCE]) {
        let text = format!(
            "id = \"{org}\"\nname = \"{org}\"\njurisdiction = \"us\"\nenvironments = [\"test\"]\n\
             [share.{}]\nhost = \"127.0.0.1\"\nshare = \"{org}\"\npath = \"in\"\n",
            share_id()
        );
        std::fs::write(dir.join(format!("orgs/{org}.toml")), text).expect("written");
    }
    loaded(dir)
}

fn loaded(dir: &Path) -> Config {
    let (config, findings) = leadline_provisioning::load(dir);
    config.unwrap_or_else(|| panic!("{findings:#?}"))
}
