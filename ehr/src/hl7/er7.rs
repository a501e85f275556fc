//! ER7, the encoding of HL7 v2 with delimiters (HL7 v2.5.1 chapter 2, sections 2.5 to 2.7).
//!
//! Over bytes: a message may be in any of the encodings of table 0211 that extend ASCII, and what is looked at here is
//! ASCII in all of them. Nothing is copied; a segment is a slice of the message.

use leadline_domain::{Fault, FaultCode};

/// Segments of one message. A line of wrapped base64 is not one.
const SEGMENTS: usize = 50_000;

/// The characters that MSH-1 and MSH-2 declare (section 2.5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delimiters {
    /// Between fields.
    pub field: u8,
    /// Between components.
    pub component: u8,
    /// Between repetitions.
    pub repetition: u8,
    /// Around escape sequences.
    pub escape: u8,
    /// Between subcomponents.
    pub subcomponent: u8,
    /// At the end of what was cut off, where one is declared (v2.7 section 2.5.5.2).
    pub truncation: Option<u8>,
}

/// `|^~\&`
pub const USUAL: Delimiters =
    Delimiters { field: b'|', component: b'^', repetition: b'~', escape: b'\\', subcomponent: b'&', truncation: None };

/// A message taken apart into segments.
#[derive(Debug)]
pub struct Message<'a> {
    /// Its delimiters.
    pub delimiters: Delimiters,
    segments: Vec<Segment<'a>>,
}

/// A segment.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    text: &'a [u8],
    delimiters: Delimiters,
}

impl<'a> Message<'a> {
    /// Takes a message apart. Lines that do not begin as a segment does belong to the segment before them: some senders
    /// wrap base64.
    ///
    /// # Errors
    /// `hl7.unreadable` if it does not begin with a usable MSH or holds a NUL; `hl7.too_long` for more than 50,000
    /// segments.
    pub fn parse(raw: &'a [u8]) -> Result<Self, Fault> {
        let raw = raw.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(raw).trim_ascii_start();
        let delimiters = delimiters(raw)?;
        if memchr::memchr(0, raw).is_some() {
            return Err(unreadable("it holds NUL bytes: neither ASCII nor an encoding that extends it"));
        }
        let mut segments: Vec<Segment<'a>> = Vec::new();
        let (mut from, mut at) = (0, 0);
        for end in memchr::memchr2_iter(b'\r', b'\n', raw).chain([raw.len()]) {
            let line = &raw[at..end];
            // MSH is one line: what follows it must not change what it says.
            if (begins(line, delimiters.field) || from == 0) && at > from {
                push(&mut segments, &raw[from..at], delimiters)?;
                from = at;
            }
            at = end + 1;
        }
        push(&mut segments, &raw[from..], delimiters)?;
        Ok(Self { delimiters, segments })
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> Segment<'a> {
        self.segments[0]
    }

    /// All segments, MSH first.
    #[must_use]
    pub fn segments(&self) -> &[Segment<'a>] {
        &self.segments
    }
}

fn push<'a>(segments: &mut Vec<Segment<'a>>, text: &'a [u8], delimiters: Delimiters) -> Result<(), Fault> {
    if text.trim_ascii().is_empty() {
        return Ok(());
    }
    // Line ends only: a blank at the end of the last field is part of it.
    let end = text.iter().rposition(|c| !matches!(c, b'\r' | b'\n')).map_or(0, |last| last + 1);
    let text = &text[..end];
    if segments.len() == SEGMENTS {
        return Err(Fault::new(FaultCode::Hl7TooLong, format!("it has more than {SEGMENTS} segments")));
    }
    segments.push(Segment { text, delimiters });
    Ok(())
}

fn unreadable(why: &str) -> Fault {
    Fault::new(FaultCode::Hl7Unreadable, why)
}

/// MSH-1 is the fourth byte, MSH-2 the four behind it (section 2.14.9). The truncation character of 2.7 may follow: `#`.
fn delimiters(raw: &[u8]) -> Result<Delimiters, Fault> {
    let Some(&[field, component, repetition, escape, subcomponent, end]) =
        raw.strip_prefix(b"MSH").and_then(|rest| rest.get(..6))
    else {
        return Err(unreadable("it does not begin with an MSH segment"));
    };
    let truncation = Some(end).filter(|end| *end == b'#' && field != b'#');
    let found = Delimiters { field, component, repetition, escape, subcomponent, truncation };
    let five = [field, component, repetition, escape, subcomponent];
    let distinct = (0..5).all(|i| !five[..i].contains(&five[i]));
    let ends = end == field || truncation.is_some_and(|t| !five.contains(&t) && raw.get(9) == Some(&field));
    if distinct && five.iter().all(u8::is_ascii_punctuation) && ends {
        Ok(found)
    } else {
        Err(unreadable("MSH-1 and MSH-2 are not five different delimiters"))
    }
}

