use super::*;
use crate::double::{Memory, counted, grown};
use crate::double_tls::Authority;
use crate::hl7::Senders;
use crate::pointers::Web;
use leadline_ehr::mllp::frame;
use rcgen::Certificate;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio_rustls::rustls::RootCertStore;

const ANY: &str = "127.0.0.1:0";

fn org(name: &str) -> OrgId {
    OrgId::parse(name).unwrap()
}

struct Running {
    addresses: Vec<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    ended: tokio::task::JoinHandle<()>,
    memory: Arc<Memory>,
}

async fn start(tls: Option<Tls>, limits: Limits) -> Running {
    let memory = Memory::new();
    let web = Web::trusting(RootCertStore::empty(), Duration::from_secs(5));
    let senders = ["north", "south"].map(|o| (org(o), Senders::default()));
    let receiver = Receiver::new(memory.clone(), Arc::new(web), BTreeMap::from(senders), 1 << 20);
    let plain = ["north", "south"].map(|o| (org(o), ANY.parse().unwrap()));
    let listen = Listen { tls: tls.map(|t| (ANY.parse().unwrap(), t)), plain: BTreeMap::from(plain) };
    let server = Server::bind(listen, limits, Arc::new(receiver)).await.unwrap();
    let addresses = server.addresses();
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = tokio::spawn(server.run(async move { drop(stopped.await) }));
    Running { addresses, stop: Some(stop), ended, memory }
}

fn message(id: &str, text: &str) -> Vec<u8> {
    format!("MSH|^~\\&|CART|WARD|LL|HUB|20260101||ORU^R01|{id}|P|2.5\rOBX|1|ED|x||^T^^A^{text}||||||F\r").into_bytes()
}

/// Reads one answer.
async fn heard(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut all = Vec::new();
    while !all.ends_with(b"\x1c\r") {
        match stream.read_u8().await {
            Ok(byte) => all.push(byte),
            Err(_) => return None,
        }
    }
    Some(String::from_utf8(all).unwrap())
}

async fn told(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), message: &[u8]) -> Option<String> {
    stream.write_all(&frame(message)).await.ok()?;
    heard(stream).await
}

#[tokio::test]
async fn messages_are_answered_in_their_order_on_one_connection() {
    let running = start(None, Limits::default()).await;
    let mut stream = TcpStream::connect(running.addresses[0]).await.unwrap();
    let both = [frame(&message("1", "one")), frame(&message("2", "two"))].concat();
    stream.write_all(&both).await.unwrap();
    assert!(heard(&mut stream).await.unwrap().contains("MSA|AA|1"));
    assert!(heard(&mut stream).await.unwrap().contains("MSA|AA|2"));
    let taken = running.memory.taken.lock().unwrap();
    assert!(taken.keys().all(|(o, _)| *o == org("north")) && taken.len() == 2);
}

#[tokio::test]
async fn a_sender_that_does_not_frame_hears_so_and_one_that_has_framed_may_send_what_it_likes_between() {
    let running = start(None, Limits { idle: Duration::from_millis(300), ..Limits::default() }).await;
    for junk in [message("1", "one"), b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        let mut stream = TcpStream::connect(running.addresses[0]).await.unwrap();
        stream.write_all(&junk).await.unwrap();
        let answer = heard(&mut stream).await.expect("an answer");
        assert!(answer.contains("MSA|AR|") && answer.contains("hl7.unreadable: what comes is not framed"), "{answer}");
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0, "and the connection is closed");
    }
    assert!(running.memory.kept.lock().unwrap().is_empty());
    let mut stream = TcpStream::connect(running.addresses[0]).await.unwrap();
    assert!(told(&mut stream, &message("2", "two")).await.unwrap().contains("MSA|AA|2"));
    stream.write_all(b"junk").await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(900), stream.read_u8()).await.is_err(), "it rests");
    assert!(told(&mut stream, &message("3", "three")).await.unwrap().contains("MSA|AA|3"));
}

#[tokio::test]
async fn one_that_is_too_long_is_answered_and_never_held() {
    let running = start(None, Limits { message_bytes: 1 << 20, ..Limits::default() }).await;
    let mut stream = TcpStream::connect(running.addresses[0]).await.unwrap();
    let answer = told(&mut stream, &message("9", &"x".repeat(3 << 20))).await.unwrap();
    assert!(answer.contains("MSA|AR|9|hl7.too_long: it is longer than 1048576 bytes"), "{answer}");
    assert!(told(&mut stream, &message("10", "ok")).await.unwrap().contains("MSA|AA|10"));
}

