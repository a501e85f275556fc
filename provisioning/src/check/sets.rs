//! Rules of files that belong together: what can never be complete, or could mean two things.

use crate::config::Share;
use leadline_formats::sets::SetRule;
use std::collections::BTreeMap;

/// Tells of a key of the share, what is wrong with it, and what to do.
type Tell<'a> = &'a mut dyn FnMut(&str, String, &str);

pub(super) fn check(share: &Share, tell: Tell<'_>) {
    // What each rule takes as its primary file: the first rule wins, a second one would never have a set.
    let mut primaries: BTreeMap<String, usize> = BTreeMap::new();
    for (n, rule) in share.sets.iter().enumerate() {
        let at = |name: &str| format!("sets.{n}.{name}");
        for (list, entries) in lists(rule) {
            for (i, entry) in entries.iter().enumerate() {
                let key = at(&format!("{list}.{i}"));
                if names_nothing(rule, entry) {
                    tell(&key, format!("\"{entry}\" is the {} of no file", what(rule)), "e.g. pdf");
                }
            }
        }
        match rule {
            SetRule::Stem { primary, required, optional } => {
                apart(rule, &at("required"), &[primary], required, "primary", tell);
                apart(rule, &at("optional"), &[primary, required], optional, "primary or required", tell);
            }
            SetRule::Folder { primary, required, optional } => {
                let primary = vec![primary.clone()];
                apart(rule, &at("required"), &[&primary], required, "primary", tell);
                apart(rule, &at("optional"), &[&primary, required], optional, "primary or required", tell);
            }
            SetRule::Marker { primary, marker, .. } => {
                if names_nothing(rule, marker) {
                    tell(&at("marker"), format!("\"{marker}\" is the extension of no file"), "e.g. done");
                }
                apart(rule, &at("primary"), &[&vec![marker.clone()]], primary, "the marker", tell);
            }
            SetRule::Wfdb { .. } => {}
        }
        for primary in named(rule) {
            if let Some(first) = primaries.insert(primary.clone(), n) {
                let help = "one rule for each kind of primary file";
                tell(&at("kind"), format!("rule {first} claims {} as its primary file already", shown(&primary)), help);
            }
        }
    }
    markers(share, tell);
}

fn names_nothing(rule: &SetRule, entry: &str) -> bool {
    let plain = plain(rule, entry);
    // An extension is what stands behind the last dot.
    let dotted = plain.contains('.') && !matches!(rule, SetRule::Folder { .. });
    plain.is_empty() || dotted || plain.contains(['/', '\\', '*', '?'])
}

/// The ways of naming markers must not differ: a file would belong to two sets.
fn markers(share: &Share, tell: Tell<'_>) {
    for (i, marker) in share.done_markers.iter().enumerate().filter(|(_, m)| m.rfind('.') != Some(0)) {
        tell(&format!("done_markers.{i}"), format!("\"{marker}\" is the extension of no file"), "e.g. .done");
    }
    let rules = share.set_rules();
    let by_stem = |r: &SetRule| matches!(r, SetRule::Marker { appended: false, .. });
    let appended = |r: &SetRule| matches!(r, SetRule::Marker { appended: true, .. });
    if rules.iter().any(by_stem) && rules.iter().any(appended) {
        let key = if share.done_markers.is_empty() { "sets" } else { "done_markers" };
        tell(
            key,
            "markers named by the stem (a.done) and by the whole name (a.dcm.done) stand side by side".into(),
            "the same appended for all of them",
        );
    }
    let stems = rules.iter().filter(|r| matches!(r, SetRule::Stem { .. } | SetRule::Wfdb { .. })).count();
    if rules.iter().any(by_stem) && stems > 1 {
        tell(
            "sets",
            "a marker named by the stem cannot tell which of several sets of that stem it is about".into(),
            "appended = true, or one rule by stem",
        );
    }
}

fn lists(rule: &SetRule) -> Vec<(&'static str, Vec<String>)> {
    match rule {
        SetRule::Wfdb { .. } => vec![],
        SetRule::Stem { primary, required, optional } => {
            vec![("primary", primary.clone()), ("required", required.clone()), ("optional", optional.clone())]
        }
        SetRule::Folder { primary, required, optional } => {
            vec![("primary", vec![primary.clone()]), ("required", required.clone()), ("optional", optional.clone())]
        }
        SetRule::Marker { primary, .. } => vec![("primary", primary.clone())],
    }
}

/// What a rule takes as its primary file. Markers may stand for the files of another rule.
fn named(rule: &SetRule) -> Vec<String> {
    match rule {
        SetRule::Wfdb { .. } => vec!["extension hea".into()],
        SetRule::Stem { primary, .. } => primary.iter().map(|p| format!("extension {}", plain(rule, p))).collect(),
        SetRule::Folder { primary, .. } => vec![format!("name {}", plain(rule, primary))],
        SetRule::Marker { .. } => vec![],
    }
}

fn shown(primary: &str) -> String {
    primary.split_once(' ').map_or_else(|| primary.to_owned(), |(kind, what)| format!("the {kind} {what}"))
}

fn what(rule: &SetRule) -> &'static str {
    if matches!(rule, SetRule::Folder { .. }) { "name" } else { "extension" }
}

/// An extension without its dot, a name as it is; letter case does not matter.
fn plain(rule: &SetRule, entry: &str) -> String {
    let entry = if matches!(rule, SetRule::Folder { .. }) { entry } else { entry.trim_start_matches('.') };
    entry.to_lowercase()
}

fn apart(rule: &SetRule, key: &str, others: &[&Vec<String>], list: &[String], whose: &str, tell: Tell<'_>) {
    for (i, entry) in list.iter().enumerate() {
        if others.iter().any(|o| o.iter().any(|e| plain(rule, e) == plain(rule, entry))) {
            let message = format!("\"{entry}\" is {whose} already");
            tell(&format!("{key}.{i}"), message, "each file has one place in its set");
        }
    }
}
