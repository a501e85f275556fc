//! Content that a store is to copy by itself, and in what pieces it does.

use leadline_domain::Digest;
use sha2::{Digest as _, Sha256};

const MIB: u64 = 1 << 20;
/// Smallest and largest part of a multipart upload, and how many there may be (S3 User Guide, "Amazon S3 multipart upload
/// limits").
const PART: (u64, u64) = (5 * MIB, 5 * 1024 * MIB);
const PARTS: u64 = 10_000;

/// How a store copies what it holds: up to `whole` bytes at once, what is larger in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pieces {
    whole: u64,
    each: u64,
}

impl Default for Pieces {
    /// What fits one part is copied as one, because then the checksum that S3 computes of it is the digest of the whole
    /// recording. Pieces are smaller than they could be: several go side by side, and less is lost with one.
    fn default() -> Self {
        Self { whole: PART.1, each: 1024 * MIB }
    }
}

impl Pieces {
    /// Nothing larger than this at once, within what S3 takes as a part.
    #[must_use]
    pub fn up_to(bytes: u64) -> Self {
        let whole = bytes.clamp(PART.0, PART.1);
        Self { whole, each: whole.min(Self::default().each) }
    }

    /// Whether content of this size is copied at once.
    #[must_use]
    pub fn at_once(self, size: u64) -> bool {
        size <= self.whole
    }

    /// Bytes of a piece, the last one excepted. It follows from the size: whoever goes on with a copy cuts as it was cut.
    fn each(self, size: u64) -> u64 {
        if self.at_once(size) { size.max(1) } else { self.each.max(size.div_ceil(PARTS).next_multiple_of(MIB)) }
    }

    /// First and last byte of each piece.
    #[must_use]
    pub fn ranges(self, size: u64) -> Vec<(u64, u64)> {
        let each = self.each(size);
        (0..size.div_ceil(each)).map(|n| (n * each, ((n + 1) * each).min(size) - 1)).collect()
    }
}

/// Size and digests of content that was read as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Bytes.
    pub size: u64,
    /// Of all of it.
    pub digest: Digest,
    /// Of each piece that a store copies it in: what a store says of a piece is compared with this.
    pub pieces: Vec<Digest>,
}

impl Content {
    /// Of bytes in memory.
    #[must_use]
    pub fn of(bytes: &[u8], pieces: Pieces) -> Self {
        let mut d = Digesting::new(bytes.len() as u64, pieces);
        d.push(bytes);
        d.finish()
    }

    /// SHA-256 of the digests of the pieces, one after the other: what S3 calls the composite checksum of an object that
    /// was made of them.
    #[must_use]
    pub fn composite(&self) -> Digest {
        let mut h = Sha256::new();
        for p in &self.pieces {
            h.update(p.as_bytes());
        }
        Digest::from_bytes(h.finalize().into())
    }
}

/// Reads content once for all of its digests.
pub struct Digesting {
    whole: Sha256,
    size: u64,
    /// The piece that is being read and what is missing of it; none if the whole is one piece.
    piece: Option<(Sha256, u64)>,
    each: u64,
    done: Vec<Digest>,
}

impl Digesting {
    /// `size`: what is expected, which tells how it is cut.
    #[must_use]
    pub fn new(size: u64, pieces: Pieces) -> Self {
        let each = pieces.each(size);
        let piece = (!pieces.at_once(size)).then(|| (Sha256::new(), each));
        Self { whole: Sha256::new(), size: 0, piece, each, done: Vec::new() }
    }

    /// The next bytes.
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.whole.update(bytes);
        self.size += bytes.len() as u64;
        let Some((piece, missing)) = &mut self.piece else { return };
        while !bytes.is_empty() {
            let n = bytes.len().min(usize::try_from(*missing).unwrap_or(usize::MAX));
            let (now, later) = bytes.split_at(n);
            piece.update(now);
            (bytes, *missing) = (later, *missing - n as u64);
            if *missing == 0 {
                self.done.push(Digest::from_bytes(piece.finalize_reset().into()));
                *missing = self.each;
            }
        }
    }

    /// After the last one.
    #[must_use]
    pub fn finish(mut self) -> Content {
        let digest = Digest::from_bytes(self.whole.finalize().into());
        match self.piece {
            Some((piece, missing)) if missing < self.each => {
                self.done.push(Digest::from_bytes(piece.finalize().into()));
            }
            Some(_) => {}
            None => self.done.push(digest),
        }
        Content { size: self.size, digest, pieces: self.done }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_takes_what_comes_of_every_size() {
        for pieces in [Pieces::default(), Pieces::up_to(0), Pieces::up_to(1 << 30), Pieces::up_to(u64::MAX)] {
            for size in [1, PART.0, PART.0 + 1, PART.1, PART.1 + 1, 1 << 40, 10_000 * PART.1 - MIB] {
                let ranges = pieces.ranges(size);
                assert!((1..=10_000).contains(&ranges.len()), "{pieces:?} {size}");
                let lengths: Vec<u64> = ranges.iter().map(|(a, b)| b + 1 - a).collect();
                let (last, others) = lengths.split_last().unwrap();
                assert!(others.iter().all(|n| (PART.0..=PART.1).contains(n)) && (1..=PART.1).contains(last), "{size}");
                assert_eq!(ranges.len() == 1, pieces.at_once(size), "{pieces:?} {size}");
            }
        }
        assert!(Pieces::default().at_once(5 << 30) && !Pieces::default().at_once((5 << 30) + 1));
    }

    /// However the bytes come, the pieces are those of the ranges.
    #[test]
    fn pieces_are_what_the_ranges_say() {
        let pieces = Pieces { whole: 2 * MIB, each: MIB };
        let bytes: Vec<u8> = (0..3 * MIB + 5).map(|n| (n * 31 % 251) as u8).collect();
        for size in [0, 1, MIB, 2 * MIB, 2 * MIB + 1, 3 * MIB, 3 * MIB + 5] {
            let bytes = &bytes[..usize::try_from(size).unwrap()];
            let wanted: Vec<Digest> = match pieces.ranges(size).as_slice() {
                [] => vec![Digest::of(b"")],
                cut => cut.iter().map(|(a, b)| Digest::of(&bytes[*a as usize..=*b as usize])).collect(),
            };
            for chunk in [1 << 20, 700_001, 64 << 20] {
                let mut d = Digesting::new(size, pieces);
                bytes.chunks(chunk).for_each(|c| d.push(c));
                let content = d.finish();
                assert_eq!((content.size, content.digest), (size, Digest::of(bytes)));
                assert_eq!(content.pieces, wanted, "{size} {chunk}");
            }
        }
    }
}
