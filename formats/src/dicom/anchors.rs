//! What makes a data set complete. DICOM has no end mark, so each kind of object has to show its last mandatory part.

use crate::engine::Report;
use crate::{Evidence, Format, Part};

/// Attributes that the rules need, collected at the top level of a data set.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) sop_class: Vec<u8>,
    pub(crate) sop_instance: Vec<u8>,
    pub(crate) acquired: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    pub(crate) photometric: Vec<u8>,
    pub(crate) frames: Option<u64>,
    pub(crate) rows: Option<u64>,
    pub(crate) columns: Option<u64>,
    pub(crate) samples: Option<u64>,
    pub(crate) bits: Option<u64>,
    /// Native pixel data: how long it is.
    pub(crate) pixels: Option<u64>,
    /// Encapsulated pixel data: whether the delimiter was met.
    pub(crate) fragments: bool,
    pub(crate) document: bool,
    /// MIME Type of Encapsulated Document.
    pub(crate) document_type: bool,
    /// Items of the Waveform Sequence that hold samples.
    pub(crate) groups: u32,
    pub(crate) waveform_sequence: bool,
}

impl Facts {
    fn class(&self) -> Class {
        // PS3.4 annex B.5 and PS3.6 annex A.
        let class = crate::identity::trimmed(&self.sop_class);
        // Presentation states of waveforms (9.100) refer to samples and hold none.
        let states = class.starts_with(b"1.2.840.10008.5.1.4.1.1.9.100.");
        if class.starts_with(b"1.2.840.10008.5.1.4.1.1.9.") && !states {
            Class::Waveform
        } else if class.starts_with(b"1.2.840.10008.5.1.4.1.1.104.") {
            Class::Document
        } else if self.rows.is_some() && self.columns.is_some() {
            Class::Image
        } else if self.groups > 0 && !class.is_empty() && !class.starts_with(b"1.2.840.10008.") {
            // A vendor's own class (PS3.4 B.3.1) is what it holds.
            Class::Waveform
        } else {
            Class::Other
        }
    }

    pub(crate) fn name(&self, report: &mut Report) {
        report.format = match self.class() {
            Class::Waveform => Format::DicomWaveform,
            Class::Document => Format::DicomDocument,
            Class::Image => Format::DicomImage,
            Class::Other => Format::Dicom,
        };
    }

    /// Whether the last mandatory part was met; `None` for objects that have none.
    pub(crate) fn anchored(&self) -> Option<bool> {
        match self.class() {
            Class::Waveform => Some(self.waveform_sequence && self.groups > 0),
            Class::Document => Some(self.document && self.document_type),
            Class::Image => Some(self.fragments || self.pixels.is_some()),
            Class::Other => None,
        }
    }

    /// The anchor of a data set whose elements all ended where they should.
    pub(crate) fn judge(&self, report: &mut Report) {
        match self.class() {
            // PS3.3 C.10.9: the sequence is type 1 and has at least one item.
            Class::Waveform if !self.waveform_sequence || self.groups == 0 => {
                report.partial(Evidence::Missing { part: Part::WaveformSequence });
            }
            Class::Document if !self.document => {
                report.partial(Evidence::Missing { part: Part::EncapsulatedDocument });
            }
            // PS3.3 C.24.2: type 1, and behind the document, so its absence can be a cut between the two.
            Class::Document if !self.document_type => {
                report.suspect(Evidence::Missing { part: Part::DocumentType });
            }
            Class::Image => self.image(report),
            Class::Other => report.unverifiable(Evidence::NoEndMark),
            Class::Waveform | Class::Document => {}
        }
    }

    fn image(&self, report: &mut Report) {
        if self.fragments {
            return;
        }
        let Some(actual) = self.pixels else {
            report.unverifiable(Evidence::Missing { part: Part::PixelData });
            return;
        };
        // PS3.5 section 8.1.1; a product of declared numbers must not overflow.
        let size = [self.rows, self.columns, self.samples.or(Some(1)), self.bits, self.frames.or(Some(1))]
            .into_iter()
            .try_fold(1u64, |product, factor| product.checked_mul(factor?));
        let Some(bits) = size else { return };
        let mut expected = bits.div_ceil(8);
        // PS3.3 C.7.6.3.1.2: two pixels share their colour.
        if matches!(crate::identity::trimmed(&self.photometric), b"YBR_FULL_422" | b"YBR_PARTIAL_422") {
            expected = expected / 3 * 2;
        }
        if actual < expected {
            report.malformed(Evidence::ShortPart { part: Part::PixelData, expected, actual });
        }
    }
}

/// Attributes whose values are looked at.
pub(super) fn wanted(tag: u32) -> bool {
    matches!(
        tag,
        0x0008_0016
            | 0x0008_0018
            | 0x0008_002A
            | 0x0018_1000
            | 0x0028_0002
            | 0x0028_0004
            | 0x0028_0008
            | 0x0028_0010
            | 0x0028_0011
            | 0x0028_0100
            | 0x003A_0005
            | 0x003A_0010
            | 0x5400_1004
    )
}

enum Class {
    Waveform,
    Document,
    Image,
    Other,
}

/// One item of the Waveform Sequence.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) channels: Option<u64>,
    pub(crate) samples: Option<u64>,
    pub(crate) bits: Option<u64>,
    pub(crate) data: Option<u64>,
}

impl Group {
    /// PS3.3 C.10.9.1.4: channels x samples x allocated bits, padded to an even length.
    pub(crate) fn judge(&self, offset: u64) -> Option<Evidence> {
        let Some(actual) = self.data else {
            return Some(Evidence::Missing { part: Part::WaveformData });
        };
        let size = [self.channels, self.samples, self.bits]
            .into_iter()
            .try_fold(1u64, |product, factor| product.checked_mul(factor?));
        let Some(bits) = size else {
            return Some(Evidence::Contradiction { part: Part::WaveformSequence, offset });
        };
        let expected = bits.div_ceil(8);
        if actual == expected || actual == expected + expected % 2 {
            None
        } else {
            Some(Evidence::ShortPart { part: Part::WaveformData, expected, actual })
        }
    }
}
