//! What an inspection says: a format, a verdict, the facts behind it, and an identity.

use serde::{Deserialize, Serialize};

use crate::{Evidence, Format, Identity};

/// How far the structure of a content is closed.
///
/// The order is the order of weight: when several findings apply, the greatest is the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything that the format lets a reader check is there.
    Complete,
    /// The content cannot tell: the format has no end mark, or it is not known.
    Unverifiable,
    /// Looks preallocated or padded: the bytes may still be on their way.
    Suspect,
    /// The structure contradicts itself.
    Malformed,
    /// Provably short: the content itself says that more must follow.
    Partial,
}

impl Verdict {
    /// The name that the serialized form uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Unverifiable => "unverifiable",
            Self::Suspect => "suspect",
            Self::Malformed => "malformed",
            Self::Partial => "partial",
        }
    }
}

/// The result of looking at one content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// What kind of file it is.
    pub format: Format,
    /// Whether its structure is closed.
    pub verdict: Verdict,
    /// The facts that led to the verdict, in the order found; at most [`Inspection::MAX_EVIDENCE`].
    pub evidence: Vec<Evidence>,
    /// Which recording it is, as far as the content says.
    pub identity: Identity,
}

impl Inspection {
    /// More facts than this are not kept: the first ones say what is wrong.
    pub const MAX_EVIDENCE: usize = 16;

    /// One line for an operator: the verdict and the sentences of the evidence.
    #[must_use]
    pub fn summary(&self) -> String {
        let facts: Vec<String> = self.evidence.iter().map(Evidence::sentence).collect();
        let head = format!("{}: {}", self.format.label(), self.verdict.as_str());
        if facts.is_empty() { head } else { format!("{head}. {}", facts.join(" ")) }
    }
}
