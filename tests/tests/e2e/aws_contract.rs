//! The contract suites on the fakes, and on the adapters with a local endpoint that enforces IAM.

use leadline_activities::adapters::aws::{
    Aws, AwsIsolation, AwsOrgStores, AwsSecrets, AwsSettings, CfnStacks, SnsAlarms, SqsQueue, who_am_i,
};
use leadline_activities::adapters::aws_fake::{FakeOrgStores, FakeQueue, FakeStore, Planned};
use leadline_activities::ports::alarms::Alarms;
use leadline_activities::ports::checks::{Isolation, Owned};
use leadline_activities::ports::content::{Content, Pieces};
use leadline_activities::ports::queue::Queue;
use leadline_activities::ports::stacks::{Secrets, ShareCredentials};
use leadline_activities::ports::store::{OrgStores, Put};
use leadline_activities::secret::Secret;
use leadline_domain::isolation::{Action, Evidence, Outcome, Verdict};
use leadline_domain::placement::{EnvScope, OrgScope};
use leadline_domain::transfer::Storage;
use leadline_domain::{Alarm, Digest, Fault, FaultClass, FaultCode, ShareId};
use leadline_tests::contract::{again, pieces, queue, stacks, store};
use leadline_tests::harness::alarm_queue::AlarmQueue;
use leadline_tests::harness::aws::AwsEndpoint;
use leadline_tests::harness::past_us::PastUs;
use leadline_tests::harness::stack::ACCOUNT;
use leadline_tests::rig::{facts, scope};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

mod in_pieces;

const SHARE: &str = "ecg";

fn share() -> ShareId {
    ShareId::parse(SHARE).unwrap()
}

/// The endpoint, the environment's queues and worker role, and two organizations.
struct World {
    endpoint: AwsEndpoint,
    aws: Aws,
    a: OrgScope,
    b: OrgScope,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let endpoint = AwsEndpoint::start(dir.path());
        let aws = connect(&endpoint, true).await;
        let made = CfnStacks::new(&aws);
        let env = EnvScope::new(&facts("test"));
        let (a, b) = (scope("clinic-a"), scope("clinic-b"));
        stacks::apply(&made, &env.stack(), "plan-1", &environment(&env).to_string()).await;
        for o in [&a, &b] {
            stacks::apply(&made, &o.stack(), "plan-1", &organization(&env, o).to_string()).await;
        }
        Self { endpoint, aws, a, b, _dir: dir }
    }

    async fn store(&self, scope: &OrgScope) -> store::Store {
        AwsOrgStores::new(self.aws.clone()).open(scope).await.unwrap()
    }

    /// Requests to a service since `before`, by operation.
    fn since(&self, before: &BTreeMap<(String, String), u64>) -> BTreeMap<String, u64> {
        let now = self.aws.counts().snapshot();
        let grown = now.into_iter().map(|(k, n)| {
            let m = n - before.get(&k).copied().unwrap_or(0);
            (k.1, m)
        });
        grown.filter(|(_, n)| *n > 0).collect()
    }
}

async fn connect(endpoint: &AwsEndpoint, assume_worker_role: bool) -> Aws {
    let settings = AwsSettings { endpoint_url: Some(endpoint.url()), assume_worker_role, profile: None };
    Aws::connect_as(&EnvScope::new(&facts("test")), &settings, ACCOUNT, "secret").await
}

fn allow(actions: &Value, resources: &Value) -> Value {
    json!({"Effect": "Allow", "Action": actions, "Resource": resources})
}

fn role(name: &str, trust: &Value, statements: &Value) -> Value {
    json!({"Type": "AWS::IAM::Role", "Properties": {
        "RoleName": name,
        "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]},
        "Policies": [{"PolicyName": "inline", "PolicyDocument": {"Version": "2012-10-17", "Statement": statements}}],
    }})
}

