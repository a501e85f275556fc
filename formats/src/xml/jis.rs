//! XML in ISO-2022-JP (RFC 1468): what stands between `ESC $` and `ESC (` is in two-byte codes, and no markup.

use super::{Xml, markup};
use crate::engine::{Driver, End, Machine, Report, Step};

const ESCAPE: u8 = 0x1B;

/// Whether a text that starts as XML declares this encoding.
pub(crate) fn recognize(body: &[u8]) -> bool {
    let Some(declaration) = body.strip_prefix(b"<?xml") else { return false };
    let end = memchr::memmem::find(declaration, b"?>").unwrap_or(0);
    markup::attribute(&declaration[..end], b"encoding").is_some_and(|name| name.eq_ignore_ascii_case(b"ISO-2022-JP"))
}

pub(crate) struct Jis {
    wide: bool,
    inner: Driver<Xml>,
    text: Vec<u8>,
}

impl Jis {
    pub(crate) fn new() -> Self {
        Self { wide: false, inner: Driver::new(Xml::new()), text: Vec::new() }
    }

    fn put(&mut self, text: &[u8]) {
        if !self.wide {
            self.inner.push(text);
            return;
        }
        self.text.clear();
        // As many bytes as there were, and none of them in ASCII; zero bytes stay.
        self.text.extend(text.iter().map(|byte| if *byte == 0 { 0 } else { byte | 0x80 }));
        self.inner.push(&self.text);
    }
}

impl Machine for Jis {
    fn step(&mut self, window: &[u8], _at: u64) -> Step {
        if window[0] == ESCAPE {
            let Some(kind) = window.get(1) else { return Step::Need(2) };
            match kind {
                b'$' => self.wide = true,
                b'(' => self.wide = false,
                _ => {}
            }
            self.put(&[ESCAPE]);
            return Step::Take(1);
        }
        let near = &window[..window.len().min(32 << 10)];
        let len = memchr::memchr(ESCAPE, near).unwrap_or(near.len());
        self.put(&window[..len]);
        Step::Take(len)
    }

    fn finish(&mut self, rest: &[u8], _at: u64, end: &End<'_>, report: &mut Report) {
        self.put(rest);
        self.inner.finish(end.nul, report);
    }
}
