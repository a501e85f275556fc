//! Histories of everything that is not about a file: applying plans, leaving, checks, canaries, rotation, transfers. Each
//! takes a way that a released version may be on when the next one takes over.

use super::{LIMIT, keep_of};
use leadline_domain::drift::{Difference, DriftKind};
use leadline_domain::gates::{Applied, Approver, Canary, Evidence as Shown, Gates, Run, SignedEvidence};
use leadline_domain::isolation::{Action, Evidence, Outcome, Target};
use leadline_domain::outcome::{OutcomeRule, OverdueReport};
use leadline_domain::transfer::{Selection, Storage, Transfer, TransferReport};
use leadline_domain::{Digest, DriftReport, EnvId, FaultCode, OrgId, ShareId};
use leadline_tests::harness::temporal::Temporal;
use leadline_tests::harness::tools::eventually;
use leadline_tests::played::{QUEUE, Stage};
use leadline_workflows::checks::{DriftInput, ProbeScope};
use leadline_workflows::contracts::{ApplyInput, CanaryInput, CanaryShare, CanaryWay, Operator, Prepared, StackPlan};
use leadline_workflows::deletion::{Contents, DeletionPlan, Dismantled, Locked, deletion_gates};
use leadline_workflows::offboard::{ExportPart, HOLDING, Kept, OffboardInput, OffboardPlan, WatchEnd};
use leadline_workflows::onboard::ApplyStatus;
use leadline_workflows::rotate::RotateInput;
use leadline_workflows::transfer::TransferInput;
use leadline_workflows::{
    CanaryRun, CollectEvidence, DriftCheck, IsolationProbe, OffboardOrganization, OnboardOrganization, OutcomeCheck,
    RotateCredentials, TransferRecordings, UpdateEnvironment, UpdateOrganization,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};
use temporalio_client::{
    Client, WorkflowDescribeOptions, WorkflowExecuteUpdateOptions, WorkflowExecutionStatus, WorkflowGetResultOptions,
    WorkflowHandle, WorkflowQueryOptions, WorkflowSignalOptions, WorkflowStartOptions,
};

fn env() -> EnvId {
    EnvId::parse("test").expect("an id")
}

fn org() -> OrgId {
    OrgId::parse("st-mary").expect("an id")
}

fn share(name: &str) -> ShareId {
    ShareId::parse(name).expect("an id")
}

fn plan(org: Option<OrgId>, repairs: &[&str]) -> StackPlan {
    StackPlan {
        env: env(),
        org,
        stack: "leadline-test".into(),
        region: "us-east-1".into(),
        template: "{}".into(),
        tags: BTreeMap::new(),
        repairs: repairs.iter().map(|r| (*r).to_owned()).collect(),
        remakes: vec![],
        allows: vec![],
        deletes: None,
        digest: "d1".into(),
    }
}

fn asked(plan: StackPlan, evidence: Option<Shown>) -> ApplyInput {
    ApplyInput { plan, requested_by: "ann".into(), inputs: "i1".into(), evidence, signature: None }
}

fn gates(approvals: u32) -> Gates {
    Gates {
        from: EnvId::parse("stage").expect("an id"),
        canary_within_h: 24,
        probes_within_h: 24,
        replay_clean: true,
        approvals,
        four_eyes: true,
        evidence_key: None,
    }
}

/// What opens every gate but the people's.
fn shown() -> Shown {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let at_ms = i64::try_from(since.as_millis()).expect("this age");
    let run = || Run { at_ms, passed: true, source: "planned".into() };
    let (path, format) = ("smb/ward".to_owned(), "dicom".to_owned());
    Shown {
        env: EnvId::parse("stage").expect("an id"),
        inputs: "i1".into(),
        applied: Some(Applied { inputs: "i1".into(), run: run() }),
        probes: Some(run()),
        required: BTreeSet::from([(path.clone(), format.clone())]),
        untried: BTreeMap::new(),
        canaries: vec![Canary { path, format, run: run() }],
        replay: Some(run()),
    }
}

