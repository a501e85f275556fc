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

/// Escapes, references, codes of two bytes, pieces of documents: what has to be seen together.
#[test]
fn what_is_torn_is_read_as_one() {
    let pdf = samples::synth(leadline_formats::synth::SynthFormat::Pdf);
    let letters = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &pdf);
    let escaped: String = letters[..400].chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    let (first, last) = letters.split_at(letters.len() / 2);
    let observation = "OBX|1|ED|a^b||^a^pdf^Base64^";
    let mut open = samples::utf16(&samples::philips(1), true);
    open.extend(b"\r\n");
    let contents: Vec<Vec<u8>> = vec![
        format!(r#"{{"resourceType":"a","data":"{escaped}\\/"}}"#).into_bytes(),
        br#"{"a":"\u12"}"#.to_vec(),
        br#"{"a":"\u12\"#.to_vec(),
        b"<?xml version=\"1.0\"?><ECG><SUBJECT/>&#13;&amp;&x;&<CHANNEL DATA='QUJD&#10;QUJD'/></ECG>".to_vec(),
        b"<?xml version='1.0' encoding='ISO-2022-JP'?><zqecg>\x1b$B<<&\x1b(B</zqecg>\x1b".to_vec(),
        open.clone(),
        [&open[..open.len() - 2], b"\n"].concat(),
        [&pdf[..], b"an object, 12 0 object, 12 0 obj"].concat(),
        format!("\x0bMSH|^~\\&|A\r{observation}{first}|F\r{observation}{last}|F\r\x1c\n").into_bytes(),
        format!("\x0bMSH|^~\\&|A\r{observation}{first}\rADD|{last}|F\r\x1c\r").into_bytes(),
        format!("\x0bMSH|^~\\&|A\rOBX|1|ED|\x1b$B!|!^\x1b(B^\x1b$)C\x1b||^a^pdf^Base64^{letters}|F\r\x1c\r")
            .into_bytes(),
        format!("BHS|^~\\&|A\rMSH|^~\\&|A\r{observation}{letters}\r{observation}{letters}\rBTS|1\rB").into_bytes(),
    ];
    for (n, bytes) in contents.iter().enumerate() {
        let once = inspect_bytes(bytes);
        for size in [1, 3, 7, 64] {
            assert_eq!(in_pieces(bytes, &[size]), once, "{n} in pieces of {size}");
        }
        for at in (1..bytes.len()).filter(|at| bytes.len() < 1200 || at % 397 == 0 || bytes.len() - at < 40) {
            assert_eq!(in_pieces(bytes, &[at, bytes.len()]), once, "{n} torn at {at}");
        }
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
