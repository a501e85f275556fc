//! One piece of markup at the start of a window.

use super::Mode;
use crate::engine::MAX_NEED;

pub(super) enum Markup<'a> {
    More(usize),
    Open(Mode, usize),
    Skip(usize),
    Start { name: &'a [u8], attributes: &'a [u8], empty: bool, len: usize },
    End { name: &'a [u8], len: usize },
    Bad,
    TooLong,
}

/// The part of a name after the namespace prefix.
pub(super) fn local(name: &[u8]) -> &[u8] {
    memchr::memrchr(b':', name).map_or(name, |colon| &name[colon + 1..])
}

/// Reads the markup that starts with the `<` at the start of the window.
pub(super) fn next(window: &[u8]) -> Markup<'_> {
    let Some(kind) = window.get(1) else { return Markup::More(2) };
    match kind {
        // The shortest instruction has five bytes, and so has the start of an XML declaration.
        b'?' if window.len() < 5 => Markup::More(5),
        b'?' => Markup::Open(Mode::Instruction, 2),
        b'!' => special(window),
        b'/' => match end_of_tag(window) {
            Ok(len) => Markup::End { name: window[2..len - 1].trim_ascii(), len },
            Err(other) => other,
        },
        first if first.is_ascii_alphabetic() || matches!(first, b'_' | b':') || *first >= 0x80 => {
            match end_of_tag(window) {
                Ok(len) => start(&window[1..len - 1], len),
                Err(other) => other,
            }
        }
        _ => Markup::Bad,
    }
}

fn start(inner: &[u8], len: usize) -> Markup<'_> {
    let (inner, empty) = inner.strip_suffix(b"/").map_or((inner, false), |inner| (inner, true));
    let name = inner.iter().position(u8::is_ascii_whitespace).unwrap_or(inner.len());
    Markup::Start { name: &inner[..name], attributes: &inner[name..], empty, len }
}

fn special(window: &[u8]) -> Markup<'_> {
    const COMMENT: &[u8] = b"<!--";
    const CDATA: &[u8] = b"<![CDATA[";
    const DOCTYPE: &[u8] = b"<!DOCTYPE";
    for (word, mode) in [(COMMENT, Some(Mode::Comment)), (CDATA, Some(Mode::Cdata)), (DOCTYPE, None)] {
        let seen = window.len().min(word.len());
        if window[..seen] == word[..seen] {
            return match mode {
                _ if seen < word.len() => Markup::More(word.len()),
                Some(mode) => Markup::Open(mode, word.len()),
                None => doctype(window),
            };
        }
    }
    Markup::Bad
}

/// A document type declaration, with or without an internal subset. Quotes and brackets in comments and instructions
/// are text (XML 1.0, 2.5, 2.6).
fn doctype(window: &[u8]) -> Markup<'_> {
    let (mut quote, mut depth, mut at) = (None, 0i32, 0);
    while let Some(byte) = window.get(at) {
        let rest = &window[at..];
        match (quote, byte) {
            (Some(open), close) if open == *close => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(*byte),
            (None, b'[') => depth += 1,
            (None, b']') => depth -= 1,
            (None, b'>') if depth <= 0 => return Markup::Skip(at + 1),
            (None, b'<') => {
                let (open, close): (usize, &[u8]) = match rest {
                    _ if rest.starts_with(b"<!--") => (4, b"-->"),
                    _ if rest.starts_with(b"<?") => (2, b"?>"),
                    _ => (0, b""),
                };
                if open > 0 {
                    let Some(end) = memchr::memmem::find(&rest[open..], close) else { break };
                    at += open + end + close.len();
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    more(window)
}

fn more(window: &[u8]) -> Markup<'_> {
    match window.len() {
        // Doubling keeps repeated scans linear.
        len if len < MAX_NEED => Markup::More((len * 2).clamp(64, MAX_NEED)),
        _ => Markup::TooLong,
    }
}

/// The length of a tag up to its `>`, which may stand in a quoted value.
fn end_of_tag(window: &[u8]) -> Result<usize, Markup<'_>> {
    let mut at = 1;
    while let Some(found) = memchr::memchr3(b'>', b'"', b'\'', &window[at..]) {
        let stop = at + found;
        if memchr::memchr2(b'<', 0, &window[at..stop]).is_some() {
            return Err(Markup::Bad);
        }
        if window[stop] == b'>' {
            return Ok(stop + 1);
        }
        match memchr::memchr(window[stop], &window[stop + 1..]) {
            Some(close) => at = stop + 1 + close + 1,
            None => return Err(more(window)),
        }
    }
    Err(more(window))
}

/// The value of an attribute, by its local name.
pub(super) fn attribute<'a>(mut attributes: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    loop {
        let equals = memchr::memchr(b'=', attributes)?;
        let name = attributes[..equals].trim_ascii();
        let after = attributes[equals + 1..].trim_ascii_start();
        let quote = *after.first()?;
        if quote != b'"' && quote != b'\'' {
            return None;
        }
        let close = memchr::memchr(quote, &after[1..])?;
        if local(name) == wanted {
            return Some(&after[1..=close]);
        }
        attributes = &after[close + 2..];
    }
}

/// The longest reference that is looked at.
pub(super) const REFERENCE: usize = 64;

/// The number of a character reference, by what stands between `&` and `;`: `None` for any other reference.
pub(super) fn number(name: &[u8]) -> Option<Option<u32>> {
    let text = std::str::from_utf8(name.strip_prefix(b"#")?).unwrap_or("");
    Some(match text.strip_prefix('x') {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    })
}

/// The character that a reference stands for (XML 1.0, 4.1, 4.6).
pub(super) fn character(name: &[u8]) -> Option<char> {
    match name {
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"amp" => Some('&'),
        b"apos" => Some('\''),
        b"quot" => Some('"'),
        name => number(name)?.and_then(char::from_u32),
    }
}

/// Shows a value with its references resolved, in pieces. What is no reference stays as it is.
pub(super) fn resolve(mut text: &[u8], mut show: impl FnMut(&[u8])) {
    while let Some(at) = memchr::memchr(b'&', text) {
        show(&text[..at]);
        let rest = &text[at..];
        let end = memchr::memchr(b';', &rest[..rest.len().min(REFERENCE)]);
        let found = end.and_then(|end| Some((character(&rest[1..end])?, end + 1)));
        text = match found {
            Some((character, len)) => {
                show(character.encode_utf8(&mut [0; 4]).as_bytes());
                &rest[len..]
            }
            None => {
                show(b"&");
                &rest[1..]
            }
        };
    }
    show(text);
}

#[cfg(test)]
mod tests {
    use super::{attribute, resolve};

    #[test]
    fn references_in_values() {
        for (text, plain) in [
            ("a&#13;&#xA;b", "a\r\nb"),
            ("&amp;&lt;&gt;&apos;&quot;", "&<>'\""),
            ("a & b &x; &#xD800; &", "a & b &x; &#xD800; &"),
        ] {
            let mut out = Vec::new();
            resolve(text.as_bytes(), |part| out.extend_from_slice(part));
            assert_eq!(out, plain.as_bytes());
        }
    }

    #[test]
    fn attributes_by_local_name() {
        let text = br#" a="1" x:root='2>' c = "3""#;
        assert_eq!(attribute(text, b"root"), Some(&b"2>"[..]));
        assert_eq!(attribute(text, b"c"), Some(&b"3"[..]));
        assert_eq!(attribute(text, b"d"), None);
    }
}
