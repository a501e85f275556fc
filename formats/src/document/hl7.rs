//! HL7 v2 in ER7 encoding (HL7 v2.5.1 chapter 2), bare, in a batch, or in MLLP frames (HL7 transport specification:
//! MLLP release 1).

use super::attachment::{Attachment, is_start};
use super::hl7_marks::{self, Codes};
use crate::engine::{End, Machine, Report, Step};
use crate::identity::{self, Chain};
use crate::{Evidence, Format, Part, Verdict};

pub(super) const OPEN: u8 = 0x0B;
const CLOSE: u8 = 0x1C;
/// Fields of a header segment that are looked at.
const KEPT: usize = 1024;
/// Longest component that is looked at as a word: the source of a document is one (HD, 2.A.33).
pub(super) const WORD: usize = 256;
/// Letters of a document that tell whether it starts there.
const START: usize = 1024;

/// A document whose segment ended, and with which the next one may go on.
struct Held {
    attachment: Box<Attachment>,
    /// What it is an observation of (OBX-3).
    name: Vec<u8>,
    from: u64,
    /// Whether the segment ended in it.
    open: bool,
}

pub(crate) struct Hl7 {
    depth: u8,
    framed: bool,
    in_frame: bool,
    frames: u64,
    /// The first bytes of the segment at hand.
    line: Vec<u8>,
    field: u32,
    component: u32,
    separator: u8,
    joiner: u8,
    repeater: u8,
    escape: u8,
    codes: Codes,
    /// Whether the message is in codes that are not read.
    unmarked: bool,
    encoded: bool,
    word: Vec<u8>,
    attachment: Option<Box<Attachment>>,
    /// OBX-3 of the document at hand.
    name: Vec<u8>,
    held: Option<Held>,
    /// The first letters of what may go on with the document that is held.
    start: Option<Vec<u8>>,
    /// The first bytes of a repetition, which may be the next piece of a document or another one.
    repeated: Option<Vec<u8>>,
    /// An escape sequence inside a document, without its first mark.
    escaped: Option<Vec<u8>>,
    order: Vec<u8>,
    /// Those of all messages, and of all their documents.
    native: Chain,
    digest: Chain,
    messages: u64,
    batch: Option<u64>,
    in_batch: bool,
    in_file: bool,
    /// Whether a batch or a file had its trailer, with nothing visible behind it.
    ended: bool,
    nul: Option<u64>,
    trailing: Option<u64>,
    /// What attachments and trailers are.
    found: Report,
    at: u64,
    /// Where the current segment starts.
    line_at: Option<u64>,
}

impl Hl7 {
    pub(crate) fn new(depth: u8) -> Self {
        Self {
            depth,
            framed: false,
            in_frame: false,
            frames: 0,
            line: Vec::new(),
            field: 0,
            component: 0,
            separator: b'|',
            joiner: b'^',
            repeater: b'~',
            escape: b'\\',
            codes: Codes::default(),
            unmarked: false,
            encoded: false,
            word: Vec::new(),
            attachment: None,
            name: Vec::new(),
            held: None,
            start: None,
            repeated: None,
            escaped: None,
            order: Vec::new(),
            native: Chain::default(),
            digest: Chain::default(),
            messages: 0,
            batch: None,
            in_batch: false,
            in_file: false,
            ended: false,
            nul: None,
            trailing: None,
            found: Report::new(Format::Hl7v2),
            at: 0,
            line_at: None,
        }
    }

    /// Text without control characters.
    fn text(&mut self, text: &[u8]) {
        let room = KEPT.saturating_sub(self.line.len());
        let before = self.line.len();
        self.line.extend_from_slice(&text[..text.len().min(room)]);
        if self.line.starts_with(b"ADD") && self.line.get(3) == Some(&self.separator) {
            // The last field of the segment before goes on (2.10.2).
            if before < 4 {
                self.go_on();
            }
            if self.encoded {
                self.observation(&text[4usize.saturating_sub(before)..]);
            }
            return;
        }
        if self.line.starts_with(b"OBX") || self.line.len() < 3 {
            self.observation(text);
        }
    }

