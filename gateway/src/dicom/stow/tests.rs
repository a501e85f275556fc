//! What is kept of a request, what is answered, and what a sender cannot do.

use super::super::serve_tests::InMemory;
use super::*;
use futures::stream::StreamExt as _;
use leadline_domain::{Fault, FaultCode};
use leadline_formats::synth;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinHandle;

fn headers(content_type: &str) -> HeaderMap {
    let mut h = HeaderMap::new();
    h.insert(header::CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
    h
}

fn multipart(files: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    for f in files {
        body.extend_from_slice(b"--b1\r\nContent-Type: application/dicom\r\n\r\n");
        body.extend_from_slice(f);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b1--\r\n");
    body
}

async fn post(intake: &InMemory, study: Option<&str>, content_type: &str, body: Vec<u8>) -> (u16, Value) {
    let org = OrgId::parse("st-mary").unwrap();
    let r = Stow::new(1 << 20, 1, Duration::from_secs(10))
        .serve(intake, &org, study, &headers(content_type), Body::from(body))
        .await;
    let status = r.status().as_u16();
    let body = axum::body::to_bytes(r.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

const RELATED: &str = "multipart/related; type=\"application/dicom\"; boundary=b1";

fn files() -> (Vec<u8>, Vec<u8>) {
    let spec = synth::Spec::new(11);
    (synth::dicom::write_ecg(&spec).unwrap(), synth::dicom::write_encapsulated_pdf(&spec).unwrap())
}

#[tokio::test]
async fn all_a_part_and_nothing_kept() {
    let (ecg, pdf) = files();
    let intake = InMemory::default();
    let (status, said) = post(&intake, None, RELATED, multipart(&[&ecg, &pdf])).await;
    assert_eq!((status, said["00081199"]["Value"].as_array().unwrap().len()), (200, 2));
    assert!(said.get("00081198").is_none());
    let cut = &ecg[..ecg.len() - 100];
    let (status, said) = post(&intake, None, RELATED, multipart(&[cut, &pdf])).await;
    assert_eq!(status, 202);
    assert_eq!(said["00081198"]["Value"][0]["00081197"]["Value"][0], 0xC000);
    let (status, said) = post(&intake, None, RELATED, multipart(&[cut, b"%PDF-1.4"])).await;
    assert_eq!((status, said["00081198"]["Value"].as_array().unwrap().len()), (409, 2));
    assert_eq!(intake.taken.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_type_without_quotes_is_read() {
    let (ecg, _) = files();
    let intake = InMemory::default();
    for content_type in [
        "multipart/related; type=application/dicom; boundary=b1",
        "Multipart/Related;boundary=\"b1\";Type=application/dicom",
        "multipart/related; type=application/dicom; boundary=b1;",
    ] {
        assert_eq!(post(&intake, None, content_type, multipart(&[&ecg])).await.0, 200, "{content_type}");
    }
    for content_type in [
        "multipart/related; type=application/dicom+json; boundary=b1",
        "multipart/form-data; type=application/dicom; boundary=b1",
        "multipart/related; type=application/dicom; boundary=",
        "multipart/related; type=application/dicom",
    ] {
        assert_eq!(post(&intake, None, content_type, multipart(&[&ecg])).await.0, 415, "{content_type}");
    }
    let equals = headers("multipart/related; type=application/dicom; boundary=----=_Part_1");
    assert_eq!(boundary(&equals).as_deref(), Some("----=_Part_1"));
}

#[tokio::test]
async fn the_study_of_the_url_has_to_be_the_instances() {
    let (ecg, pdf) = files();
    let intake = InMemory::default();
    let study = head::read(&ecg[part10::read(&Bytes::from(ecg.clone())).unwrap().data..], uids::EXPLICIT_LE).study;
    assert_eq!(post(&intake, study.as_deref(), RELATED, multipart(&[&ecg, &pdf])).await.0, 200);
    let (status, said) = post(&intake, Some("1.2.3"), RELATED, multipart(&[&ecg])).await;
    assert_eq!((status, &said["00081198"]["Value"][0]["00081197"]["Value"][0]), (409, &json!(0xA900)));
}

#[tokio::test]
async fn what_passes_by_itself_is_503() {
    let intake = InMemory::default();
    *intake.fault.lock().unwrap() = Some(Fault::new(FaultCode::StoreUnreachable, ""));
    assert_eq!(post(&intake, None, RELATED, multipart(&[&files().0])).await.0, 503);
}

#[tokio::test]
async fn requests_that_cannot_be_served() {
    let (ecg, _) = files();
    let intake = InMemory::default();
    for (content_type, body, want) in [
        ("application/dicom", ecg.clone(), 415),
        ("multipart/related; type=\"application/dicom+json\"; boundary=b1", multipart(&[&ecg]), 415),
        ("multipart/related; type=\"application/dicom\"", multipart(&[&ecg]), 415),
        (RELATED, multipart(&[]), 400),
        (RELATED, b"no parts".to_vec(), 400),
        (RELATED, multipart(&[&ecg])[..5_000].to_vec(), 400),
        (RELATED, multipart(&[&vec![0; 2 << 20]]), 413),
    ] {
        assert_eq!(post(&intake, None, content_type, body).await.0, want, "{content_type}");
    }
    assert!(intake.taken.lock().unwrap().is_empty());
}

/// What is not of an instance is not held without bounds, and a sender of it is not listened to to the end.
#[tokio::test]
async fn what_is_no_instance_is_not_held() {
    let (intake, much) = (InMemory::default(), vec![b'x'; 8 << 20]);
    let begun = b"--b1\r\nContent-Type: application/dicom\r\n".to_vec();
    for before in [Vec::new(), b"--b1\r\nX-Long: ".to_vec(), [begun, b"X-Long: ".to_vec()].concat()] {
        let body = [before, much.clone()].concat();
        assert_eq!(post(&intake, None, RELATED, body).await.0, 413);
    }
    let (pieces, read) = (much.chunks(1_000).map(<[u8]>::to_vec).collect::<Vec<_>>(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&read);
    let body = Body::from_stream(futures::stream::iter(pieces).map(move |piece| {
        counted.fetch_add(piece.len(), Ordering::Relaxed);
        Ok::<_, io::Error>(Bytes::from(piece))
    }));
    let stow = Stow::new(1 << 20, 1, Duration::from_secs(10));
    let r = stow.serve(&intake, &OrgId::parse("st-mary").unwrap(), None, &headers(RELATED), body).await;
    assert_eq!(r.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let read = read.load(Ordering::Relaxed);
    assert!(read < 128 << 10, "{read}");
}

/// However the body is cut on its way, and however many short instances are in one piece of it.
#[tokio::test]
async fn pieces_of_any_length_are_read() {
    let (ecg, pdf) = files();
    let mut body = [b"a preamble\r\n".to_vec(), multipart(&[&ecg, &pdf, b"none", b"none\r", b"none\r\n"])].concat();
    body.extend_from_slice(b"an epilogue");
    let stow = Stow::new(1 << 20, 1, Duration::from_secs(10));
    for length in [61, 4_096, body.len()] {
        let intake = InMemory::default();
        let pieces: Vec<_> = body.chunks(length).map(|p| Ok::<_, io::Error>(Bytes::copy_from_slice(p))).collect();
        let org = OrgId::parse("st-mary").unwrap();
        let sent = Body::from_stream(futures::stream::iter(pieces));
        let r = stow.serve(&intake, &org, None, &headers(RELATED), sent).await;
        assert_eq!((r.status(), intake.taken.lock().unwrap().len()), (StatusCode::ACCEPTED, 2), "{length}");
    }
}

/// A request whose sender stops after these bytes, and stays.
fn silent(after: Vec<u8>) -> Body {
    let begun = futures::stream::iter([Ok::<_, io::Error>(Bytes::from(after))]);
    Body::from_stream(begun.chain(futures::stream::pending()))
}

#[tokio::test]
async fn a_slow_sender_keeps_nobody_elses_out() {
    let (ecg, _) = files();
    let stow = Arc::new(Stow::new(1 << 20, 1, Duration::from_secs(600)));
    let intake = Arc::new(InMemory::default());
    let [mary, other] = ["st-mary", "uni-clinic"].map(|o| OrgId::parse(o).unwrap());
    let slow = {
        let (stow, intake, mary, begun) = (Arc::clone(&stow), Arc::clone(&intake), mary.clone(), multipart(&[&ecg]));
        let body = silent(begun[..begun.len() / 2].to_vec());
        tokio::spawn(async move { stow.serve(&*intake, &mary, None, &headers(RELATED), body).await })
    };
    while stow.budget.held() == 0 {
        tokio::task::yield_now().await;
    }
    let send =
        async |org: &OrgId| stow.serve(&*intake, org, None, &headers(RELATED), Body::from(multipart(&[&ecg]))).await;
    let refused = send(&mary).await;
    assert_eq!((refused.status().as_u16(), refused.headers().contains_key(header::RETRY_AFTER)), (503, true));
    assert_eq!(send(&other).await.status(), StatusCode::OK);
    slow.abort();
    assert!(slow.await.unwrap_err().is_cancelled());
    assert_eq!((send(&mary).await.status(), stow.budget.held()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn as_many_slow_senders_as_are_held_leave_room_for_another_organization() {
    const LENGTH: usize = (1 << 20) - 1_000;
    let (ecg, _) = files();
    let stow = Arc::new(Stow::new(1 << 20, HELD, Duration::from_secs(600)));
    let intake = Arc::new(InMemory::default());
    let [mary, other] = ["st-mary", "uni-clinic"].map(|o| OrgId::parse(o).unwrap());
    let mut slow = Vec::new();
    for n in 1..=HELD {
        let (own, intake, mary) = (Arc::clone(&stow), Arc::clone(&intake), mary.clone());
        let begun = multipart(&[&vec![0; LENGTH]]);
        let body = silent(begun[..begun.len() - 20].to_vec());
        let sent = tokio::spawn(async move { own.serve(&*intake, &mary, None, &headers(RELATED), body).await });
        // The reader of parts keeps back what may be the beginning of a boundary.
        while !sent.is_finished() && stow.budget.held() < n * (LENGTH - 100) {
            tokio::task::yield_now().await;
        }
        slow.push(sent);
    }
    assert_eq!(slow.pop().unwrap().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    let sent = Body::from(multipart(&[&ecg]));
    assert_eq!(stow.serve(&*intake, &other, None, &headers(RELATED), sent).await.status(), StatusCode::OK);
    slow.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn one_that_trickles_is_given_up_though_it_is_never_silent() {
    let (ecg, _) = files();
    let stow = Stow::new(1 << 20, 1, Duration::from_millis(300));
    let pieces = multipart(&[&ecg]).into_iter().map(|byte| Bytes::from(vec![byte])).collect::<Vec<_>>();
    // The headers of the part at once, and then a byte now and then.
    let trickle = futures::stream::iter(pieces.into_iter().enumerate()).then(|(n, piece)| async move {
        if n > 100 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok::<_, io::Error>(piece)
    });
    let (intake, org) = (InMemory::default(), OrgId::parse("st-mary").unwrap());
    let headers = headers(RELATED);
    let served = stow.serve(&intake, &org, None, &headers, Body::from_stream(trickle));
    let r = tokio::time::timeout(Duration::from_secs(10), served).await.expect("an answer");
    assert_eq!((r.status(), stow.budget.held()), (StatusCode::REQUEST_TIMEOUT, 0));
}

#[tokio::test]
async fn silence_ends_a_request_and_what_is_held_is_bounded() {
    let (ecg, _) = files();
    let (intake, org) = (InMemory::default(), OrgId::parse("st-mary").unwrap());
    let other = OrgId::parse("uni-clinic").unwrap();
    let whole = multipart(&[&ecg]);
    let stow = Stow::new(1 << 20, 1, Duration::from_millis(50));
    let body = silent(whole[..whole.len() / 2].to_vec());
    let r = stow.serve(&intake, &org, None, &headers(RELATED), body).await;
    assert_eq!(r.status(), StatusCode::REQUEST_TIMEOUT);
    let text = axum::body::to_bytes(r.into_body(), 1 << 10).await.unwrap();
    assert!(text.starts_with(b"dicom.peer_broke_off: "), "{text:?}");
    let mut full = Hold::new(&stow.budget, &other);
    assert!(full.more((HELD - 1) << 20));
    let mut rest = Hold::new(&stow.budget, &OrgId::parse("kings-road").unwrap());
    assert!(rest.more(1 << 20));
    let r = stow.serve(&intake, &org, None, &headers(RELATED), Body::from(whole.clone())).await;
    assert_eq!(r.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop((full, rest));
    let r = stow.serve(&intake, &org, None, &headers(RELATED), Body::from(whole)).await;
    assert_eq!(r.status(), StatusCode::OK);
    assert_eq!(intake.taken.lock().unwrap().len(), 1);
}

#[test]
fn json_is_what_there_is() {
    let mut h = HeaderMap::new();
    assert!(acceptable(&h));
    h.insert(header::ACCEPT, HeaderValue::from_static("application/dicom+xml"));
    assert!(!acceptable(&h));
    h.insert(header::ACCEPT, HeaderValue::from_static("application/dicom+xml, application/dicom+json;q=0.9"));
    assert!(acceptable(&h));
}
