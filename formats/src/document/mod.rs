//! Formats around a recording: PDF, HDF5 and MAT-files, video, FHIR, HL7 v2, and content that is not known.

mod attachment;
pub(crate) mod hdf5;
pub(crate) mod hl7;
pub(crate) mod hl7_marks;
pub(crate) mod json;
pub(crate) mod mat4;
pub(crate) mod mat5;
pub(crate) mod mp4;
mod mp4_tables;
pub(crate) mod pdf;
pub(crate) mod pdf_scan;
pub(crate) mod unknown;
