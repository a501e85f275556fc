//! Deflate streams in pieces.

use flate2::{Decompress, FlushDecompress, Status};

/// Output that a stream may produce besides [`RATIO`] times its input, so that a few bytes cannot keep a reader busy.
const FREE_OUTPUT: u64 = 64 << 20;
/// Deflate cannot exceed 1032; real recordings stay far below this.
const RATIO: u64 = 200;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Running,
    Ended,
    Bad,
    /// Expands beyond what is checked.
    TooLarge,
}

pub(crate) struct Inflate {
    raw: Decompress,
    out: Vec<u8>,
    pub(crate) state: State,
}

impl Inflate {
    pub(crate) fn deflate() -> Self {
        Self::with(Decompress::new(false))
    }

    pub(crate) fn zlib() -> Self {
        Self::with(Decompress::new(true))
    }

    fn with(raw: Decompress) -> Self {
        Self { raw, out: vec![0; 32 << 10], state: State::Running }
    }

    pub(crate) fn produced(&self) -> u64 {
        self.raw.total_out()
    }

    /// Inflates a piece and returns how much of it belongs to the stream.
    pub(crate) fn push(&mut self, input: &[u8], mut sink: impl FnMut(&[u8])) -> usize {
        let mut used = 0;
        while self.state == State::Running {
            let before_in = self.raw.total_in();
            let before_out = self.raw.total_out();
            let status = self.raw.decompress(&input[used..], &mut self.out, FlushDecompress::None);
            let took = (self.raw.total_in() - before_in) as usize;
            let made = (self.raw.total_out() - before_out) as usize;
            used += took;
            if made > 0 {
                sink(&self.out[..made]);
            }
            match status {
                Ok(Status::StreamEnd) => self.state = State::Ended,
                Err(_) => self.state = State::Bad,
                Ok(_) if self.raw.total_out() > FREE_OUTPUT + RATIO * self.raw.total_in() => {
                    self.state = State::TooLarge;
                }
                // No progress: what is left has to wait for more input.
                Ok(_) if took == 0 && made == 0 => break,
                Ok(_) => {}
            }
        }
        used
    }
}
