//! The other side of an association: a device that stores one object.

use super::command::{self, C_STORE_RQ};
use super::negotiate::MAX_PDU;
use super::uids::{APPLICATION_CONTEXT, IMPLEMENTATION_CLASS, IMPLEMENTATION_NAME};
use super::wire::{Next, Wire};
use super::{part10, store};
use bytes::Bytes;
use dicom_ul::Pdu;
use dicom_ul::pdu::{
    AssociationRQ, MINIMUM_PDU_SIZE, PDataValue, PDataValueType, PresentationContextProposed,
    PresentationContextResultReason, UserVariableItem,
};
use leadline_domain::Digest;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// For each word of the peer.
const WAIT: Duration = Duration::from_secs(30);
const CONTEXT: u8 = 1;
/// Length, context and control byte of a presentation data value (PS3.8 9.3.5).
const AROUND: u32 = 6;

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Status 0000; the file that it becomes has this digest.
    Stored(Digest),
    /// Refused, with what was said.
    Refused(String),
    /// The connection broke, or nothing was said in time.
    Unanswered(String),
}

/// Stores a file's object; `titles`: calling and called.
pub(crate) async fn store<S>(stream: S, [calling, called]: [&str; 2], file: &Bytes) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let Some(meta) = part10::read(file) else { return Outcome::Refused("it is no DICOM file".into()) };
    let data = &file[meta.data..];
    let mut wire = Wire::new(stream, MAX_PDU);
    let silent = || Outcome::Unanswered("the association broke off".into());
    if !wire.send(&Pdu::AssociationRQ(request(calling, called, &meta)), WAIT).await {
        return silent();
    }
    let longest = match wire.next(WAIT).await {
        Next::Pdu(Pdu::AssociationAC(ac)) => {
            let ours = ac.presentation_contexts.iter().find(|c| c.id == CONTEXT);
            if !ours.is_some_and(|c| matches!(c.reason, PresentationContextResultReason::Acceptance)) {
                return Outcome::Refused("the association was accepted without this kind of object".into());
            }
            let said = ac.user_variables.iter().find_map(|v| match v {
                UserVariableItem::MaxLength(n) if *n > 0 => Some(*n),
                _ => None,
            });
            said.unwrap_or(MAX_PDU).clamp(MINIMUM_PDU_SIZE, MAX_PDU)
        }
        Next::Pdu(Pdu::AssociationRJ(rj)) => {
            return Outcome::Refused(format!("the association was rejected: {:?}", rj.source));
        }
        _ => return silent(),
    };
    let command = command::request(C_STORE_RQ, 1, &meta.class, &meta.instance);
    let mut pieces = vec![piece(PDataValueType::Command, true, &command)];
    let chunks: Vec<&[u8]> = data.chunks((longest - AROUND) as usize).collect();
    pieces.extend(chunks.iter().enumerate().map(|(n, c)| piece(PDataValueType::Data, n + 1 == chunks.len(), c)));
    for pdu in &pieces {
        if !wire.send(pdu, WAIT).await {
            return silent();
        }
    }
    let status = match wire.next(WAIT).await {
        Next::Pdu(Pdu::PData { data }) => data.first().and_then(|v| command::status(&v.data)),
        _ => return silent(),
    };
    if wire.send(&Pdu::ReleaseRQ, WAIT).await {
        let _ = wire.next(WAIT).await;
    }
    match status {
        Some(store::status::SUCCESS) => {
            let whole = [part10::header(&meta.class, &meta.instance, &meta.syntax).as_slice(), data].concat();
            Outcome::Stored(Digest::of(&whole))
        }
        Some(store::status::OUT_OF_RESOURCES) => Outcome::Unanswered("the object was answered A700".into()),
        Some(status) => Outcome::Refused(format!("the object was answered {status:04X}")),
        None => Outcome::Refused("the answer has no status".into()),
    }
}

fn request(calling: &str, called: &str, meta: &part10::Meta) -> AssociationRQ {
    AssociationRQ {
        protocol_version: 1,
        calling_ae_title: calling.into(),
        called_ae_title: called.into(),
        application_context_name: APPLICATION_CONTEXT.into(),
        presentation_contexts: vec![PresentationContextProposed {
            id: CONTEXT,
            abstract_syntax: meta.class.clone(),
            transfer_syntaxes: vec![meta.syntax.clone()],
        }],
        user_variables: vec![
            UserVariableItem::MaxLength(MAX_PDU),
            UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS.to_owned()),
            UserVariableItem::ImplementationVersionName(IMPLEMENTATION_NAME.to_owned()),
        ],
    }
}

fn piece(value_type: PDataValueType, is_last: bool, data: &[u8]) -> Pdu {
    let data = data.to_vec();
    Pdu::PData { data: vec![PDataValue { presentation_context_id: CONTEXT, value_type, is_last, data }] }
}
