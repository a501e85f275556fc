//! The listener with a raw peer: what is answered, what is kept, what is not.

use super::command::{C_ECHO_RQ, C_STORE_RQ, request, status as status_of};
use super::negotiate::tests::{ECG, request as association, titles};
use super::store::status;
use super::wire::{Next, Wire};
use super::{DicomLimits, part10, serve, uids};
use crate::double::{counted, grown};
use crate::double_tls::Authority;
use crate::intake::{Content, Intake, Kept, Received};
use async_trait::async_trait;
use bytes::Bytes;
use dicom_ul::Pdu;
use dicom_ul::pdu::{AbortRQSource, PDataValue, PDataValueType};
use leadline_domain::staged::{Ingress, StagedName};
use leadline_domain::{Digest, Fault, FaultCode, OrgId};
use leadline_formats::synth;
use leadline_workflows::recording_lifecycle::FileReport;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

const WAIT: Duration = Duration::from_secs(10);

/// Keeps in memory, or fails.
#[derive(Default)]
pub(crate) struct InMemory {
    pub(crate) taken: Mutex<Vec<Received>>,
    pub(crate) fault: Mutex<Option<Fault>>,
}

#[async_trait]
impl Intake for InMemory {
    async fn take(&self, received: Received) -> Result<Option<FileReport>, Fault> {
        if let Some(f) = self.fault.lock().unwrap().clone() {
            return Err(f);
        }
        self.taken.lock().unwrap().push(received);
        Ok(None)
    }
    async fn keep(&self, _: &OrgId, _: Ingress, _: &StagedName, _: Bytes) -> Result<Kept, Fault> {
        unreachable!("an object is its own message")
    }
    async fn report(&self, _: &OrgId, _: Ingress, _: &StagedName) -> Result<Option<FileReport>, Fault> {
        Ok(None)
    }
}

struct Server {
    address: std::net::SocketAddr,
    intake: Arc<InMemory>,
    stop: watch::Sender<bool>,
    served: JoinHandle<()>,
}

async fn server(limits: DicomLimits) -> Server {
    served(None, limits).await
}

async fn served(tls: Option<TlsAcceptor>, limits: DicomLimits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let intake = Arc::new(InMemory::default());
    let (stop, stopped) = watch::channel(false);
    let served = tokio::spawn(serve(listener, tls, limits, Arc::new(titles), Arc::clone(&intake) as _, stopped));
    Server { address, intake, stop, served }
}

fn limits() -> DicomLimits {
    DicomLimits::new(4, Duration::from_secs(5), 1 << 20)
}

impl Server {
    async fn wire(&self) -> Wire<TcpStream> {
        Wire::new(TcpStream::connect(self.address).await.unwrap(), 1 << 20)
    }

    async fn associated(&self, called: &str) -> Wire<TcpStream> {
        let mut w = self.wire().await;
        let contexts: &[(u8, &str, &[&str])] =
            &[(1, ECG, &[uids::EXPLICIT_LE]), (3, uids::VERIFICATION, &[uids::IMPLICIT_LE])];
        assert!(w.send(&Pdu::AssociationRQ(association(called, "CART 7", contexts)), WAIT).await);
        let next = w.next(WAIT).await;
        assert!(matches!(next, Next::Pdu(Pdu::AssociationAC(_))), "{next:?}");
        w
    }

    fn taken(&self) -> usize {
        self.intake.taken.lock().unwrap().len()
    }
}

fn pdata(context: u8, kind: PDataValueType, last: bool, data: &[u8]) -> Pdu {
    let data = data.to_vec();
    Pdu::PData { data: vec![PDataValue { presentation_context_id: context, value_type: kind, is_last: last, data }] }
}

fn ecg(seed: u64) -> (part10::Meta, Bytes) {
    let file = Bytes::from(synth::dicom::write_ecg(&synth::Spec::new(seed)).unwrap());
    let meta = part10::read(&file).unwrap();
    let data = file.slice(meta.data..);
    (meta, data)
}

/// Sends an object as a peer does, in pieces; `of` bytes of it, the last marked as such.
async fn store(w: &mut Wire<TcpStream>, meta: &part10::Meta, data: &[u8]) -> Option<u16> {
    let command = request(C_STORE_RQ, 9, &meta.class, &meta.instance);
    assert!(w.send(&pdata(1, PDataValueType::Command, true, &command), WAIT).await);
    let pieces: Vec<&[u8]> = data.chunks(30_000).collect();
    for (n, piece) in pieces.iter().enumerate() {
        let last = n + 1 == pieces.len();
        w.send(&pdata(1, PDataValueType::Data, last, piece), WAIT).await;
    }
    answer(w).await
}

