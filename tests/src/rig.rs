//! A worker in this process whose share, store and queues are the fakes that the contract suites hold to the real
//! parts' promises, against a real Temporal server: for failing and repeating each step at will.

mod unused;

use crate::harness::stack::ACCOUNT;
use crate::harness::tools::eventually;
use async_trait::async_trait;
use leadline_activities::adapters::aws_fake::{FakeAlarms, FakeOrgStores, FakeQueue, FakeStore};
use leadline_activities::adapters::outcomes_fake::FakeOutcomeStores;
use leadline_activities::adapters::smb_fake::FakeShare;
use leadline_activities::alarms::Alarming;
use leadline_activities::codec::{data_converter, parse_keys, random_keys};
use leadline_activities::content_cache::ContentCache;
use leadline_activities::deps::{Deps, Shares};
use leadline_activities::engine::{Again, Engine, Started};
use leadline_activities::outcomes::Outcomes;
use leadline_activities::ports::queue::{Incoming, Outgoing, Queue};
use leadline_activities::ports::share::Share;
use leadline_activities::registry::{OrgConfig, Registry, ShareConfig, Snapshot};
use leadline_activities::schedules::Registered;
use leadline_activities::worker::{Capacity, worker};
use leadline_domain::lifecycle::Intake;
use leadline_domain::outcome::OutcomeRule;
use leadline_domain::{
    ArchiveRule, EnvFacts, EnvId, Fault, FaultCode, Fingerprint, IngressEndpoints, OrgId, OrgScope, Placement,
    SettleRule, ShareId, SharePath, WorkerGroup,
};
use leadline_formats::sets::SetRule;
use leadline_workflows::ids;
use leadline_workflows::recording_lifecycle::FileReport;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use temporalio_client::{Client, ClientOptions, Connection, ConnectionOptions};
use temporalio_sdk::Runtime;
use temporalio_sdk::runtime::RuntimeOptions;
use unused::{Hindered, Nothing, unused};

/// One organization's fakes.
pub struct Lane {
    /// Organization.
    pub org: OrgId,
    /// Its share.
    pub share: Arc<FakeShare>,
    /// Its bucket.
    pub store: Arc<FakeStore>,
    /// Its part of the ingest queue.
    pub ingest: Arc<FakeQueue>,
    /// Its part of the audit queue.
    pub audit: Arc<FakeQueue>,
    config: ShareConfig,
}

/// See the module. The worker ends with it.
pub struct Rig {
    /// A lane for each organization.
    pub lanes: BTreeMap<String, Arc<Lane>>,
    /// Temporal, as activities use it.
    pub engine: Engine,
    /// Task queue of the worker.
    pub queue: String,
    /// What the worker works with.
    pub deps: Arc<Deps>,
    /// Alarms that were raised.
    pub alarms: Arc<FakeAlarms>,
    /// What the processor reported, by organization.
    pub reports: Arc<FakeOutcomeStores>,
    hindered: Arc<Mutex<VecDeque<Fault>>>,
    worker: Option<Working>,
}

/// The worker, on a thread of its own.
struct Working {
    stop: Box<dyn Fn() + Send + Sync>,
    kill: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

/// When reports of the processor are due in a rig: after an hour, for a year.
const OUTCOMES: OutcomeRule = OutcomeRule { within_ms: 3_600_000, look_back_ms: 365 * 24 * 3_600_000 };

/// The share that every organization of a rig has.
#[must_use]
pub fn share_id() -> ShareId {
    ShareId::parse("ward").expect("a share id")
}

impl Rig {
    /// A worker for these organizations. `name` keeps rigs on one server apart, at most 12 characters.
    ///
    /// # Panics
    /// When Temporal does not take it.
    pub async fn start(temporal: &str, name: &str, orgs: &[&str], archive: &ArchiveRule, small_bytes: u64) -> Self {
        Self::with_client(connect(temporal).await, name, orgs, archive, small_bytes).await
    }

