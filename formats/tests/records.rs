//! WFDB records of several files, judged through their headers.

use std::cell::Cell;
use std::collections::HashMap;

use leadline_formats::Verdict;
use leadline_formats::sets::{WfdbFiles, wfdb_members, wfdb_verdict};
use leadline_formats::wfdb::{Header, SampleCheck, SampleSums, SignalFile};

/// Files by their names in lower case, and how many were read.
#[derive(Default)]
struct Files {
    all: HashMap<String, Vec<u8>>,
    read: Cell<usize>,
}

impl Files {
    fn of(all: &[(&str, &[u8])]) -> Self {
        Self { all: all.iter().map(|(name, bytes)| ((*name).into(), bytes.to_vec())).collect(), read: Cell::new(0) }
    }

    fn get(&self, name: &str) -> Option<&Vec<u8>> {
        self.read.set(self.read.get() + 1);
        self.all.get(&name.to_lowercase())
    }

    fn judge(&self, header: &str) -> (Verdict, usize) {
        self.read.set(0);
        let header = Header::parse(header.as_bytes()).expect("a header");
        let verdict = wfdb_verdict(&header, self).verdict;
        (verdict, self.read.get())
    }
}

impl WfdbFiles for Files {
    fn header(&self, record: &str) -> Option<Header> {
        Header::parse(self.get(&format!("{record}.hea"))?).ok()
    }

    fn signal(&self, file: &SignalFile, frames: Option<u64>) -> Option<SampleSums> {
        let mut check = SampleCheck::new(file, frames.unwrap_or(0));
        check.push(self.get(&file.name)?);
        Some(check.finish())
    }
}

const SEGMENT: &[u8] = b"s 1 500 2\ns.dat 16 200 16 0 1 3 0\n";

/// Four bytes of a header name a segment once more: reading it each time would take the product of both lengths.
#[test]
fn a_segment_that_is_named_again_and_again_is_read_once() {
    let files = Files::of(&[("s.hea", SEGMENT), ("s.dat", &[1, 0, 2, 0])]);
    let many = |lines: &str| format!("m/{} 1 500 30000\n{lines}", lines.lines().count());
    assert_eq!(files.judge(&many(&"s 2\n".repeat(30_000))), (Verdict::Complete, 2));
    assert_eq!(files.judge(&many(&format!("{}s 3\n", "s 2\n".repeat(300)))), (Verdict::Malformed, 2));
    assert_eq!(files.judge(&many(&"gone 2\n".repeat(300))), (Verdict::Partial, 1));
    // One file on a share, two on other disks.
    assert_eq!(files.judge(&many("s 2\nS 2\ns 2\n")), (Verdict::Unverifiable, 2));
    let master = Header::parse(many(&"s 2\n".repeat(300)).as_bytes()).expect("a header");
    assert_eq!(wfdb_members(&master), ["s.hea"]);

    // A layout has no samples; what is named as one first may be a segment all the same.
    assert_eq!(files.judge(&many("s 0\ns 2\n")).0, Verdict::Malformed);
    let cut = Files::of(&[("s.hea", SEGMENT), ("s.dat", &[1, 0, 2])]);
    assert_eq!(cut.judge(&many("s 0\ns 2\n")).0, Verdict::Partial);
    assert_eq!(cut.judge(&many("s 2\ns 2\n")), (Verdict::Partial, 2));
}

#[test]
fn a_signal_file_that_many_segments_name_is_read_once() {
    let (names, lines): (Vec<String>, String) = {
        let names: Vec<String> = (0..200).map(|n| format!("t{n}.hea")).collect();
        let lines = (0..200).map(|n| format!("t{n} 2\n")).collect();
        (names, lines)
    };
    let mut all: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), SEGMENT)).collect();
    all.push(("s.dat", &[1, 0, 2, 0]));
    let mut files = Files::of(&all);
    let master = format!("m/200 1 500 400\n{lines}");
    assert_eq!(files.judge(&master), (Verdict::Complete, 201));
    // Each says something else of it.
    let other = String::from_utf8_lossy(SEGMENT).replace("s.dat 16", "s.dat 16+2").into_bytes();
    files.all.insert("t7.hea".into(), other);
    assert_eq!(files.judge(&master), (Verdict::Unverifiable, 201));
}
