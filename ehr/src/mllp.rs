//! Frames of the minimal lower layer protocol: `<VT> message <FS> <CR>` (HL7 transport specification, MLLP release 1,
//! section 2.2).

/// Begins a frame.
pub const OPEN: u8 = 0x0B;
/// Ends a frame, with [`CR`] behind it.
pub const CLOSE: u8 = 0x1C;
/// Carriage return.
pub const CR: u8 = 0x0D;
/// How much of a message that is too long is kept, to answer it: MSH stands first.
const HEAD: usize = 4096;
/// Bytes between frames that are passed over, in all. Line ends are none: many senders add them.
const JUNK: usize = 64 << 10;
/// A message that is too long is passed over up to this many times the limit, so that its sender hears why.
const PATIENCE: usize = 4;

/// What a sender's bytes turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A whole message.
    Frame(Vec<u8>),
    /// A message over the limit was passed over to its end. Its first bytes.
    TooLong(Vec<u8>),
    /// What comes is no MLLP, or a message without an end: nothing more is read.
    Hopeless,
}

#[derive(Debug)]
enum State {
    Between,
    Inside,
    /// A CLOSE was seen: the frame ends if CR follows.
    Closing,
    Hopeless,
}

/// Takes frames out of a stream of bytes. Where the pieces end makes no difference.
#[derive(Debug)]
pub struct Framer {
    limit: usize,
    state: State,
    message: Vec<u8>,
    /// Length of the message so far; over the limit only its head is in `message`.
    len: usize,
    junk: usize,
}

impl Framer {
    /// For messages of at most `limit` bytes, without what frames them.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, state: State::Between, message: Vec::new(), len: 0, junk: 0 }
    }

    /// Whether a message has begun and not ended. A sender that is silent now is not at rest.
    #[must_use]
    pub fn in_message(&self) -> bool {
        matches!(self.state, State::Inside | State::Closing)
    }

    /// Bytes that belonged to no message so far, line ends not counted.
    #[must_use]
    pub fn junk(&self) -> usize {
        self.junk
    }

    /// Bytes of the message at hand so far.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.len
    }

    /// Reads from the front of `bytes` up to the end of a message, or all of it. What was read is gone from `bytes`.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Option<Event> {
        while !bytes.is_empty() {
            let event = match self.state {
                State::Between => self.between(bytes),
                State::Inside => self.inside(bytes),
                State::Closing => self.closing(bytes),
                State::Hopeless => {
                    *bytes = &[];
                    None
                }
            };
            if event.is_some() {
                return event;
            }
        }
        None
    }

    fn between(&mut self, bytes: &mut &[u8]) -> Option<Event> {
        let open = memchr::memchr(OPEN, bytes);
        let (passed, rest) = bytes.split_at(open.unwrap_or(bytes.len()));
        self.junk += passed.iter().filter(|c| !c.is_ascii_whitespace()).count();
        *bytes = rest;
        if self.junk > JUNK {
            return Some(self.hopeless());
        }
        if open.is_some() {
            *bytes = &bytes[1..];
            self.begin();
        }
        None
    }

    fn begin(&mut self) {
        self.message = Vec::new();
        self.len = 0;
        self.state = State::Inside;
    }

    fn inside(&mut self, bytes: &mut &[u8]) -> Option<Event> {
        let stop = memchr::memchr2(CLOSE, OPEN, bytes).unwrap_or(bytes.len());
        let (text, rest) = bytes.split_at(stop);
        *bytes = rest;
        if let Some(event) = self.keep(text) {
            return Some(event);
        }
        if let Some((mark, rest)) = bytes.split_first() {
            *bytes = rest;
            match *mark {
                CLOSE => self.state = State::Closing,
                // A message that begins inside another: that one was given up by its sender, who heard no answer.
                _ => self.begin(),
            }
        }
        None
    }

    fn closing(&mut self, bytes: &mut &[u8]) -> Option<Event> {
        self.state = State::Inside;
        if bytes[0] != CR {
            return self.keep(&[CLOSE]);
        }
        *bytes = &bytes[1..];
        self.state = State::Between;
        let message = std::mem::take(&mut self.message);
        Some(if std::mem::take(&mut self.len) > self.limit { Event::TooLong(message) } else { Event::Frame(message) })
    }

    /// Takes text of a message: all of it up to the limit, and the head of it beyond.
    fn keep(&mut self, text: &[u8]) -> Option<Event> {
        self.len += text.len();
        if self.len <= self.limit {
            self.message.extend_from_slice(text);
            return None;
        }
        let room = HEAD.saturating_sub(self.message.len()).min(text.len());
        self.message.extend_from_slice(&text[..room]);
        self.message.truncate(HEAD);
        self.message.shrink_to_fit();
        (self.len > self.limit.saturating_mul(PATIENCE)).then(|| self.hopeless())
    }

    fn hopeless(&mut self) -> Event {
        self.message = Vec::new();
        self.len = 0;
        self.state = State::Hopeless;
        Event::Hopeless
    }
}

