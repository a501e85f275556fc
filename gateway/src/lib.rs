//! HTTP and EHR ingress of leadline.

pub mod dicom;
pub mod durable;
pub mod fhir;
pub mod hl7;
pub mod intake;
pub mod mllp;
pub mod pointers;

#[cfg(test)]
mod double;
pub mod outcomes;