fn approver(name: &str, digest: &str) -> Approver {
    Approver { name: name.into(), digest: digest.into() }
}

fn others(n: usize) -> ProbeScope {
    let others = (0..n).map(|i| OrgId::parse(&format!("other-{i}")).expect("an id")).collect();
    ProbeScope { others, not_onboarded: vec![], leaving: vec![], not_enforced: vec![] }
}

fn tried(outcome: Outcome) -> Vec<Evidence> {
    let other = Target::Organization(OrgId::parse("other-0").expect("an id"));
    vec![Evidence::new(Action::Get, &other, "b", outcome, "403")]
}

fn prepared(stage: &Stage, changes: &[&str], gates: Option<Gates>) {
    let changes = changes.iter().map(|c| (*c).to_owned()).collect();
    stage.script.answers("prepare_stack", &Prepared { changes, gates });
    stage.script.answers("execute_stack", &BTreeMap::from([("Bucket", "b")]));
}

/// What an organization's apply asks for after its stack.
fn onboarded(stage: &Stage) {
    stage.script.answers("probe_organization", &["role reaches bucket"]);
    stage.script.answers("probe_scope", &others(21));
    stage.script.answers("probe_own", &Vec::<Evidence>::new());
    stage.script.answers("probe_others", &tried(Outcome::Denied));
    stage.script.answers("register_shares", &["watch/st-mary/ward"]);
    stage.script.answers("schedule_checks", &["drift/test/st-mary"]);
}

/// Starts a workflow, and gives its handle.
macro_rules! start {
    ($stage:expr, $workflow:ident, $id:expr, $input:expr) => {{
        let options = WorkflowStartOptions::new(QUEUE, $id).build();
        $stage.client.start_workflow($workflow::run, $input, options).await.expect("started");
        let handle: WorkflowHandle<Client, $workflow> = $stage.client.get_workflow_handle($id);
        handle
    }};
}

/// Waits until the status is one of these.
macro_rules! stands {
    ($handle:expr, $workflow:ident, $what:expr, $is:expr) => {
        eventually($what, LIMIT, || async {
            let s = $handle.query($workflow::status, (), WorkflowQueryOptions::default()).await.ok()?;
            #[allow(clippy::redundant_closure_call)] // the macro's argument
            ($is)(&s).then_some(s)
        })
        .await
    };
}

macro_rules! update {
    ($handle:expr, $update:expr, $input:expr) => {
        $handle.execute_update($update, $input, WorkflowExecuteUpdateOptions::default()).await
    };
}

/// Waits for the end, keeps the history, forgets the script. How it ended has to be what was meant.
macro_rules! kept {
    ($stage:expr, $handle:expr, $name:expr, $status:ident) => {{
        let _ = $handle.get_result(WorkflowGetResultOptions::default()).await;
        let d = $handle.describe(WorkflowDescribeOptions::default()).await.expect("described");
        assert_eq!(d.status(), WorkflowExecutionStatus::$status, "{}", $name);
        keep_of(&$stage.client, &$handle.info().workflow_id, $name).await;
        $stage.script.clear();
    }};
}

pub(crate) async fn record(temporal: &Temporal) {
    let stage = Stage::open(temporal).await;
    environments(&stage).await;
    organizations(&stage).await;
    refused(&stage).await;
    leaving(&stage).await;
    checks(&stage).await;
    secrets_and_copies(&stage).await;
}

