//! Many organizations onboarded in one run: a set number at a time, none left out or half made though the worker is
//! killed in between, and one that cannot be onboarded stops no other.

use leadline_tests::fleet::{Login, jobs, judge_messages, write_all};
use leadline_tests::harness::stack::{Clinic, Stack};
use leadline_tests::scale::{onboard_all, placed, states};
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
async fn every_organization_is_onboarded_though_the_worker_is_killed_twice() {
    let clinics: Vec<Clinic> = (0..20).map(|n| Clinic::new(&format!("clinic-{n}"), &format!("ward-{n}"))).collect();
    let stack = Stack::start(&clinics);
    let credentials = placed(&stack, &clinics);
    for c in &clinics {
        let _ = stack.device(&c.org).await;
    }
    let mut worker = stack.worker();
    tokio::task::block_in_place(|| {
        let _ = stack.ok(&["env", "apply", "--env", "test"]);
        // The password of one is not known yet.
        let late = credentials.join("clinic-7.toml");
        std::fs::rename(&late, credentials.join("later")).expect("moved");
        let (out, _) = onboard_all(&stack, &credentials, 6, &mut worker, &[4, 11], LIMIT);
        let said = String::from_utf8_lossy(&out.stdout);
        assert_eq!(out.status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&out.stderr));
        let lines: Vec<serde_json::Value> = said.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        assert_eq!(lines.len(), 20, "{said}");
        for l in &lines {
            let state = if l["organization"] == "clinic-7" { "failed" } else { "done" };
            assert_eq!(l["state"], state, "{l}");
        }
        let code = lines.iter().find(|l| l["state"] == "failed").map(|l| l["code"].clone());
        assert_eq!(code, Some("secret.missing".into()));

        // Again, with the password: the others are as planned already, and the one goes on.
        std::fs::rename(credentials.join("later"), &late).expect("moved");
        let (out, _) = onboard_all(&stack, &credentials, 6, &mut worker, &[], LIMIT);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        assert_eq!(states(&stack), vec!["CREATE_COMPLETE"; 20]);
        for c in &clinics {
            let status = stack.ok(&["org", "status", &c.org, "--env", "test", "--output", "json"]);
            let v: serde_json::Value = serde_json::from_str(&status).expect("JSON");
            assert_eq!(v["state"], "done", "{v}");
            assert_eq!(v["status"]["watches"].as_array().map(Vec::len), Some(1), "{v}");
        }
    });

    // Each is watched.
    let mut all = Vec::new();
    for (n, c) in clinics.iter().enumerate() {
        let one = jobs(&c.org, "a", 1, 100 + u64::try_from(n).expect("small"));
        write_all(&Login::of(&stack, c), &one, Duration::from_millis(10), &AtomicUsize::new(0)).await;
        all.extend(one);
    }
    tokio::task::block_in_place(|| judge_messages(&stack, &all, LIMIT));
}
