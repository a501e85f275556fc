//! Entry for the fuzz targets: every parser by name, on any bytes, with what must hold for each.
//!
//! Sniffing lets a parser see only contents that start as its format does; here each is forced. Not part of the
//! interface: it is there with the feature `fuzzing` only, and in tests.

use crate::engine::{Driver, Machine, NulWatch, Report};
use crate::sets::{Name, Record, SetRule, group, place, wfdb_members};
use crate::wfdb::{self, AnnotationCheck, Header, SampleCheck};
use crate::xml::utf16;
use crate::{
    Evidence, Format, Inspection, Inspector, Verdict, container, dicom, document, inspect_bytes, needs, quick_look,
};
use crate::{signal, xml};

/// The families, one fuzz target each.
pub const FAMILIES: &[&str] = &[
    "any", "dicom", "edf", "gzip", "hdf5", "hl7", "ishne", "json", "mat", "mfer", "mp4", "pdf", "scp", "tar", "wfdb",
    "xml", "zip",
];

/// The longest inspection as JSON: 16 facts and four hashes take less.
const LONGEST: usize = 8192;

type Parser = Box<dyn Machine + Send>;

fn parsers(family: &str) -> Vec<Parser> {
    match family {
        "dicom" => vec![Box::new(dicom::Dicom::new())],
        "edf" => vec![Box::new(signal::edf::Edf::words()), Box::new(signal::edf::Edf::triples())],
        "gzip" => vec![Box::new(container::gzip::Gzip::new(0)), Box::new(container::gzip::Gzip::new(1))],
        "hdf5" => vec![Box::new(document::hdf5::Hdf5::new(0)), Box::new(document::hdf5::Hdf5::new(512))],
        "hl7" => vec![Box::new(document::hl7::Hl7::new(0)), Box::new(document::hl7::Hl7::new(1))],
        "ishne" => vec![Box::new(signal::ishne::Ishne::recording()), Box::new(signal::ishne::Ishne::annotations())],
        "json" => vec![Box::new(document::json::Json::new(0)), Box::new(document::json::Json::new(1))],
        "mat" => vec![
            Box::new(document::mat4::Mat4::new(false)),
            Box::new(document::mat4::Mat4::new(true)),
            Box::new(document::mat5::Mat5::new()),
        ],
        "mfer" => vec![Box::new(signal::mfer::Mfer::new())],
        "mp4" => vec![Box::new(document::mp4::Mp4::new())],
        "pdf" => vec![Box::new(document::pdf::Pdf::new())],
        "scp" => vec![Box::new(signal::scp::Scp::new())],
        "tar" => vec![Box::new(container::tar::Tar::new(0))],
        "wfdb" => vec![Box::new(wfdb::HeaderMachine::new())],
        "xml" => vec![
            Box::new(xml::Xml::new()),
            Box::new(xml::jis::Jis::new()),
            Box::new(utf16::Utf16::new(utf16::Order::Little)),
            Box::new(utf16::Utf16::new(utf16::Order::Big)),
        ],
        "zip" => vec![Box::new(container::zip::Zip::new(0))],
        _ => vec![Box::new(document::unknown::Unknown::new())],
    }
}

/// Runs the parsers of a family, and the public interface, on a content.
///
/// # Panics
///
/// When something that must hold does not.
pub fn run(family: &str, bytes: &[u8]) {
    let sizes = sizes(bytes);
    let pieces = || pieces(bytes, &sizes);
    for ((whole, chunked), begun) in parsers(family).into_iter().zip(parsers(family)).zip(parsers(family)) {
        let once = forced(whole, std::iter::once(bytes));
        assert_eq!(once, forced(chunked, pieces()), "the verdict depends on where pieces end");
        bounded(&once);
        // A length that the beginning asks for is proof of a partial content.
        let head = &bytes[..bytes.len() / 2];
        let mut driver = Driver::new(begun);
        driver.push(head);
        if driver.machine.floor() > bytes.len() as u64 {
            assert_eq!(once.verdict, Verdict::Partial, "the beginning asks for more: {}", once.summary());
        }
    }
    let once = inspect_bytes(bytes);
    let mut inspector = Inspector::new(None);
    pieces().for_each(|piece| inspector.push(piece));
    assert_eq!(once, inspector.finish(), "the inspection depends on where pieces end");
    bounded(&once);
    look(bytes, &once);
    if family == "wfdb" {
        record(bytes, &sizes);
        headers(bytes);
    }
    if family == "any" {
        names(bytes);
    }
}