#[tokio::test]
async fn one_without_an_end_is_cut_off() {
    let running = start(None, Limits { message_bytes: 1 << 16, ..Limits::default() }).await;
    let mut stream = TcpStream::connect(running.addresses[0]).await.unwrap();
    stream.write_all(b"\x0bMSH|^~\\&|").await.unwrap();
    let (block, before) = (vec![b'x'; 1 << 16], counted(FaultCode::Hl7Unreadable));
    while stream.write_all(&block).await.is_ok() {}
    grown(FaultCode::Hl7Unreadable, before).await;
    assert_eq!(running.memory.kept.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_silent_sender_is_cut_off_and_others_do_not_wait_for_it() {
    let limits = Limits { idle: Duration::from_millis(300), connections_per_org: 2, ..Limits::default() };
    let running = start(None, limits).await;
    let before = counted(FaultCode::Hl7SenderStalled);
    let mut silent = TcpStream::connect(running.addresses[0]).await.unwrap();
    silent.write_all(b"\x0bMSH|^~\\&|CART").await.unwrap();
    // One at rest between messages is left alone.
    let mut resting = TcpStream::connect(running.addresses[0]).await.unwrap();
    assert!(told(&mut resting, &message("1", "a")).await.unwrap().contains("MSA|AA|1"));
    // Its own organization has no place left; another has all of its own.
    let mut third = TcpStream::connect(running.addresses[0]).await.unwrap();
    assert_eq!(told(&mut third, &message("2", "b")).await, None);
    let mut other = TcpStream::connect(running.addresses[1]).await.unwrap();
    assert!(told(&mut other, &message("2", "b")).await.unwrap().contains("MSA|AA|2"));
    assert_eq!(heard(&mut silent).await, None);
    // The one that had no place, and the one that fell silent.
    grown(FaultCode::Hl7SenderStalled, before + 1).await;
    assert!(told(&mut resting, &message("3", "c")).await.unwrap().contains("MSA|AA|3"));
}

#[tokio::test]
async fn one_that_trickles_is_cut_off_though_it_is_never_silent() {
    let limits = Limits { idle: Duration::from_millis(500), ..Limits::default() };
    let running = start(None, limits).await;
    let before = counted(FaultCode::Hl7SenderStalled);
    let (mut answers, mut sender) = TcpStream::connect(running.addresses[0]).await.unwrap().into_split();
    let trickle = async {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        for byte in frame(&message("1", &"x".repeat(1 << 20))) {
            pace.tick().await;
            if sender.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        answer = heard(&mut answers) => assert_eq!(answer, None),
        () = trickle => {}
    }
    grown(FaultCode::Hl7SenderStalled, before).await;
    assert_eq!(running.memory.kept.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn what_has_begun_is_finished_before_the_end() {
    let mut running = start(None, Limits::default()).await;
    let mut resting = TcpStream::connect(running.addresses[0]).await.unwrap();
    assert!(told(&mut resting, &message("1", "a")).await.is_some());
    let mut stream = TcpStream::connect(running.addresses[0]).await.unwrap();
    let wire = frame(&message("2", "b"));
    // An answered message in front of it: that the second has begun is then known.
    stream.write_all(&[&frame(&message("0", "z")), &wire[..30]].concat()).await.unwrap();
    assert!(heard(&mut stream).await.unwrap().contains("MSA|AA|0"));
    running.stop.take().unwrap().send(()).unwrap();
    assert_eq!(heard(&mut resting).await, None);
    stream.write_all(&wire[30..]).await.unwrap();
    assert!(heard(&mut stream).await.unwrap().contains("MSA|AA|2"));
    running.ended.await.unwrap();
    assert!(TcpStream::connect(running.addresses[0]).await.is_err());
}

#[tokio::test]
async fn a_plain_address_is_a_loopback_address() {
    let receiver = Receiver::new(
        Memory::new(),
        Arc::new(Web::trusting(RootCertStore::empty(), Duration::ZERO)),
        BTreeMap::new(),
        1,
    );
    let listen = Listen { tls: None, plain: BTreeMap::from([(org("north"), "0.0.0.0:0".parse().unwrap())]) };
    let fault = Server::bind(listen, Limits::default(), Arc::new(receiver)).await.err().unwrap();
    assert_eq!(fault.code, FaultCode::ConfigInvalid);
}

#[tokio::test]
async fn the_certificate_says_whose_message_it_is() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let [north, south, nobody] = ["a", "b", "c"].map(|n| authority.issue(n));
    let folder = std::env::temp_dir().join(format!("leadline-mllp-{}", std::process::id()));
    let digest = |c: &Certificate| -> [u8; 32] { Sha256::digest(c.der()).into() };
    let files = authority.server_files(&folder);
    let tls =
        Tls { files, senders: BTreeMap::from([(digest(&north.0), org("north")), (digest(&south.0), org("south"))]) };
    let running = start(Some(tls), Limits::default()).await;
    std::fs::remove_dir_all(&folder).unwrap();
    for (client, id) in [(&north, "1"), (&south, "1")] {
        let mut stream = authority.connect(running.addresses[0], Some(client)).await.unwrap();
        assert!(told(&mut stream, &message(id, "a")).await.unwrap().contains("MSA|AA|1"));
    }
    let owners: Vec<OrgId> = running.memory.taken.lock().unwrap().keys().map(|(o, _)| o.clone()).collect();
    assert_eq!(owners, [org("north"), org("south")]);
    // A certificate that is nobody's, one of another root, and none: no answer, nothing taken.
    let (strange, before) = (foreign.issue("a"), counted(FaultCode::Hl7SenderUnknown));
    for client in [Some(&nobody), Some(&strange), None] {
        if let Ok(mut stream) = authority.connect(running.addresses[0], client).await {
            assert_eq!(told(&mut stream, &message("2", "b")).await, None);
        }
    }
    // Only the first is somebody with a good certificate.
    grown(FaultCode::Hl7SenderUnknown, before).await;
    assert_eq!(running.memory.taken.lock().unwrap().len(), 2);
}
