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
}

/// A notification.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// The subscription, as the server refers to it.
    pub subscription: String,
    /// Why it was sent.
    pub kind: Kind,
    /// How many events there were since the subscription started.
    pub since_start: u64,
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
        events.push(Event { number, focus });
    }
    events.sort_by_key(|e| e.number);
    let counted = value("events-since-subscription-start").and_then(number);
    let last = events.last().map(|e| e.number);
    let Some(since_start) = counted.or(last).or((kind != Kind::Event).then_some(0)) else {
        return Err(bad("events-since-subscription-start is missing", place));
    };
    let resource = |e: &Json| Some((e.text("fullUrl").unwrap_or_default().to_owned(), e.get("resource")?.clone()));
    let resources = entries.iter().skip(1).filter_map(resource).collect();
    Ok(Notification {
        subscription: subscription.to_owned(),
        kind,
        since_start: since_start.max(last.unwrap_or(0)),
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

/// The events that are missing between those that were seen, up to number `seen`, and those of a notification, as the
/// first and the last number; none where nothing is. `seen` is `None` before the first notification: what happened
/// before nobody was told of is not missed, unless the server says that it told of it.
#[must_use]
pub fn gap(seen: Option<u64>, notification: &Notification) -> Option<(u64, u64)> {
    let seen = match (seen, notification.kind) {
        (Some(seen), _) => seen,
        (None, Kind::Handshake) => return None,
        (None, _) => 0,
    };
    let told = |number: &u64| notification.events.iter().any(|e| e.number == *number);
    // Numbers come from outside: those that a notification tells of bound the search, and not their distance.
    let last = notification.since_start;
    let mut first = seen.saturating_add(1);
    while first <= last && told(&first) {
        first += 1;
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
            ("https://ehr/Subscription/9", Kind::Event, 3)
        );
        assert_eq!(found.events[0], Event { number: 2, focus: Some("DocumentReference/2".into()) });
        assert_eq!(read("handshake", 0, &[]).kind, Kind::Handshake);
        let old = r#"{"name":"events-since-subscription-start","valueUnsignedInt":7}"#;
        let found = notification(text("heartbeat", old, &[]).as_bytes()).unwrap();
        assert_eq!((found.kind, found.since_start), (Kind::Heartbeat, 7));
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
        assert_eq!(missing(Some(u64::MAX), "heartbeat", 3, &[]), None);
    }
}
