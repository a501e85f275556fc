//! Which parser a content gets, by its first bytes.

use crate::engine::Machine;
use crate::{Format, container, dicom, document, signal, wfdb, xml};

/// How many bytes decide: the superblock of an HDF5 file may start at 2048.
pub(crate) const HEAD: usize = 4096;

/// What the first bytes say.
pub(crate) struct Kind {
    pub(crate) format: Format,
    /// Whether zero blocks and tails are judged over the whole file, because nothing else protects the samples.
    pub(crate) nul_rule: bool,
}

type Choice = (Kind, Box<dyn Machine + Send>);

fn watched(format: Format, machine: impl Machine + Send + 'static) -> Choice {
    (Kind { format, nul_rule: true }, Box::new(machine))
}

fn checked(format: Format, machine: impl Machine + Send + 'static) -> Choice {
    (Kind { format, nul_rule: false }, Box::new(machine))
}

/// Chooses the parser. `head` holds the first [`HEAD`] bytes, or all there are.
pub(crate) fn choose(head: &[u8], depth: u8) -> Choice {
    let starts = |magic: &[u8]| head.starts_with(magic);
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));

    if at(128, b"DICM") {
        return watched(Format::Dicom, dicom::Dicom::new());
    }
    if let Some(base) = [0usize, 512, 1024, 2048].into_iter().find(|base| at(*base, document::hdf5::SIGNATURE)) {
        let mat73 = base == 512 && document::mat5::is_header(head) && document::mat5::is_hdf5(head);
        let format = if mat73 { Format::Mat73 } else { Format::Hdf5 };
        return watched(format, document::hdf5::Hdf5::new(base as u64));
    }
    if signal::scp::recognize(head) {
        return checked(Format::Scp, signal::scp::Scp::new());
    }
    if starts(b"ISHNE1.0") {
        return watched(Format::Ishne, signal::ishne::Ishne::recording());
    }
    if starts(b"ANN  1.0") {
        return watched(Format::IshneAnnotations, signal::ishne::Ishne::annotations());
    }
    if signal::edf::recognize(head) {
        return checked(Format::Edf, signal::edf::Edf::words());
    }
    if starts(b"\xFFBIOSEMI") {
        return checked(Format::Bdf, signal::edf::Edf::triples());
    }
    if signal::mfer::recognize(head) {
        return watched(Format::Mfer, signal::mfer::Mfer::new());
    }
    if starts(b"\x1f\x8b\x08") {
        return checked(Format::Gzip, container::gzip::Gzip::new(depth));
    }
    if starts(b"PK\x03\x04") || starts(b"PK\x05\x06") || starts(b"PK\x07\x08") || starts(b"PK00PK") {
        return checked(Format::Zip, container::zip::Zip::new(depth));
    }
    if container::tar::recognize(head) {
        return watched(Format::Tar, container::tar::Tar::new(depth));
    }
    if document::mp4::recognize(head) {
        return checked(Format::Mp4, document::mp4::Mp4::new());
    }
    if document::mat5::is_header(head) && document::mat5::is_hdf5(head) {
        // Cut or overwritten before the superblock.
        return watched(Format::Mat73, document::hdf5::Hdf5::new(512));
    }
    if document::mat5::is_header(head) {
        return watched(Format::Mat5, document::mat5::Mat5::new());
    }
    if let Some(big) = document::mat4::recognize(head) {
        return watched(Format::Mat4, document::mat4::Mat4::new(big));
    }
    let pdf = memchr::memmem::find(&head[..head.len().min(1024 + 5)], b"%PDF-").filter(|at| *at <= 1024);
    // Behind its first bytes the mark may be part of a text that speaks of it or holds it. What writers of pages leave in
    // front of a document is no such text.
    if let Some(choice) = text(head, depth, pdf.is_some()).filter(|_| pdf != Some(0)) {
        return choice;
    }
    if pdf.is_some() {
        return watched(Format::Pdf, document::pdf::Pdf::new());
    }
    if wfdb::recognize(head) {
        return checked(Format::WfdbHeader, wfdb::HeaderMachine::new());
    }
    checked(Format::Unknown, document::unknown::Unknown::new())
}

fn text(head: &[u8], depth: u8, pdf: bool) -> Option<Choice> {
    if let Some(order) = xml::utf16::recognize(head) {
        return Some(checked(Format::Xml, xml::utf16::Utf16::new(order)));
    }
    let body = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    let body = body.trim_ascii_start();
    if xml::recognize(body) && (!pdf || xml::says_so(body)) {
        if xml::jis::recognize(body) {
            return Some(checked(Format::Xml, xml::jis::Jis::new()));
        }
        return Some(checked(Format::Xml, xml::Xml::new()));
    }
    if document::hl7_marks::recognize(head) {
        return Some(checked(Format::Hl7v2, document::hl7::Hl7::new(depth)));
    }
    if matches!(body.first(), Some(b'{' | b'[')) && document::json::recognize(body) {
        return Some(checked(Format::Json, document::json::Json::new(depth)));
    }
    None
}