    /// The same with a client of the caller's.
    ///
    /// # Panics
    /// When Temporal does not take it.
    pub async fn with_client(
        client: Client,
        name: &str,
        orgs: &[&str],
        archive: &ArchiveRule,
        small_bytes: u64,
    ) -> Self {
        let settle = SettleRule { strong_quiet_ms: 100, unverifiable_quiet_ms: 500, ..SettleRule::default() };
        Self::with_sets(client, name, orgs, archive, small_bytes, &settle, &[]).await
    }

    /// The same where files belong together.
    ///
    /// # Panics
    /// When Temporal does not take it.
    pub async fn with_sets(
        client: Client,
        name: &str,
        orgs: &[&str],
        archive: &ArchiveRule,
        small_bytes: u64,
        settle: &SettleRule,
        sets: &[SetRule],
    ) -> Self {
        let facts = facts(name);
        let stores = FakeOrgStores::new();
        let (mut lanes, mut configs) = (BTreeMap::new(), BTreeMap::new());
        for org in orgs {
            let scope = scope_in(org, &facts);
            let id = scope.org().clone();
            let config = ShareConfig {
                address: "127.0.0.1:1".into(),
                share: "ward".into(),
                folder: SharePath::new("in"),
                group: WorkerGroup::main(),
                settle: settle.clone(),
                archive: archive.clone(),
                reconcile_ms: 1_000,
                only: vec![],
                ignore: vec![],
                sets: sets.to_vec(),
                small_bytes,
                max_bytes: 1 << 40,
                formats: BTreeSet::new(),
                require_encryption: false,
            };
            let lane = Lane {
                org: id.clone(),
                share: FakeShare::new(),
                store: stores.of(&scope),
                ingest: FakeQueue::fifo(),
                audit: FakeQueue::standard(),
                config: config.clone(),
            };
            lane.share.make_folder("in");
            lanes.insert((*org).to_owned(), Arc::new(lane));
            configs.insert(
                id,
                OrgConfig {
                    shares: BTreeMap::from([(share_id(), config)]),
                    limits: (small_bytes, 1 << 30),
                    secrets: BTreeSet::from([share_id()]),
                    link_encodings: true,
                    ..bare(scope)
                },
            );
        }
        let registry = Arc::new(Registry::fixed(Snapshot {
            facts,
            gates: None,
            retention_days: 30,
            orgs: configs,
            outcomes: Some(OUTCOMES),
        }));
        let queue = registry.env().task_queue(&WorkerGroup::main());
        let routed = |of: fn(&Lane) -> Arc<FakeQueue>, field: &'static str| {
            Arc::new(Routed { queues: lanes.iter().map(|(o, l)| (o.clone(), of(l))).collect(), field })
        };
        let audit_queue = routed(|l| Arc::clone(&l.audit), "/organization");
        let (alarms, reports) = (Arc::new(FakeAlarms::default()), Arc::new(FakeOutcomeStores::default()));
        let hindered: Arc<Mutex<VecDeque<Fault>>> = Arc::default();
        let outcomes = Outcomes {
            registry: Arc::clone(&registry),
            stores: reports.clone(),
            queue: FakeQueue::standard(),
            audit: audit_queue.clone(),
        };
        let deps = Arc::new(Deps {
            alarms: Alarming::new(Arc::clone(&registry), alarms.clone()),
            outcomes,
            storages: Arc::new(Nothing),
            registry,
            shares: Arc::new(LaneShares(lanes.clone())),
            stores,
            ingest_queue: routed(|l| Arc::clone(&l.ingest), "/data/organization"),
            audit_queue,
            stacks: Arc::new(Nothing),
            isolation: Arc::new(Hindered(Arc::clone(&hindered))),
            settings: Arc::new(Nothing),
            removal: Arc::new(Nothing),
            registrations: Arc::new(Registered),
            plans: Arc::new(Hindered(Arc::clone(&hindered))),
            signing: Arc::new(Nothing),
            senders: Arc::new(Nothing),
            secrets: Arc::new(Nothing),
            cache: ContentCache::new(64 << 20),
        });
        let worker = Some(work(client.clone(), &deps).await);
        Self { lanes, engine: Engine::new(client), queue, deps, alarms, reports, hindered, worker }
    }

