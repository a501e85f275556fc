//! What goes wrong in clinics and clouds, on real parts: each has its named fault where an operator looks, the rest goes
//! on meanwhile, and once it is mended everything arrives, once.

use leadline_domain::Digest;
use leadline_formats::synth::SynthFormat;
use leadline_tests::fleet::{self, Job, recording};
use leadline_tests::harness::aws::AwsEndpoint;
use leadline_tests::harness::stack::{Clinic, Stack};
use leadline_tests::harness::tools::wait_for;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(90);
const SETTLE: &str = "settle = { strong_quiet_ms = 100, weak_quiet_ms = 60000, unverifiable_quiet_ms = 1000, stalled_after_ms = 86400000 }";
const IMPATIENT: &str =
    "settle = { strong_quiet_ms = 100, weak_quiet_ms = 1000, unverifiable_quiet_ms = 1000, stalled_after_ms = 2500 }";

fn job(org: &str, path: &str, seed: u64) -> Job {
    Job { org: org.into(), path: path.into(), bytes: recording(SynthFormat::Dicom, seed) }
}

async fn put(stack: &Stack, jobs: &[Job]) {
    for j in jobs {
        stack.device(&j.org).await.put(&j.path, &j.bytes).await.expect("the device writes");
    }
}

/// Waits until the watch of an organization's share says this where an operator looks.
fn shown(stack: &Stack, org: &str, code: &str) {
    wait_for(&format!("{org}: the watch shows {code}"), LIMIT, || {
        stack.run_text(&["org", "show", org, "--env", "test"]).contains(code)
    });
}

/// Waits until a file of an organization waits for this.
fn waits_for(stack: &Stack, org: &str, code: &str) {
    wait_for(&format!("{org}: a file waits for {code}"), LIMIT, || {
        stack.run_text(&["file", "list", "--env", "test", "--org", org, "--output", "json"]).contains(code)
    });
}

fn state_of(stack: &Stack, path: &str) -> String {
    let files = stack.files();
    let f = files.iter().find(|f| f["path"] == path);
    f.map_or(String::new(), |f| f["state"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_that_refuse() {
    let clinics = [Clinic::new("st-mary", "ward").with(SETTLE), Clinic::new("kings-road", "clinic").with(SETTLE)];
    let mut stack = Stack::start(&clinics);
    let _worker = stack.worker();
    for c in &clinics {
        let _ = stack.device(&c.org).await;
    }
    stack.provision();
    let mut all = Vec::new();

    // A wrong password, as after a change at the clinic that nobody told.
    stack.samba.serve("ward", |s| s.password = "changed by the clinic".into());
    shown(&stack, "st-mary", "share.logon_refused");
    let jobs = [job("kings-road", "in/meanwhile.dcm", 1)];
    put(&stack, &jobs).await;
    all.extend(jobs);
    fleet::judge_messages(&stack, &all, LIMIT);
    stack.samba.serve("ward", |s| s.password = "pw-of-st-mary".into());
    let _ = stack.ok(&["org", "retry", "st-mary", "--env", "test"]);
    let jobs = [job("st-mary", "in/after.dcm", 2)];
    put(&stack, &jobs).await;
    fleet::judge_messages(&stack, &jobs, LIMIT);
    all.extend(jobs);

    // A share that is gone.
    stack.samba.serve("ward", |s| s.options.push("offline=yes".into()));
    shown(&stack, "st-mary", "share.missing");
    stack.samba.serve("ward", |s| s.options.clear());
    let _ = stack.ok(&["org", "retry", "st-mary", "--env", "test"]);
    let jobs = [job("st-mary", "in/back.dcm", 3)];
    put(&stack, &jobs).await;
    fleet::judge_messages(&stack, &jobs, LIMIT);
    all.extend(jobs);

    // A folder below that is closed to the user; the others are carried.
    let closed = stack.samba.path("ward").join("in/closed");
    let jobs = [job("st-mary", "in/closed/hidden.dcm", 4)];
    stack.device("st-mary").await.mkdir("in/closed").await.expect("made");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).expect("closed");
    shown(&stack, "st-mary", "share.access_denied");
    let open = [job("st-mary", "in/open.dcm", 5)];
    put(&stack, &open).await;
    fleet::judge_messages(&stack, &open, LIMIT);
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o777)).expect("opened");
    put(&stack, &jobs).await;
    fleet::judge_messages(&stack, &jobs, LIMIT);
    all.extend(open);
    all.extend(jobs);
    fleet::judge_archive(&stack, &all, LIMIT);
}

