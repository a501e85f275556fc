//! CloudFormation.

use super::errors::{Service, fault};
use super::sts::Aws;
use crate::ports::stacks::{ChangeSetState, ResourceChange, StackEvent, StackState, Stacks};
use async_trait::async_trait;
use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::error::ProvideErrorMetadata;
use aws_sdk_cloudformation::types::{Capability, ChangeSetStatus, ChangeSetType, ExecutionStatus, Tag};
use leadline_domain::{Fault, FaultCode};
use std::collections::BTreeMap;

/// See [`Stacks`].
pub struct CfnStacks {
    client: Client,
}

impl CfnStacks {
    /// As whoever started this process.
    #[must_use]
    pub fn new(aws: &Aws) -> Self {
        let config =
            aws_sdk_cloudformation::config::Builder::from(aws.provisioner()).interceptor(aws.counting()).build();
        Self { client: Client::from_conf(config) }
    }

    async fn find(&self, stack: &str) -> Result<Option<aws_sdk_cloudformation::types::Stack>, Fault> {
        match self.client.describe_stacks().stack_name(stack).send().await {
            Ok(r) => Ok(r.stacks().first().cloned()),
            // DescribeStacks answers ValidationError for a stack that does not exist.
            Err(e) if e.code() == Some("ValidationError") && says(e.message(), "does not exist") => Ok(None),
            Err(e) => Err(fault(Service::CloudFormation, "DescribeStacks", &e)),
        }
    }
}

fn says(message: Option<&str>, part: &str) -> bool {
    message.is_some_and(|m| m.contains(part))
}

fn status(s: &aws_sdk_cloudformation::types::Stack) -> &str {
    s.stack_status().map_or("", aws_sdk_cloudformation::types::StackStatus::as_str)
}

#[async_trait]
impl Stacks for CfnStacks {
    async fn describe(&self, stack: &str) -> Result<Option<StackState>, Fault> {
        let Some(s) = self.find(stack).await? else { return Ok(None) };
        if matches!(status(&s), "REVIEW_IN_PROGRESS" | "DELETE_COMPLETE") {
            return Ok(None);
        }
        let pair = |k: Option<&str>, v: Option<&str>| Some((k?.to_owned(), v?.to_owned()));
        Ok(Some(StackState {
            status: status(&s).to_owned(),
            reason: s.stack_status_reason().unwrap_or_default().to_owned(),
            outputs: s.outputs().iter().filter_map(|o| pair(o.output_key(), o.output_value())).collect(),
            tags: s.tags().iter().filter_map(|t| pair(t.key(), t.value())).collect(),
        }))
    }

    async fn template(&self, stack: &str) -> Result<Option<String>, Fault> {
        if self.describe(stack).await?.is_none() {
            return Ok(None);
        }
        let r = self.client.get_template().stack_name(stack).send().await;
        let r = r.map_err(|e| fault(Service::CloudFormation, "GetTemplate", &e))?;
        Ok(r.template_body().map(str::to_owned))
    }

    async fn create_change_set(
        &self,
        stack: &str,
        name: &str,
        template: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), Fault> {
        let found = self.find(stack).await?;
        let found = found.as_ref().map_or("", status);
        let kind = match found {
            "" | "REVIEW_IN_PROGRESS" | "DELETE_COMPLETE" => ChangeSetType::Create,
            "ROLLBACK_COMPLETE" | "ROLLBACK_FAILED" | "CREATE_FAILED" | "DELETE_FAILED" | "UPDATE_ROLLBACK_FAILED" => {
                return Err(Fault::new(FaultCode::StackTerminal, format!("stack {stack} is {found}")));
            }
            s if s.ends_with("_IN_PROGRESS") => {
                return Err(Fault::new(FaultCode::StackBusy, format!("stack {stack} is {s}")));
            }
            _ => ChangeSetType::Update,
        };
        let tags = tags.iter().map(|(k, v)| Tag::builder().key(k).value(v).build()).collect();
        let made = self
            .client
            .create_change_set()
            .stack_name(stack)
            .change_set_name(name)
            .change_set_type(kind)
            .template_body(template)
            .capabilities(Capability::CapabilityNamedIam)
            .set_tags(Some(tags))
            .send()
            .await;
        match made {
            Ok(_) => Ok(()),
            Err(e) if e.code() == Some("AlreadyExistsException") => Ok(()),
            Err(e) => Err(fault(Service::CloudFormation, "CreateChangeSet", &e)),
        }
    }

