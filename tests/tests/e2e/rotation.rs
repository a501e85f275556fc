//! The credentials of a share are exchanged while devices write: nothing is lost or comes twice, and new ones that the
//! server does not take never count.

use leadline_activities::adapters::aws::{Aws, AwsSecrets, AwsSettings};
use leadline_activities::ports::rotation::{Rotation, Stage};
use leadline_domain::{EnvFacts, EnvScope, OrgId, OrgScope, Placement, ShareId};
use leadline_tests::fleet::{Job, Login, jobs, judge_archive, judge_messages, judge_messages_of, write_all};
use leadline_tests::harness::stack::{ACCOUNT, Clinic, Stack};
use leadline_tests::harness::tools::wait_for;
use std::collections::BTreeSet;
use std::process::{Child, Output, Stdio};
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
const ROTATE: [&str; 6] = ["org", "rotate", "st-mary", "--env", "test", "--share"];

/// The secret of the share, as the organization reads it.
struct Safe {
    secrets: AwsSecrets,
    scope: OrgScope,
    share: ShareId,
}

impl Safe {
    async fn of(stack: &Stack) -> Self {
        let facts = EnvFacts {
            env: "test".parse().expect("id"),
            account: ACCOUNT.into(),
            region: "us-east-1".into(),
            jurisdictions: BTreeSet::from(["us".parse().expect("id")]),
        };
        let org: OrgId = "st-mary".parse().expect("id");
        let place = Placement::resolve(&org, "us", &facts).expect("placed");
        let settings = AwsSettings { endpoint_url: Some(stack.aws.url()), assume_worker_role: true, profile: None };
        let aws = Aws::connect_as(&EnvScope::new(&facts), &settings, ACCOUNT, "test").await;
        Self { secrets: AwsSecrets::new(aws), scope: OrgScope::new(org, place), share: "ward".parse().expect("id") }
    }

    async fn password(&self, stage: Stage) -> Option<String> {
        let v = self.secrets.version(&self.scope, &self.share, stage).await.expect("the secret is read");
        v.map(|v| v.credentials.password.expose().to_owned())
    }
}

fn file(stack: &Stack, clinic: &Clinic, password: &str) -> String {
    let path = stack.dir.join(format!("{password}.toml"));
    let text = format!("[{}]\nuser = \"{}\"\npassword = \"{password}\"\n", clinic.share, clinic.user());
    std::fs::write(&path, text).expect("written");
    path.to_string_lossy().into_owned()
}

fn rotate<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&ROTATE[..], &["ward"], more].concat()
}

fn began(stack: &Stack, args: &[&str]) -> Child {
    stack.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("leadline runs")
}

fn text(o: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&o.stdout), String::from_utf8_lossy(&o.stderr))
}

