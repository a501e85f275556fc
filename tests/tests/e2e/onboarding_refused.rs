//! What goes wrong when organizations are onboarded, on real parts: each has its named fault where an operator looks, and
//! nothing is lost or left half-made unnoticed.

use leadline_tests::harness::stack::{Clinic, Stack};
use leadline_tests::harness::tools::wait_for;
use serde_json::Value;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(90);

fn text(o: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&o.stdout), String::from_utf8_lossy(&o.stderr))
}

fn status(stack: &Stack, org: &str) -> Value {
    let out = stack.run(&["org", "status", org, "--env", "test", "--output", "json"]);
    serde_json::from_slice(&out.stdout).unwrap_or_default()
}

fn begun(stack: &Stack, args: &[&str]) -> Child {
    stack.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("leadline runs")
}

fn edit(stack: &Stack, file: &str, from: &str, to: &str) {
    let path = stack.environments().join(file);
    let was = std::fs::read_to_string(&path).expect("read");
    assert!(was.contains(from), "{was}");
    std::fs::write(path, was.replace(from, to)).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_at_a_time_and_cancelled_by_name() {
    let clinic = Clinic::new("st-mary", "ward");
    let stack = Stack::start(std::slice::from_ref(&clinic));
    let _ = stack.device("st-mary").await;
    let _worker = stack.worker();
    tokio::task::block_in_place(|| {
        let _ = stack.ok(&["env", "apply", "--env", "test"]);
        let onboard = ["org", "onboard", "st-mary", "--env", "test"];
        // Nothing to cancel yet.
        let out = stack.run(&["org", "cancel", "st-mary", "--env", "test", "--as", "ann"]);
        assert!(out.status.code() == Some(1) && text(&out).contains("apply.not_cancelled"), "{}", text(&out));

        // It waits for credentials.
        let mut first = begun(&stack, &onboard);
        wait_for("it waits for credentials", LIMIT, || {
            status(&stack, "st-mary")["status"]["paused"]["code"] == "secret.missing"
        });
        // The same plan again is followed; it waits as well.
        let mut second = begun(&stack, &onboard);
        // Another plan is refused, and the first is not disturbed.
        let plan = status(&stack, "st-mary")["status"]["plan"].clone();
        edit(&stack, "orgs/st-mary.toml", "reconcile_s = 5", "reconcile_s = 6");
        let other = stack.run(&onboard);
        assert!(other.status.code() == Some(1) && text(&other).contains("apply.under_way"), "{}", text(&other));
        assert!(text(&other).contains("docs/faults/apply.under_way.md"), "{}", text(&other));
        // Nor does an off-boarding begin meanwhile.
        let leave = stack.run(&["org", "offboard", "st-mary", "--env", "test"]);
        assert!(leave.status.code() == Some(1) && text(&leave).contains("apply.under_way"), "{}", text(&leave));
        let s = status(&stack, "st-mary");
        assert_eq!((&s["state"], &s["status"]["plan"]), (&"under way".into(), &plan), "{s}");

        let out = stack.run(&["org", "cancel", "st-mary", "--env", "test", "--as", "ann"]);
        assert!(out.status.success(), "{}", text(&out));
        assert!(text(&out).contains("cancelled by ann") && text(&out).contains("CREATE_COMPLETE"), "{}", text(&out));
        for child in [&mut first, &mut second] {
            assert_eq!(child.wait().expect("it ends").code(), Some(1));
        }
        let s = status(&stack, "st-mary");
        assert_eq!((&s["state"], &s["status"]["cancelled_by"]), (&"cancelled".into(), &"ann".into()), "{s}");
        let out = stack.run(&["org", "cancel", "st-mary", "--env", "test", "--as", "ann"]);
        assert!(text(&out).contains("apply.not_cancelled"), "{}", text(&out));

        // What stands is gone on with, by the plan of now.
        stack.onboard(&clinic);
        assert_eq!(status(&stack, "st-mary")["state"], "done");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_waits_for_approval_leaves_nothing_when_cancelled() {
    let clinic = Clinic::new("st-mary", "ward");
    let stack = Stack::start(std::slice::from_ref(&clinic));
    let _worker = stack.worker();
    tokio::task::block_in_place(|| {
        // Gates in front of the environment itself.
        let path = stack.environments().join("test.toml");
        let before = std::fs::read_to_string(&path)
            .expect("read")
            .replace("\"test\"", "\"before\"")
            .replace("leadline-test-", "leadline-before-")
            .replace("111111111111", "333333333333")
            .replace("namespace = \"default\"", "namespace = \"before\"");
        std::fs::write(stack.environments().join("before.toml"), before).expect("written");
        let gates = "[to.test]\nfrom = \"before\"\napprovals = 1\nfour_eyes = true\n";
        std::fs::write(stack.environments().join("promotion.toml"), gates).expect("written");
        let by = |who: &str, args: &[&str]| {
            let mut c = stack.command(args);
            c.env("LEADLINE_OPERATOR", who).stdout(Stdio::piped()).stderr(Stdio::piped());
            c
        };
        let apply = ["env", "apply", "--env", "test"];
        let waiting = || {
            let mut digest = String::new();
            wait_for("it waits for an approval", LIMIT, || {
                let out = stack.run(&["env", "status", "--env", "test", "--output", "json"]);
                let s: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
                digest = s["status"]["plan"].as_str().unwrap_or_default().to_owned();
                s["status"]["step"] == "waiting for approval" && s["state"] == "under way"
            });
            digest
        };
        let first = by("ann", &apply).spawn().expect("leadline runs");
        let old = waiting();
        let out = by("bob", &["env", "cancel", "test"]).output().expect("leadline runs");
        assert!(out.status.success(), "{}", text(&out));
        let said = text(&out);
        assert!(said.contains("cancelled by bob") && said.contains("there is no stack leadline-test-env"), "{said}");
        let ended = first.wait_with_output().expect("it ends");
        assert!(text(&ended).contains("apply.cancelled"), "{}", text(&ended));
        let list = "print([s['StackStatus'] for s in c('cloudformation').list_stacks()['StackSummaries']])";
        let left = stack.aws.python(list);
        assert!(!left.contains("REVIEW_IN_PROGRESS") && !left.contains("CREATE"), "nothing is left: {left}");

        // The file changes: an approval of the plan that was is refused, that of the plan that is is taken.
        edit(&stack, "test.toml", "[queue]", "[audit_queue]\nvisibility_timeout_s = 77\n[queue]");
        let again = by("ann", &apply).spawn().expect("leadline runs");
        let new = waiting();
        assert_ne!(old, new);
        let out = by("bob", &["env", "approve", "--env", "test", "--digest", &old]).output().expect("leadline runs");
        assert!(out.status.code() == Some(1) && text(&out).contains("approval.refused"), "{}", text(&out));
        let out = by("bob", &["env", "approve", "--env", "test", "--digest", &new]).output().expect("leadline runs");
        assert!(out.status.success(), "{}", text(&out));
        let out = again.wait_with_output().expect("it ends");
        assert!(out.status.success(), "{}", text(&out));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_and_stacks_that_only_a_human_can_leave() {
    let clinics = [Clinic::new("st-mary", "ward")];
    let mut stack = Stack::start(&clinics);
    let _ = stack.device("st-mary").await;
    let _worker = stack.worker();
    tokio::task::block_in_place(|| {
        // AWS does not know who asks.
        let mut c = stack.command(&["env", "plan", "test"]);
        let out = c.env("AWS_ACCESS_KEY_ID", ["AKIA", "UNKNOWNUNKNOWN42"].concat()).output().expect("leadline runs");
        assert!(out.status.code() == Some(1) && text(&out).contains("credential.refused"), "{}", text(&out));
        let _ = stack.ok(&["env", "apply", "--env", "test"]);

        // The share does not know the password: the onboarding does not depend on it, its watch says so.
        let file = stack.dir.join("st-mary.credentials.toml");
        let good = std::fs::read_to_string(&file).expect("read");
        std::fs::write(&file, good.replace("pw-of-st-mary", "wrong")).expect("written");
        stack.onboard(&clinics[0]);
        let shown = |stack: &Stack| stack.run_text(&["org", "show", "st-mary", "--env", "test"]);
        wait_for("the watch shows it", LIMIT, || shown(&stack).contains("share.logon_refused"));
        std::fs::write(&file, good).expect("written");
        let rotate = ["org", "rotate", "st-mary", "--env", "test", "--share", "ward", "--credentials"];
        let _ = stack.ok(&[&rotate[..], &[&file.to_string_lossy()]].concat());
        let _ = stack.ok(&["org", "retry", "st-mary", "--env", "test"]);
        wait_for("it watches", LIMIT, || shown(&stack).contains("watching"));

        // Stacks in states that no change set leads out of: refused when planned, and by the worker of one planned before.
        for state in ["UPDATE_ROLLBACK_FAILED", "ROLLBACK_FAILED", "DELETE_FAILED", "CREATE_FAILED"] {
            stack.aws.set_stack_status("leadline-test-org-st-mary", state);
            let out = stack.run(&["org", "plan", "st-mary", "--env", "test"]);
            let said = text(&out);
            assert!(out.status.code() == Some(1) && said.contains(state), "{said}");
            assert!(said.contains("docs/faults/stack.terminal_state.md"), "{said}");
        }
        stack.aws.set_stack_status("leadline-test-org-st-mary", "CREATE_COMPLETE");
        // No change: nothing is executed, all the same it is probed and watched.
        let again = stack.ok(&["org", "onboard", "st-mary", "--env", "test"]);
        assert!(again.contains("watching: watch/st-mary/ward"), "{again}");
        let s = status(&stack, "st-mary");
        assert_eq!(s["status"]["changes"], serde_json::json!([]), "{s}");
    });
}