/// A piece of boto3 against the endpoint, as its root.
fn aws(endpoint: &AwsEndpoint, code: &str) {
    let _ = endpoint.python(code);
}

/// The ingest queue's URL as `u` and its attributes as `a`.
const QUEUE: &str = "u = c('sqs').get_queue_url(QueueName='leadline-test-ingest.fifo')['QueueUrl']\n\
                     a = c('sqs').get_queue_attributes(QueueUrl=u, AttributeNames=['Policy', 'QueueArn'])['Attributes']\n";

/// Deletes the ingest queue; what makes it again, as far as it matters here.
fn without_queue(stack: &Stack) -> String {
    let policy = stack.aws.python(&format!("{QUEUE}print(json.dumps(a['Policy']))\nc('sqs').delete_queue(QueueUrl=u)"));
    format!(
        "c('sqs').create_queue(QueueName='leadline-test-ingest.fifo', Attributes={{'FifoQueue': 'true', 'Policy': {}}})",
        policy.trim()
    )
}

/// Nobody may send to the ingest queue.
fn deny() -> String {
    format!(
        "{QUEUE}p = json.loads(a.get('Policy') or '{{\"Version\": \"2012-10-17\", \"Statement\": []}}')\n\
         p['Statement'].append({{'Sid': 'No', 'Effect': 'Deny', 'Principal': '*', 'Action': 'sqs:SendMessage', 'Resource': a['QueueArn']}})\n\
         c('sqs').set_queue_attributes(QueueUrl=u, Attributes={{'Policy': json.dumps(p)}})"
    )
}

