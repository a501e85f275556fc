//! PDF (ISO 32000-1, 7.5): the last end mark, the cross-reference section it points to, and those before it.

use super::pdf_scan::{AHEAD, Found};
use crate::engine::{End, Machine, Report, Step};
use crate::{Evidence, Part, identity};

/// Bytes scanned in one go.
const STRIDE: usize = 4 * AHEAD;

pub(crate) struct Pdf {
    found: Found,
    /// The byte after the last one that is neither white space nor zero.
    text_to: u64,
}

impl Pdf {
    pub(crate) fn new() -> Self {
        Self { found: Found::default(), text_to: 0 }
    }

    /// Whether the header was met.
    pub(crate) fn is_pdf(&self) -> bool {
        self.found.header.is_some()
    }

    fn note_text(&mut self, bytes: &[u8], at: u64) {
        if let Some(last) = bytes.iter().rposition(|c| !c.is_ascii_whitespace() && *c != 0) {
            self.text_to = at + last as u64 + 1;
        }
    }

    /// Whether a cross-reference section starts at an offset. Offsets count from the header (7.5.2, note), and real
    /// writers are a few bytes off.
    fn leads_to_section(&self, offset: u64) -> bool {
        const SLACK: u64 = 16;
        let header = self.found.header.unwrap_or(0);
        [offset, offset.saturating_add(header)].into_iter().any(|at| {
            // Both lists are in the order of the file.
            let within = |places: &[u64], slack: u64| {
                let first = places.partition_point(|place| place.saturating_add(SLACK) < at);
                places.get(first).is_some_and(|place| *place <= at.saturating_add(slack))
            };
            within(&self.found.tables, SLACK) || within(&self.found.streams, 24)
        })
    }
}

impl Machine for Pdf {
    fn step(&mut self, window: &[u8], at: u64) -> Step {
        if window.len() < STRIDE {
            return Step::Need(STRIDE);
        }
        // What follows a word must be in the window with it.
        let limit = window.len().min(256 << 10) - AHEAD;
        self.found.scan(&window[..limit + AHEAD], limit, at);
        self.note_text(&window[..limit], at);
        Step::Take(limit)
    }

    fn finish(&mut self, rest: &[u8], at: u64, end: &End<'_>, report: &mut Report) {
        self.found.scan(rest, rest.len(), at);
        self.note_text(rest, at);
        let found = &self.found;
        // A weak identity: writers copy it from templates.
        report.identity.acquisition = identity::opaque("pdf", &[&found.id]);
        if let Some(expected) = found.linearized.filter(|expected| *expected > end.len) {
            report.partial(Evidence::Short { part: Part::Linearization, expected, actual: end.len });
        }
        let Some(ended) = found.ended else {
            report.partial(Evidence::Missing { part: Part::EofMarker });
            return;
        };
        if self.text_to > ended {
            if found.last_object.is_some_and(|object| object > ended) {
                report.partial(Evidence::Unclosed { part: Part::Revision, depth: 1 });
            } else {
                report.suspect(Evidence::TrailingBytes { from: ended, length: end.len - ended });
            }
        }
        match found.start {
            None | Some((_, None)) => report.suspect(Evidence::Missing { part: Part::CrossReference }),
            // The first part of a linearized file ends in zero; the rest of the file is missing (annex F).
            Some((_, Some(0))) => report.partial(Evidence::Missing { part: Part::CrossReference }),
            Some((place, Some(offset))) if !found.overflow && !self.leads_to_section(offset) => {
                report.suspect(Evidence::Contradiction { part: Part::CrossReference, offset: place });
            }
            Some(_) => {}
        }
        if found.overflow {
            report.note(Evidence::NotChecked { part: Part::CrossReference });
        } else if let Some(offset) =
            found.previous.iter().copied().filter(|offset| *offset != 0 && !self.leads_to_section(*offset)).min()
        {
            report.suspect(Evidence::Contradiction { part: Part::CrossReference, offset });
        }
    }
}
