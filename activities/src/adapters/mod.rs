//! The real parts behind the ports, one folder each.

pub mod aws;
pub mod aws_fake;
pub mod outcomes_fake;
mod rotating;
pub mod shares;
pub mod smb;
pub mod smb_fake;
pub mod staged;
