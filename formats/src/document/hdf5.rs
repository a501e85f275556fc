//! HDF5 (File Format Specification 3.0, section II.A): the superblock states where the file ends.

use crate::engine::{End, Machine, Report, Step};
use crate::signal::u32_le;
use crate::{Evidence, Part};

pub(crate) const SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";
/// A superblock with the widest addresses.
const LARGEST: usize = 160;

pub(crate) struct Hdf5 {
    base: u64,
    found: Option<Superblock>,
    bad: Option<Evidence>,
}

struct Superblock {
    end: u64,
    base: u64,
    open: bool,
    sound: bool,
}

impl Hdf5 {
    pub(crate) fn new(base: u64) -> Self {
        Self { base, found: None, bad: None }
    }

    fn read(&mut self, block: &[u8]) {
        let fail = Some(Evidence::Contradiction { part: Part::Superblock, offset: self.base });
        let version = block[8];
        let (offsets, first) = match version {
            0 => (block[13], 24),
            1 => (block[13], 28),
            2 | 3 => (block[9], 12),
            _ => {
                self.bad = fail;
                return;
            }
        };
        let width = usize::from(offsets);
        if !matches!(width, 2 | 4 | 8 | 16) {
            self.bad = fail;
            return;
        }
        // Base address, then free space or extension, then end of file.
        let address = |index: usize| {
            let at = first + index * width;
            let low = block[at..at + width.min(8)].iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
            (low, block[at + width.min(8)..at + width].iter().all(|byte| *byte == 0))
        };
        let ((base, base_fits), (end, end_fits)) = (address(0), address(2));
        if !base_fits || !end_fits {
            self.bad = fail;
            return;
        }
        let sum_at = first + 4 * width;
        let sound = version < 2 || lookup3(&block[..sum_at]) == u32_le(block, sum_at);
        // Version 3, II.A: bit 0 write access, bit 2 single writer multiple readers.
        let open = version == 3 && block[11] & 0b101 != 0;
        self.found = Some(Superblock { end, base, open, sound });
    }
}

/// Jenkins' lookup3 with initial value zero, the metadata checksum of HDF5.
fn lookup3(bytes: &[u8]) -> u32 {
    let start = 0xDEAD_BEEFu32.wrapping_add(bytes.len() as u32);
    let (mut a, mut b, mut c) = (start, start, start);
    let word = |part: &[u8], at: usize| {
        (0..4).fold(0u32, |word, i| word | u32::from(part.get(at + i).copied().unwrap_or(0)) << (8 * i))
    };
    let mut rest = bytes;
    while rest.len() > 12 {
        a = a.wrapping_add(word(rest, 0));
        b = b.wrapping_add(word(rest, 4));
        c = c.wrapping_add(word(rest, 8));
        for (turn, next) in [(4, 6), (8, 16), (19, 4)] {
            a = a.wrapping_sub(c) ^ c.rotate_left(turn);
            c = c.wrapping_add(b);
            b = b.wrapping_sub(a) ^ a.rotate_left(next);
            a = a.wrapping_add(c);
            // The three steps rotate their roles.
            (a, b, c) = (c, a, b);
        }
        rest = &rest[12..];
    }
    if rest.is_empty() {
        return c;
    }
    a = a.wrapping_add(word(rest, 0));
    b = b.wrapping_add(word(rest, 4));
    c = c.wrapping_add(word(rest, 8));
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

impl Machine for Hdf5 {
    fn step(&mut self, window: &[u8], at: u64) -> Step {
        if self.found.is_some() || self.bad.is_some() {
            return Step::Take(window.len());
        }
        if at < self.base {
            return Step::Take(usize::try_from(self.base - at).unwrap_or(usize::MAX).min(window.len()));
        }
        if window.len() < LARGEST {
            return Step::Need(LARGEST);
        }
        self.read(&window[..LARGEST]);
        Step::Take(LARGEST)
    }

    fn finish(&mut self, rest: &[u8], _at: u64, end: &End<'_>, report: &mut Report) {
        if self.found.is_none() && self.bad.is_none() && rest.len() >= 14 {
            // A file may be shorter than the widest superblock.
            let mut block = rest.to_vec();
            block.resize(LARGEST, 0);
            self.read(&block);
        }
        if let Some(fact) = self.bad {
            report.malformed(fact);
            return;
        }
        let Some(block) = &self.found else {
            report.partial(Evidence::Short { part: Part::Superblock, expected: end.len + 1, actual: end.len });
            return;
        };
        if !block.sound {
            report.malformed(Evidence::FailedChecksum { part: Part::Superblock, offset: self.base });
        }
        if block.open {
            report.suspect(Evidence::InProgress { part: Part::Superblock });
        }
        let shifted = block.end.saturating_add(block.base);
        if end.len < block.end {
            report.partial(Evidence::Short { part: Part::Content, expected: block.end, actual: end.len });
        } else if end.len != block.end && end.len != shifted {
            let from = if end.len > shifted { shifted } else { block.end };
            report.suspect(Evidence::TrailingBytes { from, length: end.len - from });
        }
    }

    fn floor(&self) -> u64 {
        self.found.as_ref().map_or(0, |block| block.end)
    }
}

#[cfg(test)]
mod tests {
    use super::lookup3;
    use crate::Verdict;

    #[test]
    fn check_values_of_lookup3() {
        // From the driver of lookup3.c: hashlittle("Four score and seven years ago", 30, 0).
        assert_eq!(lookup3(b"Four score and seven years ago"), 0x1777_0551);
    }

    /// A superblock of version 2 or 3 (II.A), and something behind it.
    fn file(version: u8, flags: u8) -> Vec<u8> {
        let mut out = b"\x89HDF\r\n\x1a\n".to_vec();
        out.extend([version, 8, 8, flags]);
        for address in [0, u64::MAX, 3000, 48] {
            out.extend(address.to_le_bytes());
        }
        out.extend(lookup3(&out).to_le_bytes());
        out.extend((out.len()..3000).map(|i| (i * 37 % 251) as u8 + 1));
        out
    }

    #[test]
    fn later_superblocks_have_a_sum_and_say_who_writes() {
        let verdict = |bytes: &[u8]| crate::inspect_bytes(bytes).verdict;
        for version in [2, 3] {
            let whole = file(version, 0);
            assert_eq!(verdict(&whole), Verdict::Complete, "{version}");
            assert_eq!(verdict(&whole[..2999]), Verdict::Partial);
            assert_eq!(verdict(&[&whole, &b"more"[..]].concat()), Verdict::Suspect);
            let mut wrong = whole.clone();
            wrong[20] ^= 1;
            assert_eq!(verdict(&wrong), Verdict::Malformed, "{version}");
        }
        // Flags for consistency are new in version 3; before they were reserved.
        for (version, flags, want) in [(3, 1, Verdict::Suspect), (3, 4, Verdict::Suspect), (2, 1, Verdict::Complete)] {
            assert_eq!(verdict(&file(version, flags)), want, "{version} {flags}");
        }
    }
}
