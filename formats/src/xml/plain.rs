//! GE CardioSoft XML: samples as numbers in `WaveformData`.

use super::sink::{Field, Numbers, Sink};
use crate::engine::Report;
use crate::{Evidence, identity};

pub(super) struct Cardiosoft {
    in_data: bool,
    in_time: bool,
    target: Option<usize>,
    field: Field,
    uid: Vec<u8>,
    time: Vec<u8>,
    device: Vec<u8>,
    numbers: Numbers,
}

impl Cardiosoft {
    pub(super) fn new() -> Self {
        Self {
            in_data: false,
            in_time: false,
            target: None,
            field: Field::default(),
            uid: Vec::new(),
            time: Vec::new(),
            device: Vec::new(),
            numbers: Numbers::new("cardiosoft"),
        }
    }
}

impl Sink for Cardiosoft {
    fn start(&mut self, _depth: usize, name: &[u8], _attributes: &[u8]) {
        self.field.clear();
        self.in_time |= name == b"ObservationDateTime";
        self.in_data |= name == b"WaveformData";
        // Mean beats may come before the strip of the whole recording.
        if name == b"StripData" {
            self.numbers.first_is_next();
        }
        self.target = match name {
            b"DICOMStudyUID" => Some(0),
            b"SerialNumber" | b"DeviceID" => Some(1),
            _ => None,
        };
    }

    fn text(&mut self, text: &[u8]) {
        if self.in_data {
            self.numbers.push(text);
        } else if self.in_time {
            let room = 256usize.saturating_sub(self.time.len());
            let kept = text.iter().filter(|c| !c.is_ascii_whitespace()).take(room);
            self.time.extend(kept);
        } else if self.target.is_some() {
            self.field.push(text);
        }
    }

    fn end(&mut self, _depth: usize, name: &[u8]) {
        match (name, self.target.take()) {
            (b"WaveformData", _) => {
                self.in_data = false;
                self.numbers.end();
            }
            (b"ObservationDateTime", _) => self.in_time = false,
            (_, Some(0)) if self.uid.is_empty() => self.uid = self.field.value().to_vec(),
            (_, Some(1)) if self.device.is_empty() => self.device = self.field.value().to_vec(),
            _ => {}
        }
    }

    fn finish(&mut self, closed: bool, report: &mut Report) {
        report.identity.native = identity::uid("cardiosoft", &self.uid);
        if !self.time.is_empty() {
            report.identity.acquisition = identity::opaque("acquisition", &[&self.device, &self.time]);
        }
        report.identity.waveform = self.numbers.finish();
        report.identity.trace = self.numbers.trace();
        if closed && !self.numbers.any {
            report.unverifiable(Evidence::NoWaveform);
        }
    }
}
