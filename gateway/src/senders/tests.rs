//! Canaries at real listeners: with the certificate that is theirs, and without.

use super::*;
use crate::dicom::{Ae, DicomLimits, Titles, serve};
use crate::double::Memory;
use crate::double_tls::Authority;
use crate::hl7::{Receiver, Senders as Rules};
use crate::mllp::{Limits, Listen, Server, Tls};
use crate::pointers::Web;
use leadline_activities::canary::parcel;
use leadline_activities::secret::Secret;
use leadline_domain::FaultCode;
use leadline_formats::synth::SynthFormat;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::rustls::RootCertStore;

fn org() -> OrgId {
    OrgId::parse("north").unwrap()
}

/// Secrets by name.
struct Given(BTreeMap<&'static str, Credentials>);

#[async_trait]
impl GivenSecrets for Given {
    async fn given(&self, name: &str) -> Result<Secret, Fault> {
        let missing = || Fault::new(FaultCode::SecretMissing, format!("secret {name} holds nothing"));
        self.0.get(name).map(Credentials::text).ok_or_else(missing)
    }
}

/// Both listeners with TLS; certificates of one root: the canary's, and somebody's.
struct Doorway {
    memory: Arc<Memory>,
    mllp: SocketAddr,
    dicom: SocketAddr,
    systems: AsSystems,
    digest: String,
    ca_file: PathBuf,
    _stop: watch::Sender<bool>,
}

impl Drop for Doorway {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.ca_file.parent().expect("a folder"));
    }
}

