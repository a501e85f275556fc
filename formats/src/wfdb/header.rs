//! The text of a `.hea` file (header(5)).

use std::collections::HashMap;

/// Longest header that is read; a record of 1000 signals has less.
pub(crate) const LARGEST: usize = 1 << 20;
/// Signals or segments of one record; bounds the memory that a header takes.
const MOST: usize = 32_768;

/// A parsed header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The record name, without its directory.
    pub record: String,
    /// Segments of a multi-segment record.
    pub segments: Vec<Segment>,
    /// Signals of a record of one segment.
    pub signals: Vec<SignalSpec>,
    /// How many signals the record line announces.
    pub announced: usize,
    /// How many segments the record line announces; zero for a record of one segment.
    pub announced_segments: usize,
    /// Frames (samples a signal) in the record; `None` when the record line does not say, or says zero.
    pub frames: Option<u64>,
    /// Base time and date, as written.
    pub base: String,
    /// Whether the last line ends in a newline.
    pub closed: bool,
}

/// One line of a multi-segment header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The record name; `~` for a gap.
    pub record: String,
    /// Frames in the segment. Zero marks the layout segment of a variable-layout record.
    pub frames: u64,
}

/// One signal line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalSpec {
    /// The file that holds the samples; `~` for none.
    pub file: String,
    /// The storage format number.
    pub format: u32,
    /// Samples a frame.
    pub per_frame: u64,
    /// Bytes before the first sample.
    pub offset: u64,
    /// Value that the first sample of a difference format builds on.
    pub initial: i64,
    /// Sum of all samples modulo 65536, as the header states it.
    pub checksum: Option<u16>,
}

/// The samples of one file of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalFile {
    /// File name.
    pub name: String,
    /// Storage format number.
    pub format: u32,
    /// Samples a frame, of each signal in the file.
    pub per_frame: Vec<u64>,
    /// Stated sums, of each signal in the file.
    pub checksums: Vec<Option<u16>>,
    /// Values that the first samples of difference formats build on.
    pub initial: Vec<i64>,
    /// Bytes before the first sample.
    pub offset: u64,
    /// Bytes that the file needs; `None` for a compressed format or an unknown count.
    pub expected: Option<u64>,
}

/// Why a text is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// No record line.
    NoRecordLine,
    /// A line does not follow the grammar.
    Line,
    /// Larger than any real header.
    TooLarge,
}

impl std::fmt::Display for HeaderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoRecordLine => "no record line",
            Self::Line => "a line does not follow the grammar",
            Self::TooLarge => "larger than any real header",
        })
    }
}

impl std::error::Error for HeaderError {}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    ///
    /// When the text has no record line or a line does not follow the grammar. Missing lines are no error: compare
    /// [`Header::announced`] with what is there.
    pub fn parse(text: &[u8]) -> Result<Self, HeaderError> {
        if text.len() > LARGEST {
            return Err(HeaderError::TooLarge);
        }
        let closed = text.last().is_none_or(|byte| *byte == b'\n');
        let text = String::from_utf8_lossy(text);
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut header = record_line(lines.next().ok_or(HeaderError::NoRecordLine)?)?;
        header.closed = closed;
        if header.announced_segments > 0 {
            for line in lines.take(header.announced_segments) {
                let mut fields = line.split_ascii_whitespace();
                let record = fields.next().ok_or(HeaderError::Line)?.to_owned();
                let frames = fields.next().unwrap_or("").parse().map_err(|_| HeaderError::Line)?;
                header.segments.push(Segment { record, frames });
            }
        } else {
            for line in lines.take(header.announced) {
                header.signals.push(signal_line(line)?);
            }
        }
        Ok(header)
    }

    /// Whether every announced line is there.
    #[must_use]
    pub fn has_all_lines(&self) -> bool {
        if self.announced_segments > 0 {
            self.segments.len() == self.announced_segments
        } else {
            self.signals.len() == self.announced
        }
    }

    /// The signal files and what each needs (signal(5)). Signals without a file are left out.
    #[must_use]
    pub fn files(&self) -> Vec<SignalFile> {
        let mut files: Vec<SignalFile> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for signal in self.signals.iter().filter(|signal| signal.file != "~" && signal.format != 0) {
            let place = *places.entry(&signal.file).or_insert(files.len());
            match files.get_mut(place) {
                Some(file) => {
                    file.per_frame.push(signal.per_frame);
                    file.checksums.push(signal.checksum);
                    file.initial.push(signal.initial);
                }
                None => files.push(SignalFile {
                    name: signal.file.clone(),
                    format: signal.format,
                    per_frame: vec![signal.per_frame],
                    checksums: vec![signal.checksum],
                    initial: vec![signal.initial],
                    offset: signal.offset,
                    expected: None,
                }),
            }
        }
        for file in &mut files {
            let frame = file.per_frame.iter().try_fold(0u64, |sum, n| sum.checked_add(*n));
            file.expected = self
                .frames
                .zip(frame)
                .and_then(|(frames, frame)| frames.checked_mul(frame))
                .and_then(|samples| bytes_for(file.format, samples))
                .and_then(|bytes| bytes.checked_add(file.offset));
        }
        files
    }
}

