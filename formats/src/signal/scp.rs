//! SCP-ECG (EN 1064:2005+A1 and ISO 11073-91064): a record with its size, a checksum and a table of sections.

use super::{u16_le, u32_le};
use crate::engine::checksum::Ccitt;
use crate::engine::{End, Machine, Report, Step};
use crate::identity::{self, WaveDigest};
use crate::trace::{Layout, Trace};
use crate::{Evidence, Part};

/// Sections 0 to 12 and a few of a manufacturer (128 and up); more is not a pointer table.
const SECTIONS: usize = 1024;
/// Section 1 holds the header tags; names and remarks fit in this many times over.
const TAGS: usize = 64 << 10;
/// Of section 6: its header, a length for each of at most 255 leads, and enough of the first one.
const RHYTHM: usize = 6 + 2 * 255 + (8 << 10);
const SECTION_HEADER: u64 = 16;
/// Number of Huffman tables that stands for the table of the standard (5.5.3).
const DEFAULT_CODES: u16 = 19_999;

/// `SCPECG` in the reserved bytes of section 0 (5.3.3), or a pointer to section 0 at index 7 (5.4.3.1).
pub(crate) fn recognize(head: &[u8]) -> bool {
    head.len() >= 32
        && (&head[16..22] == b"SCPECG" || u16_le(head, 8) == 0 && u16_le(head, 22) == 0 && u32_le(head, 28) == 7)
        && u16_le(head, 8) == 0
}

struct Section {
    id: u16,
    /// Whether it is the first of its kind, whose content counts.
    used: bool,
    from: u64,
    to: u64,
    stored: u16,
    sum: Ccitt,
}

pub(crate) struct Scp {
    size: Option<u64>,
    stored: u16,
    sum: Ccitt,
    sections: Vec<Section>,
    tags: Vec<u8>,
    digest: WaveDigest,
    codes: Vec<u8>,
    leads: Vec<u8>,
    rhythm: Vec<u8>,
    bad: Option<Evidence>,
}

impl Scp {
    pub(crate) fn new() -> Self {
        Self {
            size: None,
            stored: 0,
            sum: Ccitt::new(),
            sections: Vec::new(),
            tags: Vec::new(),
            digest: WaveDigest::new("scp"),
            codes: Vec::new(),
            leads: Vec::new(),
            rhythm: Vec::new(),
            bad: None,
        }
    }

    fn header(&mut self, window: &[u8]) -> Step {
        if window.len() < 22 {
            return Step::Need(22);
        }
        let table = u32_le(window, 10) as usize;
        let count = table.saturating_sub(SECTION_HEADER as usize) / 10;
        let size = u64::from(u32_le(window, 2));
        if count > SECTIONS {
            self.bad = Some(Evidence::Contradiction { part: Part::Header, offset: 10 });
            self.size = Some(size);
            return Step::Take(0);
        }
        let table = 22 + count * 10;
        // A record that is shorter than its own table: what is there is still counted.
        if window.len() < table {
            return Step::Need(table);
        }
        self.size = Some(size);
        self.stored = u16_le(window, 0);
        let mut covered = 0u64;
        for i in 0..count {
            let at = 22 + i * 10;
            let (id, len, index) = (u16_le(window, at), u32_le(window, at + 2), u32_le(window, at + 6));
            if len == 0 {
                continue;
            }
            let from = u64::from(index).wrapping_sub(1);
            let to = from.saturating_add(u64::from(len));
            if index == 0 || to > size || u64::from(len) < SECTION_HEADER {
                self.bad = self.bad.or(Some(Evidence::Contradiction { part: Part::SectionPointer, offset: at as u64 }));
                continue;
            }
            // Each section is summed by itself: many over the same bytes would make a small file arbitrarily slow.
            covered += u64::from(len);
            if covered > 2 * size {
                self.bad = self.bad.or(Some(Evidence::Contradiction { part: Part::SectionPointer, offset: at as u64 }));
                break;
            }
            let used = matches!(id, 1 | 2 | 3 | 6) && !self.sections.iter().any(|section| section.id == id);
            self.sections.push(Section { id, used, from, to, stored: 0, sum: Ccitt::new() });
        }
        if size < table as u64 {
            self.bad = Some(Evidence::Contradiction { part: Part::Header, offset: 2 });
        }
        Step::Take(0)
    }

    fn body(&mut self, window: &[u8], at: u64) {
        let size = self.size.unwrap_or(0);
        self.sum.push(clip(window, at, 2, size));
        for section in &mut self.sections {
            for (i, byte) in clip(window, at, section.from, section.from + 2).iter().enumerate() {
                let place = at.max(section.from) + i as u64 - section.from;
                section.stored |= u16::from(*byte) << (8 * place);
            }
            section.sum.push(clip(window, at, section.from + 2, section.to));
            let content = clip(window, at, section.from + SECTION_HEADER, section.to);
            match section.id {
                _ if !section.used => {}
                1 => keep(&mut self.tags, content, TAGS),
                2 => keep(&mut self.codes, content, 2),
                3 => keep(&mut self.leads, content, 2),
                6 => {
                    self.digest.bytes(content);
                    keep(&mut self.rhythm, content, RHYTHM);
                }
                _ => {}
            }
        }
    }

    /// Tags of section 1 (5.4.4): a byte, a 16-bit length, a value.
    fn tag(&self, wanted: u8) -> &[u8] {
        let mut rest = &self.tags[..];
        while rest.len() >= 3 && rest[0] != 255 {
            let len = usize::from(u16_le(rest, 1));
            let Some(value) = rest.get(3..3 + len) else { break };
            if rest[0] == wanted {
                return value;
            }
            rest = &rest[3 + len..];
        }
        &[]
    }

