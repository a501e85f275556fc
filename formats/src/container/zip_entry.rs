//! A member of a ZIP archive on the walk, and where one ends whose length stands behind its data.

use crate::engine::Step;
use crate::engine::inflate::Inflate;
use crate::signal::{u16_le, u32_le, u64_le};

pub(super) const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";

pub(super) struct Entry {
    pub(super) at: u64,
    pub(super) flags: u16,
    pub(super) crc: u32,
    pub(super) packed: u64,
    pub(super) size: u64,
    pub(super) seen: u64,
    pub(super) made: u64,
    pub(super) sum: crc32fast::Hasher,
    pub(super) data: Data,
    /// Whether the data is the content itself.
    pub(super) plain: bool,
    pub(super) folder: bool,
    pub(super) done: bool,
}

pub(super) enum Data {
    Inflate(Box<Inflate>),
    Stored,
    /// Encrypted or of another method: only the length is checked.
    Opaque,
    /// The length stands behind the data.
    Hunt,
    Descriptor,
}

/// Whether a member or the directory starts here.
pub(super) fn is_next(window: &[u8]) -> bool {
    window.starts_with(b"PK\x03\x04") || window.starts_with(b"PK\x01\x02")
}

/// Looks for the data descriptor that states the length seen so far: behind its signature, or before the next record.
pub(super) fn hunt(entry: &mut Entry, window: &[u8]) -> Result<usize, Step> {
    if window.len() < 24 {
        return Err(Step::Need(24));
    }
    if entry.folder && entry.seen == 0 && is_next(window) {
        entry.data = Data::Descriptor;
        return Ok(0);
    }
    let last = window.len() - 23;
    let seen = |at: usize| entry.seen + at as u64;
    let mut first: Option<usize> = None;
    for mark in memchr::memmem::find_iter(window, b"PK") {
        // None that stands further on starts before.
        if first.is_some_and(|first| mark > first + 20) {
            break;
        }
        let Some(word) = window.get(mark..mark + 4) else { break };
        let found = if word == DESCRIPTOR {
            (mark < last && (short(window, mark + 8) == seen(mark) || u64_le(window, mark + 8) == seen(mark)))
                .then_some(mark)
        } else if is_next(word) {
            // Without a signature it has 20 bytes where sizes have 64 bits, else 12.
            let wide = mark.checked_sub(20).filter(|at| *at < last && u64_le(window, at + 4) == seen(*at));
            wide.or_else(|| mark.checked_sub(12).filter(|at| *at < last && short(window, at + 4) == seen(*at)))
        } else {
            None
        };
        first = first.into_iter().chain(found).min();
    }
    let Some(found) = first else {
        entry.seen += last as u64;
        return Ok(last);
    };
    entry.seen += found as u64;
    entry.data = Data::Descriptor;
    Ok(found)
}

fn short(window: &[u8], at: usize) -> u64 {
    u64::from(u32_le(window, at))
}

/// The 64-bit sizes of extra field 0001 (4.5.3), for those fields that are all ones.
pub(super) fn zip64(mut extra: &[u8], size: &mut u64, packed: &mut u64, offset: &mut u64) {
    while extra.len() >= 4 {
        let len = usize::from(u16_le(extra, 2));
        let Some(mut value) = extra.get(4..4 + len) else { return };
        if u16_le(extra, 0) == 1 {
            for field in [size, packed, offset] {
                if *field == u64::from(u32::MAX) && value.len() >= 8 {
                    *field = u64_le(value, 0);
                    value = &value[8..];
                }
            }
            return;
        }
        extra = &extra[4 + len..];
    }
}