/// Rolled back once and resumed; then settings put back after an approval.
async fn environments(stage: &Stage) {
    let waits = |s: &ApplyStatus| s.paused.is_some();
    stage.script.answers("prepare_stack", &Prepared { changes: vec!["Add X".into()], gates: None });
    stage.script.fails("execute_stack", FaultCode::StackFailed);
    stage.script.answers("execute_stack", &BTreeMap::from([("Queue", "q")]));
    stage.script.answers("schedule_checks", &["drift/test"]);
    let h = start!(stage, UpdateEnvironment, "environment", asked(plan(None, &[]), None));
    stands!(h, UpdateEnvironment, "it waits", waits);
    h.signal(UpdateEnvironment::resume, (), WorkflowSignalOptions::default()).await.expect("signalled");
    kept!(stage, h, "environment", Completed);

    prepared(stage, &[], Some(gates(1)));
    stage.script.answers("restore_settings", &["IngestQueue"]);
    stage.script.answers("schedule_checks", &["drift/test"]);
    let h = start!(stage, UpdateEnvironment, "repaired", asked(plan(None, &["IngestQueue"]), None));
    stands!(h, UpdateEnvironment, "it waits", |s: &ApplyStatus| !s.gates.is_empty());
    assert!(update!(h, UpdateEnvironment::approve, approver("ann", "d1")).is_err(), "whoever asked");
    update!(h, UpdateEnvironment::approve, approver("bob", "d1")).expect("approved");
    kept!(stage, h, "environment-repaired", Completed);
}

/// New, waiting for credentials and then for somebody to have seen a breach; and changed by a promotion, by two.
async fn organizations(stage: &Stage) {
    let resume = WorkflowSignalOptions::default;
    prepared(stage, &["Add Bucket", "Add Role"], None);
    stage.script.fails("probe_organization", FaultCode::SecretMissing);
    stage.script.answers("probe_others", &tried(Outcome::Granted));
    onboarded(stage);
    let h = start!(stage, OnboardOrganization, "onboard", asked(plan(Some(org()), &[]), None));
    stands!(h, OnboardOrganization, "credentials are missing", |s: &ApplyStatus| {
        s.paused.as_ref().is_some_and(|f| f.code == FaultCode::SecretMissing)
    });
    h.signal(OnboardOrganization::resume, (), resume()).await.expect("signalled");
    stands!(h, OnboardOrganization, "isolation is broken", |s: &ApplyStatus| {
        s.paused.as_ref().is_some_and(|f| f.code == FaultCode::IsolationBroken)
    });
    h.signal(OnboardOrganization::resume, (), resume()).await.expect("signalled");
    kept!(stage, h, "onboard", Completed);

    prepared(stage, &["Modify BucketPolicy"], Some(gates(2)));
    onboarded(stage);
    let h = start!(stage, UpdateOrganization, "promoted", asked(plan(Some(org()), &[]), Some(shown())));
    stands!(h, UpdateOrganization, "it waits", |s: &ApplyStatus| !s.gates.is_empty());
    for name in ["bob", "carol"] {
        update!(h, UpdateOrganization::approve, approver(name, "d1")).expect("approved");
    }
    kept!(stage, h, "update-promoted", Completed);
}

/// Cancelled while it waited, closed by its gates, and a plan that is none.
async fn refused(stage: &Stage) {
    prepared(stage, &["Add Bucket"], Some(gates(1)));
    stage.script.answers("discard_stack", &"there is no stack leadline-test");
    let h = start!(stage, OnboardOrganization, "cancelled", asked(plan(Some(org()), &[]), Some(shown())));
    stands!(h, OnboardOrganization, "it waits", |s: &ApplyStatus| !s.gates.is_empty());
    update!(h, OnboardOrganization::cancel, Operator { name: "bob".into() }).expect("cancelled");
    kept!(stage, h, "onboard-cancelled", Failed);

    prepared(stage, &["Add Bucket"], Some(gates(1)));
    let h = start!(stage, OnboardOrganization, "closed", asked(plan(Some(org()), &[]), None));
    kept!(stage, h, "onboard-gate-closed", Failed);

    stage.script.fails("prepare_stack", FaultCode::StackPlanMismatch);
    let h = start!(stage, UpdateEnvironment, "rejected", asked(plan(None, &[]), None));
    kept!(stage, h, "environment-rejected", Failed);
}