    async fn change_set(&self, stack: &str, name: &str) -> Result<ChangeSetState, Fault> {
        let r = self
            .client
            .describe_change_set()
            .stack_name(stack)
            .change_set_name(name)
            .send()
            .await
            .map_err(|e| fault(Service::CloudFormation, "DescribeChangeSet", &e))?;
        let reason = r.status_reason().unwrap_or_default();
        Ok(match r.status() {
            Some(ChangeSetStatus::CreateComplete) => ChangeSetState::Ready(
                r.changes()
                    .iter()
                    .filter_map(aws_sdk_cloudformation::types::Change::resource_change)
                    .map(|c| ResourceChange {
                        logical_id: c.logical_resource_id().unwrap_or_default().to_owned(),
                        resource_type: c.resource_type().unwrap_or_default().to_owned(),
                        action: c.action().map_or("", |a| a.as_str()).to_owned(),
                        replacement: c.replacement().map_or("", |a| a.as_str()).to_owned(),
                    })
                    .collect(),
            ),
            // The texts CloudFormation uses for a change set without changes.
            Some(ChangeSetStatus::Failed)
                if reason.contains("didn't contain changes") || reason.contains("No updates are to be performed") =>
            {
                ChangeSetState::Empty
            }
            Some(ChangeSetStatus::Failed | ChangeSetStatus::DeleteFailed) => ChangeSetState::Failed(reason.to_owned()),
            _ => ChangeSetState::Pending,
        })
    }

    async fn execute(&self, stack: &str, name: &str) -> Result<(), Fault> {
        let described = self.client.describe_change_set().stack_name(stack).change_set_name(name).send().await;
        match described {
            Ok(r) => match r.execution_status() {
                Some(ExecutionStatus::ExecuteInProgress | ExecutionStatus::ExecuteComplete) => return Ok(()),
                Some(ExecutionStatus::Obsolete) => {
                    return Err(Fault::new(
                        FaultCode::StackPlanMismatch,
                        format!("the change set of stack {stack} is obsolete: the stack changed since it was made"),
                    ));
                }
                _ => {}
            },
            // Executed ones disappear; whether the stack is as planned is seen when it is followed.
            Err(e) if e.code() == Some("ChangeSetNotFound") => return Ok(()),
            Err(e) => return Err(fault(Service::CloudFormation, "DescribeChangeSet", &e)),
        }
        match self.client.execute_change_set().stack_name(stack).change_set_name(name).send().await {
            Ok(_) => Ok(()),
            Err(e) if e.code() == Some("ChangeSetNotFound") => Ok(()),
            // InvalidChangeSetStatus: executed by an earlier run of this step.
            Err(e) if e.code() == Some("InvalidChangeSetStatus") && says(e.message(), "EXECUTE") => Ok(()),
            Err(e) => Err(fault(Service::CloudFormation, "ExecuteChangeSet", &e)),
        }
    }

    async fn discard(&self, stack: &str, name: &str) -> Result<(), Fault> {
        match self.client.delete_change_set().stack_name(stack).change_set_name(name).send().await {
            Ok(_) => Ok(()),
            Err(e) if e.code() == Some("ChangeSetNotFound") => Ok(()),
            Err(e) => Err(fault(Service::CloudFormation, "DeleteChangeSet", &e)),
        }
    }

    async fn events(&self, stack: &str) -> Result<Vec<StackEvent>, Fault> {
        let r = self.client.describe_stack_events().stack_name(stack).send().await;
        let r = r.map_err(|e| fault(Service::CloudFormation, "DescribeStackEvents", &e))?;
        let mut events: Vec<StackEvent> = r
            .stack_events()
            .iter()
            .take(200)
            .map(|e| StackEvent {
                id: e.event_id().unwrap_or_default().to_owned(),
                logical_id: e.logical_resource_id().unwrap_or_default().to_owned(),
                status: e.resource_status().map_or("", |s| s.as_str()).to_owned(),
                reason: e.resource_status_reason().unwrap_or_default().to_owned(),
            })
            .collect();
        events.reverse();
        Ok(events)
    }

    async fn delete(&self, stack: &str) -> Result<(), Fault> {
        let r = self.client.delete_stack().stack_name(stack).send().await;
        r.map_err(|e| fault(Service::CloudFormation, "DeleteStack", &e))?;
        Ok(())
    }
}
