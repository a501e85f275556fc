use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Serves one answer to every request, and hands out its port.
async fn serve(answer: impl Into<Vec<u8>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, answer) = (listener.local_addr().unwrap().port(), answer.into());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(&answer).await;
        }
    });
    port
}

async fn fetch(url: &str, limit: usize) -> Result<Bytes, Fault> {
    let hosts = BTreeSet::from(["127.0.0.1".to_owned()]);
    let web = Web::trusting(RootCertStore::empty(), Duration::from_secs(5));
    web.fetch(&OrgId::parse("north").unwrap(), &Pointer::read(url, &hosts)?, &hosts, limit).await
}

#[tokio::test]
async fn a_document_is_fetched_and_bounded() {
    let port = serve("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(fetch(&format!("http://127.0.0.1:{port}/a"), 5).await.unwrap(), "hello");
    assert_eq!(fetch(&format!("http://127.0.0.1:{port}/a"), 4).await.unwrap_err().code, FaultCode::PointerRefused);
}

#[tokio::test]
async fn redirects_stay_on_the_list() {
    let end = serve("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let hop =
        serve(format!("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{end}/\r\nContent-Length: 0\r\n\r\n")).await;
    assert_eq!(fetch(&format!("http://127.0.0.1:{hop}/"), 9).await.unwrap(), "ok");
    for to in ["https://evil.example.org/", "//evil.example.org/", "file://nas/x/y"] {
        let hop = serve(format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")).await;
        let fault = fetch(&format!("http://127.0.0.1:{hop}/"), 9).await.unwrap_err();
        assert_eq!(fault.code, FaultCode::PointerRefused, "{to}");
    }
    let round = serve("HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(fetch(&format!("http://127.0.0.1:{round}/"), 9).await.unwrap_err().code, FaultCode::PointerRefused);
}

#[tokio::test]
async fn what_passes_is_told_apart_from_what_is_refused() {
    let port = serve("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(fetch(&format!("http://127.0.0.1:{port}/"), 9).await.unwrap_err().code, FaultCode::PointerUnreachable);
    let cut = serve("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello").await;
    assert_eq!(fetch(&format!("http://127.0.0.1:{cut}/"), 99).await.unwrap_err().code, FaultCode::PointerUnreachable);
    assert_eq!(fetch("http://127.0.0.1:1/", 9).await.unwrap_err().code, FaultCode::PointerUnreachable);
}

#[test]
fn names_do_not_lead_to_this_machine() {
    for no in ["127.0.0.1", "169.254.169.254", "0.0.0.0", "::1", "fe80::1", "::ffff:127.0.0.1", "224.0.0.1"] {
        assert!(!ordinary(no.parse().unwrap()), "{no}");
    }
    for yes in ["10.1.2.3", "192.168.1.1", "93.184.216.34", "fd00::1"] {
        assert!(ordinary(yes.parse().unwrap()), "{yes}");
    }
}
