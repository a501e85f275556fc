//! Alarms out of activities and gateways: published once for what a run found, and never lost without a word.

use crate::metrics::METRICS;
use crate::ports::alarms::Alarms;
use crate::registry::Registry;
use chrono::{DateTime, SecondsFormat, Utc};
use leadline_domain::{Alarm, Fault, OrgId};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use temporalio_sdk::activities::ActivityContext;

/// Alarms that are remembered as published.
const REMEMBERED: usize = 1_000;

/// The environment's alarms, as activities raise them.
pub struct Alarming {
    registry: Arc<Registry>,
    topic: Arc<dyn Alarms>,
    raised: Mutex<VecDeque<Alarm>>,
}

/// Which run of which workflow found something; or that a gateway did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finder {
    /// Id of the workflow; empty for a gateway.
    pub workflow: String,
    /// Id of its run; for a gateway, when.
    pub run: String,
}

impl Finder {
    /// A gateway, now.
    #[must_use]
    pub fn gateway() -> Self {
        let now: DateTime<Utc> = SystemTime::now().into();
        Self { workflow: String::new(), run: now.to_rfc3339_opts(SecondsFormat::Millis, true) }
    }

    /// Whoever asked for this activity.
    pub(crate) fn of(ctx: &ActivityContext) -> Self {
        let info = ctx.info();
        Self {
            workflow: info.workflow_id.clone().unwrap_or_default(),
            run: info.workflow_run_id.clone().unwrap_or_default(),
        }
    }
}

impl Alarming {
    /// Publishes there. Nothing is published yet.
    #[must_use]
    pub fn new(registry: Arc<Registry>, topic: Arc<dyn Alarms>) -> Self {
        Self { registry, topic, raised: Mutex::default() }
    }

    /// Tells people of what a run found. The same finding of the same run is told once, however often a step of it is
    /// repeated on this worker; a worker that was cut off after publishing tells it again. The next run tells it anew.
    ///
    /// What no repeat mends (the topic is gone, or may not be published to) is counted and logged, and is no failure:
    /// what was found must be told by the check itself at least.
    ///
    /// # Errors
    /// What passes by itself: `alarm.unreachable`, `credential.unreachable`. The step has to be repeated then.
    pub async fn raise(&self, finder: &Finder, org: Option<&OrgId>, fault: Fault) -> Result<(), Fault> {
        let code = fault.code;
        let alarm = Alarm {
            env: self.registry.env().env().clone(),
            org: org.cloned(),
            fault,
            workflow: finder.workflow.clone(),
            run: finder.run.clone(),
        };
        if self.lock().contains(&alarm) {
            return Ok(());
        }
        match self.topic.raise(&alarm).await {
            Ok(()) => {
                tracing::info!(%code, workflow = alarm.workflow, "alarm raised");
                METRICS.alarm(code, "raised");
                let mut raised = self.lock();
                raised.push_back(alarm);
                if raised.len() > REMEMBERED {
                    raised.pop_front();
                }
                Ok(())
            }
            Err(f) if f.class().passes() => Err(f),
            Err(f) => {
                tracing::error!(fault = %f, alarm = %alarm.fault, "nobody was told: the alarm could not be raised");
                METRICS.fault(f.code);
                METRICS.alarm(code, "not_raised");
                Ok(())
            }
        }
    }

