//! Annotation files of a WFDB record (annot(5), "MIT format"): 16-bit words, the last of which is zero.

/// What an annotation file shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Annotations {
    /// The word that ends the list is the last of the file.
    Closed,
    /// The list is not ended: more must follow.
    Open,
    /// Bytes follow the end of the list.
    Trailing,
}

const SKIP: u16 = 59;
const AUX: u16 = 63;

/// A running check. Feed it the bytes of an annotation file in order.
#[derive(Clone, Debug, Default)]
pub struct AnnotationCheck {
    /// The first byte of a word.
    low: Option<u8>,
    /// Bytes to pass over: a long interval, or a text.
    skip: u32,
    ended: bool,
    trailing: bool,
}

impl AnnotationCheck {
    /// The next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.ended {
                self.trailing = true;
                return;
            }
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            let Some(low) = self.low.take() else {
                self.low = Some(*byte);
                continue;
            };
            let word = u16::from_le_bytes([low, *byte]);
            match word >> 10 {
                SKIP => self.skip = 4,
                // Padded to whole words.
                AUX => self.skip = u32::from(word & 0x3FF).next_multiple_of(2),
                _ => self.ended = word == 0,
            }
        }
    }

    /// The result; the file is over.
    #[must_use]
    pub fn finish(&self) -> Annotations {
        match (self.ended, self.trailing) {
            (false, _) => Annotations::Open,
            (true, false) => Annotations::Closed,
            (true, true) => Annotations::Trailing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AnnotationCheck, Annotations};

    fn check(words: &[u16], cut: usize) -> Annotations {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut check = AnnotationCheck::default();
        bytes[..bytes.len() - cut].iter().for_each(|byte| check.push(&[*byte]));
        check.finish()
    }

    #[test]
    fn the_zero_word_ends_a_list() {
        // A beat after 18 samples, a long interval of zero words, a text of three letters, the end.
        let words = [1 << 10 | 18, 59 << 10, 0, 0, 1 << 10, 63 << 10 | 3, 0x4E28, 0, 0];
        assert_eq!(check(&words, 0), Annotations::Closed);
        for cut in 1..words.len() * 2 {
            assert_eq!(check(&words, cut), Annotations::Open, "{cut} bytes are missing");
        }
        assert_eq!(check(&[&words[..], &[0]].concat(), 0), Annotations::Trailing);
    }
}
