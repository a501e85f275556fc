//! Says what an ECG file is, whether it is structurally complete, and which recording it is.
//!
//! Three questions, answered from bytes alone, without a clock, a network or a panic:
//!
//! * [`inspect`], [`inspect_bytes`] and the streaming [`Inspector`] give an [`Inspection`]: a [`Format`], a
//!   [`Verdict`], the [`Evidence`] for it and an [`Identity`].
//! * [`needs`] and [`quick_look`] say cheaply, from the ends of a content, that it is certainly partial.
//! * [`sets`] groups files that belong together and judges the group; [`relate`] compares identities.
//!
//! Memory is bounded (16 MiB and usually far less) and time is linear in the length for any input. Evidence and
//! identities never carry text of the content: file names, patients and devices stay where they are.
//!
//! ```
//! use leadline_formats::{Format, Verdict, inspect_bytes};
//!
//! let report = inspect_bytes(b"<?xml version=\"1.0\"?><RestingECG><Waveform>");
//! assert_eq!(report.format, Format::MuseXml);
//! assert_eq!(report.verdict, Verdict::Partial);
//! assert_eq!(report.evidence[0].sentence(), "The root element is not closed (2 open at the end).");
//! ```

mod container;
mod dicom;
mod document;
mod engine;
mod evidence;
mod format;
mod identity;
mod inspector;
mod quick;
mod signal;
mod sniff;
mod trace;
mod verdict;
mod xml;

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
pub mod sets;
pub mod synth;
pub mod wfdb;

pub use evidence::{Evidence, Part};
pub use format::Format;
pub use identity::{Identity, Relation, relate};
pub use inspector::{Inspector, inspect, inspect_bytes};
pub use quick::{LOOK, Needs, needs, quick_look};
pub use verdict::{Inspection, Verdict};
