//! A topic of alarms in memory.

use super::{FaultPlan, lock};
use crate::ports::alarms::Alarms;
use async_trait::async_trait;
use leadline_domain::{Alarm, Fault};
use std::sync::Mutex;

/// See [`Alarms`].
#[derive(Default)]
pub struct FakeAlarms {
    raised: Mutex<Vec<Alarm>>,
    /// Faults to come.
    pub faults: FaultPlan,
}

impl FakeAlarms {
    /// What was published, in order.
    #[must_use]
    pub fn raised(&self) -> Vec<Alarm> {
        lock(&self.raised).clone()
    }
}

#[async_trait]
impl Alarms for FakeAlarms {
    async fn raise(&self, alarm: &Alarm) -> Result<(), Fault> {
        let after = self.faults.next("raise")?;
        lock(&self.raised).push(alarm.clone());
        after.map_or(Ok(()), Err)
    }
}
