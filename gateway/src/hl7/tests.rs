use super::*;
use crate::double::{Memory, bomb};
use async_trait::async_trait;

/// Has one document, at one address.
struct Archive;

#[async_trait]
impl Pointers for Archive {
    async fn fetch(&self, _: &OrgId, pointer: &Pointer, _: &BTreeSet<String>, _: usize) -> Result<Bytes, Fault> {
        match pointer {
            Pointer::Web { path, .. } if path == "/whole" => Ok(Bytes::from_static(b"1,2\n3,4\n")),
            Pointer::Web { path, .. } if path == "/short" => Ok(Bytes::from_static(b"%PDF-1.4\n")),
            _ => Err(Fault::new(FaultCode::PointerUnreachable, "HTTP status 404")),
        }
    }
}

/// Has documents that come when it is told so.
#[derive(Default)]
struct Slow {
    asked: std::sync::Mutex<BTreeMap<OrgId, usize>>,
    go: tokio::sync::Notify,
}

impl Slow {
    fn asked(&self, org: &OrgId) -> usize {
        self.asked.lock().unwrap().get(org).copied().unwrap_or_default()
    }
}

#[async_trait]
impl Pointers for Slow {
    async fn fetch(&self, org: &OrgId, _: &Pointer, _: &BTreeSet<String>, _: usize) -> Result<Bytes, Fault> {
        *self.asked.lock().unwrap().entry(org.clone()).or_default() += 1;
        self.go.notified().await;
        Ok(Bytes::from_static(b"1,2\n3,4\n"))
    }
}

#[tokio::test]
async fn short_messages_that_lead_to_long_documents_are_followed_a_few_at_a_time() {
    let (memory, slow) = (Memory::new(), Arc::new(Slow::default()));
    let senders = Senders { pointer_hosts: BTreeSet::from(["pacs".into()]), ..Senders::default() };
    let [north, south] = [org(), OrgId::parse("south").unwrap()];
    let both = BTreeMap::from([(north.clone(), senders.clone()), (south.clone(), senders)]);
    let receiver = Arc::new(Receiver::new(memory.clone(), slow.clone(), both, 1 << 20));
    let send = |org: &OrgId, id: usize| {
        let raw = message(&id.to_string(), "", "OBX|1|RP|11524-6^EKG^LN||https://pacs/whole||||||F");
        let (receiver, org) = (Arc::clone(&receiver), org.clone());
        tokio::spawn(async move { receiver.receive(&org, raw).await })
    };
    let sent: Vec<_> = (0..=FOLLOWED_AT_A_TIME).map(|id| send(&north, id)).collect();
    let other = send(&south, 0);
    // All of the first have been received by then: tasks run in their order here.
    while slow.asked(&south) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(slow.asked(&north), FOLLOWED_AT_A_TIME);
    while sent.iter().any(|s| !s.is_finished()) || !other.is_finished() {
        slow.go.notify_waiters();
        tokio::task::yield_now().await;
    }
    assert_eq!(memory.contents().len(), FOLLOWED_AT_A_TIME + 2);
}

fn org() -> OrgId {
    OrgId::parse("north").unwrap()
}

fn receiver(memory: &Arc<Memory>) -> Receiver {
    let senders = Senders { pointer_hosts: BTreeSet::from(["pacs".into()]), ..Senders::default() };
    Receiver::new(memory.clone(), Arc::new(Archive), BTreeMap::from([(org(), senders)]), 1 << 20)
}

fn message(id: &str, modes: &str, segments: &str) -> Bytes {
    let text = format!(
        "MSH|^~\\&|CART|WARD|LL|HUB|20260101||ORU^R01^ORU_R01|{id}|P|2.5.1|||{modes}\rPID|||4711||Doe^John\rOBR|1\r{segments}\r"
    );
    Bytes::from(text)
}

const GOOD: &str = "OBX|1|ED|11524-6^EKG^LN||^TEXT^^Base64^MSwyCjMsNAo=||||||F";
/// `%PDF-1.4`
const SHORT: &str = "OBX|2|ED|11524-6^EKG^LN||^PDF^^Base64^JVBERi0xLjQK||||||F";

async fn said(receiver: &Receiver, raw: Bytes) -> String {
    let answer = receiver.receive(&org(), raw).await;
    let text = |a: Option<Vec<u8>>| a.map(|a| String::from_utf8(a).unwrap()).unwrap_or_default();
    format!("{}{}", text(answer.accept), text(answer.application))
}

#[tokio::test]
async fn a_message_is_kept_its_documents_taken_and_then_acknowledged() {
    let memory = Memory::new();
    let raw = message("1", "", GOOD);
    assert!(said(&receiver(&memory), raw.clone()).await.contains("\rMSA|AA|1\r"));
    assert_eq!(memory.contents(), [b"1,2\n3,4\n"]);
    assert_eq!(memory.kept.lock().unwrap().values().next(), Some(&raw));
}

