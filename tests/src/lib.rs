//! End-to-end, contract and replay tests of leadline against real parts, and the harness that starts them.

pub mod bench;
pub mod contract;
pub mod demo;
pub mod device;
pub mod fleet;
pub mod harness;
pub mod histories;
pub mod onboard_faults;
pub mod onboard_rig;
pub mod played;
pub mod rig;
pub mod scale;
pub mod set_rig;
pub mod spent;
pub mod upload_rig;
pub mod ways_in;
