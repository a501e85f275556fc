//! The contract of shares, on the share in memory and on the adapter with a real Samba; and what only a real server can
//! show: logon, encryption, a server that dies or falls silent. Needs root, as `script/samba` does.

use futures::StreamExt;
use leadline_activities::adapters::aws_fake::Planned;
use leadline_activities::adapters::smb::{SmbConfig, SmbShare};
use leadline_activities::adapters::smb_fake::FakeShare;
use leadline_activities::ports::share::{Hint, Share, Skipped};
use leadline_activities::secret::Secret;
use leadline_domain::{Fault, FaultCode, SharePath, Writer};
use leadline_tests::contract::share::{self, code};
use leadline_tests::contract::store::content;
use leadline_tests::device::Device;
use leadline_tests::harness::samba::{Samba, ShareSpec};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const USER: &str = "ll_share_a";
const OTHER: &str = "ll_share_b";
const PASSWORD: &str = "pass word";

/// A folder that the shares' users can enter.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("leadline-").tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn samba(dir: &Path, options: &[&str]) -> Samba {
    let shares = [
        ShareSpec::new("ward", USER, PASSWORD).with("case=yes"),
        ShareSpec::new("sealed", USER, PASSWORD).with("encrypt=required"),
        ShareSpec::new("fixed", USER, PASSWORD).with("readonly=yes"),
        ShareSpec::new("other", OTHER, PASSWORD),
    ];
    // A server that cannot encrypt cannot have a share that asks for it.
    let shares: Vec<_> =
        shares.into_iter().filter(|s| options.is_empty() || s.options != ["encrypt=required"]).collect();
    Samba::start_with(dir, &shares, options)
}

fn config(address: String, share: &str) -> SmbConfig {
    SmbConfig {
        address,
        share: share.into(),
        user: USER.into(),
        password: Secret::new(PASSWORD),
        domain: String::new(),
        response_timeout: Duration::from_secs(20),
        require_encryption: false,
    }
}

async fn device(samba: &Samba, share: &str) -> Device {
    Device::connect(&samba.address(), share, USER, PASSWORD).await.unwrap()
}

