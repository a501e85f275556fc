//! One association, from its request to its end (PS3.8 9.2). A thin shell: what is decided is decided in
//! [`super::negotiate`], [`super::exchange`] and [`super::store`].

use super::config::{DicomLimits, Titles};
use super::exchange::{Budget, Exchange, Step, Store};
use super::negotiate::{self, Agreed, MAX_PDU};
use super::store::{self, status};
use super::{command, wire};
use crate::intake::Intake;
use crate::pace::allowance;
use crate::seats::Seats;
use dicom_ul::Pdu;
use dicom_ul::pdu::{AbortRQServiceProviderReason as Abort, AbortRQSource, PDataValue, PDataValueType};
use leadline_activities::metrics::METRICS;
use leadline_domain::{FaultCode, OrgId};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use wire::{Next, Wire};

/// PS3.8 9.1.5: ARTIM, how long a connection may be without an association.
const ARTIM: Duration = Duration::from_secs(10);

/// What a peer sent is none of what the protocol has there.
const UNREADABLE: Option<FaultCode> = Some(FaultCode::DicomUnreadable);

/// What all associations share.
pub(crate) struct Shared {
    pub(crate) limits: DicomLimits,
    pub(crate) budget: Arc<Budget>,
    pub(crate) intake: Arc<dyn Intake>,
    /// Associations that there may still be.
    pub(crate) places: Arc<Semaphore>,
    /// And those among them of each organization.
    pub(crate) seats: Seats,
}

/// How an association ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Released, or closed between messages.
    Done,
    /// Refused at its request.
    Refused,
    /// The peer aborted or was gone in the middle of a message.
    BrokenOff,
    /// We aborted it: there was no end of a message, or something that is none.
    Aborted(Option<FaultCode>),
}

impl End {
    /// What is counted.
    fn fault(&self) -> Option<FaultCode> {
        match self {
            Self::BrokenOff => Some(FaultCode::DicomPeerBrokeOff),
            Self::Aborted(code) => *code,
            Self::Done | Self::Refused => None,
        }
    }
}

/// A place among all associations and among an organization's own; given back when dropped.
struct Seat {
    _place: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl Seat {
    fn take(shared: &Shared, org: &OrgId) -> Option<Self> {
        let place = Arc::clone(&shared.places).try_acquire_owned().ok()?;
        Some(Self { _place: place, _own: shared.seats.take(org)? })
    }
}

/// Serves a connection until it ends. `certificate`: what the peer came with, SHA-256 (DER); `None` without TLS. `unknown`
/// is its place until it has said who it is.
pub(crate) async fn run<S: AsyncRead + AsyncWrite + Unpin + Send>(
    stream: S,
    shared: &Shared,
    titles: &Titles,
    certificate: Option<[u8; 32]>,
    unknown: OwnedSemaphorePermit,
    mut stop: watch::Receiver<bool>,
) -> End {
    let end = until_its_end(stream, shared, titles, certificate, unknown, &mut stop).await;
    if let Some(code) = end.fault() {
        METRICS.fault(code);
    }
    end
}

async fn until_its_end<S: AsyncRead + AsyncWrite + Unpin + Send>(
    stream: S,
    shared: &Shared,
    titles: &Titles,
    certificate: Option<[u8; 32]>,
    unknown: OwnedSemaphorePermit,
    stop: &mut watch::Receiver<bool>,
) -> End {
    let idle = shared.limits.idle;
    let mut wire = Wire::new(stream, MAX_PDU);
    let rq = match wire.next(idle.min(ARTIM)).await {
        Next::Pdu(Pdu::AssociationRQ(rq)) => rq,
        Next::Pdu(Pdu::AbortRQ { .. }) | Next::Closed => return End::Done,
        Next::Pdu(_) => return abort(&mut wire, Abort::UnexpectedPdu, UNREADABLE, "no association request").await,
        Next::Silent => {
            return abort(&mut wire, Abort::ReasonNotSpecified, None, "no association request in time").await;
        }
        Next::Bad(reason) => return abort(&mut wire, reason, UNREADABLE, "not DICOM").await,
    };
    let (agreed, ac) = match negotiate::negotiate(&rq, titles, certificate.as_ref()) {
        Ok(agreed) => agreed,
        Err((rj, fault)) => {
            match fault {
                Some(fault) => {
                    METRICS.fault(fault.code);
                    tracing::warn!(%fault, "DICOM association refused");
                }
                None => tracing::info!(why = %rj.source, "DICOM association refused"),
            }
            wire.last(&Pdu::AssociationRJ(rj)).await;
            return End::Refused;
        }
    };
    let Some(_seat) = Seat::take(shared, &agreed.org) else {
        tracing::info!(org = %agreed.org, "DICOM association refused: there are too many, or the organization has");
        wire.last(&Pdu::AssociationRJ(negotiate::too_many())).await;
        return End::Refused;
    };
    drop(unknown);
    if !wire.send(&Pdu::AssociationAC(ac), idle).await {
        return End::BrokenOff;
    }
    let mut exchange = Exchange::new(&agreed, shared.limits.object_bytes, Arc::clone(&shared.budget));
    let mut begun = None;
    loop {
        let next = if exchange.between() {
            tokio::select! {
                next = wire.next(idle) => Some(next),
                () = stopped(stop) => None,
            }
        } else {
            // What is held while it comes must come at a pace: a peer that is never silent may still never end.
            let since = begun.get_or_insert_with(Instant::now).elapsed();
            let left = allowance(idle, exchange.pending()).saturating_sub(since);
            Some(wire.next(idle.min(left)).await)
        };
        let Some(next) = next else {
            return abort(&mut wire, Abort::ReasonNotSpecified, None, "shutting down").await;
        };
        match next {
            Next::Pdu(Pdu::PData { data }) => {
                if let Some(end) = fragments(&mut wire, &mut exchange, shared, &agreed, &mut begun, data).await {
                    return end;
                }
            }
            Next::Pdu(Pdu::ReleaseRQ) if exchange.between() => {
                wire.last(&Pdu::ReleaseRP).await;
                return End::Done;
            }
            Next::Pdu(Pdu::AbortRQ { .. }) | Next::Closed => {
                return if exchange.between() { End::Done } else { End::BrokenOff };
            }
            Next::Pdu(_) => return abort(&mut wire, Abort::UnexpectedPdu, UNREADABLE, "a PDU out of turn").await,
            Next::Silent => {
                // Between messages it is a peer that keeps its association open, and may.
                let code = (!exchange.between()).then_some(FaultCode::DicomPeerBrokeOff);
                return abort(&mut wire, Abort::ReasonNotSpecified, code, "silent or slow for too long").await;
            }
            Next::Bad(reason) => return abort(&mut wire, reason, UNREADABLE, "not DICOM").await,
        }
    }
}

/// When it is time to stop, or nobody is there any more who could say so.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|s| *s).await;
}

