use super::*;
use MemberRole::{Marker, Optional, Primary, Required};
use Standing::{Left, Ready, Retrying, Settling};
use proptest::prelude::*;

fn pair() -> SetSpec {
    SetSpec { kind: SetKind::Stem, required: vec!["pdf".into()], optional: vec![], open: false, marker: false }
}

fn seen(members: &[(MemberRole, &'static str, Standing)], quiet_ms: u64) -> SetSeen<'static> {
    SetSeen { members: members.to_vec(), quiet_ms, judged: None }
}

fn wait(d: SetDecision) -> Option<SetWait> {
    match d {
        SetDecision::Wait { why, .. } => Some(why),
        _ => None,
    }
}

#[test]
fn a_set_is_complete_when_all_its_members_are() {
    let (spec, rule) = (pair(), SettleRule::default());
    let d = |m: &[(MemberRole, &'static str, Standing)]| decide(&spec, &rule, &seen(m, 0));
    assert_eq!(wait(d(&[(Primary, "xml", Ready)])), Some(SetWait::Companion));
    assert_eq!(wait(d(&[(Required, "pdf", Ready)])), Some(SetWait::Companion));
    assert_eq!(wait(d(&[(Primary, "xml", Ready), (Required, "pdf", Settling)])), Some(SetWait::Member));
    assert_eq!(wait(d(&[(Primary, "xml", Ready), (Required, "pdf", Left)])), Some(SetWait::Companion));
    assert_eq!(d(&[(Primary, "xml", Ready), (Required, "pdf", Ready)]), SetDecision::Complete);
}

#[test]
fn what_may_still_come_is_waited_for_unless_a_marker_says_that_it_does_not() {
    let rule = SettleRule::default();
    let spec = SetSpec { required: vec![], optional: vec!["txt".into()], ..pair() };
    let xml = (Primary, "xml", Ready);
    assert_eq!(wait(decide(&spec, &rule, &seen(&[xml], 29_999))), Some(SetWait::More));
    assert_eq!(decide(&spec, &rule, &seen(&[xml], 30_000)), SetDecision::Complete);
    assert_eq!(decide(&spec, &rule, &seen(&[xml, (Optional, "txt", Ready)], 0)), SetDecision::Complete);
    let marked = SetSpec { marker: true, ..spec };
    assert_eq!(wait(decide(&marked, &rule, &seen(&[xml], 60_000))), Some(SetWait::Marker));
    assert_eq!(decide(&marked, &rule, &seen(&[xml, (Marker, "done", Ready)], 0)), SetDecision::Complete);
}

#[test]
fn a_set_is_given_up_after_its_time_but_never_for_a_fault() {
    let (spec, rule) = (pair(), SettleRule::default());
    let day = rule.stalled_after_ms;
    assert_eq!(decide(&spec, &rule, &seen(&[(Primary, "xml", Ready)], day)), SetDecision::GiveUp);
    assert_eq!(wait(decide(&spec, &rule, &seen(&[(Primary, "xml", Retrying)], day))), Some(SetWait::Companion));
    let mut judged = seen(&[(Primary, "xml", Ready), (Required, "pdf", Ready)], 0);
    judged.judged = Some(StructureVerdict::Partial);
    assert_eq!(wait(decide(&spec, &rule, &judged)), Some(SetWait::Companion));
    judged.judged = Some(StructureVerdict::Malformed);
    assert_eq!(wait(decide(&spec, &rule, &judged)), Some(SetWait::Contradiction));
    let crowd = vec![(Primary, "xml", Ready); MAX_MEMBERS + 1];
    assert_eq!(wait(decide(&spec, &rule, &seen(&crowd, 0))), Some(SetWait::TooMany));
    judged.quiet_ms = day;
    assert_eq!(decide(&spec, &rule, &judged), SetDecision::GiveUp);
}

fn object(n: u8) -> SetObject {
    SetObject {
        role: [Primary, Required, Optional][usize::from(n) % 3],
        extension: ["xml", "pdf"][usize::from(n) % 2].into(),
        digest: Digest::of(&[n]),
        size: u64::from(n),
        format: format!("format-{n}"),
        identity: None,
        place: SetPlace::default(),
    }
}

fn any_standing() -> impl Strategy<Value = Standing> {
    prop_oneof![Just(Settling), Just(Retrying), Just(Ready), Just(Left)]
}

proptest! {
    #[test]
    fn the_order_of_arrival_does_not_change_the_manifest(
        mut all in proptest::collection::vec(any::<u8>(), 1..12).prop_shuffle(), seed: u64,
    ) {
        let of = |all: &[u8]| Manifest::new(SetKind::Stem, None, &all.iter().map(|n| object(*n)).collect::<Vec<_>>());
        let first = of(&all);
        prop_assert_eq!(first.objects.len(), all.len(), "nothing is lost");
        let at = usize::try_from(seed % all.len() as u64).unwrap();
        all.rotate_left(at);
        prop_assert_eq!(of(&all).digest(), first.digest());
        // What leadline finds in the bytes may change with its version; the set's name must not.
        let renamed: Vec<_> = all.iter().map(|n| SetObject { format: "other".into(), ..object(*n) }).collect();
        prop_assert_eq!(Manifest::new(SetKind::Stem, None, &renamed).digest(), first.digest());
    }

    #[test]
    fn nothing_incomplete_is_delivered(
        xml in any_standing(), pdf in any_standing(), txt in proptest::option::of(any_standing()), quiet: u64, judged: bool,
    ) {
        let spec = SetSpec { optional: vec!["txt".into()], ..pair() };
        let mut members = vec![(Primary, "xml", xml), (Required, "pdf", pdf)];
        members.extend(txt.map(|s| (Optional, "txt", s)));
        let verdict = if judged { StructureVerdict::Suspect } else { StructureVerdict::Complete };
        let seen = SetSeen { members, quiet_ms: quiet, judged: Some(verdict) };
        match decide(&spec, &SettleRule::default(), &seen) {
            SetDecision::Complete => {
                prop_assert!(xml == Ready && pdf == Ready && !judged);
                prop_assert!(txt.is_none_or(|s| s == Ready || s == Left));
            }
            SetDecision::GiveUp => prop_assert!(![Some(xml), Some(pdf), txt].contains(&Some(Retrying))),
            SetDecision::Wait { ms, .. } => prop_assert!(ms != Some(0)),
        }
    }
}

#[test]
fn keys_hide_names_and_claims_do_not_depend_on_order() {
    let (org, share) = (OrgId::parse("st-mary").unwrap(), ShareId::parse("ward").unwrap());
    let key = unit_key(&org, &share, "stem xml|in/doe_jane");
    assert!(key.len() == 32 && !key.contains("doe"));
    assert_ne!(key, unit_key(&org, &ShareId::parse("other").unwrap(), "stem xml|in/doe_jane"));
    let fp = |n| crate::Fingerprint {
        path: crate::SharePath::new("in/a"),
        stat: crate::FileStat { file_id: n, size: 1, modified: 1, changed: 1 },
    };
    let (a, b) = (fp(1).version_key(&org, &share), fp(2).version_key(&org, &share));
    assert_eq!(claim([&a, &b]), claim([&b, &a]));
    assert_ne!(claim([&a, &b]), claim([&a]));
}
