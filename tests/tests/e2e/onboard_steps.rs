//! Every step of an onboarding, of an update, and of an environment's apply failed, done and then failed, refused, and cut
//! off by the death of the worker, on a real Temporal and an endpoint that enforces IAM: the end is always the same, and
//! nothing is half-made.

use futures::StreamExt as _;
use futures::future::join_all;
use leadline_domain::{Fault, FaultClass, FaultCode};
use leadline_tests::harness::aws::AwsEndpoint;
use leadline_tests::harness::temporal::Temporal;
use leadline_tests::harness::tools::eventually;
use leadline_tests::onboard_faults::Plight;
use leadline_tests::onboard_rig::{OnboardRig, REFERENCE};
use std::collections::BTreeMap;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(400);
/// Organizations that are onboarded at once where each has a fault of its own.
const AT_ONCE: usize = 16;

/// The operations of an onboarding, in their order, each with faults of it that pass, and one that a human has to mend.
const STEPS: &[(&str, [FaultCode; 3])] = {
    use FaultCode as F;
    const STACK: [FaultCode; 3] = [F::StackUnreachable, F::StackThrottled, F::StackAccessDenied];
    // Temporal itself refuses nothing that a human could mend; the configuration that names what is registered can be wrong.
    const ENGINE: [FaultCode; 3] = [F::EngineUnreachable, F::EngineUnreachable, F::ConfigUnknownShare];
    const CREDENTIAL: [FaultCode; 3] = [F::CredentialUnreachable, F::CredentialUnreachable, F::CredentialRefused];
    &[
        ("stays", ENGINE),
        ("describe", STACK),
        ("create_change_set", [F::StackBusy, F::StackThrottled, F::StackTerminal]),
        ("change_set", STACK),
        ("execute", [F::StackUnreachable, F::StackThrottled, F::StackFailed]),
        ("open", CREDENTIAL),
        ("put_share_credentials", CREDENTIAL),
        ("share_credentials", CREDENTIAL),
        ("probe_own", [F::StoreUnreachable, F::StoreThrottled, F::StoreAccessDenied]),
        ("probe_environment", [F::QueueUnreachable, F::QueueThrottled, F::QueueMissing]),
        ("probe_other", [F::StoreUnreachable, F::StoreThrottled, F::StoreAccessDenied]),
        ("watch", ENGINE),
        // Three of them, one after another.
        ("schedule", ENGINE),
    ]
};

/// Those of an organization that is there already: its credentials are.
fn of_an_update(step: &str) -> bool {
    step != "put_share_credentials"
}
/// Those of an environment.
const OF_ENVIRONMENT: [&str; 5] = ["describe", "create_change_set", "change_set", "execute", "schedule"];

/// What an update changes: the bucket's rules for other pages.
const BEFORE: &str = "[share.ward]";
const AFTER: &str = "[gateway.uploads]\norigins = [\"https://intranet.example.org\"]\n[share.ward]";

/// Failed once, failed four times, done and then failed, all mixed, refused until a human has mended it.
fn failures([lost, busy, refused]: [FaultCode; 3]) -> Vec<Vec<Plight>> {
    let [lost, busy, refused] = [lost, busy, refused].map(|c| Fault::new(c, "planned"));
    vec![
        vec![Plight::Fail(lost.clone())],
        vec![Plight::Fail(lost.clone()); 4],
        vec![Plight::FailAfter(lost.clone())],
        vec![Plight::FailAfter(lost.clone()), Plight::Fail(busy), Plight::FailAfter(lost)],
        vec![Plight::Fail(refused.clone()), Plight::FailAfter(refused)],
    ]
}