async fn doorway(name: &str) -> Doorway {
    let root = Authority::new();
    let folder = std::env::temp_dir().join(format!("leadline-senders-{name}-{}", std::process::id()));
    let files = root.server_files(&folder);
    let ca_file = files.client_roots.clone();
    let issue = |name: &str| {
        let (certificate, key) = root.issue(name);
        (certificate.pem(), key.serialize_pem())
    };
    let (own, strange) = (issue("canary"), issue("strange"));
    let with = |(pem, key): (String, String)| Credentials { client: None, certificate: Some((pem, Secret::new(key))) };
    let (own, strange) = (with(own), with(strange));
    let digest = own.digest().unwrap();
    let certificate = *Digest::parse(&digest).unwrap().as_bytes();
    let nothing = Credentials { client: Some(("c".into(), Secret::new("s"))), certificate: None };
    let systems = AsSystems::new(Arc::new(Given([("own", own), ("strange", strange), ("none", nothing)].into())));

    let (memory, stop) = (Memory::new(), watch::channel(false));
    let web = Web::trusting(RootCertStore::empty(), Duration::from_secs(5));
    let receiver = Receiver::new(memory.clone(), Arc::new(web), [(org(), Rules::default())].into(), 1 << 20);
    let tls = Tls { files: files.clone(), senders: [(certificate, org())].into() };
    let listen = Listen { tls: Some(("127.0.0.1:0".parse().unwrap(), tls)), plain: BTreeMap::new() };
    let mllp = Server::bind(listen, Limits::default(), Arc::new(receiver)).await.unwrap();
    let address = mllp.addresses()[0];
    let mut stopped = stop.1.clone();
    tokio::spawn(mllp.run(async move { drop(stopped.wait_for(|s| *s).await) }));

    let titles = move || {
        let calling = ["A-CART", "CANARY"].map(String::from).into();
        let certificates = [(certificate, BTreeSet::from(["CANARY".to_owned()]))].into();
        Titles::new(vec![Ae { org: org(), called: "NORTH".into(), calling, certificates }])
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dicom = listener.local_addr().unwrap();
    let limits = DicomLimits::new(4, Duration::from_secs(5), 1 << 20);
    tokio::spawn(serve(listener, Some(files.acceptor().unwrap()), limits, Arc::new(titles), memory.clone(), stop.1));
    Doorway { memory, mllp: address, dicom, systems, digest, ca_file, _stop: stop.0 }
}

impl Doorway {
    async fn send(&self, endpoint: &IngressEndpoint, credentials: &str, format: SynthFormat) -> Sent {
        let endpoints = IngressEndpoints {
            credentials: credentials.into(),
            ca_file: Some(self.ca_file.to_string_lossy().into_owned()),
            ..IngressEndpoints::default()
        };
        let parcel = parcel(format, "here", "1").unwrap();
        self.systems.send(&org(), &endpoints, endpoint, &parcel).await.unwrap()
    }

    /// What was taken under the name that the sender tells.
    fn taken(&self, sent: &Sent) -> Option<Vec<u8>> {
        let Sent::Taken(name) = sent else { panic!("{sent:?}") };
        self.memory.taken.lock().unwrap().get(&(org(), name.clone())).map(|b| b.to_vec())
    }
}

fn refused(sent: Sent, with: &str) {
    let (Sent::Refused(why) | Sent::Unanswered(why)) = sent else { panic!("{sent:?}") };
    assert!(why.contains(with), "{why}");
}

#[tokio::test]
async fn hl7_v2_is_sent_with_the_certificate_that_is_the_organizations() {
    let d = doorway("hl7").await;
    let endpoint = IngressEndpoint::Hl7v2 {
        address: format!("localhost:{}", d.mllp.port()),
        tls: true,
        processing_id: "P".into(),
    };
    let sent = d.send(&endpoint, "own", SynthFormat::Pdf).await;
    assert_eq!(d.taken(&sent), Some(parcel(SynthFormat::Pdf, "here", "1").unwrap().content.to_vec()));
    assert_eq!(d.send(&endpoint, "own", SynthFormat::Pdf).await, sent, "a repeat is the same work");
    // The certificate is a good one and nobody's: the connection ends without an answer.
    refused(d.send(&endpoint, "strange", SynthFormat::Pdf).await, "before the message was answered");
    refused(d.send(&endpoint, "none", SynthFormat::Pdf).await, "holds no certificate");
    refused(d.send(&endpoint, "missing", SynthFormat::Pdf).await, "secret.missing");
    let training = IngressEndpoint::Hl7v2 {
        address: d.mllp.to_string().replace("127.0.0.1", "localhost"),
        tls: true,
        processing_id: "T".into(),
    };
    refused(d.send(&training, "own", SynthFormat::Scp).await, "answered AR");
    assert_eq!(d.memory.taken.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn dicom_is_stored_under_the_title_that_goes_with_the_certificate() {
    let d = doorway("dicom").await;
    let certificates = BTreeMap::from([(d.digest.clone(), BTreeSet::from(["CANARY".to_owned()]))]);
    let endpoint = |called: &str, certificates| IngressEndpoint::Store {
        address: format!("localhost:{}", d.dicom.port()),
        tls: true,
        called: called.into(),
        calling: ["A-CART", "CANARY"].map(String::from).into(),
        certificates,
    };
    let sent = d.send(&endpoint("NORTH", certificates.clone()), "own", SynthFormat::Dicom).await;
    let (file, taken) = (parcel(SynthFormat::Dicom, "here", "1").unwrap().content, d.taken(&sent).unwrap());
    assert!(taken.ends_with(&file[file.len() - 10_000..]), "the data set passes unchanged");
    // A title that is not the certificate's, one that nobody has, a certificate that is nobody's, and what is no object.
    refused(d.send(&endpoint("NORTH", BTreeMap::new()), "own", SynthFormat::DicomPdf).await, "rejected");
    refused(d.send(&endpoint("SOUTH", certificates.clone()), "own", SynthFormat::DicomPdf).await, "rejected");
    refused(d.send(&endpoint("NORTH", certificates.clone()), "strange", SynthFormat::DicomPdf).await, "rejected");
    refused(d.send(&endpoint("NORTH", certificates), "own", SynthFormat::Pdf).await, "no DICOM file");
    assert_eq!(d.memory.taken.lock().unwrap().len(), 1);
}

#[test]
fn credentials_are_read_as_they_are_written_and_never_shown() {
    let all = Credentials {
        client: Some(("canary".into(), Secret::new("s3cret"))),
        certificate: Some(("PEM".into(), Secret::new("KEY"))),
    };
    assert_eq!(Credentials::read(&all.text()).as_ref(), Some(&all));
    assert!(!format!("{all:?}").contains("s3cret") && !format!("{all:?}").contains("KEY"));
    for bad in ["", "{}", "x", r#"{"client_id":"a"}"#, r#"{"password":"x","client_id":"a","client_secret":"b"}"#] {
        assert!(Credentials::read(&Secret::new(bad)).is_none(), "{bad}");
    }
}
