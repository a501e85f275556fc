//! JSON (RFC 8259) in pieces, with what FHIR R4 says about identity and attachments.

use super::attachment::{Attached, Attachment};
use crate::engine::base64::Base64;
use crate::engine::{End, Machine, Report, Step};
use crate::identity::{self, Chain};
use crate::{Evidence, Format, Part, Verdict};

const DEPTH: usize = 512;
const KEPT: usize = 128;

/// Whether a text that starts with a bracket goes on as JSON does. Logs and settings start with one as well, so an array
/// has to be one for as long as a first look goes.
pub(crate) fn recognize(body: &[u8]) -> bool {
    const LOOK: usize = 256;
    if body.starts_with(b"{") {
        return body[1..].trim_ascii_start().first().is_none_or(|next| matches!(next, b'"' | b'}'));
    }
    let look = &body[..body.len().min(LOOK)];
    let (mut json, mut at) = (Json::new(1), 0);
    while at < look.len() {
        match json.step(&look[at..], at as u64) {
            Step::Take(taken) => at += taken,
            Step::Need(_) => return true,
            // What was never written is no other text.
            Step::Stop => return look[at..].contains(&0),
        }
    }
    true
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Outside,
    Text { escaped: bool, key: bool },
    Word,
}

#[derive(Default)]
struct Frame {
    object: bool,
    /// Which attachment key the next value belongs to.
    key: Key,
    data: Option<Box<Attachment>>,
    attached: Option<Attached>,
    size: Option<u64>,
    hash: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Key {
    #[default]
    Other,
    ResourceType,
    Id,
    Meta,
    VersionId,
    Source,
    Identifier,
    System,
    Value,
    Data,
    Size,
    Hash,
}

/// Identifier.system and Identifier.value.
#[derive(Default)]
struct Named {
    system: Vec<u8>,
    value: Vec<u8>,
    done: bool,
}

pub(crate) struct Json {
    depth: u8,
    stack: Vec<Frame>,
    expect: Expect,
    token: Token,
    text: Vec<u8>,
    resource: Vec<u8>,
    id: Vec<u8>,
    version: Vec<u8>,
    /// Where the resource is from (Resource.meta.source), and its first identifier: numbers of two servers are the same.
    source: Vec<u8>,
    identifier: Named,
    /// That of all attachments.
    digest: Chain,
    values: u64,
    /// What made reading stop.
    bad: Option<(Verdict, Evidence)>,
    /// What attachments are.
    found: Report,
    /// What attachments do not keep that an Attachment of FHIR says of itself.
    stated: Report,
    ended_at: u64,
    at: u64,
}

impl Json {
    /// For a text at this depth; attachments of attachments are not opened.
    pub(crate) fn new(depth: u8) -> Self {
        Self {
            depth,
            stack: Vec::new(),
            expect: Expect::Value,
            token: Token::Outside,
            text: Vec::new(),
            resource: Vec::new(),
            id: Vec::new(),
            version: Vec::new(),
            source: Vec::new(),
            identifier: Named::default(),
            digest: Chain::default(),
            values: 0,
            bad: None,
            found: Report::new(Format::Json),
            stated: Report::new(Format::Json),
            ended_at: 0,
            at: 0,
        }
    }

    fn stop(&mut self, verdict: Verdict, fact: Evidence) -> Step {
        self.bad = Some((verdict, fact));
        Step::Stop
    }

    fn fail(&mut self, offset: u64) -> Step {
        self.stop(Verdict::Malformed, Evidence::Contradiction { part: Part::Value, offset })
    }

