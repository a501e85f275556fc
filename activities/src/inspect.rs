//! From what `leadline_formats` says of bytes to what the domain decides on.

use leadline_domain::{Structure, StructureVerdict};

/// How much of either end of a large file a look reads, bytes.
pub const WINDOW: u64 = 64 * 1024;

/// The structural check of a whole content.
#[must_use]
pub fn structure_of(_bytes: &[u8]) -> Structure {
    Structure { format: "unknown".into(), verdict: StructureVerdict::Unverifiable, evidence: vec![], identity: None }
}

/// Judges a large content by its ends.
#[must_use]
pub fn quick_look(_head: &[u8], _tail: &[u8], _size: u64) -> Structure {
    structure_of(&[])
}

/// The same check fed in order.
pub struct Streaming;
impl Streaming {
    /// For a content of this size.
    #[must_use]
    pub fn new(_size: u64) -> Self {
        Self
    }
    /// The next bytes.
    pub fn push(&mut self, _chunk: &[u8]) {}
    /// The verdict.
    #[must_use]
    pub fn finish(self) -> Structure {
        structure_of(&[])
    }
}