#[tokio::test]
async fn entities_are_not_expanded_whatever_they_would_become() {
    use base64::Engine as _;
    let memory = Memory::new();
    let text = base64::engine::general_purpose::STANDARD.encode(bomb());
    let raw = message("1", "", &format!("OBX|1|ED|11524-6^EKG^LN||^TEXT^^Base64^{text}||||||F"));
    assert!(said(&receiver(&memory), raw).await.contains("MSA|AA|1"));
    assert_eq!(memory.contents(), [bomb()]);
}

#[tokio::test]
async fn a_repeat_is_acknowledged_and_another_message_of_the_same_id_is_not() {
    let memory = Memory::new();
    let receiver = receiver(&memory);
    said(&receiver, message("1", "", GOOD)).await;
    assert!(said(&receiver, message("1", "", GOOD)).await.contains("MSA|AA|1"));
    assert_eq!(memory.contents().len(), 1);
    let other = said(&receiver, message("1", "", "OBX|1|ED|x||^T^^A^other||||||F")).await;
    assert!(other.contains("MSA|AE|1|hl7.control_id_reused") && other.contains("205^Duplicate key"), "{other}");
    assert_eq!(memory.contents().len(), 1);
    assert!(METRICS.render().contains("leadline_faults_total{code=\"hl7.control_id_reused\"}"));
}

/// People who are told, or cannot be.
#[derive(Default)]
struct Heard {
    told: std::sync::Mutex<Vec<(OrgId, Fault)>>,
    deaf: std::sync::Mutex<u32>,
    asked: tokio::sync::Notify,
}

#[async_trait]
impl Operators for Heard {
    async fn tell(&self, org: &OrgId, fault: Fault) -> Result<(), Fault> {
        let mut deaf = self.deaf.lock().unwrap();
        if *deaf > 0 {
            *deaf -= 1;
            self.asked.notify_one();
            return Err(Fault::new(FaultCode::AlarmUnreachable, "as planned"));
        }
        self.told.lock().unwrap().push((org.clone(), fault));
        self.asked.notify_one();
        Ok(())
    }
}

#[tokio::test]
async fn operators_are_told_of_a_sender_once_and_of_what_they_did_not_hear_again() {
    let (memory, people) = (Memory::new(), Arc::new(Heard::default()));
    *people.deaf.lock().unwrap() = 1;
    let receiver = receiver(&memory).telling(people.clone());
    said(&receiver, message("1", "", GOOD)).await;
    said(&receiver, message("1", "", GOOD)).await;
    let other = |n: u32| message("1", "", &format!("OBX|1|ED|x||^T^^A^other{n}||||||F"));
    for n in 0..2 {
        assert!(said(&receiver, other(n)).await.contains("MSA|AE|1"));
        people.asked.notified().await;
    }
    for n in 2..5 {
        assert!(said(&receiver, other(n)).await.contains("MSA|AE|1"));
    }
    let told = people.told.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "{told:?}");
    let (whose, fault) = &told[0];
    assert_eq!((whose, fault.code), (&org(), FaultCode::Hl7ControlIdReused));
    assert!(fault.detail.contains("received/hl7v2/hl7v2-") && !fault.detail.contains("CART"), "{fault}");
}

#[tokio::test]
async fn what_ends_early_is_told_and_what_is_good_beside_it_is_taken() {
    let memory = Memory::new();
    let told = said(&receiver(&memory), message("1", "", &format!("{SHORT}\r{GOOD}"))).await;
    assert!(told.contains("MSA|AE|1|attachment.incomplete: attachment 1: the PDF ends early\r"), "{told}");
    assert_eq!((memory.contents().len(), memory.kept.lock().unwrap().len()), (1, 1));
    assert!(!told.contains("Doe") && !told.contains("4711"));
}

#[tokio::test]
async fn what_cannot_be_stored_now_is_to_be_sent_again_and_then_goes() {
    let memory = Memory::new();
    let receiver = receiver(&memory);
    memory.fails.lock().unwrap().push(FaultCode::StoreUnreachable);
    let told = said(&receiver, message("1", "", GOOD)).await;
    assert!(told.contains("MSA|AR|1|store.unreachable: not taken now") && !told.contains("10.1.2.3"), "{told}");
    assert!(said(&receiver, message("1", "", GOOD)).await.contains("MSA|AA|1"));
    assert_eq!(memory.contents().len(), 1);
}

#[tokio::test]
async fn the_enhanced_mode_says_ca_only_when_everything_is_safe() {
    let memory = Memory::new();
    let receiver = receiver(&memory);
    memory.fails.lock().unwrap().push(FaultCode::StoreUnreachable);
    let told = said(&receiver, message("1", "AL|AL", GOOD)).await;
    assert!(told.contains("MSA|CE|1") && !told.contains("MSA|CA") && !told.contains("MSA|A"), "{told}");
    let told = said(&receiver, message("1", "AL|AL", GOOD)).await;
    assert!(told.contains("MSA|CA|1\r") && told.contains("MSA|AA|1\r"), "{told}");
}