    /// Kills the worker in the middle of whatever it does, of which Temporal is told nothing. A thread of the SDK says
    /// that it has nobody to talk to any more.
    ///
    /// # Panics
    /// When it was killed already.
    pub fn kill(&mut self) {
        let worker = self.worker.take().expect("a worker");
        let _ = worker.kill.send(());
        let _ = worker.thread.join();
    }

    /// Another worker in place of one that was killed, with a client of its own: that of the first counts it as running.
    ///
    /// # Panics
    /// When Temporal does not take it.
    pub async fn restart(&mut self, temporal: &str) {
        self.worker = Some(work(connect(temporal).await, &self.deps).await);
    }

    /// Starts the lifecycle of a file.
    ///
    /// # Panics
    /// When Temporal does not take it, or one runs or ran already.
    pub async fn begin(&self, intake: &Intake) -> String {
        let started = self.engine.start_lifecycle(&self.queue, intake, Again::Never).await.expect("started");
        assert_eq!(started, Started::Running);
        ids::lifecycle(&intake.org, &intake.share, &intake.fingerprint)
    }

    /// Waits for the end of a lifecycle.
    ///
    /// # Panics
    /// When it fails, or after `limit`.
    pub async fn ended(&self, id: &str, limit: Duration) -> FileReport {
        eventually(id, limit, || async {
            match self.engine.how_ended(id).await.expect("described") {
                Started::Ended(report) => Some(report.expect("a lifecycle that ends has a report")),
                Started::Running => None,
            }
        })
        .await
    }

    /// What the next looks for drift and probes of isolation end with, one each: here they cannot run.
    pub fn hinder(&self, faults: impl IntoIterator<Item = Fault>) {
        self.hindered.lock().unwrap_or_else(PoisonError::into_inner).extend(faults);
    }

    /// An organization's lane.
    #[must_use]
    pub fn lane(&self, org: &str) -> &Arc<Lane> {
        &self.lanes[org]
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            (worker.stop)();
            let _ = worker.thread.join();
        }
    }
}

impl Lane {
    /// What a lifecycle of a file that is on the share begins with, seen unchanged for ten seconds.
    ///
    /// # Panics
    /// When it is not there.
    pub async fn intake(&self, path: &str) -> Intake {
        let wanted = SharePath::new(path);
        let listing = self.share.list(&SharePath::new("in"), &[]).await.expect("listed");
        let entry = listing.files.into_iter().find(|e| e.path == wanted).expect("the file is on the share");
        Intake {
            org: self.org.clone(),
            share: share_id(),
            fingerprint: Fingerprint { path: entry.path, stat: entry.stat },
            quiet_ms: 10_000,
            settle: self.config.settle.clone(),
            archive: self.config.archive.clone(),
            small_bytes: self.config.small_bytes,
            max_bytes: self.config.max_bytes,
            formats: self.config.formats.clone(),
            declared: None,
            resume: None,
        }
    }
}

async fn work(client: Client, deps: &Arc<Deps>) -> Working {
    let (told, tell) = tokio::sync::oneshot::channel();
    let (kill, killed) = tokio::sync::oneshot::channel();
    let deps = Arc::clone(deps);
    let thread = std::thread::spawn(move || run(client, &deps, told, killed));
    Working { stop: tell.await.expect("the worker starts"), kill, thread }
}

fn run(
    client: Client,
    deps: &Arc<Deps>,
    told: tokio::sync::oneshot::Sender<Box<dyn Fn() + Send + Sync>>,
    killed: tokio::sync::oneshot::Receiver<()>,
) {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio.block_on(async {
        let options = RuntimeOptions::builder().build().expect("options");
        let runtime = Runtime::from_current_tokio(options).expect("the Temporal runtime");
        let group = WorkerGroup::main();
        let mut w = worker(&runtime, client, deps, &group, Capacity::default()).expect("a worker");
        let _ = told.send(Box::new(w.shutdown_handle()));
        tokio::select! {
            ended = w.run() => ended.expect("the worker runs"),
            Ok(()) = killed => {}
        }
    });
}