    fn outside(&mut self, byte: u8, at: u64) -> Option<Step> {
        use Expect as E;
        match (byte, self.expect) {
            (b' ' | b'\t' | b'\r' | b'\n', _) => {}
            (b'{' | b'[', E::Value | E::ValueOrEnd | E::Done) => {
                if self.stack.len() >= DEPTH {
                    return Some(self.stop(Verdict::Unverifiable, Evidence::NotChecked { part: Part::Value }));
                }
                self.stack.push(Frame { object: byte == b'{', ..Frame::default() });
                self.expect = if byte == b'{' { E::KeyOrEnd } else { E::ValueOrEnd };
            }
            (b'}', E::KeyOrEnd | E::CommaOrEnd) if self.stack.last().is_some_and(|frame| frame.object) => self.pop(at),
            (b']', E::ValueOrEnd | E::CommaOrEnd) if self.stack.last().is_some_and(|frame| !frame.object) => {
                self.pop(at);
            }
            (b',', E::CommaOrEnd) => {
                self.expect = if self.stack.last().is_some_and(|frame| frame.object) { E::Key } else { E::Value };
            }
            (b':', E::Colon) => self.expect = E::Value,
            (b'"', E::Key | E::KeyOrEnd) => self.open(true),
            (b'"', E::Value | E::ValueOrEnd) => self.open(false),
            // NaN and Infinity are no JSON, and Python's writer leaves them.
            (b'-' | b'0'..=b'9' | b't' | b'f' | b'n' | b'N' | b'I', E::Value | E::ValueOrEnd) => {
                self.text.clear();
                self.text.push(byte);
                self.token = Token::Word;
            }
            _ => return Some(self.fail(at)),
        }
        None
    }

    fn open(&mut self, key: bool) {
        self.text.clear();
        self.token = Token::Text { escaped: false, key };
        if let Some(frame) = self.stack.last_mut()
            && !key
            && frame.object
            && frame.key == Key::Data
        {
            frame.data = Some(Box::new(Attachment::new(self.depth)));
        }
    }

    fn after_value(&mut self, at: u64) {
        if self.stack.is_empty() {
            self.expect = Expect::Done;
            self.values += 1;
            self.ended_at = at + 1;
        } else {
            self.expect = Expect::CommaOrEnd;
        }
    }

    /// Whether the innermost value is an identifier of the resource, alone or in a list.
    fn in_identifier(&self) -> bool {
        match &self.stack[..] {
            [root, one] => root.key == Key::Identifier && one.object,
            [root, list, one] => root.key == Key::Identifier && !list.object && one.object,
            _ => false,
        }
    }

    fn pop(&mut self, at: u64) {
        self.identifier.done |= self.in_identifier() && !self.identifier.value.is_empty();
        if let Some(frame) = self.stack.pop()
            && let Some(attached) = frame.attached
        {
            self.attachment(&attached, frame.size, frame.hash.as_deref(), at);
        }
        self.after_value(at);
    }

    /// Attachment.size and Attachment.hash (FHIR R4, Attachment): bytes before encoding, base64 of SHA-1.
    fn attachment(&mut self, attached: &Attached, size: Option<u64>, hash: Option<&[u8]>, at: u64) {
        let part = Part::Attachment;
        if let Some(expected) = size.filter(|size| *size != attached.len) {
            self.stated.malformed(Evidence::ShortPart { part, expected, actual: attached.len });
        }
        if let Some(hash) = hash {
            let mut stated = Vec::new();
            Base64::default().push(hash, |bytes| stated.extend_from_slice(bytes));
            // Some write the digits instead, and some the digits in base64.
            let digits = if hash.len() == 40 { hash } else { &stated };
            let stated = hex::decode(digits).ok().filter(|sum| sum.len() == 20).unwrap_or(stated);
            if stated.len() == 20 && stated != attached.sha1 {
                self.stated.malformed(Evidence::FailedChecksum { part, offset: at });
            }
        }
        // `data` is also a name for other things; what does not decode is no attachment.
        if attached.readable && attached.len > 0 {
            if let Some(inner) = attached.inspection.as_ref().filter(|inner| inner.verdict == Verdict::Partial) {
                self.found.partial(Evidence::Inner { format: inner.format, verdict: inner.verdict });
            }
            if let Some(digest) = &attached.digest {
                self.digest.add(digest);
            }
        }
    }

