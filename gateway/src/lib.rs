//! HTTP and EHR ingress of leadline.