#[tokio::test]
async fn pointers_are_followed_where_they_may_be() {
    let memory = Memory::new();
    let receiver = receiver(&memory);
    let line = |to: &str| format!("OBX|1|RP|x||{to}^^AP^PDF||||||F");
    for (id, to, says) in [
        ("1", "https://pacs/whole", "MSA|AA|1"),
        ("2", "https://pacs/short", "MSA|AE|2|attachment.incomplete: attachment 1: the PDF ends early"),
        ("3", "https://pacs/later", "MSA|AR|3|pointer.unreachable"),
        ("4", "https://evil/whole", "MSA|AE|4|pointer.refused: attachment 1: its host is not"),
    ] {
        let told = said(&receiver, message(id, "", &line(to))).await;
        assert!(told.contains(says), "{told}");
    }
    assert_eq!(memory.contents(), [b"1,2\n3,4\n"]);
}

/// Has every document once, and then no more.
#[derive(Default)]
struct Once(std::sync::Mutex<BTreeSet<String>>);

#[async_trait]
impl Pointers for Once {
    async fn fetch(&self, org: &OrgId, to: &Pointer, hosts: &BTreeSet<String>, limit: usize) -> Result<Bytes, Fault> {
        let fresh = self.0.lock().unwrap().insert(format!("{to:?}"));
        if fresh {
            Archive.fetch(org, to, hosts, limit).await
        } else {
            Err(Fault::new(FaultCode::PointerUnreachable, "gone"))
        }
    }
}

#[tokio::test]
async fn a_repeat_does_not_follow_a_pointer_to_what_was_taken() {
    let memory = Memory::new();
    let senders = Senders { pointer_hosts: BTreeSet::from(["pacs".into()]), ..Senders::default() };
    let receiver =
        Receiver::new(memory.clone(), Arc::new(Once::default()), BTreeMap::from([(org(), senders)]), 1 << 20);
    let to = |path: &str| format!("OBX|1|RP|x||https://pacs/{path}^^AP^PDF||||||F");
    for _ in 0..2 {
        assert!(said(&receiver, message("1", "", &to("whole"))).await.contains("MSA|AA|1"));
    }
    // What was not taken is followed again, whatever was taken beside it.
    let both = message("2", "", &format!("{GOOD}\r{}", to("later")));
    for _ in 0..2 {
        assert!(said(&receiver, both.clone()).await.contains("MSA|AR|2|pointer.unreachable"));
    }
    assert_eq!(memory.contents().len(), 2);
}

#[tokio::test]
async fn what_is_refused_is_not_kept() {
    let memory = Memory::new();
    let receiver = receiver(&memory);
    for (raw, says) in [
        (Bytes::from_static(b"PID|1\r"), "MSA|AR||hl7.unreadable"),
        (Bytes::from_static(b"\xFF\xFEM\0S\0H\0"), "MSA|AR||hl7.unreadable"),
        (Bytes::from_static(b""), "MSA|AR||hl7.unreadable"),
        (Bytes::from_static(b"MSH|^~\\&|A|B|||1||ADT^A01|9|P|2.5\r"), "MSA|AR|9|hl7.not_accepted"),
        (Bytes::from_static(b"MSH|^~\\&|A|B|||1||ORU^R01|9|P|2.5\rPID|\0\r"), "MSA|AR|9|hl7.unreadable"),
        (
            Bytes::from_static(b"MSH|^~\\&|A|B|||1||ORU^R01|9|P|2.5||||||UNICODE UTF-8\r\xFF\r"),
            "MSA|AR|9|hl7.unreadable",
        ),
        (Bytes::from_static(b"MSH|^~\\&|A|B|||1||ORU^R01|9|P|2.5||||||~ISO IR87\r"), "MSA|AR|9|hl7.unreadable"),
        (Bytes::from_static(b"MSH|^~\\&|A|B|||1||ADT^A01|9|P|2.5|||NE|AL\r"), "MSA|AR|9|hl7.not_accepted"),
    ] {
        let told = said(&receiver, raw).await;
        assert!(told.contains(says), "{told}");
    }
    assert!(memory.kept.lock().unwrap().is_empty());
    let stranger = receiver.receive(&OrgId::parse("south").unwrap(), message("1", "", GOOD)).await;
    assert!(String::from_utf8(stranger.application.unwrap()).unwrap().contains("MSA|AR|1|config.unknown_org"));
}

#[tokio::test]
async fn two_organizations_and_two_facilities_do_not_share_control_ids() {
    let memory = Memory::new();
    let receiver = receiver(&memory);
    said(&receiver, message("1", "", GOOD)).await;
    let ward2 = String::from_utf8(message("1", "", GOOD).to_vec()).unwrap().replace("|WARD|", "|WARD2|");
    assert!(said(&receiver, ward2.into()).await.contains("MSA|AA|1"));
    assert_eq!(memory.contents().len(), 2);
}
