//! Copies of recordings between an organization's own storages. What may be transferred is decided here, once.

use crate::fault::{Fault, FaultCode};
use crate::ids::{Digest, OrgId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// A storage of an organization, made by its stack. A storage of another organization, account or region has no
/// spelling: names of buckets follow from organization, place and this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// Where ingestion puts recordings.
    Data,
    /// Copies for the processor, `[storage.processing]`.
    Processing,
}

impl Storage {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Data, Self::Processing];

    /// As it is in files and commands.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Processing => "processing",
        }
    }

    /// Parses a name.
    ///
    /// # Errors
    /// `transfer.refused` for anything else, e.g. a bucket or another organization.
    pub fn parse(s: &str) -> Result<Self, Fault> {
        Self::ALL.into_iter().find(|k| k.as_str() == s).ok_or_else(|| {
            refused(
                "a storage is data or processing, and always the organization's own: no bucket, no other organization",
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
}

impl Transfer {
    /// Decides whether it may be, in an organization that has these storages.
    ///
    /// # Errors
    /// `transfer.refused`.
    pub fn allowed(&self, storages: &BTreeSet<Storage>, moved: bool) -> Result<(), Fault> {
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
        if moved {
            // Invariant L5. The bucket's policy refuses it to everybody as well.
            return Err(refused("recordings are never removed from data: copy them"));
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
    /// The last one that was dealt with: a repeat goes on behind it.
    pub after: Option<Digest>,
    /// All of them were.
    pub complete: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn transfer(from: Storage, to: Storage) -> Transfer {
        Transfer { org: OrgId::parse("st-mary").unwrap(), from, to, selection: Selection::All }
    }

    #[test]
    fn only_from_data_to_a_storage_of_its_own() {
        use Storage::{Data, Processing};
        let both = BTreeSet::from([Processing]);
        assert_eq!(transfer(Data, Processing).allowed(&both, false), Ok(()));
        for (t, has, moved) in [
            (transfer(Data, Processing), &BTreeSet::new(), false),
            (transfer(Data, Data), &both, false),
            (transfer(Processing, Data), &both, false),
            (transfer(Processing, Processing), &both, false),
            (transfer(Data, Processing), &both, true),
        ] {
            assert_eq!(t.allowed(has, moved).unwrap_err().code, FaultCode::TransferRefused, "{t:?} {moved}");
        }
        for other in ["", "kings-road", "kings-road/data", "leadline-test-kings-road-111111111111", "s3://x", "DATA"] {
            assert_eq!(Storage::parse(other).unwrap_err().code, FaultCode::TransferRefused, "{other}");
        }
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
