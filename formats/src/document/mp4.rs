//! ISO base media files (ISO/IEC 14496-12) and QuickTime: boxes that tile the file, a movie box, and its chunks.

use super::mp4_tables::{self, Movie};
use crate::engine::{End, MAX_NEED, Machine, NulWatch, Report, Step};
use crate::{Evidence, Part};

/// A first box is smaller, unless it holds the media; four letters in its place are a larger number.
const LARGEST_FIRST: u32 = 0x0900_0000;

/// A box of a kind that starts a file, with a size that can be one.
pub(crate) fn recognize(head: &[u8]) -> bool {
    if head.len() < 8 {
        return false;
    }
    let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    match &head[4..8] {
        b"mdat" => !(2..8).contains(&size),
        b"ftyp" | b"moov" | b"free" | b"skip" | b"styp" => size == 1 || (8..LARGEST_FIRST).contains(&size),
        // A place for a larger header, and a preview: both of one size (QuickTime File Format).
        b"wide" => size == 8,
        b"pnot" => size == 20,
        _ => false,
    }
}

/// Media data boxes whose extents are compared with the chunks.
const EXTENTS: usize = 65_536;

pub(crate) struct Mp4 {
    left: u64,
    padding: bool,
    to_end: bool,
    movie: Option<Movie>,
    movie_unread: bool,
    /// A picture (HEIF, ISO/IEC 23008-12) describes its items in a box of the file and has no movie.
    described: bool,
    media: Vec<(u64, u64)>,
    media_boxes: u64,
    /// A segment of a stream (8.16.2): what its fragments belong to is in another file.
    segment: bool,
    fragments: bool,
    index: bool,
    bad: Option<Evidence>,
    nul: Option<NulWatch>,
    zero_block: Option<u64>,
    zero_tail: Option<(u64, u64)>,
    floor: u64,
}

impl Mp4 {
    pub(crate) fn new() -> Self {
        Self {
            left: 0,
            padding: false,
            to_end: false,
            movie: None,
            movie_unread: false,
            described: false,
            media: Vec::new(),
            media_boxes: 0,
            segment: false,
            fragments: false,
            index: false,
            bad: None,
            nul: None,
            zero_block: None,
            zero_tail: None,
            floor: 0,
        }
    }

    fn header(&mut self, window: &[u8], at: u64) -> Step {
        if window.len() < 8 {
            return Step::Need(8);
        }
        let short = u64::from(u32::from_be_bytes([window[0], window[1], window[2], window[3]]));
        let (header, size) = match short {
            0 => (8, None),
            1 if window.len() < 16 => return Step::Need(16),
            1 => {
                let wide = window[8..16].iter().fold(0u64, |size, byte| size << 8 | u64::from(*byte));
                (16, Some(wide))
            }
            short => (8, Some(short)),
        };
        let kind = [window[4], window[5], window[6], window[7]];
        let printable = kind.iter().all(|c| c.is_ascii_graphic() || matches!(c, b' ' | 0xA9));
        if size.is_some_and(|size| size < header) || !printable {
            self.bad = Some(Evidence::Contradiction { part: Part::Box, offset: at });
            return Step::Stop;
        }
        let len = size.map_or(u64::MAX - at, |size| size - header);
        self.to_end = size.is_none();
        if !self.to_end {
            self.floor = self.floor.max(at.saturating_add(header).saturating_add(len));
        }
        self.padding = matches!(&kind, b"free" | b"skip" | b"wide");
        match &kind {
            b"mdat" => {
                self.media_boxes += 1;
                if self.media.len() < EXTENTS {
                    self.media.push((at + header, (at + header).saturating_add(len)));
                }
                self.nul = Some(NulWatch::starting_at(at + header));
            }
            b"styp" => self.segment |= at == 0,
            b"moof" => self.fragments = true,
            b"mfra" => self.index = true,
            b"meta" => self.described = true,
            b"moov" => {
                let whole = usize::try_from(header.saturating_add(len)).unwrap_or(usize::MAX);
                if whole > MAX_NEED {
                    self.movie_unread = true;
                } else if window.len() < whole {
                    return Step::Need(whole);
                } else {
                    let body = &window[header as usize..whole];
                    match mp4_tables::read(body, at + header) {
                        Ok(movie) => {
                            self.zero_block = self.zero_block.or(movie.hole);
                            self.movie = Some(movie);
                        }
                        Err(fact) => self.bad = self.bad.or(Some(fact)),
                    }
                    return Step::Take(whole);
                }
            }
            _ => {}
        }
        self.left = len;
        Step::Take(header as usize)
    }

