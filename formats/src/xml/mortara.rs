//! Mortara / Hill-Rom ELI XML: the samples of a channel stand in its DATA attribute.

use super::markup::{attribute, resolve};
use super::sink::Sink;
use crate::engine::Report;
use crate::engine::base64::Base64;
use crate::identity::{self, WaveDigest};
use crate::trace::{Layout, Trace};
use crate::{Evidence, Format, Part};

pub(super) struct Mortara {
    time: Vec<u8>,
    serial: Vec<u8>,
    sequence: Vec<u8>,
    channels: u64,
    recognized: bool,
    digest: WaveDigest,
    trace: Trace,
    bad: Option<Evidence>,
}

impl Mortara {
    pub(super) fn new() -> Self {
        Self {
            time: Vec::new(),
            serial: Vec::new(),
            sequence: Vec::new(),
            channels: 0,
            recognized: false,
            digest: WaveDigest::new("mortara"),
            trace: Trace::new(Layout::WORDS),
            bad: None,
        }
    }

    fn channel(&mut self, attributes: &[u8]) {
        let Some(text) = attribute(attributes, b"DATA") else { return };
        self.channels += 1;
        let number = |name: &[u8]| -> Option<u64> {
            std::str::from_utf8(attribute(attributes, name)?).ok()?.trim().parse().ok()
        };
        if attribute(attributes, b"ENCODING").is_some_and(|v| !v.eq_ignore_ascii_case(b"BASE64")) {
            resolve(text, |text| self.digest.bytes(text));
            return;
        }
        let mut data = Base64::default();
        let (digest, trace, first) = (&mut self.digest, &mut self.trace, self.channels == 1);
        // Line breaks stay in a value as references only (XML 1.0, 3.3.3).
        resolve(text, |text| {
            data.push(text, |bytes| {
                digest.bytes(bytes);
                if first {
                    trace.push(bytes);
                }
            });
        });
        if !data.closed() {
            self.bad = self.bad.or(Some(Evidence::Undecodable { part: Part::LeadData, offset: self.channels - 1 }));
        }
        let Some(bits) = number(b"BITS") else { return };
        let Some(duration) = number(b"DURATION") else { return };
        let samples = duration.saturating_mul(bits) / 8;
        // The duration is in samples; some versions write milliseconds.
        let rate = number(b"SAMPLE_FREQ").unwrap_or(1000);
        if data.decoded < samples && data.decoded < samples.saturating_mul(rate) / 1000 {
            let fact = Evidence::ShortPart { part: Part::LeadData, expected: samples, actual: data.decoded };
            self.bad = self.bad.or(Some(fact));
        }
    }
}

impl Sink for Mortara {
    fn start(&mut self, depth: usize, name: &[u8], attributes: &[u8]) {
        if depth == 1 || name == b"SOURCE" {
            let into = [
                (&mut self.time, b"ACQUISITION_TIME".as_slice()),
                (&mut self.serial, b"ACQUIRING_DEVICE_SERIAL_NUMBER"),
                (&mut self.sequence, b"SEQUENCE_NUMBER"),
            ];
            for (field, name) in into {
                if let Some(value) = attribute(attributes, name)
                    && field.is_empty()
                {
                    *field = value[..value.len().min(256)].to_vec();
                }
            }
        }
        self.recognized |= matches!(name, b"CHANNEL" | b"SUBJECT" | b"TYPICAL_CYCLE") || !self.time.is_empty();
        if name == b"CHANNEL" {
            self.channel(attributes);
        }
    }

    fn text(&mut self, _text: &[u8]) {}

    fn end(&mut self, _depth: usize, _name: &[u8]) {}

    fn finish(&mut self, closed: bool, report: &mut Report) {
        if !self.recognized {
            report.format = Format::Xml;
            return;
        }
        if !self.serial.is_empty() && !self.time.is_empty() {
            report.identity.acquisition = identity::opaque("acquisition", &[&self.serial, &self.time, &self.sequence]);
        }
        report.identity.waveform = self.digest.finish();
        report.identity.trace = self.trace.mark();
        if let Some(fact) = self.bad {
            report.malformed(fact);
        }
        if closed && self.channels == 0 {
            report.unverifiable(Evidence::NoWaveform);
        }
    }
}
