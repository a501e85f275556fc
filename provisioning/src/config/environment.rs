//! An environment: one AWS account and region, one Temporal namespace, and what applies to all organizations there.

use leadline_domain::{EnvFacts, EnvId, EnvScope, Jurisdiction};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// An environment, as `environments/<id>.toml` says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Short name; the file is named after it. Part of every resource's name.
    pub id: EnvId,
    /// What people call it, e.g. `UK production`.
    pub name: String,
    /// Real patients' recordings live here: alarms must reach someone, and promotion gates apply.
    #[serde(default)]
    pub production: bool,
    /// Only made-up recordings, of nobody, come here: residency does not bind where they are kept, so that
    /// organizations of any jurisdiction can be tried in one place. Never together with `production`.
    #[serde(default)]
    pub synthetic_only: bool,
    /// AWS account, 12 digits. Each environment has one of its own.
    #[schemars(regex(pattern = "^[0-9]{12}$"))]
    pub account: String,
    /// AWS region of everything the environment owns, e.g. `eu-west-2`.
    #[schemars(regex(pattern = "^[a-z]{2}(-[a-z]+)+-[0-9]$"))]
    pub region: String,
    /// The jurisdictions whose organizations may be placed here (see jurisdictions.toml).
    #[schemars(length(min = 1))]
    pub jurisdictions: BTreeSet<Jurisdiction>,
    /// The Temporal cluster.
    pub temporal: Temporal,
    /// How AWS is reached.
    #[serde(default)]
    pub aws: Aws,
    /// The queue that the processor reads.
    #[serde(default)]
    pub queue: Queue,
    /// The queue of audit entries.
    #[serde(default)]
    pub audit_queue: AuditQueue,
    /// A bucket for copies of recordings and ledgers. Leadline copies nothing into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<Backup>,
    /// Who is told when something is wrong.
    #[serde(default)]
    pub alarms: Alarms,
    /// Delivery of messages through CloudFront. Off without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cdn: Option<Cdn>,
    /// Settings of worker processes.
    #[serde(default)]
    pub worker: Worker,
    /// How stacks are made and changed.
    #[serde(default)]
    pub provisioning: Provisioning,
    /// What becomes of an organization that leaves.
    #[serde(default)]
    pub offboarding: super::Offboarding,
    /// The ways in besides SMB.
    #[serde(default)]
    pub gateway: super::Gateway,
    /// What is expected of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<super::OutcomeReports>,
}

impl Environment {
    /// What placement needs to know.
    #[must_use]
    pub fn facts(&self) -> EnvFacts {
        EnvFacts {
            env: self.id.clone(),
            account: self.account.clone(),
            region: self.region.clone(),
            jurisdictions: self.jurisdictions.clone(),
        }
    }
    /// Whether policies refuse requests without TLS. Always, unless AWS is a plain-text endpoint on this machine,
    /// which the checker accepts from no other address: there the refusal would hit every request.
    #[must_use]
    pub fn tls_only(&self) -> bool {
        !self.aws.endpoint_url.as_deref().is_some_and(|u| u.starts_with("http://"))
    }
    /// Whether what is kept for it has to be where its jurisdictions allow.
    #[must_use]
    pub fn bound_by_residency(&self) -> bool {
        self.production || !self.synthetic_only
    }
    /// Names of what it owns.
    #[must_use]
    pub fn scope(&self) -> EnvScope {
        EnvScope::new(&self.facts())
    }
}

/// Where Temporal is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Temporal {
    /// `host:port` of the frontend, e.g. `127.0.0.1:7233` or `leadline-us.a1b2c.tmprl.cloud:7233`.
    #[schemars(regex(pattern = "^[A-Za-z0-9.-]+:[0-9]{1,5}$"))]
    pub address: String,
    /// Namespace. One an environment: histories of two jurisdictions never share one.
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9.-]{1,62}$"))]
    pub namespace: String,
    /// TLS. Required unless the address is a loopback address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TemporalTls>,
    /// Name of the secret that holds the API key, for Temporal Cloud. Needs `tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret: Option<String>,
    /// Name of the secret that holds the keys of the payload codec; `leadline/<env>/payload-keys` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_keys_secret: Option<String>,
}

