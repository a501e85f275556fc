//! HTTP and EHR ingress of leadline.

pub mod intake;
