//! A WFDB record: its header, the signal files that the header names, its segments, its annotations.

use super::judge::SetVerdict;
use crate::wfdb::{Header, SampleSums, SignalFile};
use crate::{Evidence, Part, Verdict};

/// What a caller knows of the files around a header.
pub trait WfdbFiles {
    /// The header of a record, by record name.
    fn header(&self, record: &str) -> Option<Header>;
    /// Length of a signal file, and its sums when they were taken with [`crate::wfdb::SampleCheck`].
    fn signal(&self, file: &SignalFile, frames: Option<u64>) -> Option<SampleSums>;
}

/// Names of the files that a header refers to: signal files, and headers of segments.
#[must_use]
pub fn wfdb_members(header: &Header) -> Vec<String> {
    let segments = header.segments.iter().filter(|segment| segment.record != "~");
    let mut names: Vec<String> = segments.map(|segment| format!("{}.hea", segment.record)).collect();
    names.extend(header.files().into_iter().map(|file| file.name));
    names
}

/// Judges a record (header(5), signal(5)): every named file is there and has the length that the header implies, and
/// the samples add up to the stated sums. A sum may be left out (header(5)); zero bytes in the place of samples are then
/// all that shows what was never written.
#[must_use]
pub fn wfdb_verdict(header: &Header, files: &impl WfdbFiles) -> SetVerdict {
    let mut set = SetVerdict::complete();
    judge(header, files, true, &mut set);
    set
}

fn judge(header: &Header, files: &impl WfdbFiles, outer: bool, set: &mut SetVerdict) {
    if !header.has_all_lines() {
        let (expected, actual) = if header.announced_segments > 0 {
            (header.announced_segments, header.segments.len())
        } else {
            (header.announced, header.signals.len())
        };
        let (expected, actual) = (expected as u64, actual as u64);
        set.add(Verdict::Partial, Evidence::ShortPart { part: Part::SignalLines, expected, actual });
    }
    if !header.closed {
        set.add(Verdict::Suspect, Evidence::Unclosed { part: Part::LastLine, depth: 1 });
    }
    for segment in header.segments.iter().filter(|segment| segment.record != "~") {
        match files.header(&segment.record) {
            None => set.add(Verdict::Partial, Evidence::Missing { part: Part::Segment }),
            // Segments have no segments (header(5)).
            Some(inner) if outer && inner.segments.is_empty() => {
                if inner.frames.is_some_and(|frames| frames != segment.frames) {
                    set.add(Verdict::Malformed, Evidence::Contradiction { part: Part::Segment, offset: 0 });
                }
                // The layout segment of a variable-layout record has no samples.
                if segment.frames > 0 {
                    judge(&inner, files, false, set);
                }
            }
            Some(_) => set.add(Verdict::Malformed, Evidence::Contradiction { part: Part::Segment, offset: 0 }),
        }
    }
    for file in header.files() {
        signal(header, &file, files, set);
    }
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
