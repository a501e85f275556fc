//! The verdict does not depend on where pieces end, whatever the content.

mod samples;

use leadline_formats::{Inspection, Inspector, inspect_bytes};
use proptest::prelude::*;

fn in_pieces(bytes: &[u8], sizes: &[usize]) -> Inspection {
    let mut inspector = Inspector::new(None);
    let mut rest = bytes;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*size).clamp(1, rest.len()));
        inspector.push(piece);
        rest = after;
    }
    inspector.finish()
}

#[test]
fn byte_by_byte() {
    for sample in samples::all() {
        let bytes = &sample.bytes[..sample.bytes.len().min(60_000)];
        assert_eq!(in_pieces(bytes, &[1]), inspect_bytes(bytes), "{}", sample.name);
    }
}

/// The words of two cross-references, the first one across the end of a window of the scanner.
#[test]
fn a_word_across_windows() {
    for from in 6_130..6_150 {
        let mut bytes = b"%PDF-1.4\n".to_vec();
        bytes.resize(from, b' ');
        bytes.extend_from_slice(b"startxref\n9\n%%EOF\n");
        bytes.extend_from_slice(format!("startxref\n{}\n%%EOF\n", from + 5).as_bytes());
        bytes.resize(20_000, b' ');
        assert_eq!(in_pieces(&bytes, &[100]), inspect_bytes(&bytes), "from {from}");
    }
}

/// A document whose header is met in its last bytes only.
#[test]
fn a_late_header_of_an_encapsulated_document() {
    let all = samples::all();
    let mut bytes = all.iter().find(|s| s.name == "dicom-pdf").expect("there is one").bytes.clone();
    let header = bytes.windows(5).position(|w| w == b"%PDF-").expect("it holds a PDF");
    bytes[header] = b'#';
    let ends = bytes.windows(5).rposition(|w| w == b"%%EOF").expect("which ends");
    bytes[ends - 60..ends - 55].copy_from_slice(b"%PDF-");
    // It points nowhere, which counts only if it is a PDF at all.
    let points = bytes.windows(10).rposition(|w| w == b"startxref\n").expect("to its cross-reference");
    bytes[points + 10] = b'9';
    assert_eq!(in_pieces(&bytes, &[100]), inspect_bytes(&bytes));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_pieces_of_damaged_files(
        which in 0usize..64,
        cut in 0.0f64..1.0,
        changes in proptest::collection::vec((0.0f64..1.0, any::<u8>()), 0..4),
        hole in proptest::option::of((0.0f64..1.0, 1usize..9000)),
        sizes in proptest::collection::vec(prop_oneof![1usize..20, 20usize..5000, 5000usize..100_000], 1..12),
    ) {
        let all = samples::all();
        let mut bytes = all[which % all.len()].bytes.clone();
        let len = bytes.len();
        for (place, value) in changes {
            // Most damage goes to the start, where structure is.
            bytes[(place * place * place * len as f64) as usize] = value;
        }
        if let Some((place, size)) = hole {
            let from = (place * len as f64) as usize;
            bytes[from..(from + size).min(len)].fill(0);
        }
        if cut < 0.5 {
            bytes.truncate((cut * 2.0 * len as f64) as usize);
        }
        prop_assert_eq!(in_pieces(&bytes, &sizes), inspect_bytes(&bytes));
    }

    #[test]
    fn any_pieces_of_any_bytes(
        magic in 0usize..64,
        bytes in proptest::collection::vec(any::<u8>(), 0..6000),
        sizes in proptest::collection::vec(1usize..700, 1..8),
    ) {
        let all = samples::all();
        let head = &all[magic % all.len()].bytes;
        let bytes = [&head[..head.len().min(200)], &bytes].concat();
        prop_assert_eq!(in_pieces(&bytes, &sizes), inspect_bytes(&bytes));
    }
}
