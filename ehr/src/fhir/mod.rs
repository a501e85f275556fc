//! FHIR R4 (4.0.1) resources that bring recordings: Binary, DocumentReference, DiagnosticReport, and transactions of
//! them.

mod bundle;
mod capability;
mod json;
mod notification;
mod outcome;
mod request;
mod resource;

pub use bundle::{Answered, response, transaction};
pub use capability::capability_statement;
pub use json::{Json, Unread};
pub use notification::{Event, Kind, Notification, gap, named, notification};
pub use outcome::{Issue, Problem, operation_outcome};
pub use request::{Condition, Media, condition, media};
pub use resource::{Attached, Create, KINDS, Source, binary, is_binary, read};
