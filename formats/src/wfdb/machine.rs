//! Judges a header on its own. Its signal files are judged with it in [`crate::sets`].

use super::header::{Header, LARGEST};
use crate::engine::{End, Machine, Report, Step};
use crate::{Evidence, Part, identity};

/// Whether the first line that is no comment reads like a record line, the next like a line of a signal or a segment,
/// and the text is plain. A record line alone is one when it counts its samples.
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
    if !named || !count.bytes().all(|c| c.is_ascii_digit()) || Header::parse(format!("{first}\n").as_bytes()).is_err() {
        return false;
    }
    // A count of samples, a time and a date may follow (header(5)).
    let Some(second) = lines.next() else { return (1..=3).contains(&words.count()) };
    let mut next = second.split_ascii_whitespace();
    match (next.next(), next.next()) {
        (Some(file), Some(storage)) if !name.contains('/') => is_signal(file, storage),
        (Some(record), Some(frames)) => {
            !record.contains('/') && frames.bytes().all(|c| c.is_ascii_digit()) && next.next().is_none()
        }
        // Cut in its second line.
        _ => words.next().is_some() && head.len() < 4096,
    }
}

/// A name of a file and a format of signal(5) with its modifiers, `212x2:1+24`: rows of a table have other words there.
fn is_signal(file: &str, storage: &str) -> bool {
    let digits = storage.bytes().take_while(u8::is_ascii_digit).count();
    let (format, modifiers) = storage.split_at(digits);
    let known = ["0", "8", "16", "24", "32", "61", "80", "160", "212", "310", "311", "508", "516", "524"];
    let named = matches!(file, "~" | "-") || file.contains('.') && file.parse::<f64>().is_err();
    named && known.contains(&format) && modifiers.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'x' | b':' | b'+'))
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
        let alone = header.signals.is_empty() && header.segments.is_empty() && !header.has_all_lines();
        if alone {
            // Any line of a word and three numbers is a record line.
            report.unverifiable(Evidence::Missing { part: Part::SignalLines });
        } else if !header.has_all_lines() {
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
        if !alone && self.text.last() != Some(&b'\n') {
            report.suspect(Evidence::Unclosed { part: Part::LastLine, depth: 1 });
        }
        if header.frames.is_none() {
            report.unverifiable(Evidence::Missing { part: Part::SampleCount });
        }
    }
}
