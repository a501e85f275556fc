//! The demonstration: two clinics' devices at work, and what became of their files.

mod report;
mod scenario;

pub use report::{Row, State, Table};
pub use scenario::{Act, Scene, scenes};
