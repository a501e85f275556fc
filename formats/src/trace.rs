//! What stays of the samples in every encoding: the course of the first lead.
//!
//! Encodings of one recording differ in identifiers, in the names of devices, in the layout and the unit of samples, and
//! in the zero level. Converters nearly always keep the numbers that the device measured, up to a whole factor and an
//! offset, and the order of leads (I first, as EN 1064, DICOM CP and the carts have it). So the differences between
//! samples of the first lead, divided by their greatest common divisor, are the same in all of them. What resamples,
//! filters or rounds anew is not found by this.

use sha2::{Digest, Sha256};

/// Samples that count: about two seconds of a resting recording, eight of a Holter's. A later end, or padding of the
/// last record, makes no difference.
const KEPT: usize = 1024;
/// Fewer distinct steps are a calibration pulse or a flat line, which many recordings share. An ECG in units of 5 uV has
/// far more.
const STEPS: usize = 12;

/// The first lead of a recording, taken from bytes that pass by.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    layout: Layout,
    at: u64,
    part: [u8; 4],
    held: usize,
    samples: Vec<i32>,
}

/// Where samples of the lead are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Bytes of a sample: 1, 2 or 3.
    pub(crate) width: usize,
    /// Whether the first byte is the highest.
    pub(crate) big: bool,
    /// Bytes of a frame of all leads, and which of them are the lead's.
    pub(crate) frame: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Layout {
    /// Samples of 16 bits, one lead after another.
    pub(crate) const WORDS: Self = Self { width: 2, big: false, frame: u64::MAX, from: 0, to: u64::MAX };

    /// Samples of 16 bits, one of each lead in turn.
    pub(crate) fn interleaved(leads: u64) -> Self {
        Self { frame: leads.max(1).saturating_mul(2), to: 2, ..Self::WORDS }
    }
}

impl Trace {
    pub(crate) fn new(layout: Layout) -> Self {
        Self { layout, at: 0, part: [0; 4], held: 0, samples: Vec::new() }
    }

    /// Whether more samples make no difference.
    pub(crate) fn full(&self) -> bool {
        self.samples.len() >= KEPT
    }

    /// One sample.
    pub(crate) fn sample(&mut self, value: i32) {
        // Recordings begin with a flat line of any length; what counts starts with the first change.
        let flat = self.samples.len() == 1 && self.samples[0] == value;
        if !flat && !self.full() {
            self.samples.push(value);
        }
    }

