//! PDUs on a connection (PS3.8 9.3), bounded in length and time.

use bytes::{Buf, BytesMut};
use dicom_ul::pdu::AbortRQServiceProviderReason as Abort;
use dicom_ul::{Pdu, read_pdu, write_pdu};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Type, reserved, length.
const HEADER: usize = 6;
/// How long a peer has to take the last word.
const LAST_WORD: Duration = Duration::from_secs(2);
/// And how much of what it still sends is read meanwhile, bytes: a connection that is closed with bytes unread is
/// reset, and the peer may lose the last word.
const DRAINED: usize = 1 << 20;

/// What came.
#[derive(Debug)]
pub(crate) enum Next {
    /// A PDU.
    Pdu(Pdu),
    /// The peer closed, or the connection was lost.
    Closed,
    /// No whole PDU came in the time for it.
    Silent,
    /// What came is none; say this.
    Bad(Abort),
}

pub(crate) struct Wire<S> {
    stream: S,
    buffer: BytesMut,
    max: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire<S> {
    /// `max`: longest PDU, bytes without its header.
    pub(crate) fn new(stream: S, max: u32) -> Self {
        Self { stream, buffer: BytesMut::new(), max }
    }

    /// The next PDU, if all of it comes within this time: a peer that sends a byte now and then is silent.
    pub(crate) async fn next(&mut self, within: Duration) -> Next {
        tokio::time::timeout(within, self.read()).await.unwrap_or(Next::Silent)
    }

    async fn read(&mut self) -> Next {
        loop {
            if self.buffer.len() >= HEADER {
                let len = u32::from_be_bytes([self.buffer[2], self.buffer[3], self.buffer[4], self.buffer[5]]);
                if !(1..=7).contains(&self.buffer[0]) {
                    return Next::Bad(Abort::UnrecognizedPdu);
                }
                if len > self.max {
                    return Next::Bad(Abort::InvalidPduParameter);
                }
                if self.buffer.len() - HEADER >= len as usize {
                    let pdu = self.buffer.split_to(HEADER + len as usize);
                    return parse(&pdu, self.max);
                }
                self.buffer.reserve(HEADER + len as usize - self.buffer.len());
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Next::Closed,
                Ok(_) => {}
            }
        }
    }

    /// Sends a PDU; false if the connection is lost.
    pub(crate) async fn send(&mut self, pdu: &Pdu, within: Duration) -> bool {
        let mut bytes = Vec::new();
        if let Err(e) = write_pdu(&mut bytes, pdu) {
            tracing::error!(error = %e, "a DICOM PDU of ours cannot be written");
            return false;
        }
        matches!(tokio::time::timeout(within, self.stream.write_all(&bytes)).await, Ok(Ok(())))
    }

    /// Sends a last PDU and closes.
    pub(crate) async fn last(&mut self, pdu: &Pdu) {
        if !self.send(pdu, LAST_WORD).await {
            return;
        }
        let drained = async {
            let _ = self.stream.shutdown().await;
            let mut left = DRAINED;
            self.buffer.clear();
            while left > 0 {
                match self.stream.read_buf(&mut self.buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(n) => left = left.saturating_sub(n),
                }
                self.buffer.advance(self.buffer.len());
            }
        };
        let _ = tokio::time::timeout(LAST_WORD, drained).await;
    }
}

/// The reader is other people's code over bytes from anywhere: should one make it panic, that is one peer's garbage.
fn parse(pdu: &[u8], max: u32) -> Next {
    match catch_unwind(AssertUnwindSafe(|| read_pdu(pdu, max, true))) {
        Ok(Ok(Some(pdu))) => Next::Pdu(pdu),
        Ok(Ok(None) | Err(_)) | Err(_) => Next::Bad(Abort::InvalidPduParameter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(kind: u8, len: u32) -> Vec<u8> {
        [[kind, 0].as_slice(), &len.to_be_bytes()].concat()
    }

    #[tokio::test]
    async fn length_kind_and_time_are_bounded() {
        let (mut peer, ours) = tokio::io::duplex(1 << 16);
        let mut wire = Wire::new(ours, 4096);
        peer.write_all(&header(4, 4097)).await.unwrap();
        assert!(matches!(wire.next(Duration::from_secs(1)).await, Next::Bad(Abort::InvalidPduParameter)));
        let (mut peer, ours) = tokio::io::duplex(1 << 16);
        let mut wire = Wire::new(ours, 4096);
        peer.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        assert!(matches!(wire.next(Duration::from_secs(1)).await, Next::Bad(Abort::UnrecognizedPdu)));
        let (mut peer, ours) = tokio::io::duplex(1 << 16);
        let mut wire = Wire::new(ours, 4096);
        peer.write_all(&header(4, 100)).await.unwrap();
        assert!(matches!(wire.next(Duration::from_millis(50)).await, Next::Silent));
        drop(peer);
        assert!(matches!(wire.next(Duration::from_secs(1)).await, Next::Closed));
    }

    proptest! {
        #[test]
        fn no_body_of_a_pdu_makes_it_fail(kind in 1u8..8, body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let pdu = [header(kind, u32::try_from(body.len()).unwrap()), body].concat();
            let _ = parse(&pdu, 4096);
        }
    }
}
