//! Says what an ECG file is, whether it is structurally complete, and which recording it is.

pub mod synth;
