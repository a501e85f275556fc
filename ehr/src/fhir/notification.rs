//! Notifications of subscriptions to topics, as servers of R4 send them (Subscriptions R5 Backport IG 1.1, section
//! "Notifications"): a Bundle of type `history` whose first entry is the status, in R4 a Parameters.

use super::json::Json;
use super::outcome::{Issue, Problem};
use super::resource::parse;
use leadline_domain::FaultCode;

/// Events of one notification.
const EVENTS: usize = 1_000;

/// Why it was sent (value set `subscription-notification-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The subscription begins.
    Handshake,
    /// Nothing happened, and the server is alive.
    Heartbeat,
    /// Something happened.
    Event,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number, from 1 at the start of the subscription.
    pub number: u64,
    /// The resource that it is about, e.g. `DocumentReference/123`; none where the server tells nothing.
    pub focus: Option<String>,
    /// When it happened, as the server writes it.
    pub timestamp: Option<String>,
}

impl Event {
    /// Type and id of the resource that it is about, whatever version and address of the server it is named by; none
    /// where they cannot be told.
    #[must_use]
    pub fn about(&self) -> Option<(&str, &str)> {
        named(self.focus.as_deref()?)
    }
}

/// Type and id in a reference (FHIR R4 section 2.3.0.1): `DocumentReference/1`, below any address, of any version.
#[must_use]
pub fn named(reference: &str) -> Option<(&str, &str)> {
    let (current, _) = reference.split_once("/_history").unwrap_or((reference, ""));
    let mut parts = current.trim_end_matches('/').rsplit('/');
    let (id, kind) = (parts.next()?, parts.next()?);
    let a_type = kind.starts_with(|c: char| c.is_ascii_uppercase()) && kind.bytes().all(|c| c.is_ascii_alphabetic());
    // Dots alone would be a way to another folder.
    let an_id = id.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._".contains(&c))
        && id.bytes().any(|c| c.is_ascii_alphanumeric())
        && !id.starts_with('_');
    (a_type && an_id).then_some((kind, id))
}

/// A notification.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// The subscription, as the server refers to it.
    pub subscription: String,
    /// Why it was sent.
    pub kind: Kind,
    /// When, as the server writes it.
    pub timestamp: Option<String>,
    /// How many events there were since the subscription started; none where a handshake or heartbeat does not say.
    pub since_start: Option<u64>,
    /// The events that it tells of, by number.
    pub events: Vec<Event>,
    /// Resources that it brings, with the address of each.
    pub resources: Vec<(String, Json)>,
}

fn bad(why: &str, place: &str) -> Problem {
    Problem::new(400, Issue::Structure, FaultCode::FhirInvalid, why).at(place)
}

/// Reads a notification.
///
/// # Errors
/// 400 for what is none.
pub fn notification(raw: &[u8]) -> Result<Notification, Problem> {
    let bundle = parse(raw)?;
    if bundle.text("resourceType") != Some("Bundle") || bundle.text("type") != Some("history") {
        return Err(bad("a notification is a Bundle of type history", "Bundle.type"));
    }
    let entries = bundle.list("entry");
    let status = entries.first().and_then(|e| e.get("resource"));
    let Some(status) = status.filter(|s| s.text("resourceType") == Some("Parameters")) else {
        return Err(bad("the first entry is not the status as Parameters", "Bundle.entry[0].resource"));
    };
    let place = "Bundle.entry[0].resource.parameter";
    let parameters = status.list("parameter");
    let value = |name: &str| parameters.iter().find(|p| p.text("name") == Some(name));
    let kind = match value("type").and_then(|p| p.text("valueCode")) {
        Some("handshake") => Kind::Handshake,
        Some("heartbeat") => Kind::Heartbeat,
        Some("event-notification") => Kind::Event,
        _ => return Err(bad("type is none of handshake, heartbeat, event-notification", place)),
    };
    let subscription = value("subscription").and_then(|p| p.get("valueReference")?.text("reference"));
    let Some(subscription) = subscription.filter(|s| !s.is_empty()) else {
        return Err(bad("the subscription is not named", place));
    };
    let mut events = Vec::new();
    for parameter in parameters.iter().filter(|p| p.text("name") == Some("notification-event")).take(EVENTS) {
        let part = |name: &str| parameter.list("part").iter().find(|p| p.text("name") == Some(name));
        let Some(number) = part("event-number").and_then(number) else {
            return Err(bad("an event has no number", place));
        };
        let focus = part("focus").and_then(|p| p.get("valueReference")?.text("reference")).map(str::to_owned);
        let timestamp = part("timestamp").and_then(time).map(str::to_owned);
        events.push(Event { number, focus, timestamp });
    }
    events.sort_by_key(|e| e.number);
    let counted = value("events-since-subscription-start").and_then(number);
    // Not less than the last event that it tells of.
    let since_start = counted.max(events.last().map(|e| e.number));
    if since_start.is_none() && kind == Kind::Event {
        return Err(bad("events-since-subscription-start is missing", place));
    }
    let resource = |e: &Json| Some((e.text("fullUrl").unwrap_or_default().to_owned(), e.get("resource")?.clone()));
    let resources = entries.iter().skip(1).filter_map(resource).collect();
    Ok(Notification {
        subscription: subscription.to_owned(),
        kind,
        timestamp: bundle.text("timestamp").map(str::to_owned),
        since_start,
        events,
        resources,
    })
}

