//! Starts the real parts that tests and the demo run against, on free loopback ports, and stops them by pid.

pub mod temporal;
pub mod tools;
