//! The role a queue plays.

use async_trait::async_trait;
use leadline_domain::{Fault, FaultCode};

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Body, at most 256 KiB. No PHI in clear beyond what the message schema allows.
    pub body: String,
    /// `MessageDeduplicationId`, 1 to 128 characters; ignored by a standard queue.
    pub dedup_id: String,
    /// `MessageGroupId`, 1 to 128 characters; ignored by a standard queue.
    pub group_id: String,
}

/// A message received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Body.
    pub body: String,
    /// To delete it with.
    pub receipt: String,
    /// `ApproximateReceiveCount`.
    pub receive_count: u32,
}

/// A queue.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Sends up to any number of messages, ten a request (SendMessageBatch), one by SendMessage. Each has its own
    /// result, in order.
    async fn send(&self, messages: &[Outgoing]) -> Vec<Result<(), Fault>>;

    /// Sends one.
    ///
    /// # Errors
    /// `queue.*`.
    async fn send_one(&self, message: Outgoing) -> Result<(), Fault> {
        let sent = self.send(&[message]).await.pop();
        sent.unwrap_or_else(|| Err(Fault::new(FaultCode::BugInvariant, "one message, no result")))
    }

    /// Whether we may send, without sending anything: a message has at least one character, so that one without is refused
    /// as such by a queue that takes messages from us.
    ///
    /// # Errors
    /// `queue.*`.
    async fn may_send(&self) -> Result<(), Fault> {
        let nothing = Outgoing { body: String::new(), dedup_id: "probe".into(), group_id: "probe".into() };
        match self.send_one(nothing).await {
            Err(f) if f.code == FaultCode::QueueRefused => Ok(()),
            Err(f) => Err(f),
            Ok(()) => Err(Fault::new(FaultCode::BugInvariant, "the queue took a message without content")),
        }
    }

    /// Receives up to `max` (1 to 10) messages, waiting up to `wait_s` (0 to 20) seconds for the first.
    ///
    /// # Errors
    /// `queue.*`.
    async fn receive(&self, max: u32, wait_s: u32) -> Result<Vec<Incoming>, Fault>;

    /// Deletes received messages.
    ///
    /// # Errors
    /// `queue.*`.
    async fn delete(&self, receipts: &[String]) -> Result<(), Fault>;

    /// Approximate numbers of (visible, in flight) messages.
    ///
    /// # Errors
    /// `queue.*`.
    async fn depth(&self) -> Result<(u64, u64), Fault>;
}
