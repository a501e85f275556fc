//! The store's own word that an upload has arrived: S3 events on the environment's upload queue. They come at least once
//! and in any order, beside the client's own call or instead of it.

use super::App;
use super::metrics::METRICS;
use super::uploads::{finish, rules};
use leadline_activities::ports::queue::{Incoming, Queue};
use leadline_domain::{Fault, FaultClass, FaultCode, StagedName};
use serde_json::Value;
use std::time::Duration;

/// SQS: the longest a receive call waits, seconds.
const WAIT_S: u32 = 20;
/// A message has so long. Half of the time after which the queue gives it out again: one that takes longer has to come
/// again, and takes none of its tries from those that were received with it.
const DEAL: Duration = Duration::from_secs(60);
/// After a failure to receive.
const BREATH: Duration = Duration::from_secs(2);

/// Something was put below a bucket's `staging/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The bucket.
    pub bucket: String,
    /// The upload's name.
    pub name: StagedName,
}

/// Works on the queue until `shutdown` ends.
pub async fn run(app: &App, queue: &dyn Queue, shutdown: impl Future<Output = ()> + Send) {
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let received = tokio::select! {
            r = queue.receive(10, WAIT_S) => r,
            () = &mut shutdown => return,
        };
        match received {
            Ok(messages) => work(app, queue, &messages).await,
            Err(fault) => {
                tracing::warn!(%fault, "the queue of upload events was not read");
                tokio::select! { () = tokio::time::sleep(BREATH) => {}, () = &mut shutdown => return }
            }
        }
    }
}

/// Deals with messages, all at once, since they are of many organizations and any one's may take its time; what is not
/// dealt with stays in the queue and comes again.
pub async fn work(app: &App, queue: &dyn Queue, messages: &[Incoming]) {
    work_within(DEAL, app, queue, messages).await;
}

async fn work_within(each: Duration, app: &App, queue: &dyn Queue, messages: &[Incoming]) {
    let dealt = async |m: &Incoming| {
        let late = |_| Err(Fault::new(FaultCode::RequestOverloaded, "it was not dealt with in time"));
        tokio::time::timeout(each, message(app, &m.body)).await.unwrap_or_else(late)
    };
    let results = futures::future::join_all(messages.iter().map(dealt)).await;
    let mut done = Vec::new();
    for (m, result) in messages.iter().zip(results) {
        match result {
            Ok(()) => done.push(m.receipt.clone()),
            Err(fault) => {
                METRICS.event("failed");
                tracing::warn!(%fault, received = m.receive_count, "an upload's event has to come again");
            }
        }
    }
    if !done.is_empty()
        && let Err(fault) = queue.delete(&done).await
    {
        tracing::warn!(%fault, "events that were dealt with will come again");
    }
}

async fn message(app: &App, body: &str) -> Result<(), Fault> {
    for p in parse(body)? {
        let Some(org) = app.directory().of_bucket(&p.bucket) else {
            // Off-boarded since, or of nobody here: the bucket's lifecycle rule takes it.
            METRICS.event("ignored");
            continue;
        };
        match finish(app, &org, &p.name).await {
            Ok(_) => METRICS.event("taken"),
            // It will not become another one by coming again. The sender is told when it asks.
            Err(fault) if fault.class() == FaultClass::Rejected => {
                METRICS.event("refused");
                tracing::info!(%fault, %org, upload = %p.name, "an upload was refused");
            }
            Err(f) => return Err(f),
        }
    }
    Ok(())
}

