//! What every [`Queue`] promises.

use crate::harness::tools::eventually;
use leadline_activities::ports::queue::{Incoming, Outgoing, Queue};
use leadline_domain::FaultCode;
use std::collections::BTreeSet;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

/// A message.
#[must_use]
pub fn message(group: &str, n: usize) -> Outgoing {
    Outgoing { body: format!("{{\"n\":{n}}}"), dedup_id: format!("{group}-{n}"), group_id: group.into() }
}

/// Takes everything out of a queue, until `count` messages came.
async fn drain(queue: &dyn Queue, count: usize) -> Vec<Incoming> {
    let mut all = Vec::new();
    while all.len() < count {
        let more = eventually("a message", LIMIT, || async {
            let got = queue.receive(10, 1).await.expect("received");
            (!got.is_empty()).then_some(got)
        })
        .await;
        let receipts: Vec<String> = more.iter().map(|m| m.receipt.clone()).collect();
        queue.delete(&receipts).await.expect("deleted");
        all.extend(more);
    }
    all
}

/// All cases, with an empty FIFO queue.
pub async fn fifo(queue: &dyn Queue) {
    assert!(queue.send(&[]).await.is_empty());
    assert_eq!(queue.may_send().await, Ok(()));
    assert_eq!(queue.depth().await, Ok((0, 0)), "asking sends nothing");
    one(queue).await;
    batch_with_repeats(queue).await;
    assert_eq!(queue.receive(10, 0).await.expect("an answer"), vec![]);
    assert_eq!(queue.depth().await, Ok((0, 0)));
}

async fn one(queue: &dyn Queue) {
    assert_eq!(queue.send(&[message("single", 1)]).await, vec![Ok(())]);
    assert_eq!(queue.depth().await, Ok((1, 0)));
    let got = eventually("the message", LIMIT, || async { queue.receive(1, 1).await.expect("received").pop() }).await;
    assert_eq!((got.body.as_str(), got.receive_count), ("{\"n\":1}", 1));
    assert_eq!(queue.depth().await, Ok((0, 1)));
    queue.delete(std::slice::from_ref(&got.receipt)).await.expect("deleted");
    assert_eq!(queue.depth().await, Ok((0, 0)));
}

/// L3: 25 messages in three requests, sent twice: each arrives once. A group a message: groups bar the way of each
/// other only.
async fn batch_with_repeats(queue: &dyn Queue) {
    let messages: Vec<Outgoing> =
        (0..25).map(|n| Outgoing { group_id: format!("group-{n}"), ..message("batch", n) }).collect();
    for _ in 0..2 {
        let sent = queue.send(&messages).await;
        assert_eq!(sent.len(), 25);
        assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    }
    let bodies: Vec<String> = drain(queue, 25).await.into_iter().map(|m| m.body).collect();
    let expected: BTreeSet<String> = messages.iter().map(|m| m.body.clone()).collect();
    assert_eq!(bodies.len(), 25);
    assert_eq!(bodies.into_iter().collect::<BTreeSet<_>>(), expected);
}

/// A standard queue takes messages without groups; repeats come through.
pub async fn standard(queue: &dyn Queue) {
    assert_eq!(queue.may_send().await, Ok(()));
    assert_eq!(queue.send(&[message("audit", 1), message("audit", 1)]).await, vec![Ok(()), Ok(())]);
    assert_eq!(drain(queue, 2).await.len(), 2);
}

/// Bodies that are fine each but too much together go in several requests.
pub async fn large(queue: &dyn Queue) {
    let messages: Vec<Outgoing> = (0..8)
        .map(|n| Outgoing {
            body: format!("{n}").repeat(250_000),
            group_id: format!("large-{n}"),
            ..message("large", n)
        })
        .collect();
    let sent = queue.send(&messages).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    assert_eq!(drain(queue, 8).await.len(), 8);
}

/// Each method of a queue that is not there says so.
pub async fn missing(queue: &dyn Queue) {
    let code = FaultCode::QueueMissing;
    for r in queue.send(&[message("a", 1), message("a", 2)]).await {
        assert_eq!(r.unwrap_err().code, code);
    }
    assert_eq!(queue.receive(1, 0).await.unwrap_err().code, code);
    assert_eq!(queue.delete(&["x".into()]).await.unwrap_err().code, code);
    assert_eq!(queue.depth().await.unwrap_err().code, code);
    assert_eq!(queue.may_send().await.unwrap_err().code, code);
}
