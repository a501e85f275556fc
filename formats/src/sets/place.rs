//! Which unit a file belongs to, told from its own name: its companions need not be there yet.

use super::group::{has, split};
use super::{Role, SetRule};

/// The place of a file in a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Position of the rule that the unit follows.
    pub rule: usize,
    /// Name of the unit, the same for all its files: the rule, the folder and what the files have in common, in lower
    /// case.
    pub unit: String,
    /// What the file is to its unit.
    pub role: Role,
    /// What [`Needs`] calls the file: its extension, or its name where the rule is one of fixed names. Lower case.
    pub label: String,
    /// Its extension, in lower case and without the dot; empty if it has none.
    pub extension: String,
}

/// What a unit needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Labels that must be there beside a primary file.
    pub required: Vec<String>,
    /// Labels that may be there.
    pub optional: Vec<String>,
    /// Files may belong to it that no list names.
    pub open: bool,
    /// A marker must be there.
    pub marker: bool,
}

/// Formats that are a recording or a document by themselves: a WFDB rule does not claim them. MAT files are none here: the
/// signals of many records lie in them (signal(5)).
const SELF_CONTAINED: [&str; 30] = [
    "dcm", "dicom", "pdf", "xml", "edf", "bdf", "scp", "zip", "gz", "tgz", "tar", "7z", "json", "hl7", "mp4", "mov",
    "avi", "h5", "hdf5", "csv", "txt", "rtf", "doc", "docx", "jpg", "jpeg", "png", "tif", "tiff", "log",
];

/// What a file with this extension, in lower case, is to a WFDB rule.
pub(super) fn of_a_record(extension: &str) -> Option<Role> {
    match extension {
        "hea" => Some(Role::Primary),
        "" => None,
        other => (!SELF_CONTAINED.contains(&other)).then_some(Role::Optional),
    }
}

/// The unit that a file belongs to, and what it is to it; `None` if no rule claims it. The first rule that claims a file
/// wins. A marker rule that covers files of another rule says when the sets of that one are done.
#[must_use]
pub fn place(path: &str, rules: &[SetRule]) -> Option<Place> {
    if rules.is_empty() {
        return None;
    }
    marker(path, rules).or_else(|| content(path, rules))
}

/// The place of a file that is no marker.
fn content(path: &str, rules: &[SetRule]) -> Option<Place> {
    match (member(path, rules), marked(path, rules)) {
        // A marker rule before the other takes the file for itself, unless it is about the sets of the other.
        (Some(m), Some(k)) if k.rule < m.rule && !covers(&rules[k.rule], &rules[m.rule]) => Some(k),
        (Some(m), _) => Some(m),
        (None, k) => k,
    }
}

/// What the units of a rule need.
#[must_use]
pub fn needs(rules: &[SetRule], rule: usize) -> Needs {
    let all = |list: &[String]| list.iter().map(|e| lower(e)).collect();
    match rules.get(rule) {
        None => Needs::default(),
        Some(SetRule::Wfdb { .. }) => Needs { open: true, marker: covered(rules, rule), ..Needs::default() },
        Some(SetRule::Stem { required, optional, .. } | SetRule::Folder { required, optional, .. }) => {
            Needs { required: all(required), optional: all(optional), open: false, marker: covered(rules, rule) }
        }
        // A marker that is named by the stem stands for every file of the stem.
        Some(SetRule::Marker { appended, .. }) => Needs { open: !appended, marker: true, ..Needs::default() },
    }
}

fn lower(extension: &str) -> String {
    extension.trim_start_matches('.').to_lowercase()
}

fn named(rule: &SetRule, what: &str) -> String {
    let name = match rule {
        SetRule::Wfdb { .. } => "wfdb".to_owned(),
        SetRule::Stem { primary, .. } => {
            format!("stem {}", primary.iter().map(|e| lower(e)).collect::<Vec<_>>().join(" "))
        }
        SetRule::Folder { primary, .. } => format!("folder {primary}"),
        SetRule::Marker { .. } => "marker".to_owned(),
    };
    format!("{name}|{what}").to_lowercase()
}

/// The place of a file by the rules that are about companions.
fn member(path: &str, rules: &[SetRule]) -> Option<Place> {
    let parts = split(path);
    let extension = lower(parts.extension);
    rules.iter().enumerate().find_map(|(n, rule)| {
        let (role, what, label) = match rule {
            SetRule::Wfdb { folder } => {
                let role = of_a_record(&extension)?;
                (role, if *folder { "" } else { parts.stem }, extension.clone())
            }
            SetRule::Stem { primary, required, optional } => {
                let role = [(primary, Role::Primary), (required, Role::Required), (optional, Role::Optional)]
                    .into_iter()
                    .find_map(|(list, role)| has(list, parts.extension).then_some(role))?;
                (role, parts.stem, extension.clone())
            }
            SetRule::Folder { primary, required, optional } => {
                let is = |name: &String| name.eq_ignore_ascii_case(parts.file);
                let role = if is(primary) {
                    Role::Primary
                } else if required.iter().any(is) {
                    Role::Required
                } else if optional.iter().any(is) {
                    Role::Optional
                } else {
                    return None;
                };
                (role, "", parts.file.to_lowercase())
            }
            SetRule::Marker { .. } => return None,
        };
        let unit = named(rule, &format!("{}{what}", parts.folder));
        Some(Place { rule: n, unit, role, label, extension: extension.clone() })
    })
}

