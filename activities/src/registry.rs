//! What is configured: the environment this worker serves, and its organizations. Read from the environments folder, and
//! read again when a file there changes, so that a newly onboarded organization needs no restart.

use leadline_domain::gates::Gates;
use leadline_domain::outcome::OutcomeRule;
use leadline_domain::transfer::Storage;
use leadline_domain::{
    ArchiveRule, EnvFacts, EnvScope, Fault, FaultCode, IngressEndpoints, OrgId, OrgScope, SettleRule, ShareId,
    SharePath, WorkerGroup,
};
use leadline_formats::sets::{Place, Role, SetRule, needs};
use leadline_provisioning::config::ehr_key_name;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};

/// One share, with everything an activity needs to know of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ShareConfig {
    /// `host:port` of the file server.
    pub address: String,
    /// Share name on the server.
    pub share: String,
    /// The watched folder below the share's root.
    pub folder: SharePath,
    /// Workers that reach it.
    pub group: WorkerGroup,
    /// When a file is done.
    pub settle: SettleRule,
    /// What happens to the clinic's copy.
    pub archive: ArchiveRule,
    /// Time between two full listings, milliseconds.
    pub reconcile_ms: u64,
    /// If not empty: only names that match one of these globs.
    pub only: Vec<String>,
    /// Names that are ignored by rule, as globs (`*`, `?`), matched against the last component, case-insensitively.
    pub ignore: Vec<String>,
    /// Which files belong together.
    pub sets: Vec<SetRule>,
    /// Up to this size a file is read as a whole, bytes.
    pub small_bytes: u64,
    /// Larger files are quarantined, bytes.
    pub max_bytes: u64,
    /// Formats that are delivered; any if empty.
    pub formats: BTreeSet<String>,
    /// The session must be encrypted.
    pub require_encryption: bool,
}

impl ShareConfig {
    /// The folders a listing does not descend into.
    #[must_use]
    pub fn except(&self) -> Vec<SharePath> {
        match &self.archive {
            ArchiveRule::Move { folder } => vec![SharePath::new(folder.clone())],
            ArchiveRule::Leave => Vec::new(),
        }
    }

    /// The set that a file belongs to, by its name; `None` for one that goes its way alone.
    #[must_use]
    pub fn place(&self, path: &SharePath) -> Option<Place> {
        leadline_formats::sets::place(path.expose(), &self.sets)
    }

    /// Whether a file of this name is delivered though no other comes with it.
    #[must_use]
    pub fn goes_alone(&self, path: &SharePath) -> bool {
        self.place(path).is_none_or(|p| {
            let needs = needs(&self.sets, p.rule);
            p.role == Role::Primary && needs.required.is_empty() && !needs.marker
        })
    }

    /// Whether a format is one that the organization delivers, as `leadline inspect` names it.
    #[must_use]
    pub fn delivers(&self, format: &str) -> bool {
        delivered(&self.formats, format)
    }

    /// Whether a path is one that the watch deals with.
    #[must_use]
    pub fn concerns(&self, path: &SharePath) -> bool {
        path.is_under(&self.folder)
            && !self.except().iter().any(|e| path.is_under_any_case(e))
            && (self.only.is_empty() || named(&self.only, path))
            && !named(&self.ignore, path)
    }
}

fn named(globs: &[String], path: &SharePath) -> bool {
    let name = path.name().to_lowercase();
    globs.iter().any(|g| glob(&g.to_lowercase(), &name))
}

/// `*` any run of characters, `?` one character. Linear in the length of the name for each `*`.
fn glob(pattern: &str, name: &str) -> bool {
    let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut i, mut j, mut star) = (0, 0, None);
    while j < n.len() {
        if i < p.len() && (p[i] == '?' || p[i] == n[j]) && p[i] != '*' {
            i += 1;
            j += 1;
        } else if i < p.len() && p[i] == '*' {
            star = Some((i, j));
            i += 1;
        } else if let Some((si, sj)) = star {
            i = si + 1;
            j = sj + 1;
            star = Some((si, sj + 1));
        } else {
            return false;
        }
    }
    p[i..].iter().all(|c| *c == '*')
}