fn environment(env: &EnvScope) -> Value {
    let trust = json!({"Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}});
    let orgs = format!("arn:aws:iam::{ACCOUNT}:role/leadline-test-org-*");
    let topic = json!(env.alarm_topic_arn());
    let may = json!([
        allow(&json!("sts:AssumeRole"), &json!(orgs)),
        allow(&json!("sqs:*"), &json!("*")),
        allow(&json!("sns:Publish"), &topic)
    ]);
    json!({"Resources": {
        "Ingest": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": env.ingest_queue(), "FifoQueue": true}},
        "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": env.alarm_topic()}},
        "Audit": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": env.audit_queue()}},
        "Worker": role(&env.worker_role_name(), &trust, &may),
    }})
}

fn organization(env: &EnvScope, o: &OrgScope) -> Value {
    let trust = json!({"Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"AWS": env.worker_role_arn()},
        "Condition": {"StringEquals": {"sts:ExternalId": o.external_id()}}});
    let bucket = format!("arn:aws:s3:::{}", o.bucket());
    let copies = format!("arn:aws:s3:::{}", o.storage_bucket(Storage::Processing));
    let secret = format!("arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:{}-*", o.share_secret(&share()));
    let objects = json!([
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts"
    ]);
    // On AWS the key's ARN stands for its aliases too.
    let alias = format!("arn:aws:kms:us-east-1:{ACCOUNT}:{}", o.key_alias());
    let may = json!([
        allow(&json!(["s3:ListBucket", "s3:ListBucketMultipartUploads"]), &json!([bucket, copies])),
        allow(&objects, &json!([format!("{bucket}/*"), format!("{copies}/*")])),
        allow(&json!("secretsmanager:GetSecretValue"), &json!(secret)),
        allow(&json!(["kms:Decrypt", "kms:GenerateDataKey"]), &json!([{"Fn::GetAtt": ["Key", "Arn"]}, alias])),
    ]);
    let managed = json!([{"Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")},
        "Action": "kms:*", "Resource": "*"}]);
    // Nothing may be written below recordings/ unconditionally, the steps of a multipart upload before its completion
    // excepted. AWS holds writers to it; this endpoint does not know the keys, so that here it must do no harm.
    let conditional = json!({"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
        "Resource": format!("{bucket}/recordings/*"),
        "Condition": {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}});
    json!({"Resources": {
        "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {
            "BucketName": o.bucket(), "VersioningConfiguration": {"Status": "Enabled"}}},
        "Copies": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": o.storage_bucket(Storage::Processing)}},
        "Policy": {"Type": "AWS::S3::BucketPolicy", "Properties": {"Bucket": {"Ref": "Bucket"},
            "PolicyDocument": {"Version": "2012-10-17", "Statement": [conditional]}}},
        "Key": {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": {"Version": "2012-10-17", "Statement": managed}}},
        "Alias": {"Type": "AWS::KMS::Alias", "Properties": {
            "AliasName": o.key_alias(), "TargetKeyId": {"Ref": "Key"}}},
        "Role": role(&o.role_name(), &trust, &may),
        "Share": {"Type": "AWS::SecretsManager::Secret", "Properties": {
            "Name": o.share_secret(&share()), "SecretString": "to be filled in"}},
    }})
}

