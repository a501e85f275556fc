//! The demonstration: two clinics' devices at work, and what became of their files.

mod report;
mod scenario;
mod ways;

pub use report::{Row, State, Table};
pub use scenario::{Act, Scene, scenes};
pub use ways::{Sent, send_by_every_way};
