//! What happens to the clinic's copy once a recording is delivered.

use crate::observe::SharePath;
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

/// The names to try for a file in the archive, in order: its own below `folder/<date>/` first, then with a number. A
/// name that is taken belongs to another file and is never replaced (invariant L4).
pub fn candidates(folder: &str, date: &str, path: &SharePath) -> impl Iterator<Item = SharePath> {
    let dir = SharePath::new(folder).join(date);
    let name = path.name().to_owned();
    let (stem, ext) = match name.rsplit_once('.') {
        Some((s, e)) if !s.is_empty() => (s.to_owned(), format!(".{e}")),
        _ => (name.clone(), String::new()),
    };
    (0u32..1000).map(move |n| if n == 0 { dir.join(&name) } else { dir.join(&numbered(&stem, &ext, n)) })
}

/// `stem~n.ext`, the stem cut so that the name keeps within 255 bytes (the limit of common file systems).
fn numbered(stem: &str, ext: &str, n: u32) -> String {
    let tail = format!("~{n}{ext}");
    let mut end = stem.len().min(255usize.saturating_sub(tail.len()));
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{tail}", &stem[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_in_order() {
        let c: Vec<_> = candidates("_archive", "2026-01-02", &SharePath::new("in/a.b.dcm")).take(2).collect();
        assert_eq!(c[0].expose(), "_archive/2026-01-02/a.b.dcm");
        assert_eq!(c[1].expose(), "_archive/2026-01-02/a.b~1.dcm");
    }

    proptest! {
        #[test]
        fn names_are_distinct_and_fit(name in "[^/]{1,63}") {
            let c: Vec<_> = candidates("_a", "d", &SharePath::new(format!("x{name}y"))).take(50).collect();
            let set: std::collections::BTreeSet<_> = c.iter().map(|p| p.expose().to_owned()).collect();
            prop_assert_eq!(set.len(), 50);
            prop_assert!(c.iter().all(|p| p.name().len() <= 255));
        }
    }
}
