//! HTTP and EHR ingress of leadline.

pub mod dicom;
pub mod intake;
pub mod outcomes;
