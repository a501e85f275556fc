//! What the parsers of all formats share: a driver that feeds them chunks, and the notes they take.

pub(crate) mod base64;
pub(crate) mod checksum;
pub(crate) mod inflate;
pub(crate) mod nul;
pub(crate) mod report;

pub(crate) use nul::NulWatch;
pub(crate) use report::Report;

use crate::{Evidence, Part, Verdict};

/// What a machine wants next.
pub(crate) enum Step {
    /// At least this many contiguous bytes from the start of the window, before it can decide. It is shown the same
    /// bytes again, so it must not have noted anything yet; at the end of the content it is shown them once more even
    /// when there are fewer.
    Need(usize),
    /// It is done with this many bytes of the window.
    Take(usize),
    /// Nothing that follows matters.
    Stop,
}

/// The end of a content.
pub(crate) struct End<'a> {
    /// How many bytes there were.
    pub len: u64,
    /// Where zero bytes were seen.
    pub nul: &'a NulWatch,
}

impl End<'_> {
    /// Reports what makes no sense. Zero bytes to the end in the place of a part are none.
    pub(crate) fn contradicted(&self, fact: Evidence, report: &mut Report) {
        match fact {
            Evidence::Contradiction { offset, .. } if self.nul.only_from(offset) => {
                report.suspect(Evidence::NulTail { from: offset, length: self.len - offset });
            }
            fact => report.malformed(fact),
        }
    }
}

/// A parser that is shown a content in order, a window at a time.
///
/// What it decides must depend on the bytes alone and not on where windows end; [`Step::Need`] is the way to ask for
/// bytes that must be seen together. A machine never asks for more than [`MAX_NEED`] bytes.
pub(crate) trait Machine {
    /// Looks at a window that is not empty and starts at offset `at` of the content.
    fn step(&mut self, window: &[u8], at: u64) -> Step;

    /// The content is over; `rest` are the bytes that were not taken, starting at offset `at`.
    fn finish(&mut self, rest: &[u8], at: u64, end: &End<'_>, report: &mut Report);

    /// A length that the content must at least have, as far as is known.
    fn floor(&self) -> u64 {
        0
    }
}

/// The largest piece that a machine sees as a whole.
pub(crate) const MAX_NEED: usize = 4 << 20;

/// Feeds a machine.
pub(crate) struct Driver<M> {
    pub(crate) machine: M,
    buffer: Vec<u8>,
    from: usize,
    need: usize,
    at: u64,
    fed: u64,
    idle: u32,
    stopped: bool,
}

impl<M: Machine> Driver<M> {
    pub(crate) fn new(machine: M) -> Self {
        Self { machine, buffer: Vec::new(), from: 0, need: 1, at: 0, fed: 0, idle: 0, stopped: false }
    }

    pub(crate) fn push(&mut self, mut chunk: &[u8]) {
        self.fed += chunk.len() as u64;
        while !self.stopped && self.buffer.len() > self.from {
            let held = self.buffer.len() - self.from;
            if held < self.need {
                let more = (self.need - held).min(chunk.len());
                self.compact();
                self.buffer.extend_from_slice(&chunk[..more]);
                chunk = &chunk[more..];
                if held + more < self.need {
                    return;
                }
            }
            let step = self.machine.step(&self.buffer[self.from..], self.at);
            match step {
                Step::Need(need) => self.wants(need, self.buffer.len() - self.from),
                Step::Take(taken) => {
                    self.from += self.takes(taken, self.buffer.len() - self.from);
                    self.need = 1;
                }
                Step::Stop => self.stopped = true,
            }
        }
        self.buffer.clear();
        self.from = 0;
        while !self.stopped && !chunk.is_empty() {
            match self.machine.step(chunk, self.at) {
                Step::Need(need) => {
                    self.wants(need, chunk.len());
                    self.buffer.extend_from_slice(chunk);
                    return;
                }
                Step::Take(taken) => chunk = &chunk[self.takes(taken, chunk.len())..],
                Step::Stop => self.stopped = true,
            }
        }
    }

    fn wants(&mut self, need: usize, held: usize) {
        // A machine that asks for what it has, or for too much, would never come to an end.
        if need <= held || need > MAX_NEED {
            self.stopped = true;
        }
        self.need = need;
    }

    fn takes(&mut self, taken: usize, held: usize) -> usize {
        self.idle = if taken == 0 { self.idle + 1 } else { 0 };
        if self.idle > 1024 {
            self.stopped = true;
        }
        let taken = taken.min(held);
        self.at += taken as u64;
        taken
    }

    fn compact(&mut self) {
        if self.from > 0 {
            self.buffer.drain(..self.from);
            self.from = 0;
        }
    }

    pub(crate) fn finish(&mut self, nul: &NulWatch, report: &mut Report) {
        let end = End { len: self.fed, nul };
        // A machine that asked for more than it needed, to look less often, can go on with what there is.
        while !self.stopped && self.buffer.len() > self.from {
            match self.machine.step(&self.buffer[self.from..], self.at) {
                Step::Take(taken) => self.from += self.takes(taken, self.buffer.len() - self.from),
                Step::Need(_) => break,
                Step::Stop => self.stopped = true,
            }
        }
        let rest = if self.stopped { &[][..] } else { &self.buffer[self.from..] };
        self.machine.finish(rest, self.at, &end, report);
        // Whatever else is wrong, a content that is shorter than it says of itself is partial.
        let floor = self.machine.floor();
        if floor > self.fed && report.verdict < Verdict::Partial {
            report.partial(Evidence::Short { part: Part::Content, expected: floor, actual: self.fed });
        }
    }
}
