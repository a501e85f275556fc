//! Base64 in pieces, with white space and line breaks in any place.

const BAD: u8 = 255;
const SKIP: u8 = 254;
const PAD: u8 = 253;

const TABLE: [u8; 256] = {
    let mut table = [BAD; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut i = 0;
    while i < 64 {
        table[alphabet[i] as usize] = i as u8;
        i += 1;
    }
    // RFC 4648 section 5; some senders use it.
    table[b'-' as usize] = 62;
    table[b'_' as usize] = 63;
    table[b' ' as usize] = SKIP;
    table[b'\t' as usize] = SKIP;
    table[b'\r' as usize] = SKIP;
    table[b'\n' as usize] = SKIP;
    table[b'=' as usize] = PAD;
    table
};

/// A running decoder.
#[derive(Default)]
pub(crate) struct Base64 {
    bits: u32,
    held: u8,
    padded: u8,
    /// A character outside the alphabet was met, or data after padding.
    pub(crate) bad: bool,
    /// Bytes decoded.
    pub(crate) decoded: u64,
    out: Vec<u8>,
}

impl Base64 {
    /// Decodes a piece and shows the bytes to `sink` in blocks.
    pub(crate) fn push(&mut self, text: &[u8], mut sink: impl FnMut(&[u8])) {
        for part in text.chunks(8192) {
            self.out.clear();
            let mut rest = part;
            while let Some((first, after)) = rest.split_first() {
                if self.held == 0
                    && self.padded == 0
                    && let Some((four, tail)) = rest.split_first_chunk::<4>()
                {
                    let [a, b, c, d] = four.map(|byte| TABLE[usize::from(byte)]);
                    if (a | b | c | d) < 64 {
                        self.out.extend_from_slice(&[(a << 2) | (b >> 4), (b << 4) | (c >> 2), (c << 6) | d]);
                        rest = tail;
                        continue;
                    }
                }
                self.one(TABLE[usize::from(*first)]);
                rest = after;
            }
            self.decoded += self.out.len() as u64;
            if !self.out.is_empty() {
                sink(&self.out);
            }
        }
    }

    fn one(&mut self, value: u8) {
        match value {
            SKIP => {}
            PAD => self.padded = self.padded.saturating_add(1),
            BAD => self.bad = true,
            _ if self.padded > 0 => self.bad = true,
            value => {
                self.bits = (self.bits << 6) | u32::from(value);
                self.held += 1;
                match self.held {
                    2 => self.out.push((self.bits >> 4) as u8),
                    3 => self.out.push((self.bits >> 2) as u8),
                    4 => {
                        self.out.push(self.bits as u8);
                        self.held = 0;
                    }
                    _ => {}
                }
            }
        }
    }

    /// Another text follows: one that was padded is over.
    pub(crate) fn go_on(&mut self) {
        if self.padded > 0 {
            (self.bits, self.held, self.padded) = (0, 0, 0);
        }
    }

    /// Whether the text ended where a base64 text can end.
    pub(crate) fn closed(&self) -> bool {
        !self.bad && self.held != 1 && self.padded <= 2
    }
}

#[cfg(test)]
mod tests {
    use super::Base64;

    fn decode(parts: &[&str]) -> (Vec<u8>, bool) {
        let mut decoder = Base64::default();
        let mut out = Vec::new();
        for part in parts {
            decoder.push(part.as_bytes(), |bytes| out.extend_from_slice(bytes));
        }
        (out, decoder.closed())
    }

    #[test]
    fn pieces_and_line_breaks_do_not_matter() {
        assert_eq!(decode(&["aGVsbG8="]), (b"hello".to_vec(), true));
        assert_eq!(decode(&["a", "GVs\r\nb", "G8", "="]), (b"hello".to_vec(), true));
        assert!(!decode(&["aGVs!"]).1);
        assert!(!decode(&["aGVsb"]).1);
    }
}
