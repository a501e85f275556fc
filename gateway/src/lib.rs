//! HTTP and EHR ingress of leadline.

pub mod http;
pub mod intake;
