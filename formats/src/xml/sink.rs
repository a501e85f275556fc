//! What a vocabulary makes of the events of a document.

use crate::Format;
use crate::engine::Report;
use crate::identity::WaveDigest;
use crate::trace::{Layout, Trace};

/// Receives the events. Text may arrive in any number of pieces.
pub(super) trait Sink: Send {
    fn start(&mut self, depth: usize, name: &[u8], attributes: &[u8]);
    fn text(&mut self, text: &[u8]);
    fn end(&mut self, depth: usize, name: &[u8]);
    /// `closed` says whether the root element was closed.
    fn finish(&mut self, closed: bool, report: &mut Report);
}

/// The vocabulary of a root element.
pub(super) fn for_root(name: &[u8], _attributes: &[u8]) -> (Format, Option<Box<dyn Sink>>) {
    match name {
        b"AnnotatedECG" => (Format::Aecg, Some(Box::new(super::aecg::Aecg::new()))),
        b"RestingECG" => (Format::MuseXml, Some(Box::new(super::muse::Muse::new()))),
        b"CardiologyXML" => (Format::CardiosoftXml, Some(Box::new(super::plain::Cardiosoft::new()))),
        b"restingecgdata" => (Format::PhilipsXml, Some(Box::new(super::philips::Philips::new()))),
        b"ECG" => (Format::MortaraXml, Some(Box::new(super::mortara::Mortara::new()))),
        // Schiller, Mindray, Zoncare.
        b"eventdata" | b"examdescript" | b"BeneHeartR12" | b"MindrayECG" | b"zqecg" => (Format::VendorXml, None),
        _ => (Format::Xml, None),
    }
}

/// A short text that is collected from pieces.
#[derive(Default)]
pub(super) struct Field {
    pub(super) text: Vec<u8>,
}

impl Field {
    const LONGEST: usize = 256;

    pub(super) fn clear(&mut self) {
        self.text.clear();
    }

    pub(super) fn push(&mut self, text: &[u8]) {
        let room = Self::LONGEST - self.text.len();
        self.text.extend_from_slice(&text[..text.len().min(room)]);
    }

    pub(super) fn value(&self) -> &[u8] {
        self.text.trim_ascii()
    }

    pub(super) fn number(&self) -> Option<u64> {
        std::str::from_utf8(self.value()).ok()?.parse().ok()
    }
}

/// Samples written as numbers: equal sequences give equal digests however they are laid out.
pub(super) struct Numbers {
    digest: WaveDigest,
    block: Vec<u8>,
    trace: Trace,
    number: Number,
    lists: u32,
    gap: bool,
    started: bool,
    /// Whether there was a digit: text alone is no waveform.
    pub(super) any: bool,
}

impl Numbers {
    pub(super) fn new(form: &'static str) -> Self {
        Self {
            digest: WaveDigest::new(form),
            block: Vec::with_capacity(4096),
            trace: Trace::new(Layout::WORDS),
            number: Number::default(),
            lists: 0,
            gap: false,
            started: false,
            any: false,
        }
    }

    pub(super) fn push(&mut self, text: &[u8]) {
        for byte in text {
            if byte.is_ascii_whitespace() || *byte == b',' {
                self.gap = true;
                self.close_number();
                continue;
            }
            if self.lists == 0 {
                self.number.push(*byte);
            }
            if self.gap && self.started {
                self.block.push(b' ');
            }
            self.gap = false;
            self.started = true;
            self.any |= byte.is_ascii_digit();
            self.block.push(*byte);
            if self.block.len() >= 4095 {
                self.digest.bytes(&self.block);
                self.block.clear();
            }
        }
    }

    /// The end of one list.
    pub(super) fn end(&mut self) {
        self.gap = false;
        self.close_number();
        if self.started {
            self.lists += 1;
            self.block.push(b';');
        }
        self.digest.bytes(&self.block);
        self.block.clear();
    }

    pub(super) fn finish(&self) -> Option<String> {
        if self.any { self.digest.finish() } else { None }
    }

    /// Forgets the first list: what counts as the first lead comes now.
    pub(super) fn first_is_next(&mut self) {
        self.trace = Trace::new(Layout::WORDS);
        self.lists = 0;
    }

    /// The mark of the first list of whole numbers.
    pub(super) fn trace(&self) -> Option<String> {
        self.trace.mark()
    }

    fn close_number(&mut self) {
        if let Some(value) = std::mem::take(&mut self.number).value() {
            self.trace.sample(value);
        }
    }
}

/// A whole number that arrives in pieces; a fraction of zeros is let pass.
#[derive(Default)]
struct Number {
    digits: i32,
    any: bool,
    negative: bool,
    fraction: bool,
    other: bool,
}

impl Number {
    fn push(&mut self, byte: u8) {
        match byte {
            b'-' if !self.any && !self.negative => self.negative = true,
            b'+' if !self.any && !self.negative => {}
            b'.' if !self.fraction => self.fraction = true,
            b'0' if self.fraction => {}
            b'0'..=b'9' if !self.fraction => {
                self.any = true;
                match self.digits.checked_mul(10).and_then(|n| n.checked_add(i32::from(byte - b'0'))) {
                    Some(n) => self.digits = n,
                    None => self.other = true,
                }
            }
            _ => self.other = true,
        }
    }

    fn value(&self) -> Option<i32> {
        (self.any && !self.other).then_some(if self.negative { -self.digits } else { self.digits })
    }
}
