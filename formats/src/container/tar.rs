//! A tar archive, plain or inside a gzip stream (POSIX.1-1988 ustar): headers of 512 bytes, two zero blocks at the end.
//! Records of POSIX.1-2001 (pax, "pax Extended Header") may state the size of a member in the place of its header.

use super::members::Members;
use crate::engine::{End, Machine, Report, Step};
use crate::{Evidence, Part};

const BLOCK: u64 = 512;
/// Longest extended header that is read; what is longer holds attributes of other kinds.
const RECORDS: u64 = 64 << 10;

pub(crate) fn recognize(head: &[u8]) -> bool {
    head.len() >= 512 && head[257..].starts_with(b"ustar")
}

pub(crate) struct Tar {
    members: Members,
    left: u64,
    padding: u64,
    open: bool,
    /// Whether another block of the map of a sparse file comes (GNU tar manual, "Basic Tar Format").
    extended: bool,
    /// The extended header at hand: its type and its text.
    records: Option<(u8, Vec<u8>)>,
    /// The size that extended headers state, of the next member and of all that follow.
    next_size: Option<u64>,
    all_size: Option<u64>,
    zeros: u32,
    bad: Option<Evidence>,
    /// Where the data of the last member ends: zero bytes behind it are the end of the archive.
    data_end: u64,
    /// Where anything but zero bytes stands behind the end.
    foreign: Option<u64>,
}

impl Tar {
    pub(crate) fn new(depth: u8) -> Self {
        Self {
            members: Members::new(depth),
            left: 0,
            padding: 0,
            open: false,
            extended: false,
            records: None,
            next_size: None,
            all_size: None,
            zeros: 0,
            bad: None,
            data_end: 0,
            foreign: None,
        }
    }

    fn header(&mut self, block: &[u8], at: u64) -> Step {
        if block.iter().all(|byte| *byte == 0) {
            self.zeros += 1;
            return Step::Take(512);
        }
        if !octal(&block[148..156]).is_some_and(|sum| sums(block).contains(&i64::try_from(sum).unwrap_or(-1))) {
            self.bad = Some(Evidence::FailedChecksum { part: Part::TarHeader, offset: at });
            return Step::Stop;
        }
        let Some(size) = octal(&block[124..136]) else {
            self.bad = Some(Evidence::Contradiction { part: Part::TarHeader, offset: at });
            return Step::Stop;
        };
        self.zeros = 0;
        let extension = matches!(block[156], b'x' | b'g');
        // A long name of GNU tar stands between the records and what they are about.
        let about = !extension && !matches!(block[156], b'K' | b'L');
        let size = self.next_size.or(self.all_size).filter(|_| about).unwrap_or(size);
        if about {
            self.next_size = None;
        }
        self.records = (extension && size <= RECORDS).then(|| (block[156], Vec::new()));
        // Directories and links have no content whatever their size field says.
        let plain = matches!(block[156], b'0' | 0 | b'7');
        let link = matches!(block[156], b'1'..=b'6');
        self.left = if link { 0 } else { size };
        self.padding = self.left.next_multiple_of(BLOCK) - self.left;
        self.open = plain;
        self.data_end = (at + BLOCK).saturating_add(self.left);
        self.extended = block[156] == b'S' && block[482] != 0;
        if plain {
            self.members.begin();
        }
        self.close();
        Step::Take(512)
    }

    fn close(&mut self) {
        if self.left > 0 {
            return;
        }
        if let Some((kind, text)) = self.records.take() {
            let size = stated_size(&text);
            match kind {
                b'g' => self.all_size = size.or(self.all_size),
                _ => self.next_size = size,
            }
        }
        if std::mem::take(&mut self.open) {
            self.members.end();
        }
    }
}

/// The last size that records state: each is its own length, a blank, a keyword, `=`, a value and a line end.
fn stated_size(mut text: &[u8]) -> Option<u64> {
    let mut size = None;
    loop {
        let Some(digits) = text.iter().position(|c| *c == b' ') else { return size };
        let len: usize = match std::str::from_utf8(&text[..digits]).ok().and_then(|len| len.parse().ok()) {
            Some(len) if len > digits + 1 && len <= text.len() => len,
            _ => return size,
        };
        let record = text[digits + 1..len].trim_ascii_end();
        if let Some(value) = record.strip_prefix(b"size=") {
            let stated = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            size = stated.filter(|size| *size < 1 << 62).or(size);
        }
        text = &text[len..];
        if text.is_empty() {
            return size;
        }
    }
}

/// The sum over a header with blanks for itself. Old writers took bytes as signed.
fn sums(block: &[u8]) -> [i64; 2] {
    block.iter().enumerate().fold([0; 2], |[plain, signed], (i, byte)| {
        let byte = if (148..156).contains(&i) { b' ' } else { *byte };
        [plain + i64::from(byte), signed + i64::from(byte as i8)]
    })
}

/// A number in octal digits, or in base 256 as GNU tar writes large ones.
fn octal(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let value = field[field.len() - 8..].iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        return (value < 1 << 62).then_some(value);
    }
    let text = std::str::from_utf8(crate::identity::trimmed(field)).ok()?;
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

impl Machine for Tar {
    fn step(&mut self, window: &[u8], at: u64) -> Step {
        if self.extended {
            if window.len() < 512 {
                return Step::Need(512);
            }
            self.extended = window[504] != 0;
            self.data_end = self.data_end.saturating_add(BLOCK);
            return Step::Take(512);
        }
        if self.left > 0 {
            let len = window.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            if self.open {
                self.members.push(&window[..len]);
            }
            if let Some((_, text)) = &mut self.records {
                text.extend_from_slice(&window[..len]);
            }
            self.left -= len as u64;
            self.close();
            return Step::Take(len);
        }
        if self.padding > 0 {
            let len = window.len().min(self.padding as usize);
            self.padding -= len as u64;
            return Step::Take(len);
        }
        if self.zeros >= 2 {
            let other = window.iter().position(|byte| *byte != 0);
            self.foreign = self.foreign.or_else(|| other.map(|other| at + other as u64));
            return Step::Take(window.len());
        }
        if window.len() < 512 {
            return Step::Need(512);
        }
        self.header(&window[..512], at)
    }

    fn finish(&mut self, rest: &[u8], _at: u64, end: &End<'_>, report: &mut Report) {
        self.members.report(report);
        if self.zeros > 0 {
            report.padding = Some(self.data_end);
        }
        if let Some(from) = self.foreign {
            report.suspect(Evidence::TrailingBytes { from, length: end.len - from });
        }
        if let Some(fact) = self.bad {
            report.malformed(fact);
        } else if self.left > 0 || !rest.is_empty() {
            let expected = end.len + self.left.max(1);
            report.partial(Evidence::Short { part: Part::Member, expected, actual: end.len });
        } else if self.zeros == 0 {
            report.partial(Evidence::Missing { part: Part::TarEnd });
        }
    }

    fn floor(&self) -> u64 {
        self.data_end
    }
}