/// The uploads of people that a message tells of; whatever else is put into staging areas is not among them. Amazon S3
/// User Guide, "Event message structure": `Records[].s3.bucket.name`, and `Records[].s3.object.key`, which is
/// URL-encoded.
///
/// # Errors
/// `queue.refused` if it is no event message: after some tries it goes to the dead letters, where a human sees it.
pub fn parse(body: &str) -> Result<Vec<Put>, Fault> {
    let no = |why: &str| Fault::new(FaultCode::QueueRefused, why);
    let v: Value = serde_json::from_str(body).map_err(|_| no("a message in the queue of upload events is not JSON"))?;
    // Sent once when a bucket begins to send events.
    if v["Event"] == "s3:TestEvent" {
        return Ok(vec![]);
    }
    let records =
        v["Records"].as_array().ok_or_else(|| no("a message in the queue of upload events has no Records"))?;
    let put = |r: &Value| {
        let created = r["eventName"].as_str()?.trim_start_matches("s3:").starts_with("ObjectCreated:");
        // Names of ours need no decoding; what needs it is not ours.
        let name = r["s3"]["object"]["key"].as_str()?.strip_prefix("staging/")?;
        let name = created.then(|| rules::parse_name(name).ok()).flatten()?;
        Some(Put { bucket: r["s3"]["bucket"]["name"].as_str()?.to_owned(), name })
    };
    Ok(records.iter().filter_map(put).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::auth::{Caller, Tokens};
    use crate::http::server::tests::Two;
    use crate::http::{Directory, HttpConfig, Limits, OidcConfig, Parts, Routes, UploadRules};
    use crate::intake_fake::FakeIntake;
    use async_trait::async_trait;
    use leadline_activities::adapters::aws_fake::FakeQueue;
    use leadline_activities::ports::queue::Outgoing;
    use leadline_activities::ports::uploads::{OrgUploads, Uploads};
    use leadline_domain::{EnvFacts, EnvId, Ingress, OrgId, OrgScope, Placement};
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use tokio::sync::Barrier;

    const NAME: &str = "web-0123456789abcdef0123456789abcdef-ff";

    fn record(event: &str, key: &str) -> Value {
        serde_json::json!({ "eventName": event, "s3": { "bucket": { "name": "b" }, "object": { "key": key } } })
    }

    /// A service whose organizations are the buckets: the store of `silent` never answers, that of `paired` when two
    /// ask, and the others do at once.
    struct Stores {
        pair: Barrier,
    }

    #[async_trait]
    impl Uploads for Stores {
        async fn open(&self, scope: &OrgScope) -> Result<Arc<dyn OrgUploads>, Fault> {
            match scope.org().as_str() {
                "silent" => std::future::pending().await,
                "paired" => {
                    self.pair.wait().await;
                }
                _ => {}
            }
            Err(Fault::new(FaultCode::FileEmpty, "as planned"))
        }
    }

    impl Directory for Stores {
        fn uploads(&self, org: &OrgId) -> Result<UploadRules, Fault> {
            let facts = EnvFacts {
                env: EnvId::parse("test").unwrap(),
                account: "111111111111".into(),
                region: "us-east-1".into(),
                jurisdictions: ["us".to_owned()].into(),
            };
            let placement = Placement::resolve(org, "us", &facts).unwrap();
            Ok(UploadRules { scope: OrgScope::new(org.clone(), placement), max_bytes: 1 })
        }
        fn open(&self, _: &OrgId, _: Ingress) -> Result<(), Fault> {
            Ok(())
        }
        fn uploading(&self) -> Vec<OrgId> {
            vec![]
        }
        fn of_bucket(&self, bucket: &str) -> Option<OrgId> {
            OrgId::parse(bucket).ok()
        }
        fn origins(&self) -> BTreeSet<String> {
            BTreeSet::new()
        }
    }

    #[async_trait]
    impl Tokens for Stores {
        async fn caller(&self, _: &str) -> Result<Caller, Fault> {
            unreachable!("nobody asks")
        }
    }

    #[tokio::test]
    async fn one_that_takes_its_time_keeps_none_of_the_others() {
        let oidc = OidcConfig {
            issuer: "http://127.0.0.1".into(),
            audience: "a".into(),
            organization_claim: "org".into(),
            page_client_id: None,
        };
        let public_url = "http://127.0.0.1".into();
        let config = HttpConfig { public_url, oidc, store_origins: vec![], limits: Limits::default() };
        let (stores, routes) = (Arc::new(Stores { pair: Barrier::new(2) }), Routes::default());
        let (uploads, directory, ready) = (stores.clone(), stores.clone(), Arc::new(Two));
        let app = App::new(&config, &Parts { intake: FakeIntake::new(), uploads, directory, ready, routes }, stores);
        let queue = FakeQueue::standard();
        let of = |bucket: &str| {
            let mut record = record("ObjectCreated:Put", &format!("staging/{NAME}"));
            record["s3"]["bucket"]["name"] = bucket.into();
            let body = serde_json::json!({ "Records": [record] }).to_string();
            Outgoing { body, dedup_id: String::new(), group_id: String::new() }
        };
        queue.send(&["silent", "paired", "north", "paired"].map(of)).await.into_iter().for_each(|s| s.unwrap());
        let received = queue.receive(10, 0).await.unwrap();
        let worked = work_within(Duration::from_millis(300), &app, queue.as_ref(), &received);
        tokio::time::timeout(Duration::from_secs(10), worked).await.expect("the silent one is given up for now");
        assert_eq!(queue.depth().await.unwrap(), (0, 1), "it comes again, and the others do not");
    }

    #[test]
    fn only_what_people_upload() {
        let key = format!("staging/{NAME}");
        let body = serde_json::json!({ "Records": [
            record("ObjectCreated:Put", &key),
            record("s3:ObjectCreated:CompleteMultipartUpload", &key),
            record("ObjectRemoved:Delete", &key),
            record("ObjectCreated:Put", "staging/dicom-0123456789abcdef0123456789abcdef"),
            record("ObjectCreated:Put", "recordings/sha256/ab/x"),
            record("ObjectCreated:Put", "staging/Doe%2C+John.pdf"),
        ]});
        let puts = parse(&body.to_string()).unwrap();
        assert_eq!(puts.len(), 2);
        assert!(puts.iter().all(|p| p.bucket == "b" && p.name.as_str() == NAME));
    }

    #[test]
    fn test_events_and_nonsense() {
        assert_eq!(parse(r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}"#), Ok(vec![]));
        for no in ["", "{}", "[]", "{\"Records\":7}"] {
            assert_eq!(parse(no).unwrap_err().code, FaultCode::QueueRefused, "{no}");
        }
        assert_eq!(parse(r#"{"Records":[{},7,null]}"#), Ok(vec![]));
    }
}
