//! MFER (ISO 22077-1): a chain of tag, length and value that `80 00` should close.

use crate::engine::{End, Machine, Report, Step};
use crate::identity::{self, WaveDigest};
use crate::{Evidence, Part};

/// The preamble: tag 40h, its length, and the letters that name the format (ISO 22077-1, 5.3.1), which some writers spell
/// out or put behind a blank.
pub(crate) fn recognize(head: &[u8]) -> bool {
    let Some((&[0x40, len @ 4..0x80], value)) = head.split_first_chunk::<2>() else { return false };
    let value = value[..value.len().min(usize::from(len))].trim_ascii_start();
    value.starts_with(b"MFR") || value.starts_with(b"MFER")
}

const WAVEFORM: u8 = 0x1E;
const CHANNEL: u8 = 0x3F;
const END: u8 = 0x80;
/// Values that are kept are shorter.
const KEPT: u64 = 256;

pub(crate) struct Mfer {
    left: u64,
    waveform: bool,
    any: bool,
    ended_at: Option<u64>,
    model: Vec<u8>,
    time: Vec<u8>,
    uid: Vec<u8>,
    digest: WaveDigest,
    bad: Option<Evidence>,
    floor: u64,
}

impl Mfer {
    pub(crate) fn new() -> Self {
        Self {
            left: 0,
            waveform: false,
            any: false,
            ended_at: None,
            model: Vec::new(),
            time: Vec::new(),
            uid: Vec::new(),
            digest: WaveDigest::new("mfer"),
            bad: None,
            floor: 0,
        }
    }

    fn tag(&mut self, window: &[u8], at: u64) -> Step {
        let tag = window[0];
        if tag == 0 && self.any {
            // Tag 0 is a blank that some writers pad with.
            return Step::Take(1);
        }
        // A channel attribute names its channel before the length (5.2.3).
        let place = if tag == CHANNEL { 2 } else { 1 };
        let Some(first) = window.get(place) else { return Step::Need(place + 1) };
        let (header, len) = if *first < 0x80 {
            (place + 1, u64::from(*first))
        } else if *first == 0x80 && tag == CHANNEL {
            // Indefinite: the attributes inside end in two zero bytes and read like any others.
            (place + 1, 0)
        } else {
            let digits = usize::from(first & 0x7F);
            if digits == 0 || digits > 4 {
                self.bad = Some(Evidence::Contradiction { part: Part::Element, offset: at });
                return Step::Stop;
            }
            let Some(bytes) = window.get(place + 1..place + 1 + digits) else {
                return Step::Need(place + 1 + digits);
            };
            (place + 1 + digits, bytes.iter().fold(0, |len, byte| len << 8 | u64::from(*byte)))
        };
        self.floor = self.floor.max(at + header as u64 + len);
        if tag == END && len == 0 {
            self.ended_at = Some(at + header as u64);
            return Step::Take(header);
        }
        if matches!(tag, 0x17 | 0x85 | 0x87) && len <= KEPT {
            let total = header + len as usize;
            let Some(value) = window.get(header..total) else { return Step::Need(total) };
            match tag {
                0x17 => self.model = value.to_vec(),
                0x85 => self.time = value.to_vec(),
                _ => self.uid = value.to_vec(),
            }
            return Step::Take(total);
        }
        self.waveform = tag == WAVEFORM;
        self.any |= self.waveform;
        self.left = len;
        Step::Take(header)
    }
}

impl Machine for Mfer {
    fn step(&mut self, window: &[u8], at: u64) -> Step {
        if self.ended_at.is_some() {
            return Step::Take(window.len());
        }
        if self.left == 0 {
            return self.tag(window, at);
        }
        let len = window.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if self.waveform {
            self.digest.bytes(&window[..len]);
        }
        self.left -= len as u64;
        Step::Take(len)
    }

    fn finish(&mut self, rest: &[u8], _at: u64, end: &End<'_>, report: &mut Report) {
        report.identity.native = identity::uid("mfer", &self.uid);
        if !self.time.is_empty() {
            report.identity.acquisition = identity::opaque("acquisition", &[&self.model, &self.time]);
        }
        report.identity.waveform = self.digest.finish();
        if let Some(fact) = self.bad {
            report.malformed(fact);
        } else if self.left > 0 || !rest.is_empty() {
            let expected = end.len + self.left.max(1);
            report.partial(Evidence::Short { part: Part::Element, expected, actual: end.len });
        } else if let Some(from) = self.ended_at {
            if end.len > from {
                report.suspect(Evidence::TrailingBytes { from, length: end.len - from });
            }
        } else {
            report.unverifiable(Evidence::Missing { part: Part::EndTag });
        }
    }

    fn floor(&self) -> u64 {
        self.floor
    }
}
