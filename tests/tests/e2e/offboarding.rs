//! An organization leaves: nothing new is taken, what was under way is delivered, what there is is listed and held.

use leadline_activities::engine::Engine;
use leadline_domain::EnvScope;
use leadline_tests::fleet::{Login, jobs, judge_messages, write_all};
use leadline_tests::harness::past_us::PastUs;
use leadline_tests::harness::stack::{ACCOUNT, Clinic, Stack};
use leadline_tests::harness::tools::wait_for;
use leadline_tests::rig::{connect, facts, scope};
use leadline_workflows::subscription::Seen;
use std::process::{Output, Stdio};
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
const OFFBOARD: [&str; 5] = ["org", "offboard", "st-mary", "--env", "test"];

fn text(o: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&o.stdout), String::from_utf8_lossy(&o.stderr))
}

fn status(stack: &Stack) -> serde_json::Value {
    let out = stack.run(&[&OFFBOARD[..], &["--status", "--output", "json"]].concat());
    serde_json::from_slice(&out.stdout).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_leaves_and_nothing_under_way_is_lost() {
    let clinics = [Clinic::new("st-mary", "ward"), Clinic::new("kings-road", "clinic")];
    let stack = Stack::start(&clinics);
    for c in &clinics {
        let _ = stack.device(&c.org).await;
    }
    let mut worker = stack.worker();
    tokio::task::block_in_place(|| stack.provision());
    let (mary, kings) = (Login::of(&stack, &clinics[0]), Login::of(&stack, &clinics[1]));
    let written = AtomicUsize::new(0);
    let before = jobs("st-mary", "a", 10, 21);
    write_all(&mary, &before, Duration::from_millis(10), &written).await;

    // A device holds a file open: its recording is under way when the watch ends.
    let device = stack.device("st-mary").await;
    let open = jobs("st-mary", "open", 1, 22).remove(0);
    let half = open.bytes.len() / 2;
    let mut file = device.create(&open.path).await.expect("created");
    file.write(0, &open.bytes[..half]).await.expect("written");
    tokio::task::block_in_place(|| {
        wait_for("the open file has a lifecycle", LIMIT, || {
            stack.files().iter().any(|f| f.to_string().contains("open-0") && f.to_string().contains("st-mary"))
        });
    });
    let leaving = stack
        .command(&[&OFFBOARD[..], &["--output", "json"]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("leadline runs");
    tokio::task::block_in_place(|| {
        wait_for("it waits for the open file", LIMIT, || {
            status(&stack)["waiting"].as_array().is_some_and(|w| w.len() == 1)
        });
        // Not twice, and not back again meanwhile.
        let onboard = stack.run(&["org", "onboard", "st-mary", "--env", "test"]);
        assert!(onboard.status.code() == Some(1) && text(&onboard).contains("org.offboarding"), "{}", text(&onboard));
        worker.kill();
        worker = stack.worker();
    });
    // Too late: the watch has ended.
    let late = jobs("st-mary", "late", 2, 23);
    write_all(&mary, &late, Duration::from_millis(10), &written).await;
    file.write(half as u64, &open.bytes[half..]).await.expect("written");
    file.close().await.expect("closed");
    // The other organization is not concerned.
    let other = jobs("kings-road", "b", 5, 24);
    write_all(&kings, &other, Duration::from_millis(10), &written).await;

    tokio::task::block_in_place(|| {
        let _ = stack.run(&["org", "retry", "st-mary", "--env", "test"]);
        let out = leaving.wait_with_output().expect("it ends");
        assert!(out.status.success(), "{}", text(&out));
        let c: serde_json::Value = serde_json::from_slice(&out.stdout).expect("a certificate is JSON");
        let taken: Vec<_> = before.iter().chain([&open]).cloned().collect();
        assert_eq!(c["recordings"], taken.len(), "{c}");
        let bytes: usize = taken.iter().map(|j| j.bytes.len()).sum();
        assert_eq!(c["bytes"], bytes, "{c}");
        let schedules = ["isolation", "drift", "outcomes"].map(|s| format!("schedule {s}/test/st-mary"));
        let removed: Vec<&str> =
            std::iter::once("watch of share ward").chain(schedules.iter().map(String::as_str)).collect();
        assert_eq!(c["removed"], serde_json::json!(removed), "{c}");
        assert_eq!(c["watches"][0]["note"], serde_json::Value::Null, "there was a last listing: {c}");
        let held = c["kept_until_ms"].as_i64().expect("ms") - c["exported_ms"].as_i64().expect("ms");
        assert_eq!(held, 30 * 86_400_000);

        // Each of both organizations' recordings once, none of those that came too late, which lie where they were.
        let all: Vec<_> = taken.iter().chain(&other).cloned().collect();
        judge_messages(&stack, &all, LIMIT);
        for j in &late {
            assert!(stack.samba.path("ward").join(&j.path).exists(), "{} was taken", j.path);
        }
        let audit = stack.take_messages("audit");
        let recorded: Vec<_> = audit.iter().filter(|m| m["kind"] == "offboarding").collect();
        assert_eq!(recorded, [&c], "the certificate is in the audit queue, once");

        assert_eq!(status(&stack)["step"], "holding for the time of retention");
        let shown = stack.ok(&[&OFFBOARD[..], &["--certificate", "--output", "json"]].concat());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), c);
        let onboard = stack.run(&["org", "onboard", "st-mary", "--env", "test"]);
        assert!(text(&onboard).contains("org.offboarding"), "{}", text(&onboard));
        let show = stack.ok(&["org", "show", "kings-road", "--env", "test"]);
        assert!(show.contains("watching"), "{show}");
        // Not even by somebody who agrees: it is too early.
        let early = stack.run(&[&OFFBOARD[..], &["--approve", "0123", "--as", "bob"]].concat());
        assert!(early.status.code() == Some(1) && text(&early).contains("approval.refused"), "{}", text(&early));
        let replay = stack.ok(&["replay", "--env", "test"]);
        assert!(replay.is_empty(), "{replay}");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_needs_the_approvals_of_the_environment_and_ends_at_once_without_retention() {
    let clinic = Clinic::new("st-mary", "ward");
    let stack = Stack::start(std::slice::from_ref(&clinic));
    let _ = stack.device("st-mary").await;
    let _worker = stack.worker();
    tokio::task::block_in_place(|| {
        stack.provision();
        // From now on there are gates here, and nothing is held.
        let path = stack.environments().join("test.toml");
        let test = std::fs::read_to_string(&path).expect("read");
        let before = test
            .replace("\"test\"", "\"before\"")
            .replace("leadline-test-", "leadline-before-")
            .replace("111111111111", "333333333333")
            .replace("namespace = \"default\"", "namespace = \"before\"");
        std::fs::write(stack.environments().join("before.toml"), before).expect("written");
        std::fs::write(&path, format!("{test}\n[offboarding]\nretention_days = 0\n")).expect("written");
        let gates = "[to.test]\nfrom = \"before\"\napprovals = 1\nfour_eyes = true\n";
        std::fs::write(stack.environments().join("promotion.toml"), gates).expect("written");
        let by = |who: &str, more: &[&str]| {
            let mut c = stack.command(&[&OFFBOARD[..], more].concat());
            c.env("LEADLINE_OPERATOR", who).stdout(Stdio::piped()).stderr(Stdio::piped());
            c
        };
        let leaving = by("ann", &["--output", "json"]).spawn().expect("leadline runs");
        let mut digest = String::new();
        wait_for("it waits for an approval", LIMIT, || {
            let s = status(&stack);
            digest = s["plan"].as_str().unwrap_or_default().to_owned();
            s["step"] == "waiting for approval"
        });
        for (who, what, why) in [("ann", digest.as_str(), "someone else"), ("bob", "0123", "not the plan that waits")] {
            let out = by(who, &["--approve", what]).output().expect("leadline runs");
            assert!(out.status.code() == Some(1) && text(&out).contains(why), "{}", text(&out));
        }
        let show = stack.ok(&["org", "show", "st-mary", "--env", "test"]);
        assert!(show.contains("watching"), "nothing ends before: {show}");
        let out = by("bob", &["--approve", &digest]).output().expect("leadline runs");
        assert!(out.status.success(), "{}", text(&out));
        let out = leaving.wait_with_output().expect("it ends");
        assert!(out.status.success(), "{}", text(&out));
        let c: serde_json::Value = serde_json::from_slice(&out.stdout).expect("a certificate is JSON");
        assert_eq!((&c["recordings"], &c["approvers"][0]["name"]), (&0.into(), &"bob".into()), "{c}");
        assert_eq!(c["kept_until_ms"], c["exported_ms"], "{c}");
        // The time of retention is over at once; what is deleted needs an approval of its own, by someone else.
        wait_for("it waits for the approval of the deletion", LIMIT, || {
            status(&stack)["step"] == "waiting for the approval of the deletion"
        });
        let deletion = status(&stack)["deletion_plan"].as_str().expect("a digest").to_owned();
        assert_ne!(deletion, digest);
        for (who, what, why) in [("ann", &deletion, "someone else"), ("bob", &digest, "not the plan that waits")] {
            let out = by(who, &["--approve", what]).output().expect("leadline runs");
            assert!(out.status.code() == Some(1) && text(&out).contains(why), "{}", text(&out));
        }
        // Somebody wants it to stay.
        let out = by("ann", &["--keep"]).output().expect("leadline runs");
        assert!(out.status.success(), "{}", text(&out));
        wait_for("it has ended", LIMIT, || status(&stack)["step"] == "ended: everything stays");
        let org = stack.ok(&["org", "status", "st-mary", "--env", "test"]);
        assert!(org.contains("kept by       ann"), "{org}");
    });
}

/// Versions and delete markers of a bucket. Its policy does not bind the endpoint's root.
async fn versions(root: &PastUs, bucket: &str) -> Option<usize> {
    let all = root.s3.list_object_versions().bucket(bucket).send().await.ok()?;
    Some(all.versions().len() + all.delete_markers().len())
}

/// An organization with some recordings, off-boarded until its deletion waits. Returns the digest of that.
fn waits_for_deletion(stack: &Stack) -> String {
    let path = stack.environments().join("test.toml");
    let test = std::fs::read_to_string(&path).expect("read");
    std::fs::write(&path, format!("{test}\n[offboarding]\nretention_days = 0\n")).expect("written");
    let _ = stack.ok(&[&OFFBOARD[..], &["--as", "ann"]].concat());
    let mut deletion = String::new();
    wait_for("it waits for the approval of the deletion", LIMIT, || {
        let s = status(stack);
        deletion = s["deletion_plan"].as_str().unwrap_or_default().to_owned();
        s["step"] == "waiting for the approval of the deletion"
    });
    deletion
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_locked_is_deleted_after_a_second_approval() {
    let clinics = [Clinic::new("st-mary", "ward"), Clinic::new("kings-road", "clinic")];
    let stack = Stack::start(&clinics);
    for c in &clinics {
        let _ = stack.device(&c.org).await;
    }
    let mut worker = stack.worker();
    tokio::task::block_in_place(|| stack.provision());
    let written = AtomicUsize::new(0);
    let mut all = Vec::new();
    for (n, c) in clinics.iter().enumerate() {
        let some = jobs(&c.org, "a", 5, 31 + n as u64);
        write_all(&Login::of(&stack, c), &some, Duration::from_millis(10), &written).await;
        all.extend(some);
    }
    tokio::task::block_in_place(|| judge_messages(&stack, &all, LIMIT));
    let root = PastUs::new(&stack.aws.url()).await;
    let (bucket, other) = (format!("leadline-test-st-mary-{ACCOUNT}"), format!("leadline-test-kings-road-{ACCOUNT}"));
    let of_other = versions(&root, &other).await;

    // A sealed piece of the ledger, which must outlast everything.
    let put = root.s3.put_object().bucket(&bucket).key("ledger/sealed").body(b"sealed".to_vec().into());
    let until = std::time::SystemTime::now() + Duration::from_secs(3600);
    let put = put.object_lock_mode(aws_sdk_s3::types::ObjectLockMode::Compliance);
    put.object_lock_retain_until_date(until.into()).send().await.expect("sealed");

    tokio::task::block_in_place(|| {
        let deletion = waits_for_deletion(&stack);
        for schedule in ["isolation/test/st-mary", "drift/test/st-mary", "outcomes/test/st-mary"] {
            assert!(!stack.temporal.knows_schedule(schedule), "{schedule} is left");
        }
        assert!(stack.temporal.knows_schedule("drift/test/kings-road"), "the other organization's is there");
        // Whatever is killed in between.
        worker.kill();
        worker = stack.worker();
        let out = stack.run(&[&OFFBOARD[..], &["--approve", &deletion, "--as", "bob"]].concat());
        assert!(out.status.success(), "{}", text(&out));
        worker.kill();
        worker = stack.worker();
        wait_for("everything is deleted", LIMIT, || status(&stack)["step"] == "done");
    });

    // The locked version is there, nothing else is; the other organization has all it had.
    assert_eq!(versions(&root, &bucket).await, Some(1));
    assert_eq!(versions(&root, &other).await, of_other);
    let role = root.iam.get_role().role_name("leadline-test-org-st-mary").send().await;
    assert!(role.is_err(), "the role is gone");
    tokio::task::block_in_place(|| {
        let s = status(&stack);
        let d = &s["deletion"];
        assert_eq!((&d["locked"]["versions"], &d["locked"]["bytes"]), (&1.into(), &6.into()), "{d}");
        assert!(d["locked"]["named"][0].as_str().is_some_and(|k| k.starts_with("ledger/sealed ")), "{d}");
        assert!(d["held"]["versions"].as_u64().is_some_and(|n| n >= 7), "recordings, list, sealed, probe: {d}");
        assert_eq!(d["approvers"][0]["name"], "bob", "{d}");
        let removed = d["removed"].to_string();
        assert!(removed.contains("stack leadline-test-org-st-mary") && removed.contains("share/ward"), "{d}");
        assert!(d["kept"].to_string().contains(&bucket), "{d}");
        let list = stack.ok(&["org", "list", "--env", "test"]);
        assert!(list.lines().any(|l| l.contains("st-mary") && l.contains("not onboarded")), "{list}");
        // Kept where it outlives the bucket: on the audit queue, in a file, in what is shown.
        let audit = stack.take_messages("audit");
        let recorded: Vec<_> = audit.iter().filter(|m| m["kind"] == "deletion").collect();
        assert_eq!(recorded, [d], "the certificate is in the audit queue, once");
        let file = stack.dir.join("certificate.json").to_string_lossy().into_owned();
        let _ = stack.ok(&[&OFFBOARD[..], &["--certificate", &file]].concat());
        let kept: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&file).expect("written")).expect("JSON");
        assert_eq!((&kept["deletion"], &kept["offboarding"]), (d, &s["certificate"]));
        let again = stack.run(&[&OFFBOARD[..], &["--certificate", &file]].concat());
        assert!(!again.status.success(), "a certificate is never overwritten");
        let out = stack.run(&["org", "status", "st-mary", "--env", "test"]);
        let shown = text(&out);
        assert!(shown.contains("of the deletion of st-mary") && shown.contains("object lock"), "{shown}");
        let show = stack.ok(&["org", "show", "kings-road", "--env", "test"]);
        assert!(show.contains("watching"), "{show}");
        let _ = stack.ok(&["org", "probe", "kings-road", "--env", "test"]);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_locked_nothing_is_left_and_it_can_come_back() {
    let clinic = Clinic::new("st-mary", "ward");
    let stack = Stack::start(std::slice::from_ref(&clinic));
    let _ = stack.device("st-mary").await;
    let file = stack.environments().join("orgs/st-mary.toml");
    let text_of = std::fs::read_to_string(&file).expect("read");
    std::fs::write(&file, format!("{text_of}\n[storage.processing]\nkeep_days = 30\n")).expect("written");
    let _worker = stack.worker();
    tokio::task::block_in_place(|| stack.provision());
    let root = PastUs::new(&stack.aws.url()).await;
    let bucket = format!("leadline-test-st-mary-{ACCOUNT}");
    // Two recordings, and their copies in the organization's other storage.
    let some = jobs("st-mary", "a", 2, 41);
    write_all(&Login::of(&stack, &clinic), &some, Duration::from_millis(10), &AtomicUsize::new(0)).await;
    let copies = format!("{bucket}-prc");
    tokio::task::block_in_place(|| {
        judge_messages(&stack, &some, LIMIT);
        let _ = stack.ok(&["transfer", "st-mary", "--env", "test", "--from", "data", "--to", "processing"]);
    });
    assert_eq!(versions(&root, &copies).await, Some(2));
    let alias = "alias/leadline-test-st-mary";
    let key = root.kms.describe_key().key_id(alias).send().await.expect("a key");
    let key = key.key_metadata.expect("described").key_id;
    // A share that was switched off, and an EHR's subscription that is followed for months.
    let open = std::fs::read_to_string(&file).expect("read");
    std::fs::write(&file, open.replace("[share.ward]", "[share.ward]\nenabled = false")).expect("written");
    let engine = Engine::new(connect(&stack.temporal.address()).await);
    let (org, seen) = (scope("st-mary").org().clone(), Seen { number: 7, at_ms: 1 });
    engine
        .subscription_advance(&EnvScope::new(&facts("test")).main_queue(), &org, "urn:of-the-ehr", seen)
        .await
        .expect("followed");
    // An upload that nobody completed.
    root.s3.create_multipart_upload().bucket(&bucket).key("staging/abandoned").send().await.expect("begun");
    tokio::task::block_in_place(|| {
        let deletion = waits_for_deletion(&stack);
        let out = stack.run(&[&OFFBOARD[..], &["--approve", &deletion, "--as", "bob"]].concat());
        assert!(out.status.success(), "{}", text(&out));
        wait_for("everything is deleted", LIMIT, || status(&stack)["step"] == "done");
        let d = &status(&stack)["deletion"];
        assert_eq!(d["locked"]["versions"], 0);
        assert_eq!(d["held"]["storages"][&copies]["versions"], 2, "{d}");
        let removed = d["removed"].to_string();
        assert!(removed.contains(&format!("in bucket {copies}")), "{d}");
        assert!(removed.contains(&format!("\"bucket {copies}\"")), "{d}");
        assert!(!d["kept"].to_string().contains(&copies), "{d}");
    });
    for b in [&bucket, &copies] {
        assert_eq!(versions(&root, b).await, None, "bucket {b} is gone");
    }
    assert!(root.kms.describe_key().key_id(alias).send().await.is_err(), "the key has lost its name");
    let left = root.kms.describe_key().key_id(key).send().await.expect("described");
    assert!(left.key_metadata.is_some_and(|m| m.deletion_date.is_some()), "the key goes as well");
    std::fs::write(&file, open).expect("written");
    tokio::task::block_in_place(|| {
        stack.onboard(&clinic);
        let show = stack.ok(&["org", "show", "st-mary", "--env", "test"]);
        assert!(show.contains("watching"), "{show}");
    });
}
