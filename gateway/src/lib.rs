//! HTTP and EHR ingress of leadline.

pub mod durable;
pub mod http;
pub mod intake;
pub mod intake_fake;
pub mod issuer;
