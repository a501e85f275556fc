//! Starts the real parts that tests and the demo run against, on free loopback ports, and stops them by pid.

pub mod alarm_queue;
pub mod aws;
pub mod past_us;
pub mod samba;
pub mod stack;
pub mod temporal;
pub mod tools;