    fn close_text(&mut self, key: bool, at: u64) {
        self.token = Token::Outside;
        let depth = self.stack.len();
        if key {
            let in_meta = depth == 2 && self.stack[0].key == Key::Meta;
            let in_identifier = self.in_identifier() && !self.identifier.done;
            let key = match &self.text[..] {
                b"resourceType" if depth == 1 => Key::ResourceType,
                b"id" if depth == 1 => Key::Id,
                b"meta" if depth == 1 => Key::Meta,
                b"versionId" if in_meta => Key::VersionId,
                b"source" if in_meta => Key::Source,
                b"identifier" if depth == 1 => Key::Identifier,
                b"system" if in_identifier => Key::System,
                b"value" if in_identifier => Key::Value,
                b"data" => Key::Data,
                b"size" => Key::Size,
                b"hash" => Key::Hash,
                _ => Key::Other,
            };
            if let Some(frame) = self.stack.last_mut() {
                frame.key = key;
            }
            self.expect = Expect::Colon;
            return;
        }
        if let Some(frame) = self.stack.last_mut().filter(|frame| frame.object) {
            match frame.key {
                Key::ResourceType => self.resource = self.text.clone(),
                Key::Id => self.id = self.text.clone(),
                Key::VersionId => self.version = self.text.clone(),
                Key::Source => self.source = self.text.clone(),
                Key::System => self.identifier.system = self.text.clone(),
                Key::Value => self.identifier.value = self.text.clone(),
                Key::Hash => frame.hash = Some(self.text.clone()),
                // R5 writes it as a text (integer64).
                Key::Size => frame.size = std::str::from_utf8(&self.text).ok().and_then(|text| text.parse().ok()),
                Key::Data => frame.attached = frame.data.take().map(|data| data.finish()),
                _ => {}
            }
        }
        self.after_value(at);
    }

    /// Text up to the next quote, backslash or zero byte.
    fn in_text(&mut self, window: &[u8], at: u64, key: bool) -> Step {
        let stop = memchr::memchr3(b'"', b'\\', 0, window);
        self.put(&window[..stop.unwrap_or(window.len())], key);
        let Some(stop) = stop else { return Step::Take(window.len()) };
        match window[stop] {
            b'"' => self.close_text(key, at + stop as u64),
            b'\\' => self.token = Token::Text { escaped: true, key },
            _ => {
                return self.stop(Verdict::Malformed, Evidence::NulByte { offset: at + stop as u64 });
            }
        }
        Step::Take(stop + 1)
    }

    /// An escape behind its backslash (RFC 8259, 7). What is none, and half of a surrogate pair, stays as it is written.
    fn in_escape(&mut self, window: &[u8], key: bool) -> Step {
        let plain = match window[0] {
            b'u' => {
                let digits = window[1..].iter().take(4).take_while(|c| c.is_ascii_hexdigit()).count();
                if digits < 4 && digits + 1 == window.len() {
                    return Step::Need(5);
                }
                let code = window.get(1..5).filter(|_| digits == 4).and_then(|four| std::str::from_utf8(four).ok());
                self.token = Token::Text { escaped: false, key };
                let code = code.and_then(|four| u32::from_str_radix(four, 16).ok());
                if let Some(character) = code.and_then(char::from_u32) {
                    self.put(character.encode_utf8(&mut [0; 4]).as_bytes(), key);
                    return Step::Take(5);
                }
                None
            }
            b'n' => Some(b'\n'),
            b'r' => Some(b'\r'),
            b't' => Some(b'\t'),
            b'b' => Some(8),
            b'f' => Some(12),
            plain @ (b'"' | b'\\' | b'/') => Some(plain),
            _ => None,
        };
        self.token = Token::Text { escaped: false, key };
        match plain {
            Some(plain) => self.put(&[plain], key),
            None => self.put(&[b'\\', window[0]], key),
        }
        Step::Take(1)
    }

    /// A piece of a name or of a value.
    fn put(&mut self, text: &[u8], key: bool) {
        let room = KEPT - self.text.len().min(KEPT);
        self.text.extend_from_slice(&text[..text.len().min(room)]);
        if !key && let Some(data) = self.stack.last_mut().and_then(|frame| frame.data.as_mut()) {
            data.push(text);
        }
    }