type Case = (String, &'static str, Vec<Plight>);

fn cases(which: impl Fn(&str) -> bool, of: impl Fn([FaultCode; 3]) -> Vec<Vec<Plight>>) -> Vec<Case> {
    let all = STEPS
        .iter()
        .filter(|(step, _)| which(step))
        .flat_map(|(step, codes)| of(*codes).into_iter().map(move |p| (*step, p)));
    all.enumerate().map(|(n, (step, p))| (format!("org-{n}"), step, p)).collect()
}

async fn start(dir: &std::path::Path, cases: &[Case]) -> (Temporal, AwsEndpoint, OnboardRig) {
    let (temporal, aws) = (Temporal::start(dir), AwsEndpoint::start(&dir.join("aws")));
    let rig = OnboardRig::start(dir, &temporal, &aws, &orgs(cases)).await;
    (temporal, aws, rig)
}

fn orgs(cases: &[Case]) -> Vec<String> {
    cases.iter().map(|(o, _, _)| o.clone()).collect()
}

fn plan(rig: &OnboardRig, cases: &[Case]) {
    for (org, step, planned) in cases {
        for p in planned {
            rig.plights.plan(org, step, p.clone());
        }
    }
}

/// Onboards and then updates the reference; what the others come to is what it has come to.
async fn updated(rig: &mut OnboardRig, cases: &[Case]) -> BTreeMap<&'static str, String> {
    let each = futures::stream::iter(cases).map(|(org, _, _)| {
        let rig = &*rig;
        async move {
            rig.begin(org).await;
            rig.onboarded(org, LIMIT).await;
        }
    });
    each.buffer_unordered(AT_ONCE).collect::<()>().await;
    rig.edit_each(&orgs(cases), BEFORE, AFTER);
    rig.begin(REFERENCE).await;
    let (status, _) = rig.onboarded(REFERENCE, LIMIT).await;
    let came_to = rig.came_to(REFERENCE, &status).await;
    assert_eq!((came_to["stack"].as_str(), came_to["template"].as_str()), ("UPDATE_COMPLETE", "as planned: true"));
    assert!(status.changes.iter().any(|c| c.contains("AWS::S3::Bucket Bucket")), "{status:?}");
    came_to
}

/// What was waited for, but for the credentials that every new organization waits for.
fn refusals(mended: Vec<FaultCode>) -> Vec<FaultCode> {
    mended.into_iter().filter(|c| *c != FaultCode::SecretMissing).collect()
}

async fn reference(rig: &OnboardRig) -> BTreeMap<&'static str, String> {
    let status = rig.status(REFERENCE).await.expect("the reference answers");
    let came_to = rig.came_to(REFERENCE, &status).await;
    assert_eq!((came_to["stack"].as_str(), came_to["change set left"].as_str()), ("CREATE_COMPLETE", "none"));
    came_to
}

/// Carries each case to its end, and holds it against what the reference came to.
async fn all_end_as(rig: &OnboardRig, cases: &[Case], expected: &BTreeMap<&'static str, String>) {
    // Some at a time, so that what one waits for is not the others.
    let each = futures::stream::iter(cases).map(|(org, step, planned)| async move {
        let what = format!("{org} {step} {planned:?}");
        rig.begin(org).await;
        let (status, mended) = rig.onboarded(org, LIMIT).await;
        assert_eq!(rig.plights.left(org), 0, "{what}: the planned fault never happened");
        let blocked = planned.iter().any(blocks);
        assert_eq!(!refusals(mended).is_empty(), blocked, "{what}: only what a human has to mend waits for one");
        assert_eq!(rig.came_to(org, &status).await, *expected, "{what}");
    });
    each.buffer_unordered(AT_ONCE).collect::<()>().await;
}

fn blocks(p: &Plight) -> bool {
    matches!(p, Plight::Fail(f) | Plight::FailAfter(f) if f.class() == FaultClass::Blocked)
}

