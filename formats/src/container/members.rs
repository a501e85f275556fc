//! What the members of a container say about themselves.

use sha2::{Digest as _, Sha256};

use crate::engine::Report;
use crate::identity::Running;
use crate::{Evidence, Identity, Inspection, Inspector, Verdict};

/// Members that are taken into account.
const MOST: u64 = 10_000;

/// Collects the members of one container, one at a time.
pub(crate) struct Members {
    depth: u8,
    current: Option<Box<Current>>,
    count: u64,
    /// Members that hold bytes. Folders and empty files say nothing.
    filled: u64,
    /// The first member that says which recording it is, and how many do.
    first: Option<Identity>,
    recordings: u64,
    natives: Running,
    revisions: Running,
    contents: Running,
    /// Whether a member was passed over, whose content may be anything.
    unread: bool,
    worst: Option<Inspection>,
}

struct Current {
    inspector: Inspector,
    bytes: Sha256,
    len: u64,
}

impl Members {
    /// For a container at this depth; from depth one on members are passed over.
    pub(crate) fn new(depth: u8) -> Self {
        Self {
            depth,
            current: None,
            count: 0,
            filled: 0,
            first: None,
            recordings: 0,
            natives: Running::new("members"),
            revisions: Running::new("members-revision"),
            contents: Running::new("members-content"),
            unread: false,
            worst: None,
        }
    }

    pub(crate) fn begin(&mut self) {
        self.count += 1;
        let open = self.depth == 0 && self.count <= MOST;
        self.unread |= !open;
        let inspector = || Inspector::nested(None, self.depth + 1);
        self.current = open.then(|| Box::new(Current { inspector: inspector(), bytes: Sha256::new(), len: 0 }));
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if let Some(current) = &mut self.current {
            current.inspector.push(bytes);
            current.bytes.update(bytes);
            current.len += bytes.len() as u64;
        }
    }

    /// The member at hand is encrypted, or compressed in a way that is not read.
    pub(crate) fn unread(&mut self) {
        self.unread = true;
    }

    pub(crate) fn end(&mut self) {
        let Some(current) = self.current.take() else { return };
        let inspection = current.inspector.finish();
        if current.len == 0 {
            return;
        }
        self.filled += 1;
        let found = &inspection.identity;
        let bytes: &[u8] = &current.bytes.finalize();
        // What says of itself which recording it is may be encoded in another way; anything else is its bytes.
        let samples = found.waveform.as_deref().filter(|_| found.native.is_some());
        self.contents.add(samples.map_or(bytes, str::as_bytes));
        if !found.is_empty() {
            self.recordings += 1;
            if let Some(native) = &found.native {
                self.natives.add(native.as_bytes());
            }
            if let Some(revision) = &found.revision {
                self.revisions.add(&self.recordings.to_le_bytes());
                self.revisions.add(revision.as_bytes());
            }
            self.first.get_or_insert_with(|| found.clone());
        }
        let recorded = inspection.format.is_waveform() && inspection.verdict >= Verdict::Malformed;
        if recorded && self.worst.is_none() {
            self.worst = Some(inspection);
        }
    }

    /// Adds the identity of a container: that of its only recording when nothing else is in it. Otherwise it is the same as
    /// another one only when all that they hold is.
    pub(crate) fn report(&self, report: &mut Report) {
        let unread = self.unread || self.current.is_some();
        report.identity = match &self.first {
            None => Identity::default(),
            Some(one) if self.recordings == 1 && self.filled == 1 && !unread => one.clone(),
            first => {
                let one = first.clone().filter(|_| self.recordings == 1);
                let mut identity = one.unwrap_or_else(|| Identity {
                    native: self.natives.short(),
                    revision: self.revisions.short(),
                    ..Identity::default()
                });
                identity.waveform = self.contents.short().filter(|_| !unread).map(|hash| format!("members:{hash}"));
                identity
            }
        };
        // The container arrived whole whatever it holds, so this is a note and not a verdict.
        if let Some(inner) = &self.worst {
            report.note(Evidence::Inner { format: inner.format, verdict: inner.verdict });
        }
    }
}
