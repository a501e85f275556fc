//! An organization: a tenant, where it is placed, and its shares.

use super::Environment;
use leadline_domain::{
    ArchiveRule, EnvId, Fault, Jurisdiction, OrgId, OrgScope, Placement, SettleRule, ShareId, WorkerGroup,
};
use leadline_formats::sets::SetRule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// An organization, as `environments/orgs/<id>.toml` says it.
///
/// There is no key for a user or password of a share: they are in the secret `leadline/<env>/<org>/share/<share>`,
/// whose name follows from the ids, and which only the organization's role can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganizationFile {
    /// Short name; the file is named after it. Part of every resource's name.
    pub id: OrgId,
    /// What people call it.
    pub name: String,
    /// The law that binds its data; an environment must allow it.
    pub jurisdiction: Jurisdiction,
    /// The environments it is placed in.
    #[schemars(length(min = 1))]
    pub environments: BTreeSet<EnvId>,
    /// Whom to call.
    #[serde(default)]
    pub contacts: Vec<Contact>,
    /// Formats that are accepted, e.g. `dicom_waveform`; others are quarantined. Empty: every format.
    #[serde(default)]
    #[schemars(schema_with = "format_names")]
    pub formats: BTreeSet<String>,
    /// Sizes.
    #[serde(default)]
    pub limits: Limits,
    /// Its shares, by id.
    #[serde(default, rename = "share")]
    pub shares: BTreeMap<ShareId, Share>,
    /// Its ways in besides SMB.
    #[serde(default)]
    pub gateway: super::OrgGateway,
    /// Its storages besides the one of its data.
    #[serde(default)]
    pub storage: super::OrgStorages,
    /// Whether a recording is linked to what came before of the same measurement in another encoding. That costs one S3
    /// request more for each. Not said: if more than one way in is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_encodings: Option<bool>,
    /// What differs in an environment, by its id. Keys that are not named stay as they are above.
    #[serde(default, rename = "environment")]
    pub overrides: BTreeMap<EnvId, OrganizationOverride>,
}

/// What differs in one environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OrganizationOverride {
    /// Sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Formats.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "format_names")]
    pub formats: Option<BTreeSet<String>>,
    /// Shares, by id: changes to one above, or one that exists here only.
    #[serde(rename = "share")]
    pub shares: BTreeMap<ShareId, ShareOverride>,
    /// Its ways in besides SMB.
    pub gateway: super::OrgGateway,
    /// Its storages besides the one of its data.
    pub storage: super::OrgStorages,
}

/// A person or team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// Name.
    pub name: String,
    /// E-mail address.
    #[schemars(regex(pattern = "^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$"))]
    pub email: String,
    /// What for, e.g. `clinic IT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// Sizes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Larger files are quarantined, bytes. The product's own bound is 5 TiB, S3's for an object made of parts.
    #[schemars(range(min = 1, max = 5_497_558_138_880u64))]
    pub max_file_bytes: u64,
    /// Up to this size a file is read as a whole into memory and stored with one request, bytes.
    #[schemars(range(min = 1, max = 268_435_456u64))]
    pub small_file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_file_bytes: 8 << 30, small_file_bytes: 8 << 20 }
    }
}

/// One SMB endpoint of a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Name or address of the file server.
    #[schemars(regex(pattern = "^[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?$"))]
    pub host: String,
    /// TCP port.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,
    /// Name of the share on the server (no slashes).
    #[schemars(regex(pattern = "^[^/\\\\]{1,80}$"))]
    pub share: String,
    /// The watched folder below the share's root, `/`-separated; empty for all of it.
    #[serde(default)]
    pub path: String,
    /// What happens to the clinic's copy.
    #[serde(default)]
    pub archive: ArchiveRule,
    /// When a file counts as done.
    #[serde(default)]
    pub settle: SettleRule,
    /// Time between two full listings, seconds. Notifications are faster; listings find what they missed.
    #[serde(default = "default_reconcile_s")]
    #[schemars(range(min = 1, max = 86_400))]
    pub reconcile_s: u32,
    /// Only names that match one of these globs (`*`, `?`; last component, any letter case). Empty: every name.
    #[serde(default)]
    pub only: Vec<String>,
    /// Names that are ignored, as globs. Names that writers give to unfinished files (`.tmp`, `.part`, `~$...`) are
    /// ignored always.
    #[serde(default = "default_ignore")]
    pub ignore: Vec<String>,
    /// Which files belong together and travel as one delivery. The first rule that claims a file wins.
    #[serde(default)]
    pub sets: Vec<SetRule>,
    /// Suffixes of marker files by which devices say that a recording is done, e.g. `.done` beside `a.dcm.done`. Short
    /// for a set rule of kind `marker` for every file.
    #[serde(default)]
    #[schemars(inner(regex(pattern = "^\\.[^/\\\\*?]+$")))]
    pub done_markers: Vec<String>,
    /// The workers that reach it.
    #[serde(default = "default_group")]
    pub group: WorkerGroup,
    /// The session must be encrypted (SMB 3), or nothing is read.
    #[serde(default = "yes")]
    pub encryption_required: bool,
    /// Off: known, but not watched.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// Changes to a share in one environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShareOverride {
    /// See the share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// See the share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// See the share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<String>,
    /// See the share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// See the share. Replaces the whole rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveRule>,
    /// See the share. Only the named periods change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settle: Option<SettleRule>,
    /// See the share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconcile_s: Option<u32>,
    /// See the share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<String>>,
    /// See the share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore: Option<Vec<String>>,
    /// See the share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sets: Option<Vec<SetRule>>,
    /// See the share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done_markers: Option<Vec<String>>,
    /// See the share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<WorkerGroup>,
    /// See the share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption_required: Option<bool>,
    /// See the share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// The formats that `leadline inspect` tells apart, by the names it gives them in JSON. The crate that knows them is not
