//! Which header of several is that of the record, and what each file is to it.

use super::group::split;
use crate::wfdb::{Header, SignalFile};
use std::collections::BTreeSet;

/// The headers of one WFDB record: its own and those of its segments (header(5), "Multi-segment records").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    master: Header,
    /// Those that are there, each once, with the position of the first line that names it.
    segments: Vec<(u32, Header)>,
    signals: Vec<RecordSignal>,
}

/// What a file is to its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordPlace {
    /// It is the header of the whole record.
    pub master: bool,
    /// The segment that it belongs to: position of its line in the header of the record, from zero. Absent for what
    /// belongs to the record as a whole.
    pub segment: Option<u32>,
    /// Of a signal file: position among the files that its header names, from zero.
    pub file: Option<u32>,
}

/// A signal file of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSignal {
    /// What it is to the record.
    pub place: RecordPlace,
    /// As its header has it.
    pub file: SignalFile,
    /// Frames that its header states.
    pub frames: Option<u64>,
}

impl Record {
    /// From headers with the names of their files. `None` unless exactly one of them is named by no other:
    /// the header of the whole record is missing, or the files are of more than one record.
    #[must_use]
    pub fn of(headers: Vec<(String, Header)>) -> Option<Self> {
        let named = |name: &str| {
            let mut lines = headers.iter().flat_map(|(_, h)| &h.segments);
            lines.any(|s| s.record.eq_ignore_ascii_case(split(name).stem))
        };
        let mut free = headers.iter().filter(|(name, _)| !named(name));
        let (_, master) = free.next()?;
        if free.next().is_some() {
            return None;
        }
        let master = master.clone();
        let find = |record: &str| headers.iter().find(|(name, _)| split(name).stem.eq_ignore_ascii_case(record));
        // A line may stand there again and again.
        let mut seen = BTreeSet::new();
        let named = (0..).zip(&master.segments).filter(|(_, s)| seen.insert(s.record.to_ascii_lowercase()));
        let segments: Vec<_> = named.filter_map(|(at, s)| Some((at, find(&s.record)?.1.clone()))).collect();
        let signals = signals(&master, &segments);
        Some(Self { master, segments, signals })
    }

    /// The header of the whole record.
    #[must_use]
    pub fn master(&self) -> &Header {
        &self.master
    }

    /// The header of a segment, by its name in the header of the record.
    #[must_use]
    pub fn segment(&self, record: &str) -> Option<&Header> {
        let named = |at: u32| self.master.segments[at as usize].record.eq_ignore_ascii_case(record);
        self.segments.iter().find(|(at, _)| named(*at)).map(|(_, header)| header)
    }

    /// The signal files of the record and of its segments.
    #[must_use]
    pub fn signals(&self) -> &[RecordSignal] {
        &self.signals
    }

    /// Whether an extension does not tell what a file is to the record: it has segments, or its signal files differ in
    /// more than that.
    #[must_use]
    pub fn is_spread(&self) -> bool {
        let own = self.signals.iter().filter(|s| s.place.segment.is_none());
        let stems = own.map(|s| split(&s.file.name).stem);
        !self.master.segments.is_empty() || stems.clone().zip(stems.skip(1)).any(|(a, b)| !a.eq_ignore_ascii_case(b))
    }

    /// What a file is to the record, by its name. What no header names belongs to the segment, or the record, whose name
    /// it bears: annotations.
    #[must_use]
    pub fn place(&self, name: &str) -> RecordPlace {
        if let Some(s) = self.signals.iter().find(|s| s.file.name.eq_ignore_ascii_case(name)) {
            return s.place;
        }
        let parts = split(name);
        let at = self.master.segments.iter().position(|s| s.record.eq_ignore_ascii_case(parts.stem));
        let segment = at.and_then(|at| u32::try_from(at).ok());
        let header = parts.extension.eq_ignore_ascii_case("hea");
        RecordPlace { master: header && segment.is_none(), segment, file: None }
    }
}

fn signals(master: &Header, segments: &[(u32, Header)]) -> Vec<RecordSignal> {
    std::iter::once((None, master))
        .chain(segments.iter().map(|(at, header)| (Some(*at), header)))
        .flat_map(|(segment, header)| {
            (0..).zip(header.files()).map(move |(at, file)| RecordSignal {
                place: RecordPlace { master: false, segment, file: Some(at) },
                file,
                frames: header.frames,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Header {
        Header::parse(text.as_bytes()).unwrap()
    }

    fn segmented() -> Vec<(String, Header)> {
        vec![
            ("b01.hea".into(), header("b01 2 500 10\nb01.dat 16 200 16 0 1 5 0\nb01x.dat 16 200 16 0 1 5 0\n")),
            ("B.hea".into(), header("b/3 2 500 30\nb_layout 0\n~ 10\nB01 20\n")),
            ("b_layout.hea".into(), header("b_layout 2 500 0\n~ 0 200 16 0 0 0 0\n~ 0 200 16 0 0 0 0\n")),
        ]
    }

    #[test]
    fn the_header_that_no_other_names_is_that_of_the_record() {
        let record = Record::of(segmented()).unwrap();
        assert_eq!(record.master().announced_segments, 3);
        assert!(record.is_spread() && record.segment("B01").is_some() && record.segment("~").is_none());
        let place = |name: &str| {
            let p = record.place(name);
            (p.master, p.segment, p.file)
        };
        assert_eq!(place("b.hea"), (true, None, None));
        assert_eq!(place("b_layout.hea"), (false, Some(0), None));
        assert_eq!(place("b01.hea"), (false, Some(2), None));
        assert_eq!(place("b01.DAT"), (false, Some(2), Some(0)));
        assert_eq!(place("b01x.dat"), (false, Some(2), Some(1)));
        assert_eq!(place("b01.atr"), (false, Some(2), None));
        assert_eq!(place("b.atr"), (false, None, None));
    }

    #[test]
    fn without_the_header_of_the_record_or_with_two_there_is_none() {
        let mut parts = segmented();
        parts.remove(1);
        assert_eq!(Record::of(parts), None);
        let mut more = segmented();
        more.push(("other.hea".into(), header("other 0 500 10\n")));
        assert_eq!(Record::of(more), None);
        assert_eq!(Record::of(vec![]), None);
        let own = Record::of(vec![("a.hea".into(), header("a/1 1 500 10\na 10\n"))]);
        assert_eq!(own, None, "a record is not its own segment");
    }

    #[test]
    fn a_segment_that_is_named_again_and_again_has_its_files_once() {
        let mut headers = segmented();
        headers[1].1 = header(&format!("b/2000 2 500 20000\n{}", "b01 10\nB01 10\n".repeat(1000)));
        let record =
            Record::of(headers.split_off(1).into_iter().chain(headers).filter(|(n, _)| n != "b_layout.hea").collect());
        let record = record.unwrap();
        assert_eq!(record.signals().len(), 2);
        assert_eq!(record.place("b01x.dat").segment, Some(0));
        assert!(record.segment("b01").is_some() && record.segment("B01").is_some());
    }

    #[test]
    fn signals_that_differ_in_their_extension_only_need_no_place() {
        let one = |text: &str| Record::of(vec![("100.hea".into(), header(text))]).unwrap();
        assert!(!one("100 2 360 10\n100.d0 16\n100.d1 16\n").is_spread());
        assert!(one("100 2 360 10\n100a.dat 16\n100b.dat 16\n").is_spread());
    }
}
