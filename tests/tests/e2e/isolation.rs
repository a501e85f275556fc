//! Proof of isolation, through the binary and a worker, against an endpoint that enforces IAM: apart as made, and found
//! when somebody opens it.

use leadline_domain::EnvScope;
use leadline_tests::harness::alarm_queue::AlarmQueue;
use leadline_tests::harness::past_us::PastUs;
use leadline_tests::harness::stack::{ACCOUNT, Clinic, Stack};
use leadline_tests::harness::tools::wait_for;
use leadline_tests::rig::facts;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

fn probe(stack: &Stack, org: &str) -> (Option<i32>, Value) {
    let out = stack.run(&["org", "probe", org, "--env", "test", "--output", "json"]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let report =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&out.stderr)));
    (out.status.code(), report)
}

/// Tries with this outcome, as (action, target).
fn tries(report: &Value, outcome: &str) -> BTreeSet<(String, String)> {
    let all = report["evidence"].as_array().expect("evidence").iter().filter(|e| e["outcome"] == outcome);
    let target = |e: &Value| e["target"]["organization"].as_str().or(e["target"].as_str()).unwrap_or("?").to_owned();
    all.map(|e| (e["action"].as_str().unwrap_or("?").to_owned(), target(e))).collect()
}

const ON_OTHERS: [&str; 19] = [
    "list",
    "head",
    "get",
    "get_version",
    "put",
    "list_uploads",
    "upload_part",
    "list_parts",
    "complete_upload",
    "abort_upload",
    "delete",
    "begin_upload",
    "begin_recording",
    "copy_from",
    "copy_to",
    "generate_data_key",
    "decrypt",
    "read_secret",
    "take_role",
];

/// A share that is not watched, and storages for copies.
const MORE: &str = "\n[share.old]\nhost = \"127.0.0.1\"\nshare = \"old\"\npath = \"in\"\nenabled = false\n\
    [storage.processing]\nkeep_days = 7\n[storage.archive]";

/// Tries with this outcome, as (action, resource).
fn places(report: &Value, outcome: &str) -> BTreeSet<(String, String)> {
    let all = report["evidence"].as_array().expect("evidence").iter().filter(|e| e["outcome"] == outcome);
    let text = |v: &Value| v.as_str().unwrap_or("?").to_owned();
    all.map(|e| (text(&e["action"]), text(&e["resource"]))).collect()
}

/// What a bucket in which nothing was placed is tried with.
fn on_bucket(bucket: &str) -> Vec<(String, String)> {
    let at = format!("{bucket}/recordings/isolation-probe");
    let of_bucket = ["list", "list_uploads"].map(|a| (a.to_owned(), bucket.to_owned()));
    let of_object = ["get", "begin_recording", "delete"].map(|a| (a.to_owned(), at.clone()));
    of_bucket.into_iter().chain(of_object).collect()
}

/// What kings-road has besides: its copies, and the credentials of the share that is not watched.
fn elsewhere() -> Vec<(String, String)> {
    let mut all: Vec<_> =
        ["prc", "arc"].iter().flat_map(|s| on_bucket(&format!("leadline-test-kings-road-{ACCOUNT}-{s}"))).collect();
    all.push(("read_secret".into(), "leadline/test/kings-road/share/old".into()));
    all
}

/// What the environment has.
fn of_environment() -> Vec<(String, String)> {
    let env = EnvScope::new(&facts("test"));
    let queues = [
        env.ingest_queue(),
        env.ingest_dlq(),
        env.audit_queue(),
        env.outcome_queue(),
        env.upload_queue(),
        env.dead_letters(),
    ];
    let on = |q: String| ["send", "receive", "delete_message"].map(|a| (a.to_owned(), q.clone()));
    let mut all = on_bucket(&env.backup_bucket());
    all.extend(queues.into_iter().flat_map(on));
    all.push(("publish".into(), env.alarm_topic_arn()));
    all
}

