//! What every [`Stacks`] promises.

use crate::harness::tools::eventually;
use leadline_activities::ports::stacks::{ChangeSetState, ResourceChange, StackState, Stacks};
use leadline_domain::FaultCode;
use std::collections::BTreeMap;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

fn tags() -> BTreeMap<String, String> {
    BTreeMap::from([("leadline:plan".to_owned(), "1".to_owned())])
}

/// A template with a standard queue, its message retention as given, and its URL as output.
#[must_use]
pub fn template(queue: &str, retention_s: u32) -> String {
    format!(
        r#"{{"Resources":{{"Q":{{"Type":"AWS::SQS::Queue","Properties":{{"QueueName":"{queue}","MessageRetentionPeriod":{retention_s}}}}}}},
        "Outputs":{{"Url":{{"Value":{{"Ref":"Q"}}}}}}}}"#
    )
}

/// Waits until a change set is computed.
pub async fn computed(stacks: &dyn Stacks, stack: &str, name: &str) -> ChangeSetState {
    eventually("the change set", LIMIT, || async {
        match stacks.change_set(stack, name).await.expect("described") {
            ChangeSetState::Pending => None,
            s => Some(s),
        }
    })
    .await
}

/// Waits until a stack operation ended.
pub async fn settled(stacks: &dyn Stacks, stack: &str) -> StackState {
    eventually("the stack", LIMIT, || async {
        stacks.describe(stack).await.expect("described").filter(|s| !s.status.ends_with("_IN_PROGRESS"))
    })
    .await
}

/// Applies a template and gives the stack's outputs.
pub async fn apply(stacks: &dyn Stacks, stack: &str, name: &str, template: &str) -> BTreeMap<String, String> {
    stacks.create_change_set(stack, name, template, &tags()).await.expect("created");
    let state = computed(stacks, stack, name).await;
    assert!(matches!(state, ChangeSetState::Ready(_)), "{state:?}");
    stacks.execute(stack, name).await.expect("executed");
    let s = settled(stacks, stack).await;
    assert!(matches!(s.status.as_str(), "CREATE_COMPLETE" | "UPDATE_COMPLETE"), "{s:?}");
    s.outputs
}

/// All cases, with names that begin with `prefix`.
pub async fn all(stacks: &dyn Stacks, prefix: &str) {
    let stack = format!("{prefix}-life");
    created(stacks, &stack).await;
    unchanged(stacks, &stack).await;
    said_anew(stacks, &stack).await;
    updated(stacks, &stack).await;
    deleted(stacks, &stack).await;
    failing(stacks, &format!("{prefix}-bad")).await;
    nothing(stacks, &format!("{prefix}-none")).await;
}

async fn created(stacks: &dyn Stacks, stack: &str) {
    let template = template(stack, 600);
    for _ in 0..2 {
        stacks.create_change_set(stack, "plan-1", &template, &tags()).await.expect("created, and created again");
    }
    let state = computed(stacks, stack, "plan-1").await;
    let ChangeSetState::Ready(changes) = state else { panic!("not ready: {state:?}") };
    let expected = ResourceChange {
        logical_id: "Q".into(),
        resource_type: "AWS::SQS::Queue".into(),
        action: "Add".into(),
        replacement: String::new(),
    };
    assert_eq!(changes, vec![expected]);
    // Only planned: there is no stack yet.
    assert_eq!(stacks.describe(stack).await, Ok(None));
    for _ in 0..2 {
        stacks.execute(stack, "plan-1").await.expect("executed, and executed again");
    }
    let s = settled(stacks, stack).await;
    assert_eq!(s.status, "CREATE_COMPLETE");
    assert!(s.outputs["Url"].ends_with(stack), "{s:?}");
    assert_eq!(s.tags["leadline:plan"], "1");
    stacks.execute(stack, "plan-1").await.expect("executed long ago");
    let text = stacks.template(stack).await.expect("an answer").expect("a template");
    assert!(text.contains("AWS::SQS::Queue"));
    let events = stacks.events(stack).await.expect("events");
    let first = events.iter().position(|e| e.status == "CREATE_IN_PROGRESS").expect("its begin");
    let last = events.iter().rposition(|e| e.status == "CREATE_COMPLETE").expect("its end");
    assert!(first < last, "oldest first");
}

