//! CloudFormation.

use super::errors::{Service, fault};
use super::sts::Aws;
use crate::ports::stacks::{ChangeSetState, ResourceChange, StackEvent, StackState, Stacks};
use async_trait::async_trait;
use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::error::ProvideErrorMetadata;
use aws_sdk_cloudformation::types::{Capability, ChangeSetStatus, ChangeSetType, ExecutionStatus, Tag};
use leadline_domain::{Fault, FaultCode};
use leadline_provisioning::template::is_opened;
use std::collections::BTreeMap;
use std::time::Duration;

/// CloudFormation: a template given in the request has at most 51,200 bytes (CreateChangeSet, TemplateBody).
const TEMPLATE: usize = 51_200;
/// Events given back at most.
const EVENTS: usize = 200;
/// How often, and how long apart, a stack is looked at for what it was told to do: half a minute.
const BEGUN_LOOKS: u32 = 60;
const BEGUN_LOOK: Duration = Duration::from_millis(500);

/// See [`Stacks`].
pub struct CfnStacks {
    client: Client,
    /// A stack in another region, and who speaks to CloudFormation there.
    elsewhere: Option<(String, Client)>,
}

impl CfnStacks {
    /// As whoever started this process.
    #[must_use]
    pub fn new(aws: &Aws) -> Self {
        let config =
            aws_sdk_cloudformation::config::Builder::from(aws.provisioner()).interceptor(aws.counting()).build();
        Self { client: Client::from_conf(config), elsewhere: None }
    }

    /// With one stack in another region: the one of the copies.
    #[must_use]
    pub fn with_stack_in(mut self, aws: &Aws, stack: String, region: &str) -> Self {
        let config = aws_sdk_cloudformation::config::Builder::from(aws.provisioner())
            .region(aws_sdk_cloudformation::config::Region::new(region.to_owned()))
            .interceptor(aws.counting())
            .build();
        self.elsewhere = Some((stack, Client::from_conf(config)));
        self
    }

    fn of(&self, stack: &str) -> &Client {
        self.elsewhere.as_ref().filter(|(s, _)| s == stack).map_or(&self.client, |(_, c)| c)
    }

    async fn find(&self, stack: &str) -> Result<Option<aws_sdk_cloudformation::types::Stack>, Fault> {
        match self.of(stack).describe_stacks().stack_name(stack).send().await {
            Ok(r) => Ok(r.stacks().first().cloned()),
            // DescribeStacks answers ValidationError for a stack that does not exist.
            Err(e) if e.code() == Some("ValidationError") && says(e.message(), "does not exist") => Ok(None),
            Err(e) => Err(fault(Service::CloudFormation, "DescribeStacks", &e)),
        }
    }

    /// Whether a change set is left over from an earlier execution: it was executed, or the stack changed since.
    async fn spent(&self, stack: &str, name: &str) -> Result<bool, Fault> {
        let r = self.of(stack).describe_change_set().stack_name(stack).change_set_name(name).send().await;
        let r = r.map_err(|e| fault(Service::CloudFormation, "DescribeChangeSet", &e))?;
        Ok(matches!(
            r.execution_status(),
            Some(ExecutionStatus::ExecuteComplete | ExecutionStatus::ExecuteFailed | ExecutionStatus::Obsolete)
        ))
    }

    /// What CloudFormation found wrong before the last operation that it did not begin. Nothing where that cannot be read:
    /// the stack's own event is told then.
    async fn found_invalid(&self, stack: &str) -> Vec<StackEvent> {
        let mut pages = self.of(stack).describe_events().stack_name(stack).into_paginator().send();
        let mut all = Vec::new();
        while let Some(Ok(page)) = pages.next().await {
            all.extend(page.operation_events().iter().filter(|e| e.validation_status_reason().is_some()).cloned());
        }
        let last = all.iter().max_by_key(|e| e.timestamp().map(|t| t.as_nanos())).and_then(|e| e.operation_id.clone());
        all.retain(|e| e.operation_id == last);
        let text = |t: Option<&str>| t.unwrap_or_default().to_owned();
        all.iter()
            .map(|e| StackEvent {
                id: text(e.event_id()),
                logical_id: text(e.logical_resource_id()),
                status: "VALIDATION_FAILED".into(),
                reason: format!("{}: {}", text(e.validation_name()), text(e.validation_status_reason())),
            })
            .collect()
    }

