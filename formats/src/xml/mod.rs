//! XML in pieces: a tokenizer for well-formedness and, by the root element, a reader for each ECG vocabulary.
//!
//! Only what completeness needs is checked (XML 1.0, fifth edition: sections 2.1 well-formed documents, 2.2 characters,
//! 4.1 character references). A document type declaration is skipped and nothing it names is ever fetched; entities
//! are not expanded.

mod aecg;
pub(crate) mod jis;
mod markup;
mod mortara;
mod muse;
mod philips;
mod plain;
mod sink;
pub(crate) mod utf16;

use markup::Markup;
use sink::Sink;

use crate::engine::{End, Machine, Report, Step};
use crate::{Evidence, Format, Part, Verdict};

/// Open elements at a time; ECG documents stay below 30.
const DEPTH: usize = 1024;
/// Names of open elements, together.
const NAMES: usize = 256 << 10;

/// Whether a text without leading white space starts as XML and not as HTML.
pub(crate) fn recognize(body: &[u8]) -> bool {
    let Some(after) = body.strip_prefix(b"<") else { return false };
    let html = |text: &[u8]| {
        let word: Vec<u8> = text.iter().take(14).map(u8::to_ascii_lowercase).collect();
        word.starts_with(b"html") || word.starts_with(b"!doctype html")
    };
    match after.first() {
        Some(b'?') => after[1..].starts_with(b"xml"),
        Some(b'!') => (after.starts_with(b"!--") || after.starts_with(b"!DOCTYPE")) && !html(after),
        Some(first) => (first.is_ascii_alphabetic() || *first == b'_') && !html(after),
        None => false,
    }
}

/// Whether a text that starts as XML says that it is XML, as far as its first bytes go.
pub(crate) fn says_so(body: &[u8]) -> bool {
    let (mut xml, mut at) = (Xml::new(), 0);
    while !xml.opened && at < body.len() {
        match xml.step(&body[at..], at as u64) {
            Step::Take(taken) => at += taken,
            Step::Need(_) | Step::Stop => break,
        }
    }
    xml.says_so()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Text,
    Comment,
    Cdata,
    Instruction,
    /// The structure is broken; only the zero bytes still matter.
    Broken,
}

pub(crate) struct Xml {
    mode: Mode,
    names: Vec<u8>,
    marks: Vec<usize>,
    declared: bool,
    opened: bool,
    closed_at: Option<u64>,
    sink: Option<Box<dyn Sink>>,
    format: Format,
    first_nul: Option<u64>,
    bad: Option<Evidence>,
    junk: Option<u64>,
    start: bool,
}

impl Xml {
    pub(crate) fn new() -> Self {
        Self {
            mode: Mode::Text,
            names: Vec::new(),
            marks: Vec::new(),
            declared: false,
            opened: false,
            closed_at: None,
            sink: None,
            format: Format::Xml,
            first_nul: None,
            bad: None,
            junk: None,
            start: true,
        }
    }

    /// Whether there is a declaration, or a root of a known vocabulary.
    fn says_so(&self) -> bool {
        self.declared || self.format != Format::Xml
    }

    /// Whether the root element was closed.
    fn is_closed(&self) -> bool {
        self.closed_at.is_some()
    }

    fn broken(&mut self, fact: Evidence) {
        self.bad = self.bad.or(Some(fact));
        self.mode = Mode::Broken;
    }

    fn take(&mut self, window: &[u8], len: usize, at: u64) -> Step {
        if self.first_nul.is_none() {
            self.first_nul = memchr::memchr(0, &window[..len]).map(|i| at + i as u64);
        }
        Step::Take(len)
    }

