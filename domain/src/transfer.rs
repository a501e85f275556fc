//! Copies and moves of recordings between an organization's own storages. What may be transferred is decided here, once.

use crate::fault::{Fault, FaultCode};
use crate::ids::{Digest, OrgId, RecordingId, hash_parts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// Name of the session of an organization's role in which recordings are moved. The policy of a storage that lets go of
/// recordings asks for it, so that nothing else that works with the role removes any.
pub const MOVING_SESSION: &str = "leadline-move";

/// A storage of an organization, made by its stack. A storage of another organization, account or region has no
/// spelling: names of buckets follow from organization, place and this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// Where ingestion puts recordings.
    Data,
    /// Copies for the processor, `[storage.processing]`.
    Processing,
    /// Copies that are kept, `[storage.archive]`.
    Archive,
}

impl Storage {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Data, Self::Processing, Self::Archive];

    /// As it is in files and commands.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Processing => "processing",
            Self::Archive => "archive",
        }
    }

    /// Whether recordings may be removed from it once they are in another: not from where ingestion put them
    /// (invariant L5), and not from where they are to be kept.
    #[must_use]
    pub fn lets_go(self) -> bool {
        match self {
            Self::Processing => true,
            Self::Data | Self::Archive => false,
        }
    }

    /// Parses a name.
    ///
    /// # Errors
    /// `transfer.refused` for anything else, e.g. a bucket or another organization.
    pub fn parse(s: &str) -> Result<Self, Fault> {
        Self::ALL.into_iter().find(|k| k.as_str() == s).ok_or_else(|| {
            refused(
                "a storage is data, processing or archive, and always the organization's own: no bucket, no other \
                 organization",
            )
        })
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn refused(why: impl Into<String>) -> Fault {
    Fault::new(FaultCode::TransferRefused, why)
}

/// Which recordings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Every one.
    #[default]
    All,
    /// Those whose digest begins so: 1 to 64 lower-case hexadecimal digits.
    Prefix(String),
    /// One.
    One(Digest),
}

impl Selection {
    /// Those whose digest begins with these digits.
    ///
    /// # Errors
    /// `transfer.refused` if these are no digits of a digest.
    pub fn prefix(s: &str) -> Result<Self, Fault> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if (1..=64).contains(&s.len()) && s.bytes().all(digit) {
            Ok(Self::Prefix(s.to_owned()))
        } else {
            Err(refused("a prefix is 1 to 64 lower-case hexadecimal digits of a digest"))
        }
    }

    /// Whether a recording is among them.
    #[must_use]
    pub fn takes(&self, digest: &Digest) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(p) => digest.to_hex().starts_with(p.as_str()),
            Self::One(d) => d == digest,
        }
    }

    /// Every digest that is taken is greater than this; `None` if there is no such bound.
    #[must_use]
    pub fn after(&self) -> Option<Digest> {
        let first = match self {
            Self::All => return None,
            Self::Prefix(p) => Digest::parse(&format!("{p:0<64}")).ok()?,
            Self::One(d) => *d,
        };
        let mut b = *first.as_bytes();
        // One less, borrowing from the left; nothing is less than zero.
        for byte in b.iter_mut().rev() {
            let (less, borrow) = byte.overflowing_sub(1);
            *byte = less;
            if !borrow {
                return Some(Digest::from_bytes(b));
            }
        }
        None
    }

    /// Whether no digest from this one on is taken.
    #[must_use]
    pub fn ends_before(&self, digest: &Digest) -> bool {
        match self {
            Self::All => false,
            Self::Prefix(p) => &digest.to_hex()[..p.len()] > p.as_str(),
            Self::One(d) => digest > d,
        }
    }
}

/// A transfer that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Organization.
    pub org: OrgId,
    /// From this storage of its.
    pub from: Storage,
    /// To this one.
    pub to: Storage,
    /// These recordings.
    pub selection: Selection,
    /// Whether each is removed from the first storage once its copy is verified.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moved: bool,
}

impl Transfer {
    /// Decides whether it may be, in an organization that has these storages.
    ///
    /// # Errors
    /// `transfer.refused`; `transfer.kept` for a move out of a storage that keeps what it has.
    pub fn allowed(&self, storages: &BTreeSet<Storage>) -> Result<(), Fault> {
        for s in [self.from, self.to] {
            if s != Storage::Data && !storages.contains(&s) {
                return Err(refused(format!("organization {} has no storage {s}", self.org)));
            }
        }
        if self.from == self.to {
            return Err(refused(format!("from {} to itself", self.from)));
        }
        if self.to == Storage::Data {
            // Invariant L3: the write of a recording there is its claim.
            return Err(refused("recordings come into data by ingestion only"));
        }
        if self.moved && !self.from.lets_go() {
            // The bucket's policy refuses it to everybody as well.
            let why = format!("recordings are never removed from {}: copy them", self.from);
            return Err(Fault::new(FaultCode::TransferKept, why));
        }
        Ok(())
    }
}

