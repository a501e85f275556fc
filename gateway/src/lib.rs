//! HTTP and EHR ingress of leadline.

pub mod dicom;
pub mod durable;
pub mod intake;
pub mod outcomes;
