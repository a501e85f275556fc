//! Every step of an onboarding failed, done and then failed, refused, and cut off by the death of the worker, on a real
//! Temporal and an endpoint that enforces IAM: the end is always the same, and nothing is half-made.

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
        ("share_credentials", CREDENTIAL),
        ("probe_own", [F::StoreUnreachable, F::StoreThrottled, F::StoreAccessDenied]),
        ("probe_environment", [F::QueueUnreachable, F::QueueThrottled, F::QueueMissing]),
        ("probe_other", [F::StoreUnreachable, F::StoreThrottled, F::StoreAccessDenied]),
        ("watch", ENGINE),
        // Three of them, one after another.
        ("schedule", ENGINE),
    ]
};

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

fn cases(of: impl Fn([FaultCode; 3]) -> Vec<Vec<Plight>>) -> Vec<Case> {
    let all = STEPS.iter().flat_map(|(step, codes)| of(*codes).into_iter().map(move |p| (*step, p)));
    all.enumerate().map(|(n, (step, p))| (format!("org-{n}"), step, p)).collect()
}

async fn start(dir: &std::path::Path, cases: &[Case]) -> (Temporal, AwsEndpoint, OnboardRig) {
    let (temporal, aws) = (Temporal::start(dir), AwsEndpoint::start(&dir.join("aws")));
    let orgs: Vec<String> = cases.iter().map(|(o, _, _)| o.clone()).collect();
    let rig = OnboardRig::start(dir, &temporal, &aws, &orgs).await;
    for (org, step, planned) in cases {
        for p in planned {
            rig.plights.plan(org, step, p.clone());
        }
    }
    (temporal, aws, rig)
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

#[tokio::test(flavor = "multi_thread")]
async fn every_step_failed_and_repeated_ends_the_same() {
    let dir = tempfile::tempdir().expect("folder");
    let cases = cases(failures);
    let (_temporal, _aws, rig) = start(dir.path(), &cases).await;
    let expected = reference(&rig).await;
    // Some at a time, so that what one waits for is not the others.
    let each = futures::stream::iter(&cases).map(|(org, step, planned)| {
        let (rig, expected) = (&rig, &expected);
        async move {
            let what = format!("{org} {step} {planned:?}");
            rig.begin(org).await;
            let (status, mended) = rig.onboarded(org, LIMIT).await;
            assert_eq!(rig.plights.left(org), 0, "{what}: the planned fault never happened");
            let blocked = planned.iter().any(|p| match p {
                Plight::Fail(f) | Plight::FailAfter(f) => f.class() == FaultClass::Blocked,
                _ => false,
            });
            assert_eq!(!refusals(mended).is_empty(), blocked, "{what}: only what a human has to mend waits for one");
            assert_eq!(rig.came_to(org, &status).await, *expected, "{what}");
        }
    });
    each.buffer_unordered(AT_ONCE).collect::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_and_started_again_it_ends_the_same() {
    let dir = tempfile::tempdir().expect("folder");
    let cases = cases(|_| vec![vec![Plight::Hang], vec![Plight::HangAfter]]);
    let (_temporal, _aws, mut rig) = start(dir.path(), &cases).await;
    let expected = reference(&rig).await;
    join_all(cases.iter().map(|(org, _, _)| rig.begin(org))).await;
    // Each reaches the step at which it stays; a human gives the credentials on the way.
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
        assert_eq!(rig.came_to(org, &status).await, expected, "{org} {step} {planned:?}");
    }
}
