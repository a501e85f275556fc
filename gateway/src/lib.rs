//! HTTP and EHR ingress of leadline.

pub mod dicom;
pub mod durable;
pub mod fhir;
pub mod hl7;
pub mod http;
pub mod intake;
pub mod intake_fake;
pub mod issuer;
pub mod mllp;
pub mod outcomes;
mod pace;
pub mod pointers;
mod seats;
pub mod senders;
pub mod tls;

#[cfg(test)]
mod double;
#[cfg(test)]
mod double_tls;
