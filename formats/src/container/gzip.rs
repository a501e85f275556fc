//! GZIP (RFC 1952): members one after another, each with a CRC-32 and a length behind its data.

use super::members::Members;
use super::tar::{self, Tar};
use crate::engine::inflate::{Inflate, State};
use crate::engine::{Driver, End, Machine, NulWatch, Report, Step};
use crate::signal::u32_le;
use crate::{Evidence, Format, Part};

pub(crate) struct Gzip {
    depth: u8,
    stage: Stage,
    sum: crc32fast::Hasher,
    inner: Inner,
    nul: NulWatch,
    bad: Option<Evidence>,
    unchecked: bool,
    members: u64,
    ended_at: u64,
}

enum Stage {
    Header,
    /// In a zero-terminated name or comment, with the flags still to handle.
    Text(u8),
    HeaderSum,
    Data(Box<Inflate>),
    Trailer(u64),
    After,
}

enum Inner {
    Head(Vec<u8>),
    Tar(Box<Driver<Tar>>),
    Single(Box<Members>),
}

const NAME: u8 = 8;
const COMMENT: u8 = 16;
const HEADER_SUM: u8 = 2;
const EXTRA: u8 = 4;

impl Inner {
    fn choose(head: &[u8], depth: u8) -> Self {
        let mut inner = if tar::recognize(head) {
            Self::Tar(Box::new(Driver::new(Tar::new(depth))))
        } else {
            let mut members = Box::new(Members::new(depth));
            members.begin();
            Self::Single(members)
        };
        inner.pass(head);
        inner
    }

    fn pass(&mut self, bytes: &[u8]) {
        match self {
            Self::Head(_) => {}
            Self::Tar(driver) => driver.push(bytes),
            Self::Single(members) => members.push(bytes),
        }
    }

    fn push(&mut self, bytes: &[u8], depth: u8) {
        let Self::Head(head) = self else { return self.pass(bytes) };
        let (first, rest) = bytes.split_at(bytes.len().min(512 - head.len()));
        head.extend_from_slice(first);
        if head.len() == 512 {
            *self = Self::choose(head, depth);
            self.pass(rest);
        }
    }
}

impl Gzip {
    pub(crate) fn new(depth: u8) -> Self {
        Self {
            depth,
            stage: Stage::Header,
            sum: crc32fast::Hasher::new(),
            inner: Inner::Head(Vec::new()),
            nul: NulWatch::new(),
            bad: None,
            unchecked: false,
            members: 0,
            ended_at: 0,
        }
    }

    fn header(&mut self, window: &[u8], at: u64) -> Step {
        if window.len() < 10 {
            // After a member anything that is no header is trailing bytes.
            if self.members > 0
                && !b"\x1f\x8b\x08".starts_with(&window[..window.len().min(3)])
                && !window.starts_with(b"\x1f\x8b\x08")
            {
                self.stage = Stage::After;
                return Step::Take(0);
            }
            return Step::Need(10);
        }
        if !window.starts_with(b"\x1f\x8b\x08") {
            self.stage = Stage::After;
            return Step::Take(0);
        }
        let flags = window[3];
        if flags & 0xE0 != 0 {
            self.bad = Some(Evidence::Contradiction { part: Part::Header, offset: at });
            return Step::Stop;
        }
        let mut len = 10;
        if flags & EXTRA != 0 {
            let Some(size) = window.get(10..12) else { return Step::Need(12) };
            len = 12 + usize::from(u16::from_le_bytes([size[0], size[1]]));
            if window.len() < len {
                return Step::Need(len);
            }
        }
        self.text(flags & !EXTRA);
        Step::Take(len)
    }

    fn text(&mut self, flags: u8) {
        self.stage = if flags & (NAME | COMMENT) != 0 {
            Stage::Text(flags)
        } else if flags & HEADER_SUM != 0 {
            Stage::HeaderSum
        } else {
            Stage::Data(Box::new(Inflate::deflate()))
        };
    }
}

impl Machine for Gzip {
    fn step(&mut self, window: &[u8], at: u64) -> Step {
        match &mut self.stage {
            Stage::Header => self.header(window, at),
            Stage::Text(flags) => {
                let flags = *flags;
                let Some(end) = memchr::memchr(0, window) else { return Step::Take(window.len()) };
                let done = if flags & NAME != 0 { NAME } else { COMMENT };
                self.text(flags & !done);
                Step::Take(end + 1)
            }
            Stage::HeaderSum if window.len() < 2 => Step::Need(2),
            Stage::HeaderSum => {
                self.stage = Stage::Data(Box::new(Inflate::deflate()));
                Step::Take(2)
            }
            Stage::Data(inflate) => {
                let (sum, inner, nul, depth) = (&mut self.sum, &mut self.inner, &mut self.nul, self.depth);
                let used = inflate.push(window, |bytes| {
                    sum.update(bytes);
                    nul.push(bytes);
                    inner.push(bytes, depth);
                });
                match inflate.state {
                    State::Running => {}
                    State::Ended => self.stage = Stage::Trailer(inflate.produced()),
                    State::Bad => {
                        self.bad = Some(Evidence::Undecodable { part: Part::CompressedData, offset: self.ended_at });
                        return Step::Stop;
                    }
                    State::TooLarge => {
                        self.unchecked = true;
                        return Step::Stop;
                    }
                }
                Step::Take(used)
            }
            Stage::Trailer(_) if window.len() < 8 => Step::Need(8),
            Stage::Trailer(produced) => {
                let sum = std::mem::take(&mut self.sum).finalize();
                if u32_le(window, 0) != sum || u32_le(window, 4) != *produced as u32 {
                    self.bad = Some(Evidence::FailedChecksum { part: Part::Member, offset: self.ended_at });
                    return Step::Stop;
                }
                self.members += 1;
                self.ended_at = at + 8;
                self.stage = Stage::Header;
                Step::Take(8)
            }
            Stage::After => Step::Take(window.len()),
        }
    }

    fn finish(&mut self, rest: &[u8], _at: u64, end: &End<'_>, report: &mut Report) {
        if let Inner::Head(head) = &self.inner {
            let head = head.clone();
            self.inner = Inner::choose(&head, self.depth);
        }
        if matches!(self.inner, Inner::Tar(_)) {
            report.format = Format::TarGzip;
        }
        if self.unchecked {
            report.unverifiable(Evidence::NotChecked { part: Part::CompressedData });
            return;
        }
        if let Some(fact) = self.bad {
            report.malformed(fact);
            return;
        }
        let ended = match self.stage {
            Stage::Header => rest.is_empty() && self.members > 0,
            Stage::After => true,
            _ => false,
        };
        if !ended {
            report.partial(Evidence::Unclosed { part: Part::GzipTrailer, depth: 1 });
            return;
        }
        match &mut self.inner {
            Inner::Tar(driver) => driver.finish(&self.nul, report),
            Inner::Single(members) => {
                members.end();
                members.report(report);
            }
            Inner::Head(_) => {}
        }
        if end.len > self.ended_at {
            let (from, length) = (self.ended_at, end.len - self.ended_at);
            if end.nul.tail() >= length {
                report.suspect(Evidence::NulTail { from, length });
            } else {
                report.suspect(Evidence::TrailingBytes { from, length });
            }
        }
    }
}
