//! What real files did that no specification foretells: a made-up file in place of each.

mod samples;

use leadline_formats::synth::{Spec, SynthFormat};
use leadline_formats::{Format, Verdict, inspect_bytes};

/// An element in implicit VR, little endian.
fn implicit(tag: u32, len: u32, value: &[u8]) -> Vec<u8> {
    [&((tag >> 16) as u16).to_le_bytes()[..], &(tag as u16).to_le_bytes(), &len.to_le_bytes(), value].concat()
}

/// A head in explicit VR whose transfer syntax is explicit too, and a data set that is not.
fn mistaken(data: &[u8]) -> Vec<u8> {
    let syntax = b"1.2.840.10008.1.2.4.50";
    let meta = [&[2, 0, 0x10, 0], &b"UI"[..], &(syntax.len() as u16).to_le_bytes(), syntax].concat();
    let len = [&[2, 0, 0, 0], &b"UL"[..], &[4, 0], &(meta.len() as u32).to_le_bytes()].concat();
    [&[0; 128], &b"DICM"[..], &len, &meta, data].concat()
}

#[test]
fn compressed_pixels_in_implicit_vr_are_fragments() {
    let class = b"1.2.840.10008.5.1.4.1.1.7\0";
    let mut data = implicit(0x0008_0016, class.len() as u32, class);
    for tag in [0x0028_0010, 0x0028_0011] {
        data.extend(implicit(tag, 2, &[20, 0]));
    }
    data.extend(implicit(0x7FE0_0010, u32::MAX, &[]));
    data.extend(implicit(0xFFFE_E000, 0, &[]));
    let pixels = samples::wave(1000);
    data.extend(implicit(0xFFFE_E000, 1000, &pixels));
    data.extend(implicit(0xFFFE_E0DD, 0, &[]));
    let bytes = mistaken(&data);
    let whole = inspect_bytes(&bytes);
    assert_eq!((whole.format, whole.verdict), (Format::DicomImage, Verdict::Complete), "{}", whole.summary());
    for cut in [bytes.len() - 1, bytes.len() - 8, bytes.len() - 9, bytes.len() - 500] {
        assert_eq!(inspect_bytes(&bytes[..cut]).verdict, Verdict::Partial, "{cut}");
    }
}

#[test]
fn a_table_of_numbers_is_no_wfdb_header() {
    for table in ["# coils\n3 3012 2 4 1.0e-02\n1.0 0.0 0.0 0.5\n", "3 3012 2\n1 0.5 0.25\n", "a 1 2\nx 16,5\n"] {
        let found = inspect_bytes(table.as_bytes());
        assert_eq!((found.format, found.verdict), (Format::Unknown, Verdict::Unverifiable), "{table}");
    }
    for header in ["a 1 250 10\na.dat 212x2:1+24 200 11 1024 995 -22131 0 I\n", "a/2 1 250 20\na1 10\na2 10\n"] {
        assert_eq!(inspect_bytes(header.as_bytes()).format, Format::WfdbHeader, "{header}");
    }
}

/// First and second differences (EN 1064 5.9.4) are the same samples, and the trace says so.
#[test]
fn differences_of_scp_samples_have_the_same_trace() {
    let plain = SynthFormat::Scp.write(&Spec::new(6)).unwrap().remove(0).bytes;
    let u32_at = |at: usize| u32::from_le_bytes(plain[at..at + 4].try_into().unwrap()) as usize;
    let rhythm = u32_at(22 + 6 * 10 + 6) - 1 + 16;
    let first = rhythm + 6 + 2 * 12;
    let sample = |n: usize| i16::from_le_bytes([plain[first + 2 * n], plain[first + 2 * n + 1]]);
    let want = inspect_bytes(&plain).identity.trace;
    assert!(want.is_some());
    for order in [1u8, 2] {
        let mut other = plain.clone();
        other[rhythm + 4] = order;
        for n in usize::from(order)..5000 {
            let step = match order {
                1 => sample(n) - sample(n - 1),
                _ => sample(n) - 2 * sample(n - 1) + sample(n - 2),
            };
            other[first + 2 * n..first + 2 * n + 2].copy_from_slice(&step.to_le_bytes());
        }
        assert_eq!(inspect_bytes(&other).identity.trace, want, "differences of order {order}");
    }
}