fn begins(line: &[u8], field: u8) -> bool {
    let name = |name: &[u8]| name[0].is_ascii_uppercase() && name.iter().all(u8::is_ascii_alphanumeric);
    line.len() >= 4 && line[3] == field && name(&line[..3])
}

impl<'a> Segment<'a> {
    /// Its three letters.
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        &self.text[..self.text.len().min(3)]
    }

    /// A field by its number in the standard; empty if it is not there. MSH-1 is the separator itself.
    #[must_use]
    pub fn field(&self, number: usize) -> &'a [u8] {
        let text = self.text;
        match (self.name(), number) {
            (b"MSH", 0) | (_, 0) => self.name(),
            (b"MSH", 1) => text.get(3..4).unwrap_or_default(),
            (b"MSH", _) => nth(text, self.delimiters.field, number - 1),
            _ => nth(text, self.delimiters.field, number),
        }
    }

    /// The repetitions of a field.
    pub fn repetitions(&self, number: usize) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        split(self.field(number), self.delimiters.repetition)
    }

    /// A component of the first repetition of a field, both numbered as in the standard; empty if it is not there.
    #[must_use]
    pub fn component(&self, field: usize, number: usize) -> &'a [u8] {
        let first = nth(self.field(field), self.delimiters.repetition, 0);
        nth(first, self.delimiters.component, number.saturating_sub(1))
    }
}

/// The parts of `text` between separators. Fast over long parts.
pub fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (part, more) = match memchr::memchr(separator, text) {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        rest = more;
        Some(part)
    })
}

fn nth(text: &[u8], separator: u8, index: usize) -> &[u8] {
    split(text, separator).nth(index).unwrap_or_default()
}

/// Resolves escape sequences (section 2.7): `\F\ \S\ \T\ \R\ \E\`, `\Xdd..\`, `\.br\`, and `\P\` where a truncation
/// character is declared. Highlighting and other formatting goes; what is no sequence stays as it is.
#[must_use]
pub fn unescape(text: &[u8], delimiters: Delimiters) -> Vec<u8> {
    let mark = delimiters.escape;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(mark, rest) {
        out.extend_from_slice(&rest[..at]);
        let after = &rest[at + 1..];
        let end = memchr::memchr(mark, &after[..after.len().min(2_048)]);
        let Some(end) = end.filter(|end| resolve(&after[..*end], delimiters, &mut out)) else {
            out.push(mark);
            rest = after;
            continue;
        };
        rest = &after[end + 1..];
    }
    out.extend_from_slice(rest);
    out
}

fn resolve(sequence: &[u8], d: Delimiters, out: &mut Vec<u8>) -> bool {
    match sequence {
        b"F" => out.push(d.field),
        b"S" => out.push(d.component),
        b"T" => out.push(d.subcomponent),
        b"R" => out.push(d.repetition),
        b"E" => out.push(d.escape),
        // Of 2.7 and later. Elsewhere it may be a folder of a path whose sender does not escape.
        b"P" if d.truncation.is_some() => out.extend(d.truncation),
        b"H" | b"N" => {}
        b".br" => out.extend_from_slice(b"\r\n"),
        [b'.', name @ ..] if name.len() <= 6 && name.iter().all(u8::is_ascii_alphanumeric) => {}
        [b'X', digits @ ..] if !digits.is_empty() => match crate::attachment::hexadecimal(digits) {
            Ok(bytes) => out.extend(bytes),
            Err(_) => return false,
        },
        _ => return false,
    }
    true
}