async fn answer(w: &mut Wire<TcpStream>) -> Option<u16> {
    match w.next(WAIT).await {
        Next::Pdu(Pdu::PData { data }) => status_of(&data[0].data),
        _ => None,
    }
}

async fn aborted(w: &mut Wire<TcpStream>) -> bool {
    matches!(w.next(WAIT).await, Next::Pdu(Pdu::AbortRQ { source: AbortRQSource::ServiceProvider(_) }))
}

#[tokio::test]
async fn an_object_is_kept_once_by_name_and_unchanged() {
    let s = server(limits()).await;
    let (meta, data) = ecg(1);
    for called in ["MARY", "MARY", "UNI"] {
        let mut w = s.associated(called).await;
        assert_eq!(store(&mut w, &meta, &data).await, Some(status::SUCCESS));
        w.send(&pdata(3, PDataValueType::Command, true, &request(C_ECHO_RQ, 2, uids::VERIFICATION, "")), WAIT).await;
        assert_eq!(answer(&mut w).await, Some(status::SUCCESS));
        w.send(&Pdu::ReleaseRQ, WAIT).await;
        assert!(matches!(w.next(WAIT).await, Next::Pdu(Pdu::ReleaseRP)));
    }
    let taken = s.intake.taken.lock().unwrap();
    assert_eq!(taken[0], taken[1], "a repeat is the same in name and bytes");
    assert_eq!((taken[0].org.as_str(), taken[2].org.as_str()), ("st-mary", "uni-clinic"));
    assert_ne!(taken[0].name, taken[2].name);
    let Content::Bytes(file) = &taken[0].content else { panic!() };
    assert!(file.ends_with(&data), "the data set passes unchanged");
    assert_eq!(taken[0].declared, Some(Digest::of(file)));
    assert_eq!(part10::read(file).unwrap().instance, meta.instance);
}

#[tokio::test]
async fn a_fault_of_ours_is_no_success_and_what_it_asks_for() {
    let s = server(limits()).await;
    let (meta, data) = ecg(2);
    let mut w = s.associated("MARY").await;
    for (code, want) in [
        (FaultCode::StoreUnreachable, status::OUT_OF_RESOURCES),
        (FaultCode::CredentialRefused, status::OUT_OF_RESOURCES),
        (FaultCode::ConfigUnknownOrg, status::NOT_AUTHORIZED),
        (FaultCode::BugInvariant, status::PROCESSING_FAILURE),
    ] {
        *s.intake.fault.lock().unwrap() = Some(Fault::new(code, "as told"));
        assert_eq!(store(&mut w, &meta, &data).await, Some(want), "{code}");
    }
    *s.intake.fault.lock().unwrap() = None;
    assert_eq!(store(&mut w, &meta, &data).await, Some(status::SUCCESS));
    assert_eq!(s.taken(), 1);
}

#[tokio::test]
async fn what_is_cut_or_mislabelled_is_refused_and_the_association_goes_on() {
    let s = server(limits()).await;
    let (meta, data) = ecg(3);
    let mut w = s.associated("MARY").await;
    let other = part10::Meta { instance: "1.2.3".into(), ..meta.clone() };
    let none = part10::Meta { instance: String::new(), ..meta.clone() };
    for (meta, data, want, code) in [
        (&meta, &data[..data.len() - 2], status::CANNOT_UNDERSTAND, FaultCode::DicomUnreadable),
        (&meta, b"\x08\0garbage".as_slice(), status::CANNOT_UNDERSTAND, FaultCode::DicomUnreadable),
        (&other, &data, status::CLASS_MISMATCH, FaultCode::DicomMismatch),
        (&none, &data, status::INVALID_INSTANCE, FaultCode::DicomNotAccepted),
    ] {
        let before = counted(code);
        assert_eq!(store(&mut w, meta, data).await, Some(want));
        assert!(counted(code) > before, "{code}");
    }
    assert_eq!(s.taken(), 0);
    assert_eq!(store(&mut w, &meta, &data).await, Some(status::SUCCESS));
}

