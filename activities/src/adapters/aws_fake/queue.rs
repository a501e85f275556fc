//! A queue in memory.

use super::{FaultPlan, lock};
use crate::ports::queue::{Incoming, Outgoing, Queue};
use async_trait::async_trait;
use leadline_domain::{Fault, FaultCode};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Messages {
    waiting: VecDeque<(Outgoing, u32)>,
    in_flight: BTreeMap<u64, (Outgoing, u32)>,
    deduplicated: BTreeSet<String>,
    accepted: Vec<Outgoing>,
    receipts: u64,
}

/// A queue in memory. Messages received and not deleted stay in flight until [`FakeQueue::return_in_flight`]; a
/// deduplication id is remembered for good (SQS: five minutes).
pub struct FakeQueue {
    fifo: bool,
    messages: Mutex<Messages>,
    /// Faults to come: of `send` (each message of a call takes one), `receive`, `delete`, `depth`.
    pub faults: FaultPlan,
}

impl FakeQueue {
    /// A FIFO queue.
    #[must_use]
    pub fn fifo() -> Arc<Self> {
        Arc::new(Self { fifo: true, messages: Mutex::default(), faults: FaultPlan::default() })
    }

    /// A standard queue.
    #[must_use]
    pub fn standard() -> Arc<Self> {
        Arc::new(Self { fifo: false, messages: Mutex::default(), faults: FaultPlan::default() })
    }

    /// Every message the queue took, repeats not counted, in order.
    #[must_use]
    pub fn accepted(&self) -> Vec<Outgoing> {
        lock(&self.messages).accepted.clone()
    }

    /// What is in flight becomes visible again, as after the visibility timeout.
    pub fn return_in_flight(&self) {
        let mut m = lock(&self.messages);
        let back = std::mem::take(&mut m.in_flight);
        m.waiting.extend(back.into_values());
    }
}

impl Messages {
    fn take(&mut self, m: &Outgoing, fifo: bool) {
        if fifo && !self.deduplicated.insert(m.dedup_id.clone()) {
            return;
        }
        self.accepted.push(m.clone());
        self.waiting.push_back((m.clone(), 0));
    }
}

#[async_trait]
impl Queue for FakeQueue {
    async fn send(&self, messages: &[Outgoing]) -> Vec<Result<(), Fault>> {
        self.faults.answers("send").await;
        messages
            .iter()
            .map(|m| {
                let after = self.faults.next("send")?;
                if m.body.is_empty() {
                    return Err(Fault::new(FaultCode::QueueRefused, "MissingParameter"));
                }
                lock(&self.messages).take(m, self.fifo);
                after.map_or(Ok(()), Err)
            })
            .collect()
    }

    async fn receive(&self, max: u32, _wait_s: u32) -> Result<Vec<Incoming>, Fault> {
        if let Some(f) = self.faults.next("receive")? {
            return Err(f);
        }
        let mut m = lock(&self.messages);
        let mut out = Vec::new();
        while out.len() < max as usize
            && let Some((message, received)) = m.waiting.pop_front()
        {
            m.receipts += 1;
            let receipt = m.receipts;
            out.push(Incoming {
                body: message.body.clone(),
                receipt: receipt.to_string(),
                receive_count: received + 1,
            });
            m.in_flight.insert(receipt, (message, received + 1));
        }
        Ok(out)
    }

    async fn delete(&self, receipts: &[String]) -> Result<(), Fault> {
        let after = self.faults.next("delete")?;
        let mut m = lock(&self.messages);
        for r in receipts {
            if let Ok(n) = r.parse() {
                m.in_flight.remove(&n);
            }
        }
        after.map_or(Ok(()), Err)
    }

    async fn depth(&self) -> Result<(u64, u64), Fault> {
        if let Some(f) = self.faults.next("depth")? {
            return Err(f);
        }
        let m = lock(&self.messages);
        Ok((m.waiting.len() as u64, m.in_flight.len() as u64))
    }
}