/// Writes text so that it can stand in a component: delimiters as their sequences, control characters as `\Xdd\`.
#[must_use]
pub fn escape(text: &[u8], d: Delimiters) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &c in text {
        let name = match c {
            _ if c == d.field => b'F',
            _ if c == d.component => b'S',
            _ if c == d.subcomponent => b'T',
            _ if c == d.repetition => b'R',
            _ if c == d.escape => b'E',
            _ if d.truncation == Some(c) => b'P',
            0..0x20 | 0x7F => {
                out.push(d.escape);
                out.extend(format!("X{c:02X}").into_bytes());
                out.push(d.escape);
                continue;
            }
            _ => {
                out.push(c);
                continue;
            }
        };
        out.extend([d.escape, name, d.escape]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &[u8] = b"MSH|^~\\&|ECG|WARD^1&x|||20260101||ORU^R01|7|P|2.5\rPID|1\rOBX|1|ED|a^b||^PDF^^Base64^QUJD\r\nREVG\r\nR0g=||||||F\r";

    #[test]
    fn fields_have_the_numbers_of_the_standard() {
        let message = Message::parse(TEXT).unwrap();
        let header = message.header();
        assert_eq!(header.field(1), b"|");
        assert_eq!(header.field(2), b"^~\\&");
        assert_eq!(header.component(9, 2), b"R01");
        assert_eq!(header.field(10), b"7");
        assert_eq!(header.field(99), b"");
        assert_eq!(message.segments()[1].field(1), b"1");
    }

    #[test]
    fn wrapped_lines_belong_to_their_segment() {
        let message = Message::parse(TEXT).unwrap();
        assert_eq!(message.segments().len(), 3);
        assert_eq!(message.segments()[2].component(5, 5), b"QUJD\r\nREVG\r\nR0g=");
        assert_eq!(message.segments()[2].field(11), b"F");
    }

    #[test]
    fn what_is_no_message_is_told_apart() {
        for raw in [&b""[..], b"PID|1\r", b"MSH", b"MSH|^~\\", b"M\0S\0H\0|\0", b"MSH||||||||", b"MSHx^~\\&x"] {
            assert_eq!(Message::parse(raw).unwrap_err().code, FaultCode::Hl7Unreadable, "{raw:?}");
        }
        assert_eq!(Message::parse(b"MSH|^~\\&#|A").unwrap().delimiters.truncation, Some(b'#'));
        assert_eq!(Message::parse(b"MSH|^~\\&#A|B").unwrap_err().code, FaultCode::Hl7Unreadable);
        assert_eq!(Message::parse(b"MSH|^~\\&|A").unwrap().delimiters, USUAL);
        let beside = Message::parse(b"MSH|^~\\&|A\r\n\xFF\r\nPID|1\r").unwrap();
        assert_eq!((beside.header().field(3), beside.segments()[2].field(1)), (&b"A"[..], &b"1"[..]));
        assert!(Message::parse(b"MSH|^~\\&|A\rPID|\0").unwrap_err().detail.contains("NUL"));
        let many = [&b"MSH|^~\\&|A\r"[..], &b"NTE|\r".repeat(SEGMENTS)].concat();
        assert_eq!(Message::parse(&many).unwrap_err().code, FaultCode::Hl7TooLong);
    }

    #[test]
    fn sequences_are_resolved_and_what_is_none_stays() {
        let plain = |text: &[u8]| unescape(text, USUAL);
        assert_eq!(plain(br"\E\\E\server\E\a\F\b\S\c\T\d\R\"), br"\\server\a|b^c&d~");
        assert_eq!(plain(br"a\X0D0A\b\.br\c\H\d\N\"), b"a\r\nb\r\ncd");
        assert_eq!(plain(br"C:\dir \Xzz\ end\"), br"C:\dir \Xzz\ end\");
    }

    #[test]
    fn the_truncation_character_has_a_sequence_where_there_is_one() {
        let new = Delimiters { truncation: Some(b'#'), ..USUAL };
        assert_eq!((unescape(br"a\P\b", new), unescape(br"a\P\b", USUAL)), (b"a#b".to_vec(), br"a\P\b".to_vec()));
    }

    proptest! {
        #[test]
        fn what_was_escaped_comes_back(text in prop::collection::vec(any::<u8>(), 0..200), new: bool) {
            let d = Delimiters { truncation: new.then_some(b'#'), ..USUAL };
            let written = escape(&text, d);
            prop_assert!(!written.iter().any(|c| b"|^&~\r\n".contains(c) || new && *c == b'#'));
            prop_assert_eq!(unescape(&written, d), text);
        }

        #[test]
        fn anything_can_be_parsed(tail in prop::collection::vec(prop_oneof![Just(b'|'), Just(b'\r'), Just(b'\\'), any::<u8>()], 0..300)) {
            let raw = [&b"MSH|^~\\&|"[..], &tail].concat();
            if let Ok(message) = Message::parse(&raw) {
                for segment in message.segments() {
                    for i in 0..8 { let _ = (segment.field(i), segment.component(i, i)); }
                }
            }
            let _ = unescape(&tail, USUAL);
        }
    }
}
