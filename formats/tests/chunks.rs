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