#[tokio::test]
async fn an_object_that_is_too_large_is_refused_by_its_status() {
    let s = server(DicomLimits { object_bytes: 40_000, ..limits() }).await;
    let (meta, data) = ecg(4);
    let mut w = s.associated("MARY").await;
    let before = counted(FaultCode::FileTooLarge);
    assert_eq!(store(&mut w, &meta, &data[..70_000]).await, Some(status::OUT_OF_RESOURCES));
    assert!(counted(FaultCode::FileTooLarge) > before);
    assert_eq!(s.taken(), 0);
}

#[tokio::test]
async fn a_peer_that_is_gone_in_the_middle_leaves_nothing() {
    let s = server(limits()).await;
    let (meta, data) = ecg(5);
    let mut w = s.associated("MARY").await;
    let command = request(C_STORE_RQ, 9, &meta.class, &meta.instance);
    w.send(&pdata(1, PDataValueType::Command, true, &command), WAIT).await;
    w.send(&pdata(1, PDataValueType::Data, false, &data[..30_000]), WAIT).await;
    let before = counted(FaultCode::DicomPeerBrokeOff);
    drop(w);
    grown(FaultCode::DicomPeerBrokeOff, before).await;
    // Another one is served, and nothing of the first was kept.
    assert_eq!(store(&mut s.associated("MARY").await, &meta, &data).await, Some(status::SUCCESS));
    assert_eq!(s.taken(), 1);
}

#[tokio::test]
async fn garbage_and_silence_are_aborted() {
    // Peers stay connected for the whole of the test.
    let s = server(DicomLimits::new(32, Duration::from_millis(500), 1 << 20)).await;
    // Something else than DICOM.
    let before = counted(FaultCode::DicomUnreadable);
    let mut raw = TcpStream::connect(s.address).await.unwrap();
    raw.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    raw.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, [7, 0, 0, 0, 0, 4, 0, 0, 2, 1], "A-ABORT: unrecognized PDU");
    grown(FaultCode::DicomUnreadable, before).await;
    // A request that says it has 4 GiB.
    let mut raw = TcpStream::connect(s.address).await.unwrap();
    raw.write_all(&[1, 0, 0xff, 0xff, 0xff, 0xff]).await.unwrap();
    said.clear();
    raw.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, [7, 0, 0, 0, 0, 4, 0, 0, 2, 6], "A-ABORT: invalid PDU parameter");
    // Nothing at all, and nothing more in the middle of an object.
    let mut w = s.wire().await;
    assert!(aborted(&mut w).await);
    let (meta, data) = ecg(6);
    let mut w = s.associated("MARY").await;
    w.send(&pdata(1, PDataValueType::Command, true, &request(C_STORE_RQ, 1, &meta.class, &meta.instance)), WAIT).await;
    w.send(&pdata(1, PDataValueType::Data, false, &data[..100]), WAIT).await;
    let before = counted(FaultCode::DicomPeerBrokeOff);
    assert!(aborted(&mut w).await);
    grown(FaultCode::DicomPeerBrokeOff, before).await;
    // Data without a command.
    let mut w = s.associated("MARY").await;
    w.send(&pdata(1, PDataValueType::Data, true, &data[..100]), WAIT).await;
    assert!(aborted(&mut w).await);
    assert_eq!(s.taken(), 0);
}

#[tokio::test]
async fn an_object_that_trickles_is_cut_off_though_it_is_never_silent() {
    let s = server(DicomLimits::new(4, Duration::from_millis(500), 1 << 20)).await;
    let (meta, data) = ecg(8);
    let mut w = s.associated("MARY").await;
    w.send(&pdata(1, PDataValueType::Command, true, &request(C_STORE_RQ, 1, &meta.class, &meta.instance)), WAIT).await;
    let before = counted(FaultCode::DicomPeerBrokeOff);
    let trickled = async {
        for piece in data.chunks(2) {
            w.send(&pdata(1, PDataValueType::Data, false, piece), WAIT).await;
            if let Next::Pdu(Pdu::AbortRQ { .. }) | Next::Closed = w.next(Duration::from_millis(50)).await {
                return;
            }
        }
    };
    tokio::time::timeout(WAIT, trickled).await.expect("it is aborted");
    grown(FaultCode::DicomPeerBrokeOff, before).await;
}