fn p(s: &str) -> SharePath {
    SharePath::new(s)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_share_in_memory_keeps_the_contract() {
    let fake = FakeShare::new();
    share::run_all(fake.as_ref(), fake.as_ref()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_adapter_keeps_the_contract() {
    let dir = folder();
    let samba = samba(dir.path(), &[]);
    let ward = SmbShare::new(config(samba.address(), "ward"));
    share::run_all(&ward, &device(&samba, "ward").await).await;
}

#[tokio::test]
async fn faults_of_the_share_in_memory() {
    let fake = FakeShare::new();
    fake.put("in/a", b"abc");
    fake.hide("in/a");
    fake.put("in/b", b"abc");
    fake.make_link("in/b");
    let l = fake.list(&p("in"), &[]).await.unwrap();
    assert_eq!((l.files.len(), l.skipped), (0, [(Skipped::Hidden, 1), (Skipped::Link, 1)].into()));
    fake.deny("in");
    assert_eq!(code(fake.list(&p("in"), &[]).await), Some(FaultCode::ShareAccessDenied));
    assert_eq!(fake.list(&p(""), &[]).await.unwrap().skipped, [(Skipped::Denied, 1)].into());
    fake.allow();

    let lost = Fault::new(FaultCode::ShareUnreachable, "planned");
    fake.faults.plan("rename", Planned::FailAfter(lost.clone()));
    assert_eq!(fake.rename(&p("in/a"), &p("in/c"), None).await, Err(lost.clone()));
    assert_eq!(fake.paths(), ["in/b", "in/c"], "it happened, and the answer was lost");
    fake.faults.fail("next", 1, &lost);
    let mut reader = fake.open(&p("in/c"), 0).await.unwrap();
    assert_eq!(code(reader.next().await), Some(FaultCode::ShareUnreachable));

    let mut watch = fake.watch(&p("in")).await.unwrap();
    fake.overflow();
    assert_eq!(watch.next().await, Ok(vec![Hint::Overflow]));
    let mut reader = fake.open(&p("in/c"), 0).await.unwrap();
    fake.kill();
    assert_eq!(code(reader.next().await), Some(FaultCode::ShareUnreachable));
    assert_eq!(code(watch.next().await), Some(FaultCode::ShareUnreachable));
    assert_eq!(code(fake.observe(&p("in/c")).await), Some(FaultCode::ShareUnreachable));
    fake.restart();
    assert_eq!(fake.observe(&p("in/c")).await.unwrap().writer, Writer::Absent);
    assert_eq!((fake.calls("observe"), fake.content("in/c")), (2, Some(b"abc".to_vec())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_user_may_not() {
    let dir = folder();
    let samba = samba(dir.path(), &[]);
    let open = |change: &dyn Fn(&mut SmbConfig)| {
        let mut c = config(samba.address(), "ward");
        change(&mut c);
        SmbShare::new(c)
    };
    for (change, expected) in [
        (
            &(|c: &mut SmbConfig| c.password = Secret::new("wrong")) as &dyn Fn(&mut SmbConfig),
            FaultCode::ShareLogonRefused,
        ),
        (&|c| c.user = "ll_nobody_of_this_name".into(), FaultCode::ShareLogonRefused),
        (&|c| c.share = "none".into(), FaultCode::ShareMissing),
        (&|c| c.share = "other".into(), FaultCode::ShareAccessDenied),
        (&|c| c.address = "127.0.0.1:1".into(), FaultCode::ShareUnreachable),
        (&|c| c.address = "no-such-host.invalid:445".into(), FaultCode::ShareUnreachable),
    ] {
        let share = open(change);
        for _ in 0..2 {
            assert_eq!(code(share.list(&p(""), &[]).await), Some(expected));
        }
    }

    let (ward, writer) = (open(&|_| {}), device(&samba, "ward").await);
    writer.mkdir("c-denied").await.unwrap();
    writer.put("c-denied/a", b"x").await.unwrap();
    let denied = samba.path("ward").join("c-denied");
    std::fs::set_permissions(&denied, std::fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(code(ward.list(&p("c-denied"), &[]).await), Some(FaultCode::ShareAccessDenied));
    let around = ward.list(&p(""), &[]).await.unwrap();
    assert_eq!((around.files.len(), around.skipped), (0, [(Skipped::Denied, 1)].into()), "not left out silently");
    assert_eq!(code(ward.watch(&p("c-denied")).await), Some(FaultCode::ShareAccessDenied));
    assert_eq!(code(ward.observe(&p("c-denied/a")).await), Some(FaultCode::ShareAccessDenied));
    std::fs::set_permissions(&denied, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(ward.list(&p(""), &[]).await.unwrap().files.len(), 1);

    std::fs::write(samba.path("fixed").join("a"), b"x").unwrap();
    let fixed = open(&|c| c.share = "fixed".into());
    assert_eq!(fixed.observe(&p("a")).await.unwrap().writer, Writer::Absent);
    for refused in [fixed.rename(&p("a"), &p("b"), None).await, fixed.remove(&p("a")).await, fixed.mkdir(&p("c")).await]
    {
        assert_eq!(code(refused), Some(FaultCode::ShareAccessDenied));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_in_a_circle_is_passed_over() {
    let dir = folder();
    let samba = samba(dir.path(), &[]);
    let ward = SmbShare::new(config(samba.address(), "ward"));
    let root = samba.path("ward");
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    std::fs::write(root.join("a/b/x.dcm"), b"x").unwrap();
    symlink(".", root.join("a/b/self")).unwrap();
    symlink("../..", root.join("a/b/up")).unwrap();
    symlink("../../a", root.join("a/b/above")).unwrap();
    let l = ward.list(&p(""), &[]).await.unwrap();
    assert_eq!((l.files.len(), l.skipped), (1, [(Skipped::Link, 3)].into()));
}

/// Names that are no Unicode: Samba 4.17 takes half a surrogate pair from its disk and sends it, as Windows servers do.
/// What `smb2` makes of that is in the adapter's own tests; here the rest of the share must not suffer from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_no_unicode_stops_nothing() {
    let dir = folder();
    let samba = samba(dir.path(), &[]);
    let ward = SmbShare::new(config(samba.address(), "ward"));
    let (root, named) = (samba.path("ward"), |n: &'static [u8]| std::ffi::OsStr::from_bytes(n));
    // More than one answer of the server holds, so that the odd one is in none of the first.
    for n in 0..1_200 {
        std::fs::write(root.join(format!("a-rather-long-name-so-that-answers-are-full-{n:04}.dcm")), b"x").unwrap();
    }
    std::fs::create_dir(root.join("below")).unwrap();
    std::fs::write(root.join("below/x.dcm"), b"x").unwrap();
    let before = ward.list(&p(""), &[]).await.unwrap();
    assert_eq!((before.files.len(), before.skipped), (1_201, [].into()));
    let mut hints = ward.watch(&p("")).await.unwrap();

    std::fs::write(root.join(named(b"high\xED\xA0\x80.dcm")), b"x").unwrap();
    std::fs::write(root.join("below").join(named(b"low\xED\xB0\x80.dcm")), b"x").unwrap();
    std::fs::create_dir(root.join(named(b"folder\xED\xA0\x80"))).unwrap();
    let l = ward.list(&p(""), &[]).await.unwrap();
    let told = l.skipped.get(&Skipped::Unreadable).copied().unwrap_or(0);
    assert_eq!(l.files.len(), 1_201, "{:?}", l.skipped);
    if odd_names_are_sent(&samba) {
        assert_eq!(told, 3);
    }
    let (mut a, mut b) = (l.files, before.files);
    a.sort_by(|x, y| x.path.cmp(&y.path));
    b.sort_by(|x, y| x.path.cmp(&y.path));
    assert_eq!(a, b, "the same, whoever reads the answer");
    // The subscription outlives what it cannot tell, and tells the rest.
    let write = || std::fs::write(root.join("later.dcm"), b"x").unwrap();
    write();
    let later = async {
        loop {
            let all = hints.next().await.expect("the subscription lives");
            if all.contains(&Hint::Touched(p("later.dcm"))) {
                return;
            }
            // It may have been told in one answer with what cannot be told.
            if all.contains(&Hint::Overflow) {
                write();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), later).await.expect("told");
}

/// Whether this Samba sends names that are no Unicode: its own client refuses such a listing.
fn odd_names_are_sent(samba: &Samba) -> bool {
    let mut c = std::process::Command::new("smbclient");
    c.args(["//127.0.0.1/ward", "-p", &samba.port().to_string(), "-U", &format!("{USER}%{PASSWORD}"), "-c", "ls"]);
    let out = c.output().expect("smbclient runs");
    String::from_utf8_lossy(&out.stdout).contains("INVALID_NETWORK_RESPONSE")
}

/// Passes connections on to `to`, and remembers whether a mark was seen in what the server sends.
async fn wire(to: String, mark: &'static [u8]) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen = Arc::new(AtomicBool::new(false));
    let found = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&to).await.unwrap();
            let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                (client.into_split(), server.into_split());
            let found = Arc::clone(&found);
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            tokio::spawn(async move {
                let (mut buffer, mut tail) = (vec![0; 65_536], Vec::new());
                while let Ok(n @ 1..) = from_server.read(&mut buffer).await {
                    tail.extend_from_slice(&buffer[..n]);
                    if tail.windows(mark.len()).any(|w| w == mark) {
                        found.store(true, Ordering::Relaxed);
                    }
                    tail.drain(..tail.len().saturating_sub(mark.len()));
                    if to_client.write_all(&buffer[..n]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_share_is_read_and_nothing_is_in_clear() {
    const MARK: &[u8] = b"a mark that is not there by chance";
    let dir = folder();
    let samba = samba(dir.path(), &[]);
    for share in ["ward", "sealed"] {
        std::fs::create_dir(samba.path(share).join("in")).unwrap();
        std::fs::write(samba.path(share).join("in/a.dcm"), MARK).unwrap();
        std::fs::write(samba.path(share).join("in/large"), MARK.repeat(200_000)).unwrap();
        assert!(
            std::process::Command::new("chown").args(["-R", USER]).arg(samba.path(share)).status().unwrap().success()
        );
    }
    for (share, require, clear) in [("ward", false, true), ("ward", true, false), ("sealed", false, false)] {
        let (address, seen) = wire(samba.address(), MARK).await;
        let s = SmbShare::new(SmbConfig { require_encryption: require, ..config(address, share) });
        let mut watch = s.watch(&p("in")).await.unwrap();
        assert_eq!(s.list(&p(""), &[]).await.unwrap().files.len(), 2);
        let size = s.observe(&p("in/a.dcm")).await.unwrap().stat.size;
        assert_eq!(s.read(&p("in/a.dcm"), size).await.unwrap(), MARK);
        let mut large = s.open(&p("in/large"), 0).await.unwrap();
        let mut read = 0;
        while let Some(chunk) = large.next().await.unwrap() {
            read += chunk.len();
        }
        assert_eq!(read, MARK.len() * 200_000);
        s.mkdir(&p("in/to")).await.unwrap();
        s.rename(&p("in/a.dcm"), &p("in/to/a.dcm"), None).await.unwrap();
        share::hinted(watch.as_mut(), &p("in/to/a.dcm")).await;
        s.rename(&p("in/to/a.dcm"), &p("in/a.dcm"), None).await.unwrap();
        assert_eq!(seen.load(Ordering::Relaxed), clear, "{share} {require}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_protects_too_little_is_refused() {
    let dir = folder();
    {
        let samba = samba(&dir.path().join("clear"), &["--encryption", "off"]);
        let signed = SmbShare::new(config(samba.address(), "ward"));
        assert!(signed.list(&p(""), &[]).await.is_ok());
        let sealed = SmbShare::new(SmbConfig { require_encryption: true, ..config(samba.address(), "ward") });
        assert_eq!(code(sealed.list(&p(""), &[]).await), Some(FaultCode::ShareInsecure));
    }
    for dialect in ["SMB3_02", "SMB2_10"] {
        let samba = samba(&dir.path().join(dialect), &["--dialect", dialect]);
        let older = SmbShare::new(config(samba.address(), "ward"));
        assert_eq!(code(older.list(&p(""), &[]).await), Some(FaultCode::ShareInsecure), "{dialect}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_is_unreachable_and_the_same_object_goes_on_after_it() {
    let dir = folder();
    let mut samba = samba(dir.path(), &[]);
    let ward = SmbShare::new(config(samba.address(), "ward"));
    let body = content(30_000_000);
    device(&samba, "ward").await.put("a", &body).await.unwrap();
    let mut reader = ward.open(&p("a"), 0).await.unwrap();
    let mut got = reader.next().await.unwrap().unwrap().to_vec();
    let mut watch = ward.watch(&p("")).await.unwrap();

    samba.kill();
    let begun = Instant::now();
    let cut = loop {
        match reader.next().await {
            Ok(Some(chunk)) => got.extend_from_slice(&chunk),
            Ok(None) => panic!("a lost connection is not the end of the file"),
            Err(f) => break f,
        }
    };
    assert_eq!(cut.code, FaultCode::ShareUnreachable, "{cut}");
    assert_eq!(reader.next().await, Ok(None), "after a fault the reader is done");
    assert_eq!(code(watch.next().await), Some(FaultCode::ShareUnreachable));
    assert_eq!(code(ward.observe(&p("a")).await), Some(FaultCode::ShareUnreachable));
    assert_eq!(code(ward.list(&p(""), &[]).await), Some(FaultCode::ShareUnreachable));
    assert!(begun.elapsed() < Duration::from_secs(5), "a closed connection is noticed at once");

    samba.restart();
    assert_eq!(ward.observe(&p("a")).await.unwrap().stat.size, body.len() as u64);
    let mut reader = ward.open(&p("a"), got.len() as u64).await.unwrap();
    while let Some(chunk) = reader.next().await.unwrap() {
        got.extend_from_slice(&chunk);
    }
    assert!(got == body, "resumed where it was cut");
    // Nobody asked meanwhile: the loss is not even seen.
    samba.kill();
    samba.restart();
    assert_eq!(ward.list(&p(""), &[]).await.unwrap().files.len(), 1);
    let mut watch = ward.watch(&p("")).await.unwrap();
    device(&samba, "ward").await.put("b", b"x").await.unwrap();
    share::hinted(watch.as_mut(), &p("b")).await;
}

/// Passes connections on to `to`. When told, it closes the one that asks next, instead of passing the request on.
async fn cutter(to: String) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let cut = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&cut);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (mut server, told) = (TcpStream::connect(&to).await.unwrap(), Arc::clone(&told));
            tokio::spawn(async move {
                let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
                loop {
                    let passed = tokio::select! {
                        n = client.read(&mut up) => match n {
                            Ok(n @ 1..) if !told.swap(false, Ordering::Relaxed) => server.write_all(&up[..n]).await,
                            _ => return,
                        },
                        n = server.read(&mut down) => match n {
                            Ok(n @ 1..) => client.write_all(&down[..n]).await,
                            _ => return,
                        },
                    };
                    if passed.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, cut)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_be_repeated_is_and_a_rename_is_not() {
    let dir = folder();
    let samba = samba(dir.path(), &[]);
    device(&samba, "ward").await.put("a", b"x").await.unwrap();
    let (address, cut) = cutter(samba.address()).await;
    let ward = SmbShare::new(config(address, "ward"));
    ward.observe(&p("a")).await.unwrap();
    cut.store(true, Ordering::Relaxed);
    assert_eq!(ward.observe(&p("a")).await.unwrap().stat.size, 1);
    assert!(!cut.load(Ordering::Relaxed), "it was cut");
    cut.store(true, Ordering::Relaxed);
    assert_eq!(ward.read(&p("a"), 1).await.unwrap(), "x");
    cut.store(true, Ordering::Relaxed);
    assert_eq!(code(ward.rename(&p("a"), &p("b"), None).await), Some(FaultCode::ShareUnreachable));
    ward.rename(&p("a"), &p("b"), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_falls_silent_holds_nobody_up() {
    const LIMIT: Duration = Duration::from_secs(2);
    let dir = folder();
    let mut samba = samba(dir.path(), &[]);
    device(&samba, "ward").await.put("a", &content(30_000_000)).await.unwrap();
    let open = || SmbShare::new(SmbConfig { response_timeout: LIMIT, ..config(samba.address(), "ward") });
    let (known, unknown) = (open(), open());
    let mut reader = known.open(&p("a"), 0).await.unwrap();
    reader.next().await.unwrap();
    let mut watch = known.watch(&p("")).await.unwrap();

    samba.pause();
    let begun = Instant::now();
    let calls = |s: &'static str, share| {
        futures::stream::iter(0..12).map(move |_| {
            let share: &SmbShare = share;
            async move { (s, code(share.observe(&p("a")).await)) }
        })
    };
    let calls = calls("known", &known).chain(calls("unknown", &unknown)).buffer_unordered(24);
    let drained = async {
        loop {
            match reader.next().await {
                Ok(Some(_)) => {}
                r => return code(r),
            }
        }
    };
    let (calls, drained, watched) = tokio::join!(calls.collect::<Vec<_>>(), drained, watch.next());
    let took = begun.elapsed();
    for (s, c) in calls {
        assert_eq!(c, Some(FaultCode::ShareTimeout), "{s}");
    }
    assert_eq!(drained, Some(FaultCode::ShareTimeout));
    assert_eq!(code(watched), Some(FaultCode::ShareTimeout));
    assert!(took < LIMIT * 4, "nobody waits for the others' waits: {took:?}");

    samba.resume();
    for s in [&known, &unknown] {
        assert_eq!(s.observe(&p("a")).await.unwrap().writer, Writer::Absent);
    }
}
