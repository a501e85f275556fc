//! A plan in words.

use super::{ChangeKind, Plan};
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "stack {} in account {}, region {}", self.stack, self.account, self.region)?;
        if self.is_empty() {
            writeln!(f, "  nothing to change")?;
        }
        for c in &self.changes {
            if c.logical_id.is_empty() {
                writeln!(f, "  change the stack itself: {}", c.why.join(", "))?;
            } else {
                writeln!(f, "  {c}")?;
                if c.loses() {
                    writeln!(f, "    data, or access to data, is lost with it; this was allowed by name")?;
                }
            }
        }
        for r in &self.repairs {
            writeln!(f, "  put back {r}: settings that were changed outside leadline, to what the template says")?;
        }
        for r in &self.remakes {
            writeln!(f, "  MAKE AGAIN {r}: it is gone")?;
            if self.holds_data(r) {
                writeln!(f, "    what it held is lost; making an empty one in its place was allowed by name")?;
            }
        }
        for a in self.allows.iter().filter(|a| !self.loses.contains(a) && !self.remakes.contains(a)) {
            writeln!(f, "  may lose {a}: allowed by name, though nothing of this plan takes it")?;
        }
        if self.deletes.is_some() {
            writeln!(f, "  OPEN the bucket for deletion")?;
        }
        let count = |k: ChangeKind| self.changes.iter().filter(|c| c.kind == k).count();
        writeln!(
            f,
            "{} to create, {} to change, {} to replace, {} to remove",
            count(ChangeKind::Create),
            count(ChangeKind::Update),
            count(ChangeKind::Replace),
            count(ChangeKind::Remove)
        )?;
        write!(f, "plan {}", self.digest)
    }
}
