//! What a worker holds against a plan that it is to carry out, on a real Temporal and an endpoint that computes change sets:
//! its own files, and CloudFormation's account of what would be lost.

use leadline_activities::provision::stack_plan;
use leadline_domain::FaultCode;
use leadline_provisioning::plan::Identity;
use leadline_tests::harness::aws::AwsEndpoint;
use leadline_tests::harness::stack::ACCOUNT;
use leadline_tests::harness::temporal::Temporal;
use leadline_tests::onboard_rig::OnboardRig;
use leadline_workflows::contracts::StackPlan;
use serde_json::Value;
use std::time::Duration;

const ORG: &str = "st-mary";

/// The digest of a plan that was altered, so that it is one.
fn signed(mut plan: StackPlan) -> StackPlan {
    let template: Value = serde_json::from_str(&plan.template).expect("JSON");
    let identity = Identity {
        stack: &plan.stack,
        account: ACCOUNT,
        region: "us-east-1",
        template: &template,
        tags: &plan.tags,
        repairs: &plan.repairs,
        remakes: &plan.remakes,
        allows: &plan.allows,
        deletes: plan.deletes.as_deref(),
    };
    plan.digest = identity.digest();
    plan
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_workers_files_say_and_only_losses_that_were_named() {
    let dir = tempfile::tempdir().expect("folder");
    let (temporal, aws) = (Temporal::start(dir.path()), AwsEndpoint::start(&dir.path().join("aws")));
    let mut rig = OnboardRig::start(dir.path(), &temporal, &aws, &[ORG.to_owned()]).await;
    rig.begin(ORG).await;
    rig.onboarded(ORG, Duration::from_secs(120)).await;

    // A template that somebody has written into, with a digest that is right.
    let honest = stack_plan(&rig.plan(ORG));
    let mut edited = honest.clone();
    edited.template = honest
        .template
        .replace("arn:aws:iam::111111111111:role/leadline-test-worker", "arn:aws:iam::111111111111:root");
    assert_ne!(edited.template, honest.template);
    let f = rig.refused(signed(edited)).await;
    assert_eq!(f.code, FaultCode::StackPlanMismatch);
    assert!(f.detail.contains("Resources.Role.Properties.AssumeRolePolicyDocument"), "{f}");
    // The same twice over: a reader that takes the first one sees another template than one that takes the last.
    let twice = honest.template.replacen("{", "{\"Resources\":{},", 1);
    let f = rig.refused(signed(StackPlan { template: twice, ..honest.clone() })).await;
    assert!(f.code == FaultCode::StackPlanMismatch && f.detail.contains("its text"), "{f}");
    let mut tags = honest.tags.clone();
    tags.insert("leadline:jurisdiction".into(), "uk".into());
    let f = rig.refused(signed(StackPlan { tags, ..honest.clone() })).await;
    assert!(f.code == FaultCode::StackPlanMismatch && f.detail.contains("tag leadline:jurisdiction"), "{f}");
    // A name that is added after the approval is another plan.
    let f = rig.refused(StackPlan { allows: vec!["Bucket".into()], ..honest.clone() }).await;
    assert!(f.code == FaultCode::StackPlanMismatch && f.detail.contains("is not the digest"), "{f}");
    // Whoever names what is to be made again names that it is lost.
    let f = rig.refused(signed(StackPlan { remakes: vec!["Bucket".into()], ..honest.clone() })).await;
    assert!(f.code == FaultCode::StackLosesData && f.detail.contains("Bucket (AWS::S3::Bucket)"), "{f}");
    // The plan is right, and what it is said to be made from is not: the next environment would be shown that.
    let f = rig.refused_inputs(ORG).await;
    assert!(f.code == FaultCode::StackPlanMismatch && f.detail.contains("other files of st-mary"), "{f}");
    // Nothing of it left anything, and what is right is applied.
    assert_eq!(rig.applied(&rig.plan(ORG)).await.step, "done");

    // Other files than the worker's: planned elsewhere, or a worker that was not brought up to date.
    rig.edit(ORG, "[share.ward]", "[share.icu]");
    let ahead = rig.refused(stack_plan(&rig.plan(ORG))).await;
    assert_eq!(ahead.code, FaultCode::StackPlanMismatch);
    assert!(ahead.detail.contains("Resources.SecretWard") && ahead.detail.contains("SecretIcu"), "{ahead}");

    // The same files: CloudFormation says what would be lost, though whoever planned did not see it.
    rig.kill();
    rig.work();
    let f = rig.refused(stack_plan(&rig.plan(ORG))).await;
    assert_eq!(f.code, FaultCode::StackLosesData);
    assert!(f.detail.contains("SecretWard (AWS::SecretsManager::Secret) is removed"), "{f}");
    let left = aws.python(
        "print([x['ChangeSetName'] for x in c('cloudformation').list_change_sets(\
         StackName='leadline-test-org-st-mary')['Summaries']])",
    );
    assert_eq!(left.trim(), "[]", "its change set is gone again");
    let named = rig.plan_allowing(ORG, &["SecretWard"]);
    assert_ne!(named.digest(), rig.plan(ORG).digest());
    let status = rig.applied(&named).await;
    assert!(
        status.changes.iter().any(|c| c.starts_with("Remove AWS::SecretsManager::Secret SecretWard")),
        "{status:?}"
    );
}