    fn in_word(&mut self, window: &[u8], at: u64) -> Step {
        let part = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.');
        let len = window.iter().position(|c| !part(c)).unwrap_or(window.len());
        let room = KEPT - self.text.len().min(KEPT);
        self.text.extend_from_slice(&window[..len.min(room)]);
        if len == window.len() {
            return Step::Take(len);
        }
        let text = std::str::from_utf8(&self.text).unwrap_or("");
        // This takes the names of what is no number, too.
        let known = matches!(text, "true" | "false" | "null") || text.parse::<f64>().is_ok();
        if !known && self.text.len() < KEPT {
            return self.fail(at + len as u64);
        }
        if let Some(frame) = self.stack.last_mut()
            && frame.key == Key::Size
        {
            frame.size = text.parse().ok();
        }
        self.token = Token::Outside;
        self.after_value((at + len as u64).saturating_sub(1));
        // A word at the top level is a value of its own; the next byte is looked at again.
        Step::Take(len)
    }
}

impl Machine for Json {
    fn step(&mut self, window: &[u8], at: u64) -> Step {
        self.at = at;
        match self.token {
            Token::Text { escaped: true, key } => self.in_escape(window, key),
            Token::Text { escaped: false, key } => self.in_text(window, at, key),
            Token::Word => self.in_word(window, at),
            Token::Outside => {
                if at == 0 && window[0] == 0xEF {
                    return if window.len() < 3 { Step::Need(3) } else { Step::Take(3) };
                }
                for (i, byte) in window.iter().enumerate() {
                    if let Some(step) = self.outside(*byte, at + i as u64) {
                        return step;
                    }
                    if self.token != Token::Outside {
                        return Step::Take(i + 1);
                    }
                }
                Step::Take(window.len())
            }
        }
    }

    fn finish(&mut self, _rest: &[u8], _at: u64, end: &End<'_>, report: &mut Report) {
        if !self.resource.is_empty() {
            report.format = Format::FhirJson;
            let (resource, id) = (self.resource.as_slice(), self.id.as_slice());
            // Behind the mark servers write the number of the request.
            let source = self.source.split(|c| *c == b'#').next().unwrap_or_default();
            let server =
                if source.is_empty() { [&self.identifier.system[..], &self.identifier.value] } else { [source, b""] };
            if !id.is_empty() && server.iter().all(|part| part.is_empty()) {
                // An id is one of its server (Resource.id): alone it does not tell recordings apart.
                report.identity.acquisition = identity::opaque("fhir", &[resource, id]);
            } else if !id.is_empty() {
                report.identity.native = identity::opaque("fhir", &[resource, id, server[0], server[1]]);
            }
            report.identity.revision = identity::opaque("fhir-version", &[&self.version]);
            report.identity.waveform = self.digest.value();
        }
        report.absorb(&self.found);
        if !self.resource.is_empty() {
            report.absorb(&self.stated);
        }
        let padded = self.values > 0 && end.nul.tail() > 0 && self.stack.is_empty();
        if padded {
            report.suspect(Evidence::NulTail { from: end.nul.tail_from(), length: end.nul.tail() });
            if end.nul.tail_from() > self.ended_at {
                let (from, length) = (self.ended_at, end.len - self.ended_at);
                report.suspect(Evidence::TrailingBytes { from, length });
            }
        } else if let Some((verdict, fact)) = self.bad {
            // Zero bytes where text should be are an unwritten part.
            report.add(verdict, fact);
        }
        if self.bad.is_some() {
            return;
        }
        if !self.stack.is_empty() || self.token != Token::Outside || self.values == 0 {
            report.partial(Evidence::Unclosed { part: Part::Value, depth: self.stack.len() as u32 });
        } else if self.values > 1 {
            // One value a line: a cut between lines leaves no trace.
            report.unverifiable(Evidence::NoEndMark);
        }
    }
}