/// One organization.
#[derive(Debug, Clone, PartialEq)]
pub struct OrgConfig {
    /// Names of what it owns; holds the proof that it may be here.
    pub scope: OrgScope,
    /// Its shares.
    pub shares: BTreeMap<ShareId, ShareConfig>,
    /// Up to this size received content is read as a whole, and larger than that it is refused, bytes.
    pub limits: (u64, u64),
    /// Formats that are delivered; any if empty.
    pub formats: BTreeSet<String>,
    /// Names of its secrets: of all its shares, watched or not, and of its EHR.
    pub secrets: BTreeSet<ShareId>,
    /// Its storages besides the one of its data.
    pub storages: BTreeSet<Storage>,
    /// Whether a recording that came in another encoding is looked for: one request more for each.
    pub link_encodings: bool,
    /// Its ways in besides the shares, for canaries.
    pub endpoints: IngressEndpoints,
}

impl OrgConfig {
    /// Its shares, watched or not.
    pub fn every_share(&self) -> impl Iterator<Item = &ShareId> {
        let ehr = ehr_key_name();
        self.secrets.iter().filter(move |s| Some(*s) != ehr.as_ref())
    }
}

/// Whether a format is one of those that an organization delivers; none means all.
#[must_use]
pub fn delivered(formats: &BTreeSet<String>, format: &str) -> bool {
    formats.is_empty() || formats.contains(format)
}

/// Everything, as it was when it was read.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The environment.
    pub facts: EnvFacts,
    /// What stands in front of it; nothing where everything may be applied.
    pub gates: Option<Gates>,
    /// How long everything of an organization that leaves is held, days.
    pub retention_days: u32,
    /// When a report of the processor is overdue; nothing where none is expected.
    pub outcomes: Option<OutcomeRule>,
    /// Organizations placed in it.
    pub orgs: BTreeMap<OrgId, OrgConfig>,
}

/// Reads a snapshot, or says that nothing changed since the last time.
pub type Reload = Box<dyn Fn() -> Result<Option<Snapshot>, Fault> + Send + Sync>;

/// See the module.
pub struct Registry {
    current: RwLock<Arc<Snapshot>>,
    reload: Option<Reload>,
}

impl Registry {
    /// A registry that never changes.
    #[must_use]
    pub fn fixed(snapshot: Snapshot) -> Self {
        Self { current: RwLock::new(Arc::new(snapshot)), reload: None }
    }

    /// A registry that is read by `reload`, now and whenever it says that something changed.
    ///
    /// # Errors
    /// `config.invalid` if it cannot be read now.
    pub fn reloading(reload: Reload) -> Result<Self, Fault> {
        let first = reload()?.ok_or_else(|| Fault::new(FaultCode::BugInvariant, "first load found no change"))?;
        Ok(Self { current: RwLock::new(Arc::new(first)), reload: Some(reload) })
    }

    /// What is configured now. A file that became invalid keeps what was valid before, and is logged.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        if let Some(reload) = &self.reload {
            match reload() {
                Ok(Some(s)) => *self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(s),
                Ok(None) => {}
                Err(fault) => tracing::error!(%fault, "configuration not reloaded"),
            }
        }
        Arc::clone(&self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The environment's names.
    #[must_use]
    pub fn env(&self) -> EnvScope {
        EnvScope::new(&self.snapshot().facts)
    }

    /// The gates in front of the environment.
    #[must_use]
    pub fn gates(&self) -> Option<Gates> {
        self.snapshot().gates.clone()
    }

    /// An organization.
    ///
    /// # Errors
    /// `config.unknown_org`.
    pub fn org(&self, org: &OrgId) -> Result<OrgConfig, Fault> {
        self.snapshot().orgs.get(org).cloned().ok_or_else(|| {
            Fault::new(FaultCode::ConfigUnknownOrg, format!("organization {org} is not configured here"))
        })
    }

    /// The names of what an organization owns.
    ///
    /// # Errors
    /// `config.unknown_org`.
    pub fn scope(&self, org: &OrgId) -> Result<OrgScope, Fault> {
        Ok(self.org(org)?.scope)
    }

    /// A share.
    ///
    /// # Errors
    /// `config.unknown_org`, `config.unknown_share`.
    pub fn share(&self, org: &OrgId, share: &ShareId) -> Result<ShareConfig, Fault> {
        self.org(org)?.shares.remove(share).ok_or_else(|| {
            Fault::new(FaultCode::ConfigUnknownShare, format!("organization {org} has no share {share} here"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn globs() {
        for (p, n, yes) in [
            ("*.log", "a.log", true),
            ("*.log", "a.log.dcm", false),
            ("thumbs.db", "thumbs.db", true),
            ("?.xml", "ab.xml", false),
            ("*a*b*", "xxaxxbxx", true),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(glob(p, n), yes, "{p} {n}");
        }
    }
}
