//! DICOM files (PS3.10): the preamble, the file meta information and the choice of transfer syntax.
//!
//! The data set itself is in [`dataset`]; the rules for what makes one complete are in [`anchors`].

mod anchors;
mod dataset;
mod vr;

use dataset::{Dataset, Encoding};

use crate::engine::inflate::{Inflate, State};
use crate::engine::{Driver, End, Machine, NulWatch, Report, Step};
use crate::{Evidence, Part};

/// Values of the file meta information are names and UIDs; nothing legitimate is larger, but for what is private.
const META_VALUE: usize = 64 << 10;
const PRIVATE: u16 = 0x0102;
/// Deflated data sets (PS3.5 A.5), and those of which only references to the pixels are there (A.7, A.9).
const DEFLATED: [&[u8]; 3] = [b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.4.95", b"1.2.840.10008.1.2.4.205"];

pub(crate) struct Dicom {
    stage: Stage,
    syntax: Vec<u8>,
    /// Bytes of private information that are still to come.
    left: u64,
    floor: u64,
}

enum Stage {
    Preamble,
    Meta,
    Plain(Box<Dataset>),
    Deflated {
        inflate: Inflate,
        inner: Box<Driver<Dataset>>,
        nul: NulWatch,
        sum: crc32fast::Hasher,
        trailing: Vec<u8>,
        after: u64,
        from: u64,
    },
    Broken(Evidence),
}

impl Dicom {
    pub(crate) fn new() -> Self {
        Self { stage: Stage::Preamble, syntax: Vec::new(), left: 0, floor: 132 }
    }

    /// PS3.5 annex A; private and compressed syntaxes are explicit little endian (A.4).
    fn encoding(&self, window: &[u8]) -> Encoding {
        let explicit = window.get(4..6).is_none_or(|vr| vr.iter().all(u8::is_ascii_uppercase));
        // As a length the letters of a type are more than the first values of a data set have.
        let typed = window.get(4..6).is_some_and(|pair| vr::is_type([pair[0], pair[1]]));
        match crate::identity::trimmed(&self.syntax) {
            b"1.2.840.10008.1.2.2" => Encoding { explicit: true, big: true },
            // Some writers declare one and write the other.
            b"1.2.840.10008.1.2" => Encoding { explicit: typed, big: false },
            _ => Encoding { explicit, big: false },
        }
    }

    /// One element of group 0002, explicit little endian (PS3.10 section 7.1); some writers leave the types out.
    fn meta(&mut self, window: &[u8], at: u64) -> Step {
        if self.left > 0 {
            let len = window.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= len as u64;
            return Step::Take(len);
        }
        if window.len() < 12 {
            return Step::Need(12);
        }
        let group = u16::from_le_bytes([window[0], window[1]]);
        if group != 0x0002 {
            let deflated = DEFLATED.contains(&crate::identity::trimmed(&self.syntax));
            self.stage = if deflated {
                let data = Dataset::new(Encoding { explicit: true, big: false });
                Stage::Deflated {
                    inflate: Inflate::deflate(),
                    inner: Box::new(Driver::new(data)),
                    nul: NulWatch::new(),
                    sum: crc32fast::Hasher::new(),
                    trailing: Vec::new(),
                    after: 0,
                    from: at,
                }
            } else {
                Stage::Plain(Box::new(Dataset::new(self.encoding(window))))
            };
            return Step::Take(0);
        }
        let element = u16::from_le_bytes([window[2], window[3]]);
        let wide =
            |at: usize| u32::from_le_bytes([window[at], window[at + 1], window[at + 2], window[at + 3]]) as usize;
        let typed = window[4..6].iter().all(u8::is_ascii_uppercase);
        let (header, len) = if vr::long_form([window[4], window[5]]) {
            (12, wide(8))
        } else if !typed && wide(4) <= META_VALUE {
            (8, wide(4))
        } else {
            (8, usize::from(u16::from_le_bytes([window[6], window[7]])))
        };
        if len > META_VALUE && element == PRIVATE {
            self.left = len as u64;
            self.floor = at + (header + len) as u64;
            return Step::Take(header);
        }
        if len > META_VALUE {
            self.stage = Stage::Broken(Evidence::Contradiction { part: Part::ElementHeader, offset: at });
            return Step::Stop;
        }
        if window.len() < header + len {
            return Step::Need(header + len);
        }
        if element == 0x0010 {
            self.syntax = window[header..header + len].to_vec();
        }
        Step::Take(header + len)
    }
}

impl Machine for Dicom {
    fn step(&mut self, window: &[u8], at: u64) -> Step {
        match &mut self.stage {
            Stage::Preamble if window.len() < 132 => Step::Need(132),
            Stage::Preamble => {
                self.stage = Stage::Meta;
                Step::Take(132)
            }
            Stage::Meta => self.meta(window, at),
            Stage::Plain(data) => data.step(window, at),
            Stage::Deflated { inflate, inner, nul, sum, trailing, after, from } => {
                if inflate.state != State::Running {
                    *after += window.len() as u64;
                    let room = 8usize.saturating_sub(trailing.len());
                    trailing.extend_from_slice(&window[..window.len().min(room)]);
                    return Step::Take(window.len());
                }
                let used = inflate.push(window, |bytes| {
                    nul.push(bytes);
                    sum.update(bytes);
                    inner.push(bytes);
                });
                if inflate.state == State::Bad {
                    *from = at;
                    return Step::Stop;
                }
                Step::Take(used)
            }
            Stage::Broken(_) => Step::Stop,
        }
    }

    fn finish(&mut self, rest: &[u8], at: u64, end: &End<'_>, report: &mut Report) {
        match &mut self.stage {
            Stage::Preamble | Stage::Meta => {
                report.partial(Evidence::Short {
                    part: Part::Header,
                    expected: end.len + 12u64.saturating_sub(rest.len() as u64).max(self.left).max(1),
                    actual: end.len,
                });
            }
            Stage::Plain(data) => data.finish(rest, at, end, report),
            Stage::Deflated { inflate, inner, nul, sum, trailing, after, from } => match inflate.state {
                State::Running => report.partial(Evidence::Unclosed { part: Part::DeflatedData, depth: 1 }),
                State::Bad => report.malformed(Evidence::Undecodable { part: Part::DeflatedData, offset: *from }),
                State::TooLarge => report.unverifiable(Evidence::NotChecked { part: Part::DeflatedData }),
                State::Ended => {
                    inner.finish(nul, report);
                    // PS3.5 A.5: padded to an even length. Some writers leave the trailer of gzip behind the data.
                    let mut gzip = sum.clone().finalize().to_le_bytes().to_vec();
                    gzip.extend((inflate.produced() as u32).to_le_bytes());
                    let length = *after;
                    if length > 1 && (length > 8 || *trailing != gzip) {
                        report.suspect(Evidence::TrailingBytes { from: end.len - length, length });
                    }
                }
            },
            Stage::Broken(fact) => report.malformed(*fact),
        }
    }

    fn floor(&self) -> u64 {
        match &self.stage {
            Stage::Plain(data) => data.floor().max(self.floor),
            _ => self.floor,
        }
    }
}