fn offboarding(stage: &Stage, retention_days: u32, gates: Option<Gates>) {
    stage.script.answers(
        "plan_offboarding",
        &OffboardPlan {
            digest: "o1".into(),
            stack: "leadline-test".into(),
            bucket: "b".into(),
            shares: vec![share("ward"), share("lab")],
            retention_days,
            gates,
        },
    );
    let end = |share| WatchEnd { share, listed: 3, note: None };
    stage.script.answers("end_watch", &end(share("ward")));
    stage.script.answers("end_watch", &end(share("lab")));
    stage.script.answers("end_checks", &["drift/test/st-mary"]);
    stage.script.answers("under_way", &["recording/st-mary/ward/00"]);
    stage.script.answers("under_way", &Vec::<String>::new());
    let part = ExportPart { key: "ledger/export/1".into(), sha256: "00".into(), recordings: 7, bytes: 700 };
    stage.script.answers("export_recordings", &[part]);
    stage.script.answers("record_certificate", &());
}

/// To the very end, and kept while it was held.
async fn leaving(stage: &Stage) {
    let input = || OffboardInput { env: env(), org: org(), requested_by: "ann".into() };
    offboarding(stage, 0, Some(gates(1)));
    let mut opening = plan(Some(org()), &[]);
    (opening.deletes, opening.digest) = (Some("c1".into()), "d2".into());
    stage.script.answers("plan_deletion", &DeletionPlan { opening, gates: deletion_gates(&env(), Some(&gates(1))) });
    stage.script.answers("open_bucket", &());
    let copies = Contents { versions: 4, bytes: 400, ..Contents::default() };
    let storages = BTreeMap::from([("b-prc".to_owned(), copies)]);
    stage.script.answers("count_contents", &Contents { versions: 9, bytes: 900, markers: 1, storages });
    stage.script.fails("delete_contents", FaultCode::StoreAccessDenied);
    let locked = Locked { versions: 2, bytes: 20, until_ms: Some(1), legal_hold: false, named: vec!["k v".into()] };
    stage.script.answers("delete_contents", &locked);
    let stays = Kept { what: "bucket b".into(), why: "object lock".into() };
    stage.script.answers("dismantle", &Dismantled { removed: vec!["stack".into()], kept: vec![stays] });
    stage.script.answers("record_deletion", &());
    let h = start!(stage, OffboardOrganization, "deleted", input());
    stands!(h, OffboardOrganization, "it waits", |s: &leadline_workflows::offboard::OffboardStatus| {
        !s.gates.is_empty()
    });
    update!(h, OffboardOrganization::approve, approver("bob", "o1")).expect("approved");
    stands!(h, OffboardOrganization, "the deletion waits", |s: &leadline_workflows::offboard::OffboardStatus| {
        !s.deletion_plan.is_empty()
    });
    update!(h, OffboardOrganization::approve, approver("bob", "d2")).expect("approved");
    stands!(h, OffboardOrganization, "it waits", |s: &leadline_workflows::offboard::OffboardStatus| {
        s.paused.is_some()
    });
    h.signal(OffboardOrganization::resume, (), WorkflowSignalOptions::default()).await.expect("signalled");
    kept!(stage, h, "offboard-deleted", Completed);

    offboarding(stage, 30, None);
    let h = start!(stage, OffboardOrganization, "kept", input());
    stands!(h, OffboardOrganization, "it holds", |s: &leadline_workflows::offboard::OffboardStatus| {
        s.step == HOLDING
    });
    update!(h, OffboardOrganization::keep, Operator { name: "bob".into() }).expect("kept");
    kept!(stage, h, "offboard-kept", Completed);
}

