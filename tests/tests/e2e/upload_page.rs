//! The upload page, in a browser. `script/bootstrap --test` brings Chromium and what drives it; it and Uppy being absent
//! is a failure, so that a page that nobody looked at is not taken for one that works.

use leadline_domain::lifecycle::Outcome;
use leadline_domain::settle::Basis;
use leadline_domain::{Digest, FaultCode, RecordingId, Structure, StructureVerdict};
use leadline_gateway::intake_fake::Planned;
use leadline_tests::harness::tools::{root, tools};
use leadline_tests::upload_rig::{UploadRig, org};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

fn chromium() -> PathBuf {
    let known = ["chromium-headless-shell", "chromium"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).flat_map(|d| known.map(|k| d.join(k))).find(|p| p.exists());
    found.expect("no Chromium in the PATH: run script/bootstrap --test")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clinician_uploads_pauses_reloads_and_reads_what_became_of_it() {
    let r = UploadRig::start(false, Duration::from_secs(600)).await;
    let dir = tempfile::tempdir().unwrap();
    let whole = b"%PDF-1.7\nwhole\n%%EOF\n";
    let write = |name: &str, content: &[u8]| std::fs::write(dir.path().join(name), content).unwrap();
    write("whole.pdf", whole);
    write("again.pdf", whole);
    write("cut.pdf", b"%PDF-1.7\ncut");
    write("late.pdf", b"%PDF-1.7\nlate\n%%EOF\n");
    write("video.mp4", &vec![7; (24 << 20) - 1]);
    write("second.mp4", &vec![9; (24 << 20) - 1]);
    let recording = RecordingId::new(&org("clinic-a"), &Digest::of(whole));
    let cut = Structure {
        format: "pdf".into(),
        verdict: StructureVerdict::Partial,
        evidence: vec!["The end mark is missing.".into()],
        identity: None,
        marks: Default::default(),
    };
    let delivered = Outcome::Delivered { recording: recording.clone(), basis: Basis::Structure };
    r.intake.plan(Planned::Becomes(delivered, None));
    r.intake.plan(Planned::Becomes(Outcome::Duplicate { of: recording }, None));
    r.intake.plan(Planned::Becomes(Outcome::Quarantined { code: FaultCode::FileIncomplete }, Some(cut)));
    let mut c = Command::new(tools().join("bin/python"));
    c.arg(root().join("tests/browser/upload_page.py")).arg(&r.url).arg(dir.path()).arg(chromium());
    let out = tokio::task::spawn_blocking(move || c.output().expect("python runs")).await.unwrap();
    if let Some(keep) = std::env::var_os("LEADLINE_SCREENSHOTS") {
        for name in ["page.png", "uploading.png", "offline.png"] {
            let _ = std::fs::copy(dir.path().join(name), PathBuf::from(&keep).join(name));
        }
    }
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(r.intake.lifecycles(), 6, "{said}");
}
