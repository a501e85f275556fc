//! Collects what a parser finds.

use crate::{Evidence, Format, Identity, Inspection, Verdict};

/// The findings about one content.
pub(crate) struct Report {
    pub(crate) format: Format,
    pub(crate) verdict: Verdict,
    pub(crate) identity: Identity,
    /// From where on zero bytes mean nothing, where a format has a place for them at its end.
    pub(crate) padding: Option<u64>,
    evidence: Vec<Evidence>,
}

impl Report {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, verdict: Verdict::Complete, identity: Identity::default(), padding: None, evidence: Vec::new() }
    }

    pub(crate) fn partial(&mut self, fact: Evidence) {
        self.add(Verdict::Partial, fact);
    }

    pub(crate) fn malformed(&mut self, fact: Evidence) {
        self.add(Verdict::Malformed, fact);
    }

    pub(crate) fn suspect(&mut self, fact: Evidence) {
        self.add(Verdict::Suspect, fact);
    }

    pub(crate) fn unverifiable(&mut self, fact: Evidence) {
        self.add(Verdict::Unverifiable, fact);
    }

    pub(crate) fn note(&mut self, fact: Evidence) {
        self.add(Verdict::Complete, fact);
    }

    pub(crate) fn add(&mut self, verdict: Verdict, fact: Evidence) {
        self.verdict = self.verdict.max(verdict);
        if self.evidence.len() < Inspection::MAX_EVIDENCE && !self.evidence.contains(&fact) {
            self.evidence.push(fact);
        }
    }

    /// Takes over what another report found: the weightier verdict, and its facts.
    pub(crate) fn absorb(&mut self, found: &Self) {
        self.verdict = self.verdict.max(found.verdict);
        for fact in &found.evidence {
            self.add(Verdict::Complete, *fact);
        }
    }

    pub(crate) fn into_inspection(self) -> Inspection {
        Inspection { format: self.format, verdict: self.verdict, evidence: self.evidence, identity: self.identity }
    }
}