/// Bytes that samples take in a storage format (signal(5)); `None` for a compressed or unknown format.
fn bytes_for(format: u32, samples: u64) -> Option<u64> {
    let (bytes, of) = match format {
        8 | 80 => (1, 1),
        16 | 61 | 160 => (2, 1),
        24 => (3, 1),
        32 => (4, 1),
        212 => (3, 2),
        310 | 311 => (4, 3),
        _ => return None,
    };
    // Two samples of format 310 take both words, whose upper bits the third one shares.
    let whole = if format == 310 && samples % 3 == 2 { samples.checked_add(1)? } else { samples };
    Some(whole.checked_mul(bytes)?.div_ceil(of))
}

fn record_line(line: &str) -> Result<Header, HeaderError> {
    let mut fields = line.split_ascii_whitespace();
    let name = fields.next().ok_or(HeaderError::NoRecordLine)?;
    let (record, segments) = match name.split_once('/') {
        Some((record, count)) => (record, count.parse().map_err(|_| HeaderError::Line)?),
        None => (name, 0),
    };
    let announced: usize = fields.next().and_then(|count| count.parse().ok()).ok_or(HeaderError::Line)?;
    if announced > MOST || segments > MOST || record.is_empty() {
        return Err(HeaderError::Line);
    }
    let frequency = fields.next();
    let frames = fields.next().map(|count| count.parse::<u64>().map_err(|_| HeaderError::Line)).transpose()?;
    if let Some(frequency) = frequency {
        let number = frequency.split(['/', '(']).next().unwrap_or("");
        number.parse::<f64>().map_err(|_| HeaderError::Line)?;
    }
    Ok(Header {
        record: record.to_owned(),
        segments: Vec::new(),
        signals: Vec::new(),
        announced,
        announced_segments: segments,
        frames: frames.filter(|count| *count > 0),
        base: fields.take(2).collect::<Vec<_>>().join(" "),
        closed: true,
    })
}

fn signal_line(line: &str) -> Result<SignalSpec, HeaderError> {
    let mut fields = line.split_ascii_whitespace();
    let file = fields.next().ok_or(HeaderError::Line)?.to_owned();
    // Format, then optionally xN (samples a frame), :N (skew), +N (byte offset).
    let storage = fields.next().ok_or(HeaderError::Line)?;
    let digits = |text: &str, mark: char| -> Result<Option<u64>, HeaderError> {
        let Some((_, after)) = text.split_once(mark) else { return Ok(None) };
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        after[..end].parse().map(Some).map_err(|_| HeaderError::Line)
    };
    let end = storage.find(|c: char| !c.is_ascii_digit()).unwrap_or(storage.len());
    let format = storage[..end].parse().map_err(|_| HeaderError::Line)?;
    // gain, resolution, zero, first value, checksum.
    let initial = fields.nth(3).and_then(|value| value.parse().ok()).unwrap_or(0);
    let checksum = fields.next().and_then(|sum| sum.parse::<i64>().ok()).map(|sum| sum.rem_euclid(65_536) as u16);
    Ok(SignalSpec {
        file,
        format,
        per_frame: digits(storage, 'x')?.unwrap_or(1).max(1),
        offset: digits(storage, '+')?.unwrap_or(0),
        initial,
        checksum,
    })
}
