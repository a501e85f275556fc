//! MAT-files of level 5 (MathWorks, "MAT-File Format", chapter 1): a header of 128 bytes, then elements, each plain
//! or compressed. Level 7.3 starts with the same header and is HDF5.

use crate::engine::inflate::{Inflate, State};
use crate::engine::{End, Machine, Report, Step};
use crate::{Evidence, Part};

const HEADER: usize = 128;
const COMPRESSED: u32 = 15;

/// Version and byte order mark at 124; the text before it is free.
pub(crate) fn is_header(head: &[u8]) -> bool {
    head.len() >= HEADER
        && matches!(&head[124..128], [0, 1, b'I', b'M'] | [1, 0, b'M', b'I'] | [0, 2, b'I', b'M'] | [2, 0, b'M', b'I'])
}

pub(crate) fn is_hdf5(head: &[u8]) -> bool {
    matches!(head[124..126], [0, 2] | [2, 0])
}

pub(crate) struct Mat5 {
    started: bool,
    big: bool,
    left: u64,
    inflate: Option<Box<Inner>>,
    elements: u64,
    bad: Option<Evidence>,
    unchecked: bool,
    floor: u64,
    from: u64,
}

/// A compressed element and the first bytes of what it holds.
struct Inner {
    inflate: Inflate,
    tag: Vec<u8>,
}

impl Mat5 {
    pub(crate) fn new() -> Self {
        Self {
            started: false,
            big: false,
            left: 0,
            inflate: None,
            elements: 0,
            bad: None,
            unchecked: false,
            floor: 0,
            from: 0,
        }
    }

    fn word(&self, bytes: &[u8]) -> u32 {
        let four = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if self.big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    }

    fn tag(&mut self, window: &[u8], at: u64) -> Step {
        if window.len() < 8 {
            return Step::Need(8);
        }
        let (kind, len) = (self.word(window), u64::from(self.word(&window[4..])));
        self.elements += 1;
        self.from = at;
        if kind >> 16 != 0 {
            // Small data: the length stands in the upper half and the value in the tag.
            return Step::Take(8);
        }
        if !(1..=18).contains(&kind) {
            self.bad = Some(Evidence::Contradiction { part: Part::Element, offset: at });
            return Step::Stop;
        }
        let compressed = kind == COMPRESSED;
        self.inflate = compressed.then(|| Box::new(Inner { inflate: Inflate::zlib(), tag: Vec::new() }));
        self.left = if compressed { len } else { len.next_multiple_of(8) };
        self.floor = at + 8 + len;
        if compressed && len == 0 {
            self.bad = Some(Evidence::Contradiction { part: Part::Element, offset: at });
            return Step::Stop;
        }
        Step::Take(8)
    }

    fn check(&mut self, inner: &Inner) {
        let fact = Evidence::Undecodable { part: Part::CompressedData, offset: self.from };
        match inner.inflate.state {
            State::Ended => {
                // The element inside must fill what was inflated.
                let declared = inner.tag.get(4..8).map(|len| 8 + u64::from(self.word(len)));
                let small = inner.tag.get(..4).is_some_and(|kind| self.word(kind) >> 16 != 0);
                let produced = inner.inflate.produced();
                if !small && declared.is_none_or(|declared| declared > produced) {
                    self.bad = self.bad.or(Some(fact));
                }
            }
            State::TooLarge => self.unchecked = true,
            State::Running | State::Bad => self.bad = self.bad.or(Some(fact)),
        }
    }
}

impl Machine for Mat5 {
    fn step(&mut self, window: &[u8], at: u64) -> Step {
        if !self.started {
            if window.len() < HEADER {
                return Step::Need(HEADER);
            }
            self.started = true;
            self.big = &window[126..128] == b"MI";
            return Step::Take(HEADER);
        }
        if self.left == 0 {
            return self.tag(window, at);
        }
        let len = window.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= len as u64;
        if let Some(mut inner) = self.inflate.take() {
            let Inner { inflate, tag } = &mut *inner;
            inflate
                .push(&window[..len], |bytes| tag.extend_from_slice(&bytes[..bytes.len().min(8 - tag.len().min(8))]));
            if self.left == 0 {
                self.check(&inner);
            } else {
                self.inflate = Some(inner);
            }
        }
        Step::Take(len)
    }

    fn finish(&mut self, rest: &[u8], _at: u64, end: &End<'_>, report: &mut Report) {
        if let Some(fact) = self.bad {
            end.contradicted(fact, report);
        } else if self.floor > end.len || !rest.is_empty() || !self.started {
            let expected = self.floor.max(end.len + 1);
            report.partial(Evidence::Short { part: Part::Element, expected, actual: end.len });
        } else if self.elements == 0 {
            report.unverifiable(Evidence::NoEndMark);
        }
        if self.unchecked {
            report.unverifiable(Evidence::NotChecked { part: Part::CompressedData });
        }
    }

    fn floor(&self) -> u64 {
        self.floor
    }
}