    fn close_media(&mut self) {
        let Some(nul) = self.nul.take() else { return };
        if nul.tail() >= 64 {
            self.zero_tail = self.zero_tail.or(Some((nul.tail_from(), nul.tail())));
        }
        let mut report = Report::new(crate::Format::Mp4);
        nul.judge(&mut report);
        for fact in report.into_inspection().evidence {
            if let Evidence::NulBlock { offset } = fact {
                self.zero_block = self.zero_block.or(Some(offset));
            }
        }
    }

    fn chunks(&self, end: u64, report: &mut Report) {
        let Some(movie) = &self.movie else { return };
        if movie.unread {
            report.note(Evidence::NotChecked { part: Part::ChunkOffsets });
        }
        if movie.last > end {
            report.partial(Evidence::Short { part: Part::ChunkOffsets, expected: movie.last, actual: end });
        } else if self.media.len() < EXTENTS
            && let Some((from, to)) = movie.extent
            && (!self.media.iter().any(|(start, stop)| (*start..*stop).contains(&from))
                || !self.media.iter().any(|(start, stop)| *start < to && to <= *stop))
        {
            report.suspect(Evidence::Contradiction { part: Part::ChunkOffsets, offset: from });
        }
    }
}

impl Machine for Mp4 {
    fn step(&mut self, window: &[u8], at: u64) -> Step {
        if self.left == 0 {
            self.close_media();
            return self.header(window, at);
        }
        let len = window.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if let Some(nul) = &mut self.nul {
            nul.push(&window[..len]);
        }
        self.left -= len as u64;
        Step::Take(len)
    }

    fn finish(&mut self, rest: &[u8], at: u64, end: &End<'_>, report: &mut Report) {
        self.close_media();
        let zeros = end.nul.tail() >= 8 && self.bad.is_some();
        if zeros {
            report.suspect(Evidence::NulTail { from: end.nul.tail_from(), length: end.nul.tail() });
        }
        if let Some(fact) = self.bad {
            // Zero bytes in the place of a box are none.
            let padded =
                matches!(fact, Evidence::Contradiction { part: Part::Box, offset } if end.nul.only_from(offset));
            if !padded {
                report.malformed(fact);
            }
            return;
        }
        if !self.to_end && (self.left > 0 || !rest.is_empty()) {
            // A few zero bytes after the last box are a terminator that QuickTime writers leave.
            if self.left == 0 && rest.len() < 8 && rest.iter().all(|byte| *byte == 0) {
                report.suspect(Evidence::NulTail { from: at, length: rest.len() as u64 });
            } else {
                let expected = self.floor.max(end.len + 1);
                report.partial(Evidence::Short { part: Part::Box, expected, actual: end.len });
            }
            return;
        }
        if self.movie.is_none() && !self.movie_unread {
            let fact = Evidence::Missing { part: Part::MovieBox };
            let elsewhere = self.described || self.segment && self.fragments;
            if !elsewhere {
                report.partial(fact);
                return;
            }
            report.unverifiable(fact);
        }
        let expects_media = self.movie.as_ref().is_some_and(|movie| movie.extent.is_some());
        if expects_media && self.media_boxes == 0 {
            report.partial(Evidence::Missing { part: Part::MediaDataBox });
        }
        self.chunks(end.len, report);
        if self.movie_unread {
            report.unverifiable(Evidence::NotChecked { part: Part::MovieBox });
        }
        let fragmented = self.fragments || self.movie.as_ref().is_some_and(|movie| movie.fragmented);
        if fragmented && !self.index {
            report.unverifiable(Evidence::Missing { part: Part::FragmentIndex });
        }
        if self.to_end {
            report.unverifiable(Evidence::NoEndMark);
        }
        if !self.padding && end.nul.tail() >= 64 {
            report.suspect(Evidence::NulTail { from: end.nul.tail_from(), length: end.nul.tail() });
        } else if let Some((from, length)) = self.zero_tail {
            report.suspect(Evidence::NulTail { from, length });
        } else if let Some(offset) = self.zero_block {
            report.suspect(Evidence::NulBlock { offset });
        }
    }

    fn floor(&self) -> u64 {
        self.floor
    }
}