/// How far a transfer is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferReport {
    /// Recordings copied and verified.
    pub copied: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Recordings that were there already, verified.
    pub there: u64,
    /// Recordings removed from the first storage after that.
    #[serde(default, skip_serializing_if = "nothing")]
    pub removed: u64,
    /// The last one that was dealt with: a repeat goes on behind it.
    pub after: Option<Digest>,
    /// All of them were.
    pub complete: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn nothing(n: &u64) -> bool {
    *n == 0
}

/// The audit entry of a move, of the recording's history: written when the copy is verified and before the first storage
/// is told to let go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MoveEntry {
    /// The same for a repeat of the same entry, so that repeats are harmless.
    pub id: String,
    /// Version of this layout.
    pub schema: u32,
    /// Always `move`; entries about files have no kind.
    pub kind: String,
    /// Organization.
    pub organization: OrgId,
    /// The recording.
    pub recording: RecordingId,
    /// From this storage,
    pub from: Storage,
    /// to this one.
    pub to: Storage,
    /// The version of the object that is removed, as its store calls it.
    pub version: String,
    /// When it was written to the first storage, milliseconds since 1970-01-01 UTC by the store's clock.
    pub stored_ms: i64,
}

impl MoveEntry {
    /// The entry of a recording that a transfer moves.
    #[must_use]
    pub fn of(t: &Transfer, digest: &Digest, version: &str, stored_ms: i64) -> Self {
        let recording = RecordingId::new(&t.org, digest);
        let parts = [recording.as_str(), t.from.as_str(), t.to.as_str(), version];
        let h = hash_parts("leadline.move_entry.v1", &parts.map(str::as_bytes));
        Self {
            id: hex::encode(&h[..16]),
            schema: 1,
            kind: "move".into(),
            organization: t.org.clone(),
            recording,
            from: t.from,
            to: t.to,
            version: version.to_owned(),
            stored_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn transfer(from: Storage, to: Storage, moved: bool) -> Transfer {
        Transfer { org: OrgId::parse("st-mary").unwrap(), from, to, selection: Selection::All, moved }
    }

    /// Every pair of storages, copied and moved, in an organization that has them all.
    #[test]
    fn what_may_be_transferred() {
        use Storage::{Archive, Data, Processing};
        let all = BTreeSet::from([Processing, Archive]);
        let wanted = |from, to, moved| match (from, to, moved) {
            (_, Data, _) => Some(FaultCode::TransferRefused),
            (a, b, _) if a == b => Some(FaultCode::TransferRefused),
            (Data | Archive, _, true) => Some(FaultCode::TransferKept),
            _ => None,
        };
        for (from, to) in Storage::ALL.into_iter().flat_map(|a| Storage::ALL.map(|b| (a, b))) {
            for moved in [false, true] {
                let t = transfer(from, to, moved);
                assert_eq!(t.allowed(&all).err().map(|f| f.code), wanted(from, to, moved), "{t:?}");
                // A move is another transfer than the copy; and it is never to be one that nobody asked for.
                let text = serde_json::to_string(&t).unwrap();
                assert_eq!(text.contains("moved"), moved);
                assert_eq!(serde_json::from_str::<Transfer>(&text).unwrap(), t);
            }
        }
    }

    #[test]
    fn only_between_storages_of_its_own() {
        use Storage::{Archive, Data, Processing};
        let one = BTreeSet::from([Processing]);
        assert_eq!(transfer(Data, Processing, false).allowed(&one), Ok(()));
        for t in
            [transfer(Data, Archive, false), transfer(Archive, Processing, false), transfer(Processing, Archive, true)]
        {
            assert_eq!(t.allowed(&one).unwrap_err().code, FaultCode::TransferRefused, "{t:?}");
        }
        for other in ["", "kings-road", "kings-road/data", "leadline-test-kings-road-111111111111", "s3://x", "DATA"] {
            assert_eq!(Storage::parse(other).unwrap_err().code, FaultCode::TransferRefused, "{other}");
        }
    }

    #[test]
    fn a_move_of_the_same_version_has_one_entry() {
        let (t, d) = (transfer(Storage::Processing, Storage::Archive, true), Digest::of(b"x"));
        let entry = MoveEntry::of(&t, &d, "v1", 7);
        assert_eq!(MoveEntry::of(&t, &d, "v1", 7), entry);
        // Copied again, and moved again, is another move.
        assert_ne!(MoveEntry::of(&t, &d, "v2", 8).id, entry.id);
        assert_ne!(MoveEntry::of(&t, &Digest::of(b"y"), "v1", 7).id, entry.id);
    }

    proptest! {
        /// A walk in the order of digests from `after` to `ends_before` meets everything that is taken.
        #[test]
        fn bounds_hold_everything_that_is_taken(d: [u8; 32], n in 1usize..64, other: [u8; 32]) {
            let (d, other) = (Digest::from_bytes(d), Digest::from_bytes(other));
            for s in [Selection::prefix(&d.to_hex()[..n]).unwrap(), Selection::One(d), Selection::All] {
                prop_assert!(s.takes(&d) && !s.ends_before(&d) && s.after().is_none_or(|a| a < d));
                if s.takes(&other) {
                    prop_assert!(!s.ends_before(&other) && s.after().is_none_or(|a| a < other));
                }
                if s.ends_before(&other) {
                    prop_assert!(other > d && !s.takes(&other));
                }
            }
        }
    }
}
