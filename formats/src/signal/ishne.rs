//! ISHNE Holter standard output format (Badilini, 1998): a header with a checksum, then samples without one.

use super::{u16_le, u32_le};
use crate::engine::checksum::Ccitt;
use crate::engine::{End, Machine, Report, Step};
use crate::identity::{self, WaveDigest};
use crate::trace::{Layout, Trace};
use crate::{Evidence, Part};

/// The fixed part, from the magic to the end of the 512-byte block that the checksum starts in.
const FIXED: usize = 522;
/// The variable part holds remarks.
const LARGEST_HEADER: u64 = 1 << 20;

pub(crate) struct Ishne {
    annotations: bool,
    header: Option<Header>,
    digest: WaveDigest,
    trace: Option<Trace>,
    at: u64,
    bad: Option<Evidence>,
}

struct Header {
    offset: u64,
    /// Whether the offset leads into the fixed part: where the samples start is not known.
    inside: bool,
    samples: u64,
    leads: u64,
    agrees: bool,
    acquired: Vec<u8>,
    recorder: Vec<u8>,
}

impl Ishne {
    pub(crate) fn recording() -> Self {
        Self::new(false)
    }

    pub(crate) fn annotations() -> Self {
        Self::new(true)
    }

    fn new(annotations: bool) -> Self {
        Self { annotations, header: None, digest: WaveDigest::new("ishne"), trace: None, at: 0, bad: None }
    }

    fn header(&mut self, window: &[u8]) -> Step {
        if window.len() < FIXED {
            return Step::Need(FIXED);
        }
        let signed = |at: usize| u64::from(u32_le(window, at).min(i32::MAX as u32));
        let offset = signed(22);
        if offset > LARGEST_HEADER {
            self.bad = Some(Evidence::Contradiction { part: Part::Header, offset: 22 });
            return Step::Stop;
        }
        let inside = offset < FIXED as u64;
        let whole = (offset as usize).max(FIXED);
        if window.len() < whole {
            return Step::Need(whole);
        }
        let mut sum = Ccitt::new();
        sum.push(&window[10..whole]);
        let leads = u64::from(u16_le(window, 156)).clamp(1, 12);
        self.trace = (!self.annotations).then(|| Trace::new(Layout::interleaved(leads)));
        self.header = Some(Header {
            offset,
            inside,
            samples: signed(14),
            leads,
            agrees: sum.0 == u16_le(window, 8),
            acquired: [&window[138..144], &window[150..156]].concat(),
            recorder: window[232..272].to_vec(),
        });
        Step::Take(whole)
    }
}

impl Machine for Ishne {
    fn step(&mut self, window: &[u8], at: u64) -> Step {
        if self.header.is_none() {
            return self.header(window);
        }
        self.digest.bytes(window);
        if let Some(trace) = &mut self.trace {
            trace.push(window);
        }
        self.at = at + window.len() as u64;
        Step::Take(window.len())
    }

    fn finish(&mut self, rest: &[u8], _at: u64, end: &End<'_>, report: &mut Report) {
        if let Some(fact) = self.bad {
            report.malformed(fact);
            return;
        }
        let Some(header) = &self.header else {
            let declared = if rest.len() >= 26 { u64::from(u32_le(rest, 22)) } else { 0 };
            let expected = declared.clamp(FIXED as u64, LARGEST_HEADER).max(end.len + 1);
            report.partial(Evidence::Short { part: Part::Header, expected, actual: end.len });
            return;
        };
        report.identity.acquisition = identity::opaque("acquisition", &[&header.recorder, &header.acquired]);
        report.identity.waveform = self.digest.finish();
        report.identity.trace = self.trace.as_ref().and_then(Trace::mark);
        if header.inside {
            report.unverifiable(Evidence::Contradiction { part: Part::Header, offset: 22 });
        } else if !header.agrees {
            report.suspect(Evidence::FailedChecksum { part: Part::Header, offset: 10 });
        }
        if self.annotations {
            report.unverifiable(Evidence::NoEndMark);
            return;
        }
        // The sample count is read as a count a lead and as a count of all leads; both are in use.
        let fewest = header.offset + 2 * header.samples;
        let most = header.offset + 2 * header.samples * header.leads;
        if end.len < fewest {
            report.partial(Evidence::Short { part: Part::WaveformData, expected: fewest, actual: end.len });
        } else if header.inside {
            // At least so much has to follow, wherever it starts.
        } else if end.len != fewest && end.len < most {
            report.suspect(Evidence::Short { part: Part::WaveformData, expected: most, actual: end.len });
        } else if end.len > most {
            report.suspect(Evidence::TrailingBytes { from: most, length: end.len - most });
        } else if header.samples == 0 {
            report.unverifiable(Evidence::NoWaveform);
        }
    }

    fn floor(&self) -> u64 {
        match &self.header {
            Some(header) if !self.annotations => header.offset + 2 * header.samples,
            _ => FIXED as u64,
        }
    }
}
