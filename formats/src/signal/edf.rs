//! EDF and EDF+ (edfplus.info, "EDF specification" and "EDF+ specification"), BDF and BDF+ (24-bit samples).

use crate::engine::{End, Machine, Report, Step};
use crate::identity::{self, WaveDigest};
use crate::trace::{Layout, Trace};
use crate::{Evidence, Format, Part};

const FIXED: usize = 256;
/// "ns" has four digits.
const SIGNALS: u64 = 9999;

pub(crate) struct Edf {
    width: u64,
    header: Option<Header>,
    digest: WaveDigest,
    trace: Option<Trace>,
    bad: Option<Evidence>,
    tal: Option<Evidence>,
    /// The record and the byte of its annotation list that are looked at next, and the last one of it that is not zero.
    list_record: u64,
    list_at: u64,
    list_last: u8,
    in_onset: bool,
    /// The last byte that is not zero.
    last: u8,
}

struct Header {
    bytes: u64,
    records: i64,
    record: u64,
    /// Where in a record the first annotation list starts, and how long it is, in EDF+ and BDF+.
    annotations: Option<(u64, u64)>,
    /// Whether no samples follow these lists in a record.
    lists_are_last: bool,
    acquired: Vec<u8>,
    recording: Vec<u8>,
    plus: bool,
}

/// The version field, and a length of the header or a date in its place. A table that starts with a column of zeros has
/// neither, and line ends where a header has names.
pub(crate) fn recognize(head: &[u8]) -> bool {
    let Some(fixed) = head.get(..192) else {
        return head.starts_with(b"0       ") && memchr::memchr2(b'\n', b'\r', head).is_none();
    };
    let (length, points) = (&fixed[184..], [170, 173, 178, 181]);
    let sized = number(length).is_some_and(|length| length > 0 && length % 256 == 0) || length.contains(&0);
    fixed.starts_with(b"0       ") && (sized || points.iter().all(|at| fixed[*at] == b'.'))
}

fn number(field: &[u8]) -> Option<i64> {
    std::str::from_utf8(identity::trimmed(field)).ok()?.parse().ok()
}

/// Whether a recording field says nothing (EDF+ 2.1.3: what is unknown or made anonymous is an X). The date of such
/// recordings is often the same, too.
fn is_anonymous(recording: &[u8]) -> bool {
    let mut words = recording.split(|c| *c == b' ').filter(|word| !word.is_empty() && word != b"Startdate").peekable();
    words.peek().is_some() && words.all(|word| word == b"X")
}

impl Edf {
    pub(crate) fn words() -> Self {
        Self::new(2)
    }

    pub(crate) fn triples() -> Self {
        Self::new(3)
    }

    fn new(width: u64) -> Self {
        Self {
            width,
            header: None,
            digest: WaveDigest::new("edf"),
            trace: None,
            bad: None,
            tal: None,
            list_record: 0,
            list_at: 0,
            list_last: 0,
            in_onset: false,
            last: 0,
        }
    }

    fn fail(&mut self, offset: u64) -> Step {
        self.bad = Some(Evidence::Contradiction { part: Part::Header, offset });
        Step::Stop
    }

    fn header(&mut self, window: &[u8]) -> Step {
        if window.len() < FIXED {
            return Step::Need(FIXED);
        }
        let Some(signals) = number(&window[252..256]).and_then(|n| u64::try_from(n).ok()).filter(|n| *n <= SIGNALS)
        else {
            return self.fail(252);
        };
        let bytes = 256 * (signals + 1);
        if number(&window[184..192]) != i64::try_from(bytes).ok() {
            return self.fail(184);
        }
        let Some(records) = number(&window[236..244]) else { return self.fail(236) };
        let whole = bytes as usize;
        if window.len() < whole {
            return Step::Need(whole);
        }
        let plus = window[192..236].starts_with(b"EDF+") || window[192..236].starts_with(b"BDF+");
        let signals = signals as usize;
        let (mut record, mut annotations) = (0u64, None);
        let (mut first, mut lists_are_last) = (None, true);
        for i in 0..signals {
            let at = 256 + signals * 216 + i * 8;
            let Some(samples) = number(&window[at..at + 8]).and_then(|n| u64::try_from(n).ok()) else {
                return self.fail(at as u64);
            };
            let label = &window[256 + i * 16..256 + i * 16 + 16];
            let list = label.starts_with(b"EDF Annotations") || label.starts_with(b"BDF Annotations");
            if list && plus && annotations.is_none() && samples > 0 {
                annotations = Some((record, samples.saturating_mul(self.width)));
            }
            lists_are_last &= list || annotations.is_none() || samples == 0;
            let next = record.saturating_add(samples.saturating_mul(self.width));
            if !list && first.is_none() {
                first = Some((record, next));
            }
            record = next;
        }
        let width = self.width as usize;
        self.trace = first.map(|(from, to)| Trace::new(Layout { width, frame: record, from, to, ..Layout::WORDS }));
        self.header = Some(Header {
            bytes,
            records,
            record,
            annotations,
            lists_are_last,
            acquired: window[168..184].to_vec(),
            recording: window[88..168].to_vec(),
            plus,
        });
        Step::Take(whole)
    }

