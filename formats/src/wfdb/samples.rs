//! Adds up the samples of a signal file, the way the header states their sums (signal(5), header(5)).

use super::SignalFile;
use crate::engine::{NulWatch, Report};
use crate::trace::{Layout, Trace};
use crate::{Evidence, Format};

/// The sums of a whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleSums {
    /// Bytes in the file.
    pub len: u64,
    /// Sum of the samples modulo 65536, of each signal in the file, or `None` when the format is not read.
    pub sums: Option<Vec<u16>>,
    /// The trace of its first signal, as [`crate::Identity::trace`] has it. Samples of more than 16 bits have none.
    pub trace: Option<String>,
    /// The zero bytes behind its offset that no written file of samples has: what stands for samples that no sum is stated
    /// of.
    pub zeros: Option<Evidence>,
}

/// A running sum. Feed it the bytes of a signal file in order.
#[derive(Clone, Debug)]
pub struct SampleCheck {
    format: u32,
    /// Which signal each sample of a frame belongs to.
    frame: Vec<usize>,
    place: usize,
    sums: Vec<u16>,
    last: Vec<u16>,
    skip: u64,
    left: u64,
    held: Vec<u8>,
    len: u64,
    known: bool,
    trace: Option<Trace>,
    nul: NulWatch,
}

/// Samples a frame that are still told apart.
const FRAME: u64 = 1 << 16;

impl SampleCheck {
    /// For a file of a record with this many frames.
    #[must_use]
    pub fn new(file: &SignalFile, frames: u64) -> Self {
        let size = file.per_frame.iter().try_fold(0u64, |sum, n| sum.checked_add(*n)).unwrap_or(u64::MAX);
        let known = unit(file.format).is_some() && size <= FRAME;
        let mut frame = Vec::new();
        if known {
            for (signal, count) in file.per_frame.iter().enumerate() {
                frame.extend(std::iter::repeat_n(signal, *count as usize));
            }
        }
        Self {
            format: file.format,
            frame,
            place: 0,
            sums: vec![0; file.per_frame.len()],
            last: file.initial.iter().map(|value| *value as u16).collect(),
            skip: file.offset,
            left: frames.saturating_mul(size),
            held: Vec::new(),
            len: 0,
            known,
            nul: NulWatch::starting_at(file.offset),
            trace: (known && !matches!(file.format, 24 | 32)).then(|| Trace::new(Layout::WORDS)),
        }
    }

    /// Whether the storage format is one whose samples are added up.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.known
    }

    /// The next bytes.
    pub fn push(&mut self, mut chunk: &[u8]) {
        self.len += chunk.len() as u64;
        let skip = self.skip.min(chunk.len() as u64);
        self.skip -= skip;
        chunk = &chunk[skip as usize..];
        self.nul.push(chunk);
        let Some(unit) = unit(self.format).filter(|_| self.known) else { return };
        if !self.held.is_empty() {
            let more = (unit - self.held.len()).min(chunk.len());
            self.held.extend_from_slice(&chunk[..more]);
            chunk = &chunk[more..];
            if self.held.len() == unit {
                let held = std::mem::take(&mut self.held);
                self.unit(&held);
            }
        }
        let units = chunk.chunks_exact(unit);
        self.held.extend_from_slice(units.remainder());
        for bytes in units {
            if self.left == 0 {
                break;
            }
            self.unit(bytes);
        }
    }

    /// The sums; the file is over.
    #[must_use]
    pub fn finish(mut self) -> SampleSums {
        if let Some(unit) = unit(self.format)
            && !self.held.is_empty()
        {
            // An odd number of samples ends in part of a unit.
            self.held.resize(unit, 0);
            let held = std::mem::take(&mut self.held);
            self.unit(&held);
        }
        let sums = (self.known && self.left == 0).then_some(self.sums);
        let mut report = Report::new(Format::Unknown);
        self.nul.judge(&mut report);
        let zeros = report.into_inspection().evidence.first().copied();
        SampleSums { len: self.len, sums, trace: self.trace.as_ref().and_then(Trace::mark), zeros }
    }

    fn unit(&mut self, b: &[u8]) {
        let le = |low: u8, high: u8| u16::from_le_bytes([low, high]);
        match self.format {
            8 => {
                // First differences (signal(5)).
                let signal = self.frame.get(self.place).copied().unwrap_or(0);
                if let Some(last) = self.last.get_mut(signal) {
                    *last = last.wrapping_add(i16::from(b[0] as i8) as u16);
                    let value = *last;
                    self.sample(value);
                }
            }
            16 => self.sample(le(b[0], b[1])),
            24 | 32 => self.sample(le(b[0], b[1])),
            61 => self.sample(le(b[1], b[0])),
            80 => self.sample(u16::from(b[0]).wrapping_sub(128)),
            160 => self.sample(le(b[0], b[1]).wrapping_sub(32_768)),
            212 => {
                self.sample(signed(le(b[0], b[1] & 0x0F), 12));
                self.sample(signed(le(b[2], b[1] >> 4), 12));
            }
            310 => {
                let (first, second) = (le(b[0], b[1]), le(b[2], b[3]));
                self.sample(signed(first >> 1 & 0x3FF, 10));
                self.sample(signed(second >> 1 & 0x3FF, 10));
                self.sample(signed((first >> 11) | (second >> 11) << 5, 10));
            }
            311 => {
                let word = u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                for shift in [0, 10, 20] {
                    self.sample(signed((word >> shift & 0x3FF) as u16, 10));
                }
            }
            _ => {}
        }
    }

    fn sample(&mut self, value: u16) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        let signal = self.frame[self.place];
        self.sums[signal] = self.sums[signal].wrapping_add(value);
        if signal == 0
            && let Some(trace) = &mut self.trace
        {
            trace.sample(i32::from(value.cast_signed()));
        }
        self.place = if self.place + 1 == self.frame.len() { 0 } else { self.place + 1 };
    }
}

