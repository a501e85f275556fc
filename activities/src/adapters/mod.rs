//! The real parts behind the ports, one folder each.

pub mod aws;
pub mod shares;
pub mod smb;