/// Numbers are strings in 1.1 (they are 64-bit numbers, which R4 does not have), and were integers in 1.0.
fn number(parameter: &Json) -> Option<u64> {
    match parameter.get("valueString").or(parameter.get("valueUnsignedInt")).or(parameter.get("valueInteger"))? {
        Json::Text(text) => text.parse().ok(),
        Json::Whole(number) => Some(*number),
        _ => None,
    }
}

/// An instant; some servers write a dateTime or a date.
fn time(parameter: &Json) -> Option<&str> {
    ["valueInstant", "valueDateTime", "valueDate"].into_iter().find_map(|name| parameter.text(name))
}

/// The events that are missing between those that were seen, up to number `seen`, and those of a notification, as the
/// first and the last number; none where nothing is. `seen` is `None` before the first notification: what happened
/// before nobody was told of is not missed, unless the server says that it told of it. From 0 where the server counts
/// less than was seen: it has begun again, and nobody knows how far it had come before.
#[must_use]
pub fn gap(seen: Option<u64>, notification: &Notification) -> Option<(u64, u64)> {
    let last = notification.since_start?;
    let seen = match (seen, notification.kind) {
        (Some(seen), _) if last < seen => return Some((0, last)),
        (Some(seen), _) => seen,
        (None, Kind::Handshake) => return None,
        (None, _) => 0,
    };
    let told = |number: &u64| notification.events.iter().any(|e| e.number == *number);
    // Numbers come from outside: those that a notification tells of bound the search, and not their distance.
    let mut first = seen.checked_add(1)?;
    while first <= last && told(&first) {
        first = first.checked_add(1)?;
    }
    let mut end = last;
    while end >= first && told(&end) {
        end -= 1;
    }
    (first <= end).then_some((first, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: &str, since: &str, events: &[u64]) -> String {
        let event = |n: &u64| {
            format!(
                r#",{{"name":"notification-event","part":[{{"name":"event-number","valueString":"{n}"}},{{"name":"focus","valueReference":{{"reference":"DocumentReference/{n}"}}}}]}}"#
            )
        };
        let events: String = events.iter().map(event).collect();
        format!(
            r#"{{"resourceType":"Bundle","type":"history","entry":[{{"fullUrl":"urn:uuid:1","resource":{{"resourceType":"Parameters","parameter":[{{"name":"subscription","valueReference":{{"reference":"https://ehr/Subscription/9"}}}},{{"name":"type","valueCode":"{kind}"}},{since}{events}]}}}}]}}"#
        )
    }

    fn since(n: u64) -> String {
        format!(r#"{{"name":"events-since-subscription-start","valueString":"{n}"}}"#)
    }

    fn read(kind: &str, n: u64, events: &[u64]) -> Notification {
        notification(text(kind, &since(n), events).as_bytes()).unwrap()
    }

    #[test]
    fn the_three_kinds_are_read() {
        let found = read("event-notification", 3, &[3, 2]);
        assert_eq!(
            (found.subscription.as_str(), found.kind, found.since_start),
            ("https://ehr/Subscription/9", Kind::Event, Some(3))
        );
        let event = Event { number: 2, focus: Some("DocumentReference/2".into()), timestamp: None };
        assert_eq!(found.events[0], event);
        assert_eq!(read("handshake", 0, &[]).kind, Kind::Handshake);
        let old = r#"{"name":"events-since-subscription-start","valueUnsignedInt":7}"#;
        let found = notification(text("heartbeat", old, &[]).as_bytes()).unwrap();
        assert_eq!((found.kind, found.since_start), (Kind::Heartbeat, Some(7)));
        let found = notification(text("heartbeat", r#"{"name":"x"}"#, &[]).as_bytes()).unwrap();
        assert_eq!((found.kind, found.since_start), (Kind::Heartbeat, None));
    }

    #[test]
    fn a_focus_is_the_resource_whatever_version_and_address_it_is_named_by() {
        for reference in [
            "DocumentReference/1",
            "DocumentReference/1/",
            "/DocumentReference/1",
            "DocumentReference/1/_history/2",
            "https://ehr-public.example.org/fhir/DocumentReference/1",
            "https://EHR.example.org:443/fhir/DocumentReference/1/_history/2",
        ] {
            assert_eq!(named(reference), Some(("DocumentReference", "1")), "{reference}");
        }
        assert_eq!(named("Patient/a-1.B_2"), Some(("Patient", "a-1.B_2")));
        for reference in [
            "",
            "1",
            "#1",
            "urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
            "https://ehr.example.org/1",
            "https://ehr.example.org/fhir/DocumentReference",
            "DocumentReference/..",
            "DocumentReference/_history/2",
            "DocumentReference/_search",
            "DocumentReference/1?x=y",
            "DocumentReference/a b",
            "document/1",
        ] {
            assert_eq!(named(reference), None, "{reference}");
        }
    }

    #[test]
    fn times_are_kept_as_they_are_written() {
        let part = r#"{"name":"event-number","valueString":"1"}"#;
        let body = text("event-notification", &since(1), &[1])
            .replace(r#""type":"history""#, r#""type":"history","timestamp":"2026-03-01T10:00:00Z""#);
        for name in ["valueInstant", "valueDateTime", "valueDate"] {
            let more = format!(r#"{part},{{"name":"timestamp","{name}":"2026-03-01"}}"#);
            let found = notification(body.replace(part, &more).as_bytes()).unwrap();
            assert_eq!(found.timestamp.as_deref(), Some("2026-03-01T10:00:00Z"));
            assert_eq!(found.events[0].timestamp.as_deref(), Some("2026-03-01"), "{name}");
        }
    }

    #[test]
    fn what_is_no_notification_is_refused() {
        for body in [
            "{}".to_owned(),
            r#"{"resourceType":"Bundle","type":"history","entry":[]}"#.into(),
            text("query-status", &since(1), &[]),
            text("event-notification", r#"{"name":"x"}"#, &[]),
            text("event-notification", &since(1), &[1]).replace("\"1\"}", "\"x\"}"),
            text("heartbeat", &since(1), &[]).replace("https://ehr/Subscription/9", ""),
        ] {
            assert_eq!(notification(body.as_bytes()).unwrap_err().status, 400, "{body}");
        }
    }

    #[test]
    fn gaps_are_what_nobody_told_of() {
        let missing = |seen, kind: &str, n, events: &[u64]| gap(seen, &read(kind, n, events));
        assert_eq!(missing(None, "handshake", 5, &[]), None);
        assert_eq!(missing(Some(0), "event-notification", 1, &[1]), None);
        assert_eq!(missing(Some(4), "event-notification", 4, &[4]), None);
        assert_eq!(missing(Some(4), "heartbeat", 4, &[]), None);
        assert_eq!(missing(Some(4), "heartbeat", 6, &[]), Some((5, 6)));
        assert_eq!(missing(Some(1), "event-notification", 4, &[4]), Some((2, 3)));
        assert_eq!(missing(Some(1), "event-notification", 5, &[2, 5]), Some((3, 4)));
        assert_eq!(missing(None, "event-notification", 3, &[3]), Some((1, 2)));
        assert_eq!(missing(Some(1), "event-notification", 5, &[3]), Some((2, 5)));
        assert_eq!(missing(Some(0), "heartbeat", u64::MAX, &[]), Some((1, u64::MAX)));
        // It counts from the start again.
        assert_eq!(missing(Some(u64::MAX), "heartbeat", 3, &[]), Some((0, 3)));
        assert_eq!(missing(Some(7), "handshake", 0, &[]), Some((0, 0)));
        assert_eq!(missing(Some(7), "event-notification", 1, &[1]), Some((0, 1)));
        // It does not say.
        let mute = notification(text("heartbeat", r#"{"name":"x"}"#, &[]).as_bytes()).unwrap();
        assert_eq!((gap(Some(7), &mute), gap(None, &mute)), (None, None));
        let last = read("event-notification", 9, &[9]);
        let last = Notification {
            since_start: Some(u64::MAX),
            events: vec![Event { number: u64::MAX, ..last.events[0].clone() }],
            ..last
        };
        assert_eq!((gap(Some(u64::MAX), &last), gap(Some(u64::MAX - 1), &last)), (None, None));
    }
}
