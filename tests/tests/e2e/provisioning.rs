//! Plans against live stacks, on a real Temporal and an endpoint that enforces IAM: the commands, their words, their
//! data and their exit codes.

use bytes::Bytes;
use leadline_activities::adapters::aws::{Aws, AwsOrgStores, AwsSettings, CfnStacks, SqsQueue};
use leadline_activities::ports::queue::Queue;
use leadline_activities::ports::stacks::Stacks;
use leadline_activities::ports::store::OrgStores;
use leadline_domain::EnvScope;
use leadline_tests::harness::stack::{ACCOUNT, Clinic, Stack};
use leadline_tests::harness::tools::eventually;
use leadline_tests::rig::{facts, scope};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

async fn aws(stack: &Stack, worker: bool) -> Aws {
    let settings = AwsSettings { endpoint_url: Some(stack.aws.url()), assume_worker_role: worker, profile: None };
    Aws::connect_as(&EnvScope::new(&facts("test")), &settings, ACCOUNT, "test").await
}

/// Runs a command that must end with this code; its standard output, its standard error.
#[track_caller]
fn ends(stack: &Stack, code: i32, args: &[&str]) -> (String, String) {
    let out = stack.run(args);
    let (said, noted) = (String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap());
    assert_eq!(out.status.code(), Some(code), "leadline {args:?}\n{said}{noted}");
    (said, noted)
}

fn edit(stack: &Stack, file: &str, change: impl FnOnce(String) -> String) {
    let path = stack.environments().join(file);
    let text = change(std::fs::read_to_string(&path).unwrap());
    std::fs::write(path, text).unwrap();
}

fn objects(lines: &str) -> Vec<Value> {
    lines.lines().map(|l| serde_json::from_str(l).expect("an object a line")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn from_nothing_to_applied_and_on() {
    let clinics = [Clinic::new("st-mary", "ward"), Clinic::new("kings-road", "clinic")];
    let stack = Stack::start(&clinics);
    edit(&stack, "test.toml", |t| t + "\n[backup]\nregion = \"us-west-2\"\nlock = \"compliance\"\n");
    let (plan, _) = ends(&stack, 2, &["env", "plan", "test"]);
    assert!(plan.contains("stack leadline-test-env in account 111111111111, region us-east-1"), "{plan}");
    assert!(plan.contains("stack leadline-test-backup in account 111111111111, region us-west-2"), "{plan}");
    let (all, _) = ends(&stack, 2, &["org", "plan", "--all", "--env", "test", "--output", "json"]);
    let planned: Vec<Value> = objects(&all).iter().map(|o| o["digest"].clone()).collect();

    let _worker = stack.worker();
    stack.provision();

    // What is applied is what was planned, and needs nothing more.
    let (plan, _) = ends(&stack, 0, &["env", "plan", "--env", "test"]);
    assert_eq!(plan.matches("nothing to change").count(), 2, "{plan}");
    let (all, noted) = ends(&stack, 0, &["org", "plan", "--all", "--env", "test", "--output", "json"]);
    let again: Vec<Value> = objects(&all).iter().map(|o| o["digest"].clone()).collect();
    assert_eq!(planned, again);
    assert!(noted.contains("2 organizations planned in"), "{noted}");

    copies_are_elsewhere(&stack).await;
    uploads_are_told(&stack).await;
    changes(&stack);
}

/// The stack of the copies is in the region of the copies, and nowhere else.
async fn copies_are_elsewhere(stack: &Stack) {
    let aws = aws(stack, false).await;
    let name = "leadline-test-backup";
    let west = CfnStacks::new(&aws).with_stack_in(&aws, name.into(), "us-west-2");
    let there = west.describe(name).await.unwrap().expect("the stack of the copies");
    assert_eq!(there.status, "CREATE_COMPLETE");
    assert_eq!(there.outputs["BackupBucketName"], format!("leadline-test-{ACCOUNT}-backup"));
    assert_eq!(CfnStacks::new(&aws).describe(name).await, Ok(None));
}

/// S3 tells of what is put into an organization's staging area; the worker's role reads it.
async fn uploads_are_told(stack: &Stack) {
    let aws = aws(stack, true).await;
    let store = AwsOrgStores::new(aws.clone()).open(&scope("st-mary")).await.unwrap();
    let body = Bytes::from_static(b"an upload");
    let upload = store.begin_upload("told").await.unwrap();
    let part = store.upload_part(&upload, 1, body.clone(), Sha256::digest(&body).into()).await.unwrap();
    store.complete_upload(&upload, &[part]).await.unwrap();
    let queue = SqsQueue::new(&aws, EnvScope::new(&facts("test")).upload_queue());
    eventually("the event of the upload", LIMIT, || async {
        let got = queue.receive(10, 1).await.expect("the worker may read it");
        got.iter().any(|m| m.body.contains("staging/told") && m.body.contains("ObjectCreated")).then_some(())
    })
    .await;
}

fn changes(stack: &Stack) {
    let plan = ["org", "plan", "st-mary", "--env", "test"];
    // A changed file is a changed plan.
    edit(stack, "orgs/st-mary.toml", |t| t.replace("reconcile_s = 5", "reconcile_s = 6"));
    let (said, _) = ends(stack, 2, &plan);
    assert!(said.contains("change Configuration (AWS::SSM::Parameter): Properties.Value"), "{said}");
    assert!(said.contains("0 to create, 1 to change, 0 to replace, 0 to remove"), "{said}");
    let (all, _) = ends(stack, 2, &["org", "plan", "--all", "--env", "test"]);
    assert!(all.contains("1 to change") && all.contains("none"), "{all}");
    // A share that goes takes its credentials with it: to be named.
    edit(stack, "orgs/st-mary.toml", |t| t.replace("[share.ward]", "[share.icu]"));
    let (_, noted) = ends(stack, 1, &plan);
    assert!(noted.contains("REMOVE SecretWard") && noted.contains("--allow SecretWard"), "{noted}");
    let json = [&plan[..], &["--output", "json"]].concat();
    let refused = &objects(&ends(stack, 1, &json).0)[0];
    assert_eq!(refused["refused"]["stateful"][0]["logical_id"], "SecretWard", "{refused}");
    let (all, _) = ends(stack, 1, &["org", "plan", "--all", "--env", "test"]);
    assert!(all.contains("REFUSED") && all.contains("none"), "the other is planned all the same: {all}");
    let named = [&json[..], &["--allow", "SecretWard"]].concat();
    let plan = &objects(&ends(stack, 2, &named).0)[0];
    assert_eq!(plan["loses"], serde_json::json!(["SecretWard"]), "{plan}");
    assert_eq!(plan["digest"].as_str().map(str::len), Some(64));
}
