use super::*;
use crate::ports::stacks::StackState;
use async_trait::async_trait;
use leadline_domain::EnvId;
use std::sync::Mutex;

/// CloudFormation that gives one answer to every change set, and writes down what became of it.
struct Answers(ChangeSetState, Mutex<Vec<String>>);

#[async_trait]
impl Stacks for Answers {
    async fn describe(&self, _: &str) -> Result<Option<StackState>, Fault> {
        Ok(None)
    }
    async fn all(&self) -> Result<BTreeMap<String, StackState>, Fault> {
        Ok(BTreeMap::new())
    }
    async fn template(&self, _: &str) -> Result<Option<String>, Fault> {
        Ok(None)
    }
    async fn create_change_set(&self, _: &str, _: &str, _: &str, _: &BTreeMap<String, String>) -> Result<(), Fault> {
        Ok(())
    }
    async fn change_set(&self, _: &str, _: &str) -> Result<ChangeSetState, Fault> {
        Ok(self.0.clone())
    }
    async fn execute(&self, _: &str, _: &str) -> Result<(), Fault> {
        Ok(())
    }
    async fn discard(&self, _: &str, name: &str) -> Result<(), Fault> {
        self.1.lock().unwrap().push(name.to_owned());
        Ok(())
    }
    async fn events(&self, _: &str) -> Result<Vec<StackEvent>, Fault> {
        Ok(Vec::new())
    }
    async fn delete(&self, _: &str) -> Result<(), Fault> {
        Ok(())
    }
}

fn plan() -> StackPlan {
    StackPlan {
        env: EnvId::parse("test").unwrap(),
        org: None,
        stack: "s".into(),
        region: "us-east-1".into(),
        template: "{}".into(),
        tags: BTreeMap::new(),
        repairs: vec![],
        remakes: vec![],
        allows: vec![],
        deletes: None,
        digest: "d".into(),
    }
}

/// What the workflow executes is what is said to change, so a change set that is ready is never said to be nothing.
#[tokio::test]
async fn a_change_set_is_executed_though_it_touches_no_resource() {
    for (state, executes) in [(ChangeSetState::Ready(vec![]), true), (ChangeSetState::Empty, false)] {
        let stacks = Answers(state, Mutex::default());
        let changes = computed(&stacks, &plan(), "name", "{}", &[]).await.unwrap();
        assert_eq!(!said(changes.as_deref()).is_empty(), executes);
        assert_eq!(stacks.1.lock().unwrap().is_empty(), executes, "what is not executed goes");
    }
}
