//! What is done with an HL7 v2 message: read, kept, its documents taken in, and only then answered.

mod reused;

pub use reused::Operators;

use crate::intake::{Content, Intake, Kept, Received};
use crate::pointers::Pointers;
use crate::seats::Seats;
use bytes::Bytes;
use leadline_activities::metrics::METRICS;
use leadline_domain::staged::{Ingress, StagedName};
use leadline_domain::{Fault, FaultCode, OrgId};
use leadline_ehr::attachment;
use leadline_ehr::hl7::ack::{self, Answer, Stamp};
use leadline_ehr::hl7::er7::Message;
use leadline_ehr::hl7::{Document, Header, Pointer, Refused, accepts, documents, encoded};
use reused::Reused;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Messages up to this length are read where they are; longer ones would hold up other connections of the thread.
const INLINE: usize = 32 << 10;

/// Pointers of one organization that are followed at a time: a short message can lead to the longest document, and that
/// is held in memory until it is taken in.
const FOLLOWED_AT_A_TIME: usize = 4;

/// What is set for an organization's senders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Senders {
    /// Processing ids (MSH-11.1) that are taken: `P`, and `T` or `D` where training and debugging messages are wanted.
    pub processing_ids: BTreeSet<String>,
    /// Hosts that pointers may name.
    pub pointer_hosts: BTreeSet<String>,
}

impl Default for Senders {
    fn default() -> Self {
        Self { processing_ids: BTreeSet::from(["P".to_owned()]), pointer_hosts: BTreeSet::new() }
    }
}

/// Takes messages.
pub struct Receiver {
    intake: Arc<dyn Intake>,
    pointers: Arc<dyn Pointers>,
    senders: BTreeMap<OrgId, Senders>,
    /// Longest document behind a pointer, bytes.
    limit: usize,
    followed: Seats,
    answers: AtomicU32,
    reused: Reused,
}

/// A message as far as it can be read without asking anybody.
struct Read {
    header: Header,
    refused: Option<Refused>,
    /// What is wrong with the message as a whole, or its documents. Those in it are decoded and looked at.
    documents: Result<Vec<Result<Document, Fault>>, Fault>,
}

fn read(raw: &[u8], modes: &BTreeSet<String>) -> Result<Read, Fault> {
    let message = Message::parse(raw)?;
    let header = Header::read(&message);
    if let Err(refused) = accepts(&header, modes).and_then(|()| encoded(&header, raw)) {
        return Ok(Read { header, refused: Some(refused), documents: Ok(Vec::new()) });
    }
    let documents = documents(&message).map(|all| {
        let whole = |document: Document| match &document {
            Document::Data(bytes) => attachment::whole(bytes).map(|_| document),
            Document::Pointer(_) => Ok(document),
        };
        all.into_iter().map(|d| d.and_then(whole)).collect()
    });
    Ok(Read { header, refused: None, documents })
}

/// Where what a message brings is staged: by its sender and its control id.
pub(crate) fn document(org: &OrgId, [application, facility]: [&str; 2], id: &str, last: &str) -> StagedName {
    StagedName::derived(Ingress::Hl7v2, &[org.as_str(), application, facility, id, last])
}

impl Receiver {
    /// For these organizations.
    #[must_use]
    pub fn new(
        intake: Arc<dyn Intake>,
        pointers: Arc<dyn Pointers>,
        senders: BTreeMap<OrgId, Senders>,
        limit: usize,
    ) -> Self {
        let (followed, answers) = (Seats::new(FOLLOWED_AT_A_TIME), AtomicU32::new(0));
        Self { intake, pointers, senders, limit, followed, answers, reused: Reused::default() }
    }

    /// And tells these people of control ids that are used twice.
    #[must_use]
    pub fn telling(self, operators: Arc<dyn Operators>) -> Self {
        Self { reused: Reused::told_to(operators), ..self }
    }

    /// Takes a message, and says what its sender is to hear: nothing good before everything is durable.
    pub async fn receive(&self, org: &OrgId, raw: Bytes) -> Answer {
        let Some(senders) = self.senders.get(org).cloned() else {
            let fault = Fault::new(FaultCode::ConfigUnknownOrg, "HL7 v2 is not configured for this organization");
            return self.refuse(org, &raw, &fault);
        };
        let found = if raw.len() <= INLINE {
            read(&raw, &senders.processing_ids)
        } else {
            let (raw, modes) = (raw.clone(), senders.processing_ids.clone());
            let task = tokio::task::spawn_blocking(move || read(&raw, &modes));
            task.await.unwrap_or_else(|_| Err(Fault::new(FaultCode::BugInvariant, "the reader of messages panicked")))
        };
        let Read { header, refused, documents } = match found {
            Ok(read) => read,
            Err(fault) => return self.refuse(org, &raw, &fault),
        };
        let result = match refused {
            Some((fault, number)) => ack::Result::Refused(fault, number),
            None => match self.take(org, &header, &senders, raw, documents).await {
                Ok(()) => ack::Result::Taken,
                Err(fault) => ack::Result::Wrong(fault),
            },
        };
        if let ack::Result::Wrong(fault) | ack::Result::Refused(fault, _) = &result {
            tell(org, fault);
        }
        self.stamped(|stamp| ack::answer(&header, &result, stamp))
    }

