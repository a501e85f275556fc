//! What each role promises, as cases that every part playing it is held to: fakes, local endpoints, the real thing.

pub mod again;
pub mod pieces;
pub mod queue;
pub mod share;
pub mod share_devices;
pub mod stacks;
pub mod store;