    /// The first lead of section 6 (5.9): amplitude and time of a sample, how samples are encoded, whether they are
    /// compressed in two ways, the length of each lead, and the leads.
    fn trace(&self) -> Option<String> {
        // Bit 0 of the flags of section 3 (5.6.2): mean beats were taken away from the samples.
        let (&leads, &flags) = (self.leads.first()?, self.leads.get(1)?);
        if flags & 1 != 0 || *self.rhythm.get(5)? != 0 {
            return None;
        }
        let from = 6 + 2 * usize::from(leads);
        let bytes = usize::from(u16_le(self.rhythm.get(6..8)?, 0));
        let lead = self.rhythm.get(from..(from + bytes).min(self.rhythm.len()))?;
        let words = lead.chunks_exact(2).map(|two| i32::from(i16::from_le_bytes([two[0], two[1]])));
        match self.codes[..] {
            [] => undifferenced(self.rhythm[4], words),
            [low, high] if u16::from_le_bytes([low, high]) == DEFAULT_CODES => {
                undifferenced(self.rhythm[4], Codes { bytes: lead, at: 0 })
            }
            // A table of the record's own.
            _ => None,
        }
    }
}

/// 5.9.4: samples are plain, or first or second differences, which begin with one or two plain samples.
fn undifferenced(order: u8, values: impl Iterator<Item = i32>) -> Option<String> {
    let (mut trace, mut last, mut before) = (Trace::new(Layout::WORDS), 0i32, 0i32);
    for (n, word) in values.enumerate() {
        let value = match order {
            0 => word,
            1 if n >= 1 => last.wrapping_add(word),
            2 if n >= 2 => last.wrapping_mul(2).wrapping_sub(before).wrapping_add(word),
            1 | 2 => word,
            _ => return None,
        };
        trace.sample(value);
        if trace.full() {
            break;
        }
        (before, last) = (last, value);
    }
    trace.mark()
}

/// Values in the default Huffman codes (5.5.3, and annex C on compression), the highest bit first: `0` is zero; up to
/// eight ones, a zero and a sign are that number; nine ones and a zero stand before 8 bits, ten ones before 16 bits.
struct Codes<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Codes<'_> {
    fn bits(&mut self, count: usize) -> Option<i32> {
        (0..count).try_fold(0i32, |value, _| {
            let bit = self.bytes.get(self.at / 8)? >> (7 - self.at % 8) & 1;
            self.at += 1;
            Some(value << 1 | i32::from(bit))
        })
    }
}

impl Iterator for Codes<'_> {
    type Item = i32;

    fn next(&mut self) -> Option<i32> {
        let mut ones = 0;
        while ones < 10 && self.bits(1)? == 1 {
            ones += 1;
        }
        Some(match ones {
            0 => 0,
            9 => i32::from(self.bits(8)? as u8 as i8),
            10 => i32::from(self.bits(16)? as u16 as i16),
            n if self.bits(1)? == 0 => n,
            n => -n,
        })
    }
}

fn keep(kept: &mut Vec<u8>, content: &[u8], most: usize) {
    kept.extend_from_slice(&content[..content.len().min(most.saturating_sub(kept.len()))]);
}

/// The part of a window at `at` that lies in `from..to`.
fn clip(window: &[u8], at: u64, from: u64, to: u64) -> &[u8] {
    let start = from.saturating_sub(at).min(window.len() as u64) as usize;
    let stop = to.saturating_sub(at).min(window.len() as u64) as usize;
    window.get(start..stop).unwrap_or_default()
}

impl Machine for Scp {
    fn step(&mut self, window: &[u8], at: u64) -> Step {
        if self.size.is_none() {
            return self.header(window);
        }
        self.body(window, at);
        Step::Take(window.len())
    }

    fn finish(&mut self, rest: &[u8], _at: u64, end: &End<'_>, report: &mut Report) {
        let (device, date, time, sequence) = (self.tag(14), self.tag(25), self.tag(26), self.tag(31));
        if !date.is_empty() && !time.is_empty() {
            report.identity.acquisition = identity::opaque("acquisition", &[device, date, time, sequence]);
        }
        report.identity.waveform = self.digest.finish();
        report.identity.trace = self.trace();
        let size = match self.size {
            Some(size) => size,
            None if rest.len() >= 6 => u64::from(u32_le(rest, 2)),
            None => 22,
        };
        if end.len < size || self.size.is_none() {
            let expected = size.max(end.len + u64::from(self.size.is_none()));
            report.partial(Evidence::Short { part: Part::Record, expected, actual: end.len });
            return;
        }
        if let Some(fact) = self.bad {
            report.malformed(fact);
        }
        let failed = self.sections.iter().find(|section| section.sum.0 != section.stored);
        if self.sum.0 != self.stored {
            let fact = Evidence::FailedChecksum { part: Part::Record, offset: 2 };
            match failed {
                Some(section) => {
                    report.malformed(fact);
                    report.malformed(Evidence::FailedChecksum { part: Part::Section, offset: section.from });
                }
                None if self.sections.len() > 1 => report.unverifiable(fact),
                None => report.malformed(fact),
            }
        } else if let Some(section) = failed {
            // The record as a whole is as its writer left it.
            report.note(Evidence::FailedChecksum { part: Part::Section, offset: section.from });
        }
        if end.len > size {
            let length = end.len - size;
            if end.nul.tail() >= length {
                report.suspect(Evidence::NulTail { from: size, length });
            } else {
                report.suspect(Evidence::TrailingBytes { from: size, length });
            }
        }
    }

    fn floor(&self) -> u64 {
        self.size.unwrap_or(22)
    }
}
