//! Files that belong together: which they are, and whether the whole set has arrived.
//!
//! What belongs together is a convention of a site, so it is data: a share lists its [`SetRule`]s. [`group`] and
//! [`set_verdict`] are pure functions of names and of what is known about each file.

mod group;
mod judge;
mod place;
mod record;
mod rule;
mod wfdb;

pub use group::{Name, Role, Unit, UnitMember, group};
pub use judge::{MemberState, SetVerdict, set_verdict};
pub use place::{Needs, Place, needs, place};
pub use record::{Record, RecordPlace, RecordSignal};
pub use rule::SetRule;
pub use wfdb::{WfdbFiles, wfdb_members, wfdb_verdict};
