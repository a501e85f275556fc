//! Philips SierraECG 1.03, 1.04 and 1.04.01.

use super::markup::attribute;
use super::sink::{Field, Sink};
use crate::engine::Report;
use crate::engine::base64::Base64;
use crate::identity::{self, WaveDigest};
use crate::trace::{Layout, Trace};
use crate::{Evidence, Part};

pub(super) struct Philips {
    current: Current,
    field: Field,
    name: Vec<u8>,
    machine: Vec<u8>,
    time: Vec<u8>,
    waves: Option<Waves>,
    digest: WaveDigest,
    trace: Trace,
    any: bool,
    bad: Option<Evidence>,
}

#[derive(PartialEq, Eq)]
enum Current {
    Nothing,
    Name,
    Waves,
}

struct Waves {
    data: Base64,
    compressed: bool,
    expected: Option<u64>,
    chunks: Chunks,
}

/// The chunks of XLI compression, one a lead: a 32-bit length, a 16-bit code, a 16-bit start value, then data.
#[derive(Default)]
struct Chunks {
    header: Vec<u8>,
    left: u64,
    count: u64,
}

impl Chunks {
    fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skip = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= skip as u64;
                bytes = &bytes[skip..];
                continue;
            }
            self.header.push(bytes[0]);
            bytes = &bytes[1..];
            if let [a, b, c, d, _, _, _, _] = self.header[..] {
                self.left = u64::from(u32::from_le_bytes([a, b, c, d]));
                self.count += 1;
                self.header.clear();
            }
        }
    }

    fn whole(&self) -> bool {
        self.left == 0 && self.header.is_empty() && self.count > 0
    }
}

impl Philips {
    pub(super) fn new() -> Self {
        Self {
            current: Current::Nothing,
            field: Field::default(),
            name: Vec::new(),
            machine: Vec::new(),
            time: Vec::new(),
            waves: None,
            digest: WaveDigest::new("sierra"),
            trace: Trace::new(Layout::WORDS),
            any: false,
            bad: None,
        }
    }

    fn close_waves(&mut self) {
        let Some(waves) = self.waves.take() else { return };
        self.any = true;
        let part = Part::WaveformData;
        let short = waves.expected.filter(|expected| waves.data.decoded < *expected && !waves.compressed);
        if !waves.data.closed() || waves.compressed && !waves.chunks.whole() {
            self.bad = Some(Evidence::Undecodable { part, offset: waves.data.decoded });
        } else if let Some(expected) = short {
            self.bad = Some(Evidence::ShortPart { part, expected, actual: waves.data.decoded });
        }
    }
}

fn number(attributes: &[u8], name: &[u8]) -> Option<u64> {
    std::str::from_utf8(attribute(attributes, name)?).ok()?.trim().parse().ok()
}

impl Sink for Philips {
    fn start(&mut self, _depth: usize, name: &[u8], attributes: &[u8]) {
        self.current = Current::Nothing;
        match name {
            b"documentname" => {
                self.field.clear();
                self.current = Current::Name;
            }
            b"dataacquisition" => {
                for part in [b"date".as_slice(), b"time"] {
                    let value = attribute(attributes, part).unwrap_or_default();
                    self.time.extend_from_slice(&value[..value.len().min(64)]);
                }
            }
            b"machine" if self.machine.is_empty() => {
                let value = attribute(attributes, b"machineid").unwrap_or_default();
                self.machine = value[..value.len().min(256)].to_vec();
            }
            b"parsedwaveforms" => {
                self.current = Current::Waves;
                let flag = attribute(attributes, b"compressflag").is_some_and(|v| v.eq_ignore_ascii_case(b"true"));
                let method = attribute(attributes, b"compression").or(attribute(attributes, b"compressmethod"));
                let factors = [
                    number(attributes, b"numberofleads"),
                    number(attributes, b"durationperchannel"),
                    number(attributes, b"samplespersecond"),
                    number(attributes, b"bitspersample"),
                ];
                let product = factors.into_iter().try_fold(1u64, |product, factor| product.checked_mul(factor?));
                let base64 = attribute(attributes, b"dataencoding").is_none_or(|v| v.eq_ignore_ascii_case(b"base64"));
                self.waves = base64.then(|| Waves {
                    data: Base64::default(),
                    compressed: flag || method.is_some_and(|method| method.eq_ignore_ascii_case(b"XLI")),
                    expected: product.map(|bits| bits / 8000),
                    chunks: Chunks::default(),
                });
                self.any |= self.waves.is_none();
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &[u8]) {
        match self.current {
            Current::Nothing => {}
            Current::Name => self.field.push(text),
            Current::Waves => {
                let Some(waves) = &mut self.waves else { return };
                let (digest, chunks, trace) = (&mut self.digest, &mut waves.chunks, &mut self.trace);
                let plain = !waves.compressed;
                waves.data.push(text, |bytes| {
                    digest.bytes(bytes);
                    if plain {
                        trace.push(bytes);
                    }
                    chunks.push(bytes);
                });
            }
        }
    }

    fn end(&mut self, _depth: usize, name: &[u8]) {
        if name == b"documentname" && self.name.is_empty() {
            let value = self.field.value();
            let stem = value.strip_suffix(b".xml").or(value.strip_suffix(b".XML")).unwrap_or(value);
            self.name = stem.to_vec();
        } else if name == b"parsedwaveforms" {
            self.close_waves();
        }
        self.current = Current::Nothing;
    }

    fn finish(&mut self, closed: bool, report: &mut Report) {
        report.identity.native = identity::uid("sierra", &self.name);
        if !self.machine.is_empty() && !self.time.is_empty() {
            report.identity.acquisition = identity::opaque("acquisition", &[&self.machine, &self.time]);
        }
        report.identity.waveform = self.digest.finish();
        report.identity.trace = self.trace.mark();
        if let Some(fact) = self.bad {
            report.malformed(fact);
        }
        if closed && !self.any {
            report.unverifiable(Evidence::NoWaveform);
        }
    }
}
