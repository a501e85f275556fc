use super::super::ehr::tests::{Hospital, hospital};
use super::*;
use crate::double::Memory;
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Notebook(Mutex<BTreeMap<String, Seen>>);

#[async_trait]
impl Subscriptions for Notebook {
    async fn seen(&self, _: &OrgId, subscription: &str) -> Result<Option<Seen>, Fault> {
        Ok(self.0.lock().unwrap().get(subscription).copied())
    }
    async fn advance(&self, _: &OrgId, subscription: &str, seen: Seen) -> Result<(), Fault> {
        self.0.lock().unwrap().insert(subscription.to_owned(), seen);
        Ok(())
    }
}

struct Rig {
    hospital: Arc<Hospital>,
    memory: Arc<Memory>,
    notebook: Arc<Notebook>,
    follower: Follower,
    service: Service,
}

fn org() -> OrgId {
    OrgId::parse("north").unwrap()
}

async fn rig() -> Rig {
    let (hospital, ehr) = hospital(false).await;
    let (memory, notebook) = (Memory::new(), Arc::new(Notebook::default()));
    let follower = Follower::new(BTreeMap::from([(org(), ehr)]), notebook.clone());
    let service = Service::new(memory.clone(), "https://ecg.example.org/fhir", 1 << 20);
    Rig { hospital, memory, notebook, follower, service }
}

impl Rig {
    /// A document reference in the EHR, whose content is another resource there.
    fn has(&self, id: u64) {
        self.hospital.put(&format!("DocumentReference/{id}"), &document(id));
        self.hospital.put(&format!("Binary/{id}"), &format!("{id},{id}\n"));
    }

    async fn told(&self, kind: &str, since: u64, events: &[u64], more: &str) -> Result<(), Problem> {
        let event = |n: &u64| {
            format!(
                r#",{{"name":"notification-event","part":[{{"name":"event-number","valueString":"{n}"}},{{"name":"focus","valueReference":{{"reference":"DocumentReference/{n}"}}}}]}}"#
            )
        };
        let events: String = events.iter().map(event).collect();
        let raw = format!(
            r#"{{"resourceType":"Bundle","type":"history","entry":[{{"resource":{{"resourceType":"Parameters","parameter":[{{"name":"subscription","valueReference":{{"reference":"Subscription/9"}}}},{{"name":"type","valueCode":"{kind}"}},{{"name":"events-since-subscription-start","valueString":"{since}"}}{events}]}}}}{more}]}}"#
        );
        self.follower.notified(&self.service, &org(), raw.into()).await
    }

    fn taken(&self) -> Vec<String> {
        let mut all: Vec<String> = self.memory.contents().into_iter().map(|c| String::from_utf8(c).unwrap()).collect();
        all.sort();
        all
    }

    fn number(&self) -> u64 {
        self.notebook.0.lock().unwrap()["Subscription/9"].number
    }

    fn searches(&self) -> usize {
        self.hospital.searches.lock().unwrap().len()
    }
}

fn document(id: u64) -> String {
    format!(
        r#"{{"resourceType":"DocumentReference","id":"{id}","status":"current","content":[{{"attachment":{{"url":"Binary/{id}","size":4}}}}]}}"#
    )
}

#[tokio::test]
async fn what_notifications_tell_of_is_pulled_and_repeats_are_harmless() {
    let rig = rig().await;
    rig.has(1);
    rig.told("handshake", 0, &[], "").await.unwrap();
    assert_eq!((rig.number(), rig.taken().len()), (0, 0));
    for _ in 0..2 {
        rig.told("event-notification", 1, &[1], "").await.unwrap();
    }
    rig.told("heartbeat", 1, &[], "").await.unwrap();
    assert_eq!((rig.number(), rig.taken(), rig.searches()), (1, vec!["1,1\n".to_owned()], 0));
}

#[tokio::test]
async fn a_full_resource_is_taken_as_it_came() {
    let rig = rig().await;
    rig.has(1);
    rig.hospital.resources.lock().unwrap().remove("DocumentReference/1");
    let entry = format!(r#",{{"fullUrl":"https://ehr/DocumentReference/1","resource":{}}}"#, document(1));
    rig.told("event-notification", 1, &[1], &entry).await.unwrap();
    assert_eq!(rig.taken(), ["1,1\n"]);
}

#[tokio::test]
async fn a_gap_is_searched_for() {
    let rig = rig().await;
    (1..=4).for_each(|i| rig.has(i));
    rig.told("handshake", 0, &[], "").await.unwrap();
    rig.told("event-notification", 3, &[3], "").await.unwrap();
    assert_eq!((rig.taken().len(), rig.number(), rig.searches() > 0), (4, 3, true));
    let before = rig.searches();
    rig.has(5);
    rig.told("heartbeat", 5, &[], "").await.unwrap();
    assert_eq!((rig.taken().len(), rig.number(), rig.searches() > before), (5, 5, true));
}

#[tokio::test]
async fn nothing_is_written_down_before_it_was_taken() {
    let rig = rig().await;
    rig.has(1);
    rig.told("handshake", 0, &[], "").await.unwrap();
    rig.memory.fails.lock().unwrap().push(FaultCode::StoreUnreachable);
    assert_eq!(rig.told("event-notification", 1, &[1], "").await.unwrap_err().status, 503);
    assert_eq!(rig.number(), 0);
    // The EHR gives up on that one: the next one shows the gap.
    rig.has(2);
    rig.told("event-notification", 2, &[2], "").await.unwrap();
    assert_eq!((rig.number(), rig.taken().len()), (2, 2));
}

#[tokio::test]
async fn what_is_wrong_in_itself_is_kept_and_does_not_hold_up_the_others() {
    let rig = rig().await;
    (1..=3).for_each(|i| rig.has(i));
    // Not of the size that its reference declares.
    rig.hospital.put("Binary/1", "1,2,3\n");
    rig.hospital.resources.lock().unwrap().remove("Binary/2");
    rig.told("event-notification", 3, &[1, 2, 3], "").await.unwrap();
    assert_eq!((rig.taken(), rig.number()), (vec!["3,3\n".to_owned()], 3));
    assert_eq!(rig.memory.kept.lock().unwrap().len(), 3);
    let other = OrgId::parse("south").unwrap();
    let raw = Bytes::from_static(b"{}");
    assert_eq!(rig.follower.notified(&rig.service, &other, raw).await.unwrap_err().status, 400);
}
