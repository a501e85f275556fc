//! What the members of a container say about themselves.

use crate::engine::Report;
use crate::{Evidence, Identity, Inspection, Inspector, Verdict, identity};

/// Members whose identity is taken into account.
const MOST: u64 = 10_000;

/// Collects the members of one container, one at a time.
pub(crate) struct Members {
    depth: u8,
    current: Option<Box<Inspector>>,
    identities: Vec<Identity>,
    count: u64,
    worst: Option<Inspection>,
}

impl Members {
    /// For a container at this depth; from depth one on members are passed over.
    pub(crate) fn new(depth: u8) -> Self {
        Self { depth, current: None, identities: Vec::new(), count: 0, worst: None }
    }

    pub(crate) fn begin(&mut self) {
        self.count += 1;
        let open = self.depth == 0 && self.count <= MOST;
        self.current = open.then(|| Box::new(Inspector::nested(None, self.depth + 1)));
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if let Some(inspector) = &mut self.current {
            inspector.push(bytes);
        }
    }

    pub(crate) fn end(&mut self) {
        let Some(inspector) = self.current.take() else { return };
        let inspection = inspector.finish();
        if !inspection.identity.is_empty() && self.identities.len() < 64 {
            self.identities.push(inspection.identity.clone());
        }
        let recorded = inspection.format.is_waveform() && inspection.verdict >= Verdict::Malformed;
        if recorded && self.worst.is_none() {
            self.worst = Some(inspection);
        }
    }

    /// Adds the identity of a container: that of its only recording, or a digest over those of all.
    pub(crate) fn report(&self, report: &mut Report) {
        match &self.identities[..] {
            [] => {}
            [one] => report.identity = one.clone(),
            many => {
                let natives: Vec<&[u8]> =
                    many.iter().filter_map(|id| id.native.as_deref()).map(str::as_bytes).collect();
                let waves: Vec<&[u8]> =
                    many.iter().filter_map(|id| id.waveform.as_deref()).map(str::as_bytes).collect();
                report.identity.native = identity::opaque("members", &natives);
                report.identity.waveform = identity::opaque("members", &waves).map(|hash| format!("members:{hash}"));
            }
        }
        // The container arrived whole whatever it holds, so this is a note and not a verdict.
        if let Some(inner) = &self.worst {
            report.note(Evidence::Inner { format: inner.format, verdict: inner.verdict });
        }
    }
}
