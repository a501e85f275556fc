use super::super::ehr::tests::{Hospital, hospital};
use super::*;
use crate::double::{Memory, counted};

#[derive(Default)]
struct Notebook(Mutex<BTreeMap<String, Seen>>);

#[async_trait]
impl Subscriptions for Notebook {
    async fn seen(&self, _: &OrgId, subscription: &str) -> Result<Option<Seen>, Fault> {
        Ok(self.0.lock().unwrap().get(subscription).copied())
    }
    async fn advance(&self, _: &OrgId, subscription: &str, seen: Seen) -> Result<(), Fault> {
        let mut all = self.0.lock().unwrap();
        let before = all.get(subscription).copied().unwrap_or_default();
        all.insert(subscription.to_owned(), before.then(seen));
        Ok(())
    }
}

/// The EHR of one organization, to be opened once; and what opening it fails with before.
struct OneEhr {
    ehr: Mutex<Option<Ehr>>,
    fails: Mutex<Vec<FaultCode>>,
}

#[async_trait]
impl Ehrs for OneEhr {
    async fn open(&self, of: &OrgId) -> Result<Option<Ehr>, Fault> {
        if *of != org() {
            return Ok(None);
        }
        match self.fails.lock().unwrap().pop() {
            Some(code) => Err(Fault::new(code, "as planned")),
            None => Ok(Some(self.ehr.lock().unwrap().take().expect("it is opened once"))),
        }
    }
}

struct Rig {
    ehrs: Arc<OneEhr>,
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
    let ehrs = Arc::new(OneEhr { ehr: Mutex::new(Some(ehr)), fails: Mutex::default() });
    let follower = Follower::new(ehrs.clone(), notebook.clone());
    let service = Service::new(memory.clone(), "https://ecg.example.org/fhir", 1 << 20);
    Rig { ehrs, hospital, memory, notebook, follower, service }
}

impl Rig {
    /// A document reference in the EHR, whose content is another resource there.
    fn has(&self, id: u64) {
        self.hospital.put(&format!("DocumentReference/{id}"), &document(id));
        self.hospital.put(&format!("Binary/{id}"), &format!("{id},{id}\n"));
    }

    async fn told(&self, kind: &str, since: u64, events: &[u64], more: &str) -> Result<(), Problem> {
        let events: String = events.iter().map(|n| event(*n, &format!("DocumentReference/{n}"), "")).collect();
        self.sent(kind, &counts(since), &events, more).await
    }

    async fn sent(&self, kind: &str, counts: &str, events: &str, more: &str) -> Result<(), Problem> {
        let raw = format!(
            r#"{{"resourceType":"Bundle","type":"history","entry":[{{"resource":{{"resourceType":"Parameters","parameter":[{{"name":"subscription","valueReference":{{"reference":"Subscription/9"}}}},{{"name":"type","valueCode":"{kind}"}}{counts}{events}]}}}}{more}]}}"#
        );
        self.follower.notified(&self.service, &org(), raw.into()).await
    }

    fn taken(&self) -> Vec<String> {
        let mut all: Vec<String> = self.memory.contents().into_iter().map(|c| String::from_utf8(c).unwrap()).collect();
        all.sort();
        all
    }

    fn seen(&self) -> Seen {
        self.notebook.0.lock().unwrap()["Subscription/9"]
    }

    fn number(&self) -> u64 {
        self.seen().number
    }

    fn searches(&self) -> usize {
        self.hospital.searches.lock().unwrap().len()
    }
}