async fn fragments<S: AsyncRead + AsyncWrite + Unpin + Send>(
    wire: &mut Wire<S>,
    exchange: &mut Exchange,
    shared: &Shared,
    agreed: &Agreed,
    begun: &mut Option<Instant>,
    all: Vec<PDataValue>,
) -> Option<End> {
    for pdv in all {
        let (context, answer) = match exchange.push(pdv) {
            Step::More => continue,
            Step::Abort(reason) => return Some(abort(wire, reason, UNREADABLE, "breach of the protocol").await),
            Step::Answer(context, answer, refused) => {
                if let Some(why) = refused {
                    why.count(&agreed.org);
                }
                (context, answer)
            }
            Step::Store(s) => (s.context, keep(*s, shared, &agreed.org).await),
        };
        let pdv = PDataValue {
            presentation_context_id: context,
            value_type: PDataValueType::Command,
            is_last: true,
            data: answer,
        };
        // The next message begins after the answer, however long that took.
        *begun = None;
        if !wire.send(&Pdu::PData { data: vec![pdv] }, shared.limits.idle).await {
            return Some(End::BrokenOff);
        }
    }
    None
}

/// Keeps an object and gives the answer.
async fn keep(s: Store, shared: &Shared, org: &OrgId) -> Vec<u8> {
    let Store { request, announced, file, data, hold, .. } = s;
    let kept = store::keep(&*shared.intake, org, announced, file, data).await;
    drop(hold);
    match kept {
        Ok(digest) => {
            tracing::debug!(%org, %digest, "DICOM object taken in");
            command::response(&request, status::SUCCESS, "")
        }
        Err(why) => {
            why.count(org);
            command::response(&request, why.status, &why.comment)
        }
    }
}

async fn abort<S: AsyncRead + AsyncWrite + Unpin + Send>(
    wire: &mut Wire<S>,
    why: Abort,
    code: Option<FaultCode>,
    say: &str,
) -> End {
    tracing::info!(why = say, code = code.map(FaultCode::as_str), "DICOM association aborted");
    wire.last(&Pdu::AbortRQ { source: AbortRQSource::ServiceProvider(why) }).await;
    End::Aborted(code)
}