/// A device that is told the new password some time after the change, and writes each file again until it is there.
async fn device(login: Login, passwords: [&'static str; 2], jobs: &[Job]) {
    let written = AtomicUsize::new(0);
    let mut now = 0;
    for job in jobs {
        loop {
            let login = Login { password: passwords[now].into(), ..login.clone() };
            let write = write_all(&login, std::slice::from_ref(job), Duration::from_millis(30), &written);
            if tokio::time::timeout(Duration::from_secs(3), write).await.is_ok() {
                break;
            }
            now = 1 - now;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_exchanged_while_devices_write_and_nothing_is_lost() {
    let clinic = Clinic::new("st-mary", "ward");
    let mut stack = Stack::start(std::slice::from_ref(&clinic));
    let _ = stack.device("st-mary").await;
    let mut worker = stack.worker();
    tokio::task::block_in_place(|| stack.provision());
    let safe = Safe::of(&stack).await;
    let all = jobs("st-mary", "a", 120, 7);
    let writing = {
        let (login, all) = (Login::of(&stack, &clinic), all.clone());
        tokio::spawn(async move { device(login, ["pw-of-st-mary", "second"], &all).await })
    };

    // Begun and interrupted: the new ones wait in the secret, the current ones count.
    let second = file(&stack, &clinic, "second");
    let mut first_try = began(&stack, &rotate(&["--credentials", &second]));
    let mut pending = None;
    for _ in 0..400 {
        pending = safe.password(Stage::Pending).await;
        if pending.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(pending.as_deref(), Some("second"));
    first_try.kill().expect("killed");
    first_try.wait().expect("ended");
    assert_eq!(safe.password(Stage::Current).await.as_deref(), Some("pw-of-st-mary"));

    // The worker dies meanwhile, and the command goes on without being told the password again.
    worker.kill();
    worker = stack.worker();
    let rotating = began(&stack, &rotate(&[]));
    tokio::task::block_in_place(|| {
        wait_for("some files before the change", LIMIT, || {
            std::fs::read_dir(stack.samba.path("ward").join("_archive")).is_ok_and(|d| d.count() > 0)
        });
        stack.samba.serve("ward", |s| s.password = "second".into());
        let out = rotating.wait_with_output().expect("it ends");
        assert!(out.status.success(), "{}", text(&out));
    });
    assert_eq!(safe.password(Stage::Current).await.as_deref(), Some("second"));
    let labels = safe.secrets.labels(&safe.scope, &safe.share).await.expect("labels");
    assert_eq!(labels.pending, None, "the label is gone");

    writing.await.expect("devices");
    tokio::task::block_in_place(|| {
        judge_messages(&stack, &all, LIMIT);
        judge_archive(&stack, &all, LIMIT);
        // A worker that never knew the old ones.
        worker.kill();
        let _worker = stack.worker();
        let doctor = stack.ok(&["doctor", "--env", "test"]);
        assert!(!doctor.contains("second") && !doctor.contains("pw-of"), "{doctor}");
        let replay = stack.ok(&["replay", "--env", "test"]);
        assert!(replay.is_empty(), "{replay}");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn new_credentials_that_the_server_does_not_take_never_count_and_files_go_on() {
    let clinic = Clinic::new("st-mary", "ward");
    let mut stack = Stack::start(std::slice::from_ref(&clinic));
    let _ = stack.device("st-mary").await;
    let _worker = stack.worker();
    tokio::task::block_in_place(|| stack.provision());
    let safe = Safe::of(&stack).await;
    let wrong = file(&stack, &clinic, "mistyped");
    let out = stack.run(&rotate(&["--credentials", &wrong, "--within", "10"]));
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    let said = text(&out);
    assert!(said.contains("share.logon_refused") && said.contains("the current ones are accepted"), "{said}");
    assert!(!said.contains("mistyped\""), "{said}");
    assert_eq!(safe.password(Stage::Current).await.as_deref(), Some("pw-of-st-mary"));

    // Files flow, also by a new session.
    tokio::task::block_in_place(|| stack.samba.restart());
    let before = jobs("st-mary", "a", 12, 8);
    device(Login::of(&stack, &clinic), ["pw-of-st-mary", "pw-of-st-mary"], &before).await;
    tokio::task::block_in_place(|| judge_messages_of(&stack, &before, LIMIT));

    // The server's password is changed all the same: neither is good, files wait, until the right ones are given.
    tokio::task::block_in_place(|| stack.samba.serve("ward", |s| s.password = "right".into()));
    let after = jobs("st-mary", "b", 12, 9);
    device(Login { password: "right".into(), ..Login::of(&stack, &clinic) }, ["right", "right"], &after).await;
    tokio::task::block_in_place(|| {
        wait_for("the watch says why it waits", LIMIT, || {
            stack.run_text(&["org", "show", "st-mary", "--env", "test"]).contains("share.logon_refused")
        });
    });
    assert_eq!(safe.password(Stage::Current).await.as_deref(), Some("pw-of-st-mary"));
    let right = file(&stack, &clinic, "right");
    let out = stack.run(&rotate(&["--credentials", &right]));
    assert!(out.status.success(), "{}", text(&out));
    assert_eq!(safe.password(Stage::Current).await.as_deref(), Some("right"));
    tokio::task::block_in_place(|| {
        let _ = stack.ok(&["org", "retry", "st-mary", "--env", "test"]);
        judge_messages_of(&stack, &after, LIMIT);
    });

    // What was begun can be taken back.
    let out = stack.run(&rotate(&["--credentials", &wrong, "--within", "0"]));
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    assert_eq!(safe.password(Stage::Pending).await.as_deref(), Some("mistyped"));
    assert!(stack.ok(&rotate(&["--withdraw"])).contains("taken back"));
    assert_eq!(safe.password(Stage::Pending).await, None);
    let out = stack.run(&rotate(&[]));
    assert!(out.status.code() == Some(1) && text(&out).contains("are pending"), "{}", text(&out));
    assert_eq!(safe.password(Stage::Current).await.as_deref(), Some("right"));
}