    /// Gives what a check ended with, and tells people first where it could not run: what it would have found, nobody knows.
    /// What passes by itself is told to nobody, for the step is repeated until it has passed.
    ///
    /// # Errors
    /// That of the check; as [`Alarming::raise`].
    pub async fn ran<T>(&self, finder: &Finder, org: Option<&OrgId>, ended: Result<T, Fault>) -> Result<T, Fault> {
        if let Err(f) = &ended
            && !f.class().passes()
        {
            self.raise(finder, org, f.clone()).await?;
        }
        ended
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Alarm>> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::aws_fake::{FakeAlarms, Planned};
    use crate::registry::Snapshot;
    use leadline_domain::{EnvFacts, EnvId, FaultCode};
    use std::collections::BTreeMap;

    fn rig() -> (Arc<FakeAlarms>, Alarming) {
        let facts = EnvFacts {
            env: EnvId::parse("test").unwrap(),
            account: "111111111111".into(),
            region: "us-east-1".into(),
            jurisdictions: ["us".to_owned()].into(),
        };
        let snapshot = Snapshot { facts, gates: None, retention_days: 1, orgs: BTreeMap::new(), outcomes: None };
        let topic = Arc::new(FakeAlarms::default());
        (topic.clone(), Alarming::new(Arc::new(Registry::fixed(snapshot)), topic))
    }

    fn finder(run: &str) -> Finder {
        Finder { workflow: "drift/test".into(), run: run.into() }
    }

    fn found(detail: &str) -> Fault {
        Fault::new(FaultCode::DriftFound, detail)
    }

    #[tokio::test]
    async fn a_run_tells_a_finding_once_and_the_next_run_again() {
        let (topic, alarms) = rig();
        for (run, what) in [("1", "a"), ("1", "a"), ("1", "b"), ("1", "a"), ("2", "a")] {
            alarms.raise(&finder(run), None, found(what)).await.unwrap();
        }
        let told: Vec<(String, String)> = topic.raised().into_iter().map(|a| (a.run, a.fault.detail)).collect();
        let told: Vec<(&str, &str)> = told.iter().map(|(r, d)| (r.as_str(), d.as_str())).collect();
        assert_eq!(told, [("1", "a"), ("1", "b"), ("2", "a")]);
    }

    #[tokio::test]
    async fn a_check_that_could_not_run_is_told_unless_it_is_repeated() {
        let (topic, alarms) = rig();
        let ran = async |code: FaultCode| alarms.ran(&finder("1"), None, Err::<(), _>(Fault::new(code, "why"))).await;
        for code in FaultCode::ALL {
            assert_eq!(ran(*code).await, Err(Fault::new(*code, "why")));
            let told = topic.raised().last().is_some_and(|a| a.fault.code == *code);
            assert_eq!(told, !code.class().passes(), "{code}");
        }
        assert_eq!(alarms.ran(&finder("1"), None, Ok(7)).await, Ok(7));
        // Nobody could be told: the step comes again, with the alarm's fault.
        topic.faults.fail("raise", 1, &Fault::new(FaultCode::AlarmUnreachable, "as planned"));
        let again = alarms.ran(&finder("2"), None, Err::<(), _>(Fault::new(FaultCode::StackMissing, "why"))).await;
        assert_eq!(again.unwrap_err().code, FaultCode::AlarmUnreachable);
    }

    #[tokio::test]
    async fn what_passes_is_a_failure_of_the_step_and_what_does_not_is_none() {
        let (topic, alarms) = rig();
        let down = Fault::new(FaultCode::AlarmUnreachable, "as planned");
        topic.faults.fail("raise", 1, &down);
        assert_eq!(alarms.raise(&finder("1"), None, found("a")).await, Err(down.clone()));
        assert!(topic.raised().is_empty());
        alarms.raise(&finder("1"), None, found("a")).await.unwrap();
        assert_eq!(topic.raised().len(), 1, "the repeat tells it");
        // The answer was lost: nobody knows here that it was told.
        topic.faults.plan("raise", Planned::FailAfter(down));
        assert!(alarms.raise(&finder("2"), None, found("a")).await.is_err());
        alarms.raise(&finder("2"), None, found("a")).await.unwrap();
        assert_eq!(topic.raised().len(), 3, "twice rather than never");
        for code in [FaultCode::AlarmTopicMissing, FaultCode::AlarmAccessDenied] {
            topic.faults.fail("raise", 1, &Fault::new(code, "as planned"));
            alarms.raise(&finder("3"), None, found("a")).await.unwrap();
            assert_eq!(topic.raised().len(), 3);
        }
        alarms.raise(&finder("3"), None, found("a")).await.unwrap();
        assert_eq!(topic.raised().len(), 4, "what was not told is told as soon as it can be");
    }
}
