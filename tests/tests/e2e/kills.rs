//! Each part killed with SIGKILL in the middle of work and started again: nothing lost, nothing enqueued twice.

use Part::{Aws, Samba, Temporal, Worker};
use leadline_activities::adapters::smb::{SmbConfig, SmbShare};
use leadline_activities::engine::Engine;
use leadline_activities::ports::share::{Entry, Share as _};
use leadline_activities::secret::Secret;
use leadline_domain::lifecycle::Intake;
use leadline_domain::{ArchiveRule, EnvScope, Fingerprint, OrgId, SettleRule, ShareId, SharePath};
use leadline_tests::fleet::{self, Login, jobs};
use leadline_tests::harness::stack::{Clinic, Stack};
use leadline_tests::harness::tools::{Owned, wait_for};
use leadline_tests::rig::{connect_with, facts};
use leadline_workflows::ids;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Every wait here is for a condition; this is when to give up.
const LIMIT: Duration = Duration::from_secs(180);
const SETTLE: &str = "settle = { strong_quiet_ms = 100, weak_quiet_ms = 60000, unverifiable_quiet_ms = 3000, stalled_after_ms = 86400000 }";

/// What is killed.
#[derive(Clone, Copy)]
enum Part {
    Samba,
    Worker,
    Temporal,
    Aws,
}

/// SIGKILL, and started again.
fn kill(part: Part, stack: &mut Stack, worker: &mut Owned) {
    match part {
        Samba => {
            stack.samba.kill();
            stack.samba.restart();
        }
        Worker => {
            worker.kill();
            *worker = stack.worker();
        }
        Temporal => {
            stack.temporal.kill();
            stack.temporal.restart();
        }
        Aws => {
            stack.aws.kill();
            stack.aws.restart();
        }
    }
}