/// A client of a server, with options.
async fn client(temporal: &str, options: ClientOptions) -> Client {
    let url: temporalio_client::Url = format!("http://{temporal}").parse().expect("an address");
    // Histories keep the identity; that of a machine is not to be kept.
    let connecting = || ConnectionOptions::new(url.clone()).identity("leadline-tests".to_owned()).build();
    // A server that was started a moment ago takes connections before its frontend is healthy.
    let connection = eventually("Temporal answers", Duration::from_secs(30), || async {
        Connection::connect(connecting()).await.ok()
    });
    Client::new(connection.await, options).expect("a client")
}

/// A client without encryption, for histories that are kept and read.
///
/// # Panics
/// When Temporal does not answer.
pub async fn connect_plain(temporal: &str) -> Client {
    client(temporal, ClientOptions::new("default").build()).await
}

/// A client that encrypts with the payload keys of this secret's text.
///
/// # Panics
/// When Temporal does not answer, or the text holds no keys.
pub async fn connect_with(temporal: &str, keys: &str) -> Client {
    let keys = parse_keys(keys).expect("payload keys");
    client(temporal, ClientOptions::new("default").data_converter(data_converter(Arc::new(keys))).build()).await
}

/// A client with encrypted payloads.
///
/// # Panics
/// When Temporal does not answer.
pub async fn connect(temporal: &str) -> Client {
    static KEYS: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    connect_with(temporal, KEYS.get_or_init(random_keys)).await
}

/// What placement needs to know of an environment on the local endpoint.
///
/// # Panics
/// When the name is not an environment id.
#[must_use]
pub fn facts(env: &str) -> EnvFacts {
    EnvFacts {
        env: EnvId::parse(env).expect("an environment id"),
        account: ACCOUNT.into(),
        region: "us-east-1".into(),
        jurisdictions: BTreeSet::from(["us".parse().expect("a jurisdiction")]),
    }
}

/// The names of what an organization of jurisdiction `us` owns in `test` on the local endpoint.
///
/// # Panics
/// When the name is not an organization id.
#[must_use]
pub fn scope(org: &str) -> OrgScope {
    scope_in(org, &facts("test"))
}

fn scope_in(org: &str, facts: &EnvFacts) -> OrgScope {
    let org = OrgId::parse(org).expect("an organization id");
    let placement = Placement::resolve(&org, "us", facts).expect("allowed");
    OrgScope::new(org, placement)
}

struct LaneShares(BTreeMap<String, Arc<Lane>>);

#[async_trait]
impl Shares for LaneShares {
    async fn open(&self, org: &OrgId, _share: &ShareId) -> Result<Arc<dyn Share>, Fault> {
        match self.0.get(org.as_str()) {
            Some(l) => Ok(Arc::clone(&l.share) as Arc<dyn Share>),
            None => Err(Fault::new(FaultCode::ConfigUnknownOrg, "not of this rig")),
        }
    }
    fn forget(&self, _org: &OrgId, _share: &ShareId) {}
}

/// One queue that gives each organization's messages to a fake of its own.
struct Routed {
    queues: BTreeMap<String, Arc<FakeQueue>>,
    field: &'static str,
}

#[async_trait]
impl Queue for Routed {
    async fn send(&self, messages: &[Outgoing]) -> Vec<Result<(), Fault>> {
        let mut out = Vec::new();
        for m in messages {
            let body: serde_json::Value = serde_json::from_str(&m.body).expect("a message is JSON");
            let org = body.pointer(self.field).and_then(|o| o.as_str()).expect("a message names its organization");
            out.extend(self.queues[org].send(std::slice::from_ref(m)).await);
        }
        out
    }
    async fn receive(&self, _max: u32, _wait_s: u32) -> Result<Vec<Incoming>, Fault> {
        Err(unused())
    }
    async fn delete(&self, _receipts: &[String]) -> Result<(), Fault> {
        Err(unused())
    }
    async fn depth(&self) -> Result<(u64, u64), Fault> {
        Err(unused())
    }
}

/// An organization with nothing but its placement.
pub(crate) fn bare(scope: OrgScope) -> OrgConfig {
    OrgConfig {
        scope,
        shares: BTreeMap::new(),
        limits: (1 << 20, 1 << 30),
        formats: BTreeSet::new(),
        secrets: BTreeSet::new(),
        storages: BTreeSet::new(),
        link_encodings: false,
        endpoints: IngressEndpoints::default(),
    }
}