fn counts(since: u64) -> String {
    format!(r#",{{"name":"events-since-subscription-start","valueString":"{since}"}}"#)
}

/// An event; without a time if that is empty.
fn event(number: u64, focus: &str, at: &str) -> String {
    let at = match at {
        "" => String::new(),
        at => format!(r#",{{"name":"timestamp","valueInstant":"{at}"}}"#),
    };
    format!(
        r#",{{"name":"notification-event","part":[{{"name":"event-number","valueString":"{number}"}},{{"name":"focus","valueReference":{{"reference":"{focus}"}}}}{at}]}}"#
    )
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
async fn an_ehr_that_cannot_be_opened_is_tried_again_and_one_that_is_not_there_is_refused() {
    let rig = rig().await;
    rig.has(1);
    *rig.ehrs.fails.lock().unwrap() =
        vec![FaultCode::ConfigInvalid, FaultCode::SecretMissing, FaultCode::CredentialUnreachable];
    for _ in 0..3 {
        assert_eq!(rig.told("event-notification", 1, &[1], "").await.unwrap_err().status, 503);
    }
    for _ in 0..2 {
        rig.told("event-notification", 1, &[1], "").await.unwrap();
    }
    assert_eq!((rig.taken().len(), rig.number()), (1, 1));
    let raw = r#"{"resourceType":"Bundle","type":"history","entry":[{"resource":{"resourceType":"Parameters","parameter":[{"name":"subscription","valueReference":{"reference":"Subscription/9"}},{"name":"type","valueCode":"heartbeat"}]}}]}"#;
    let other = OrgId::parse("south").unwrap();
    assert_eq!(rig.follower.notified(&rig.service, &other, raw.into()).await.unwrap_err().status, 403);
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
async fn every_version_of_a_resource_that_came_is_taken() {
    let rig = rig().await;
    (1..=2).for_each(|i| rig.has(i));
    let version = |content: u64| {
        let resource = document(content).replacen(&format!(r#""id":"{content}""#), r#""id":"1""#, 1);
        format!(r#",{{"fullUrl":"https://ehr/DocumentReference/1","resource":{resource}}}"#)
    };
    let about = "DocumentReference/1";
    let told = event(1, about, "") + &event(2, about, "");
    rig.sent("event-notification", &counts(2), &told, &(version(1) + &version(2))).await.unwrap();
    assert_eq!((rig.taken(), rig.number()), (vec!["1,1\n".to_owned(), "2,2\n".to_owned()], 2));
    assert_eq!(*rig.memory.takes.lock().unwrap(), 2, "each once");
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
    // Each as a resource, and those that were passed over as such.
    assert_eq!(rig.memory.kept.lock().unwrap().len(), 5);
    let other = OrgId::parse("south").unwrap();
    let raw = Bytes::from_static(b"{}");
    assert_eq!(rig.follower.notified(&rig.service, &other, raw).await.unwrap_err().status, 400);
}

#[tokio::test]
async fn documents_of_a_resource_are_taken_one_by_one_and_all_before_it_is_written_down() {
    let rig = rig().await;
    let content = |id: u64| format!(r#"{{"attachment":{{"url":"Binary/{id}"}}}}"#);
    let all = [1, 2, 3].map(content).join(",");
    let resource = format!(r#"{{"resourceType":"DocumentReference","id":"1","status":"current","content":[{all}]}}"#);
    rig.hospital.put("DocumentReference/1", &resource);
    (1..=3).for_each(|id| rig.hospital.put(&format!("Binary/{id}"), &format!("{id},{id}\n")));
    rig.told("handshake", 0, &[], "").await.unwrap();
    rig.hospital.statuses.lock().unwrap().insert("Binary/1".into(), 500);
    assert_eq!(rig.told("event-notification", 1, &[1], "").await.unwrap_err().status, 503);
    assert_eq!((rig.taken(), rig.number()), (vec!["2,2\n".to_owned(), "3,3\n".to_owned()], 0));
    rig.hospital.statuses.lock().unwrap().clear();
    // One that is wrong in itself keeps none of the others.
    rig.hospital.resources.lock().unwrap().remove("Binary/2");
    let before = counted(FaultCode::FhirUnresolved);
    rig.told("event-notification", 1, &[1], "").await.unwrap();
    assert_eq!((rig.taken().len(), rig.number()), (3, 1));
    assert!(counted(FaultCode::FhirUnresolved) > before);
}

#[tokio::test]
async fn a_focus_of_a_version_or_by_another_address_is_pulled_from_the_configured_server() {
    for focus in [
        "DocumentReference/1/_history/2",
        "https://ehr-public.example.org/fhir/DocumentReference/1",
        "https://EHR.example.org:443/fhir/DocumentReference/1/_history/2",
    ] {
        let rig = rig().await;
        rig.has(1);
        rig.sent("event-notification", &counts(1), &event(1, focus, ""), "").await.unwrap();
        assert_eq!((rig.taken(), rig.number(), rig.searches()), (vec!["1,1\n".to_owned()], 1, 0), "{focus}");
    }
}

#[tokio::test]
async fn a_focus_that_says_nothing_here_is_searched_for() {
    let rig = rig().await;
    rig.has(1);
    rig.sent("event-notification", &counts(1), &event(1, "urn:uuid:1", ""), "").await.unwrap();
    assert_eq!((rig.taken(), rig.number()), (vec!["1,1\n".to_owned()], 1));
    // Of another type: not ours.
    let before = rig.searches();
    rig.sent("event-notification", &counts(2), &event(2, "Patient/1", ""), "").await.unwrap();
    assert_eq!((rig.taken().len(), rig.number(), rig.searches()), (1, 2, before));
}

#[tokio::test]
async fn what_was_deleted_since_is_counted_and_passed_over() {
    let rig = rig().await;
    let before = counted(FaultCode::FhirUnresolved);
    rig.told("event-notification", 1, &[1], "").await.unwrap();
    assert_eq!((rig.taken().len(), rig.number(), rig.searches()), (0, 1, 0));
    assert!(counted(FaultCode::FhirUnresolved) > before);
}

#[test]
fn the_log_has_no_id_of_the_ehr() {
    let logged = logged("DocumentReference", "MRN-0012345");
    assert_eq!(logged.strip_prefix("DocumentReference/").map(str::len), Some(32));
    assert!(!logged.contains("MRN") && !logged.contains("12345"));
}

#[tokio::test]
async fn what_is_too_long_or_not_to_be_had_does_not_hold_up_the_others() {
    let rig = rig().await;
    (1..=4).for_each(|i| rig.has(i));
    rig.hospital.put("Binary/1", &"1,2\n".repeat(1 << 19));
    rig.hospital.put("DocumentReference/2", &" ".repeat((16 << 20) + 1));
    rig.hospital.statuses.lock().unwrap().insert("DocumentReference/3".into(), 406);
    let before = counted(FaultCode::FileTooLarge);
    rig.told("event-notification", 4, &[1, 2, 3, 4], "").await.unwrap();
    assert_eq!((rig.taken(), rig.number()), (vec!["4,4\n".to_owned()], 4));
    assert!(counted(FaultCode::FileTooLarge) >= before + 2);
    // What does pass is waited for.
    rig.hospital.statuses.lock().unwrap().insert("DocumentReference/5".into(), 429);
    assert_eq!(rig.told("event-notification", 5, &[5], "").await.unwrap_err().status, 503);
    assert_eq!(rig.number(), 4);
}

#[tokio::test]
async fn a_page_of_a_search_is_stored_before_the_next_one_is_asked_for() {
    let rig = rig().await;
    rig.told("handshake", 0, &[], "").await.unwrap();
    (1..=2).for_each(|i| rig.has(i));
    rig.hospital.statuses.lock().unwrap().insert("DocumentReference?page=1".into(), 500);
    assert_eq!(rig.told("heartbeat", 2, &[], "").await.unwrap_err().status, 503);
    assert_eq!((rig.taken(), rig.number()), (vec!["1,1\n".to_owned()], 0));
    rig.hospital.statuses.lock().unwrap().clear();
    rig.told("heartbeat", 2, &[], "").await.unwrap();
    assert_eq!((rig.taken().len(), rig.number()), (2, 2));
}

#[tokio::test]
async fn what_comes_late_does_not_hide_what_happened_before() {
    let rig = rig().await;
    (1..=3).for_each(|i| rig.has(i));
    rig.told("handshake", 0, &[], "").await.unwrap();
    let told = event(1, "DocumentReference/1", "2026-01-01T10:00:00Z")
        + &event(2, "DocumentReference/2", "2026-01-01T12:30:00+02:00");
    rig.sent("event-notification", &counts(2), &told, "").await.unwrap();
    assert_eq!(rig.seen(), Seen { number: 2, at_ms: instant_ms("2026-01-01T10:30:00Z").unwrap() });
    rig.told("heartbeat", 3, &[], "").await.unwrap();
    assert!(rig.hospital.searches.lock().unwrap()[0].contains("ge2026-01-01T10%3A25%3A00Z"));
    // One that does not count moves nothing.
    let seen = rig.seen();
    rig.sent("heartbeat", "", "", "").await.unwrap();
    assert_eq!(rig.seen(), seen);
}

#[test]
fn a_notification_is_as_late_as_its_newest_event_says() {
    let at = |bundle: &str, events: &[&str]| {
        let status = r#"{"name":"subscription","valueReference":{"reference":"Subscription/9"}},{"name":"type","valueCode":"event-notification"}"#;
        let events: String = events.iter().map(|at| event(1, "DocumentReference/1", at)).collect();
        let raw = format!(
            r#"{{"resourceType":"Bundle","type":"history","timestamp":"{bundle}","entry":[{{"resource":{{"resourceType":"Parameters","parameter":[{status}{events}]}}}}]}}"#
        );
        at_ms(&notification(raw.as_bytes()).unwrap(), 2_000_000_000_000)
    };
    let ms = |text| u64::try_from(DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()).unwrap();
    let bundle = "2026-03-01T10:00:00Z";
    assert_eq!(at(bundle, &["2026-02-01T10:00:00.5Z", "2026-02-01T09:00:00Z"]), ms("2026-02-01T10:00:00.5Z"));
    assert_eq!(at(bundle, &[""]), ms(bundle));
    assert_eq!(at(bundle, &["yesterday"]), ms(bundle));
    assert_eq!(at("", &[""]), 2_000_000_000_000);
    assert_eq!(at(bundle, &["2099-01-01T00:00:00Z"]), 2_000_000_000_000);
    // The day begins first at +14:00.
    assert_eq!(at(bundle, &["2026-02-01"]), ms("2026-02-01T00:00:00+14:00"));
    assert_eq!(at(bundle, &["2026-02-01T10:00"]), ms("2026-02-01T00:00:00+14:00"));
}

#[tokio::test]
async fn an_ehr_that_counts_from_the_start_again_is_followed() {
    let rig = rig().await;
    rig.told("handshake", 7, &[], "").await.unwrap();
    (1..=4).for_each(|i| rig.has(i));
    rig.told("event-notification", 2, &[2], "").await.unwrap();
    assert_eq!((rig.taken().len(), rig.number(), rig.searches() > 0), (4, 2, true));
    // Its gaps are seen again.
    let before = rig.searches();
    rig.has(5);
    rig.told("heartbeat", 3, &[], "").await.unwrap();
    assert_eq!((rig.taken().len(), rig.number(), rig.searches() > before), (5, 3, true));
    let before = rig.searches();
    rig.told("heartbeat", 3, &[], "").await.unwrap();
    assert_eq!(rig.searches(), before);
}