async fn unchanged(stacks: &dyn Stacks, stack: &str) {
    stacks.create_change_set(stack, "plan-2", &template(stack, 600), &tags()).await.expect("created");
    assert_eq!(computed(stacks, stack, "plan-2").await, ChangeSetState::Empty);
    for _ in 0..2 {
        stacks.discard(stack, "plan-2").await.expect("discarded, and discarded again");
    }
}

/// A change set that touches no resource is ready like any other, and has to be executed to count.
async fn said_anew(stacks: &dyn Stacks, stack: &str) {
    let same = template(stack, 600);
    let more = same.replacen("\"Outputs\":{", "\"Outputs\":{\"Said\":{\"Value\":\"anew\"},", 1);
    stacks.create_change_set(stack, "plan-4", &more, &tags()).await.expect("created");
    assert_eq!(computed(stacks, stack, "plan-4").await, ChangeSetState::Ready(vec![]));
    stacks.execute(stack, "plan-4").await.expect("executed");
    assert_eq!(settled(stacks, stack).await.outputs.get("Said").map(String::as_str), Some("anew"));
}

async fn updated(stacks: &dyn Stacks, stack: &str) {
    stacks.create_change_set(stack, "plan-3", &template(stack, 700), &tags()).await.expect("created");
    let state = computed(stacks, stack, "plan-3").await;
    let ChangeSetState::Ready(changes) = state else { panic!("not ready: {state:?}") };
    assert_eq!((changes[0].action.as_str(), changes[0].logical_id.as_str()), ("Modify", "Q"));
    stacks.execute(stack, "plan-3").await.expect("executed");
    assert_eq!(settled(stacks, stack).await.status, "UPDATE_COMPLETE");
    // The first plan once more (its name was used): the stack goes back.
    apply(stacks, stack, "plan-1", &template(stack, 600)).await;
}

async fn deleted(stacks: &dyn Stacks, stack: &str) {
    stacks.delete(stack).await.expect("deleted");
    eventually("no stack", LIMIT, || async {
        stacks.describe(stack).await.expect("an answer").is_none().then_some(())
    })
    .await;
}

/// A stack whose creation failed can take no change set: a human looks first.
async fn failing(stacks: &dyn Stacks, stack: &str) {
    let template = r#"{"Resources":{"B":{"Type":"AWS::S3::Bucket","Properties":{"BucketName":"NOT_A_Bucket_Name"}}}}"#;
    stacks.create_change_set(stack, "plan-1", template, &tags()).await.expect("created");
    match computed(stacks, stack, "plan-1").await {
        // CloudFormation may see it before anything is tried.
        ChangeSetState::Failed(reason) => assert!(!reason.is_empty()),
        ChangeSetState::Ready(_) => {
            stacks.execute(stack, "plan-1").await.expect("executed");
            let s = settled(stacks, stack).await;
            assert_eq!(s.status, "ROLLBACK_COMPLETE");
            let events = stacks.events(stack).await.expect("events");
            let failed = events.iter().find(|e| e.status == "CREATE_FAILED").expect("the failure");
            assert!(!failed.reason.is_empty());
            let f = stacks.create_change_set(stack, "plan-2", template, &tags()).await.unwrap_err();
            assert_eq!(f.code, FaultCode::StackTerminal);
        }
        s => panic!("neither ready nor failed: {s:?}"),
    }
}

async fn nothing(stacks: &dyn Stacks, stack: &str) {
    assert_eq!(stacks.describe(stack).await, Ok(None));
    assert_eq!(stacks.template(stack).await, Ok(None));
    assert_eq!(stacks.events(stack).await, Ok(vec![]));
    stacks.discard(stack, "plan-1").await.expect("nothing to discard");
    assert!(matches!(stacks.change_set(stack, "plan-1").await, Ok(ChangeSetState::Failed(_))));
    assert_eq!(stacks.execute(stack, "plan-1").await.unwrap_err().code, FaultCode::StackPlanMismatch);
    let huge = format!("{{\"Description\":\"{}\"}}", "x".repeat(52_000));
    let f = stacks.create_change_set(stack, "plan-1", &huge, &tags()).await.unwrap_err();
    assert_eq!(f.code, FaultCode::StackRefused);
}