/// A message in its frame.
#[must_use]
pub fn frame(message: &[u8]) -> Vec<u8> {
    [&[OPEN], message, &[CLOSE, CR]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(limit: usize, pieces: &[&[u8]]) -> (Vec<Event>, bool) {
        let mut framer = Framer::new(limit);
        let mut events = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while let Some(event) = framer.next(&mut rest) {
                events.push(event);
            }
            assert!(rest.is_empty());
        }
        (events, framer.in_message())
    }

    #[test]
    fn frames_come_out_and_line_ends_between_them_do_not_matter() {
        let (events, open) = all(99, &[b"\x0bMSH|a\r\x1c\r\r\n\x0bb\x1c\x1cc\x1c\r\x0bnever"]);
        assert_eq!(events, [Event::Frame(b"MSH|a\r".to_vec()), Event::Frame(b"b\x1c\x1cc".to_vec())]);
        assert!(open);
    }

    #[test]
    fn a_message_that_begins_inside_another_replaces_it() {
        assert_eq!(all(99, &[b"\x0bgiven up\x0bnew\x1c\r"]).0, [Event::Frame(b"new".to_vec())]);
    }

    #[test]
    fn one_that_is_too_long_is_passed_over_and_the_next_one_comes() {
        let long = frame(&[b'x'; 30]);
        let (events, open) = all(10, &[&long, &frame(b"y")]);
        assert_eq!(events, [Event::TooLong(vec![b'x'; 30]), Event::Frame(b"y".to_vec())]);
        assert!(!open);
    }

    #[test]
    fn one_without_an_end_and_one_without_a_begin_are_given_up() {
        assert_eq!(all(10_000, &[b"\x0b", &[b'x'; 60_000]]).0, [Event::Hopeless]);
        assert_eq!(all(10, &[b"GET / HTTP/1.1\r\n", &[b'x'; 70_000], b"\x0by\x1c\r"]).0, [Event::Hopeless]);
    }

    #[test]
    fn what_is_too_long_is_not_held() {
        let mut framer = Framer::new(1 << 20);
        let block = vec![b'x'; 3 << 20];
        assert_eq!(framer.next(&mut &frame(&block)[..1 << 21]), None);
        assert!(framer.message.capacity() <= 2 * HEAD, "{}", framer.message.capacity());
        assert!(framer.pending() >= (1 << 21) - 1);
    }

    proptest! {
        #[test]
        fn where_pieces_end_makes_no_difference(
            bytes in prop::collection::vec(prop_oneof![Just(OPEN), Just(CLOSE), Just(CR), Just(b'x')], 0..200),
            cuts in prop::collection::vec(1usize..9, 1..20),
            limit in 0usize..30,
        ) {
            let whole = all(limit, &[&bytes]);
            let mut pieces = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, more) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = more;
            }
            prop_assert_eq!(all(limit, &pieces), whole);
        }

        #[test]
        fn a_framed_message_comes_back(mut messages in prop::collection::vec(prop::collection::vec(0x20u8..0x7f, 0..50), 0..5)) {
            messages.iter_mut().for_each(|m| m.push(CR));
            let wire: Vec<u8> = messages.iter().flat_map(|m| frame(m)).collect();
            let expected: Vec<Event> = messages.into_iter().map(Event::Frame).collect();
            prop_assert_eq!(all(51, &[&wire]).0, expected);
        }
    }
}
