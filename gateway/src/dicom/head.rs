//! The first elements of a data set: which object does it say it is?

use super::uids::{DEFLATED_LE, IMPLICIT_LE, trimmed};
use std::io::Read;

const CLASS: u32 = 0x0008_0016;
const INSTANCE: u32 = 0x0008_0018;
const STUDY: u32 = 0x0020_000D;
const ITEM: u32 = 0xFFFE_E000;
const ITEM_END: u32 = 0xFFFE_E00D;
const SEQUENCE_END: u32 = 0xFFFE_E0DD;
const UNDEFINED: u32 = u32::MAX;
/// Sequences within sequences before (0020,000D): the standard has two or three levels there.
const DEPTH: u8 = 8;
/// So much of a deflated data set is looked at, bytes: what stands before (0020,000D) is short.
const LOOKED_AT: u64 = 64 << 10;

/// What a data set says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// SOP Class UID (0008,0016).
    pub(crate) class: Option<String>,
    /// SOP Instance UID (0008,0018).
    pub(crate) instance: Option<String>,
    /// Study Instance UID (0020,000D).
    pub(crate) study: Option<String>,
}

/// Reads the head of a data set in a transfer syntax that [`super::uids::readable`] has. Stops at the first thing that
/// makes no sense and gives what was found before.
pub(crate) fn read(data: &[u8], syntax: &str) -> Head {
    let mut head = Head::default();
    if syntax == DEFLATED_LE {
        let mut plain = Vec::new();
        // A stream that breaks off gives what came before; whether it is whole is for the inspection.
        let _ = flate2::read::DeflateDecoder::new(data).take(LOOKED_AT).read_to_end(&mut plain);
        walk(&plain, true, &mut head);
    } else {
        walk(data, syntax != IMPLICIT_LE, &mut head);
    }
    head
}

/// An element's tag, value representation and length, and what follows.
struct Element<'a> {
    tag: u32,
    len: u32,
    rest: &'a [u8],
}

fn element(bytes: &[u8], explicit: bool) -> Option<Element<'_>> {
    let head = bytes.first_chunk::<8>()?;
    let tag =
        u32::from(u16::from_le_bytes([head[0], head[1]])) << 16 | u32::from(u16::from_le_bytes([head[2], head[3]]));
    let long = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    if !explicit || tag >> 16 == 0xFFFE {
        return Some(Element { tag, len: long, rest: &bytes[8..] });
    }
    // PS3.5 7.1.2: some representations have two reserved bytes and 32 bits of length, the others 16 bits.
    let vr = &head[4..6];
    if [b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"]
        .iter()
        .any(|v| vr == v.as_slice())
    {
        let len = u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?);
        return Some(Element { tag, len, rest: &bytes[12..] });
    }
    Some(Element { tag, len: u32::from(u16::from_le_bytes([head[6], head[7]])), rest: &bytes[8..] })
}

fn walk(mut bytes: &[u8], explicit: bool, head: &mut Head) -> Option<()> {
    loop {
        let e = element(bytes, explicit)?;
        if e.tag > STUDY {
            return Some(());
        }
        if e.len == UNDEFINED {
            bytes = skip(e.rest, explicit, DEPTH)?;
            continue;
        }
        let len = usize::try_from(e.len).ok()?;
        let value = e.rest.get(..len)?;
        match e.tag {
            CLASS => head.class = trimmed(value).map(str::to_owned),
            INSTANCE => head.instance = trimmed(value).map(str::to_owned),
            STUDY => head.study = trimmed(value).map(str::to_owned),
            _ => {}
        }
        bytes = &e.rest[len..];
    }
}

/// What follows a sequence of undefined length.
fn skip(mut bytes: &[u8], explicit: bool, depth: u8) -> Option<&[u8]> {
    loop {
        let e = element(bytes, explicit)?;
        match (e.tag, e.len) {
            (SEQUENCE_END, _) => return Some(e.rest),
            (ITEM_END, _) => bytes = e.rest,
            // An item's elements follow; it ends with its mark.
            (ITEM, UNDEFINED) => bytes = e.rest,
            (_, UNDEFINED) if depth == 0 => return None,
            (_, UNDEFINED) => bytes = skip(e.rest, explicit, depth - 1)?,
            (_, len) => bytes = e.rest.get(usize::try_from(len).ok()?..)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::uids::EXPLICIT_LE;
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    /// Language Code Sequence (0008,0006) of undefined length stands before the UIDs.
    fn explicit() -> Vec<u8> {
        let mut d = b"\x08\0\x05\0CS\x0a\0ISO_IR 192".to_vec();
        d.extend(b"\x08\0\x06\0SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff");
        d.extend(b"\x08\0\0\x01SH\x02\0en\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0");
        d.extend(b"\x08\0\x16\0UI\x06\x001.2.3\0\x08\0\x18\0UI\x04\x001.22\x08\0\x20\0DA\0\0");
        d.extend(b"\x20\0\x0d\0UI\x04\x001.77");
        d
    }

    #[test]
    fn the_uids_are_found_in_each_syntax() {
        let want = Head { class: Some("1.2.3".into()), instance: Some("1.22".into()), study: Some("1.77".into()) };
        assert_eq!(read(&explicit(), EXPLICIT_LE), want);
        let implicit = b"\x08\0\x16\0\x06\0\0\x001.2.3\0\x08\0\x18\0\x04\0\0\x001.22\x20\0\x0d\0\x04\0\0\x001.77";
        assert_eq!(read(implicit, IMPLICIT_LE), want);
        let mut z = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        z.write_all(&explicit()).unwrap();
        assert_eq!(read(&z.finish().unwrap(), DEFLATED_LE), want);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..90) {
            for syntax in [EXPLICIT_LE, IMPLICIT_LE, DEFLATED_LE] {
                let _ = read(&bytes, syntax);
            }
            let whole = explicit();
            let _ = read(&whole[..cut.min(whole.len())], EXPLICIT_LE);
        }
    }
}
