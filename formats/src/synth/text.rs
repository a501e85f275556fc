//! Small helpers for text in the written formats.

use std::fmt::Write as _;

/// Appends formatted text. Writing to a `String` cannot fail.
pub(super) fn put(out: &mut String, args: std::fmt::Arguments<'_>) {
    // The only error source is an element's own Display, and none of those written here fails.
    let _ = out.write_fmt(args);
}

/// Escapes character data and attribute values of XML 1.0 (2.4), and drops what XML cannot carry at all (2.2).
pub(super) fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'.. => out.push(c),
            _ => {}
        }
    }
    out
}

/// ISO 8859-1, with `?` for what it lacks.
pub(super) fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

/// Printable US-ASCII (32..=126), with `?` for anything else.
pub(super) fn ascii(text: &str) -> String {
    text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect()
}

/// `text` in US-ASCII, cut or filled with `pad` to exactly `width` bytes.
pub(super) fn fixed(text: &str, width: usize, pad: u8) -> Vec<u8> {
    let mut out = ascii(text).into_bytes();
    out.resize(width, pad);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_drops() {
        assert_eq!(xml("a<&\"'>\u{0}\u{7}b"), "a&lt;&amp;&quot;&apos;&gt;b");
        assert_eq!(latin1("Zo\u{eb} \u{20ac}"), b"Zo\xeb ?");
        assert_eq!(fixed("ab\u{e9}", 5, b' '), b"ab?  ");
        assert_eq!(fixed("abcdef", 3, b' '), b"abc");
    }
}