    /// The encoding characters of a message (MSH-1, MSH-2): what it leaves out stays as usual.
    fn marks(&mut self, line: &[u8]) {
        let Some(separator) = line.get(3) else { return };
        self.separator = *separator;
        let marks = line[4..].iter().take_while(|mark| *mark != separator);
        let places = [&mut self.joiner, &mut self.repeater, &mut self.escape];
        places.into_iter().zip(marks).for_each(|(place, mark)| *place = *mark);
    }

    /// In codes of two bytes nothing is a delimiter.
    fn observation(&mut self, mut text: &[u8]) {
        while !text.is_empty() {
            let (len, plain) = self.codes.run(text);
            let (part, rest) = text.split_at(len);
            if plain {
                self.components(part);
            } else {
                self.letters(part);
            }
            text = rest;
        }
    }

    /// Text without a delimiter.
    fn letters(&mut self, part: &[u8]) {
        if self.field == 5 && self.component == 4 && self.encoded {
            self.data(part);
        } else {
            let room = WORD.saturating_sub(self.word.len());
            self.word.extend_from_slice(&part[..part.len().min(room)]);
        }
    }

    /// OBX-5 of type ED: source, type, subtype, encoding, data (2.A.24).
    fn components(&mut self, mut text: &[u8]) {
        while !text.is_empty() {
            let data = self.field == 5 && self.component == 4 && self.encoded;
            if data && self.escaped.is_some() {
                text = self.in_escape(text);
                continue;
            }
            let mark = |c: &u8| {
                *c == self.separator
                    || *c == self.joiner
                    || self.field == 5 && *c == self.repeater
                    || data && *c == self.escape
            };
            let stop = text.iter().position(mark).unwrap_or(text.len());
            let (part, rest) = text.split_at(stop);
            self.letters(part);
            let Some((mark, rest)) = rest.split_first() else { return };
            text = rest;
            if data && *mark == self.escape {
                self.escaped = Some(Vec::new());
                continue;
            }
            if *mark == self.joiner
                && let Some(first) = self.repeated.take()
            {
                // Another document: what was held is its source.
                self.hold();
                self.end_held();
                (self.component, self.encoded) = (0, false);
                self.word = first;
            }
            if self.field == 5 && self.component == 3 {
                self.encoded = self.word.eq_ignore_ascii_case(b"base64");
            }
            self.word.clear();
            if *mark == self.separator {
                self.continued();
                self.field += 1;
                self.component = 0;
            } else if self.field == 5 && *mark == self.repeater {
                self.continued();
                if data {
                    self.repeated = Some(Vec::new());
                } else {
                    (self.component, self.encoded) = (0, false);
                }
            } else {
                self.component += 1;
            }
        }
    }

    /// Text of a document.
    fn data(&mut self, part: &[u8]) {
        if let Some(first) = &mut self.repeated {
            if first.len() + part.len() <= WORD {
                first.extend_from_slice(part);
                return;
            }
            // Longer than the name of a source: it goes on.
            self.continued();
        }
        let mut part = part;
        if self.attachment.is_none() && self.start.is_none() {
            self.name = self.part(&self.line, 3).unwrap_or_default().to_vec();
            if self.held.as_ref().is_some_and(|held| !held.name.is_empty() && held.name == self.name) {
                self.start = Some(Vec::new());
            }
        }
        if let Some(start) = &mut self.start {
            let (first, rest) = part.split_at(part.len().min(START - start.len()));
            start.extend_from_slice(first);
            part = rest;
            if start.len() < START {
                return;
            }
            self.decide();
        }
        self.push(part);
    }

    fn push(&mut self, part: &[u8]) {
        if self.attachment.is_none() {
            self.end_held();
        }
        let depth = self.depth;
        self.attachment.get_or_insert_with(|| Box::new(Attachment::new(depth))).push(part);
    }

    /// Whether what was met is a document of its own, or the next piece of the one before: some senders split one over
    /// several observations of the same name.
    fn decide(&mut self) {
        let Some(start) = self.start.take() else { return };
        if !is_start(&start)
            && let Some(mut held) = self.held.take()
        {
            held.attachment.go_on();
            self.attachment = Some(held.attachment);
        }
        self.push(&start);
    }

    /// The segment goes on with the document in which the one before ended.
    fn go_on(&mut self) {
        self.word.clear();
        if let Some(mut held) = self.held.take_if(|held| held.open) {
            held.attachment.go_on();
            (self.attachment, self.name) = (Some(held.attachment), held.name);
            (self.field, self.component, self.encoded) = (5, 4, true);
        }
    }