fn clinics() -> [Clinic; 2] {
    [Clinic::new("st-mary", "ward").with(SETTLE), Clinic::new("kings-road", "clinic").with(SETTLE)]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_part_killed_while_devices_write() {
    const FILES: u64 = 60;
    let clinics = clinics();
    let mut stack = Stack::start(&clinics);
    let mut worker = stack.worker();
    for c in &clinics {
        let _ = stack.device(&c.org).await;
    }
    stack.provision();

    let written = Arc::new(AtomicUsize::new(0));
    let mut all = Vec::new();
    let mut writing = Vec::new();
    for (n, c) in clinics.iter().enumerate() {
        let mine = jobs(&c.org, "ecg", FILES, n as u64 + 1);
        all.extend(mine.clone());
        let (login, written) = (Login::of(&stack, c), Arc::clone(&written));
        writing.push(tokio::spawn(async move {
            fleet::write_all(&login, &mine, Duration::from_millis(60), &written).await;
        }));
    }
    tokio::task::block_in_place(|| {
        let rounds = 8;
        for round in 0..rounds {
            let due = (round + 1) * all.len() / (rounds + 1);
            wait_for("the devices get on", LIMIT, || written.load(Ordering::Relaxed) >= due);
            kill([Samba, Worker, Temporal, Aws][round % 4], &mut stack, &mut worker);
        }
    });
    for w in writing {
        w.await.expect("a device wrote all its files");
    }
    tokio::task::block_in_place(|| {
        fleet::judge_messages(&stack, &all, LIMIT);
        fleet::judge_archive(&stack, &all, LIMIT);
        fleet::judge_ledger(&stack, &all, LIMIT);
    });
    let ended = worker.stop(Duration::from_secs(20));
    assert!(ended.is_some_and(|s| s.success()), "a worker that is told to stop ends by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_part_killed_in_the_middle_of_a_backlog() {
    const FILES: u64 = 250;
    let clinics = clinics();
    let mut stack = Stack::start(&clinics);
    let mut all = Vec::new();
    for (n, c) in clinics.iter().enumerate() {
        let mine = jobs(&c.org, "old", FILES, n as u64 + 3);
        let device = stack.device(&c.org).await;
        for job in &mine {
            device.put(&job.path, &job.bytes).await.expect("the device writes");
        }
        all.extend(mine);
    }
    let mut worker = stack.worker();
    tokio::task::block_in_place(|| {
        stack.provision();
        let archived = |stack: &Stack| {
            clinics.iter().map(|c| fleet::digests(&stack.samba.path(&c.share).join("_archive")).len()).sum::<usize>()
        };
        for (round, part) in [Aws, Worker, Samba, Temporal].into_iter().enumerate() {
            let due = (round + 1) * all.len() / 8;
            wait_for("the backlog gets on", LIMIT, || archived(&stack) >= due);
            kill(part, &mut stack, &mut worker);
        }
        fleet::judge_messages(&stack, &all, LIMIT);
        fleet::judge_archive(&stack, &all, LIMIT);
        fleet::judge_ledger(&stack, &all, LIMIT);
        // Nobody took a file away: one that was moved by a worker that died then is delivered, not withdrawn.
        for f in stack.files() {
            assert_eq!(f["state"], "delivered", "{f}");
        }
    });
    let ended = worker.stop(Duration::from_secs(20));
    assert!(ended.is_some_and(|s| s.success()), "a worker that is told to stop ends by itself");
}

/// As after a power cut, when everything is switched on at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_started_before_the_servers_waits_for_them() {
    let clinics = clinics();
    let mut stack = Stack::start(&clinics);
    let mut worker = stack.worker();
    let mut all = Vec::new();
    for c in &clinics {
        let _ = stack.device(&c.org).await;
    }
    tokio::task::block_in_place(|| stack.provision());
    for (n, c) in clinics.iter().enumerate() {
        let mine = jobs(&c.org, "morning", 3, n as u64 + 5);
        fleet::write_all(&Login::of(&stack, c), &mine, Duration::ZERO, &AtomicUsize::new(0)).await;
        all.extend(mine);
    }
    tokio::task::block_in_place(|| {
        for part in [Temporal, Aws] {
            worker.kill();
            match part {
                Temporal => stack.temporal.kill(),
                _ => stack.aws.kill(),
            }
            worker = stack.worker();
            wait_for("the worker tells that it waits", LIMIT, || stack.last_worker_log().contains("cannot start yet"));
            match part {
                Temporal => stack.temporal.restart(),
                _ => stack.aws.restart(),
            }
            wait_for("the worker runs", LIMIT, || stack.last_worker_log().contains("worker runs"));
        }
        fleet::judge_messages(&stack, &all, LIMIT);
        fleet::judge_archive(&stack, &all, LIMIT);
        fleet::judge_ledger(&stack, &all, LIMIT);
        worker.kill();
        stack.temporal.kill();
        worker = stack.worker();
        wait_for("the worker tells that it waits", LIMIT, || stack.last_worker_log().contains("cannot start yet"));
    });
    let ended = worker.stop(Duration::from_secs(20));
    assert!(ended.is_some_and(|s| s.success()), "a worker that waits can be told to stop");
}

/// A batch that nobody works on at the moment is not out of sight: its files are listed, and arrive when there is a worker.
#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_batch_whose_worker_is_gone_are_listed() {
    let clinic = Clinic::new("st-mary", "ward").with(SETTLE);
    let stack = Stack::start(std::slice::from_ref(&clinic));
    let mut worker = stack.worker();
    let device = stack.device("st-mary").await;
    tokio::task::block_in_place(|| stack.provision());
    worker.kill();
    let all = jobs("st-mary", "held", 12, 8);
    for job in &all {
        device.put(&job.path, &job.bytes).await.expect("the device writes");
    }
    let secret = "print(c('secretsmanager').get_secret_value(SecretId='leadline/test/payload-keys')['SecretString'])";
    let keys = stack.aws.python(secret);
    let engine = Engine::new(connect_with(&stack.temporal.address(), keys.trim()).await);
    let files = intakes(&stack, &clinic).await;
    assert_eq!(files.len(), all.len());
    let versions: Vec<_> = files.iter().map(|f| f.fingerprint.version_key(&f.org, &f.share)).collect();
    let id = ids::batch(&files[0].org, &files[0].share, &versions);
    engine.start_batch(&EnvScope::new(&facts("test")).main_queue(), &id, &files).await.expect("started");
    let listed = tokio::task::block_in_place(|| stack.files());
    assert_eq!(listed.len(), all.len(), "{listed:?}");
    for f in &listed {
        assert_eq!((&f["state"], f["workflow_id"].as_str()), (&"running".into(), Some(id.as_str())), "{f}");
    }
    worker = stack.worker();
    tokio::task::block_in_place(|| {
        fleet::judge_messages(&stack, &all, LIMIT);
        fleet::judge_archive(&stack, &all, LIMIT);
        fleet::judge_ledger(&stack, &all, LIMIT);
    });
    worker.stop(Duration::from_secs(20));
}

/// What the watch would give to a batch: the files of a share as they are, seen unchanged for ten seconds.
async fn intakes(stack: &Stack, clinic: &Clinic) -> Vec<Intake> {
    let share = SmbShare::new(SmbConfig {
        address: stack.samba.address(),
        share: clinic.share.clone(),
        user: clinic.user(),
        password: Secret::new(clinic.password()),
        domain: String::new(),
        response_timeout: Duration::from_secs(30),
        require_encryption: false,
    });
    let listing = share.list(&SharePath::new("in"), &[]).await.expect("listed");
    let intake = |e: Entry| Intake {
        org: OrgId::parse(&clinic.org).expect("an organization id"),
        share: ShareId::parse(&clinic.share).expect("a share id"),
        fingerprint: Fingerprint { path: e.path, stat: e.stat },
        quiet_ms: 10_000,
        settle: SettleRule { strong_quiet_ms: 100, unverifiable_quiet_ms: 1_000, ..SettleRule::default() },
        archive: ArchiveRule::Move { folder: "_archive".into() },
        small_bytes: 8 << 20,
        max_bytes: 1 << 40,
        formats: BTreeSet::new(),
        declared: None,
        resume: None,
    };
    listing.files.into_iter().map(intake).collect()
}
