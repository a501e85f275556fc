//! A WFDB record: its header, the signal files that the header names, its segments, its annotations.

use std::collections::{HashMap, HashSet};

use sha2::{Digest as _, Sha256};

use super::judge::SetVerdict;
use crate::wfdb::{Header, SampleSums, Segment, SignalFile};
use crate::{Evidence, Part, Verdict};

/// What a caller knows of the files around a header.
pub trait WfdbFiles {
    /// The header of a record, by record name.
    fn header(&self, record: &str) -> Option<Header>;
    /// Length of a signal file, and its sums when they were taken with [`crate::wfdb::SampleCheck`].
    fn signal(&self, file: &SignalFile, frames: Option<u64>) -> Option<SampleSums>;
}

/// Names of the files that a header refers to, each once: signal files, and headers of segments.
#[must_use]
pub fn wfdb_members(header: &Header) -> Vec<String> {
    let mut seen = HashSet::new();
    let segments = header.segments.iter().filter(|segment| segment.record != "~" && seen.insert(&segment.record));
    let mut names: Vec<String> = segments.map(|segment| format!("{}.hea", segment.record)).collect();
    names.extend(header.files().into_iter().map(|file| file.name));
    names
}

/// Judges a record (header(5), signal(5)): every named file is there and has the length that the header implies, and
/// the samples add up to the stated sums. A sum may be left out (header(5)); zero bytes in the place of samples are then
/// all that shows what was never written.
#[must_use]
pub fn wfdb_verdict(header: &Header, files: &impl WfdbFiles) -> SetVerdict {
    let mut judge = Judge { files, segments: HashMap::new(), signals: HashMap::new(), set: SetVerdict::complete() };
    judge.header(header, true);
    judge.set
}

/// A few bytes of a header can name a large file again and again, so each file is read once.
struct Judge<'a, F> {
    files: &'a F,
    segments: HashMap<String, Seen>,
    /// Digests of the names of signal files, and of what was first said of each.
    signals: HashMap<[u8; 16], [u8; 16]>,
    set: SetVerdict,
}

/// Signal files of one record that are told apart.
const SIGNALS: usize = 1 << 16;

/// What is known of the header of a segment.
struct Seen {
    /// The name as it was first written: names are the same in any case.
    record: String,
    frames: Option<u64>,
    judged: bool,
}

impl<F: WfdbFiles> Judge<'_, F> {
    fn header(&mut self, header: &Header, outer: bool) {
        if !header.has_all_lines() {
            let (expected, actual) = if header.announced_segments > 0 {
                (header.announced_segments, header.segments.len())
            } else {
                (header.announced, header.signals.len())
            };
            let (expected, actual) = (expected as u64, actual as u64);
            self.set.add(Verdict::Partial, Evidence::ShortPart { part: Part::SignalLines, expected, actual });
        }
        if !header.closed {
            self.set.add(Verdict::Suspect, Evidence::Unclosed { part: Part::LastLine, depth: 1 });
        }
        for segment in header.segments.iter().filter(|segment| segment.record != "~") {
            self.segment(segment, outer);
        }
        for file in header.files() {
            self.signal(header, &file);
        }
    }

    fn segment(&mut self, segment: &Segment, outer: bool) {
        let name = segment.record.to_lowercase();
        if let Some(seen) = self.segments.get(&name).filter(|seen| seen.judged || segment.frames == 0) {
            if seen.record != segment.record {
                self.set.add(Verdict::Unverifiable, Evidence::NotChecked { part: Part::Segment });
            }
            if seen.frames.is_some_and(|frames| frames != segment.frames) {
                self.set.add(Verdict::Malformed, Evidence::Contradiction { part: Part::Segment, offset: 0 });
            }
            return;
        }
        match self.files.header(&segment.record) {
            None => {
                self.set.add(Verdict::Partial, Evidence::Missing { part: Part::Segment });
                self.seen(name, segment, None, true);
            }
            // Segments have no segments (header(5)).
            Some(inner) if outer && inner.segments.is_empty() => {
                if inner.frames.is_some_and(|frames| frames != segment.frames) {
                    self.set.add(Verdict::Malformed, Evidence::Contradiction { part: Part::Segment, offset: 0 });
                }
                // The layout segment of a variable-layout record has no samples.
                self.seen(name, segment, inner.frames, segment.frames > 0);
                if segment.frames > 0 {
                    self.header(&inner, false);
                }
            }
            Some(_) => {
                self.set.add(Verdict::Malformed, Evidence::Contradiction { part: Part::Segment, offset: 0 });
                self.seen(name, segment, None, true);
            }
        }
    }

    fn seen(&mut self, name: String, segment: &Segment, frames: Option<u64>, judged: bool) {
        self.segments.insert(name, Seen { record: segment.record.clone(), frames, judged });
    }

    fn signal(&mut self, header: &Header, file: &SignalFile) {
        let said = digest(&format!("{file:?} {:?}", header.frames));
        let name = digest(&file.name.to_lowercase());
        match self.signals.get(&name) {
            Some(first) if *first == said => {}
            None if self.signals.len() < SIGNALS => {
                signal(header, file, self.files, &mut self.set);
                self.signals.insert(name, said);
            }
            // Two segments share it, which no record is known to do.
            _ => self.set.add(Verdict::Unverifiable, Evidence::NotChecked { part: Part::SignalFile }),
        }
    }
}

fn digest(text: &str) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&Sha256::digest(text)[..16]);
    short
}

fn signal(header: &Header, file: &SignalFile, files: &impl WfdbFiles, set: &mut SetVerdict) {
    let Some(found) = files.signal(file, header.frames) else {
        set.add(Verdict::Partial, Evidence::Missing { part: Part::SignalFile });
        return;
    };
    let part = Part::SignalFile;
    let Some(expected) = file.expected else {
        let part = if header.frames.is_none() { Part::SampleCount } else { part };
        set.add(Verdict::Unverifiable, Evidence::NotChecked { part });
        return;
    };
    if found.len < expected {
        set.add(Verdict::Partial, Evidence::Short { part, expected, actual: found.len });
        return;
    }
    // Writers fill the last unit of three samples in four bytes.
    let filled =
        matches!(file.format, 310 | 311) && found.len - expected < 4 && (found.len - file.offset).is_multiple_of(4);
    if found.len > expected && !filled {
        set.add(Verdict::Suspect, Evidence::TrailingBytes { from: expected, length: found.len - expected });
    }
    let stated = file.checksums.iter().copied();
    for (index, (stated, sum)) in stated.zip(found.sums.iter().flatten()).enumerate() {
        if stated.is_some_and(|stated| stated != *sum) {
            let fact = Evidence::FailedChecksum { part: Part::Signal, offset: index as u64 };
            set.add(Verdict::Malformed, fact);
        }
    }
    match found.zeros {
        Some(fact) if file.checksums.contains(&None) => set.add(Verdict::Suspect, fact),
        // A file with a sum is read before it counts as whole.
        None if found.sums.is_none() && file.checksums.iter().all(Option::is_none) => {
            set.add(Verdict::Unverifiable, Evidence::NotChecked { part });
        }
        _ => {}
    }
}