/// one this crate may depend on; a test of the binary, which has both, holds the two lists equal.
pub const FORMATS: &[&str] = &[
    "aecg",
    "bdf",
    "bdf_plus",
    "cardiosoft_xml",
    "dicom",
    "dicom_document",
    "dicom_image",
    "dicom_waveform",
    "edf",
    "edf_plus",
    "fhir_json",
    "gzip",
    "hdf5",
    "hl7v2",
    "hl7v2_mllp",
    "ishne",
    "ishne_annotations",
    "json",
    "mat4",
    "mat5",
    "mat73",
    "mfer",
    "mortara_xml",
    "mp4",
    "muse_xml",
    "pdf",
    "philips_xml",
    "scp",
    "tar",
    "tar_gzip",
    "unknown",
    "vendor_xml",
    "wfdb_header",
    "xml",
    "zip",
];

fn format_names(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "array", "uniqueItems": true, "items": { "type": "string", "enum": FORMATS } })
}

fn default_port() -> u16 {
    445
}
fn default_reconcile_s() -> u32 {
    300
}
fn default_ignore() -> Vec<String> {
    ["Thumbs.db", "desktop.ini", ".DS_Store"].map(String::from).into()
}
fn default_group() -> WorkerGroup {
    WorkerGroup::parse("main").expect("a valid slug")
}
fn yes() -> bool {
    true
}

/// An organization as it is in one environment: overrides applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Organization {
    /// Short name.
    pub id: OrgId,
    /// What people call it.
    pub name: String,
    /// The law that binds its data.
    pub jurisdiction: Jurisdiction,
    /// Whom to call.
    pub contacts: Vec<Contact>,
    /// Formats that are accepted; empty: every format.
    pub formats: BTreeSet<String>,
    /// Sizes.
    pub limits: Limits,
    /// Its shares, by id, those that are not enabled included.
    pub shares: BTreeMap<ShareId, Share>,
    /// Its ways in besides SMB.
    pub gateway: super::OrgGateway,
    /// Its storages besides the one of its data.
    pub storage: super::OrgStorages,
    /// Whether other encodings are linked, if it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_encodings: Option<bool>,
}

impl Organization {
    /// Names of what it owns in an environment; proves that it may be there.
    ///
    /// # Errors
    /// `config.residency` when the environment does not allow its jurisdiction.
    pub fn scope(&self, env: &Environment) -> Result<OrgScope, Fault> {
        Placement::resolve(&self.id, &self.jurisdiction, &env.facts()).map(|p| OrgScope::new(self.id.clone(), p))
    }
    /// The names under which it has secrets: its shares, and its EHR if there is a client id for it.
    #[must_use]
    pub fn has_secret(&self, name: &ShareId) -> bool {
        let ehr = self.gateway.fhir.as_ref().is_some_and(|f| f.client_id.is_some());
        self.shares.contains_key(name) || (ehr && super::ehr_key_name().as_ref() == Some(name))
    }
    /// Whether a recording is linked to another encoding of it: as the file says, or if more than one way in is open.
    #[must_use]
    pub fn links_encodings(&self) -> bool {
        self.link_encodings.unwrap_or_else(|| {
            let g = &self.gateway;
            let open = [g.uploads.is_some(), g.hl7.is_some(), g.fhir.is_some(), g.dicom.is_some()];
            open.into_iter().filter(|o| *o).count() + usize::from(self.watched().next().is_some()) > 1
        })
    }
    /// The shares that are watched.
    pub fn watched(&self) -> impl Iterator<Item = (&ShareId, &Share)> {
        self.shares.iter().filter(|(_, s)| s.enabled)
    }
}

impl Share {
    /// All rules of files that belong together: `sets`, then those that `done_markers` is short for.
    #[must_use]
    pub fn set_rules(&self) -> Vec<SetRule> {
        let marker = |m: &String| SetRule::Marker { primary: Vec::new(), marker: m.clone(), appended: true };
        self.sets.iter().cloned().chain(self.done_markers.iter().map(marker)).collect()
    }

    /// Where it is, for comparison: two spellings of one place give the same text. Windows file servers ignore letter
    /// case in all three parts.
    #[must_use]
    pub fn place(&self) -> String {
        let path = normal_path(&self.path);
        format!("{}:{}/{}/{path}", self.host.to_lowercase().trim_end_matches('.'), self.port, self.share.to_lowercase())
    }
}

/// Components of a path that mean something, lower case, joined with `/`.
pub(crate) fn normal_path(path: &str) -> String {
    let parts: Vec<String> =
        path.split(['/', '\\']).filter(|p| !p.is_empty() && *p != ".").map(str::to_lowercase).collect();
    parts.join("/")
}