fn forced<'a>(machine: Parser, pieces: impl Iterator<Item = &'a [u8]>) -> Inspection {
    let (mut driver, mut nul) = (Driver::new(machine), NulWatch::new());
    for piece in pieces {
        nul.push(piece);
        driver.push(piece);
    }
    let mut report = Report::new(Format::Unknown);
    driver.finish(&nul, &mut report);
    report.into_inspection()
}

/// Sizes of pieces that differ with the content: small ones find what a window must hold, large ones the rest.
fn sizes(bytes: &[u8]) -> Vec<usize> {
    let mut seed = crc32fast::hash(bytes) | 1;
    (0..7)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let widest = [2, 16, 300, 5000][(seed >> 30) as usize];
            1 + (seed >> 8) as usize % widest
        })
        .collect()
}

fn pieces<'a>(mut bytes: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut turn = sizes.iter().cycle();
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let (piece, rest) = bytes.split_at((*turn.next()?).min(bytes.len()));
        bytes = rest;
        Some(piece)
    })
}

fn bounded(inspection: &Inspection) {
    assert!(inspection.evidence.len() <= Inspection::MAX_EVIDENCE);
    let text = serde_json::to_string(inspection).expect("an inspection is serializable");
    assert!(text.len() <= LONGEST, "{} bytes of JSON", text.len());
    assert_eq!(&serde_json::from_str::<Inspection>(&text).expect("and readable"), inspection);
}

fn look(bytes: &[u8], whole: &Inspection) {
    let want = needs(&bytes[..bytes.len().min(4096)]);
    let tail = &bytes[bytes.len() - bytes.len().min(usize::try_from(want.tail).unwrap_or(bytes.len()))..];
    for head in [bytes.len() / 2, bytes.len() / 16, bytes.len().min(4096), bytes.len()] {
        if let Some(quick) = quick_look(&bytes[..head], tail, bytes.len() as u64) {
            assert_eq!(quick.verdict, Verdict::Partial);
            // A missing end mark may be another fault to those who read it all.
            let mark = matches!(quick.evidence[..], [Evidence::Missing { .. }]) && head < bytes.len();
            let agrees = if mark { whole.verdict != Verdict::Complete } else { whole.verdict == Verdict::Partial };
            assert!(agrees, "{} but {}", quick.summary(), whole.summary());
        }
    }
}

/// A header, and behind the first zero byte the samples of its first file.
fn record(bytes: &[u8], sizes: &[usize]) {
    let split = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    let Ok(header) = Header::parse(&bytes[..split]) else { return };
    let _ = wfdb_members(&header);
    let samples = &bytes[(split + 1).min(bytes.len())..];
    for file in header.files().iter().take(4) {
        let mut whole = SampleCheck::new(file, header.frames.unwrap_or(0));
        let mut chunked = whole.clone();
        whole.push(samples);
        pieces(samples, sizes).for_each(|piece| chunked.push(piece));
        assert_eq!(whole.finish(), chunked.finish(), "sums depend on where pieces end");
    }
    let (mut whole, mut chunked) = (AnnotationCheck::default(), AnnotationCheck::default());
    whole.push(samples);
    pieces(samples, sizes).for_each(|piece| chunked.push(piece));
    assert_eq!(whole.finish(), chunked.finish(), "the end of a list depends on where pieces end");
}

/// Headers, one behind the other with a form feed between them, as those of one record.
fn headers(bytes: &[u8]) {
    let read = |text: &[u8]| Header::parse(text).ok().map(|h| (format!("{}.hea", h.record), h));
    let all: Vec<_> = bytes.split(|b| *b == 0x0C).take(16).filter_map(read).collect();
    let (lines, files) = all.iter().fold((0, 0), |n, (_, h)| (n.0 + h.segments.len(), n.1 + h.files().len()));
    let Some(record) = Record::of(all) else { return };
    assert!(record.signals().len() <= files, "files of a header are there once");
    for signal in record.signals().iter().take(64) {
        let place = record.place(&signal.file.name);
        assert!(place.file.is_some() && !place.master, "{place:?}");
        assert!(place.segment.is_none_or(|at| (at as usize) < lines));
    }
    let _ = record.is_spread();
}