async fn checks(stage: &Stage) {
    let drift = |differences| DriftReport {
        env: env(),
        org: Some(org()),
        stack: "leadline-test".into(),
        compared: 3,
        differences,
        not_compared: vec![],
    };
    let difference = Difference {
        resource: "Bucket".into(),
        resource_type: "AWS::S3::Bucket".into(),
        name: "b".into(),
        setting: "versioning".into(),
        kind: DriftKind::Drifted,
        planned: None,
        applied: None,
        live: None,
    };
    stage.script.answers("find_drift", &drift(vec![difference]));
    let h = start!(stage, DriftCheck, "drift", DriftInput { org: Some(org()) });
    kept!(stage, h, "drift", Failed);
    stage.script.answers("find_drift", &drift(vec![]));
    let h = start!(stage, DriftCheck, "no-drift", DriftInput { org: None });
    kept!(stage, h, "drift-none", Completed);

    onboarded(stage);
    let h = start!(stage, IsolationProbe, "isolation", org());
    kept!(stage, h, "isolation", Completed);
    stage.script.answers("probe_others", &tried(Outcome::Granted));
    onboarded(stage);
    let h = start!(stage, IsolationProbe, "broken", org());
    kept!(stage, h, "isolation-broken", Failed);

    let rule = OutcomeRule { within_ms: 10, look_back_ms: 1_000 };
    let mut overdue = OverdueReport::new(env(), org(), rule, 1_000);
    overdue.add(&Digest::of(b"x"), 500, false);
    stage.script.answers("find_overdue", &Some(overdue));
    let h = start!(stage, OutcomeCheck, "outcomes", org());
    kept!(stage, h, "outcomes-overdue", Failed);
    stage.script.answers("find_overdue", &None::<OverdueReport>);
    let h = start!(stage, OutcomeCheck, "no-outcomes", org());
    kept!(stage, h, "outcomes", Completed);

    onboarded(stage);
    stage.script.answers("collect_evidence", &SignedEvidence { evidence: shown(), signature: "00".into() });
    let h = start!(stage, CollectEvidence, "evidence", org());
    kept!(stage, h, "evidence", Completed);

    stage.script.answers("pass_canary", &None::<String>);
    stage.script.answers("pass_canary", &Some("it was quarantined"));
    stage.script.answers("pass_canary", &None::<String>);
    let of = |name: &str| CanaryShare {
        share: share(name),
        task_queue: QUEUE.into(),
        formats: vec!["dicom".into(), "scp".into()],
    };
    let h = start!(
        stage,
        CanaryRun,
        "canary",
        CanaryInput { org: org(), shares: vec![of("ward"), of("lab")], ways: vec![] }
    );
    kept!(stage, h, "canary", Completed);

    // By other ways in beside a share.
    stage.script.answers("pass_canary", &None::<String>);
    stage.script.answers("pass_canary", &None::<String>);
    stage.script.answers("send_canary", &Some("it was answered AR"));
    stage.script.answers("send_canary", &None::<String>);
    let way = |path: &str| CanaryWay { path: path.into(), task_queue: QUEUE.into(), formats: vec!["dicom".into()] };
    let input = CanaryInput { org: org(), shares: vec![of("ward")], ways: vec![way("hl7v2"), way("web")] };
    let h = start!(stage, CanaryRun, "canary-ways", input);
    kept!(stage, h, "canary-ways", Completed);
}

async fn secrets_and_copies(stage: &Stage) {
    let input = || RotateInput { org: org(), share: share("ward"), version: "v2".into(), task_queue: QUEUE.into() };
    stage.script.fails("prove_credentials", FaultCode::ShareLogonRefused);
    stage.script.answers("prove_credentials", &());
    let h = start!(stage, RotateCredentials, "rotated", input());
    kept!(stage, h, "rotated", Completed);
    stage.script.fails("prove_credentials", FaultCode::SecretSuperseded);
    let h = start!(stage, RotateCredentials, "superseded", input());
    kept!(stage, h, "rotate-superseded", Failed);

    let (from, to) = (Storage::Data, Storage::Processing);
    let transfer = Transfer { org: org(), from, to, selection: Selection::All, moved: false };
    let page = |complete| TransferReport {
        copied: 3,
        bytes: 30,
        there: 1,
        removed: 0,
        after: Some(Digest::of(b"x")),
        complete,
    };
    stage.script.answers("transfer_some", &page(false));
    stage.script.answers("transfer_some", &page(true));
    let h =
        start!(stage, TransferRecordings, "transfer", TransferInput { transfer, report: TransferReport::default() });
    kept!(stage, h, "transfer", Completed);
}
