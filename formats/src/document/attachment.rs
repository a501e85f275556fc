//! A document inside a message: decoded from base64, digested, and inspected.

use sha1::{Digest as _, Sha1};

use crate::engine::base64::Base64;
use crate::identity::WaveDigest;
use crate::{Format, Inspection, Inspector, sniff, xml};

/// One attachment while it passes.
pub(super) struct Attachment {
    base64: Base64,
    sha1: Sha1,
    digest: WaveDigest,
    inspector: Option<Inspector>,
    joined: bool,
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
    /// Whether it is made of more than one text.
    pub(super) joined: bool,
}

/// Whether base64 starts a document of a known kind.
pub(super) fn is_start(text: &[u8]) -> bool {
    const OTHERS: &[&[u8]] = &[
        b"\x89PNG",
        b"\xFF\xD8\xFF",
        b"GIF8",
        b"II*\0",
        b"MM\0*",
        b"BM",
        b"RIFF",
        b"{\\rtf",
        b"\xD0\xCF\x11\xE0",
        b"<html",
        b"<!DOCTYPE",
    ];
    let mut start = Vec::new();
    Base64::default().push(text, |bytes| start.extend_from_slice(bytes));
    // The middle of a text may start in a tag.
    let known = || match sniff::choose(&start, 1).0.format {
        Format::Unknown => false,
        Format::Xml => xml::says_so(&start) || xml::utf16::recognize(&start).is_some(),
        _ => true,
    };
    OTHERS.iter().any(|magic| start.starts_with(magic)) || known()
}

impl Attachment {
    /// `depth` is that of the message; attachments of attachments are not opened.
    pub(super) fn new(depth: u8) -> Self {
        Self {
            base64: Base64::default(),
            sha1: Sha1::new(),
            digest: WaveDigest::new("attachment"),
            inspector: (depth == 0).then(|| Inspector::nested(None, 1)),
            joined: false,
        }
    }

    /// Another piece of the document follows.
    pub(super) fn go_on(&mut self) {
        self.base64.go_on();
        self.joined = true;
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
            joined: self.joined,
        }
    }
}