/// TLS towards Temporal. An empty table means: verify the server by the system's roots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TemporalTls {
    /// Name the certificate must carry, if it is not the host of `address`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// File with the root certificates to trust instead of the system's, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Name of the secret that holds the client certificate and its key, PEM, for mutual TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_secret: Option<String>,
}

/// How AWS is reached, and who the workers are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Aws {
    /// Another endpoint than AWS's own. `http://` is accepted for a loopback address only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^https?://[^/]+/?$"))]
    pub endpoint_url: Option<String>,
    /// Workers take the environment's worker role before anything else, so that what they were started with (an
    /// instance profile, a developer's keys) gives them no right of its own.
    pub assume_worker_role: bool,
    /// AWS services that may hand the worker role to what they run, e.g. `ecs-tasks.amazonaws.com`: for hosts that have
    /// it from the beginning, with `assume_worker_role = false`. It lets no process take the role.
    #[schemars(inner(regex(pattern = "^[a-z0-9.-]+\\.amazonaws\\.com$")))]
    pub worker_services: BTreeSet<String>,
    /// Roles or users of this account that may take the worker role, as ARNs: what the hosts of workers and gateways run
    /// as. `root` stands for the account itself: whoever its IAM policies allow. Needed with `assume_worker_role`.
    pub worker_principals: BTreeSet<String>,
}

impl Default for Aws {
    fn default() -> Self {
        Self {
            endpoint_url: None,
            assume_worker_role: true,
            worker_services: BTreeSet::new(),
            worker_principals: BTreeSet::new(),
        }
    }
}

/// The ingest queue (FIFO) and its dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// How long the processor has for a message before it is given out again, seconds (SQS: at most 43,200).
    #[schemars(range(min = 1, max = 43_200))]
    pub visibility_timeout_s: u32,
    /// How often a message is given out before it goes to the dead-letter queue (SQS: 1 to 1,000).
    #[schemars(range(min = 1, max = 1_000))]
    pub max_receive_count: u32,
    /// How long messages are kept, days (SQS: at most 14).
    #[schemars(range(min = 1, max = 14))]
    pub retention_days: u32,
    /// Roles that read the queue (the processor), as ARNs; may be of another account.
    #[schemars(inner(regex(pattern = "^arn:aws:iam::[0-9]{12}:(role|user)/[\\w+=,.@/-]+$")))]
    pub consumers: BTreeSet<String>,
}

impl Default for Queue {
    fn default() -> Self {
        Self { visibility_timeout_s: 300, max_receive_count: 5, retention_days: 14, consumers: BTreeSet::new() }
    }
}

/// The audit queue (standard).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditQueue {
    /// How long the ledger writer has for a batch, seconds (SQS: at most 43,200).
    #[schemars(range(min = 1, max = 43_200))]
    pub visibility_timeout_s: u32,
    /// How long entries are kept if nobody drains the queue, days (SQS: at most 14).
    #[schemars(range(min = 1, max = 14))]
    pub retention_days: u32,
}

impl Default for AuditQueue {
    fn default() -> Self {
        Self { visibility_timeout_s: 120, retention_days: 14 }
    }
}

/// Copies of recordings and ledgers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// Region of the copies; must be one that every jurisdiction of the environment allows.
    #[schemars(regex(pattern = "^[a-z]{2}(-[a-z]+)+-[0-9]$"))]
    pub region: String,
    /// How long a copy cannot be deleted, days.
    #[serde(default = "default_backup_days")]
    #[schemars(range(min = 1, max = 36_500))]
    pub retention_days: u32,
    /// Who may shorten that.
    #[serde(default)]
    pub lock: LockMode,
}

fn default_backup_days() -> u32 {
    35
}

/// Object lock modes of S3.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LockMode {
    /// Only with the permission to bypass governance.
    #[default]
    Governance,
    /// Nobody, not even the account's root, until the time has passed.
    Compliance,
}

