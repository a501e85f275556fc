//! What was allocated and never written: zero bytes in the place of samples, of tables and of whole files.

mod samples;

use leadline_formats::sets::{WfdbFiles, wfdb_verdict};
use leadline_formats::wfdb::{Header, SampleCheck, SampleSums, SignalFile};
use leadline_formats::{Evidence, Part, Verdict, inspect_bytes};

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

/// A header and its one signal file, which may be too large to be read.
struct Signal<'a> {
    bytes: &'a [u8],
    read: bool,
}

impl WfdbFiles for Signal<'_> {
    fn header(&self, _record: &str) -> Option<Header> {
        None
    }

    fn signal(&self, file: &SignalFile, frames: Option<u64>) -> Option<SampleSums> {
        let mut check = SampleCheck::new(file, frames.unwrap_or(0));
        self.bytes.chunks(1000).for_each(|piece| check.push(piece));
        let sums = check.finish();
        let unread = SampleSums { len: sums.len, sums: None, trace: None, zeros: None };
        Some(if self.read { sums } else { unread })
    }
}

/// header(5): the check sum of a signal is optional.
#[test]
fn samples_without_a_sum_that_were_never_written_are_suspect() {
    let bare = "r 2 500 5000\nr.dat 16 200 16 0\nr.dat 16 200 16 0\n";
    let behind = bare.replace("r.dat 16 ", "r.dat 16+4096 ");
    let read = |header: &str, bytes: &[u8], read: bool| {
        wfdb_verdict(&Header::parse(header.as_bytes()).expect("a header"), &Signal { bytes, read })
    };
    let verdict = |header: &str, bytes: &[u8]| read(header, bytes, true).verdict;
    let whole = samples::wave(20_000);
    assert_eq!(verdict(bare, &whole), Verdict::Complete);
    for hole in [0..20_000, 10_000..20_000, 19_900..20_000, 4096..8192] {
        let mut bytes = whole.clone();
        bytes[hole.clone()].fill(0);
        assert_eq!(verdict(bare, &bytes), Verdict::Suspect, "{hole:?}");
        // What is in front of the samples is not theirs.
        let offset = [&[0; 4096][..], &bytes].concat();
        assert_eq!(verdict(&behind, &offset), Verdict::Suspect, "{hole:?}");
    }
    assert_eq!(verdict(&behind, &[&[0; 4096][..], &whole].concat()), Verdict::Complete);
    let unread = read(bare, &whole, false);
    assert_eq!(unread.verdict, Verdict::Unverifiable);
    assert_eq!(unread.evidence, [Evidence::NotChecked { part: Part::SignalFile }]);
    // Sums speak for themselves: a lead may be flat for long. With the sum of one signal only they speak for that one.
    let mut flat = whole;
    flat[4096..12_288].fill(0);
    let sums: Vec<u16> = (0..2)
        .map(|i| flat.chunks(4).fold(0u16, |sum, b| sum.wrapping_add(u16::from_le_bytes([b[2 * i], b[2 * i + 1]]))))
        .collect();
    let stated = format!("r 2 500 5000\nr.dat 16 200 16 0 0 {}\nr.dat 16 200 16 0 0 {}\n", sums[0], sums[1]);
    assert_eq!(verdict(&stated, &flat), Verdict::Complete);
    let one = format!("r 2 500 5000\nr.dat 16 200 16 0 0 {}\nr.dat 16 200 16 0\n", sums[0]);
    assert_eq!(verdict(&one, &flat), Verdict::Suspect);
    assert_eq!(read(&one, &flat, false).verdict, Verdict::Complete, "it is read before that counts");
}

fn atom(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
}

fn full(kind: &[u8; 4], words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    let body: Vec<u8> = std::iter::once(0).chain(words).flat_map(u32::to_be_bytes).collect();
    atom(kind, &body)
}

/// A film of one track of 4000 samples of different sizes in chunks of ten, with more boxes in front of its tables.
fn film(more: &[u8]) -> Vec<u8> {
    const SAMPLES: u32 = 4000;
    let size = |n: u32| 50 + n * 7 % 251;
    let head = atom(b"ftyp", b"isom\0\0\0\x01isom");
    let movie = |from: u32| {
        let mut at = from;
        let chunks: Vec<u32> = (0..SAMPLES / 10)
            .map(|chunk| {
                let here = at;
                at += (chunk * 10..chunk * 10 + 10).map(size).sum::<u32>();
                here
            })
            .collect();
        let tables = [
            more.to_vec(),
            full(b"stts", [1, SAMPLES, 40]),
            full(b"stsc", [1, 1, 10, 1]),
            full(b"stsz", [0, SAMPLES].into_iter().chain((0..SAMPLES).map(size))),
            full(b"stco", [chunks.len() as u32].into_iter().chain(chunks)),
        ];
        let track = atom(b"trak", &atom(b"mdia", &atom(b"minf", &atom(b"stbl", &tables.concat()))));
        atom(b"moov", &[full(b"mvhd", [0; 24]), track].concat())
    };
    let media = atom(b"mdat", &samples::wave((0..SAMPLES).map(size).sum::<u32>() as usize));
    let len = movie(0).len();
    [&head[..], &movie((head.len() + len + 8) as u32), &media].concat()
}

/// ISO/IEC 14496-12, 8.7.3: where the sizes of samples are not all the same, each has its own.
#[test]
fn a_film_whose_tables_were_never_written_is_suspect() {
    let whole = film(b"");
    let found = inspect_bytes(&whole);
    assert_eq!(found.verdict, Verdict::Complete, "{}", found.summary());
    samples::no_cut_is_complete(&whole);
    for hole in [4096..8192, 4096..12_288, 8192..12_288] {
        let mut bytes = whole.clone();
        bytes[hole.clone()].fill(0);
        let found = inspect_bytes(&bytes);
        assert_eq!(found.verdict, Verdict::Suspect, "{hole:?}: {}", found.summary());
        assert!(found.evidence.contains(&Evidence::NulBlock { offset: hole.start as u64 }));
    }
    // Room for more, flags that are all alike, samples of one size: nothing is missing.
    for zeros in [atom(b"free", &[0; 9000]), atom(b"udta", &[0; 9004]), atom(b"sdtp", &[0; 9000])] {
        assert_eq!(inspect_bytes(&film(&zeros)).verdict, Verdict::Complete, "{}", zeros[4]);
    }
    let room = atom(b"stss", &[&[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1][..], &[0; 9000]].concat());
    assert_eq!(inspect_bytes(&film(&room)).verdict, Verdict::Complete);
}