/// Begins all, lets each reach the call at which it stays, kills the worker, and has another one carry them to their end.
async fn all_end_though_killed(rig: &mut OnboardRig, cases: &[Case], expected: &BTreeMap<&'static str, String>) {
    join_all(cases.iter().map(|(org, _, _)| rig.begin(org))).await;
    // A human gives the credentials on the way.
    let waiting = join_all(cases.iter().map(|(org, _, _)| rig.onboarded(org, LIMIT)));
    let all_hang =
        eventually("all are cut off", LIMIT, || async { (rig.plights.hanging().len() == cases.len()).then_some(()) });
    tokio::select! {
        _ = waiting => panic!("one came to its end without its worker"),
        () = all_hang => {}
    }
    rig.kill();
    rig.work();
    let ended = join_all(cases.iter().map(|(org, _, _)| rig.onboarded(org, LIMIT))).await;
    for ((org, step, planned), (status, _)) in cases.iter().zip(ended) {
        assert_eq!(rig.came_to(org, &status).await, *expected, "{org} {step} {planned:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_failed_and_repeated_ends_the_same() {
    let dir = tempfile::tempdir().expect("folder");
    let cases = cases(|_| true, failures);
    let (_temporal, _aws, rig) = start(dir.path(), &cases).await;
    plan(&rig, &cases);
    let expected = reference(&rig).await;
    all_end_as(&rig, &cases, &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_and_started_again_it_ends_the_same() {
    let dir = tempfile::tempdir().expect("folder");
    let cases = cases(|_| true, |_| vec![vec![Plight::Hang], vec![Plight::HangAfter]]);
    let (_temporal, _aws, mut rig) = start(dir.path(), &cases).await;
    plan(&rig, &cases);
    let expected = reference(&rig).await;
    all_end_though_killed(&mut rig, &cases, &expected).await;
}

/// An organization that is there and gets another plan; of the failures the one that has most of the others in it.
#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_an_update_failed_and_cut_off_ends_the_same() {
    let dir = tempfile::tempdir().expect("folder");
    let hard = |codes| vec![failures(codes).swap_remove(3), vec![Plight::HangAfter]];
    let all = cases(of_an_update, hard);
    let (_temporal, _aws, mut rig) = start(dir.path(), &all).await;
    let expected = updated(&mut rig, &all).await;
    plan(&rig, &all);
    let (cut, failed): (Vec<Case>, Vec<Case>) = all.into_iter().partition(|(_, _, p)| p.contains(&Plight::HangAfter));
    all_end_as(&rig, &failed, &expected).await;
    all_end_though_killed(&mut rig, &cut, &expected).await;
}

/// An environment is one, and what hangs there hangs one after another: there are several, of servers of their own.
#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_an_environments_apply_failed_and_cut_off_ends_the_same() {
    let steps: Vec<_> = STEPS.iter().filter(|(step, _)| OF_ENVIRONMENT.contains(step)).collect();
    let failed = |nth: usize| steps.iter().flat_map(move |(step, codes)| each(step, failures(*codes).swap_remove(nth)));
    let mut ways: Vec<Vec<_>> = vec![failed(3).collect(), failed(4).collect()];
    for some in steps.chunks(2) {
        ways.push(some.iter().flat_map(|(step, _)| each(step, vec![Plight::HangAfter])).collect());
    }
    let applied = ways.iter().map(|plights| async move {
        let dir = tempfile::tempdir().expect("folder");
        let (_temporal, _aws, mut rig) = start(dir.path(), &[]).await;
        let (status, waited, wrong) = rig.environment_changed(plights, LIMIT).await;
        assert_eq!((rig.plights.left(""), wrong), (0, Vec::new()), "{plights:?}");
        let blocked = plights.iter().any(|(_, p)| blocks(p));
        assert_eq!(!waited.is_empty(), blocked, "only what a human has to mend waits for one: {waited:?}");
        assert!(status.schedules.len() == 1 && status.paused.is_none(), "{status:?}");
    });
    futures::stream::iter(applied).buffer_unordered(3).collect::<()>().await;
}

fn each(step: &'static str, plights: Vec<Plight>) -> impl Iterator<Item = (&'static str, Plight)> {
    plights.into_iter().map(move |p| (step, p))
}
