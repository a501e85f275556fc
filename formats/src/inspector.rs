//! The streaming inspection, and the seeking one on top of it.

use std::io::{self, Read, Seek, SeekFrom};

use crate::engine::{Driver, End, Machine, NulWatch, Report, Step};
use crate::sniff::{self, Kind};
use crate::{Evidence, Format, Inspection};

/// Inspects a content that is pushed in order, in pieces of any size.
///
/// The verdict does not depend on where the pieces end, and equals that of [`inspect`].
///
/// ```
/// use leadline_formats::{Inspector, Verdict};
///
/// let mut inspector = Inspector::new(None);
/// inspector.push(b"\x0bMSH|^~\\&|ECG|");
/// assert_eq!(inspector.finish().verdict, Verdict::Partial);
/// ```
pub struct Inspector {
    announced: Option<u64>,
    stage: Stage,
    nul: NulWatch,
    fed: u64,
    depth: u8,
}

enum Stage {
    Sniffing(Vec<u8>),
    Running(Kind, Box<Driver<Box<dyn Machine + Send>>>),
}

impl Machine for Box<dyn Machine + Send> {
    fn step(&mut self, window: &[u8], at: u64) -> Step {
        (**self).step(window, at)
    }

    fn finish(&mut self, rest: &[u8], at: u64, end: &End<'_>, report: &mut Report) {
        (**self).finish(rest, at, end, report);
    }

    fn floor(&self) -> u64 {
        (**self).floor()
    }
}

impl Inspector {
    /// Starts. `announced` is the length the source gave, if it gave one: fewer bytes are then a partial content.
    #[must_use]
    pub fn new(announced: Option<u64>) -> Self {
        Self::nested(announced, 0)
    }

    /// An inspector for what a container holds; containers in containers are recognized and not opened.
    pub(crate) fn nested(announced: Option<u64>, depth: u8) -> Self {
        Self { announced, stage: Stage::Sniffing(Vec::new()), nul: NulWatch::new(), fed: 0, depth }
    }

    /// The next bytes.
    pub fn push(&mut self, chunk: &[u8]) {
        self.nul.push(chunk);
        self.fed += chunk.len() as u64;
        match &mut self.stage {
            Stage::Running(_, driver) => driver.push(chunk),
            Stage::Sniffing(head) if head.is_empty() && chunk.len() >= sniff::HEAD => {
                let mut next = start(&chunk[..sniff::HEAD], self.depth);
                next.1.push(chunk);
                self.stage = Stage::Running(next.0, next.1);
            }
            Stage::Sniffing(head) => {
                let (first, rest) = chunk.split_at(chunk.len().min(sniff::HEAD - head.len()));
                head.extend_from_slice(first);
                if head.len() == sniff::HEAD {
                    let head = std::mem::take(head);
                    let mut next = start(&head, self.depth);
                    next.1.push(&head);
                    next.1.push(rest);
                    self.stage = Stage::Running(next.0, next.1);
                }
            }
        }
    }

    /// A length that the content must at least have, as far as the bytes so far say.
    #[must_use]
    pub fn floor(&self) -> u64 {
        match &self.stage {
            Stage::Running(_, driver) => driver.machine.floor(),
            Stage::Sniffing(head) => {
                let mut next = start(head, self.depth);
                next.1.push(head);
                next.1.machine.floor()
            }
        }
    }

    /// The result: the content is over.
    #[must_use]
    pub fn finish(mut self) -> Inspection {
        let mut report = Report::new(Format::Unknown);
        if let Stage::Sniffing(head) = &mut self.stage {
            let head = std::mem::take(head);
            let mut next = start(&head, self.depth);
            next.1.push(&head);
            self.stage = Stage::Running(next.0, next.1);
        }
        if let Stage::Running(kind, driver) = &mut self.stage {
            report.format = kind.format;
            driver.finish(&self.nul, &mut report);
            if kind.nul_rule && !report.padding.is_some_and(|from| self.nul.only_behind(from)) {
                self.nul.judge(&mut report);
            }
        }
        if self.fed == 0 {
            report.suspect(Evidence::Empty);
        }
        match self.announced {
            Some(expected) if self.fed < expected => {
                report.partial(Evidence::Undelivered { expected, actual: self.fed });
            }
            _ => {}
        }
        report.into_inspection()
    }
}

fn start(head: &[u8], depth: u8) -> (Kind, Box<Driver<Box<dyn Machine + Send>>>) {
    let (kind, machine) = sniff::choose(head, depth);
    (kind, Box::new(Driver::new(machine)))
}

/// How much is read at a time: large enough for a network share, small enough to hold.
const BLOCK: usize = 256 << 10;

/// Inspects a content of `len` bytes from its start.
///
/// Memory is bounded whatever the length: the reader is streamed through an [`Inspector`].
///
/// # Errors
///
/// Only what the reader fails with. No content is an error.
pub fn inspect(reader: &mut (impl Read + Seek), len: u64) -> io::Result<Inspection> {
    reader.seek(SeekFrom::Start(0))?;
    let mut inspector = Inspector::new(Some(len));
    let mut block = vec![0u8; BLOCK.min(usize::try_from(len).unwrap_or(BLOCK)).max(1)];
    let mut left = len;
    while left > 0 {
        let want = block.len().min(usize::try_from(left).unwrap_or(block.len()));
        match reader.read(&mut block[..want]) {
            Ok(0) => break,
            Ok(read) => {
                inspector.push(&block[..read]);
                left -= read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(inspector.finish())
}

/// Inspects a content in memory.
#[must_use]
pub fn inspect_bytes(bytes: &[u8]) -> Inspection {
    let mut inspector = Inspector::new(None);
    inspector.push(bytes);
    inspector.finish()
}
