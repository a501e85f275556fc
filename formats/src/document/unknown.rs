//! Content that no other parser claims.

use crate::engine::nul::TAIL;
use crate::engine::{End, Machine, Report, Step};
use crate::{Evidence, Format, Part};

/// An end of central directory record with the longest comment.
const RING: usize = 22 + 65_535;

pub(crate) struct Unknown {
    tail: Vec<u8>,
}

impl Unknown {
    pub(crate) fn new() -> Self {
        Self { tail: Vec::new() }
    }

    /// An archive behind other bytes (a self-extracting program): the end record says so, and the members were not
    /// looked at.
    fn is_archive(&self) -> bool {
        let Some(at) = memchr::memmem::rfind(&self.tail, b"PK\x05\x06") else { return false };
        let Some(record) = self.tail.get(at..at + 22) else { return false };
        let comment = usize::from(u16::from_le_bytes([record[20], record[21]]));
        at + 22 + comment == self.tail.len() && memchr::memmem::find(&self.tail[..at], b"PK\x01\x02").is_some()
    }
}

impl Machine for Unknown {
    fn step(&mut self, window: &[u8], _at: u64) -> Step {
        if window.len() >= RING {
            self.tail.clear();
            self.tail.extend_from_slice(&window[window.len() - RING..]);
        } else {
            self.tail.extend_from_slice(window);
            if self.tail.len() > 4 * RING {
                self.tail.drain(..self.tail.len() - RING);
            }
        }
        Step::Take(window.len())
    }

    fn finish(&mut self, _rest: &[u8], _at: u64, end: &End<'_>, report: &mut Report) {
        let cut = self.tail.len().saturating_sub(RING);
        self.tail.drain(..cut);
        if self.is_archive() {
            report.format = Format::Zip;
            report.unverifiable(Evidence::NotChecked { part: Part::Member });
        } else if end.len > 0 && end.nul.tail() == end.len {
            report.suspect(Evidence::NulTail { from: 0, length: end.len });
        } else {
            report.unverifiable(Evidence::NoEndMark);
            // Devices pad too, so here zero bytes say nothing by themselves.
            if end.nul.tail() >= TAIL {
                report.unverifiable(Evidence::NulTail { from: end.nul.tail_from(), length: end.nul.tail() });
            }
        }
    }
}
