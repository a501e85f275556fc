//! An organization leaves: nothing new is taken, what was under way is delivered, what there is is listed and held.

use leadline_tests::fleet::{Login, jobs, judge_messages, write_all};
use leadline_tests::harness::stack::{Clinic, Stack};
use leadline_tests::harness::tools::wait_for;
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
        assert_eq!(c["removed"], serde_json::json!(["watch of share ward"]), "{c}");
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
        assert_eq!(status(&stack)["step"], "done");
    });
}
