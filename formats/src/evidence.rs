//! The facts behind a verdict.
//!
//! A fact holds numbers, offsets and words from the fixed list [`Part`], never text from the content: evidence goes
//! to logs and ledgers, where no patient data may appear.

use serde::{Deserialize, Serialize};

use crate::{Format, Verdict};

macro_rules! parts {
    ($($name:ident = $words:literal,)*) => {
        /// A piece of a file that evidence can name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[allow(missing_docs)] // the words beside each name are its documentation
        pub enum Part { $($name,)* }

        impl Part {
            /// The piece in words.
            #[must_use]
            pub fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)* }
            }
        }
    };
}

parts! {
    Content = "the content",
    Header = "the header",
    Element = "a data element",
    ElementHeader = "the header of a data element",
    Sequence = "a sequence",
    WaveformSequence = "the Waveform Sequence (5400,0100)",
    WaveformData = "the waveform data",
    PixelData = "the Pixel Data (7FE0,0010)",
    EncapsulatedDocument = "the Encapsulated Document (0042,0011)",
    DocumentType = "the MIME Type of Encapsulated Document (0042,0012)",
    DeflatedData = "the deflated data",
    RootElement = "the root element",
    XmlElement = "an XML element",
    XmlMarkup = "a piece of XML markup",
    CharacterReference = "a character reference",
    LeadData = "the data of a lead",
    Lead = "a lead",
    Record = "the record",
    DataRecords = "the data records",
    AnnotationRecord = "an annotation list",
    Section = "a section",
    SectionPointer = "a section pointer",
    SignalLines = "the signal lines",
    LastLine = "the last line",
    SampleCount = "the sample count",
    SignalFile = "a signal file",
    Signal = "a signal",
    Segment = "a segment",
    Member = "a member",
    Companion = "a companion file",
    Annotations = "the annotations",
    EndTag = "the end tag",
    EofMarker = "the %%EOF marker",
    CrossReference = "the cross-reference section",
    Revision = "a revision",
    Linearization = "the linearized document",
    CentralDirectory = "the central directory",
    DirectoryEnd = "the end of central directory record",
    LocalHeader = "a local file header",
    CompressedData = "compressed data",
    GzipTrailer = "the trailer of a gzip member",
    TarEnd = "the end blocks of a tar archive",
    TarHeader = "a tar header",
    MovieBox = "the movie box (moov)",
    MediaDataBox = "the media data box (mdat)",
    Box = "a box",
    ChunkOffsets = "the chunk offsets",
    FragmentIndex = "the fragment index (mfra)",
    Matrix = "a matrix",
    Superblock = "the superblock",
    Value = "a value",
    Attachment = "an attachment",
    Frame = "the MLLP frame",
    BatchTrailer = "the batch trailer",
    FileTrailer = "the file trailer",
    MessageSegment = "a message segment",
}

