//! Alarms out of a check, on a real Temporal server: told once for a run, twice rather than never, and no failure of the
//! check where nobody can be told.

use leadline_activities::adapters::aws_fake::Planned;
use leadline_domain::{ArchiveRule, Digest, Fault, FaultCode};
use leadline_tests::harness::temporal::Temporal;
use leadline_tests::rig::Rig;
use leadline_workflows::checks::DriftInput;
use leadline_workflows::{DriftCheck, IsolationProbe, OutcomeCheck};
use temporalio_client::errors::WorkflowGetResultError;
use temporalio_client::{Client, WorkflowGetResultOptions, WorkflowHandle, WorkflowQueryOptions, WorkflowStartOptions};
use temporalio_common::HasWorkflowDefinition;
use temporalio_common::error::IncomingError;

/// Waits for the end of a check; the code of the fault that it ended with.
async fn code<W: HasWorkflowDefinition>(handle: &WorkflowHandle<Client, W>) -> Option<String> {
    match handle.get_result(WorkflowGetResultOptions::default()).await {
        Ok(_) => None,
        Err(WorkflowGetResultError::Failed(cause)) => match &*cause {
            IncomingError::Application(a) => a.type_name().map(str::to_owned),
            other => panic!("{other:?}"),
        },
        Err(e) => panic!("{e:?}"),
    }
}

/// Code of the fault that one look for missing reports ends with, and how many it found missing.
async fn looked(rig: &Rig, id: &str) -> (Option<String>, u64) {
    let (client, org) = (rig.engine.client(), rig.lanes["clinic"].org.clone());
    let options = WorkflowStartOptions::new(&rig.queue, id).build();
    client.start_workflow(OutcomeCheck::run, org, options).await.expect("started");
    let handle: WorkflowHandle<_, OutcomeCheck> = client.get_workflow_handle(id);
    let code = code(&handle).await;
    let report = handle.query(OutcomeCheck::report, (), WorkflowQueryOptions::default()).await.expect("told");
    (code, report.map_or(0, |r| r.missing))
}

#[tokio::test(flavor = "multi_thread")]
async fn overdue_reports_are_told_by_each_look() {
    let dir = tempfile::tempdir().unwrap();
    let temporal = Temporal::start(dir.path());
    let rig = Rig::start(&temporal.address(), "alarms", &["clinic"], &ArchiveRule::Leave, 16 << 10).await;
    let org = rig.lanes["clinic"].org.clone();
    let overdue = || (Some(FaultCode::OutcomeOverdue.to_string()), 1);
    // Runs that told, in order.
    let told = || rig.alarms.raised().into_iter().map(|a| (a.workflow, a.fault.code)).collect::<Vec<_>>();

    assert_eq!(looked(&rig, "nothing").await, (None, 0));
    assert_eq!(told(), []);

    let scope = rig.deps.registry.scope(&org).expect("configured");
    let stored = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_millis();
    let two_hours_ago = i64::try_from(stored).expect("a time") - 2 * 3_600_000;
    rig.reports.of(&scope).recording(Digest::of(b"an ecg"), two_hours_ago);
    assert_eq!(looked(&rig, "first").await, overdue());
    let one = |id: &str| (id.to_owned(), FaultCode::OutcomeOverdue);
    assert_eq!(told(), [one("first")]);
    let alarm = rig.alarms.raised().remove(0);
    assert_eq!((alarm.org, alarm.fault.detail.contains("1 of 1 recordings")), (Some(org), true));
    assert!(!alarm.run.is_empty());

    // The topic does not answer: the look is repeated until people know.
    let down = Fault::new(FaultCode::AlarmUnreachable, "planned");
    rig.alarms.faults.fail("raise", 2, &down);
    assert_eq!(looked(&rig, "second").await, overdue());
    assert_eq!(told(), [one("first"), one("second")]);
    // It answered, and the answer was lost.
    rig.alarms.faults.plan("raise", Planned::FailAfter(down));
    assert_eq!(looked(&rig, "third").await, overdue());
    assert_eq!(told()[2..], [one("third"), one("third")]);
    // It is gone: the look still says what it found.
    rig.alarms.faults.fail("raise", 1, &Fault::new(FaultCode::AlarmTopicMissing, "planned"));
    assert_eq!(looked(&rig, "fourth").await, overdue());
    assert_eq!((told().len(), rig.alarms.faults.left()), (4, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_cannot_run_is_told_and_one_that_is_repeated_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let temporal = Temporal::start(dir.path());
    let rig = Rig::start(&temporal.address(), "hindered", &["clinic"], &ArchiveRule::Leave, 16 << 10).await;
    let (client, org) = (rig.engine.client(), rig.lanes["clinic"].org.clone());
    let options = |id: &str| WorkflowStartOptions::new(&rig.queue, id).build();
    let away = Fault::new(FaultCode::StackUnreachable, "planned");
    let mut expected = Vec::new();

    // Looking for drift, of an organization and of the environment: the stack is gone, or may not be looked at any more.
    let of = [(Some(org.clone()), FaultCode::StackMissing), (None, FaultCode::StackAccessDenied)];
    for (n, (org, why)) in of.into_iter().enumerate() {
        rig.hinder([away.clone(), Fault::new(why, "planned")]);
        let id = format!("drift-{n}");
        client.start_workflow(DriftCheck::run, DriftInput { org: org.clone() }, options(&id)).await.expect("started");
        assert_eq!(code::<DriftCheck>(&client.get_workflow_handle(&id)).await, Some(why.to_string()));
        expected.push((id, org, why));
    }
    // Probing: what is not known to be closed may be open.
    rig.hinder([away, Fault::new(FaultCode::StackAccessDenied, "planned")]);
    client.start_workflow(IsolationProbe::run, org.clone(), options("probe")).await.expect("started");
    let ended = code::<IsolationProbe>(&client.get_workflow_handle("probe")).await;
    assert_eq!(ended, Some(FaultCode::StackAccessDenied.to_string()));
    expected.push(("probe".to_owned(), Some(org), FaultCode::StackAccessDenied));

    let told: Vec<_> = rig.alarms.raised().into_iter().map(|a| (a.workflow, a.org, a.fault.code)).collect();
    assert_eq!(told, expected, "what passed by itself is told to nobody");
}
