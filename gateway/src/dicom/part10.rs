//! The file that an object becomes: preamble, file meta information, and the data set as it came (PS3.10 7.1).

use super::uids::{IMPLEMENTATION_CLASS, IMPLEMENTATION_NAME, trimmed};
use bytes::Bytes;

const PREAMBLE: usize = 128;

/// Preamble and file meta information. The same object gives the same bytes from whatever peer it comes: nothing of the
/// association but the transfer syntax is in it, and no time.
pub(crate) fn header(class: &str, instance: &str, syntax: &str) -> Vec<u8> {
    let mut meta = Vec::new();
    // PS3.5 7.1.2: OB has two reserved bytes and a length of 32 bits.
    meta.extend_from_slice(b"\x02\0\x01\0OB\0\0\x02\0\0\0\0\x01");
    for (element, vr, value, pad) in [
        (0x02, b"UI", class, 0),
        (0x03, b"UI", instance, 0),
        (0x10, b"UI", syntax, 0),
        (0x12, b"UI", IMPLEMENTATION_CLASS, 0),
        (0x13, b"SH", IMPLEMENTATION_NAME, b' '),
    ] {
        let odd = value.len() % 2;
        meta.extend_from_slice(&[0x02, 0, element, 0]);
        meta.extend_from_slice(vr);
        // UIDs and names are at most 64 characters.
        meta.extend_from_slice(&u16::try_from(value.len() + odd).unwrap_or(u16::MAX).to_le_bytes());
        meta.extend_from_slice(value.as_bytes());
        meta.extend(std::iter::repeat_n(pad, odd));
    }
    let mut out = vec![0u8; PREAMBLE];
    out.extend_from_slice(b"DICM\x02\0\0\0UL\x04\0");
    out.extend_from_slice(&u32::try_from(meta.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.append(&mut meta);
    out
}

/// What the file meta information of a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Media Storage SOP Class UID (0002,0002).
    pub(crate) class: String,
    /// Media Storage SOP Instance UID (0002,0003).
    pub(crate) instance: String,
    /// Transfer Syntax UID (0002,0010).
    pub(crate) syntax: String,
    /// Where the data set begins, bytes.
    pub(crate) data: usize,
}

/// Reads the file meta information. `None` if it is not one, or lacks one of the three UIDs.
pub(crate) fn read(file: &Bytes) -> Option<Meta> {
    let mut at = PREAMBLE + 4;
    if file.get(PREAMBLE..at)? != b"DICM" {
        return None;
    }
    let (mut class, mut instance, mut syntax) = (None, None, None);
    while let Some(head) = file.get(at..at + 8) {
        if head[..2] != [2, 0] {
            break;
        }
        let long = matches!(&head[4..6], b"OB" | b"UN" | b"UT" | b"OW");
        let (skip, len) = if long {
            (12, u32::from_le_bytes(file.get(at + 8..at + 12)?.try_into().ok()?) as usize)
        } else {
            (8, usize::from(u16::from_le_bytes([head[6], head[7]])))
        };
        let value = file.get(at + skip..(at + skip).checked_add(len)?)?;
        let text = || trimmed(value).map(str::to_owned);
        match u16::from_le_bytes([head[2], head[3]]) {
            0x02 => class = text(),
            0x03 => instance = text(),
            0x10 => syntax = text(),
            _ => {}
        }
        at += skip + len;
    }
    Some(Meta { class: class?, instance: instance?, syntax: syntax?, data: at })
}

#[cfg(test)]
mod tests {
    use super::super::uids::EXPLICIT_LE;
    use super::*;
    use leadline_formats::{Format, Verdict, inspect_bytes, synth};

    #[test]
    fn the_header_reads_back_and_a_rebuilt_file_is_complete() {
        let file = Bytes::from(synth::dicom::write_ecg(&synth::Spec::new(3)).unwrap());
        let meta = read(&file).unwrap();
        assert_eq!(meta.syntax, EXPLICIT_LE);
        let mut again = header(&meta.class, &meta.instance, &meta.syntax);
        let start = again.len();
        again.extend_from_slice(&file[meta.data..]);
        let again = Bytes::from(again);
        assert_eq!(read(&again), Some(Meta { data: start, ..meta.clone() }));
        let seen = inspect_bytes(&again);
        assert_eq!((seen.format, seen.verdict), (Format::DicomWaveform, Verdict::Complete));
        assert_eq!(seen.identity, inspect_bytes(&file).identity);
    }

    #[test]
    fn every_cut_of_a_header_is_none_or_stops() {
        let whole = header("1.2.3", "1.2.3.4", EXPLICIT_LE);
        for cut in 0..whole.len() {
            assert!(read(&Bytes::copy_from_slice(&whole[..cut])).is_none_or(|m| m.data <= cut), "{cut}");
        }
    }
}