/// Names of files, one a line: every one of them is in a unit, and not in two as the file it is named after.
fn names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]);
    let names: Vec<Name> = text.lines().take(64).map(Name::new).collect();
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let rules = [
        SetRule::Wfdb { folder: false },
        SetRule::Wfdb { folder: true },
        SetRule::Stem { primary: list(&["xml"]), required: list(&["pdf"]), optional: list(&["txt"]) },
        SetRule::Folder { primary: "patient.hea".into(), required: list(&["ecgraw.dat"]), optional: Vec::new() },
        SetRule::Marker { primary: list(&["scp"]), marker: "done".into(), appended: true },
    ];
    let units = group(&names, &rules);
    for name in &names {
        assert!(units.iter().any(|unit| unit.members.iter().any(|member| member.path == name.path)));
        assert!(units.iter().filter(|unit| unit.members[0].path == name.path).count() <= 1);
        let alone = place(&name.path, &rules);
        assert!(alone.is_none_or(|p| p.rule < rules.len() && p.unit.len() <= 2 * name.path.len() + 64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs everything, and each parser with every place where a content can be in two pieces.
    fn holds(family: &str, bytes: &[u8]) {
        run(family, bytes);
        for split in 1..bytes.len() {
            let (first, second) = bytes.split_at(split);
            for (whole, halves) in parsers(family).into_iter().zip(parsers(family)) {
                let once = forced(whole, std::iter::once(bytes));
                assert_eq!(once, forced(halves, [first, second].into_iter()), "{family} in two pieces at {split}");
            }
        }
    }

    #[test]
    fn every_family_takes_anything() {
        for family in FAMILIES {
            for bytes in [&b""[..], b"\0", b"PK\x03\x04", &[0xFF; 600], &[0; 600]] {
                holds(family, bytes);
            }
        }
    }

    // What the targets found, named after what was wrong.

    #[test]
    fn an_xml_declaration_is_one_wherever_it_is_torn() {
        holds("xml", b"<?xml version=\"1.0\"?><a><b>");
        holds("xml", b"<?x");
    }

    #[test]
    fn sections_that_overlap_or_repeat_do_not_mix() {
        let mut record = vec![0u8; 200];
        record[2..6].copy_from_slice(&200u32.to_le_bytes());
        record[10..14].copy_from_slice(&46u32.to_le_bytes());
        for (i, (id, len, index)) in [(6u16, 60u32, 60u32), (6, 70, 80), (1, 60, 100)].into_iter().enumerate() {
            let at = 22 + i * 10;
            record[at..at + 2].copy_from_slice(&id.to_le_bytes());
            record[at + 2..at + 6].copy_from_slice(&len.to_le_bytes());
            record[at + 6..at + 10].copy_from_slice(&index.to_le_bytes());
        }
        for (i, byte) in record[52..].iter_mut().enumerate() {
            *byte = i as u8;
        }
        holds("scp", &record);
    }

    #[test]
    fn the_wide_end_record_of_an_archive_has_one_length() {
        let mut archive = b"PK\x06\x06\x2c\0\0\0\0\0\0\0".to_vec();
        archive.resize(42, 1);
        archive.extend(b"PK\x05\x06");
        archive.resize(80, 0);
        holds("zip", &archive);
    }

    #[test]
    fn a_weak_mark_between_records_is_none_wherever_a_piece_ends() {
        for mark in [b"PK\x05\x05", b"PK\x06\x07", b"PK\x06\x08"] {
            let gap = [b"PK\x03\x03 no record ", &mark[..], b"\x10\0\x10\0 "].concat();
            holds("zip", &[&gap[..], b"PK\x03\x04\x14\0\0\0\x08\0", &[0; 20], &[0xFF; 30]].concat());
        }
    }

    #[test]
    fn a_short_head_does_not_decide_the_format() {
        // A matrix of level 4 as far as 64 bytes tell, and a file of level 5 by its byte 124.
        let mut bytes = b"\x1e\0\0\0\x02\0\0\0\xe4\0\0\0\0\0\0\0\x04\0\0\0val\0".to_vec();
        bytes.resize(124, b' ');
        bytes.extend(b"\0\x01IM\x0e\x04\0\0\x40\x06\0\0");
        bytes.resize(228, 7);
        assert!(quick_look(&bytes[..64], &bytes, bytes.len() as u64).is_none());
        holds("mat", &bytes);
    }

    #[test]
    fn a_broken_movie_in_a_short_film_is_partial() {
        let mut film = b"\0\0\0\x14ftypisom\0\0\0\x01isom".to_vec();
        film.extend(b"\0\0\0\x10moov\x7f\0\0\x08mvhd");
        film.extend(b"\0\0\x10\0mdat");
        film.resize(200, 9);
        assert_eq!(inspect_bytes(&film).verdict, Verdict::Partial);
        holds("mp4", &film);
    }
}