fn unreachable() -> Fault {
    Fault::new(FaultCode::StoreUnreachable, "planned")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fakes_keep_the_contracts() {
    let fake = FakeStore::new();
    let as_store: store::Store = fake.clone();
    store::all(&as_store).await;
    assert_eq!((fake.staged(), fake.open_uploads()), (vec![], 0));
    again::written_again(&as_store, &fake).await;
    assert_eq!((fake.staged(), fake.open_uploads()), (vec![], 0));
    let upload = as_store.begin_upload("lost").await.unwrap();
    let body = store::content(100);
    let part = as_store.upload_part(&upload, 1, body.clone(), *Digest::of(&body).as_bytes()).await.unwrap();
    fake.lose_uploads();
    store::lost(&as_store, &upload, &part).await;

    let fake = FakeStore::copying(Pieces::up_to(0));
    pieces::all(&(fake.clone() as store::Store), &|| fake.calls().get("copy_piece").copied().unwrap_or(0)).await;
    assert_eq!(fake.open_uploads(), 0);

    queue::fifo(FakeQueue::fifo().as_ref()).await;
    queue::standard(FakeQueue::standard().as_ref()).await;
    queue::large(FakeQueue::fifo().as_ref()).await;
}

#[tokio::test]
async fn planned_faults_come_in_order_and_once() {
    let stores = FakeOrgStores::new();
    let (a, b) = (scope("clinic-a"), scope("clinic-b"));
    stores.faults.fail("open", 1, &Fault::new(FaultCode::CredentialRefused, "planned"));
    assert!(stores.open(&a).await.is_err());
    let opened = stores.open(&a).await.unwrap();
    let body = store::content(100);
    let digest = Digest::of(&body);
    stores.of(&a).faults.plan("put_recording", Planned::Fail(unreachable()));
    stores.of(&a).faults.plan("put_recording", Planned::FailAfter(unreachable()));
    assert_eq!(opened.put_recording(&digest, body.clone(), &store::meta("x")).await, Err(unreachable()));
    assert_eq!(opened.head_recording(&digest).await, Ok(None));
    assert_eq!(opened.put_recording(&digest, body.clone(), &store::meta("x")).await, Err(unreachable()));
    let there = Put::Exists { claim: "x".into(), size: 100 };
    assert_eq!(opened.put_recording(&digest, body, &store::meta("y")).await, Ok(there));
    assert_eq!(stores.of(&a).faults.left(), 0);
    assert_eq!(stores.of(&b).recordings(), vec![]);

    let q = FakeQueue::fifo();
    q.faults.plan("send", Planned::Pass);
    q.faults.plan("send", Planned::Fail(Fault::new(FaultCode::QueueThrottled, "planned")));
    let sent = q.send(&[queue::message("g", 1), queue::message("g", 2), queue::message("g", 3)]).await;
    assert_eq!(sent.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(q.accepted().len(), 2);
    q.receive(10, 0).await.unwrap();
    q.return_in_flight();
    assert_eq!(q.receive(10, 0).await.unwrap()[0].receive_count, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_endpoint_keeps_the_contract_of_a_store() {
    let w = World::new().await;
    store::all(&w.store(&w.a).await).await;
    let root = PastUs::new(&w.endpoint.url()).await;
    again::written_again(&w.store(&w.a).await, &(root, w.a.bucket())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_costs_one_request_and_a_large_one_four_more_than_its_upload() {
    let w = World::new().await;
    let s = w.store(&w.a).await;
    let body = store::content(50_000);
    let digest = Digest::of(&body);
    let before = w.aws.counts().snapshot();
    s.put_recording(&digest, body.clone(), &store::meta("x")).await.unwrap();
    assert_eq!(w.since(&before), BTreeMap::from([("PutObject".into(), 1)]));
    let before = w.aws.counts().snapshot();
    s.put_recording(&digest, body, &store::meta("y")).await.unwrap();
    assert_eq!(w.since(&before), BTreeMap::from([("PutObject".into(), 1), ("HeadObject".into(), 1)]));

    let body = store::content(6 * 1024 * 1024);
    store::stage(&s, "large", &body).await;
    let before = w.aws.counts().snapshot();
    s.promote("large", &Content::of(&body, s.pieces()), &store::meta("x")).await.unwrap();
    let once = ["CreateMultipartUpload", "UploadPartCopy", "CompleteMultipartUpload", "DeleteObject"];
    assert_eq!(w.since(&before), once.map(|o| (o.to_owned(), 1)).into());

    let env = EnvScope::new(&facts("test"));
    let q = SqsQueue::new(&w.aws, env.ingest_queue());
    q.depth().await.unwrap();
    let before = w.aws.counts().snapshot();
    let messages: Vec<_> = (0..25).map(|n| queue::message("cost", n)).collect();
    q.send(&messages).await;
    assert_eq!(w.since(&before), BTreeMap::from([("SendMessageBatch".into(), 3)]));
    let stats = w.aws.counts().stats();
    assert!(stats.values().all(|s| s.total >= s.slowest && s.requests >= s.failed));
    assert!(
        w.aws.counts().render().contains("leadline_aws_requests_total{service=\"S3\",operation=\"PutObject\"} 2\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_organization_reaches_another() {
    let w = World::new().await;
    assert!(who_am_i(&w.aws).await.unwrap().contains("assumed-role/leadline-test-worker"));
    let probe = AwsIsolation::new(w.aws.clone());
    for (own, other) in [(&w.a, &w.b), (&w.b, &w.a)] {
        let found = probe.other(own, other, &has()).await.unwrap();
        assert_eq!(found.len(), 18 + 1, "and one for each secret");
        assert_eq!(not(&found, Verdict::AsExpected), [""; 0], "L6");
        // The probe sees what is open: everything of its own is.
        assert_eq!(not(&probe.own(own, &has()).await.unwrap(), Verdict::AsExpected), [""; 0]);
        let queues = probe.environment(own, &EnvScope::new(&facts("test")), &[]).await.unwrap();
        // The topic here has the policy that SNS gives it, by which the account may publish: tests/isolation.rs has ours.
        let (topic, queues): (Vec<_>, Vec<_>) = queues.into_iter().partition(|e| e.action == Action::Publish);
        assert_eq!((topic.len(), queues.len()), (1, 18));
        assert!(queues.iter().all(|e| e.outcome == Outcome::Denied), "{queues:?}");
    }
    assert!(probe.not_enforced().len() > 2, "a local endpoint says what it does not enforce");
    assert!(probe.stacks().await.unwrap().contains_key(&w.a.stack()));
    let f = AwsOrgStores::new(w.aws.clone()).open(&scope("clinic-none")).await.err().expect("no such role");
    assert_eq!((f.code, f.class()), (FaultCode::CredentialRefused, FaultClass::Blocked), "{f}");
}

/// What an organization has besides its bucket, key and role.
fn has() -> Owned {
    Owned { secrets: BTreeSet::from([share()]), ..Owned::default() }
}

/// What does not have this verdict.
fn not(found: &[Evidence], v: Verdict) -> Vec<String> {
    found.iter().filter(|e| e.verdict() != v).map(ToString::to_string).collect()
}

/// A grant of one right alone is seen as that right, and nothing more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_breach_is_found_by_its_own_try() {
    use leadline_tests::harness::past_us::PastUs;
    let w = World::new().await;
    let root = PastUs::new(&w.endpoint.url()).await;
    let staging = format!("arn:aws:s3:::{}/staging/*", w.b.bucket());
    let bucket = format!("arn:aws:s3:::{}", w.b.bucket());
    let recordings = format!("{bucket}/recordings/*");
    let secret = format!("arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:{}-*", w.b.share_secret(&share()));
    let key = root.kms.describe_key().key_id(w.b.key_alias()).send().await.unwrap();
    let key = key.key_metadata.and_then(|k| k.arn).unwrap();
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"AWS": [w.a.role_arn(), EnvScope::new(&facts("test")).worker_role_arn()]}}]});
    root.iam
        .update_assume_role_policy()
        .role_name(w.b.role_name())
        .policy_document(trust.to_string())
        .send()
        .await
        .unwrap();
    for (right, resource, actions) in [
        ("s3:GetObject", &staging, &[Action::Head, Action::Get, Action::CopyFrom][..]),
        ("s3:GetObjectVersion", &staging, &[Action::GetVersion][..]),
        (
            "s3:PutObject",
            &staging,
            &[Action::Put, Action::BeginUpload, Action::CopyTo, Action::UploadPart, Action::CompleteUpload][..],
        ),
        ("s3:ListBucketMultipartUploads", &bucket, &[Action::ListUploads][..]),
        ("s3:ListMultipartUploadParts", &staging, &[Action::ListParts][..]),
        ("s3:AbortMultipartUpload", &staging, &[Action::AbortUpload][..]),
        ("s3:PutObject", &recordings, &[Action::BeginRecording][..]),
        ("s3:DeleteObject", &staging, &[Action::Delete][..]),
        ("s3:ListBucket", &bucket, &[Action::List][..]),
        ("secretsmanager:GetSecretValue", &secret, &[Action::ReadSecret][..]),
        ("kms:Decrypt", &key, &[Action::Decrypt][..]),
        ("kms:GenerateDataKey", &key, &[Action::GenerateDataKey][..]),
        ("sts:AssumeRole", &w.b.role_arn(), &[Action::TakeRole][..]),
    ] {
        let more = json!({"Version": "2012-10-17", "Statement": [allow(&json!(right), &json!(resource))]});
        root.iam
            .put_role_policy()
            .role_name(w.a.role_name())
            .policy_name("breach")
            .policy_document(more.to_string())
            .send()
            .await
            .unwrap();
        let found = AwsIsolation::new(w.aws.clone()).other(&w.a, &w.b, &has()).await.unwrap();
        let open: Vec<Action> = found.iter().filter(|e| e.verdict() == Verdict::Broken).map(|e| e.action).collect();
        assert_eq!(open, actions, "{right} on {resource}: {found:#?}");
        let left: Vec<&Evidence> = found.iter().filter(|e| e.left.is_some()).collect();
        assert!(left.is_empty() || right == "s3:DeleteObject", "{left:?}");
    }
    root.iam.delete_role_policy().role_name(w.a.role_name()).policy_name("breach").send().await.unwrap();
    let there = root.s3.list_objects_v2().bucket(w.b.bucket()).send().await.unwrap();
    assert_eq!(there.contents().iter().filter_map(|o| o.key()).collect::<Vec<_>>(), ["staging/isolation-probe"]);
}

/// Where the probe could not place what it tries with, a refusal is no proof.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_tried_is_not_called_proven() {
    use leadline_domain::isolation::fault;
    use leadline_tests::harness::past_us::PastUs;
    let w = World::new().await;
    let root = PastUs::new(&w.endpoint.url()).await;
    let nobody = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"AWS": w.a.role_arn()}, "Condition": {"StringEquals": {"sts:ExternalId": "none"}}}]});
    root.iam
        .update_assume_role_policy()
        .role_name(w.b.role_name())
        .policy_document(nobody.to_string())
        .send()
        .await
        .unwrap();
    let found = AwsIsolation::new(connect(&w.endpoint, true).await).other(&w.a, &w.b, &has()).await.unwrap();
    let unproven: Vec<Action> = found.iter().filter(|e| e.verdict() == Verdict::Unproven).map(|e| e.action).collect();
    assert_eq!(
        unproven,
        [Action::Head, Action::Get, Action::GetVersion, Action::CopyFrom, Action::Decrypt],
        "{found:#?}"
    );
    assert_eq!(fault(w.a.org(), &found).unwrap().code, FaultCode::IsolationUnproven);
    // Its own access gone is no proof of isolation either.
    let f = AwsIsolation::new(connect(&w.endpoint, true).await).own(&w.b, &has()).await.unwrap_err();
    assert_eq!(f.code, FaultCode::CredentialRefused, "{f}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_bucket_says_so() {
    let w = World::new().await;
    let s = w.store(&w.b).await;
    let mut without = organization(&EnvScope::new(&facts("test")), &w.b);
    without["Resources"].as_object_mut().unwrap().retain(|k, _| k != "Bucket" && k != "Policy");
    stacks::apply(&CfnStacks::new(&w.aws), &w.b.stack(), "plan-2", &without.to_string()).await;
    let body = store::content(100);
    for f in [
        s.check().await.unwrap_err(),
        s.put_recording(&Digest::of(&body), body.clone(), &store::meta("x")).await.unwrap_err(),
        s.begin_upload("x").await.unwrap_err(),
        s.put_seen("a", "b", "c").await.unwrap_err(),
    ] {
        assert_eq!(f.code, FaultCode::StoreBucketMissing, "{f}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_down_is_unreachable_and_the_same_client_goes_on_after_it() {
    let mut w = World::new().await;
    let s = w.store(&w.a).await;
    let q = SqsQueue::new(&w.aws, EnvScope::new(&facts("test")).ingest_queue());
    let (kept, later) = (store::content(1000), store::content(1000));
    s.put_recording(&Digest::of(&kept), kept.clone(), &store::meta("kept")).await.unwrap();
    assert_eq!(q.send(&[queue::message("down", 1)]).await, vec![Ok(())]);
    let upload = s.begin_upload("cut-off").await.unwrap();
    let part = s.upload_part(&upload, 1, kept.clone(), *Digest::of(&kept).as_bytes()).await.unwrap();

    w.endpoint.kill();
    let f = s.put_recording(&Digest::of(&later), later.clone(), &store::meta("x")).await.unwrap_err();
    assert_eq!((f.code, f.class()), (FaultCode::StoreUnreachable, FaultClass::Transient), "{f}");
    assert_eq!(q.send(&[queue::message("down", 2)]).await[0].as_ref().unwrap_err().code, FaultCode::QueueUnreachable);
    let f = AwsIsolation::new(connect(&w.endpoint, true).await).other(&w.a, &w.b, &has()).await.unwrap_err();
    assert_eq!(f.code, FaultCode::CredentialUnreachable, "{f}");
    let f = AwsSecrets::new(connect(&w.endpoint, true).await).share_credentials(&w.a, &share()).await.unwrap_err();
    assert_eq!(f.code, FaultCode::CredentialUnreachable, "{f}");

    w.endpoint.restart();
    let there = Put::Exists { claim: "kept".into(), size: 1000 };
    assert_eq!(s.put_recording(&Digest::of(&kept), kept, &store::meta("x")).await, Ok(there));
    assert_eq!(s.put_recording(&Digest::of(&later), later, &store::meta("x")).await, Ok(Put::Created));
    // The first message was taken before the kill and its repeat is recognized after it.
    assert_eq!(q.send(&[queue::message("down", 1), queue::message("down", 2)]).await, vec![Ok(()), Ok(())]);
    assert_eq!(q.depth().await, Ok((2, 0)));
    // This endpoint forgets uploads at a restart.
    store::lost(&s, &upload, &part).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_endpoint_keeps_the_contract_of_a_queue() {
    let w = World::new().await;
    let env = EnvScope::new(&facts("test"));
    queue::fifo(&SqsQueue::new(&w.aws, env.ingest_queue())).await;
    queue::large(&SqsQueue::new(&w.aws, env.ingest_queue())).await;
    queue::standard(&SqsQueue::new(&w.aws, env.audit_queue())).await;
    queue::missing(&SqsQueue::new(&w.aws, "leadline-test-none.fifo".into())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_of_the_worker_reaches_whoever_is_subscribed_and_only_that_topic() {
    let w = World::new().await;
    let env = EnvScope::new(&facts("test"));
    let root = PastUs::new(&w.endpoint.url()).await;
    let alarms = AlarmQueue::at(&root, "alarms", &env.alarm_topic_arn()).await;
    let alarm = |org: Option<&OrgScope>| Alarm {
        env: env.env().clone(),
        org: org.map(|o| o.org().clone()),
        fault: Fault::new(FaultCode::DriftFound, "stack s: Bucket policy & <more>"),
        workflow: "drift/test".into(),
        run: "run-1".into(),
    };
    let (topic, before) = (SnsAlarms::new(&w.aws, &env), w.aws.counts().snapshot());
    for org in [Some(&w.a), None] {
        topic.raise(&alarm(org)).await.unwrap();
        let heard = alarms.hears(1).await.remove(0);
        assert_eq!((heard.subject, heard.message), (alarm(org).subject(), alarm(org).message()));
        let all = heard.attributes.as_object().expect("attributes").iter();
        let all: BTreeMap<_, _> = all.map(|(k, v)| (k.as_str(), v["Value"].as_str().unwrap_or_default())).collect();
        let mut expected = BTreeMap::from([("code", "drift.found"), ("environment", "test")]);
        expected.extend(org.map(|o| ("organization", o.org().as_str())));
        assert_eq!(all, expected);
    }
    assert_eq!(w.since(&before).get("Publish"), Some(&2), "one request each, and counted");

    // Another topic is not the worker's, and there is none for whoever may publish everywhere.
    let other = EnvScope::new(&facts("other"));
    let refused = SnsAlarms::new(&w.aws, &other).raise(&alarm(None)).await.unwrap_err();
    assert_eq!(refused.code, FaultCode::AlarmAccessDenied, "{refused}");
    let everywhere = connect(&w.endpoint, false).await;
    let missing = SnsAlarms::new(&everywhere, &other).raise(&alarm(None)).await.unwrap_err();
    assert_eq!(missing.code, FaultCode::AlarmTopicMissing, "{missing}");
    alarms.hears(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_endpoint_keeps_the_contract_of_stacks() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = AwsEndpoint::start(dir.path());
    stacks::all(&CfnStacks::new(&connect(&endpoint, false).await), "contract").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_written_by_provisioning_and_read_by_the_organization() {
    let w = World::new().await;
    let (secrets, share) = (AwsSecrets::new(w.aws.clone()), share());
    let reads = || w.aws.counts().snapshot().get(&("Secrets Manager".into(), "GetSecretValue".into())).copied();
    let f = secrets.share_credentials(&w.a, &share).await.unwrap_err();
    assert_eq!(f.code, FaultCode::SecretMissing, "the placeholder of the stack is no credentials: {f}");
    let other = ShareId::parse("other").unwrap();
    assert_eq!(secrets.share_credentials(&w.a, &other).await.unwrap_err().code, FaultCode::SecretMissing);

    let with = |password: &str| ShareCredentials {
        user: "ecg".into(),
        password: Secret::new(password),
        domain: String::new(),
    };
    secrets.put_share_credentials(&w.a, &share, &with("one")).await.unwrap();
    assert_eq!(secrets.share_credentials(&w.a, &share).await, Ok(with("one")));
    let before = reads();
    assert_eq!(secrets.share_credentials(&w.a, &share).await, Ok(with("one")));
    assert_eq!(reads(), before, "asked again within minutes");
    // Another process changes the secret; the share refuses what is known here.
    AwsSecrets::new(w.aws.clone()).put_share_credentials(&w.a, &share, &with("two")).await.unwrap();
    secrets.forget(&w.a, &share);
    assert_eq!(secrets.share_credentials(&w.a, &share).await, Ok(with("two")));
    let made = AwsSecrets::new(w.aws.clone());
    let first = made.environment_secret("leadline/test/keys", || "first".into()).await;
    let again = made.environment_secret("leadline/test/keys", || "second".into()).await;
    assert_eq!((first, again), (Ok("first".into()), Ok("first".into())));
    let f = secrets.put_share_credentials(&w.a, &other, &with("x")).await.unwrap_err();
    assert_eq!(f.code, FaultCode::SecretMissing, "{f}");
}
