//! What was allocated and never written: zero bytes in the place of samples, of tables and of whole files.

mod samples;

use leadline_formats::{Verdict, inspect_bytes};

/// An EDF+ file of one signal of samples with annotations in front of it or behind it.
fn edf_plus(lists_first: bool, records: usize) -> (usize, Vec<u8>) {
    const SAMPLES: usize = 3000;
    const LIST: usize = 120;
    let mut signals = [("ECG I", "uV", SAMPLES), ("EDF Annotations", "", LIST)];
    if lists_first {
        signals.reverse();
    }
    let field = |text: &str, width: usize| format!("{text:<width$}");
    let all = |width: usize, of: &dyn Fn(&(&str, &str, usize)) -> String| {
        signals.iter().map(|signal| field(&of(signal), width)).collect::<String>()
    };
    let head = [
        field("0", 8) + &field("X X X X", 80) + &field("Startdate 02-MAR-2002 X X X", 80),
        field("02.03.02", 8) + &field("10.00.00", 8) + &field("768", 8) + &field("EDF+C", 44),
        field(&records.to_string(), 8) + &field("10", 8) + &field("2", 4),
        all(16, &|s| s.0.into()) + &all(80, &|_| String::new()) + &all(8, &|s| s.1.into()),
        all(8, &|_| "-3200".into()) + &all(8, &|_| "3200".into()),
        all(8, &|_| "-32768".into()) + &all(8, &|_| "32767".into()) + &all(80, &|_| String::new()),
        all(8, &|s| s.2.to_string()) + &all(32, &|_| String::new()),
    ];
    let mut bytes = head.concat().into_bytes();
    let start = bytes.len();
    for record in 0..records {
        let mut list = format!("+{}\x14\x14\0", record * 10).into_bytes();
        list.resize(LIST * 2, 0);
        let mut parts = [samples::wave(SAMPLES * 2), list];
        if lists_first {
            parts.reverse();
        }
        bytes.extend(parts.concat());
    }
    (start, bytes)
}

/// EDF+ 2.2.2: unused bytes of an annotation signal are zero; those of samples are not for that reason.
#[test]
fn zero_bytes_behind_an_annotation_list_are_padding_only_where_no_samples_follow() {
    for records in [1, 5] {
        let record = 2 * (3000 + 120);
        for lists_first in [false, true] {
            let (start, whole) = edf_plus(lists_first, records);
            let found = inspect_bytes(&whole);
            assert_eq!(found.verdict, Verdict::Complete, "{lists_first}: {}", found.summary());
            samples::no_cut_is_complete(&whole);
            for written in [300, 240, 250, 3000, if lists_first { 6100 } else { 5900 }] {
                let mut bytes = whole.clone();
                bytes[start + (records - 1) * record + written..].fill(0);
                let found = inspect_bytes(&bytes);
                assert_eq!(found.verdict, Verdict::Suspect, "{lists_first}, {written}: {}", found.summary());
            }
        }
    }
}