    /// Waits until the stack shows that a change set is being executed, or was. What it shows right after the request may
    /// still be what it was before: an end that is none.
    async fn begun(&self, stack: &str, name: &str) -> Result<(), Fault> {
        for _ in 0..BEGUN_LOOKS {
            if let Some(s) = self.find(stack).await?
                && last_executed(&s) == Some(name)
                && status(&s) != "REVIEW_IN_PROGRESS"
            {
                return Ok(());
            }
            tokio::time::sleep(BEGUN_LOOK).await;
        }
        Err(Fault::new(
            FaultCode::StackBusy,
            format!("stack {stack} does not show yet that its change set is executed"),
        ))
    }

    /// CloudFormation deletes a stack's change sets once one is executed. The stack names the one it executed last.
    async fn executed_before(&self, stack: &str, name: &str) -> Result<(), Fault> {
        let found = self.find(stack).await?;
        if found.as_ref().and_then(last_executed) == Some(name) {
            return Ok(());
        }
        Err(Fault::new(FaultCode::StackPlanMismatch, format!("stack {stack} has no change set of this plan any more")))
    }
}

/// The stacks that are made, and whether each was opened for deletion. Those under creation, failed in it or under deletion
/// are not made.
pub(super) async fn made(aws: &Aws) -> Result<BTreeMap<String, bool>, Fault> {
    let all = CfnStacks::new(aws).all().await?;
    let made = |s: &str| s == "CREATE_COMPLETE" || s.starts_with("UPDATE_") || s.starts_with("IMPORT_");
    let there = all.into_iter().filter(|(_, s)| made(&s.status));
    Ok(there.map(|(name, s)| (name, is_opened(&s.outputs))).collect())
}

/// The unique end of a change set's ARN (`.../<name>/<uuid>`), fit for a ClientRequestToken (letters, digits, hyphens,
/// at most 128): the same execution has the same token, the next change set of this name has another.
fn token(change_set_arn: Option<&str>) -> Option<String> {
    let end = change_set_arn?.rsplit('/').next()?;
    (!end.is_empty()).then(|| end.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(128).collect())
}

fn says(message: Option<&str>, part: &str) -> bool {
    message.is_some_and(|m| m.contains(part))
}

/// The name of the change set that a stack executed last: the second part of its ARN.
fn last_executed(s: &aws_sdk_cloudformation::types::Stack) -> Option<&str> {
    s.change_set_id()?.split('/').nth(1)
}

fn status(s: &aws_sdk_cloudformation::types::Stack) -> &str {
    s.stack_status().map_or("", aws_sdk_cloudformation::types::StackStatus::as_str)
}

/// `None` for one that counts as none.
fn state(s: &aws_sdk_cloudformation::types::Stack) -> Option<StackState> {
    if matches!(status(s), "REVIEW_IN_PROGRESS" | "DELETE_COMPLETE") {
        return None;
    }
    let pair = |k: Option<&str>, v: Option<&str>| Some((k?.to_owned(), v?.to_owned()));
    Some(StackState {
        status: status(s).to_owned(),
        reason: s.stack_status_reason().unwrap_or_default().to_owned(),
        outputs: s.outputs().iter().filter_map(|o| pair(o.output_key(), o.output_value())).collect(),
        tags: s.tags().iter().filter_map(|t| pair(t.key(), t.value())).collect(),
    })
}

/// Executed, or being executed.
fn executed(s: Option<&ExecutionStatus>) -> bool {
    matches!(s, Some(ExecutionStatus::ExecuteInProgress | ExecutionStatus::ExecuteComplete))
}

/// There is no such change set, or not even such a stack.
fn gone(code: Option<&str>, message: Option<&str>) -> bool {
    matches!(code, Some("ChangeSetNotFound" | "ChangeSetNotFoundException"))
        || (code == Some("ValidationError") && says(message, "does not exist"))
}

fn change(c: &aws_sdk_cloudformation::types::ResourceChange) -> ResourceChange {
    ResourceChange {
        logical_id: c.logical_resource_id().unwrap_or_default().to_owned(),
        resource_type: c.resource_type().unwrap_or_default().to_owned(),
        action: c.action().map_or("", |a| a.as_str()).to_owned(),
        replacement: c.replacement().map_or("", |a| a.as_str()).to_owned(),
    }
}