/// As it was before [`deny`].
fn allow() -> String {
    format!(
        "{QUEUE}p = json.loads(a['Policy'])\np['Statement'] = [s for s in p['Statement'] if s.get('Sid') != 'No']\n\
         c('sqs').set_queue_attributes(QueueUrl=u, Attributes={{'Policy': json.dumps(p)}})"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn clouds_that_refuse() {
    let clinics = [Clinic::new("st-mary", "ward").with(SETTLE), Clinic::new("kings-road", "clinic").with(SETTLE)];
    let stack = Stack::start(&clinics);
    let _worker = stack.worker();
    for c in &clinics {
        let _ = stack.device(&c.org).await;
    }
    stack.provision();
    let mut all = Vec::new();

    // The bucket is gone; the other organization goes on.
    // What the isolation probe placed in it goes first.
    let gone = "b = 'leadline-test-st-mary-111111111111'\n\
                v = c('s3').list_object_versions(Bucket=b)\n\
                for o in v.get('Versions', []) + v.get('DeleteMarkers', []):\n    \
                    c('s3').delete_object(Bucket=b, Key=o['Key'], VersionId=o['VersionId'])\n\
                c('s3').delete_bucket(Bucket=b)";
    aws(&stack.aws, gone);
    let jobs = [job("st-mary", "in/a.dcm", 1), job("kings-road", "in/b.dcm", 2)];
    put(&stack, &jobs).await;
    waits_for(&stack, "st-mary", "store.bucket_missing");
    fleet::judge_messages_of(&stack, &jobs[1..], LIMIT);
    aws(&stack.aws, "c('s3').create_bucket(Bucket='leadline-test-st-mary-111111111111')");
    let _ = stack.ok(&["org", "retry", "st-mary", "--env", "test"]);
    fleet::judge_messages(&stack, &jobs[..1], LIMIT);
    all.extend(jobs);

    // The queue refuses.
    aws(&stack.aws, &deny());
    let jobs = [job("st-mary", "in/c.dcm", 3)];
    put(&stack, &jobs).await;
    waits_for(&stack, "st-mary", "queue.access_denied");
    aws(&stack.aws, &allow());
    let _ = stack.ok(&["org", "retry", "st-mary", "--env", "test"]);
    fleet::judge_messages(&stack, &jobs, LIMIT);
    all.extend(jobs);

    // The queue is gone, and made again.
    let make = without_queue(&stack);
    let jobs = [job("kings-road", "in/d.dcm", 4)];
    put(&stack, &jobs).await;
    waits_for(&stack, "kings-road", "queue.missing");
    aws(&stack.aws, &make);
    let _ = stack.ok(&["org", "retry", "kings-road", "--env", "test"]);
    fleet::judge_messages(&stack, &jobs, LIMIT);
    all.extend(jobs);
    fleet::judge_archive(&stack, &all, LIMIT);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_strange() {
    let clinics = [
        Clinic::new("st-mary", "ward").with(SETTLE).served("case=yes"),
        Clinic::new("kings-road", "clinic").with(IMPATIENT),
    ];
    let stack = Stack::start(&clinics);
    let _worker = stack.worker();
    for c in &clinics {
        let _ = stack.device(&c.org).await;
    }
    stack.provision();

    // Names that differ only in case, and two that are no valid Unicode on the server: the one Samba shows to nobody, the
    // other, with half a surrogate pair, it may list, as Windows does. Neither holds up the others.
    let jobs = vec![job("st-mary", "in/Trace.dcm", 1), job("st-mary", "in/trace.DCM", 2)];
    put(&stack, &jobs).await;
    let strange = recording(SynthFormat::Dicom, 3);
    let name = std::ffi::OsStr::from_bytes(b"in/\xFFM\xFCller.dcm");
    std::fs::write(stack.samba.path("ward").join(name), &strange).expect("written on the server");
    let half = stack.samba.path("ward").join(std::ffi::OsStr::from_bytes(b"in/half\xED\xA0\x80.dcm"));
    std::fs::write(&half, &strange).expect("written on the server");
    fleet::judge_messages(&stack, &jobs, LIMIT);
    let told = || stack.run_text(&["org", "show", "st-mary", "--env", "test"]).contains("share.name_unreadable");
    if odd_names_are_sent() {
        wait_for("it is told", LIMIT, told);
    }
    std::fs::remove_file(&half).expect("removed");
    wait_for("nothing waits any more", LIMIT, || !told());
    assert_eq!(std::fs::read(stack.samba.path("ward").join(name)).expect("it stays"), strange);
    std::fs::remove_file(stack.samba.path("ward").join(name)).expect("removed");
    fleet::judge_archive(&stack, &jobs, LIMIT);

    // Nothing, and a half: both wait, end in quarantine, and come back by themselves when they change.
    let device = stack.device("kings-road").await;
    let whole = recording(SynthFormat::Scp, 4);
    device.put("in/empty.scp", b"").await.expect("written");
    device.put("in/half.scp", &whole[..whole.len() / 2]).await.expect("written");
    for path in ["in/empty.scp", "in/half.scp"] {
        wait_for(&format!("{path} is in quarantine"), LIMIT, || state_of(&stack, path) == "quarantined");
    }
    assert!(stack.take_messages("ingest").is_empty(), "nothing incomplete is delivered");
    device.put("in/half.scp", &whole).await.expect("written");
    let jobs = [Job { org: "kings-road".into(), path: "in/half.scp".into(), bytes: whole }];
    fleet::judge_messages(&stack, &jobs, LIMIT);
    let kept = stack.samba.path("clinic").join("in/empty.scp");
    assert!(kept.exists(), "what is in quarantine stays where it is");
    assert_eq!(Digest::of(&[]), Digest::of(&std::fs::read(kept).expect("read")));
}

/// Samba up to 4.17 passes half of a surrogate pair on; later ones hide such a name.
fn odd_names_are_sent() -> bool {
    let out = std::process::Command::new("smbclient").arg("--version").output().expect("smbclient runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let version: Vec<u32> = text.split(['.', ' ', '-']).filter_map(|p| p.parse().ok()).take(2).collect();
    version < vec![4, 18]
}

/// What `leadline doctor` finds wrong: the checks, each with its code.
fn doctor(stack: &Stack) -> Vec<(String, String)> {
    let out = stack.run(&["doctor", "--env", "test", "--output", "json"]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let checks: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let of = |c: &serde_json::Value, name: &str| c[name].as_str().unwrap_or_default().to_owned();
    let wrong: Vec<_> = checks.iter().filter(|c| c["ok"] != true).map(|c| (of(c, "check"), of(c, "code"))).collect();
    assert_eq!(out.status.code(), Some(if wrong.is_empty() { 0 } else { 3 }), "{text}");
    assert!(checks.len() >= 9, "{text}");
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_what_is_wrong_and_nothing_else() {
    let clinic = Clinic::new("st-mary", "ward").with(SETTLE);
    let mut stack = Stack::start(std::slice::from_ref(&clinic));
    let mut worker = stack.worker();
    let _ = stack.device("st-mary").await;
    stack.provision();
    worker.stop(Duration::from_secs(20));
    let well: [(String, String); 0] = [];
    assert_eq!(doctor(&stack), well);
    let of = |check: &str, code: &str| vec![(check.to_owned(), code.to_owned())];

    let share = format!("share st-mary/ward at {}", stack.samba.address());
    stack.samba.serve("ward", |s| s.password = "changed by the clinic".into());
    assert_eq!(doctor(&stack), of(&share, "share.logon_refused"));
    stack.samba.serve("ward", |s| s.password = "pw-of-st-mary".into());
    stack.samba.serve("ward", |s| s.options.push("offline=yes".into()));
    assert_eq!(doctor(&stack), of(&share, "share.missing"));
    // For people: what it means and what to do, from the page of that very code.
    let text = stack.run_text(&["doctor", "--env", "test"]);
    assert!(text.contains("there is no share of this name"), "{text}");
    assert!(
        text.contains("Waits for a human, then goes on by itself. What to do: docs/faults/share.missing.md"),
        "{text}"
    );
    stack.samba.serve("ward", |s| s.options.clear());

    // A queue that can be looked at and takes nothing from us, and one that is gone.
    let queue = "queue leadline-test-ingest.fifo";
    aws(&stack.aws, &deny());
    assert_eq!(doctor(&stack), of(queue, "queue.access_denied"));
    aws(&stack.aws, &allow());
    let make = without_queue(&stack);
    assert_eq!(doctor(&stack), of(queue, "queue.missing"));
    aws(&stack.aws, &make);
    assert_eq!(doctor(&stack), well);

    // A namespace that nobody made, and one without what files are looked up by.
    let file = stack.environments().join("test.toml");
    let good = std::fs::read_to_string(&file).expect("read");
    std::fs::write(&file, good.replace("namespace = \"default\"", "namespace = \"bare\"")).expect("written");
    assert_eq!(doctor(&stack), of("Temporal's namespace bare", "engine.unreachable"));
    stack.temporal.make_namespace("bare");
    wait_for("the namespace is known", LIMIT, || doctor(&stack) == of("Temporal's namespace bare", "engine.refused"));
    std::fs::write(&file, good).expect("written");

    stack.temporal.kill();
    assert_eq!(doctor(&stack), of(&format!("Temporal at {}", stack.temporal.address()), "engine.unreachable"));
    stack.temporal.restart();
    wait_for("all is well again", LIMIT, || doctor(&stack).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_name_that_is_taken() {
    let clinic = Clinic::new("st-mary", "ward").with(SETTLE);
    let stack = Stack::start(std::slice::from_ref(&clinic));
    let _worker = stack.worker();
    let _ = stack.device("st-mary").await;
    let _ = stack.ok(&["env", "apply", "--env", "test"]);
    let bucket = "leadline-test-st-mary-111111111111";
    aws(&stack.aws, &format!("c('s3').create_bucket(Bucket='{bucket}')"));
    let credentials = stack.dir.join("st-mary.credentials.toml").to_string_lossy().into_owned();
    let onboard = ["org", "onboard", "st-mary", "--env", "test", "--credentials", &credentials];
    let text = stack.run_text(&onboard);
    assert!(text.contains("stack.name_taken") && text.contains("when this command is given again"), "{text}");
    assert!(text.contains("Bucket: "), "it says which: {text}");
    assert!(stack.run_text(&["doctor", "--env", "test"]).contains("ROLLBACK_COMPLETE"));
    // Mended: a failed creation leaves nothing in the way of the next.
    aws(&stack.aws, &format!("c('s3').delete_bucket(Bucket='{bucket}')"));
    let _ = stack.ok(&["org", "resume", "st-mary", "--env", "test"]);
    wait_for("the share is watched", LIMIT, || {
        let _ = stack.run(&onboard);
        stack.run_text(&["org", "show", "st-mary", "--env", "test"]).contains("watching")
    });
    let jobs = [job("st-mary", "in/a.dcm", 9)];
    put(&stack, &jobs).await;
    fleet::judge_messages(&stack, &jobs, LIMIT);
}

#[test]
fn configuration_that_is_wrong() {
    let dir = tempfile::tempdir().expect("folder");
    let envs = dir.path().join("environments");
    copy_dir(&leadline_tests::harness::tools::root().join("environments"), &envs);
    let run = |args: &[&str]| {
        let out = leadline_tests::harness::stack::command(args)
            .env("LEADLINE_ENVIRONMENTS", &envs)
            .output()
            .expect("leadline runs");
        (out.status.code(), format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
    };
    let (code, text) = run(&["env", "check"]);
    assert_eq!(code, Some(0), "{text}");

    // An unknown key is named, with its file and the nearest known one; the other findings come in the same run.
    let file = envs.join("orgs/st-mary.toml");
    let good = std::fs::read_to_string(&file).expect("read");
    std::fs::write(&file, good.replace("jurisdiction = \"us\"", "jurisdicton = \"us\"")).expect("written");
    let (code, text) = run(&["env", "check"]);
    assert_ne!(code, Some(0));
    assert!(text.contains("st-mary.toml") && text.contains("jurisdicton") && text.contains("jurisdiction"), "{text}");
    // Whatever needs the configuration refuses, by code.
    let (code, text) = run(&["org", "list", "--env", "test"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("config.invalid: ") && text.contains("docs/faults/config.invalid.md"), "{text}");
    assert!(text.contains("jurisdicton"), "{text}");

    // An organization where its jurisdiction forbids.
    let moved = good
        .replace("jurisdiction = \"us\"", "jurisdiction = \"uk\"")
        .replace("environments = [\"test\", \"us\"]", "environments = [\"us\"]");
    assert_ne!(moved, good, "the sample organization is of us");
    std::fs::write(&file, moved).expect("written");
    let (code, text) = run(&["env", "check"]);
    assert_ne!(code, Some(0));
    assert!(text.contains("st-mary") && text.contains("config.residency"), "{text}");
    let (code, text) = run(&["org", "plan", "st-mary", "--env", "us"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("config.residency"), "{text}");
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("folder");
    for e in std::fs::read_dir(from).expect("listed").flatten() {
        let target = to.join(e.file_name());
        if e.path().is_dir() {
            copy_dir(&e.path(), &target);
        } else {
            std::fs::copy(e.path(), target).expect("copied");
        }
    }
}
