//! The DICOM listener with other people's senders: dcmtk's `echoscu` and `storescu`, and pynetdicom. What is kept is
//! held in memory: this is about the protocol. That it becomes a delivery is for the tests with the whole stack.

use base64::Engine as _;
use bytes::Bytes;
use leadline_activities::metrics::METRICS;
use leadline_domain::{Digest, Fault, FaultCode, OrgId};
use leadline_formats::{Verdict, inspect_bytes, synth};
use leadline_gateway::dicom::{Ae, DicomLimits, Titles, serve};
use leadline_gateway::intake::{Content, Received};
use leadline_gateway::intake_fake::{FakeIntake, Planned};
use leadline_gateway::tls::TlsFiles;
use leadline_tests::harness::tools::{root, tools};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::watch;

struct Site {
    port: u16,
    intake: Arc<FakeIntake>,
    dir: tempfile::TempDir,
    _stop: watch::Sender<bool>,
}

async fn site() -> Site {
    let org = OrgId::parse("st-mary").unwrap();
    let ae = Ae { org, called: "MARY".into(), calling: ["CART7".to_owned()].into(), certificates: [].into() };
    site_with(None, vec![ae]).await
}

async fn site_with(tls: Option<&TlsFiles>, titles: Vec<Ae>) -> Site {
    let tls = tls.map(|t| t.acceptor().expect("files of TLS"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let intake = FakeIntake::new();
    let titles = move || Titles::new(titles.clone());
    let (stop, stopped) = watch::channel(false);
    let limits = DicomLimits::new(8, Duration::from_secs(20), 64 << 20);
    tokio::spawn(serve(listener, tls, limits, Arc::new(titles), Arc::clone(&intake) as _, stopped));
    Site { port, intake, dir: tempfile::tempdir().unwrap(), _stop: stop }
}

impl Site {
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn taken(&self) -> Vec<Received> {
        self.intake.received()
    }

    /// One of dcmtk's tools, as `calling` to `called`.
    async fn dcmtk(&self, tool: &str, calling: &str, called: &str, more: &[&str], files: &[&Path]) -> Output {
        let mut c = Command::new(tool);
        c.args(["-aet", calling, "-aec", called, "-to", "20"]).args(more).arg("127.0.0.1").arg(self.port.to_string());
        c.args(files).output().await.expect("dcmtk is installed: script/bootstrap --test")
    }

    async fn pynetdicom(&self, args: &[&str], files: &[&Path]) -> Vec<String> {
        let script = root().join("tests/clients/dicom_store.py");
        let mut c = Command::new(tools().join("bin/python"));
        c.arg(script).arg(self.port.to_string()).args(args).args(files);
        let out = c.output().await.expect("pynetdicom is installed: script/bootstrap --test");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
    }
}

fn bytes(r: &Received) -> &Bytes {
    match &r.content {
        Content::Bytes(b) => b,
        Content::Staged { .. } => panic!("came in memory"),
    }
}

#[tokio::test]
async fn dcmtk_echoes_and_stores() {
    let s = site().await;
    assert!(s.dcmtk("echoscu", "CART7", "MARY", &[], &[]).await.status.success());
    let spec = synth::Spec::new(21);
    let ecg = s.file("ecg.dcm", &synth::dicom::write_ecg(&spec).unwrap());
    let pdf = s.file("report.dcm", &synth::dicom::write_encapsulated_pdf(&spec).unwrap());
    // -R: propose only what the files need; dcmtk's list of all classes is for other uses.
    let out = s.dcmtk("storescu", "CART7", "MARY", &["-R"], &[&ecg, &pdf]).await;
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    // Once more, in implicit VR: the same recording in another encoding.
    let out = s.dcmtk("storescu", "CART7", "MARY", &["-R", "-xi"], &[&ecg]).await;
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let out = s.dcmtk("storescu", "CART7", "MARY", &["-R"], &[&ecg]).await;
    assert!(out.status.success());
    let taken = s.taken();
    assert_eq!(taken.len(), 4);
    for r in &taken {
        assert_eq!(inspect_bytes(bytes(r)).verdict, Verdict::Complete);
        assert_eq!(r.declared, Some(Digest::of(bytes(r))));
    }
    assert_eq!(taken[0], taken[3], "a repeat is the same");
    let identity = |n: usize| inspect_bytes(bytes(&taken[n])).identity;
    assert_ne!(bytes(&taken[0]), bytes(&taken[2]));
    assert_eq!(identity(0), identity(2), "another encoding is the same recording");
}

#[tokio::test]
async fn dcmtk_is_refused_by_title() {
    let s = site().await;
    let said = |out: &Output| String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    let out = s.dcmtk("echoscu", "CART7", "NOBODY", &[], &[]).await;
    assert!(!out.status.success() && said(&out).contains("Called AE Title Not Recognized"), "{}", said(&out));
    let out = s.dcmtk("echoscu", "CART8", "MARY", &[], &[]).await;
    assert!(!out.status.success() && said(&out).contains("Calling AE Title Not Recognized"), "{}", said(&out));
}

#[tokio::test]
async fn dcmtk_hears_of_a_failure() {
    let s = site().await;
    s.intake.plan(Planned::Fails(Fault::new(FaultCode::StoreUnreachable, "as told")));
    let ecg = s.file("ecg.dcm", &synth::dicom::write_ecg(&synth::Spec::new(22)).unwrap());
    let out = s.dcmtk("storescu", "CART7", "MARY", &["-R", "-v"], &[&ecg]).await;
    let said = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    assert!(said.contains("Out of Resources") || said.contains("OutOfResources"), "{said}");
    assert!(s.taken().is_empty());
}

#[tokio::test]
async fn pynetdicom_stores_in_every_syntax_and_reads_the_statuses() {
    let s = site().await;
    let ecg = s.file("ecg.dcm", &synth::dicom::write_ecg(&synth::Spec::new(23)).unwrap());
    let said = s.pynetdicom(&["implicit,explicit,deflated"], &[&ecg]).await;
    assert_eq!(said, ["implicit 0000", "explicit 0000", "deflated 0000"]);
    let taken = s.taken();
    assert_eq!(taken.len(), 3);
    let first = inspect_bytes(bytes(&taken[0])).identity;
    for r in &taken {
        let seen = inspect_bytes(bytes(r));
        assert_eq!((seen.verdict, &seen.identity), (Verdict::Complete, &first));
    }
    // The command says one instance, the data set another; then a class that is not stored here.
    assert_eq!(s.pynetdicom(&["mismatch"], &[&ecg]).await, ["mismatch A900"]);
    assert_eq!(s.pynetdicom(&["report"], &[&ecg]).await, ["report 0000"]);
    assert_eq!(s.pynetdicom(&["image"], &[&ecg]).await, ["image not accepted"]);
    assert_eq!(s.taken().len(), 4);
}

/// A root, and files of a certificate that it or another one signed.
fn certificate(dir: &Path, name: &str, root: &CertifiedIssuer<'_, KeyPair>) -> [String; 2] {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let signed = params.signed_by(&key, root).unwrap();
    [(signed.pem(), "pem"), (key.serialize_pem(), "key")].map(|(text, kind)| {
        let path = dir.join(format!("{name}.{kind}"));
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    })
}

/// SHA-256 of a certificate, as the organization's file names it.
fn digest_of(pem: &str) -> [u8; 32] {
    let text = std::fs::read_to_string(pem).unwrap();
    let body: String = text.lines().filter(|l| !l.starts_with("-----")).collect();
    *Digest::of(&base64::engine::general_purpose::STANDARD.decode(body).unwrap()).as_bytes()
}

const COUNTED: &str = "leadline_faults_total{code=\"dicom.sender_unknown\"}";

fn root_certificate() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "root");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[tokio::test]
async fn dcmtk_over_tls_needs_a_certificate_of_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let (root, other) = (root_certificate(), root_certificate());
    let roots = dir.path().join("roots.pem");
    std::fs::write(&roots, root.pem()).unwrap();
    let [server, server_key] = certificate(dir.path(), "server", &root);
    let [device, device_key] = certificate(dir.path(), "device", &root);
    let [foreign, foreign_key] = certificate(dir.path(), "foreign", &other);
    let tls = TlsFiles { certificate: server.into(), key: server_key.into(), client_roots: roots.clone() };
    let [kings, kings_key] = certificate(dir.path(), "kings", &root);
    let [nobodys, nobodys_key] = certificate(dir.path(), "nobodys", &root);
    let ae = |org: &str, called: &str, file: &str, title: &[&str]| Ae {
        org: OrgId::parse(org).unwrap(),
        called: called.into(),
        calling: [].into(),
        certificates: [(digest_of(file), title.iter().map(|t| (*t).to_owned()).collect())].into(),
    };
    let titles = vec![ae("st-mary", "MARY", &device, &["CART7"]), ae("kings-road", "KING", &kings, &[])];
    let s = site_with(Some(&tls), titles).await;
    let ecg = s.file("ecg.dcm", &synth::dicom::write_ecg(&synth::Spec::new(24)).unwrap());
    let roots = roots.to_string_lossy();
    let send = async |certificate: &str, key: &str| {
        let tls = ["-R", "+tls", key, certificate, "+cf", &roots];
        s.dcmtk("storescu", "CART7", "MARY", &tls, &[&ecg]).await
    };
    let out = send(&device, &device_key).await;
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(s.taken().len(), 1);
    assert!(!send(&foreign, &foreign_key).await.status.success());
    assert!(!s.dcmtk("storescu", "CART7", "MARY", &["-R"], &[&ecg]).await.status.success(), "in clear");
    assert_eq!(s.taken().len(), 1);
    assert_eq!(METRICS.render().matches(COUNTED).count(), 0, "nobody was refused for a certificate yet");
    // Its organization is who it sends for: neither another one, nor with a title that the certificate is not for.
    for (calling, called, certificate, key, reason) in [
        ("CART7", "KING", &device, &device_key, "Called AE Title Not Recognized"),
        ("CART8", "MARY", &device, &device_key, "Calling AE Title Not Recognized"),
        ("CART7", "MARY", &kings, &kings_key, "Called AE Title Not Recognized"),
        ("CART7", "MARY", &nobodys, &nobodys_key, "Calling AE Title Not Recognized"),
    ] {
        let tls = ["-R", "+tls", key, certificate, "+cf", &roots];
        let out = s.dcmtk("storescu", calling, called, &tls, &[&ecg]).await;
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(!out.status.success() && said.contains(reason), "{calling} {called}: {said}");
    }
    assert!(METRICS.render().contains(&format!("{COUNTED} 4\n")), "{}", METRICS.render());
    let tls_of_kings = ["-R", "+tls", &kings_key, &kings, "+cf", &roots];
    assert!(s.dcmtk("storescu", "X", "KING", &tls_of_kings, &[&ecg]).await.status.success());
    let owners: Vec<String> = s.taken().iter().map(|r| r.org.to_string()).collect();
    assert_eq!(owners, ["st-mary", "kings-road"]);
    let bad = TlsFiles { key: tls.certificate.clone(), ..tls };
    assert_eq!(bad.acceptor().err().map(|f| f.code), Some(FaultCode::ConfigInvalid));
}
