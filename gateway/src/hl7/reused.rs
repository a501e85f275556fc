//! Operators are told of a control id that was used twice: once for each sender and hour, by each gateway. A sender whose
//! counter was reset uses thousands of them again.

use async_trait::async_trait;
use leadline_activities::alarms::Finder;
use leadline_activities::deps::Deps;
use leadline_activities::metrics::METRICS;
use leadline_domain::staged::{Ingress, StagedName};
use leadline_domain::{Fault, FaultCode, OrgId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A sender is told of once in this time.
const WINDOW: Duration = Duration::from_secs(3_600);
/// Senders that are remembered.
const REMEMBERED: usize = 1_000;

/// People who want to know at once.
#[async_trait]
pub trait Operators: Send + Sync {
    /// Tells them of something that was found in what an organization sent.
    ///
    /// # Errors
    /// What passes by itself: they were not told.
    async fn tell(&self, org: &OrgId, fault: Fault) -> Result<(), Fault>;
}

#[async_trait]
impl Operators for Deps {
    async fn tell(&self, org: &OrgId, fault: Fault) -> Result<(), Fault> {
        self.alarms.raise(&Finder::gateway(), Some(org), fault).await
    }
}

/// Whom operators were told of, and when.
#[derive(Default)]
struct Told(BTreeMap<StagedName, Instant>);

impl Told {
    /// Whether a sender is to be told of now; it is taken as told of then.
    fn due(&mut self, sender: &StagedName, now: Instant) -> bool {
        let fresh = |at: &Instant| now.saturating_duration_since(*at) < WINDOW;
        if self.0.get(sender).is_some_and(fresh) {
            return false;
        }
        self.0.retain(|_, at| fresh(at));
        if self.0.len() >= REMEMBERED
            && let Some(oldest) = self.0.iter().min_by_key(|(_, at)| **at).map(|(s, _)| s.clone())
        {
            self.0.remove(&oldest);
        }
        self.0.insert(sender.clone(), now);
        true
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Reused {
    operators: Option<Arc<dyn Operators>>,
    told: Arc<Mutex<Told>>,
}

impl Reused {
    pub(super) fn told_to(operators: Arc<dyn Operators>) -> Self {
        Self { operators: Some(operators), told: Arc::default() }
    }

    /// A message of this sender has the control id of another one, which is kept as `first`. The sender's answer does not
    /// wait for the operators.
    pub(super) fn found(&self, org: &OrgId, sender: StagedName, first: &StagedName) {
        let Some(operators) = self.operators.clone() else { return };
        if !self.told.lock().unwrap_or_else(PoisonError::into_inner).due(&sender, Instant::now()) {
            return;
        }
        let detail = format!(
            "the control id of received/{}/{first} came again with another message, which was not taken; of this sender \
             nothing more is told for an hour",
            Ingress::Hl7v2
        );
        let (org, told) = (org.clone(), Arc::clone(&self.told));
        tokio::spawn(async move {
            if let Err(fault) = operators.tell(&org, Fault::new(FaultCode::Hl7ControlIdReused, detail)).await {
                // The next one tells it.
                told.lock().unwrap_or_else(PoisonError::into_inner).0.remove(&sender);
                METRICS.fault(fault.code);
                tracing::error!(%fault, %org, "operators were not told of a control id that was used twice");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(n: usize) -> StagedName {
        StagedName::derived(Ingress::Hl7v2, &[&n.to_string()])
    }

    #[test]
    fn a_sender_is_told_of_once_an_hour() {
        let (mut told, at) = (Told::default(), Instant::now());
        assert!(told.due(&sender(1), at) && told.due(&sender(2), at));
        assert!(!told.due(&sender(1), at) && !told.due(&sender(1), at + WINDOW - Duration::from_secs(1)));
        assert!(told.due(&sender(1), at + WINDOW) && !told.due(&sender(1), at + WINDOW));
        assert_eq!(told.0.len(), 1, "what is over is not remembered");
    }

    #[test]
    fn no_number_of_senders_takes_more_memory() {
        let (mut told, at) = (Told::default(), Instant::now());
        for n in 0..2 * REMEMBERED {
            assert!(told.due(&sender(n), at + Duration::from_millis(n as u64)));
        }
        assert_eq!(told.0.len(), REMEMBERED);
        assert!(!told.due(&sender(2 * REMEMBERED - 1), at + Duration::from_secs(10)), "the latest are");
    }
}
