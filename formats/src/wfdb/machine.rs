//! Judges a header on its own. Its signal files are judged with it in [`crate::sets`].

use super::header::{Header, LARGEST};
use crate::engine::{End, Machine, Report, Step};
use crate::{Evidence, Part, identity};

/// Whether the first line that is no comment reads like a record line and the text is plain.
pub(crate) fn recognize(head: &[u8]) -> bool {
    if head.contains(&0) {
        return false;
    }
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(first) = lines.next() else { return false };
    let mut words = first.split_ascii_whitespace();
    let (Some(name), Some(count), Some(_frequency)) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    let named = name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'/' | b'.'));
    let parses = |text: &str| Header::parse(text.as_bytes()).is_ok();
    // The second line tells a header from any other line of numbers, when there is one.
    let second = lines.next().is_none_or(|line| {
        let mut words = line.split_ascii_whitespace();
        let (Some(_), Some(next)) = (words.next(), words.next()) else {
            return name.contains('/') || head.len() < 4096;
        };
        // A format with its modifiers, `212x2:1+24`, or a number of samples.
        next.bytes().next().is_some_and(|c| c.is_ascii_digit())
            && next.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'x' | b':' | b'+'))
    });
    named && count.bytes().all(|c| c.is_ascii_digit()) && second && parses(&format!("{first}\n"))
}

pub(crate) struct HeaderMachine {
    text: Vec<u8>,
    too_large: bool,
}

impl HeaderMachine {
    pub(crate) fn new() -> Self {
        Self { text: Vec::new(), too_large: false }
    }
}

impl Machine for HeaderMachine {
    fn step(&mut self, window: &[u8], _at: u64) -> Step {
        if self.text.len() + window.len() > LARGEST {
            self.too_large = true;
            return Step::Stop;
        }
        self.text.extend_from_slice(window);
        Step::Take(window.len())
    }

    fn finish(&mut self, _rest: &[u8], _at: u64, end: &End<'_>, report: &mut Report) {
        if self.too_large {
            report.unverifiable(Evidence::NotChecked { part: Part::Header });
            return;
        }
        if let Some(offset) = memchr::memchr(0, &self.text) {
            let from = offset as u64;
            if end.nul.tail_from() <= from {
                report.suspect(Evidence::NulTail { from, length: end.len - from });
            } else {
                report.malformed(Evidence::NulByte { offset: from });
            }
        }
        // The last line of a cut header is no proof by itself: some whole headers end without a newline.
        let whole = match memchr::memrchr(b'\n', &self.text) {
            Some(last) if self.text.last() != Some(&b'\n') => &self.text[..=last],
            _ => &self.text[..],
        };
        let Ok(header) = Header::parse(&self.text).or_else(|_| Header::parse(whole)) else {
            report.suspect(Evidence::Undecodable { part: Part::SignalLines, offset: 0 });
            return;
        };
        let sums: Vec<u8> = header.signals.iter().filter_map(|s| s.checksum).flat_map(u16::to_le_bytes).collect();
        report.identity.acquisition =
            identity::opaque("wfdb", &[header.record.as_bytes(), header.base.as_bytes(), &sums]);
        if !header.has_all_lines() {
            let (expected, actual) = if header.announced_segments > 0 {
                (header.announced_segments, header.segments.len())
            } else {
                (header.announced, header.signals.len())
            };
            report.partial(Evidence::ShortPart {
                part: Part::SignalLines,
                expected: expected as u64,
                actual: actual as u64,
            });
        }
        if self.text.last() != Some(&b'\n') {
            report.suspect(Evidence::Unclosed { part: Part::LastLine, depth: 1 });
        }
        if header.frames.is_none() {
            report.unverifiable(Evidence::Missing { part: Part::SampleCount });
        }
    }
}