fn signed(value: u16, bits: u32) -> u16 {
    let shift = 16 - bits;
    ((value << shift) as i16 >> shift) as u16
}

/// Bytes that hold whole samples.
fn unit(format: u32) -> Option<usize> {
    match format {
        8 | 80 => Some(1),
        16 | 61 | 160 => Some(2),
        24 | 212 => Some(3),
        32 | 310 | 311 => Some(4),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums of a file of this many signals, in pieces of three bytes.
    fn sums(format: u32, signals: usize, frames: u64, bytes: &[u8]) -> Vec<u16> {
        let file = SignalFile {
            name: "a.dat".into(),
            format,
            per_frame: vec![1; signals],
            checksums: vec![None; signals],
            initial: vec![100; signals],
            offset: 0,
            expected: None,
        };
        let mut check = SampleCheck::new(&file, frames);
        bytes.chunks(3).for_each(|piece| check.push(piece));
        check.finish().sums.expect("all samples are there")
    }

    /// Worked out by hand from signal(5).
    #[test]
    fn samples_of_every_format_add_up() {
        // 100 + 5, - 3, + 127: 105, 102, 229.
        assert_eq!(sums(8, 1, 3, &[0x05, 0xFD, 0x7F]), [436]);
        // -2, 258.
        assert_eq!(sums(16, 1, 2, &[0xFE, 0xFF, 0x02, 0x01]), [256]);
        // -1, 256; the upper bytes are above the sum.
        assert_eq!(sums(24, 1, 2, &[0xFF, 0xFF, 0xFF, 0x00, 0x01, 0x00]), [255]);
        assert_eq!(sums(32, 1, 2, &[0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x01, 0x07, 0x00]), [255]);
        // 258, -2, the high byte first.
        assert_eq!(sums(61, 1, 2, &[0x01, 0x02, 0xFF, 0xFE]), [256]);
        // -128, 0, 127.
        assert_eq!(sums(80, 1, 3, &[0x00, 0x80, 0xFF]), [65_535]);
        // 0, -32767, 32767.
        assert_eq!(sums(160, 1, 3, &[0x00, 0x80, 0x01, 0x00, 0xFF, 0xFF]), [0]);
        // 1, -1, and 2047 in a unit that is not full.
        assert_eq!(sums(212, 1, 3, &[0x01, 0xF0, 0xFF, 0xFF, 0x07]), [2047]);
        // 5, -3, 341; 511, -512, -1.
        let words = [0x0A, 0xA8, 0xFA, 0x57, 0xFE, 0xFB, 0x00, 0xFC];
        assert_eq!(sums(310, 1, 6, &words), [341]);
        assert_eq!(sums(310, 2, 3, &words), [65_370, 507]);
        assert_eq!(sums(310, 1, 4, &words[..6]), [343 + 511]);
        // 5, -3, 341.
        assert_eq!(sums(311, 1, 3, &[0x05, 0xF4, 0x5F, 0x15]), [343]);
        assert_eq!(sums(311, 1, 2, &[0x05, 0xF4, 0x0F]), [2]);
    }
}
