//! Files that belong together, as the watch sees them: from names and rules to the members of a set.

use super::starts::Report;
use super::tracker::Ready;
use crate::registry::ShareConfig;
use leadline_domain::lifecycle::Intake;
use leadline_domain::set::{Member, MemberRole, SetKind, SetSpec, unit_key};
use leadline_domain::{FileKey, SharePath};
use leadline_formats::sets::{Place, Role, SetRule, needs};
use leadline_workflows::contracts::WatchInput;
use leadline_workflows::ids;
use leadline_workflows::set_lifecycle::SetReport;
use std::collections::{BTreeMap, BTreeSet};

/// Files of one set that are to join it together.
pub(super) struct Unit {
    pub(super) name: String,
    /// Position of its rule.
    pub(super) rule: usize,
    pub(super) files: Vec<(Place, Ready)>,
}

/// Parts what belongs to sets from what goes its way alone.
pub(super) fn split(config: &ShareConfig, ready: Vec<Ready>) -> (Vec<Ready>, Vec<Unit>) {
    if config.sets.is_empty() {
        return (ready, Vec::new());
    }
    let (mut alone, mut units) = (Vec::new(), BTreeMap::<String, Unit>::new());
    for r in ready {
        match config.place(&r.fingerprint.path) {
            None => alone.push(r),
            Some(place) => {
                let new = || Unit { name: place.unit.clone(), rule: place.rule, files: Vec::new() };
                units.entry(place.unit.clone()).or_insert_with(new).files.push((place, r));
            }
        }
    }
    (alone, units.into_values().collect())
}

/// Id of the workflow that has a set.
pub(super) fn id(input: &WatchInput, unit: &str) -> String {
    ids::set(&input.org, &input.share, &unit_key(&input.org, &input.share, unit))
}

pub(super) fn member(place: &Place, intake: Intake) -> Member {
    let role = match place.role {
        Role::Primary => MemberRole::Primary,
        Role::Required => MemberRole::Required,
        Role::Optional => MemberRole::Optional,
        Role::Marker => MemberRole::Marker,
    };
    Member { role, label: place.label.clone(), extension: place.extension.clone(), intake }
}

/// What the sets of a rule need.
pub(super) fn spec(rules: &[SetRule], rule: usize) -> SetSpec {
    let n = needs(rules, rule);
    let kind = match rules.get(rule) {
        Some(SetRule::Wfdb { .. }) => SetKind::Wfdb,
        Some(SetRule::Folder { .. }) => SetKind::Folder,
        Some(SetRule::Marker { .. }) => SetKind::Marker,
        Some(SetRule::Stem { .. }) | None => SetKind::Stem,
    };
    SetSpec { kind, required: n.required, optional: n.optional, open: n.open, marker: n.marker }
}

/// How a file ended with its set.
pub(super) fn ended(set: &SetReport, file: &FileKey) -> Option<Report> {
    let m = set.members.iter().find(|m| m.report.intake.file_key() == *file)?;
    let l = &m.report.lifecycle;
    let path = m.report.intake.fingerprint.path.clone();
    Some(Report::Ended { path, stat: l.stat.clone(), outcome: l.outcome.clone()?, archive: l.archive })
}

/// The files of each set that are on the share.
#[derive(Default)]
pub(super) struct Units(BTreeMap<String, BTreeSet<SharePath>>);

impl Units {
    pub(super) fn insert(&mut self, unit: String, path: SharePath) {
        self.0.entry(unit).or_default().insert(path);
    }

    /// The files of a set but for these.
    pub(super) fn others(&self, unit: &str, but: &[SharePath]) -> Vec<SharePath> {
        self.0.get(unit).into_iter().flatten().filter(|p| !but.contains(p)).cloned().collect()
    }

    /// Forgets files that are not there any more.
    pub(super) fn retain(&mut self, there: impl Fn(&SharePath) -> bool) {
        self.0.retain(|_, paths| {
            paths.retain(&there);
            !paths.is_empty()
        });
    }
}