/// The place of a marker: with the set that it is about, or with the file.
fn marker(path: &str, rules: &[SetRule]) -> Option<Place> {
    let parts = split(path);
    let extension = lower(parts.extension);
    rules.iter().enumerate().find_map(|(n, rule)| {
        let SetRule::Marker { marker, appended, .. } = rule else { return None };
        if extension.is_empty() || lower(marker) != extension {
            return None;
        }
        let base = format!("{}{}", parts.folder, parts.stem);
        let of = if *appended {
            content(&base, rules).filter(|p| covered(rules, p.rule)).map(|p| (p.rule, p.unit))
        } else {
            rules.iter().enumerate().filter(|(r, _)| covered(rules, *r)).find_map(|(r, rule)| match rule {
                SetRule::Wfdb { folder: true } => Some((r, named(rule, parts.folder))),
                SetRule::Wfdb { folder: false } | SetRule::Stem { .. } => Some((r, named(rule, &base))),
                SetRule::Folder { .. } | SetRule::Marker { .. } => None,
            })
        };
        let (rule, unit) = of.unwrap_or_else(|| (n, named(rule, &base)));
        Some(Place { rule, unit, role: Role::Marker, label: extension.clone(), extension: extension.clone() })
    })
}

/// The place of a file that waits for a marker and for nothing else.
fn marked(path: &str, rules: &[SetRule]) -> Option<Place> {
    let parts = split(path);
    rules.iter().enumerate().find_map(|(n, rule)| {
        let SetRule::Marker { primary, appended, .. } = rule else { return None };
        if !primary.is_empty() && !has(primary, parts.extension) {
            return None;
        }
        let what = if *appended { parts.file } else { parts.stem };
        let extension = lower(parts.extension);
        let unit = named(rule, &format!("{}{what}", parts.folder));
        Some(Place { rule: n, unit, role: Role::Primary, label: extension.clone(), extension })
    })
}

/// Whether the sets of a rule wait for a marker too.
fn covered(rules: &[SetRule], rule: usize) -> bool {
    rules.iter().any(|m| covers(m, &rules[rule]))
}

fn covers(marker: &SetRule, rule: &SetRule) -> bool {
    let SetRule::Marker { primary, .. } = marker else { return false };
    let primaries: Vec<&str> = match rule {
        SetRule::Wfdb { .. } => vec!["hea"],
        SetRule::Stem { primary, .. } => primary.iter().map(|e| e.trim_start_matches('.')).collect(),
        SetRule::Folder { primary, .. } => vec![split(primary).extension],
        SetRule::Marker { .. } => return true,
    };
    primary.is_empty() || primaries.iter().any(|p| has(primary, p))
}

#[cfg(test)]
mod tests {
    use super::super::{Name, group};
    use super::*;
    use proptest::prelude::*;

    fn stem() -> SetRule {
        SetRule::Stem { primary: vec!["xml".into()], required: vec![".PDF".into()], optional: vec!["txt".into()] }
    }

    fn marker(primary: &[&str], appended: bool) -> SetRule {
        let primary = primary.iter().map(|e| (*e).to_owned()).collect();
        SetRule::Marker { primary, marker: ".done".into(), appended }
    }

    fn at(path: &str, rules: &[SetRule]) -> Option<(usize, String, Role)> {
        place(path, rules).map(|p| (p.rule, p.unit, p.role))
    }

    #[test]
    fn files_of_one_stem_have_one_unit_whatever_their_case() {
        let rules = [stem()];
        let unit = "stem xml|in/a.b".to_owned();
        assert_eq!(at("in/A.b.XML", &rules), Some((0, unit.clone(), Role::Primary)));
        assert_eq!(at("in/a.B.pdf", &rules), Some((0, unit.clone(), Role::Required)));
        assert_eq!(at("in/a.b.txt", &rules), Some((0, unit, Role::Optional)));
        assert_eq!((at("in/a.b.dcm", &rules), at("in/a.b", &rules)), (None, None));
        assert_ne!(at("in/a.xml", &rules), at("in/x/a.xml", &rules));
        assert_eq!(needs(&rules, 0).required, ["pdf"]);
    }

    #[test]
    fn a_wfdb_rule_claims_what_could_be_samples_or_annotations() {
        let rules = [SetRule::Wfdb { folder: false }];
        for name in ["in/100.hea", "in/100.dat", "in/100.atr", "in/100.qrs", "in/100.mat"] {
            assert_eq!(place(name, &rules).unwrap().unit, "wfdb|in/100", "{name}");
        }
        for name in ["in/100.pdf", "in/100.DCM", "in/100", "in/100.xml"] {
            assert_eq!(place(name, &rules), None, "{name}");
        }
        let folder = [SetRule::Wfdb { folder: true }, marker(&[], false)];
        for name in ["in/7/041s.hea", "in/7/041S01.hea", "in/7/a.dat", "in/7/b.mat", "in/7/c.atr", "in/7/x.done"] {
            assert_eq!(place(name, &folder).unwrap().unit, "wfdb|in/7/", "{name}");
        }
        assert_eq!(place("in/7/x.pdf", &[SetRule::Wfdb { folder: true }]), None);
    }

