//! The topic of alarms.

use super::errors::{Service, fault};
use super::sts::Aws;
use crate::ports::alarms::Alarms;
use async_trait::async_trait;
use aws_sdk_sns::Client;
use aws_sdk_sns::types::MessageAttributeValue;
use leadline_domain::{Alarm, EnvScope, Fault, FaultCode};
use serde_json::json;

/// See [`Alarms`].
pub struct SnsAlarms {
    client: Client,
    topic: String,
}

impl SnsAlarms {
    /// The environment's topic, used as the worker.
    #[must_use]
    pub fn new(aws: &Aws, env: &EnvScope) -> Self {
        let config = aws_sdk_sns::config::Builder::from(aws.worker()).interceptor(aws.counting()).build();
        Self { client: Client::from_conf(config), topic: env.alarm_topic_arn() }
    }
}

/// By which receivers may filter.
fn attribute(value: &str) -> Result<MessageAttributeValue, Fault> {
    let made = MessageAttributeValue::builder().data_type("String").string_value(value).build();
    made.map_err(|_| Fault::new(FaultCode::AlarmRefused, "an attribute cannot be made"))
}

#[async_trait]
impl Alarms for SnsAlarms {
    async fn raise(&self, alarm: &Alarm) -> Result<(), Fault> {
        let message = alarm.message();
        let told = serde_json::to_string(&message)
            .map_err(|_| Fault::new(FaultCode::BugInvariant, "an alarm cannot be written"))?;
        let mut publish = self
            .client
            .publish()
            .topic_arn(&self.topic)
            .subject(alarm.subject())
            // A text for each protocol (Publish, MessageStructure): people get a mail, everything else gets JSON.
            .message_structure("json")
            .message(json!({"default": told, "email": alarm.text()}).to_string())
            .message_attributes("code", attribute(&message.code)?)
            .message_attributes("environment", attribute(&message.environment)?);
        if let Some(organization) = &message.organization {
            publish = publish.message_attributes("organization", attribute(organization)?);
        }
        publish.send().await.map_err(|e| fault(Service::Sns, "Publish", &e))?;
        Ok(())
    }
}
