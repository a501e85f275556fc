//! Drift, through the binary and a worker: what is changed outside CloudFormation is found and named, and nothing else is.

use aws_sdk_sqs::types::QueueAttributeName;
use leadline_domain::EnvScope;
use leadline_tests::harness::alarm_queue::AlarmQueue;
use leadline_tests::harness::past_us::PastUs;
use leadline_tests::harness::stack::{ACCOUNT, Clinic, Stack};
use leadline_tests::harness::tools::wait_for;
use leadline_tests::rig::facts;
use leadline_tests::ways_in::{WaysIn, open_to};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

fn look(stack: &Stack, args: &[&str]) -> (Option<i32>, Value) {
    let out = stack.run(&[args, &["--output", "json"]].concat());
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let report =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&out.stderr)));
    (out.status.code(), report)
}

fn topic() -> String {
    EnvScope::new(&facts("test")).alarm_topic_arn()
}

async fn alarms(root: &PastUs) -> AlarmQueue {
    AlarmQueue::at(root, "alarms", &topic()).await
}

/// Differences as `resource setting`.
fn places(report: &Value) -> BTreeSet<String> {
    let all = report["differences"].as_array().expect("differences").iter();
    let text = |v: &Value| v.as_str().unwrap_or("?").to_owned();
    all.map(|d| format!("{} {} {}", text(&d["resource"]), text(&d["setting"]), text(&d["kind"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_past_us_is_named() {
    let stack = Stack::start(&[Clinic::new("st-mary", "ward").with(&open_to("MARY"))]);
    let _ = WaysIn::configure(&stack);
    let mut worker = stack.worker();
    stack.provision();
    let org = ["org", "drift", "st-mary", "--env", "test"];
    let env = ["env", "drift", "test"];
    let root = PastUs::new(&stack.aws.url()).await;
    let alarms = alarms(&root).await;

    // Unchanged: nothing is found, on much that was compared, and nobody is called.
    for args in [&org[..], &env[..]] {
        let (code, report) = look(&stack, args);
        let text = serde_json::to_string_pretty(&report).unwrap();
        assert_eq!((code, places(&report)), (Some(0), BTreeSet::new()), "{text}");
        assert!(report["compared"].as_u64().is_some_and(|n| n >= 8), "{text}");
    }

    alarms.hears(0).await;
    let bucket = format!("leadline-test-st-mary-{ACCOUNT}");
    let role = "leadline-test-org-st-mary";
    // The bucket's policy loses its denials, and gets a statement more.
    let policy = json!({"Version": "2012-10-17", "Statement": [{"Sid": "Oops", "Effect": "Allow",
        "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}, "Action": "s3:GetObject",
        "Resource": format!("arn:aws:s3:::{bucket}/*")}]});
    root.s3.put_bucket_policy().bucket(&bucket).policy(policy.to_string()).send().await.expect("put");
    let block = aws_sdk_s3::types::PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(true)
        .block_public_policy(false)
        .restrict_public_buckets(true)
        .build();
    root.s3
        .put_public_access_block()
        .bucket(&bucket)
        .public_access_block_configuration(block)
        .send()
        .await
        .expect("put");
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Sid": "Workers", "Effect": "Allow",
        "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}, "Action": "sts:AssumeRole"}]});
    root.iam.update_assume_role_policy().role_name(role).policy_document(trust.to_string()).send().await.expect("put");
    let more = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]});
    root.iam
        .put_role_policy()
        .role_name(role)
        .policy_name("oops")
        .policy_document(more.to_string())
        .send()
        .await
        .expect("put");

    // Pages of anybody may send with permissions that they got hold of.
    let anybody = aws_sdk_s3::types::CorsRule::builder().allowed_origins("*").allowed_methods("PUT").build();
    let rules = aws_sdk_s3::types::CorsConfiguration::builder().cors_rules(anybody.expect("a rule")).build();
    let put = root.s3.put_bucket_cors().bucket(&bucket).cors_configuration(rules.expect("rules"));
    put.send().await.expect("put");

    lets_go(&root, &bucket).await;
    let (code, report) = look(&stack, &org);
    let text = serde_json::to_string_pretty(&report).unwrap();
    assert_eq!(code, Some(3), "{text}");
    let found = places(&report);
    for place in [
        "Bucket lifecycle.oops drifted",
        "Bucket lifecycle.abandoned-staging drifted",
        "Bucket object_lock.days drifted",
        "Bucket object_lock.mode drifted",
        "Bucket ownership drifted",
        "Bucket policy.Statement.Oops drifted",
        "Bucket policy.Statement.OwnRoleOnly drifted",
        "Bucket cors drifted",
        "Bucket public_access_block.BlockPublicPolicy drifted",
        "Role trust.Statement.Workers.Condition drifted",
        "Role trust.Statement.Workers.Principal.AWS drifted",
        "Role inline_policies.oops drifted",
    ] {
        assert!(found.contains(place), "{place}: {text}");
    }
    assert!(found.iter().all(|p| p.ends_with(" drifted")), "{found:?}");
    // People are told, once.
    let alarm = alarms.hears(1).await.remove(0);
    assert_eq!(alarm.subject, "leadline test: drift.found (st-mary)");
    assert_eq!(alarm.attributes["code"]["Value"], "drift.found");
    assert_eq!(alarm.attributes["organization"]["Value"], "st-mary");
    let m = &alarm.message;
    assert_eq!((m.workflow.as_str(), m.page.as_str()), ("drift/test/st-mary", "docs/faults/drift.found.md"));
    assert!(m.detail.starts_with("stack leadline-test-org-st-mary: ") && !m.run.is_empty(), "{m:?}");
    // Three ways, side by side.
    let block = report["differences"]
        .as_array()
        .unwrap()
        .iter()
        .find(|d| d["setting"] == "public_access_block.BlockPublicPolicy")
        .unwrap();
    assert_eq!(
        (&block["planned"], &block["applied"], &block["live"]),
        (&json!("true"), &json!("true"), &json!("false"))
    );
    let out = stack.run(&org);
    let shown = String::from_utf8_lossy(&out.stdout);
    assert!(shown.contains("Role (leadline-test-org-st-mary) inline_policies.oops"), "{shown}");
    assert!(shown.contains("leadline org plan st-mary --env test"), "{shown}");
    let metrics = stack.metrics().expect("metrics");
    assert!(metrics.contains("leadline_faults_total{code=\"drift.found\"}"), "{metrics}");
    assert!(metrics.contains("leadline_drifted_settings{stack=\"leadline-test-org-st-mary\"}"), "{metrics}");

    assert!(metrics.contains("leadline_alarms_total{code=\"drift.found\",what=\"raised\"}"), "{metrics}");
    assert_ne!(alarms.hears(1).await[0].message.run, m.run, "the next run tells it again");

    // The key's policy, and a queue of the environment.
    let key = root.kms.describe_key().key_id("alias/leadline-test-st-mary").send().await.expect("read");
    let key = key.key_metadata.expect("a key").key_id;
    let open = json!({"Version": "2012-10-17", "Statement": [{"Sid": "All", "Effect": "Allow",
        "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}, "Action": "kms:*", "Resource": "*"}]});
    root.kms.put_key_policy().key_id(key).policy_name("default").policy(open.to_string()).send().await.expect("put");
    root.s3
        .put_bucket_versioning()
        .bucket(&bucket)
        .versioning_configuration(
            aws_sdk_s3::types::VersioningConfiguration::builder()
                .status(aws_sdk_s3::types::BucketVersioningStatus::Suspended)
                .build(),
        )
        .send()
        .await
        .ok();
    let found = places(&look(&stack, &org).1);
    assert!(found.contains("Key policy.Statement.All drifted"), "{found:?}");
    assert!(found.contains("Key policy.Statement.OwnRole drifted"), "{found:?}");
    alarms.hears(1).await;

    let url = root
        .sqs
        .get_queue_url()
        .queue_name("leadline-test-audit")
        .send()
        .await
        .expect("a url")
        .queue_url
        .expect("a url");
    let open = json!({"Version": "2012-10-17", "Statement": [{"Sid": "Oops", "Effect": "Allow", "Principal": "*",
        "Action": "sqs:SendMessage", "Resource": "*"}]});
    root.sqs
        .set_queue_attributes()
        .queue_url(url)
        .attributes(aws_sdk_sqs::types::QueueAttributeName::Policy, open.to_string())
        .send()
        .await
        .expect("put");
    // Whoever has an account may publish what looks like an alarm of ours.
    root.query(
        "sns",
        "2010-03-31",
        &[
            ("Action", "SetTopicAttributes"),
            ("TopicArn", &topic()),
            ("AttributeName", "Policy"),
            ("AttributeValue", &open.to_string().replace("sqs:SendMessage", "sns:Publish")),
        ],
    );
    let (code, report) = look(&stack, &env);
    assert_eq!(code, Some(3));
    assert!(places(&report).iter().any(|p| p.starts_with("AuditQueue policy")), "{report}");
    assert!(places(&report).contains("AlarmTopic policy.Statement.Oops drifted"), "{report}");
    assert!(places(&report).contains("AlarmTopic policy.Statement.Alarms drifted"), "{report}");
    let alarm = alarms.hears(1).await.remove(0);
    assert_eq!((alarm.subject.as_str(), alarm.message.organization), ("leadline test: drift.found", None));

    // CloudFormation believes that nothing changed: the plain plan has nothing to do. The plan that repairs has, and is
    // another one.
    let plan = |more: &[&str]| {
        let out = stack.run(&[&["org", "plan", "st-mary", "--env", "test", "--output", "json"], more].concat());
        let p: Value = serde_json::from_slice(&out.stdout).expect("a plan is JSON");
        (out.status.code(), p)
    };
    let (code, plain) = plan(&[]);
    assert_eq!(code, Some(0), "{plain}");
    let (code, repair) = plan(&["--repair"]);
    assert_eq!((code, &repair["repairs"]), (Some(2), &json!(["Bucket", "Key", "Role"])));
    assert_ne!(plain["digest"], repair["digest"]);
    for (apply, look_again) in [
        // First the environment: a queue that is open to everybody stops the onboarding, whose isolation is not proven.
        (&["env", "apply", "--env", "test", "--repair"][..], &env[..]),
        (&["org", "onboard", "st-mary", "--env", "test", "--repair"][..], &org[..]),
    ] {
        let said = stack.ok(apply);
        assert!(said.contains("put back: "), "{said}");
        let (code, report) = look(&stack, look_again);
        assert_eq!((code, places(&report)), (Some(0), BTreeSet::new()), "{report}");
    }
    // Temporal tells what is new and what was changed apart, by the type of workflow.
    wait_for("an onboarding and an update have ended", Duration::from_secs(30), || {
        ["OnboardOrganization", "UpdateOrganization"].map(|w| stack.temporal.completed(w)) == [1, 1]
    });
    assert_eq!(plan(&["--repair"]).0, Some(0), "nothing more to put back");
    let kept = root.s3.get_bucket_lifecycle_configuration().bucket(&bucket).send().await.expect("rules");
    let mut rules: Vec<&str> = kept.rules().iter().filter_map(|r| r.id()).collect();
    rules.sort_unstable();
    assert_eq!(rules, ["abandoned-staging", "abandoned-uploads", "staging-markers"], "no rule takes recordings away");
    let lock = root.s3.get_object_lock_configuration().bucket(&bucket).send().await.expect("a lock");
    assert!(lock.object_lock_configuration.is_some_and(|l| l.rule.is_none()), "nothing is locked unasked");
    let cors = root.s3.get_bucket_cors().bucket(&bucket).send().await.expect("rules");
    let origins: Vec<&String> = cors.cors_rules().iter().flat_map(|r| r.allowed_origins()).collect();
    assert!(origins.len() == 1 && origins[0].starts_with("http://127.0.0.1:"), "{origins:?}");
    assert_eq!(cors.cors_rules()[0].expose_headers(), ["ETag"]);
    let _ = stack.ok(&["org", "probe", "st-mary", "--env", "test"]);
    alarms.hears(0).await;
    worker.stop(Duration::from_secs(20));
}

/// A bucket that takes recordings away after a day, keeps what is staged, locks what it is given, and leaves objects to whoever
/// wrote them.
async fn lets_go(root: &PastUs, bucket: &str) {
    use aws_sdk_s3::types as s3;
    let rule = s3::LifecycleRule::builder()
        .id("oops")
        .status(s3::ExpirationStatus::Enabled)
        .filter(s3::LifecycleRuleFilter::builder().prefix("recordings/").build())
        .expiration(s3::LifecycleExpiration::builder().days(1).build());
    let rules = s3::BucketLifecycleConfiguration::builder().rules(rule.build().expect("a rule")).build();
    let put =
        root.s3.put_bucket_lifecycle_configuration().bucket(bucket).lifecycle_configuration(rules.expect("rules"));
    put.send().await.expect("put");
    let retention = s3::DefaultRetention::builder().mode(s3::ObjectLockRetentionMode::Governance).days(1).build();
    let lock = s3::ObjectLockConfiguration::builder()
        .object_lock_enabled(s3::ObjectLockEnabled::Enabled)
        .rule(s3::ObjectLockRule::builder().default_retention(retention).build())
        .build();
    let put = root.s3.put_object_lock_configuration().bucket(bucket).object_lock_configuration(lock);
    put.send().await.expect("put");
    root.s3.delete_bucket_ownership_controls().bucket(bucket).send().await.expect("deleted");
}

/// What somebody deletes by hand is missed. What holds no data is made again by an approved plan; what holds data only if
/// it is named, and empty.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_made_again_and_what_held_data_only_by_name() {
    let stack = Stack::start(&[Clinic::new("st-mary", "ward")]);
    let file = stack.environments().join("test.toml");
    let text = std::fs::read_to_string(&file).expect("read");
    let receiver = "[alarms]\nreceivers = [{ email = \"oncall@example.org\" }]\n";
    std::fs::write(&file, format!("{text}\n{receiver}")).expect("written");
    let mut worker = stack.worker();
    stack.provision();
    let root = PastUs::new(&stack.aws.url()).await;
    let (org, env) = (["org", "drift", "st-mary", "--env", "test"], ["env", "drift", "test"]);
    let gone = |args: &[&str]| {
        let (code, report) = look(&stack, args);
        let gone: BTreeSet<String> = places(&report).into_iter().filter(|p| p.ends_with("  drifted")).collect();
        (code, gone, report)
    };

    // Of the environment: an alarm, and a queue with the messages in it.
    root.query(
        "monitoring",
        "2010-08-01",
        &[("Action", "DeleteAlarms"), ("AlarmNames.member.1", "leadline-test-audit-age")],
    );
    let url = root.sqs.get_queue_url().queue_name("leadline-test-outcomes").send().await.expect("a url");
    let url = url.queue_url.expect("a url");
    root.sqs.delete_queue().queue_url(&url).send().await.expect("deleted");
    let alarms = alarms(&root).await;
    let (code, missed, report) = gone(&env);
    let both = BTreeSet::from(["AuditAgeAlarm  drifted".to_owned(), "OutcomeQueue  drifted".to_owned()]);
    assert_eq!((code, missed), (Some(3), both), "{report}");
    let alarm = alarms.hears(1).await.remove(0);
    assert_eq!(alarm.subject, "leadline test: drift.data_lost");
    let detail = alarm.message.detail;
    assert!(detail.starts_with("with what it held: OutcomeQueue ") && detail.contains("AuditAgeAlarm"), "{detail}");
    let plan = |args: &[&str]| {
        let out = stack.run(&[&["env", "plan", "test", "--repair"], args].concat());
        (out.status.code(), format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
    };
    let (code, said) = plan(&[]);
    assert!(code == Some(1) && said.contains("drift.data_lost") && said.contains("--allow OutcomeQueue"), "{said}");
    assert!(!said.contains("--allow AuditAgeAlarm"), "{said}");
    let (code, said) = plan(&["--allow", "OutcomeQueue"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("MAKE AGAIN OutcomeQueue") && said.contains("what it held is lost"), "{said}");
    let refused = stack.run(&["env", "apply", "test", "--repair"]);
    assert_eq!(refused.status.code(), Some(1), "not without its name");
    let said = stack.ok(&["env", "apply", "test", "--repair", "--allow", "OutcomeQueue"]);
    assert!(said.contains("put back: AuditAgeAlarm") && said.contains("made again"), "{said}");
    let (code, report) = look(&stack, &env);
    assert_eq!((code, places(&report)), (Some(0), BTreeSet::new()), "{report}");
    let again = root.sqs.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::Policy);
    let again = again.send().await.expect("it is there");
    assert!(again.attributes().is_some_and(|a| a.contains_key(&QueueAttributeName::Policy)), "with its policy");
    assert_eq!(plan(&[]).0, Some(0), "nothing more to do");

    // Of an organization: a parameter, its role, and its bucket.
    root.json("ssm", "AmazonSSM.DeleteParameter", &json!({"Name": "/leadline/test/org/st-mary/configuration"}));
    let bucket = format!("leadline-test-st-mary-{ACCOUNT}");
    let held = root.s3.list_object_versions().bucket(&bucket).send().await.expect("listed");
    let ids = held.versions().iter().map(|v| (v.key(), v.version_id()));
    for (key, id) in ids.chain(held.delete_markers().iter().map(|m| (m.key(), m.version_id()))) {
        let delete = root.s3.delete_object().bucket(&bucket).set_key(key.map(str::to_owned));
        delete.set_version_id(id.map(str::to_owned)).send().await.expect("deleted");
    }
    root.s3.delete_bucket().bucket(&bucket).send().await.expect("deleted");
    let role = "leadline-test-org-st-mary";
    for p in root.iam.list_role_policies().role_name(role).send().await.expect("listed").policy_names() {
        root.iam.delete_role_policy().role_name(role).policy_name(p).send().await.expect("deleted");
    }
    root.iam.delete_role().role_name(role).send().await.expect("deleted");
    let (code, missed, report) = gone(&org);
    let all = ["Bucket", "Configuration", "Role"].map(|r| format!("{r}  drifted"));
    assert_eq!((code, missed), (Some(3), BTreeSet::from(all)), "{report}");
    let alarm = alarms.hears(1).await.remove(0);
    assert_eq!(alarm.subject, "leadline test: drift.data_lost (st-mary)");
    // Without the topic nobody is told. The check says so, and what it found all the same.
    root.query("sns", "2010-03-31", &[("Action", "DeleteTopic"), ("TopicArn", &topic())]);
    let (code, report) = look(&stack, &env);
    assert_eq!((code, places(&report)), (Some(3), BTreeSet::from(["AlarmTopic  drifted".to_owned()])), "{report}");
    let metrics = stack.metrics().expect("metrics");
    assert!(metrics.contains("leadline_alarms_total{code=\"drift.found\",what=\"not_raised\"} 1"), "{metrics}");
    assert!(metrics.contains("leadline_faults_total{code=\"alarm.topic_missing\"} 1"), "{metrics}");
    let said = stack.ok(&["env", "apply", "test", "--repair"]);
    assert!(said.contains("made again"), "{said}");
    assert_eq!(look(&stack, &env).0, Some(0));
    let list = [("Action", "ListSubscriptionsByTopic"), ("TopicArn", &topic())];
    let told = root.query("sns", "2010-03-31", &list);
    assert!(told.contains("oncall@example.org"), "a topic without receivers tells nobody: {told}");
    let repair = ["org", "onboard", "st-mary", "--env", "test", "--repair"];
    let refused = stack.run(&repair);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("drift.data_lost"), "{said}");
    assert!(said.contains(&bucket) && said.contains("--allow Bucket"), "{said}");
    let said = stack.ok(&[&repair[..], &["--allow", "Bucket"]].concat());
    assert!(said.contains("made again"), "{said}");
    let (code, report) = look(&stack, &org);
    assert_eq!((code, places(&report)), (Some(0), BTreeSet::new()), "{report}");
    let _ = stack.ok(&["org", "probe", "st-mary", "--env", "test"]);
    worker.stop(Duration::from_secs(20));
}

/// The stack of the copies is in another region, and is looked at with the environment's own.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_past_us_in_the_stack_of_the_copies_is_named_too() {
    let stack = Stack::start(&[Clinic::new("st-mary", "ward")]);
    let file = stack.environments().join("test.toml");
    let text = std::fs::read_to_string(&file).expect("read");
    let mut worker = stack.worker();
    let _ = stack.ok(&["env", "apply", "--env", "test"]);
    let env = ["env", "drift", "test"];
    let (code, alone) = look(&stack, &env);
    assert_eq!(code, Some(0), "{alone}");
    // Copies that are planned and not made yet: nobody may take that for copies that are as they should be.
    std::fs::write(&file, format!("{text}\n[backup]\nregion = \"us-west-2\"\n")).expect("written");
    let out = stack.run(&env);
    assert!(
        String::from_utf8_lossy(&out.stderr).contains("stack.missing: there is no stack leadline-test-backup"),
        "{out:?}"
    );
    // In which region they are is read when a worker starts.
    worker.stop(Duration::from_secs(20));
    let mut worker = stack.worker();
    let _ = stack.ok(&["env", "apply", "--env", "test"]);
    let (code, both) = look(&stack, &env);
    assert_eq!((code, places(&both)), (Some(0), BTreeSet::new()), "{both}");
    let compared = |r: &Value| r["compared"].as_u64().expect("a number");
    assert!(compared(&both) > compared(&alone) + 5, "{both}");

    // S3 takes a request about a bucket in the bucket's region only.
    let _ = stack.aws.python(&format!(
        "boto3.client('s3', endpoint_url='{}', region_name='us-west-2')\
         .delete_bucket_policy(Bucket='leadline-test-{ACCOUNT}-backup')",
        stack.aws.url()
    ));
    let (code, report) = look(&stack, &env);
    assert_eq!(code, Some(3), "{report}");
    let found = places(&report);
    assert!(!found.is_empty() && found.iter().all(|p| p.starts_with("BackupBucket")), "{report}");
    // Putting back what is the environment's leaves the copies alone, and does not say that it has mended them.
    let plan = stack.run(&["env", "plan", "test", "--repair"]);
    assert!(plan.status.success(), "{plan:?}");
    worker.stop(Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_is_ahead_is_told_apart_from_drift() {
    let clinic = Clinic::new("st-mary", "ward");
    let stack = Stack::start(std::slice::from_ref(&clinic));
    let mut worker = stack.worker();
    let _ = stack.ok(&["env", "apply", "--env", "test"]);
    let root = PastUs::new(&stack.aws.url()).await;
    let alarms = alarms(&root).await;
    // A stack that is not there cannot be looked at: nobody may take that for a stack that is as it should be.
    let out = stack.run(&["org", "drift", "st-mary", "--env", "test"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("stack.missing"), "{out:?}");
    assert_eq!(alarms.hears(1).await[0].subject, "leadline test: stack.missing (st-mary)");

    let file = stack.environments().join("test.toml");
    let text = std::fs::read_to_string(&file).expect("read");
    std::fs::write(&file, format!("{text}\n[audit_queue]\nvisibility_timeout_s = 77\n")).expect("written");
    let (code, report) = look(&stack, &["env", "drift", "test"]);
    assert_eq!(
        (code, places(&report)),
        (Some(2), BTreeSet::from(["AuditQueue visibility_timeout pending".to_owned()]))
    );

    // Somebody sets by hand what is planned, and something else.
    let url = root.sqs.get_queue_url().queue_name("leadline-test-audit").send().await.expect("a url");
    let set = root.sqs.set_queue_attributes().queue_url(url.queue_url.expect("a url"));
    let name = aws_sdk_sqs::types::QueueAttributeName::VisibilityTimeout;
    set.clone().attributes(name.clone(), "77").send().await.expect("put");
    let (code, report) = look(&stack, &["env", "drift", "test"]);
    assert_eq!(
        (code, places(&report)),
        (Some(3), BTreeSet::from(["AuditQueue visibility_timeout already_as_planned".to_owned()]))
    );
    set.attributes(name, "78").send().await.expect("put");
    let (code, report) = look(&stack, &["env", "drift", "test"]);
    assert_eq!(
        (code, places(&report)),
        (Some(3), BTreeSet::from(["AuditQueue visibility_timeout conflict".to_owned()]))
    );
    worker.stop(Duration::from_secs(20));
}