    /// The segment of a document is over.
    fn hold(&mut self) {
        self.continued();
        self.decide();
        let from = self.line_at.unwrap_or(self.at);
        if self.escaped.take().is_some() {
            self.found.suspect(Evidence::Undecodable { part: Part::Attachment, offset: from });
        }
        if let Some(attachment) = self.attachment.take() {
            let open = self.field == 5 && self.component == 4 && self.encoded;
            self.held = Some(Held { attachment, name: std::mem::take(&mut self.name), from, open });
        }
    }

    /// What was held of a repetition is the next piece of the document.
    fn continued(&mut self) {
        if let Some(first) = self.repeated.take().filter(|first| !first.is_empty()) {
            self.data(&first);
        }
    }

    /// An escape sequence inside a document.
    fn in_escape<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let Some(mut word) = self.escaped.take() else { return text };
        let stop = text.iter().position(|c| *c == self.escape);
        let part = &text[..stop.unwrap_or(text.len())];
        word.extend_from_slice(&part[..part.len().min(WORD - word.len().min(WORD))]);
        let Some(stop) = stop else {
            self.escaped = Some(word);
            return &[];
        };
        self.data(&hl7_marks::unescaped(&word));
        &text[stop + 1..]
    }

    fn end_held(&mut self) {
        let Some(Held { attachment, from, .. }) = self.held.take() else { return };
        let attached = attachment.finish();
        if !attached.closed {
            self.found.suspect(Evidence::Undecodable { part: Part::Attachment, offset: from });
        }
        if let Some(inner) = attached.inspection {
            let fact = Evidence::Inner { format: inner.format, verdict: inner.verdict };
            match inner.verdict {
                Verdict::Partial => self.found.partial(fact),
                // A piece between may be missing.
                Verdict::Suspect | Verdict::Malformed if attached.joined => self.found.unverifiable(fact),
                _ => {}
            }
        }
        if let Some(digest) = attached.digest {
            self.digest.add(&digest);
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if self.attachment.is_some() || self.start.is_some() {
            self.hold();
        } else if !line.trim_ascii().is_empty() {
            self.end_held();
        }
        let trailer = matches!(line.get(..3), Some(b"BTS")) && self.in_batch
            || matches!(line.get(..3), Some(b"FTS")) && (self.in_file || self.ended);
        self.ended = trailer || self.ended && line.trim_ascii().is_empty();
        match line.get(..3) {
            Some(b"MSH") => {
                self.messages += 1;
                self.marks(&line);
                self.unmarked = hl7_marks::are_unmarked(self.part(&line, 17).unwrap_or_default());
                let part = |index: usize| self.part(&line, index).unwrap_or_default();
                let native = identity::opaque("hl7", &[part(2), part(3), part(9)]);
                match native.filter(|_| !part(9).is_empty()) {
                    Some(native) => self.native.add(&native),
                    None => self.native.add_unknown(),
                }
            }
            Some(b"OBR") if self.order.is_empty() => self.order.clone_from(&line),
            Some(b"OBX") if self.unmarked && self.part(&line, 2) == Some(b"ED") => {
                self.found.unverifiable(Evidence::NotChecked { part: Part::Attachment });
            }
            Some(b"FHS") => self.in_file = true,
            Some(b"FTS") => self.in_file = false,
            Some(b"BHS") => {
                self.in_batch = true;
                self.batch = Some(self.messages);
            }
            Some(b"BTS") => {
                self.in_batch = false;
                let declared =
                    self.part(&line, 1).and_then(|n| std::str::from_utf8(n).ok()?.trim().parse::<u64>().ok());
                let actual = self.messages - self.batch.unwrap_or(0);
                if let Some(expected) = declared.filter(|expected| *expected != actual) {
                    self.found.malformed(Evidence::ShortPart { part: Part::BatchTrailer, expected, actual });
                }
            }
            _ => {}
        }
        self.repeated = None;
        self.escaped = None;
        self.line_at = None;
        // Plain codes come back before a segment ends (2.7.2).
        self.codes = Codes::default();
        self.field = 0;
        self.component = 0;
        self.encoded = false;
        self.word.clear();
    }

    /// Whether the data of an attachment goes on after a line break, as some senders wrap it. `None` when more has to
    /// be seen: a new segment shows by its name and a separator.
    fn continues(&self, window: &[u8]) -> Option<bool> {
        if self.attachment.is_none() && self.start.is_none() {
            return Some(false);
        }
        let from = window.iter().position(|c| !matches!(c, b'\r' | b'\n')).unwrap_or(window.len());
        let next = &window[from..];
        if from > 64 || next.first().is_some_and(|c| matches!(c, 0 | &OPEN | &CLOSE)) {
            return Some(false);
        }
        let name = next.get(..4)?;
        Some(!(name[3] == self.separator && name[..3].iter().all(u8::is_ascii_alphanumeric)))
    }

    /// A field of a segment; the field separator of MSH is its first field.
    fn part<'a>(&self, line: &'a [u8], index: usize) -> Option<&'a [u8]> {
        hl7_marks::field(line, self.separator, index)
    }
}

