//! What happens to the clinic's copy once a recording is delivered.

use crate::observe::{SharePath, VersionKey};
use serde::{Deserialize, Serialize};

/// The rule of a share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum ArchiveRule {
    /// Move it into a folder of the same share, under the date of delivery.
    Move {
        /// Folder below the share's root.
        folder: String,
    },
    /// Leave it where it is.
    Leave,
}

impl Default for ArchiveRule {
    fn default() -> Self {
        Self::Move { folder: "_archive".into() }
    }
}

/// Numbered names that are tried before those with a tag: a name that comes twice a day stays readable.
const NUMBERED: u32 = 3;
/// Hexadecimal digits of a tag.
const TAG: usize = 12;

/// The names to try for a file in the archive, in order: its own below `folder/<date>/` first, then with a number, then
/// with a tag that is this version's own. A name that is taken belongs to another file and is never replaced (invariant
/// L4). A device that gives every recording the same name, in a folder each, has thousands of them in the folder of a
/// day: numbers alone would have the n-th of them tried n times. The tag is the same in every run of the step, which has
/// to find what an earlier one moved.
pub fn candidates(
    folder: &str,
    date: &str,
    path: &SharePath,
    version: &VersionKey,
) -> impl Iterator<Item = SharePath> + use<> {
    let dir = SharePath::new(folder).join(date);
    let name = path.name().to_owned();
    let (stem, ext) = match name.rsplit_once('.') {
        Some((s, e)) if !s.is_empty() => (s.to_owned(), format!(".{e}")),
        _ => (name.clone(), String::new()),
    };
    let tag: String = version.as_str().chars().take(TAG).collect();
    let marks = (1..=NUMBERED).map(|n| n.to_string()).chain([tag.clone()]);
    let more = marks.chain((1..100).map(move |n| format!("{tag}-{n}")));
    let named = more.map(move |mark| marked(&stem, &ext, &mark));
    std::iter::once(name).chain(named).map(move |n| dir.join(&n))
}

/// `stem~mark.ext`, the stem cut so that the name keeps within 255 bytes (the limit of common file systems).
fn marked(stem: &str, ext: &str, mark: &str) -> String {
    let tail = format!("~{mark}{ext}");
    let mut end = stem.len().min(255usize.saturating_sub(tail.len()));
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{tail}", &stem[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileStat, Fingerprint, OrgId, ShareId};
    use proptest::prelude::*;

    fn version(n: u64) -> VersionKey {
        let (org, share) = (OrgId::parse("st-mary").unwrap(), ShareId::parse("ward").unwrap());
        let stat = FileStat { file_id: n, size: 1, modified: 1, changed: 1 };
        Fingerprint { path: SharePath::new(format!("in/{n}/ecgraw.dat")), stat }.version_key(&org, &share)
    }

    #[test]
    fn names_in_order() {
        let v = version(1);
        let tag = &v.as_str()[..TAG];
        let all = candidates("_archive", "2026-01-02", &SharePath::new("in/a.b.dcm"), &v);
        let c: Vec<_> = all.map(|p| p.expose().to_owned()).take(6).collect();
        let expected = ["a.b", "a.b~1", "a.b~2", "a.b~3", &format!("a.b~{tag}"), &format!("a.b~{tag}-1")];
        assert_eq!(c, expected.map(|stem| format!("_archive/2026-01-02/{stem}.dcm")));
    }

    #[test]
    fn of_thousands_with_one_name_each_soon_finds_a_name_of_its_own() {
        let mut taken = std::collections::BTreeSet::new();
        for n in 0..5_000 {
            let path = SharePath::new(format!("in/{n}/ecgraw.dat"));
            let mut names = candidates("_archive", "2026-01-02", &path, &version(n)).take(10);
            assert!(names.any(|c| taken.insert(c.expose().to_owned())), "{n}");
        }
    }

    proptest! {
        #[test]
        fn names_are_distinct_and_fit(name in "[^/]{1,63}") {
            let c: Vec<_> = candidates("_a", "d", &SharePath::new(format!("x{name}y")), &version(1)).take(50).collect();
            let set: std::collections::BTreeSet<_> = c.iter().map(|p| p.expose().to_owned()).collect();
            prop_assert_eq!(set.len(), 50);
            prop_assert!(c.iter().all(|p| p.name().len() <= 255));
        }
    }
}