/// Who is told, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Alarms {
    /// Where alarms go. Required in production.
    pub receivers: Vec<Receiver>,
    /// Alarm when the oldest message on the ingest queue is older than this, seconds.
    #[schemars(range(min = 60))]
    pub ingest_age_s: u32,
    /// Alarm when the oldest entry on the audit queue is older than this, or the queue was not empty for so long, seconds.
    #[schemars(range(min = 60))]
    pub audit_age_s: u32,
}

impl Default for Alarms {
    fn default() -> Self {
        Self { receivers: Vec::new(), ingest_age_s: 900, audit_age_s: 900 }
    }
}

/// One receiver of alarms.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Receiver {
    /// An e-mail address; it has to confirm once.
    Email(#[schemars(regex(pattern = "^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$"))] String),
    /// An HTTPS endpoint, e.g. of an on-call service.
    Https(
        #[schemars(regex(pattern = "^https://"))]
        String,
    ),
}

/// Delivery through CloudFront.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cdn {
    /// Countries that may fetch, ISO 3166-1 alpha-2. Residency: the edge that serves is the one nearest to the reader.
    #[schemars(length(min = 1), inner(regex(pattern = "^[A-Z]{2}$")))]
    pub countries: BTreeSet<String>,
    /// Public halves of the keys that sign URLs: PEM, RSA of 2,048 bits or ECDSA P-256. Two while they are rotated:
    /// add the new one, sign with it, remove the old one.
    #[schemars(
        length(min = 1),
        inner(regex(pattern = "^\\s*-----BEGIN PUBLIC KEY-----\\s[A-Za-z0-9+/=\\s]+-----END PUBLIC KEY-----\\s*$"))
    )]
    pub signing_keys: Vec<String>,
    /// How long a copy waits to be fetched, days.
    #[serde(default = "default_keep_days")]
    #[schemars(range(min = 1, max = 365))]
    pub keep_days: u32,
    /// Host name of its own, e.g. `ecg.example.org`. Without it CloudFront's, which takes old versions of TLS as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))]
    pub domain: Option<String>,
    /// ARN of the certificate for `domain`. CloudFront takes those of us-east-1 only, whatever region the rest is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^arn:aws:acm:us-east-1:[0-9]{12}:certificate/[a-z0-9-]+$"))]
    pub certificate: Option<String>,
}

fn default_keep_days() -> u32 {
    7
}

/// Settings of worker processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Worker {
    /// `address:port` where metrics are served. Port 0 takes a free one.
    #[schemars(regex(pattern = "^[A-Za-z0-9.:\\[\\]-]+:[0-9]{1,5}$"))]
    pub metrics_address: String,
    /// Memory that contents of small files may take between their look and their storing in one process, MiB. Each large
    /// file that is on its way takes some 24 MiB besides.
    #[schemars(range(min = 1, max = 65_536))]
    pub buffer_mib: u32,
    /// How long what has begun may go on after a worker was told to stop, seconds. Watches and large uploads are then
    /// told, and go on elsewhere; a stop takes at least this long.
    #[schemars(range(min = 1, max = 3_600))]
    pub drain_s: u32,
    /// What is larger is copied by S3 in pieces, MiB: into its place, and by `leadline transfer`. 5120 is S3's own limit.
    #[schemars(range(min = 5, max = 5_120))]
    pub copy_at_once_mib: u32,
}

/// How this environment's stacks are made and changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Provisioning {
    /// So many organizations are onboarded, and so many stacks asked after, at once by a command that does all of them.
    /// CloudFormation lets an account do about eight operations at once without asking to slow down.
    #[schemars(range(min = 1, max = 64))]
    pub at_once: u8,
}

impl Default for Provisioning {
    fn default() -> Self {
        Self { at_once: 8 }
    }
}

impl Default for Worker {
    fn default() -> Self {
        Self { metrics_address: "127.0.0.1:9464".into(), buffer_mib: 32, drain_s: 2, copy_at_once_mib: 5_120 }
    }
}