    /// Text up to the next markup.
    fn text(&mut self, window: &[u8], at: u64) -> Step {
        let len = match memchr::memchr2(b'<', b'&', window) {
            Some(0) if window[0] == b'<' => return self.markup(window, at),
            Some(0) => return self.reference(window, at),
            other => other.unwrap_or(window.len()),
        };
        if self.marks.is_empty() {
            let other = window[..len].iter().position(|c| !c.is_ascii_whitespace());
            if let Some(other) = other
                && !self.byte_order_mark(&window[other..len], at + other as u64)
            {
                if window.len() < 3 && self.start {
                    return Step::Need(3);
                }
                self.junk = self.junk.or(Some(at + other as u64));
            }
        } else if let Some(sink) = &mut self.sink {
            sink.text(&window[..len]);
        }
        self.start = false;
        self.take(window, len, at)
    }

    fn byte_order_mark(&self, text: &[u8], at: u64) -> bool {
        at == 0 && text.starts_with(b"\xEF\xBB\xBF") && text[3..].trim_ascii().is_empty()
    }

    /// A reference: only character references can be wrong without a document type definition.
    fn reference(&mut self, window: &[u8], at: u64) -> Step {
        if self.marks.is_empty() {
            self.junk = self.junk.or(Some(at));
            return self.pass(window, 1, at);
        }
        let near = &window[..window.len().min(markup::REFERENCE)];
        let len = memchr::memchr(b'<', near).unwrap_or(near.len());
        let end = memchr::memchr(b';', &near[..len]);
        let Some(end) = end else {
            // An ampersand on its own is not well-formed, but senders write it and lose nothing by it.
            return if len < markup::REFERENCE && len == window.len() {
                Step::Need(window.len() + 1)
            } else {
                self.pass(window, 1, at)
            };
        };
        let name = &window[1..end];
        if let Some(code) = markup::number(name) {
            // XML 1.0 section 2.2, production Char.
            let legal = code
                .is_some_and(|c| matches!(c, 0x9 | 0xA | 0xD | 0x20..=0xD7FF | 0xE000..=0xFFFD | 0x1_0000..=0x10_FFFF));
            if !legal {
                let fact = Evidence::Contradiction { part: Part::CharacterReference, offset: at };
                self.bad = self.bad.or(Some(fact));
            }
        }
        let Some(character) = markup::character(name) else { return self.pass(window, end + 1, at) };
        if let Some(sink) = &mut self.sink {
            sink.text(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        self.take(window, end + 1, at)
    }

    fn pass(&mut self, window: &[u8], len: usize, at: u64) -> Step {
        if let Some(sink) = &mut self.sink {
            sink.text(&window[..len]);
        }
        self.take(window, len, at)
    }

    fn markup(&mut self, window: &[u8], at: u64) -> Step {
        self.start = false;
        match markup::next(window) {
            Markup::More(need) => Step::Need(need),
            Markup::Open(mode, len) => {
                self.mode = mode;
                self.declared |= mode == Mode::Instruction && window.starts_with(b"<?xml");
                self.take(window, len, at)
            }
            Markup::Skip(len) => self.take(window, len, at),
            Markup::Bad => {
                self.broken(Evidence::Undecodable { part: Part::XmlMarkup, offset: at });
                Step::Take(0)
            }
            Markup::TooLong => {
                self.broken(Evidence::NotChecked { part: Part::XmlMarkup });
                Step::Take(0)
            }
            Markup::Start { name, attributes, empty, len } => {
                if self.closed_at.is_some() {
                    self.junk = self.junk.or(Some(at));
                    return self.take(window, len, at);
                }
                if self.marks.len() >= DEPTH || self.names.len() + name.len() > NAMES {
                    self.broken(Evidence::NotChecked { part: Part::XmlElement });
                    return Step::Take(0);
                }
                let local = markup::local(name);
                if !self.opened {
                    self.opened = true;
                    (self.format, self.sink) = sink::for_root(local, attributes);
                }
                self.marks.push(self.names.len());
                self.names.extend_from_slice(name);
                let depth = self.marks.len();
                if let Some(sink) = &mut self.sink {
                    sink.start(depth, local, attributes);
                }
                if empty {
                    self.close(local, depth, at + len as u64);
                }
                self.take(window, len, at)
            }
            Markup::End { name, len } => {
                let depth = self.marks.len();
                let open = self.marks.last().map(|mark| &self.names[*mark..]);
                if open != Some(name) {
                    self.broken(Evidence::Contradiction { part: Part::XmlElement, offset: at });
                    return Step::Take(0);
                }
                self.close(markup::local(name), depth, at + len as u64);
                self.take(window, len, at)
            }
        }
    }

    fn close(&mut self, local: &[u8], depth: usize, end: u64) {
        if let Some(sink) = &mut self.sink {
            sink.end(depth, local);
        }
        if let Some(mark) = self.marks.pop() {
            self.names.truncate(mark);
        }
        if self.marks.is_empty() {
            self.closed_at = Some(end);
        }
    }

    /// Runs to the end of a comment, a CDATA section or an instruction.
    fn until(&mut self, close: &[u8], window: &[u8], at: u64) -> Step {
        if window.len() < close.len() {
            return Step::Need(close.len());
        }
        let found = memchr::memmem::find(window, close);
        // What could be the start of the mark stays for the next window.
        let inner = found.unwrap_or(window.len() - close.len() + 1);
        if self.mode == Mode::Cdata
            && let Some(sink) = &mut self.sink
        {
            sink.text(&window[..inner]);
        }
        if found.is_some() {
            self.mode = Mode::Text;
            return self.take(window, inner + close.len(), at);
        }
        self.take(window, inner, at)
    }
}

impl Machine for Xml {
    fn step(&mut self, window: &[u8], at: u64) -> Step {
        match self.mode {
            Mode::Text => self.text(window, at),
            Mode::Comment => self.until(b"-->", window, at),
            Mode::Cdata => self.until(b"]]>", window, at),
            Mode::Instruction => self.until(b"?>", window, at),
            Mode::Broken => self.take(window, window.len(), at),
        }
    }

    fn finish(&mut self, rest: &[u8], at: u64, end: &End<'_>, report: &mut Report) {
        report.format = self.format;
        if self.first_nul.is_none() {
            self.first_nul = memchr::memchr(0, rest).map(|i| at + i as u64);
        }
        if let Some(sink) = &mut self.sink {
            sink.finish(self.closed_at.is_some(), report);
        }
        // Markup that looks like XML and is of no known vocabulary proves nothing: it may be the head of anything.
        let proof = self.says_so();
        let wrong = if proof { Verdict::Malformed } else { Verdict::Unverifiable };
        let padding = self.closed_at.is_some_and(|closed| self.first_nul.is_some_and(|nul| nul >= closed));
        match self.bad {
            Some(fact @ Evidence::NotChecked { .. }) => report.unverifiable(fact),
            Some(fact) => report.add(wrong, fact),
            None => {}
        }
        if let Some(nul) = self.first_nul {
            if padding && self.junk.is_none_or(|junk| junk == nul) && end.nul.tail_from() <= nul {
                report.suspect(Evidence::NulTail { from: nul, length: end.len - nul });
            } else {
                report.add(wrong, Evidence::NulByte { offset: nul });
            }
        } else if let Some(from) = self.junk {
            report.add(wrong, Evidence::TrailingBytes { from, length: end.len - from });
        } else if self.closed_at.is_some() && self.mode != Mode::Text && self.mode != Mode::Broken {
            report.suspect(Evidence::Unclosed { part: Part::XmlMarkup, depth: 1 });
        }
        if self.closed_at.is_none() && self.mode != Mode::Broken {
            let fact = Evidence::Unclosed { part: Part::RootElement, depth: self.marks.len() as u32 };
            if proof { report.partial(fact) } else { report.unverifiable(fact) }
        } else if self.closed_at.is_some() && !rest.trim_ascii().is_empty() && self.first_nul.is_none() {
            report.add(wrong, Evidence::TrailingBytes { from: at, length: rest.len() as u64 });
        }
    }
}
