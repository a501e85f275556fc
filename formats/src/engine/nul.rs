//! Watches for the zero bytes that an interrupted or preallocating writer leaves.

use super::Report;
use crate::Evidence;

/// The block in which file systems and SMB clients allocate.
pub(crate) const BLOCK: u64 = 4096;
/// A tail of fewer zero bytes occurs in whole files.
pub(crate) const TAIL: u64 = 64;

/// Where zero bytes were seen. Offsets are those of the content it watches.
#[derive(Clone, Debug, Default)]
pub(crate) struct NulWatch {
    at: u64,
    tail: u64,
    block_clean: bool,
    block: Option<u64>,
}

impl NulWatch {
    pub(crate) fn new() -> Self {
        Self { block_clean: true, ..Self::default() }
    }

    /// Starts at another offset, so that blocks are aligned as in the file.
    pub(crate) fn starting_at(at: u64) -> Self {
        Self { at, block_clean: at.is_multiple_of(BLOCK), ..Self::default() }
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) {
        match chunk.iter().rposition(|byte| *byte != 0) {
            Some(last) => self.tail = (chunk.len() - 1 - last) as u64,
            None => self.tail += chunk.len() as u64,
        }
        if self.block.is_some() {
            self.at += chunk.len() as u64;
            return;
        }
        let mut rest = chunk;
        while !rest.is_empty() {
            let room = (BLOCK - self.at % BLOCK) as usize;
            let (part, after) = rest.split_at(room.min(rest.len()));
            self.block_clean = self.block_clean && part.iter().all(|byte| *byte == 0);
            self.at += part.len() as u64;
            if self.at.is_multiple_of(BLOCK) {
                if self.block_clean && self.block.is_none() {
                    self.block = Some(self.at - BLOCK);
                }
                self.block_clean = true;
            }
            rest = after;
        }
    }

    /// How many zero bytes the content ends in.
    pub(crate) fn tail(&self) -> u64 {
        self.tail
    }

    /// The first aligned block of zero bytes.
    pub(crate) fn block(&self) -> Option<u64> {
        self.block
    }

    /// Where the zero bytes at the end start.
    pub(crate) fn tail_from(&self) -> u64 {
        self.at - self.tail
    }

    /// Whether there is nothing but zero bytes from an offset on.
    pub(crate) fn only_from(&self, offset: u64) -> bool {
        self.tail > 0 && self.tail_from() <= offset
    }

    /// Whether all that would count lies behind an offset.
    pub(crate) fn only_behind(&self, from: u64) -> bool {
        self.tail_from() >= from && self.block.is_none_or(|offset| offset >= from)
    }

    /// The rule for formats without a checksum over their samples.
    pub(crate) fn judge(&self, report: &mut Report) {
        if self.tail >= TAIL {
            report.suspect(Evidence::NulTail { from: self.tail_from(), length: self.tail });
        } else if let Some(offset) = self.block {
            report.suspect(Evidence::NulBlock { offset });
        }
    }
}