/// Somebody gives st-mary's role everything of the environment: each try finds it, and it is closed again.
async fn the_environment_opened(stack: &Stack, root: &PastUs) {
    let role = "leadline-test-org-st-mary";
    let copies = format!("arn:aws:s3:::leadline-test-{ACCOUNT}-backup");
    let all = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["sqs:*", "sns:*"], "Resource": "*"},
        {"Effect": "Allow", "Action": "s3:*", "Resource": [&copies, format!("{copies}/*")]}]});
    let put = root.iam.put_role_policy().role_name(role).policy_name("oops").policy_document(all.to_string());
    put.send().await.expect("put");
    let (code, report) = probe(stack, "st-mary");
    let text = serde_json::to_string_pretty(&report).unwrap();
    assert_eq!(code, Some(3), "{text}");
    let open = places(&report, "granted");
    for (action, resource) in of_environment() {
        assert!(open.contains(&(action.clone(), resource.clone())), "{action} on {resource}: {text}");
    }
    assert!(!tries(&report, "granted").iter().any(|(_, t)| t == "kings-road"), "{text}");
    root.iam.delete_role_policy().role_name(role).policy_name("oops").send().await.expect("put back");
}

#[tokio::test(flavor = "multi_thread")]
async fn apart_as_made_and_a_breach_stops_onboarding() {
    let clinics = [Clinic::new("st-mary", "ward"), Clinic::new("kings-road", "clinic").with(MORE)];
    let stack = Stack::start(&clinics);
    let path = stack.environments().join("test.toml");
    let text = std::fs::read_to_string(&path).expect("read");
    std::fs::write(&path, text + "\n[backup]\nregion = \"us-west-2\"\nlock = \"compliance\"\n").expect("written");
    let mut worker = stack.worker();
    stack.provision();
    let root = PastUs::new(&stack.aws.url()).await;
    let alarms = AlarmQueue::at(&root, "alarms", &EnvScope::new(&facts("test")).alarm_topic_arn()).await;

    let (code, report) = probe(&stack, "st-mary");
    let text = serde_json::to_string_pretty(&report).unwrap();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(report["others"], json!(["kings-road"]));
    let denied = tries(&report, "denied");
    for action in ON_OTHERS {
        assert!(denied.contains(&(action.to_owned(), "kings-road".to_owned())), "{action}: {text}");
    }
    for action in ["send", "receive", "delete_message", "publish", "list", "begin_recording"] {
        assert!(denied.contains(&(action.to_owned(), "environment".to_owned())), "{action}: {text}");
    }
    let closed = places(&report, "denied");
    for (action, resource) in elsewhere().into_iter().chain(of_environment()) {
        assert!(closed.contains(&(action.clone(), resource.clone())), "{action} on {resource}: {text}");
    }
    let requests = report["evidence"].as_array().expect("evidence").iter();
    let requests = requests.filter(|e| e["target"]["organization"] == "kings-road").count();
    assert_eq!(requests, 18 + 2 + 2 * 5, "for a pair: docs/PROVISIONING.md, \"Proof of isolation\"");
    let granted = tries(&report, "granted");
    for action in ON_OTHERS.iter().filter(|a| !["take_role", "get_version"].contains(a)) {
        assert!(granted.contains(&((*action).to_owned(), "own".to_owned())), "{action}: {text}");
    }
    assert!(granted.iter().all(|(_, target)| target == "own"), "{text}");
    assert!(report["not_enforced"].as_array().is_some_and(|n| n.len() >= 3), "{text}");
    let shown = stack.ok(&["org", "probe", "st-mary", "--env", "test"]);
    assert!(shown.contains("not enforced here: ") && shown.contains("tries ended as they have to"), "{shown}");

    the_environment_opened(&stack, &root).await;
    assert!(alarms.hears(1).await[0].message.detail.contains("of the environment: GRANTED"));
    // An organization's own storages are its own.
    let (code, report) = probe(&stack, "kings-road");
    assert_eq!(code, Some(0), "{report}");
    let own = places(&report, "granted");
    for (action, resource) in elsewhere().into_iter().filter(|(action, _)| action != "delete") {
        assert!(own.contains(&(action.clone(), resource.clone())), "{action} on {resource}: {report}");
    }

    // Somebody gives st-mary's role everything of kings-road, and opens the buckets of kings-road for it.
    let role = format!("arn:aws:iam::{ACCOUNT}:role/leadline-test-org-st-mary");
    let bucket = format!("leadline-test-kings-road-{ACCOUNT}");
    let copies = format!("arn:aws:s3:::leadline-test-{ACCOUNT}-backup");
    let all = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*", "kms:*",
        "secretsmanager:*"], "Resource": "*"}, {"Effect": "Deny", "Action": "s3:*", "Resource": [&copies,
        format!("{copies}/*")]}]});
    root.iam
        .put_role_policy()
        .role_name("leadline-test-org-st-mary")
        .policy_name("oops")
        .policy_document(all.to_string())
        .send()
        .await
        .expect("put");
    let mut kept = Vec::new();
    for bucket in [bucket.clone(), format!("{bucket}-prc"), format!("{bucket}-arc")] {
        let before = root.s3.get_bucket_policy().bucket(&bucket).send().await.expect("read").policy.expect("a policy");
        let open = json!({"Version": "2012-10-17", "Statement": [{"Sid": "Oops", "Effect": "Allow",
            "Principal": {"AWS": &role}, "Action": "s3:*",
            "Resource": [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")]}]});
        root.s3.put_bucket_policy().bucket(&bucket).policy(open.to_string()).send().await.expect("put");
        kept.push((bucket, before));
    }

    let (code, report) = probe(&stack, "st-mary");
    let text = serde_json::to_string_pretty(&report).unwrap();
    assert_eq!(code, Some(3), "{text}");
    let broken: BTreeSet<String> =
        tries(&report, "granted").into_iter().filter(|(_, t)| t == "kings-road").map(|(a, _)| a).collect();
    for action in ON_OTHERS.iter().filter(|a| !["generate_data_key", "decrypt", "take_role"].contains(a)) {
        assert!(broken.contains(*action), "{action}: {text}");
    }
    let open = places(&report, "granted");
    for (action, resource) in elsewhere() {
        assert!(open.contains(&(action.clone(), resource.clone())), "{action} on {resource}: {text}");
    }
    assert!(!broken.contains("take_role"), "{text}");
    assert!(tries(&report, "denied").iter().any(|(_, t)| t == "environment"), "the queues stay closed: {text}");
    let out = stack.run(&["org", "probe", "st-mary", "--env", "test"]);
    let shown = String::from_utf8_lossy(&out.stdout);
    assert!(
        shown.contains("BROKEN") && shown.contains(&bucket) && shown.contains("docs/faults/isolation.broken.md"),
        "{shown}"
    );
    // People are told by each of the two runs, once, and of nothing else.
    let told = alarms.hears(2).await;
    for a in &told {
        assert_eq!(a.subject, "leadline test: isolation.broken (st-mary)");
        assert_eq!(a.message.workflow, "isolation/test/st-mary");
        assert!(a.message.detail.contains(&bucket), "{a:?}");
    }
    assert_ne!(told[0].message.run, told[1].message.run);
    // The other direction is closed still.
    assert_eq!(probe(&stack, "kings-road").0, Some(0));

    // It was seen, counted, and nothing but the probe's own names was touched.
    let metrics = stack.metrics().expect("metrics");
    let of = |what: &str| metrics.lines().any(|l| l.starts_with(what) && !l.ends_with(" 0"));
    assert!(of("leadline_isolation_tries_total{org=\"st-mary\",verdict=\"broken\"}"), "{metrics}");
    assert!(of("leadline_invariant_violations_total{invariant=\"L6\"}"), "{metrics}");
    let there = root.s3.list_objects_v2().bucket(&bucket).send().await.expect("listed");
    let keys: Vec<&str> = there.contents().iter().filter_map(|o| o.key()).collect();
    assert_eq!(keys, ["staging/isolation-probe"], "what was put by surprise is gone again");
    for (bucket, _) in &kept {
        let uploads = root.s3.list_multipart_uploads().bucket(bucket).send().await.expect("listed");
        assert!(uploads.uploads().is_empty(), "{uploads:?}");
    }

    // An onboarding stops there and does not try again by itself; it goes on when it is mended and told so.
    let credentials = stack.dir.join("st-mary.credentials.toml");
    let mut onboarding = stack
        .command(&[
            "org",
            "onboard",
            "st-mary",
            "--env",
            "test",
            "--credentials",
            &credentials.to_string_lossy(),
            "--output",
            "json",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut told = BufReader::new(onboarding.stderr.take().expect("piped")).lines();
    let waits = told.find_map(|l| l.ok().filter(|l| l.contains("waits:"))).expect("it waits");
    assert!(waits.contains("isolation.broken") && waits.contains("kings-road"), "{waits}");
    assert_eq!(alarms.hears(1).await[0].message.workflow, "onboard/test/st-mary");
    for (bucket, before) in kept {
        root.s3.put_bucket_policy().bucket(&bucket).policy(before).send().await.expect("put back");
    }
    root.iam
        .delete_role_policy()
        .role_name("leadline-test-org-st-mary")
        .policy_name("oops")
        .send()
        .await
        .expect("put back");
    let _ = stack.ok(&["org", "resume", "st-mary", "--env", "test"]);
    let rest: Vec<String> = told.map_while(Result::ok).collect();
    let out = onboarding.wait_with_output().expect("ends");
    assert!(out.status.success(), "{rest:?}");
    let status: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(status["isolation"]["others"], json!(["kings-road"]));
    assert_eq!(status["schedules"], json!(["drift/test/st-mary", "isolation/test/st-mary", "outcomes/test/st-mary"]));
    assert_eq!(probe(&stack, "st-mary").0, Some(0));
    alarms.hears(0).await;
    worker.stop(Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_that_is_not_made_yet_is_told_and_the_schedule_runs_the_probe() {
    use leadline_tests::rig::connect_plain;
    use temporalio_client::schedules::TriggerScheduleOptions;
    let clinics = [Clinic::new("st-mary", "ward"), Clinic::new("kings-road", "clinic")];
    let stack = Stack::start(&clinics);
    let mut worker = stack.worker();
    let _ = stack.ok(&["env", "apply", "--env", "test"]);
    stack.onboard(&clinics[0]);
    let (code, report) = probe(&stack, "st-mary");
    assert_eq!((code, &report["not_onboarded"], &report["others"]), (Some(0), &json!(["kings-road"]), &json!([])));

    let client = connect_plain(&stack.temporal.address()).await;
    for id in ["isolation/test/st-mary", "drift/test/st-mary", "drift/test"] {
        let schedule = client.get_schedule_handle(id);
        schedule.trigger(Default::default(), TriggerScheduleOptions::default()).await.expect("triggered");
        let mut ended = None;
        let end = tokio::time::Instant::now() + LIMIT;
        while ended.is_none() && tokio::time::Instant::now() < end {
            let actions = schedule.describe(Default::default()).await.expect("described").recent_actions();
            if let Some(a) = actions.first() {
                let run = client.get_workflow_handle::<leadline_workflows::IsolationProbe>(&a.workflow_id);
                let d = run.describe(Default::default()).await.expect("described");
                ended = Some(format!("{:?}", d.status())).filter(|s| s != "Running");
            }
        }
        assert_eq!(ended.as_deref(), Some("Completed"), "{id}");
    }
    wait_for("the worker counted", LIMIT, || {
        stack
            .metrics()
            .is_some_and(|m| m.contains("leadline_isolation_tries_total{org=\"st-mary\",verdict=\"as_expected\"}"))
    });
    worker.stop(Duration::from_secs(20));
}

/// An opened bucket takes nothing, so nothing can be placed there to try with: no reason to hold up everybody else.
#[tokio::test(flavor = "multi_thread")]
async fn an_organization_that_is_being_deleted_holds_up_nobody() {
    use leadline_activities::adapters::aws::{Aws, AwsSettings, CfnStacks};
    use leadline_tests::contract::stacks;
    let clinics = [Clinic::new("st-mary", "ward"), Clinic::new("kings-road", "clinic")];
    let stack = Stack::start(&clinics);
    let mut worker = stack.worker();
    stack.provision();
    let (config, findings) = leadline_provisioning::load(&stack.environments());
    let config = config.unwrap_or_else(|| panic!("{findings:#?}"));
    let env = config.environment(&facts("test").env).expect("test");
    let org = config.organizations(&env.id).find(|o| o.id.as_str() == "kings-road").expect("kings-road");
    let scope = org.scope(env).expect("placed");
    let opened = leadline_provisioning::template::opened(env, &scope, org);
    let settings = AwsSettings { endpoint_url: Some(stack.aws.url()), assume_worker_role: true, profile: None };
    let aws = Aws::connect_as(&EnvScope::new(&facts("test")), &settings, ACCOUNT, "test").await;
    let opened = leadline_provisioning::template::sent(&opened);
    stacks::apply(&CfnStacks::new(&aws), &scope.stack(), "opened", &opened).await;
    // One that has placed nothing there before.
    worker.stop(Duration::from_secs(20));
    let mut worker = stack.worker();
    let (code, report) = probe(&stack, "st-mary");
    assert_eq!((code, &report["leaving"]), (Some(0), &json!(["kings-road"])), "{report}");
    assert_eq!(report["others"], json!(["kings-road"]), "it is tried all the same");
    assert!(!tries(&report, "absent").is_empty() && tries(&report, "unclear").is_empty(), "{report}");
    worker.stop(Duration::from_secs(20));
}
