//! What delimiters show of HL7 v2: how it starts, and codes of two bytes (HL7 v2.5.1, 2.7.2 and table 0211), whose second
//! byte may be that of a delimiter.

use super::hl7::{OPEN, WORD};

const ESCAPE: u8 = 0x1B;

pub(crate) fn recognize(head: &[u8]) -> bool {
    let body = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    let body = body.strip_prefix(&[OPEN]).unwrap_or(body).trim_ascii_start();
    let Some((name, [separator, rest @ ..])) = body.split_at_checked(3) else { return false };
    separator.is_ascii_punctuation()
        && match name {
            b"MSH" => true,
            b"BHS" | b"FHS" => has_marks(*separator, rest),
            _ => false,
        }
}

/// Whether encoding characters stand behind the separator (2.15.2.2, 2.15.6.2): two or more, none of them twice, and the
/// separator again or the end. The names of these segments are abbreviations of other things, too.
fn has_marks(separator: u8, rest: &[u8]) -> bool {
    let mark = |c: &u8| c.is_ascii_punctuation() && *c != separator;
    let count = rest.iter().position(|c| !mark(c)).unwrap_or(rest.len());
    let (marks, behind) = rest.split_at(count.min(8));
    let distinct = marks.iter().enumerate().all(|(i, c)| !marks[..i].contains(c));
    distinct
        && match behind.first() {
            None => true,
            Some(next) => count >= 2 && (*next == separator || matches!(next, b'\r' | b'\n')),
        }
}

/// Where a text in ISO 2022 is (ISO IR 87, ISO IR 159; ISO/IEC 2022, 14.3): `ESC $` and a letter start codes of two bytes,
/// and `ESC (` ends them.
#[derive(Clone, Copy, Default)]
pub(super) enum Codes {
    #[default]
    Plain,
    Wide,
    /// Behind `ESC`, and behind `ESC $`; what comes next may leave it as it was.
    Escape {
        wide: bool,
    },
    Designation {
        wide: bool,
    },
}

impl Codes {
    /// How many bytes at the start of a text are of one kind, and whether delimiters among them are such.
    pub(super) fn run(&mut self, text: &[u8]) -> (usize, bool) {
        let was = |wide| if wide { Self::Wide } else { Self::Plain };
        let Some(first) = text.first() else { return (0, true) };
        match *self {
            Self::Escape { wide } => match first {
                b'$' => *self = Self::Designation { wide },
                b'(' => *self = Self::Plain,
                _ => {
                    *self = was(wide);
                    return self.run(text);
                }
            },
            // These make codes ready that are not used where delimiters are.
            Self::Designation { wide } => {
                *self = if matches!(first, b')' | b'*' | b'+' | b'-' | b'.' | b'/') { was(wide) } else { Self::Wide };
            }
            Self::Plain | Self::Wide => {
                let wide = matches!(self, Self::Wide);
                match memchr::memchr(ESCAPE, text) {
                    Some(0) => *self = Self::Escape { wide },
                    other => return (other.unwrap_or(text.len()), !wide),
                }
            }
        }
        (1, false)
    }
}

/// What an escape sequence stands for in a document (2.7): line breaks are white space between the letters, hexadecimal
/// ones are bytes. Any other is no part of base64.
pub(super) fn unescaped(word: &[u8]) -> Vec<u8> {
    let bytes = match word.split_first() {
        Some((b'.', _)) => Some(Vec::new()),
        Some((b'X', digits)) if digits.len() < WORD => hex::decode(digits).ok(),
        _ => None,
    };
    bytes.unwrap_or_else(|| b"\\".to_vec())
}

/// A field of a segment.
pub(super) fn field(line: &[u8], separator: u8, index: usize) -> Option<&[u8]> {
    let (mut codes, mut at, mut from, mut left) = (Codes::default(), 0, 0, index);
    while at < line.len() {
        let (len, plain) = codes.run(&line[at..]);
        for here in (at..at + len).filter(|here| plain && line[*here] == separator) {
            if left == 0 {
                return Some(&line[from..here]);
            }
            (left, from) = (left - 1, here + 1);
        }
        at += len;
    }
    (left == 0).then(|| &line[from..])
}

/// Whether a character set (MSH-18) has codes whose second byte may be that of a delimiter, and no mark where they start.
pub(super) fn are_unmarked(charset: &[u8]) -> bool {
    const SETS: [&str; 9] = ["BIG5", "GB18030", "GBK", "KSX1001", "CNS11643", "SHIFTJIS", "SJIS", "UTF16", "UTF32"];
    let letters = charset.iter().filter(|c| c.is_ascii_alphanumeric()).map(|c| char::from(c.to_ascii_uppercase()));
    let name: String = letters.collect();
    SETS.iter().any(|set| name.contains(set))
}
