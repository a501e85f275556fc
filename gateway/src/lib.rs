//! HTTP and EHR ingress of leadline.

pub mod durable;
pub mod intake;
