//! A document inside a message: decoded from base64, digested, and inspected.

use sha1::{Digest as _, Sha1};

use crate::engine::base64::Base64;
use crate::identity::WaveDigest;
use crate::{Inspection, Inspector};

/// One attachment while it passes.
pub(super) struct Attachment {
    base64: Base64,
    sha1: Sha1,
    digest: WaveDigest,
    inspector: Option<Inspector>,
}

/// What an attachment turned out to be.
pub(super) struct Attached {
    pub(super) len: u64,
    pub(super) sha1: [u8; 20],
    pub(super) closed: bool,
    /// Whether nothing but base64 was met, though it may end too early.
    pub(super) readable: bool,
    pub(super) digest: Option<String>,
    pub(super) inspection: Option<Inspection>,
}

impl Attachment {
    /// `depth` is that of the message; attachments of attachments are not opened.
    pub(super) fn new(depth: u8) -> Self {
        Self {
            base64: Base64::default(),
            sha1: Sha1::new(),
            digest: WaveDigest::new("attachment"),
            inspector: (depth == 0).then(|| Inspector::nested(None, 1)),
        }
    }

    pub(super) fn push(&mut self, text: &[u8]) {
        let (sha1, digest, inspector) = (&mut self.sha1, &mut self.digest, &mut self.inspector);
        self.base64.push(text, |bytes| {
            sha1.update(bytes);
            digest.bytes(bytes);
            if let Some(inspector) = inspector {
                inspector.push(bytes);
            }
        });
    }

    pub(super) fn finish(self) -> Attached {
        Attached {
            len: self.base64.decoded,
            sha1: self.sha1.finalize().into(),
            closed: self.base64.closed(),
            readable: !self.base64.bad,
            digest: self.digest.finish(),
            inspection: self.inspector.map(Inspector::finish),
        }
    }
}
