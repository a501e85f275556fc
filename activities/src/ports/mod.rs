//! The roles that the outside plays, as traits. Adapters implement them; activities only know the roles.

pub mod alarms;
pub mod checks;
pub mod content;
pub mod outcomes;
pub mod queue;
pub mod registration;
pub mod removal;
pub mod rotation;
pub mod senders;
pub mod share;
pub mod signing;
pub mod stacks;
pub mod staging;
pub mod store;
pub mod transfer;
pub mod uploads;
