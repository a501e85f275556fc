//! Readers of what EHRs send: HL7 v2 messages, the MLLP frames around them, FHIR R4 resources.
//!
//! Pure: bytes in, decisions out, without a clock, a network or a panic. Everything is bounded by what the caller lets
//! in, and no error carries text of the content: names and numbers of patients stay where they are.

pub mod attachment;
pub mod fhir;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
pub mod hl7;
pub mod mllp;
