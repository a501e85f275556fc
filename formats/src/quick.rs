//! What can be said without reading everything.

use serde::{Deserialize, Serialize};

use crate::document::pdf_scan::{self, BEFORE};
use crate::engine::Report;
use crate::{Evidence, Format, Inspection, Inspector, Part, Verdict, sniff, xml};

/// Which ranges of a content [`quick_look`] makes use of. A verdict of complete needs every byte between, whatever the
/// format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// Bytes from the start.
    pub head: u64,
    /// Bytes before the end.
    pub tail: u64,
}

/// As many bytes of either end serve a [`quick_look`] at any format.
pub const LOOK: u64 = 66 << 10;

const WINDOW: u64 = 64 << 10;
/// An end of central directory record with the longest comment (APPNOTE 4.3.16).
const ZIP_TAIL: u64 = 22 + 65_535;

/// Says which ranges are worth reading, by the first bytes (4096 or all there are).
#[must_use]
pub fn needs(head: &[u8]) -> Needs {
    let (kind, _) = sniff::choose(&head[..head.len().min(sniff::HEAD)], 0);
    let tail = match kind.format {
        Format::Zip => ZIP_TAIL,
        Format::Hdf5 | Format::Mat73 => 0,
        Format::Pdf
        | Format::Xml
        | Format::Json
        | Format::Hl7v2
        | Format::Mfer
        | Format::WfdbHeader
        | Format::Unknown => 4096,
        _ => 512,
    };
    Needs { head: WINDOW, tail }
}

/// Looks at the first and the last bytes of a content of `len` bytes and says when it is certainly partial.
///
/// `None` means that these ranges do not prove it; the rest has to be read. Whatever this calls partial for a length,
/// [`crate::inspect`] calls partial as well; where the end mark is missing, it may find another fault, and never calls the
/// content complete. Fewer than 4096 bytes of a longer content prove nothing.
#[must_use]
pub fn quick_look(head: &[u8], tail: &[u8], len: u64) -> Option<Inspection> {
    if head.len() as u64 >= len {
        let inspection = crate::inspect_bytes(&head[..usize::try_from(len).unwrap_or(head.len())]);
        return (inspection.verdict == Verdict::Partial).then_some(inspection);
    }
    if head.len() < sniff::HEAD {
        // The whole content could be taken for another format.
        return None;
    }
    let (kind, _) = sniff::choose(&head[..sniff::HEAD], 0);
    let mut inspector = Inspector::new(None);
    inspector.push(head);
    let floor = inspector.floor();
    let mut report = Report::new(kind.format);
    if floor > len {
        report.partial(Evidence::Short { part: Part::Content, expected: floor, actual: len });
    }
    // The head alone names the kind of XML or DICOM better than the first bytes do.
    let named = inspector.finish().format;
    if let Some(part) = open_end(kind.format, named, head, tail) {
        report.partial(Evidence::Missing { part });
    }
    let mut inspection = report.into_inspection();
    inspection.format = named;
    (inspection.verdict == Verdict::Partial).then_some(inspection)
}

/// The end mark that the last bytes must hold and do not.
fn open_end(format: Format, named: Format, head: &[u8], tail: &[u8]) -> Option<Part> {
    // A tail that is short or ends in zero bytes is left to the full inspection, which judges padding.
    if tail.len() < 64 || tail.last() == Some(&0) {
        return None;
    }
    let last = tail.trim_ascii_end().last();
    match format {
        Format::Pdf if tail.len() >= 4096 && memchr::memmem::find(tail, b"%%EOF").is_none() => {
            // Junk after the marker may be longer than the tail; only an object there proves an open revision.
            memchr::memmem::find_iter(tail, b" obj")
                .any(|at| pdf_scan::is_object(&tail[at.saturating_sub(BEFORE)..at], &tail[at + 4..]))
                .then_some(Part::EofMarker)
        }
        // A volume of a split archive has no directory.
        Format::Zip
            if tail.len() as u64 >= ZIP_TAIL
                && !head.starts_with(b"PK\x07\x08")
                && memchr::memmem::rfind(tail, b"PK\x05\x06").is_none() =>
        {
            Some(Part::DirectoryEnd)
        }
        // A document of no known root proves nothing by its end, and UTF-16 ends in other bytes.
        Format::Xml if named != Format::Xml && xml::utf16::recognize(head).is_none() => {
            last.is_some_and(|last| *last != b'>').then_some(Part::RootElement)
        }
        Format::Json => last.is_some_and(|last| !matches!(last, b'}' | b']')).then_some(Part::Value),
        _ => None,
    }
}