/// One fact about a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Evidence {
    /// The structure needs more bytes than there are.
    Short {
        /// What says so.
        part: Part,
        /// Bytes that the content must at least have.
        expected: u64,
        /// Bytes that it has.
        actual: u64,
    },
    /// Fewer bytes arrived than the source announced.
    Undelivered {
        /// Bytes announced.
        expected: u64,
        /// Bytes that arrived.
        actual: u64,
    },
    /// A piece holds less than its own description says.
    ShortPart {
        /// The piece.
        part: Part,
        /// What the description says, in bytes or items.
        expected: u64,
        /// What is there.
        actual: u64,
    },
    /// A checksum differs.
    FailedChecksum {
        /// What it covers.
        part: Part,
        /// Where that starts.
        offset: u64,
    },
    /// A piece that must be there is not.
    Missing {
        /// The piece.
        part: Part,
    },
    /// A piece was opened and not closed.
    Unclosed {
        /// The piece.
        part: Part,
        /// How many levels are open.
        depth: u32,
    },
    /// Two statements of the structure exclude each other, or a value is outside its range.
    Contradiction {
        /// Where.
        part: Part,
        /// At which offset.
        offset: u64,
    },
    /// A piece cannot be decoded.
    Undecodable {
        /// The piece.
        part: Part,
        /// At which offset.
        offset: u64,
    },
    /// The content ends in zero bytes.
    NulTail {
        /// The first of them.
        from: u64,
        /// How many.
        length: u64,
    },
    /// An aligned block of 4096 bytes holds zero bytes only, as an unwritten block of a sparse file does.
    NulBlock {
        /// The first such block.
        offset: u64,
    },
    /// A zero byte where the format does not allow one.
    NulByte {
        /// The first of them.
        offset: u64,
    },
    /// Bytes follow the end of the structure.
    TrailingBytes {
        /// The first of them.
        from: u64,
        /// How many.
        length: u64,
    },
    /// The header says that the file is still being written.
    InProgress {
        /// What says so.
        part: Part,
    },
    /// The format has no end mark, so a cut between two pieces leaves no trace.
    NoEndMark,
    /// The content holds no samples.
    NoWaveform,
    /// The pieces are not in the order that the format asks for.
    OutOfOrder {
        /// The first that is not.
        offset: u64,
    },
    /// A check was left out: the piece is larger or of another kind than can be checked.
    NotChecked {
        /// The piece.
        part: Part,
    },
    /// What a container holds is not complete itself.
    Inner {
        /// What it is.
        format: Format,
        /// What was found.
        verdict: Verdict,
    },
    /// There are no bytes.
    Empty,
}

impl Evidence {
    /// The fact as an operator reads it.
    #[must_use]
    pub fn sentence(&self) -> String {
        match *self {
            Self::Short { part, expected, actual } => {
                format!("{} needs at least {expected} bytes, there are {actual}.", capital(part.words()))
            }
            Self::Undelivered { expected, actual } => {
                format!("The source announced {expected} bytes, {actual} arrived.")
            }
            Self::ShortPart { part, expected, actual } => {
                format!("{} should hold {expected}, it holds {actual}.", capital(part.words()))
            }
            Self::FailedChecksum { part, offset } => {
                format!("The checksum of {} at byte {offset} does not match.", part.words())
            }
            Self::Missing { part } => format!("{} is missing.", capital(part.words())),
            Self::Unclosed { part, depth } => {
                format!("{} is not closed ({depth} open at the end).", capital(part.words()))
            }
            Self::Contradiction { part, offset } => {
                format!("{} contradicts the rest of the structure at byte {offset}.", capital(part.words()))
            }
            Self::Undecodable { part, offset } => {
                format!("{} cannot be decoded at byte {offset}.", capital(part.words()))
            }
            Self::NulTail { from, length } => {
                format!("The last {length} bytes, from byte {from} on, are all zero.")
            }
            Self::NulBlock { offset } => format!("The block of 4096 bytes at byte {offset} is all zero."),
            Self::NulByte { offset } => format!("A zero byte at byte {offset} is not allowed in this format."),
            Self::TrailingBytes { from, length } => {
                format!("{length} bytes follow the end of the structure at byte {from}.")
            }
            Self::InProgress { part } => {
                format!("{} says that the file is still being written.", capital(part.words()))
            }
            Self::NoEndMark => "The format has no end mark, so a cut can leave no trace.".into(),
            Self::NoWaveform => "The file holds no samples.".into(),
            Self::OutOfOrder { offset } => format!("The pieces are out of order from byte {offset} on."),
            Self::NotChecked { part } => format!("{} was not checked.", capital(part.words())),
            Self::Inner { format, verdict } => {
                format!("It contains a {} that is {}.", format.label(), verdict.as_str())
            }
            Self::Empty => "The file is empty.".into(),
        }
    }
}

fn capital(words: &str) -> String {
    let mut text = words.to_owned();
    if let Some(first) = text.get_mut(0..1) {
        first.make_ascii_uppercase();
    }
    text
}
