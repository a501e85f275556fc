//! What a vocabulary makes of the events of a document.

use crate::Format;
use crate::engine::Report;
use crate::identity::WaveDigest;

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
    gap: bool,
    pub(super) any: bool,
}

impl Numbers {
    pub(super) fn new(form: &'static str) -> Self {
        Self { digest: WaveDigest::new(form), block: Vec::with_capacity(4096), gap: false, any: false }
    }

    pub(super) fn push(&mut self, text: &[u8]) {
        for byte in text {
            if byte.is_ascii_whitespace() || *byte == b',' {
                self.gap = true;
                continue;
            }
            if self.gap && self.any {
                self.block.push(b' ');
            }
            self.gap = false;
            self.any = true;
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
        if self.any {
            self.block.push(b';');
        }
        self.digest.bytes(&self.block);
        self.block.clear();
    }

    pub(super) fn finish(&self) -> Option<String> {
        if self.any { self.digest.finish() } else { None }
    }
}
