//! Whoever hears the alarms of the environment `test`: a queue that is subscribed to its topic.

use super::past_us::PastUs;
use leadline_domain::alarm::AlarmMessage;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);

/// One alarm as it arrived.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Subject.
    pub subject: String,
    /// What it says to programs.
    pub message: AlarmMessage,
    /// Attributes, by which receivers filter.
    pub attributes: Value,
}

/// A queue that is subscribed to a topic.
pub struct AlarmQueue {
    sqs: aws_sdk_sqs::Client,
    url: String,
}

impl AlarmQueue {
    /// Makes a queue of this name and subscribes it, as SNS wants it: the queue's policy lets the topic send.
    ///
    /// # Panics
    /// When the endpoint refuses.
    pub async fn at(root: &PastUs, name: &str, topic: &str) -> Self {
        let url = root.sqs.create_queue().queue_name(name).send().await.expect("a queue").queue_url;
        let url = url.expect("a url");
        let arn = aws_sdk_sqs::types::QueueAttributeName::QueueArn;
        let known = root.sqs.get_queue_attributes().queue_url(&url).attribute_names(arn.clone()).send().await;
        let arn = known.expect("attributes").attributes().and_then(|a| a.get(&arn)).cloned().expect("an ARN");
        let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:SendMessage",
            "Principal": {"Service": "sns.amazonaws.com"}, "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}}}]});
        let name = aws_sdk_sqs::types::QueueAttributeName::Policy;
        let set = root.sqs.set_queue_attributes().queue_url(&url).attributes(name, policy.to_string());
        set.send().await.expect("set");
        root.query(
            "sns",
            "2010-03-31",
            &[("Action", "Subscribe"), ("TopicArn", topic), ("Protocol", "sqs"), ("Endpoint", &arn)],
        );
        Self { sqs: root.sqs.clone(), url }
    }

    async fn receive(&self, wait_s: i32) -> Vec<Heard> {
        let r = self.sqs.receive_message().queue_url(&self.url).max_number_of_messages(10).wait_time_seconds(wait_s);
        let mut heard = Vec::new();
        for m in r.send().await.expect("received").messages() {
            let body: Value = serde_json::from_str(m.body().unwrap_or_default()).expect("an envelope of SNS");
            let text = body["Message"].as_str().unwrap_or_default();
            heard.push(Heard {
                subject: body["Subject"].as_str().unwrap_or_default().to_owned(),
                message: serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {body}")),
                attributes: body["MessageAttributes"].clone(),
            });
            let delete = self.sqs.delete_message().queue_url(&self.url);
            delete.set_receipt_handle(m.receipt_handle().map(str::to_owned)).send().await.expect("deleted");
        }
        heard
    }

    /// Waits until `n` alarms have arrived, and looks once more, so that one too many is seen too.
    ///
    /// # Panics
    /// When another number arrives.
    pub async fn hears(&self, n: usize) -> Vec<Heard> {
        let (mut heard, end) = (Vec::new(), Instant::now() + LIMIT);
        while heard.len() < n && Instant::now() < end {
            heard.extend(self.receive(2).await);
        }
        heard.extend(self.receive(1).await);
        assert_eq!(heard.len(), n, "{heard:#?}");
        heard
    }
}
