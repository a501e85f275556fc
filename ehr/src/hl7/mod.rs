//! HL7 v2 messages that bring recordings: ORU^R01 and MDM^T02, T04, T06, T08, T10, in versions 2.3 to 2.8.2.

pub mod ack;
mod documents;
pub mod er7;
mod header;
mod pointer;

pub use documents::{Document, documents};
pub use header::{Header, Refused, Wish, accepts, encoded};
pub use pointer::Pointer;
