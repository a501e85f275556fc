//! Checks what people wrote: every finding at once, with file, line, key, and what to do. Pure; [`crate::load`] reads
//! the files.

mod delivery;
mod environments;
mod finding;
mod gateway_dicom;
mod gateway_fhir;
mod gateway_http;
mod gateway_listeners;
mod gateway_mllp;
mod organizations;
mod overlay;
mod sets;
mod shape;
mod source;
mod temporal;

pub use finding::{Finding, Severity};
pub use source::SourceFile;

use crate::config::{Config, DEFAULT_JURISDICTIONS, Environment, Jurisdictions, OrganizationFile, Promotion};
use finding::Findings;
use leadline_domain::{EnvId, OrgId};
use serde::de::DeserializeOwned;
use source::Parsed;
use std::collections::{BTreeMap, BTreeSet};

/// A file that has the right shape, with its place in the text.
pub(crate) struct Read<T> {
    pub(crate) value: T,
    pub(crate) parsed: Parsed,
}

/// What the folder holds, by the names of its files.
#[derive(Default)]
pub(crate) struct Folder {
    pub(crate) environments: Vec<Read<Environment>>,
    pub(crate) organizations: Vec<Read<OrganizationFile>>,
    pub(crate) jurisdictions: Jurisdictions,
    pub(crate) promotion: Option<Read<Promotion>>,
    /// Environments whose file is wrong in itself: they exist, and nothing more can be said of them.
    pub(crate) broken: BTreeSet<String>,
}

/// Checks a folder's files. `path` of each is relative to the folder: `us.toml`, `orgs/st-mary.toml`.
///
/// The configuration is given only if there is no error; warnings do not withhold it. Findings come sorted by file and
/// line.
#[must_use]
pub fn check(files: &[SourceFile]) -> (Option<Config>, Vec<Finding>) {
    let mut findings = Findings::default();
    let folder = read(files, &mut findings);
    environments::check(&folder, &mut findings);
    let placed = organizations::check(&folder, files, &mut findings);
    gateway_mllp::check(&folder, &placed, &mut findings);
    gateway_dicom::check(&folder, &placed, &mut findings);
    gateway_fhir::check(&folder, &placed, &mut findings);
    let findings = findings.sorted();
    if findings.iter().any(|f| f.severity == Severity::Error) {
        return (None, findings);
    }
    let config = Config {
        environments: folder.environments.into_iter().map(|r| (r.value.id.clone(), r.value)).collect(),
        files: folder.organizations.into_iter().map(|r| (r.value.id.clone(), r.value)).collect(),
        placed,
        jurisdictions: folder.jurisdictions,
        promotion: folder.promotion.map(|r| r.value).unwrap_or_default(),
    };
    (Some(config), findings)
}

fn read(files: &[SourceFile], findings: &mut Findings) -> Folder {
    let mut folder = Folder::default();
    let default = SourceFile::new("jurisdictions.toml", DEFAULT_JURISDICTIONS);
    let table = files.iter().find(|f| f.path == default.path).unwrap_or(&default);
    if let Some(r) = typed::<Jurisdictions>(table, findings) {
        folder.jurisdictions = r.value;
    }
    for file in files {
        let name = file.path.strip_suffix(".toml").unwrap_or(&file.path);
        match name.split_once('/') {
            None if name == "jurisdictions" => {}
            None if name == "promotion" => folder.promotion = typed(file, findings),
            None => {
                if let Some(r) = typed::<Environment>(file, findings) {
                    named_after(name, r.value.id.as_str(), &r.parsed, findings);
                    folder.environments.push(r);
                } else {
                    folder.broken.insert(name.to_owned());
                }
            }
            Some(("orgs", name)) => {
                if let Some(r) = typed::<OrganizationFile>(file, findings) {
                    named_after(name, r.value.id.as_str(), &r.parsed, findings);
                    folder.organizations.push(r);
                }
            }
            Some(_) => findings.warn(
                &file.path,
                None,
                "",
                "the file is in no folder that is read",
                "organizations belong into orgs/, environments into the folder itself",
            ),
        }
    }
    if folder.environments.is_empty() && !findings.any_error() {
        findings.error(
            ".",
            None,
            "",
            "no environment is configured",
            "write <id>.toml; environments/test.toml of the repository is an example",
        );
    }
    folder
}

/// Parses, checks the shape against the schema of the type, and makes a value of it. What has the wrong shape is told and
/// taken out, so that the rest is checked for what else is wrong with it.
fn typed<T: DeserializeOwned + schemars::JsonSchema>(file: &SourceFile, findings: &mut Findings) -> Option<Read<T>> {
    let mut parsed = Parsed::parse(file, findings)?;
    let misshapen = shape::check(&crate::schema::of::<T>(), &parsed, findings);
    for key in &misshapen {
        let gone = parsed.take_out(key);
        findings.leave_out(&file.path, gone);
    }
    match serde_json::from_value(parsed.value.clone()) {
        Ok(value) => Some(Read { value, parsed }),
        Err(_) if !misshapen.is_empty() => None,
        // What the schema lets through and the type does not, e.g. a number that is too large for it.
        Err(e) => {
            findings.error(&file.path, None, "", e.to_string(), "compare with the schema in environments/schema");
            None
        }
    }
}

fn named_after(stem: &str, id: &str, parsed: &Parsed, findings: &mut Findings) {
    if stem != id {
        findings.error(
            &parsed.path,
            parsed.line("id"),
            "id",
            format!("the file is called {stem}.toml, the id in it is {id}"),
            "make them equal; the id cannot change once its resources exist",
        );
    }
}

/// The key to blame for a value of an organization in an environment: the override's if there is one.
pub(crate) fn key_in(r: &Read<OrganizationFile>, env: &EnvId, key: &str) -> String {
    let over = format!("environment.{env}.{key}");
    let pointer = format!("/{}", over.replace('.', "/"));
    if r.parsed.value.pointer(&pointer).is_some() { over } else { key.to_owned() }
}

/// Two of them at once: by id, the first file that has it.
pub(crate) fn environment_ids(folder: &Folder) -> BTreeMap<&EnvId, &Read<Environment>> {
    folder.environments.iter().map(|r| (&r.value.id, r)).collect()
}

pub(crate) type Placed = BTreeMap<EnvId, BTreeMap<OrgId, crate::config::Organization>>;
