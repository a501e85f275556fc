//! Groups names into units.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::SetRule;
use super::place::of_a_record;

/// A file by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// Path on the share, with `/` between folders.
    pub path: String,
}

impl Name {
    /// From a path.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into() }
    }
}

/// What a file is to its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The file that the unit is named after.
    Primary,
    /// A file that must be there.
    Required,
    /// A file that may be there.
    Optional,
    /// A marker: its existence counts, its content does not.
    Marker,
}

/// A file of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitMember {
    /// Path on the share.
    pub path: String,
    /// What it is to the unit.
    pub role: Role,
}

/// Files that travel together; most units are a single file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Position of the rule that made the unit; `None` for a file that no rule claims.
    pub rule: Option<usize>,
    /// Its files, the primary one first.
    pub members: Vec<UnitMember>,
    /// Paths that the rule asks for and that are not there.
    pub missing: Vec<String>,
}

pub(super) struct Split<'a> {
    pub(super) folder: &'a str,
    pub(super) file: &'a str,
    pub(super) stem: &'a str,
    pub(super) extension: &'a str,
}

pub(super) fn split(path: &str) -> Split<'_> {
    let (folder, file) = path.rfind('/').map_or(("", path), |at| path.split_at(at + 1));
    let (stem, extension) = match file.rfind('.') {
        Some(at) if at > 0 => (&file[..at], &file[at + 1..]),
        _ => (file, ""),
    };
    Split { folder, file, stem, extension }
}

pub(super) fn has(list: &[String], extension: &str) -> bool {
    list.iter().any(|entry| entry.trim_start_matches('.').eq_ignore_ascii_case(extension))
}

/// Groups files by rules. The first rule that claims a file wins; what no rule claims is a unit of its own. The
/// result does not depend on the order of the files, and names are compared without regard to case, as SMB does.
#[must_use]
pub fn group(files: &[Name], rules: &[SetRule]) -> Vec<Unit> {
    let mut paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    paths.sort_unstable();
    paths.dedup();
    let mut index = Index {
        by_name: HashMap::new(),
        by_stem: BTreeMap::new(),
        by_folder: BTreeMap::new(),
        claimed: vec![false; paths.len()],
    };
    for (i, path) in paths.iter().enumerate() {
        let parts = split(path);
        index.by_name.entry(path.to_lowercase()).or_insert(i);
        index.by_stem.entry(format!("{}{}", parts.folder, parts.stem).to_lowercase()).or_default().push(i);
        index.by_folder.entry(parts.folder.to_lowercase()).or_default().push(i);
    }
    let mut units = Vec::new();
    for (number, rule) in rules.iter().enumerate() {
        for i in 0..paths.len() {
            if !index.claimed[i]
                && let Some(mut unit) = claim(rule, i, &paths, &mut index)
            {
                unit.rule = Some(number);
                units.push(unit);
            }
        }
    }
    for (i, path) in paths.iter().enumerate().filter(|(i, _)| !index.claimed[*i]) {
        debug_assert!(i < paths.len());
        let members = vec![UnitMember { path: (*path).to_owned(), role: Role::Primary }];
        units.push(Unit { rule: None, members, missing: Vec::new() });
    }
    units.sort_by(|a, b| a.members[0].path.cmp(&b.members[0].path));
    units
}

struct Index {
    by_name: HashMap<String, usize>,
    by_stem: BTreeMap<String, Vec<usize>>,
    by_folder: BTreeMap<String, Vec<usize>>,
    claimed: Vec<bool>,
}

/// The unit that a rule makes around a file, when the file is a primary one for it.
fn claim(rule: &SetRule, i: usize, paths: &[&str], index: &mut Index) -> Option<Unit> {
    let parts = split(paths[i]);
    let mut unit = Unit { rule: None, members: Vec::new(), missing: Vec::new() };
    unit.members.push(UnitMember { path: paths[i].to_owned(), role: Role::Primary });
    match rule {
        SetRule::Wfdb { folder } => {
            if !parts.extension.eq_ignore_ascii_case("hea") {
                return None;
            }
            let beside = if *folder {
                index.by_folder.get(&parts.folder.to_lowercase()).cloned()
            } else {
                of_stem(&parts, index)
            };
            join(beside, i, paths, index, &mut unit, |extension| of_a_record(&extension.to_lowercase()));
        }
        SetRule::Stem { primary, required, optional } => {
            if !has(primary, parts.extension) {
                return None;
            }
            join(of_stem(&parts, index), i, paths, index, &mut unit, |extension| {
                if has(required, extension) {
                    Some(Role::Required)
                } else {
                    has(optional, extension).then_some(Role::Optional)
                }
            });
            for extension in required {
                let extension = extension.trim_start_matches('.');
                if !unit.members.iter().any(|member| split(&member.path).extension.eq_ignore_ascii_case(extension)) {
                    unit.missing.push(format!("{}{}.{extension}", parts.folder, parts.stem));
                }
            }
        }
        SetRule::Folder { primary, required, optional } => {
            if !parts.file.eq_ignore_ascii_case(primary) {
                return None;
            }
            for (names, role) in [(required, Role::Required), (optional, Role::Optional)] {
                for name in names {
                    take(&format!("{}{name}", parts.folder), role, paths, index, &mut unit);
                }
            }
        }
        SetRule::Marker { primary, marker, appended } => {
            let marker = marker.trim_start_matches('.');
            if parts.extension.eq_ignore_ascii_case(marker) || !primary.is_empty() && !has(primary, parts.extension) {
                return None;
            }
            let name = if *appended { parts.file } else { parts.stem };
            take(&format!("{}{name}.{marker}", parts.folder), Role::Marker, paths, index, &mut unit);
        }
    }
    index.claimed[i] = true;
    Some(unit)
}

