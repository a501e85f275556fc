//! The movie box: its tree, and where the chunks of its tracks lie (ISO/IEC 14496-12, 8.7).

use crate::engine::NulWatch;
use crate::{Evidence, Part};

/// What the tracks of a movie need.
#[derive(Default)]
pub(super) struct Movie {
    /// The first byte of the first chunk and the last byte of the last.
    pub(super) extent: Option<(u64, u64)>,
    /// A length that the file must at least have.
    pub(super) last: u64,
    pub(super) fragmented: bool,
    /// Whether the tables of a track were left out.
    pub(super) unread: bool,
    /// The first block of zero bytes in a table of samples.
    pub(super) hole: Option<u64>,
}

#[derive(Default)]
struct Tables<'a> {
    offsets: Option<(&'a [u8], usize)>,
    chunks: Option<&'a [u8]>,
    sizes: Option<&'a [u8]>,
    elsewhere: bool,
}

/// Samples that are added up; a day of video has fewer.
const SAMPLES: u64 = 1 << 20;
const DEPTH: u32 = 16;

/// Reads the body of a movie box that starts at `at`.
pub(super) fn read(body: &[u8], at: u64) -> Result<Movie, Evidence> {
    let mut movie = Movie::default();
    let mut track = Tables::default();
    walk(body, at, 0, &mut movie, &mut track)?;
    Ok(movie)
}

fn be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn walk<'a>(body: &'a [u8], at: u64, depth: u32, movie: &mut Movie, track: &mut Tables<'a>) -> Result<(), Evidence> {
    let mut from = 0;
    while from < body.len() {
        let rest = &body[from..];
        let fail = Evidence::Contradiction { part: Part::MovieBox, offset: at + from as u64 };
        if rest.len() < 8 {
            // A list of user data ends in a zero word in QuickTime.
            return if rest.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(fail) };
        }
        let (header, size) = match be(&rest[..4]) {
            1 if rest.len() >= 16 => (16, be(&rest[8..16])),
            size => (8, size),
        };
        if size < header || size > rest.len() as u64 {
            return Err(fail);
        }
        let inner = &rest[header as usize..size as usize];
        let inner_at = at + from as u64 + header;
        movie.hole = movie.hole.or_else(|| hole(&rest[4..8], inner, inner_at));
        match &rest[4..8] {
            b"trak" => {
                *track = Tables::default();
                descend(inner, inner_at, depth, movie, track)?;
                finish_track(track, movie);
            }
            b"mdia" | b"minf" | b"stbl" | b"edts" | b"dinf" => descend(inner, inner_at, depth, movie, track)?,
            b"mvex" => movie.fragmented = true,
            b"stco" => track.offsets = Some((inner, 4)),
            b"co64" => track.offsets = Some((inner, 8)),
            b"stsc" => track.chunks = Some(inner),
            b"stsz" => track.sizes = Some(inner),
            // 8.7.2: flag 1 of the only entry means that the media is in this file.
            b"dref" => track.elsewhere = inner.len() >= 20 && be(&inner[4..8]) == 1 && inner[19] & 1 == 0,
            _ => {}
        }
        from += size as usize;
    }
    Ok(())
}

/// An unwritten block of a table whose entries are not zero (8.6.1.2, 8.6.1.3, 8.6.2, 8.7.3 to 8.7.5): durations and
/// offsets have counts in front of them, samples and chunks have numbers from one on, chunks do not start where the file
/// does, and a thousand samples in a row have bytes. Other boxes may hold room for what is added later.
fn hole(kind: &[u8], body: &[u8], at: u64) -> Option<u64> {
    let (count, entries, width) = match kind {
        b"stts" | b"ctts" | b"co64" => (4, 8, 8),
        b"stco" | b"stss" => (4, 8, 4),
        b"stsc" => (4, 8, 12),
        // One size for all stands in front of the count.
        b"stsz" if be(body.get(4..8)?) == 0 => (8, 12, 4),
        _ => return None,
    };
    let stated = usize::try_from(be(body.get(count..count + 4)?)).unwrap_or(usize::MAX).saturating_mul(width);
    let table = &body[entries..];
    let mut nul = NulWatch::starting_at(at + entries as u64);
    nul.push(&table[..stated.min(table.len())]);
    nul.block()
}

fn descend<'a>(body: &'a [u8], at: u64, depth: u32, movie: &mut Movie, track: &mut Tables<'a>) -> Result<(), Evidence> {
    if depth >= DEPTH {
        return Ok(());
    }
    walk(body, at, depth + 1, movie, track)
}

/// Adds the extent of one track: the chunk that lies last, with the samples in it.
fn finish_track(track: &Tables<'_>, movie: &mut Movie) {
    let Some((offsets, width)) = track.offsets else { return };
    if track.elsewhere || offsets.len() < 8 {
        return;
    }
    let declared = be(&offsets[4..8]);
    let entries = || offsets[8..].chunks_exact(width).take(usize::try_from(declared).unwrap_or(usize::MAX)).map(be);
    let Some(first) = entries().min() else { return };
    let Some((last, start)) = entries().enumerate().max_by_key(|(_, offset)| *offset) else { return };
    let end = match chunk_size(track, last as u64 + 1) {
        Some(size) => start.saturating_add(size),
        None => {
            movie.unread = true;
            start.saturating_add(1)
        }
    };
    movie.last = movie.last.max(end);
    movie.extent = Some(match movie.extent {
        Some((from, to)) => (from.min(first), to.max(end)),
        None => (first, end),
    });
}

/// Bytes in a chunk: the sizes of its samples (8.7.3, 8.7.4).
fn chunk_size(track: &Tables<'_>, chunk: u64) -> Option<u64> {
    let (runs, sizes) = (track.chunks?, track.sizes?);
    if runs.len() < 8 || sizes.len() < 12 {
        return None;
    }
    let mut runs = runs[8..].chunks_exact(12).map(|run| (be(&run[..4]), be(&run[4..8]))).peekable();
    let (mut before, mut inside) = (0u64, None);
    while let Some((first, samples)) = runs.next() {
        let next = runs.peek().map_or(u64::MAX, |run| run.0);
        if first == 0 || next <= first {
            return None;
        }
        if chunk < next {
            before = before.checked_add((chunk - first.min(chunk)).checked_mul(samples)?)?;
            inside = Some(samples);
            break;
        }
        before = before.checked_add((next - first).checked_mul(samples)?)?;
    }
    let inside = inside?;
    let (fixed, count) = (be(&sizes[4..8]), be(&sizes[8..12]));
    if before.checked_add(inside)? > count {
        return None;
    }
    if fixed == 1 {
        // QuickTime sound counts samples here as if each had one byte: compressed ones have less.
        return None;
    }
    if fixed > 0 {
        return fixed.checked_mul(inside);
    }
    if inside > SAMPLES {
        return None;
    }
    let from = usize::try_from(before.checked_mul(4)?.checked_add(12)?).ok()?;
    let bytes = sizes.get(from..from.checked_add(inside as usize * 4)?)?;
    Some(bytes.chunks_exact(4).map(be).sum())
}