    /// EDF+ 2.2.2 and 2.2.4: a record's first annotation list starts with its onset, a sign and digits, which 0x14 or the
    /// mark of a duration ends; the last list of a record ends in 0x14, and what is left of its place is zero.
    fn check_lists(&mut self, window: &[u8], at: u64) {
        let Some(header) = &self.header else { return };
        let Some((list, len)) = header.annotations.filter(|_| header.record > 0) else { return };
        let body = at - header.bytes;
        while self.tal.is_none() {
            let start = self.list_record.checked_mul(header.record).and_then(|start| start.checked_add(list));
            let here = start.and_then(|start| start.checked_add(self.list_at));
            let Some(index) = here.and_then(|here| here.checked_sub(body)) else { return };
            let Some(byte) = usize::try_from(index).ok().and_then(|index| window.get(index)) else { return };
            if header.records >= 0 && self.list_record >= header.records as u64 {
                return;
            }
            let fits = match self.list_at {
                0 => matches!(byte, b'+' | b'-'),
                1 => byte.is_ascii_digit(),
                _ => !self.in_onset || matches!(byte, b'0'..=b'9' | b'.' | 0x14 | 0x15),
            };
            self.in_onset = self.list_at < 2 || self.in_onset && !matches!(byte, 0x14 | 0x15);
            if *byte != 0 {
                self.list_last = *byte;
            }
            self.list_at += 1;
            let ends = self.list_at == len;
            if !fits || ends && self.list_last != 0x14 {
                self.tal = Some(Evidence::Contradiction { part: Part::AnnotationRecord, offset: at + index });
            }
            if ends {
                (self.list_record, self.list_at) = (self.list_record + 1, 0);
            }
        }
    }

    /// Where zero bytes are in their place: behind the last annotation of the last record (EDF+ 2.2.2: unused bytes of
    /// an annotation signal are zero, and a list ends in 0x14 0x00). Where samples follow, zero bytes at the end are theirs.
    fn padded_from(&self) -> u64 {
        let place = self.header.as_ref().filter(|header| header.lists_are_last).and_then(|header| {
            let records = u64::try_from(header.records).ok()?.checked_sub(1)?;
            let start = records.checked_mul(header.record)?.checked_add(header.annotations?.0)?;
            header.bytes.checked_add(start)
        });
        place.filter(|_| self.last == 0x14).unwrap_or(u64::MAX)
    }

    fn expected(&self) -> u64 {
        match &self.header {
            Some(header) => {
                let records = u64::try_from(header.records).unwrap_or(0);
                header.bytes.saturating_add(records.saturating_mul(header.record))
            }
            None => FIXED as u64,
        }
    }
}

impl Machine for Edf {
    fn step(&mut self, window: &[u8], at: u64) -> Step {
        if self.header.is_none() {
            return self.header(window);
        }
        self.check_lists(window, at);
        if let Some(last) = window.iter().rev().find(|byte| **byte != 0) {
            self.last = *last;
        }
        self.digest.bytes(window);
        if let Some(trace) = &mut self.trace {
            trace.push(window);
        }
        Step::Take(window.len())
    }

    fn finish(&mut self, rest: &[u8], _at: u64, end: &End<'_>, report: &mut Report) {
        if let Some(fact) = self.bad {
            report.malformed(fact);
            return;
        }
        let expected = self.expected();
        let Some(header) = &self.header else {
            let signals = rest.get(252..256).and_then(number).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
            let expected = (256 * (signals.min(SIGNALS) + 1)).max(end.len + 1);
            report.partial(Evidence::Short { part: Part::Header, expected, actual: end.len });
            return;
        };
        report.format = match (self.width, header.plus) {
            (2, false) => Format::Edf,
            (2, true) => Format::EdfPlus,
            (_, false) => Format::Bdf,
            (_, true) => Format::BdfPlus,
        };
        if !is_anonymous(&header.recording) {
            report.identity.acquisition = identity::opaque("acquisition", &[&header.recording, &header.acquired]);
        }
        report.identity.waveform = self.digest.finish();
        report.identity.trace = self.trace.as_ref().and_then(Trace::mark);
        if header.records < 0 {
            // The count is unknown while recording and is corrected afterwards.
            report.partial(Evidence::InProgress { part: Part::Header });
        } else if end.len < expected {
            report.partial(Evidence::Short { part: Part::DataRecords, expected, actual: end.len });
        } else if end.len > expected {
            report.suspect(Evidence::TrailingBytes { from: expected, length: end.len - expected });
        } else if header.records == 0 {
            report.unverifiable(Evidence::NoWaveform);
        }
        if let Some(fact) = self.tal {
            report.suspect(fact);
        }
        let padded = self.padded_from();
        // A zero block with text behind it is a hole: the lists of a signal follow each other without a gap.
        let block = end.nul.block().is_some_and(|offset| offset >= padded.max(end.nul.tail_from()));
        if end.len != expected || end.nul.tail_from() < padded || !(block || end.nul.block().is_none()) {
            end.nul.judge(report);
        }
    }

    fn floor(&self) -> u64 {
        self.expected()
    }
}