impl Machine for Hl7 {
    fn step(&mut self, window: &[u8], at: u64) -> Step {
        if at == 0 && window[0] == 0xEF {
            return if window.len() < 3 { Step::Need(3) } else { Step::Take(3) };
        }
        self.at = at;
        let control = |c: &u8| matches!(c, b'\r' | b'\n' | 0 | &OPEN | &CLOSE);
        let len = window.iter().position(control).unwrap_or(window.len());
        if len > 0 {
            self.line_at = self.line_at.or(Some(at));
            let visible = window[..len].iter().position(|c| !c.is_ascii_whitespace());
            if let Some(visible) = visible.filter(|_| self.framed && !self.in_frame) {
                self.trailing = self.trailing.or(Some(at + visible as u64));
            }
            self.text(&window[..len]);
            return Step::Take(len);
        }
        match window[0] {
            0 => {
                self.nul = self.nul.or(Some(at));
                return Step::Take(1);
            }
            OPEN => {
                self.framed = true;
                self.in_frame = true;
            }
            CLOSE if self.in_frame => {
                // The frame ends in both characters.
                let Some(next) = window.get(1) else { return Step::Need(2) };
                self.end_line();
                // Where line ends were exchanged this one was, too.
                if matches!(*next, b'\r' | b'\n') {
                    self.end_held();
                    self.in_frame = false;
                    self.frames += 1;
                    return Step::Take(2);
                }
            }
            _ => match self.continues(window) {
                Some(true) => {}
                Some(false) => self.end_line(),
                None => return Step::Need(window.len() + 1),
            },
        }
        Step::Take(1)
    }

    fn finish(&mut self, _rest: &[u8], _at: u64, end: &End<'_>, report: &mut Report) {
        // A trailer that is cut before its count looks like one that has none; the segment terminator tells them apart.
        let cut_trailer = matches!(&self.line[..], b"BTS" | b"BTS|" | b"FTS" | b"FTS|");
        self.end_line();
        self.end_held();
        if self.framed {
            report.format = Format::Hl7v2Mllp;
        }
        report.identity.native = self.native.value();
        let filler = self.part(&self.order, 3).unwrap_or_default();
        report.identity.acquisition = identity::opaque("hl7-filler", &[filler]);
        report.identity.waveform = self.digest.value();

        report.absorb(&self.found);
        let closed = self.framed && !self.in_frame;
        if let Some(offset) = self.nul {
            if closed && end.nul.tail_from() <= offset {
                report.suspect(Evidence::NulTail { from: offset, length: end.len - offset });
            } else {
                report.malformed(Evidence::NulByte { offset });
            }
        }
        if self.in_frame {
            report.partial(Evidence::Unclosed { part: Part::Frame, depth: 1 });
        } else if let Some(from) = self.trailing {
            report.suspect(Evidence::TrailingBytes { from, length: end.len - from });
        }
        if self.in_batch {
            report.partial(Evidence::Missing { part: Part::BatchTrailer });
        } else if self.in_file {
            report.partial(Evidence::Missing { part: Part::FileTrailer });
        } else if cut_trailer {
            report.suspect(Evidence::Unclosed { part: Part::BatchTrailer, depth: 1 });
        } else if !self.framed && !self.ended {
            report.unverifiable(Evidence::NoEndMark);
        }
    }
}