/// Files with the stem of another one.
fn of_stem(parts: &Split<'_>, index: &Index) -> Option<Vec<usize>> {
    index.by_stem.get(&format!("{}{}", parts.folder, parts.stem).to_lowercase()).cloned()
}

/// Those of `others` that nothing has claimed and that have a `role` by their extension join the unit.
fn join(
    others: Option<Vec<usize>>,
    primary: usize,
    paths: &[&str],
    index: &mut Index,
    unit: &mut Unit,
    role: impl Fn(&str) -> Option<Role>,
) {
    for other in others.unwrap_or_default() {
        if other != primary
            && !index.claimed[other]
            && let Some(role) = role(split(paths[other]).extension)
        {
            index.claimed[other] = true;
            unit.members.push(UnitMember { path: paths[other].to_owned(), role });
        }
    }
}

fn take(path: &str, role: Role, paths: &[&str], index: &mut Index, unit: &mut Unit) {
    match index.by_name.get(&path.to_lowercase()) {
        // A marker may stand for several files.
        Some(other) if role == Role::Marker || !index.claimed[*other] => {
            index.claimed[*other] = true;
            unit.members.push(UnitMember { path: paths[*other].to_owned(), role });
        }
        _ if role == Role::Optional => {}
        _ => unit.missing.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[&str]) -> Vec<Name> {
        paths.iter().copied().map(Name::new).collect()
    }

    fn shape(units: &[Unit]) -> Vec<(Vec<&str>, usize)> {
        units.iter().map(|u| (u.members.iter().map(|m| m.path.as_str()).collect(), u.missing.len())).collect()
    }

    #[test]
    fn a_wfdb_record_takes_the_files_of_its_stem() {
        let units =
            group(&names(&["a/100.atr", "a/100.dat", "a/100.hea", "b/100.dat"]), &[SetRule::Wfdb { folder: false }]);
        assert_eq!(shape(&units), [(vec!["a/100.hea", "a/100.atr", "a/100.dat"], 0), (vec!["b/100.dat"], 0)]);
        // A report beside a record is a document of its own, and samples lie in MAT files too.
        let units = group(&names(&["1.hea", "1.mat", "1.pdf", "2.mat"]), &[SetRule::Wfdb { folder: false }]);
        assert_eq!(shape(&units), [(vec!["1.hea", "1.mat"], 0), (vec!["1.pdf"], 0), (vec!["2.mat"], 0)]);
    }

    #[test]
    fn a_folder_of_segments_is_one_record() {
        let paths = ["a/041s.hea", "a/041s01.dat", "a/041s01.hea", "a/041s02.MAT", "a/note.pdf", "b/1.hea", "c.dat"];
        let units = group(&names(&paths), &[SetRule::Wfdb { folder: true }]);
        let first = vec!["a/041s.hea", "a/041s01.dat", "a/041s01.hea", "a/041s02.MAT"];
        let rest = [(vec!["a/note.pdf"], 0), (vec!["b/1.hea"], 0), (vec!["c.dat"], 0)];
        assert_eq!(shape(&units), [[(first, 0)].as_slice(), &rest].concat());
    }

    #[test]
    fn a_stem_rule_names_what_is_missing() {
        let rule =
            SetRule::Stem { primary: vec!["xml".into()], required: vec!["pdf".into()], optional: vec!["txt".into()] };
        let units = group(&names(&["x.XML", "X.pdf", "y.xml", "z.pdf"]), &[rule]);
        assert_eq!(shape(&units), [(vec!["x.XML", "X.pdf"], 0), (vec!["y.xml"], 1), (vec!["z.pdf"], 0)]);
        assert_eq!(units[1].missing, ["y.pdf"]);
    }

    #[test]
    fn a_marker_releases_a_file() {
        let rule = SetRule::Marker { primary: vec![], marker: ".done".into(), appended: true };
        let units = group(&names(&["a.scp", "a.scp.done", "b.scp"]), &[rule]);
        assert_eq!(shape(&units), [(vec!["a.scp", "a.scp.done"], 0), (vec!["b.scp"], 1)]);
    }

    #[test]
    fn a_folder_rule_joins_fixed_names() {
        let rule =
            SetRule::Folder { primary: "patient.hea".into(), required: vec!["ecgraw.dat".into()], optional: vec![] };
        let units = group(&names(&["1/patient.hea", "1/ecgraw.dat", "2/patient.hea"]), &[rule]);
        assert_eq!(shape(&units), [(vec!["1/patient.hea", "1/ecgraw.dat"], 0), (vec!["2/patient.hea"], 1)]);
    }
}