    #[test]
    fn markers_go_with_what_they_are_about() {
        let alone = [marker(&[], true)];
        assert_eq!(at("in/a.scp", &alone).unwrap().1, at("in/A.scp.done", &alone).unwrap().1);
        assert_ne!(at("in/a.scp", &alone).unwrap().1, at("in/a.xml.done", &alone).unwrap().1);
        let by_stem = [marker(&["scp"], false)];
        assert_eq!(at("in/a.scp", &by_stem).unwrap().1, at("in/a.done", &by_stem).unwrap().1);
        assert_eq!(at("in/a.xml", &by_stem), None, "not one of its extensions");
        // Beside another rule a marker says when the sets of that one are done.
        for appended in [true, false] {
            let both = [stem(), marker(&[], appended)];
            let unit = at("in/a.pdf", &both).unwrap().1;
            let name = if appended { "in/a.xml.done" } else { "in/a.done" };
            assert_eq!(at(name, &both), Some((0, unit, Role::Marker)));
            assert!(needs(&both, 0).marker && needs(&both, 1).marker);
            assert_eq!(at("in/b.scp", &both).unwrap().0, 1);
        }
        // The first rule that claims a file wins, and the marker goes with the file.
        let first = [marker(&["raw"], true), SetRule::Wfdb { folder: false }];
        assert_eq!(at("in/a.raw", &first), Some((0, "marker|in/a.raw".into(), Role::Primary)));
        assert_eq!(at("in/a.raw.done", &first), Some((0, "marker|in/a.raw".into(), Role::Marker)));
        assert_eq!(at("in/a.dat", &first).unwrap().0, 1);
        let second = [SetRule::Wfdb { folder: false }, marker(&["raw"], true)];
        assert_eq!(at("in/a.raw", &second).unwrap().0, 0);
        let apart = [stem(), marker(&["scp"], true)];
        assert!(!needs(&apart, 0).marker);
    }

    #[test]
    fn fixed_names_make_one_unit_a_folder() {
        let rule =
            SetRule::Folder { primary: "patient.hea".into(), required: vec!["ECGraw.dat".into()], optional: vec![] };
        let rules = [rule];
        assert_eq!(at("in/7/Patient.hea", &rules).unwrap().1, at("in/7/ecgraw.DAT", &rules).unwrap().1);
        assert_eq!(at("in/7/other.dat", &rules), None);
        assert_eq!(needs(&rules, 0).required, ["ecgraw.dat"]);
    }

    proptest! {
        /// What is told from a name alone is what [`group`] finds once all files are there.
        #[test]
        fn a_place_agrees_with_the_group(picked in proptest::collection::btree_set((0usize..3, 0usize..4), 1..12)) {
            let rules = [stem()];
            let files: Vec<Name> = picked
                .iter()
                .map(|(s, e)| Name::new(format!("in/{}.{}", ["a", "b", "c"][*s], ["xml", "pdf", "txt", "dcm"][*e])))
                .collect();
            agree(&files, &rules);
        }

        /// So it is for records, whatever lies beside them.
        #[test]
        fn a_place_agrees_with_the_group_of_a_record(
            picked in proptest::collection::btree_set((0usize..3, 0usize..9), 1..16),
            folder in any::<bool>(),
        ) {
            let rules = [SetRule::Wfdb { folder }];
            let extensions = [".hea", ".dat", ".MAT", ".atr", ".pdf", ".xml", "", ".d0", ".HEA"];
            let files: Vec<Name> =
                picked.iter().map(|(s, e)| Name::new(format!("in/{}{}", ["a", "b", "c"][*s], extensions[*e]))).collect();
            agree(&files, &rules);
            // And where the header is there, nothing that a place claims stays out.
            let units = group(&files, &rules);
            for file in &files {
                let Some(place) = place(&file.path, &rules) else { continue };
                let headed = files.iter().any(|f| {
                    super::place(&f.path, &rules).is_some_and(|p| p.role == Role::Primary && p.unit == place.unit)
                });
                let claimed =
                    units.iter().any(|u| u.rule.is_some() && u.members.iter().any(|m| m.path == file.path));
                prop_assert_eq!(claimed, headed, "{}", file.path);
            }
        }
    }

    fn agree(files: &[Name], rules: &[SetRule]) {
        for unit in group(files, rules).iter().filter(|u| u.rule.is_some()) {
            let places: Vec<Place> = unit.members.iter().map(|m| place(&m.path, rules).unwrap()).collect();
            for (p, m) in places.iter().zip(&unit.members) {
                assert_eq!((p.role, &p.unit), (m.role, &places[0].unit), "{}", m.path);
            }
        }
    }
}
