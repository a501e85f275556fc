//! HL7 annotated ECG (HL7 v3 aECG, R1, AnnotatedECG of PORT_MT020001).

use super::markup::attribute;
use super::sink::{Numbers, Sink};
use crate::engine::Report;
use crate::{Evidence, identity};

pub(super) struct Aecg {
    root: Vec<u8>,
    extension: Vec<u8>,
    time: Vec<u8>,
    device: Vec<u8>,
    in_time: bool,
    in_device: bool,
    in_digits: bool,
    numbers: Numbers,
}

impl Aecg {
    pub(super) fn new() -> Self {
        Self {
            root: Vec::new(),
            extension: Vec::new(),
            time: Vec::new(),
            device: Vec::new(),
            in_time: false,
            in_device: false,
            in_digits: false,
            numbers: Numbers::new("aecg"),
        }
    }
}

fn short(value: Option<&[u8]>) -> Vec<u8> {
    value.map(|value| value[..value.len().min(256)].to_vec()).unwrap_or_default()
}

impl Sink for Aecg {
    fn start(&mut self, depth: usize, name: &[u8], attributes: &[u8]) {
        match (depth, name) {
            (2, b"id") if self.root.is_empty() => {
                self.root = short(attribute(attributes, b"root"));
                self.extension = short(attribute(attributes, b"extension"));
            }
            (2, b"effectiveTime") => {
                self.in_time = true;
                self.time = short(attribute(attributes, b"value"));
            }
            (3, b"center" | b"low") if self.in_time && self.time.is_empty() => {
                self.time = short(attribute(attributes, b"value"));
            }
            (_, b"manufacturedSeriesDevice") => self.in_device = true,
            (_, b"id") if self.in_device && self.device.is_empty() => {
                self.device = short(attribute(attributes, b"root"));
                self.device.push(b'^');
                self.device.extend(short(attribute(attributes, b"extension")));
            }
            (_, b"digits") => self.in_digits = true,
            _ => {}
        }
    }

    fn text(&mut self, text: &[u8]) {
        if self.in_digits {
            self.numbers.push(text);
        }
    }

    fn end(&mut self, depth: usize, name: &[u8]) {
        match name {
            b"effectiveTime" if depth == 2 => self.in_time = false,
            b"manufacturedSeriesDevice" => self.in_device = false,
            b"digits" => {
                self.in_digits = false;
                self.numbers.end();
            }
            _ => {}
        }
    }

    fn finish(&mut self, closed: bool, report: &mut Report) {
        // The root alone collides in real files, so an extension is part of the id wherever there is one.
        report.identity.native = match identity::uid("aecg", &self.root) {
            Some(root) => match identity::opaque("aecg-extension", &[&self.extension]) {
                Some(extension) => Some(format!("{root}/{extension}")),
                None => Some(root),
            },
            None => None,
        };
        if self.device.len() > 1 && !self.time.is_empty() {
            report.identity.acquisition = identity::opaque("acquisition", &[&self.device, &self.time]);
        }
        report.identity.waveform = self.numbers.finish();
        report.identity.trace = self.numbers.trace();
        if closed && !self.numbers.any {
            report.unverifiable(Evidence::NoWaveform);
        }
    }
}