#[async_trait]
impl Stacks for CfnStacks {
    async fn describe(&self, stack: &str) -> Result<Option<StackState>, Fault> {
        Ok(self.find(stack).await?.as_ref().and_then(state))
    }

    async fn all(&self) -> Result<BTreeMap<String, StackState>, Fault> {
        let mut pages = self.client.describe_stacks().into_paginator().send();
        let mut out = BTreeMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| fault(Service::CloudFormation, "DescribeStacks", &e))?;
            out.extend(page.stacks().iter().filter_map(|s| Some((s.stack_name()?.to_owned(), state(s)?))));
        }
        Ok(out)
    }

    async fn template(&self, stack: &str) -> Result<Option<String>, Fault> {
        if self.describe(stack).await?.is_none() {
            return Ok(None);
        }
        let r = self.of(stack).get_template().stack_name(stack).send().await;
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
        if template.len() > TEMPLATE {
            return Err(Fault::new(
                FaultCode::StackRefused,
                format!("the template of {stack} has {} bytes, CloudFormation takes {TEMPLATE}", template.len()),
            ));
        }
        let found = self.find(stack).await?;
        let found = found.as_ref().map_or("", status);
        let kind = match found {
            "" | "REVIEW_IN_PROGRESS" | "DELETE_COMPLETE" => ChangeSetType::Create,
            "ROLLBACK_COMPLETE"
            | "ROLLBACK_FAILED"
            | "CREATE_FAILED"
            | "DELETE_FAILED"
            | "UPDATE_ROLLBACK_FAILED"
            | "UPDATE_FAILED"
            | "IMPORT_ROLLBACK_FAILED" => {
                return Err(Fault::new(FaultCode::StackTerminal, format!("stack {stack} is {found}")));
            }
            s if s.ends_with("_IN_PROGRESS") => {
                return Err(Fault::new(FaultCode::StackBusy, format!("stack {stack} is {s}")));
            }
            _ => ChangeSetType::Update,
        };
        let tags: Vec<Tag> = tags.iter().map(|(k, v)| Tag::builder().key(k).value(v).build()).collect();
        // Twice at most: one of the same name may be left over that cannot be executed any more.
        for last in [false, true] {
            let made = self
                .of(stack)
                .create_change_set()
                .stack_name(stack)
                .change_set_name(name)
                .change_set_type(kind.clone())
                .template_body(template)
                .capabilities(Capability::CapabilityNamedIam)
                .set_tags(Some(tags.clone()))
                .send()
                .await;
            match made {
                Ok(_) => return Ok(()),
                Err(e) if e.code() == Some("AlreadyExistsException") => {
                    if last || !self.spent(stack, name).await? {
                        return Ok(());
                    }
                    self.discard(stack, name).await?;
                }
                // The stack moved between the look and the request.
                Err(e) if says(e.message(), "_IN_PROGRESS state") => {
                    return Err(Fault::new(FaultCode::StackBusy, format!("stack {stack} is being changed")));
                }
                Err(e) => return Err(fault(Service::CloudFormation, "CreateChangeSet", &e)),
            }
        }
        Ok(())
    }

    async fn change_set(&self, stack: &str, name: &str) -> Result<ChangeSetState, Fault> {
        let mut changes = Vec::new();
        let mut page = None;
        loop {
            let r = self
                .of(stack)
                .describe_change_set()
                .stack_name(stack)
                .change_set_name(name)
                .set_next_token(page)
                .send()
                .await;
            let r = match r {
                Ok(r) => r,
                Err(e) if gone(e.code(), e.message()) => {
                    return Ok(ChangeSetState::Failed("there is no change set of this name".into()));
                }
                Err(e) => return Err(fault(Service::CloudFormation, "DescribeChangeSet", &e)),
            };
            let reason = r.status_reason().unwrap_or_default();
            match r.status() {
                Some(ChangeSetStatus::CreateComplete) if executed(r.execution_status()) => {
                    return Ok(ChangeSetState::Empty);
                }
                Some(ChangeSetStatus::CreateComplete) => {}
                // The texts CloudFormation uses for a change set without changes.
                Some(ChangeSetStatus::Failed)
                    if reason.contains("didn't contain changes")
                        || reason.contains("No updates are to be performed") =>
                {
                    return Ok(ChangeSetState::Empty);
                }
                Some(ChangeSetStatus::Failed | ChangeSetStatus::DeleteFailed) => {
                    return Ok(ChangeSetState::Failed(reason.to_owned()));
                }
                _ => return Ok(ChangeSetState::Pending),
            }
            changes.extend(
                r.changes().iter().filter_map(aws_sdk_cloudformation::types::Change::resource_change).map(change),
            );
            page = r.next_token().map(str::to_owned);
            if page.is_none() {
                return Ok(ChangeSetState::Ready(changes));
            }
        }
    }

    async fn execute(&self, stack: &str, name: &str) -> Result<(), Fault> {
        let described = self.of(stack).describe_change_set().stack_name(stack).change_set_name(name).send().await;
        let token = match described {
            Ok(r) if executed(r.execution_status()) => return self.begun(stack, name).await,
            Ok(r) if r.execution_status() == Some(&ExecutionStatus::Obsolete) => {
                return Err(Fault::new(
                    FaultCode::StackPlanMismatch,
                    format!("the change set of stack {stack} is obsolete: the stack changed since it was made"),
                ));
            }
            Ok(r) => token(r.change_set_id()),
            Err(e) if gone(e.code(), e.message()) => return self.executed_before(stack, name).await,
            Err(e) => return Err(fault(Service::CloudFormation, "DescribeChangeSet", &e)),
        };
        let run = self.of(stack).execute_change_set().stack_name(stack).change_set_name(name);
        // What a change made goes again when the change is rolled back; else a retained bucket would keep its name and
        // every further attempt would fail on it. What was there before stays.
        let run = run.retain_except_on_create(true);
        match run.set_client_request_token(token).send().await {
            Ok(_) => self.begun(stack, name).await,
            Err(e) if gone(e.code(), e.message()) => self.executed_before(stack, name).await,
            // Executed by a run of this step that was cut off, between the look and the request.
            Err(e) if e.code() == Some("InvalidChangeSetStatus") && says(e.message(), "EXECUTE_") => {
                self.begun(stack, name).await
            }
            Err(e) => Err(fault(Service::CloudFormation, "ExecuteChangeSet", &e)),
        }
    }

    async fn discard(&self, stack: &str, name: &str) -> Result<(), Fault> {
        match self.of(stack).delete_change_set().stack_name(stack).change_set_name(name).send().await {
            Ok(_) => Ok(()),
            Err(e) if gone(e.code(), e.message()) => Ok(()),
            Err(e) => Err(fault(Service::CloudFormation, "DeleteChangeSet", &e)),
        }
    }

    async fn events(&self, stack: &str) -> Result<Vec<StackEvent>, Fault> {
        let mut events = Vec::new();
        let mut page = None;
        // Newest first, 100 a page.
        while events.len() < EVENTS {
            let r = self.of(stack).describe_stack_events().stack_name(stack).set_next_token(page).send().await;
            let r = match r {
                Ok(r) => r,
                Err(e) if gone(e.code(), e.message()) => break,
                Err(e) => return Err(fault(Service::CloudFormation, "DescribeStackEvents", &e)),
            };
            events.extend(r.stack_events().iter().map(|e| StackEvent {
                id: e.event_id().unwrap_or_default().to_owned(),
                logical_id: e.logical_resource_id().unwrap_or_default().to_owned(),
                status: e.resource_status().map_or("", |s| s.as_str()).to_owned(),
                reason: e.resource_status_reason().unwrap_or_default().to_owned(),
            }));
            page = r.next_token().map(str::to_owned);
            if page.is_none() {
                break;
            }
        }
        events.truncate(EVENTS);
        events.reverse();
        // Where names and properties are found wrong before anything is made, the stack's event only says where to read on.
        if let Some(at) = events.iter().rposition(|e| e.reason.contains("Call DescribeEvents")) {
            events.splice(at..at, self.found_invalid(stack).await);
        }
        Ok(events)
    }

    async fn delete(&self, stack: &str) -> Result<(), Fault> {
        let r = self.of(stack).delete_stack().stack_name(stack).send().await;
        r.map_err(|e| fault(Service::CloudFormation, "DeleteStack", &e))?;
        Ok(())
    }
}