    /// What the sender of something that is no message, or too long a one, is to hear. `head` is where it begins.
    pub fn refuse(&self, org: &OrgId, head: &[u8], fault: &Fault) -> Answer {
        tell(org, fault);
        let told = ack::Result::Refused(fault.clone(), 207);
        self.stamped(|stamp| match Header::peek(head) {
            Ok(header) => ack::answer(&header, &told, stamp),
            Err(_) => Answer { accept: None, application: Some(ack::unaddressed(fault, stamp)) },
        })
    }

    async fn take(
        &self,
        org: &OrgId,
        header: &Header,
        senders: &Senders,
        raw: Bytes,
        documents: Result<Vec<Result<Document, Fault>>, Fault>,
    ) -> Result<(), Fault> {
        let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
        let (application, facility) = (text(&header.parties[0]), text(&header.parties[1]));
        let id = text(&header.control_id);
        let name = |last: &str| document(org, [&application, &facility], &id, last);
        let message = name("message");
        let kept = self.intake.keep(org, Ingress::Hl7v2, &message, raw).await?;
        if kept == Kept::Other {
            let sender = StagedName::derived(Ingress::Hl7v2, &[org.as_str(), &application, &facility]);
            self.reused.found(org, sender, &message);
            let why = "MSH-10: this sender has used this control id for another message";
            return Err(Fault::new(FaultCode::Hl7ControlIdReused, why));
        }
        let mut wrong = None;
        for (index, document) in documents?.into_iter().enumerate() {
            let name = name(&index.to_string());
            // Of a repeat too: what was taken makes no new work, and what a crash left undone is done now.
            let mut seat = None;
            let content = match document {
                Ok(Document::Data(bytes)) => Ok(Bytes::from(bytes)),
                // What was taken once need not be there any more.
                Ok(Document::Pointer(_))
                    if kept == Kept::Same && self.intake.known(org, Ingress::Hl7v2, &name).await? =>
                {
                    continue;
                }
                Ok(Document::Pointer(text)) => {
                    seat = self.followed.wait(org).await;
                    self.follow(org, &text, senders).await
                }
                Err(fault) => Err(fault),
            };
            match content {
                Ok(content) => {
                    let content = Content::Bytes(content);
                    let received =
                        Received { org: org.clone(), ingress: Ingress::Hl7v2, name, content, declared: None };
                    self.intake.take(received).await?;
                }
                Err(fault) if ack::passes(&fault) => return Err(fault),
                // The others are taken all the same: nothing that is good waits for what is not.
                Err(fault) => {
                    let detail = format!("attachment {}: {}", index + 1, fault.detail);
                    wrong = wrong.or(Some(Fault { detail, ..fault }));
                }
            }
            drop(seat);
        }
        tracing::info!(%org, message = %message, repeat = kept == Kept::Same, "HL7 v2 message taken");
        wrong.map_or(Ok(()), Err)
    }

    async fn follow(&self, org: &OrgId, text: &str, senders: &Senders) -> Result<Bytes, Fault> {
        let pointer = Pointer::read(text, &senders.pointer_hosts)?;
        let content = self.pointers.fetch(org, &pointer, &senders.pointer_hosts, self.limit).await?;
        attachment::whole(&content)?;
        Ok(content)
    }

    /// MSH-10 has 20 characters at most in these versions: 11 of time, 7 of a counter, 2 for a second answer.
    fn stamped<T>(&self, make: impl FnOnce(Stamp<'_>) -> T) -> T {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or_default();
        let time = chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        let turn = self.answers.fetch_add(1, Ordering::Relaxed) & 0x0FFF_FFFF;
        let id = format!("{:011x}{turn:07x}", since.as_millis());
        make(Stamp { time: &time.format("%Y%m%d%H%M%S+0000").to_string(), id: &id })
    }
}

/// Counts a fault and logs it.
fn tell(org: &OrgId, fault: &Fault) {
    METRICS.fault(fault.code);
    tracing::warn!(%org, code = %fault.code, detail = %fault.detail, "HL7 v2 message not taken");
}

#[cfg(test)]
mod tests;
