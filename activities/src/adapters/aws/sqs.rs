//! A queue.

use super::errors::{Service, entry_fault, fault};
use super::sts::Aws;
use crate::ports::queue::{Incoming, Outgoing, Queue};
use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
};
use leadline_domain::{Fault, FaultCode};
use tokio::sync::Mutex;

/// SQS: at most 10 entries a batch (SendMessageBatch).
const BATCH: usize = 10;
/// SQS: a message, and all messages of a batch together, have at most 1 MiB (SendMessageBatch, "Amazon SQS message
/// quotas"; a queue's MaximumMessageSize may be less for a single message).
const BYTES: usize = 1024 * 1024;

/// See [`Queue`].
pub struct SqsQueue {
    client: Client,
    name: String,
    // Held while the URL is asked for: once is enough.
    url: Mutex<Option<String>>,
}

impl SqsQueue {
    /// A queue by name, used as the worker; its URL is asked for once.
    #[must_use]
    pub fn new(aws: &Aws, name: String) -> Self {
        let config = aws_sdk_sqs::config::Builder::from(aws.worker()).interceptor(aws.counting()).build();
        Self { client: Client::from_conf(config), name, url: Mutex::default() }
    }

    async fn url(&self) -> Result<String, Fault> {
        let mut known = self.url.lock().await;
        if let Some(u) = known.as_ref() {
            return Ok(u.clone());
        }
        let r = self.client.get_queue_url().queue_name(&self.name).send().await;
        let r = r.map_err(|e| fault(Service::Sqs, "GetQueueUrl", &e))?;
        let url = r.queue_url().unwrap_or_default().to_owned();
        *known = Some(url.clone());
        Ok(url)
    }

    /// A queue that is missing may come back under another URL.
    async fn seen(&self, f: Fault) -> Fault {
        if f.code == FaultCode::QueueMissing {
            *self.url.lock().await = None;
        }
        f
    }

    fn fifo(&self) -> bool {
        self.name.ends_with(".fifo")
    }

    async fn send_one(&self, url: &str, m: &Outgoing) -> Result<(), Fault> {
        let mut request = self.client.send_message().queue_url(url).message_body(&m.body);
        if self.fifo() {
            request = request.message_deduplication_id(&m.dedup_id).message_group_id(&m.group_id);
        }
        match request.send().await {
            Ok(_) => Ok(()),
            Err(e) => Err(self.seen(fault(Service::Sqs, "SendMessage", &e)).await),
        }
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
            Err(e) => vec![Err(self.seen(fault(Service::Sqs, "SendMessageBatch", &e)).await); batch.len()],
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
                        *slot = Err(entry_fault("SendMessageBatch", bad.code(), bad.sender_fault()));
                    }
                }
                out
            }
        }
    }
}

/// Cuts messages into batches that fit a request. A message too large for any stays alone, for SQS to refuse.
fn batches(messages: &[Outgoing]) -> Vec<&[Outgoing]> {
    let mut out = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (n, m) in messages.iter().enumerate() {
        if n > from && (n - from == BATCH || bytes + m.body.len() > BYTES) {
            out.push(&messages[from..n]);
            (from, bytes) = (n, 0);
        }
        bytes += m.body.len();
    }
    if from < messages.len() {
        out.push(&messages[from..]);
    }
    out
}

#[async_trait]
impl Queue for SqsQueue {
    async fn send(&self, messages: &[Outgoing]) -> Vec<Result<(), Fault>> {
        let url = match self.url().await {
            Ok(u) => u,
            Err(f) => return vec![Err(f); messages.len()],
        };
        let mut out = Vec::with_capacity(messages.len());
        for batch in batches(messages) {
            match batch {
                [one] => out.push(self.send_one(&url, one).await),
                several => out.extend(self.send_batch(&url, several).await),
            }
        }
        out
    }

    async fn receive(&self, max: u32, wait_s: u32) -> Result<Vec<Incoming>, Fault> {
        let received = self
            .client
            .receive_message()
            .queue_url(self.url().await?)
            .max_number_of_messages(i32::try_from(max.clamp(1, 10)).unwrap_or(10))
            .wait_time_seconds(i32::try_from(wait_s.min(20)).unwrap_or(20))
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .send()
            .await;
        let r = match received {
            Ok(r) => r,
            Err(e) => return Err(self.seen(fault(Service::Sqs, "ReceiveMessage", &e)).await),
        };
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
            let deleted = self.client.delete_message_batch().queue_url(&url).set_entries(Some(entries)).send().await;
            match deleted {
                // An answer of 200 can still name entries that were not deleted; they would be delivered again.
                Ok(r) => {
                    if let Some(bad) = r.failed().first() {
                        return Err(entry_fault("DeleteMessageBatch", bad.code(), bad.sender_fault()));
                    }
                }
                Err(e) => return Err(self.seen(fault(Service::Sqs, "DeleteMessageBatch", &e)).await),
            }
        }
        Ok(())
    }

    async fn depth(&self) -> Result<(u64, u64), Fault> {
        let asked = self
            .client
            .get_queue_attributes()
            .queue_url(self.url().await?)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
            .send()
            .await;
        let r = match asked {
            Ok(r) => r,
            Err(e) => return Err(self.seen(fault(Service::Sqs, "GetQueueAttributes", &e)).await),
        };
        let n =
            |k: &QueueAttributeName| r.attributes().and_then(|a| a.get(k)).and_then(|v| v.parse().ok()).unwrap_or(0);
        Ok((
            n(&QueueAttributeName::ApproximateNumberOfMessages),
            n(&QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(bodies: &[usize]) -> Vec<usize> {
        let m: Vec<Outgoing> = bodies
            .iter()
            .map(|n| Outgoing { body: "x".repeat(*n), dedup_id: String::new(), group_id: String::new() })
            .collect();
        let cut = batches(&m);
        assert_eq!(cut.concat(), m);
        cut.iter().map(|b| b.len()).collect()
    }

    #[test]
    fn batches_respect_both_limits() {
        assert_eq!(lengths(&[]), [0; 0]);
        assert_eq!(lengths(&[1]), [1]);
        assert_eq!(lengths(&[1; 25]), [10, 10, 5]);
        assert_eq!(lengths(&[300_000; 5]), [3, 2]);
        assert_eq!(lengths(&[BYTES, 1, BYTES + 1, 1]), [1, 1, 1, 1]);
    }
}
