//! Whether a set is complete: when all its members are.

use serde::{Deserialize, Serialize};

use super::{Role, Unit};
use crate::{Evidence, Format, Part, Verdict};

/// What is known of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberState {
    /// What kind of file it is.
    pub format: Format,
    /// The verdict on the file by itself.
    pub verdict: Verdict,
}

/// The verdict on a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetVerdict {
    /// The worst of its members, or partial when one is missing.
    pub verdict: Verdict,
    /// What led to it.
    pub evidence: Vec<Evidence>,
}

impl SetVerdict {
    /// A verdict without a finding.
    #[must_use]
    pub fn complete() -> Self {
        Self { verdict: Verdict::Complete, evidence: Vec::new() }
    }

    /// Adds a finding: the weightier verdict stays.
    pub fn add(&mut self, verdict: Verdict, fact: Evidence) {
        self.verdict = self.verdict.max(verdict);
        if self.evidence.len() < crate::Inspection::MAX_EVIDENCE && !self.evidence.contains(&fact) {
            self.evidence.push(fact);
        }
    }
}

/// Judges a unit by its members. `state` tells what is known of a path; an unknown one counts as missing.
#[must_use]
pub fn set_verdict(unit: &Unit, state: impl Fn(&str) -> Option<MemberState>) -> SetVerdict {
    let mut set = SetVerdict::complete();
    if !unit.missing.is_empty() {
        set.add(Verdict::Partial, Evidence::Missing { part: Part::Companion });
    }
    for member in &unit.members {
        match state(&member.path) {
            None => set.add(Verdict::Partial, Evidence::Missing { part: Part::Companion }),
            Some(_) if member.role == Role::Marker => {}
            Some(state) if state.verdict != Verdict::Complete => {
                set.add(state.verdict, Evidence::Inner { format: state.format, verdict: state.verdict });
            }
            Some(_) => {}
        }
    }
    set
}