    /// Bytes in order; where pieces end makes no difference.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        let Layout { width, big, frame, from, to } = self.layout;
        if !matches!(width, 1..=3) || frame == 0 || to <= from || to > frame {
            return;
        }
        while !bytes.is_empty() && !self.full() {
            let place = self.at % frame;
            let skip = match place {
                p if p < from => from - p,
                p if p >= to => frame - p,
                _ => 0,
            };
            if skip > 0 {
                let skip = skip.min(bytes.len() as u64);
                self.at += skip;
                bytes = &bytes[skip as usize..];
                continue;
            }
            self.part[self.held] = bytes[0];
            self.held += 1;
            self.at += 1;
            bytes = &bytes[1..];
            if self.held == width {
                self.held = 0;
                let mut wide = [0u8; 4];
                for i in 0..width {
                    // The highest byte comes last, so that the shift below carries the sign.
                    wide[4 - width + i] = self.part[if big { width - 1 - i } else { i }];
                }
                self.sample(i32::from_le_bytes(wide) >> (32 - 8 * width));
            }
        }
    }

    /// The mark, if there are enough samples that differ.
    pub(crate) fn mark(&self) -> Option<String> {
        if !self.full() {
            return None;
        }
        let steps: Vec<i64> = self.samples.windows(2).map(|two| i64::from(two[1]) - i64::from(two[0])).collect();
        let divisor = steps.iter().fold(0u64, |a, b| gcd(a, b.unsigned_abs()));
        let mut distinct = steps.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if divisor == 0 || distinct.len() < STEPS {
            return None;
        }
        let mut hash = Sha256::new();
        hash.update(b"trace");
        for step in steps {
            hash.update((step / divisor.cast_signed()).to_le_bytes());
        }
        Some(hex::encode(&hash.finalize()[..16]))
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth::{Lead, Spec, SynthFormat, Waveform};

    fn lead_one(seed: u64) -> Vec<i16> {
        Waveform::synthesize(&Spec::new(seed)).unwrap().lead(Lead::I).unwrap().to_vec()
    }

    fn mark(samples: impl Iterator<Item = i32>) -> Option<String> {
        let mut trace = Trace::new(Layout::WORDS);
        samples.for_each(|s| trace.sample(s));
        trace.mark()
    }

    #[test]
    fn factor_offset_flat_start_and_end_make_no_difference() {
        let lead = lead_one(3);
        let plain = mark(lead.iter().map(|s| i32::from(*s)));
        assert!(plain.is_some());
        assert_eq!(plain, mark(lead.iter().map(|s| 5 * i32::from(*s) - 700)));
        let flat = std::iter::repeat_n(i32::from(lead[0]), 333);
        assert_eq!(plain, mark(flat.chain(lead[..2000].iter().map(|s| i32::from(*s)))));
        assert_ne!(plain, mark(lead_one(4).iter().map(|s| i32::from(*s))));
        assert_ne!(plain, mark(lead[200..].iter().map(|s| i32::from(*s))));
    }

    #[test]
    fn what_many_recordings_share_is_no_mark() {
        assert_eq!(mark(std::iter::repeat_n(7, 5000)), None);
        assert_eq!(mark((0..5000).map(|n| if n / 100 % 2 == 0 { 0 } else { 1000 })), None, "a calibration pulse");
        assert_eq!(mark(lead_one(3)[..900].iter().map(|s| i32::from(*s))), None, "too short to tell");
    }

    #[test]
    fn widths_orders_and_pieces() {
        let lead: Vec<i32> = lead_one(5).iter().map(|s| i32::from(*s)).collect();
        let plain = mark(lead.iter().copied());
        for (width, big) in [(2, false), (2, true), (3, false), (3, true)] {
            let bytes: Vec<u8> = lead
                .iter()
                .flat_map(|s| {
                    let mut low = s.to_le_bytes()[..width].to_vec();
                    if big {
                        low.reverse();
                    }
                    // Two other leads beside it.
                    [&[9u8; 3][..width], &low, &[8u8; 3][..width]].concat()
                })
                .collect();
            let w = width as u64;
            let layout = Layout { width, big, frame: 3 * w, from: w, to: 2 * w };
            for piece in [1, 7, 64 << 10] {
                let mut trace = Trace::new(layout);
                bytes.chunks(piece).for_each(|c| trace.push(c));
                assert_eq!(trace.mark(), plain, "{width} {big} {piece}");
            }
        }
    }

    /// One recording in every encoding that has samples, and another one.
    #[test]
    fn one_recording_has_one_mark_in_every_encoding() {
        let with_samples = [
            SynthFormat::Dicom,
            SynthFormat::Aecg,
            SynthFormat::Scp,
            SynthFormat::Edf,
            SynthFormat::Bdf,
            SynthFormat::Ishne,
            SynthFormat::MuseXml,
        ];
        let of = |format: SynthFormat, seed| {
            let bytes = format.write(&Spec::new(seed)).unwrap().remove(0).bytes;
            crate::inspect_bytes(&bytes).identity
        };
        for seed in 0..4 {
            let first = of(SynthFormat::Dicom, seed);
            assert!(first.trace.is_some());
            assert_ne!(first.trace, of(SynthFormat::Dicom, seed + 100).trace);
            for format in with_samples {
                let other = of(format, seed);
                assert_eq!(other.trace, first.trace, "{format}");
                assert_ne!(crate::relate(&first, &other), crate::Relation::Unrelated, "{format}");
            }
        }
        assert_eq!(of(SynthFormat::Pdf, 0).trace, None);
    }
}
