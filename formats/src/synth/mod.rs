//! Synthesizes 12-lead ECG recordings in the formats that carts and management systems export.
//!
//! Everything here is a pure function of a [`Spec`]: the same specification gives the same bytes on every machine
//! and in every build. No clock, no system randomness and no platform mathematics library is consulted
//! (trigonometry and exponentials come from the `libm` crate). The recordings show invented patients and are only
//! good for exercising software.
//!
//! One recording is one [`Waveform`] of whole microvolts, and every format carries it without loss, so that the
//! samples of two exports of one specification can be compared for equality.
//!
//! ```
//! use leadline_formats::synth::{Spec, SynthFormat};
//!
//! let spec = Spec::new(7);
//! let files = SynthFormat::Dicom.write(&spec)?;
//! assert_eq!(files.len(), 1);
//! assert_eq!(&files[0].bytes[128..132], b"DICM");
//! # Ok::<(), leadline_formats::synth::SynthError>(())
//! ```

mod checksum;
mod format;
mod model;
mod rng;
mod spec;
mod text;
mod waveform;

pub mod aecg;
pub mod csv;
pub mod dicom;
pub mod edf;
pub mod fhir;
pub mod hl7v2;
pub mod ishne;
pub mod muse;
pub mod pdf;
pub mod scp;
pub mod wfdb;

pub use format::{Member, SynthFormat, UnknownFormat};
pub use spec::{Patient, Sex, Spec, SynthError};
pub use waveform::{Intervals, Lead, Waveform};
