//! Finds the words of a PDF that its completeness depends on, in one pass.

use memchr::memmem;

/// Bytes after a word that are looked at with it.
pub(super) const AHEAD: usize = 2048;
/// Positions that are kept; a file with more revisions or cross-reference sections is not checked further.
const KEPT: usize = 65_536;

/// Bytes before a word that are looked at with it: two numbers of the longest kind.
pub(crate) const BEFORE: usize = 32;

/// Whether ` obj` between these texts opens an object (ISO 32000-1, 7.3.10): two numbers before it, and no letter behind.
pub(crate) fn is_object(before: &[u8], behind: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().rposition(|c| !c.is_ascii_digit()).map_or(0, |at| at + 1);
    let before = before.trim_ascii_end();
    let second = digits(before);
    let first = before[..second].trim_ascii_end();
    let gap = first.len() < second && second < before.len();
    gap && digits(first) < first.len() && !behind.first().is_some_and(u8::is_ascii_alphabetic)
}

/// What was found. Offsets are those in the content.
#[derive(Default)]
pub(super) struct Found {
    /// Where the header starts.
    pub(super) header: Option<u64>,
    /// `/L` of a linearization dictionary.
    pub(super) linearized: Option<u64>,
    /// Starts of cross-reference tables.
    pub(super) tables: Vec<u64>,
    /// Where ` obj` stands in objects that are cross-reference streams.
    pub(super) streams: Vec<u64>,
    /// The last object that was opened.
    pub(super) last_object: Option<u64>,
    /// Where the last `startxref` stands, and its number.
    pub(super) start: Option<(u64, Option<u64>)>,
    /// Numbers of `/Prev` and `/XRefStm`.
    pub(super) previous: Vec<u64>,
    /// The byte after the last end mark.
    pub(super) ended: Option<u64>,
    pub(super) overflow: bool,
    /// The last file identifier, and where its dictionary starts: those of a window are met by kind, not by place.
    pub(super) id: Vec<u8>,
    id_at: u64,
    /// The last bytes before the next window.
    before: Vec<u8>,
}

fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii_start();
    let end = text.iter().position(|c| !c.is_ascii_digit()).unwrap_or(text.len());
    std::str::from_utf8(&text[..end.min(20)]).ok()?.parse().ok()
}

/// The number after a key of a dictionary.
fn after(text: &[u8], key: &[u8]) -> Option<u64> {
    let at = memmem::find(text, key)? + key.len();
    text.get(at).filter(|c| !c.is_ascii_alphabetic())?;
    number(&text[at..])
}

impl Found {
    /// Looks at the words that start before `limit` in a window at `at`.
    pub(super) fn scan(&mut self, window: &[u8], limit: usize, at: u64) {
        if self.header.is_none()
            && let Some(found) = memmem::find(window, b"%PDF-")
        {
            self.header = Some(at + found as u64);
        }
        let reach = |word: usize| window.len().min(limit + word - 1);
        for found in memmem::find_iter(&window[..reach(5)], b"%%EOF") {
            self.ended = Some(at + found as u64 + 5);
        }
        // One whose last letters are the first ones of this window.
        let begun = self.start.map(|(start, _)| start);
        for found in memmem::find_iter(&window[..reach(9)], b"startxref") {
            let text = &window[found + 9..window.len().min(found + 64)];
            self.start = Some((at + found as u64, number(text)));
        }
        for found in memmem::find_iter(&window[..reach(4)], b"xref") {
            let place = at + found as u64;
            let of_start =
                begun.is_some_and(|start| place == start + 5) || found >= 5 && window[..found].ends_with(b"start");
            if !of_start {
                keep(&mut self.tables, place, &mut self.overflow);
            }
        }
        for found in memmem::find_iter(&window[..reach(7)], b"trailer") {
            let text = &window[found..window.len().min(found + AHEAD)];
            let text = &text[..memmem::find(text, b"startxref").unwrap_or(text.len())];
            // No trailer holds another; without this bound many of them would be read many times.
            let text = &text[..memmem::find(&text[1..], b"trailer").map_or(text.len(), |at| at + 1)];
            self.dictionary(text, at + found as u64);
        }
        for found in memmem::find_iter(&window[..reach(4)], b" obj") {
            let near = &window[found.saturating_sub(BEFORE)..found];
            let opens = if found < BEFORE {
                is_object(&[self.before.as_slice(), near].concat(), &window[found + 4..])
            } else {
                is_object(near, &window[found + 4..])
            };
            if !opens {
                continue;
            }
            let place = at + found as u64;
            self.last_object = Some(place);
            let text = &window[found..window.len().min(found + AHEAD)];
            let text = &text[..memmem::find(&text[1..], b" obj").map_or(text.len(), |at| at + 1)];
            let text = &text[..memmem::find(text, b"stream").unwrap_or(text.len())];
            let text = &text[..memmem::find(text, b"endobj").unwrap_or(text.len())];
            if memmem::find(text, b"/XRef").is_some_and(|at| !text[at + 5..].starts_with(b"Stm")) {
                keep(&mut self.streams, place, &mut self.overflow);
                self.dictionary(text, place);
            }
            if place < 1024 + AHEAD as u64 && memmem::find(text, b"/Linearized").is_some() {
                // `/Linearized` and `/Length` start with the key as well.
                self.linearized = memmem::find_iter(text, b"/L").find_map(|at| after(&text[at..], b"/L"));
            }
        }
        self.before.extend_from_slice(&window[limit.saturating_sub(BEFORE)..limit]);
        self.before.drain(..self.before.len().saturating_sub(BEFORE));
    }

    fn dictionary(&mut self, text: &[u8], place: u64) {
        for key in [b"/Prev".as_slice(), b"/XRefStm"] {
            if let Some(previous) = after(text, key) {
                keep(&mut self.previous, previous, &mut self.overflow);
            }
        }
        if let Some(at) = memmem::find(text, b"/ID") {
            let text = &text[at..text.len().min(at + 160)];
            if let (Some(open), Some(close)) = (memchr::memchr(b'[', text), memchr::memchr(b']', text))
                && open < close
                && place >= self.id_at
            {
                self.id = text[open..close].to_vec();
                self.id_at = place;
            }
        }
    }
}

fn keep(list: &mut Vec<u64>, value: u64, overflow: &mut bool) {
    if list.len() < KEPT {
        list.push(value);
    } else {
        *overflow = true;
    }
}