#[tokio::test]
async fn associations_are_bounded_for_one_and_for_all() {
    let s = server(limits()).await;
    let rq = Pdu::AssociationRQ(association("MARY", "X", &[(1, ECG, &[uids::EXPLICIT_LE])]));
    let refused = async || {
        let mut w = s.wire().await;
        w.send(&rq, WAIT).await;
        matches!(w.next(WAIT).await, Next::Pdu(Pdu::AssociationRJ(rj)) if rj == super::negotiate::too_many())
    };
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(s.associated("MARY").await);
    }
    assert!(refused().await, "three of four are one organization's at most");
    // Whether the refused one has left yet or not, another organization gets in.
    let other = loop {
        let mut w = s.wire().await;
        w.send(&Pdu::AssociationRQ(association("UNI", "CART 7", &[(1, ECG, &[uids::EXPLICIT_LE])])), WAIT).await;
        if matches!(w.next(WAIT).await, Next::Pdu(Pdu::AssociationAC(_))) {
            break w;
        }
    };
    assert!(refused().await, "four of four");
    drop((held, other));
    while refused().await {}
}

/// Asks for an association over this connection, and whether one is there.
async fn greeted(stream: impl AsyncRead + AsyncWrite + Unpin + Send) -> bool {
    let mut w = Wire::new(stream, 1 << 20);
    let rq = association("MARY", "CART 7", &[(3, uids::VERIFICATION, &[uids::IMPLICIT_LE])]);
    w.send(&Pdu::AssociationRQ(rq), WAIT).await;
    if !matches!(w.next(WAIT).await, Next::Pdu(Pdu::AssociationAC(_))) {
        return false;
    }
    w.send(&pdata(3, PDataValueType::Command, true, &request(C_ECHO_RQ, 2, uids::VERIFICATION, "")), WAIT).await;
    match w.next(WAIT).await {
        Next::Pdu(Pdu::PData { data }) => status_of(&data[0].data) == Some(status::SUCCESS),
        _ => false,
    }
}

#[tokio::test]
async fn strangers_who_say_nothing_take_no_association() {
    let two = DicomLimits::new(2, Duration::from_secs(600), 1 << 20);
    let plain = server(two).await;
    let _silent = [plain.wire().await, plain.wire().await];
    assert!(greeted(TcpStream::connect(plain.address).await.unwrap()).await);
    // And they are bounded by themselves: the fourth is hung up on.
    let few = server(DicomLimits { strangers: 3, ..two }).await;
    let _silent = [few.wire().await, few.wire().await, few.wire().await];
    assert!(matches!(few.wire().await.next(WAIT).await, Next::Closed));

    let authority = Authority::new();
    let folder = std::env::temp_dir().join(format!("leadline-strangers-{}", std::process::id()));
    let files = authority.server_files(&folder);
    let s = served(Some(files.acceptor().unwrap()), two).await;
    std::fs::remove_dir_all(&folder).unwrap();
    let _silent = [s.wire().await, s.wire().await];
    let connected = authority.connect(s.address, Some(&authority.issue("cart"))).await;
    assert!(greeted(connected.unwrap()).await);
}

#[tokio::test]
async fn a_stop_lets_the_object_under_way_be_finished() {
    let s = server(limits()).await;
    let (meta, data) = ecg(7);
    let (mut quiet, mut busy) = (s.associated("MARY").await, s.associated("UNI").await);
    busy.send(&pdata(1, PDataValueType::Command, true, &request(C_STORE_RQ, 1, &meta.class, &meta.instance)), WAIT)
        .await;
    busy.send(&pdata(1, PDataValueType::Data, false, &data[..30_000]), WAIT).await;
    // The piece is there before the stop is: an echo on the same connection cannot be asked for in the middle of an
    // object, so the peer's own order has to do.
    while s.intake.taken.lock().unwrap().is_empty() {
        let mut w = s.associated("UNI").await;
        store(&mut w, &meta, &data).await;
    }
    s.stop.send(true).unwrap();
    assert!(aborted(&mut quiet).await);
    for (n, piece) in data[30_000..].chunks(30_000).enumerate() {
        let last = 30_000 * (n + 2) >= data.len();
        busy.send(&pdata(1, PDataValueType::Data, last, piece), WAIT).await;
    }
    assert_eq!(answer(&mut busy).await, Some(status::SUCCESS));
    let Server { served, intake, .. } = s;
    served.await.unwrap();
    assert_eq!(intake.taken.lock().unwrap().len(), 2);
}
