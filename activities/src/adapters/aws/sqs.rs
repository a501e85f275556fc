//! A queue.

use super::errors::{Service, fault};
use super::sts::Aws;
use crate::ports::queue::{Incoming, Outgoing, Queue};
use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
};
use leadline_domain::{Fault, FaultCode};
use tokio::sync::OnceCell;

/// SQS: at most 10 entries a batch (SendMessageBatch).
const BATCH: usize = 10;

/// See [`Queue`].
pub struct SqsQueue {
    client: Client,
    name: String,
    url: OnceCell<String>,
}

impl SqsQueue {
    /// A queue by name, used as the worker; its URL is asked for once.
    #[must_use]
    pub fn new(aws: &Aws, name: String) -> Self {
        let config = aws_sdk_sqs::config::Builder::from(aws.worker()).interceptor(aws.counting()).build();
        Self { client: Client::from_conf(config), name, url: OnceCell::new() }
    }

    async fn url(&self) -> Result<&str, Fault> {
        self.url
            .get_or_try_init(|| async {
                let r = self.client.get_queue_url().queue_name(&self.name).send().await;
                let r = r.map_err(|e| fault(Service::Sqs, "GetQueueUrl", &e))?;
                Ok(r.queue_url().unwrap_or_default().to_owned())
            })
            .await
            .map(String::as_str)
    }

    fn fifo(&self) -> bool {
        self.name.ends_with(".fifo")
    }

    async fn send_one(&self, url: &str, m: &Outgoing) -> Result<(), Fault> {
        let mut request = self.client.send_message().queue_url(url).message_body(&m.body);
        if self.fifo() {
            request = request.message_deduplication_id(&m.dedup_id).message_group_id(&m.group_id);
        }
        request.send().await.map_err(|e| fault(Service::Sqs, "SendMessage", &e))?;
        Ok(())
    }

    async fn send_batch(&self, url: &str, batch: &[Outgoing]) -> Vec<Result<(), Fault>> {
        let entries = batch
            .iter()
            .enumerate()
            .map(|(n, m)| {
                let mut e = SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(&m.body);
                if self.fifo() {
                    e = e.message_deduplication_id(&m.dedup_id).message_group_id(&m.group_id);
                }
                e.build()
            })
            .collect::<Result<Vec<_>, _>>();
        let Ok(entries) = entries else {
            return vec![Err(Fault::new(FaultCode::QueueRefused, "a message has no body")); batch.len()];
        };
        match self.client.send_message_batch().queue_url(url).set_entries(Some(entries)).send().await {
            Err(e) => vec![Err(fault(Service::Sqs, "SendMessageBatch", &e)); batch.len()],
            Ok(r) => {
                let lost = Fault::new(FaultCode::QueueUnreachable, "SendMessageBatch: no answer for this message");
                let mut out = vec![Err(lost); batch.len()];
                for ok in r.successful() {
                    if let Some(slot) = ok.id().parse::<usize>().ok().and_then(|n| out.get_mut(n)) {
                        *slot = Ok(());
                    }
                }
                for bad in r.failed() {
                    if let Some(slot) = bad.id().parse::<usize>().ok().and_then(|n| out.get_mut(n)) {
                        let code =
                            if bad.sender_fault() { FaultCode::QueueRefused } else { FaultCode::QueueUnreachable };
                        *slot = Err(Fault::new(code, format!("SendMessageBatch: {}", bad.code())));
                    }
                }
                out
            }
        }
    }
}

#[async_trait]
impl Queue for SqsQueue {
    async fn send(&self, messages: &[Outgoing]) -> Vec<Result<(), Fault>> {
        let url = match self.url().await {
            Ok(u) => u,
            Err(f) => return vec![Err(f); messages.len()],
        };
        if let [one] = messages {
            return vec![self.send_one(url, one).await];
        }
        let mut out = Vec::with_capacity(messages.len());
        for batch in messages.chunks(BATCH) {
            out.extend(self.send_batch(url, batch).await);
        }
        out
    }

    async fn receive(&self, max: u32, wait_s: u32) -> Result<Vec<Incoming>, Fault> {
        let r = self
            .client
            .receive_message()
            .queue_url(self.url().await?)
            .max_number_of_messages(i32::try_from(max.clamp(1, 10)).unwrap_or(10))
            .wait_time_seconds(i32::try_from(wait_s.min(20)).unwrap_or(20))
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .send()
            .await
            .map_err(|e| fault(Service::Sqs, "ReceiveMessage", &e))?;
        Ok(r.messages()
            .iter()
            .map(|m| Incoming {
                body: m.body().unwrap_or_default().to_owned(),
                receipt: m.receipt_handle().unwrap_or_default().to_owned(),
                receive_count: m
                    .attributes()
                    .and_then(|a| a.get(&MessageSystemAttributeName::ApproximateReceiveCount))
                    .and_then(|n| n.parse().ok())
                    .unwrap_or(0),
            })
            .collect())
    }

    async fn delete(&self, receipts: &[String]) -> Result<(), Fault> {
        let url = self.url().await?;
        for batch in receipts.chunks(BATCH) {
            let entries = batch
                .iter()
                .enumerate()
                .filter_map(|(n, r)| {
                    DeleteMessageBatchRequestEntry::builder().id(n.to_string()).receipt_handle(r).build().ok()
                })
                .collect();
            self.client
                .delete_message_batch()
                .queue_url(url)
                .set_entries(Some(entries))
                .send()
                .await
                .map_err(|e| fault(Service::Sqs, "DeleteMessageBatch", &e))?;
        }
        Ok(())
    }

    async fn depth(&self) -> Result<(u64, u64), Fault> {
        let r = self
            .client
            .get_queue_attributes()
            .queue_url(self.url().await?)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
            .send()
            .await
            .map_err(|e| fault(Service::Sqs, "GetQueueAttributes", &e))?;
        let n =
            |k: &QueueAttributeName| r.attributes().and_then(|a| a.get(k)).and_then(|v| v.parse().ok()).unwrap_or(0);
        Ok((
            n(&QueueAttributeName::ApproximateNumberOfMessages),
            n(&QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
        ))
    }
}
