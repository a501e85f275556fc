//! One connection: frames in, answers out, one after the other.

use super::limits::{LARGE, Limits, Place, Places};
use crate::hl7::Receiver;
use crate::pace::allowance;
use leadline_activities::metrics::METRICS;
use leadline_domain::{Fault, FaultCode, OrgId};
use leadline_ehr::hl7::ack::Answer;
use leadline_ehr::mllp::{Event, Framer, frame};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep, timeout};

/// Read at a time.
const BLOCK: usize = 64 << 10;

/// What connections share.
pub(super) struct Shared {
    pub(super) receiver: Arc<Receiver>,
    pub(super) places: Places,
    pub(super) limits: Limits,
}

/// Why a connection ends.
enum End {
    /// Its sender closed it, or it was at rest when the server stopped.
    Quiet,
    /// Its sender was too slow, or sends what is no MLLP.
    Fault(Fault),
}

/// Serves a connection to its end.
pub(super) async fn hold<S>(mut stream: S, org: OrgId, shared: Arc<Shared>, stopped: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let Some(place) = shared.places.connection(&org) else {
        METRICS.fault(FaultCode::Hl7SenderStalled);
        tracing::warn!(%org, "HL7 v2 connection refused: too many are open");
        return;
    };
    if let End::Fault(fault) = converse(&mut stream, &org, &shared, &place, stopped).await {
        METRICS.fault(fault.code);
        tracing::warn!(%org, code = %fault.code, detail = %fault.detail, "HL7 v2 connection closed");
    }
    let _ = timeout(Duration::from_secs(1), stream.shutdown()).await;
}

/// A message on its way.
struct Begun {
    since: Instant,
    large: Option<OwnedSemaphorePermit>,
}

async fn converse<S>(
    stream: &mut S,
    org: &OrgId,
    shared: &Shared,
    place: &Place,
    mut stopped: watch::Receiver<bool>,
) -> End
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let limits = &shared.limits;
    let mut framer = Framer::new(limits.message_bytes);
    let mut block = vec![0; BLOCK];
    let mut begun: Option<Begun> = None;
    let mut framed = false;
    loop {
        let read = match &begun {
            // Between messages a connection may rest for as long as it likes: it holds one place, and no memory to speak of.
            None => tokio::select! {
                biased;
                read = stream.read(&mut block) => Some(read),
                _ = stopped.wait_for(|stop| *stop) => return End::Quiet,
                () = sleep(limits.idle), if !framed && framer.junk() > 0 => None,
            },
            Some(begun) => {
                let left = allowance(limits.idle, framer.pending()).saturating_sub(begun.since.elapsed());
                match timeout(left.min(limits.idle), stream.read(&mut block)).await {
                    Ok(read) => Some(read),
                    Err(_) => {
                        let why =
                            format!("{} bytes of a message came, and then nothing or too little", framer.pending());
                        return End::Fault(Fault::new(FaultCode::Hl7SenderStalled, why));
                    }
                }
            }
        };
        // A sender that does not frame its messages waits for an answer that would never come.
        let Some(read) = read else {
            let why = "what comes is not framed: <VT> message <FS> <CR>";
            let answer = shared.receiver.refuse(org, b"", &Fault::new(FaultCode::Hl7Unreadable, why));
            say(stream, answer, limits.idle).await;
            return End::Quiet;
        };
        let mut bytes = match read {
            // A message that is not closed is discarded without a word: its sender sends it again.
            Ok(0) | Err(_) => return End::Quiet,
            Ok(n) => &block[..n],
        };
        while let Some(event) = framer.next(&mut bytes) {
            let answer = match event {
                Event::Frame(message) => shared.receiver.receive(org, message.into()).await,
                Event::TooLong(head) => {
                    let why = format!("it is longer than {} bytes", limits.message_bytes);
                    shared.receiver.refuse(org, &head, &Fault::new(FaultCode::Hl7TooLong, why))
                }
                Event::Hopeless => {
                    let why = "what comes is no MLLP, or a message without an end";
                    return End::Fault(Fault::new(FaultCode::Hl7Unreadable, why));
                }
            };
            (begun, framed) = (None, true);
            if !say(stream, answer, limits.idle).await {
                return End::Fault(Fault::new(FaultCode::Hl7SenderStalled, "it does not read its answer"));
            }
        }
        if !framer.in_message() {
            begun = None;
            continue;
        }
        let message = begun.get_or_insert_with(|| Begun { since: Instant::now(), large: None });
        if framer.pending() > LARGE && message.large.is_none() {
            // The wait for one's own other messages is not the sender's slowness.
            let waited = Instant::now();
            message.large = place.large().await;
            message.since += waited.elapsed();
        }
    }
}

/// Sends what there is to say. False if the sender does not take it.
async fn say<S: AsyncWrite + Unpin>(stream: &mut S, answer: Answer, patience: Duration) -> bool {
    let wire: Vec<u8> = [answer.accept, answer.application].into_iter().flatten().flat_map(|m| frame(&m)).collect();
    if wire.is_empty() {
        return true;
    }
    let write = async {
        stream.write_all(&wire).await?;
        stream.flush().await
    };
    matches!(timeout(patience, write).await, Ok(Ok(())))
}
