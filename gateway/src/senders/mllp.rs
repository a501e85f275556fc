//! One HL7 v2 message over MLLP, until its acknowledgement.

use super::No;
use super::credentials::{Credentials, connect, connect_tls};
use leadline_ehr::hl7::er7::Message;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// An acknowledgement is short.
const LONGEST: usize = 64 << 10;

pub(super) async fn send(
    address: &str,
    own: Option<&Credentials>,
    ca_file: Option<&str>,
    message: &[u8],
) -> Result<(), No> {
    match own {
        Some(own) => exchange(connect_tls(address, own, ca_file).await?, message).await,
        None => exchange(connect(address).await?, message).await,
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, message: &[u8]) -> Result<(), No> {
    let broke = |_| No::Unanswered("the connection broke before the message was answered".into());
    stream.write_all(&[b"\x0b", message, b"\x1c\r"].concat()).await.map_err(broke)?;
    stream.flush().await.map_err(broke)?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\x1c\r") {
        if answer.len() > LONGEST || stream.read_buf(&mut answer).await.map_err(broke)? == 0 {
            return Err(No::Unanswered("the connection ended before the message was answered".into()));
        }
    }
    let text = answer.strip_prefix(b"\x0b").and_then(|a| a.strip_suffix(b"\x1c\r")).unwrap_or_default();
    let code = Message::parse(text).ok().and_then(|m| {
        let msa = m.segments().iter().find(|s| s.name() == b"MSA")?;
        Some(String::from_utf8_lossy(msa.field(1)).into_owned())
    });
    match code.as_deref() {
        Some("AA") => Ok(()),
        Some(code) => Err(No::Refused(format!("it was answered {code}"))),
        None => Err(No::Refused("the answer is no acknowledgement".into())),
    }
}
