use super::*;
use crate::adapters::smb_fake::FakeShare;
use crate::ports::share::Entry;
use leadline_domain::{FileStat, OrgId, SettleRule, ShareId, Writer};

fn input() -> WatchInput {
    WatchInput { org: OrgId::parse("st-mary").unwrap(), share: ShareId::parse("ward").unwrap() }
}

fn file(n: u64, modified: u64) -> Fingerprint {
    let stat = FileStat { file_id: n, size: 1, modified, changed: modified };
    Fingerprint { path: SharePath::new(format!("in/{n}")), stat }
}

#[test]
fn each_version_that_was_dealt_with_is_known() {
    let mut seen = SeenBefore::default();
    [file(1, 5), file(1, 9), file(2, 5)].iter().for_each(|f| seen.insert(&input(), f));
    assert!(seen.has(&input(), &file(1, 5)) && seen.has(&input(), &file(1, 9)));
    assert!(!seen.has(&input(), &file(1, 7)) && !seen.has(&input(), &file(2, 9)));
}

#[test]
fn what_was_dealt_with_is_not_carried_again_unless_its_set_may_be_a_new_one() {
    let ready = |n| Ready { fingerprint: file(n, 5), quiet_ms: 9, at_rest: true };
    let mut seen = SeenBefore::default();
    seen.insert(&input(), &file(1, 5));
    seen.insert(&input(), &file(2, 5));
    seen.insert(&input(), &file(3, 4));
    let second_is_of_a_set = |p: &SharePath| *p == file(2, 5).path;
    let parted = seen.parted(&input(), second_is_of_a_set, (1..4).map(ready).collect());
    assert_eq!(parted, (vec![ready(2), ready(3)], vec![ready(1)]));
}

#[test]
fn what_a_lifecycle_of_its_own_has_is_kept_out_of_batches_once() {
    let ready = || (0..20).map(|n| Ready { fingerprint: file(n, 5), quiet_ms: 9, at_rest: true }).collect();
    // One began alone, one left its batch.
    let items = vec![BatchItem::Left { workflow_id: lifecycle_id(&input(), &file(4, 1)), started: true }];
    let mut own: Own = left(items).chain([lifecycle_id(&input(), &file(3, 1))]).collect();
    let (batch, single) = parted(&input(), 10, &mut own, ready());
    assert_eq!(single.iter().map(|r| r.fingerprint.stat.file_id).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(batch.len(), 18);
    let (batch, single) = parted(&input(), 10, &mut own, ready());
    assert_eq!((batch.len(), single.len()), (20, 0));
    let (batch, single) = parted(&input(), 0, &mut own, ready());
    assert_eq!((batch.len(), single.len()), (0, 20), "large ones go alone");
}

#[test]
fn what_was_away_for_a_listing_while_its_lifecycle_ran_goes_to_it_again() {
    let files: Vec<Fingerprint> = (0..20).map(|n| file(n, 5)).collect();
    let entries: Vec<_> = files.iter().map(|f| Entry { path: f.path.clone(), stat: f.stat.clone() }).collect();
    let rule = SettleRule::default();
    let (mut tracker, mut own) = (Tracker::new(&rule), Own::new());
    for f in &files[..10] {
        tracker.opened(&f.path, &f.stat, true, 0);
    }
    own.extend(tracker.listed(&[], &[], 10).iter().map(|f| lifecycle_id(&input(), f)));
    for now in [20, 20 + rule.strong_quiet_ms] {
        assert!(tracker.listed(&entries, &[], now).is_empty());
    }
    let ready = tracker.take_listed_at_rest(20 + rule.strong_quiet_ms);
    let (batch, single) = parted(&input(), 10, &mut own, ready);
    assert!(batch.len() == 10 && batch.iter().all(|r| files[10..].contains(&r.fingerprint)));
    assert!(single.len() == 10 && single.iter().all(|r| files[..10].contains(&r.fingerprint)));
}

#[test]
fn a_file_that_the_server_does_not_give_out_is_not_the_end_of_the_share() {
    for code in [FaultCode::ShareAccessDenied, FaultCode::ShareProtocol] {
        let mut tracker = Tracker::new(&SettleRule::default());
        let path = SharePath::new("in/a");
        tracker.touched(path.clone(), 0);
        let t = taken(&mut tracker, vec![(path.clone(), Err(Fault::new(code, "test")))], 0);
        assert!(t.lost.is_none(), "{code}");
        assert_eq!(t.ready.iter().map(|r| (&r.fingerprint.path, r.at_rest)).collect::<Vec<_>>(), [(&path, false)]);
    }
}

#[tokio::test]
async fn a_hidden_file_is_taken_up_by_hints_as_little_as_by_listings() {
    let (share, mut tracker, path) = (FakeShare::new(), Tracker::new(&SettleRule::default()), SharePath::new("in/a"));
    share.put("in/a", b"abc");
    tracker.touched(path.clone(), 0);
    taken(&mut tracker, vec![(path.clone(), share.observe_listed(&path).await)], 0);
    assert_eq!(tracker.pending(), 1);
    share.hide("in/a");
    taken(&mut tracker, vec![(path.clone(), share.observe_listed(&path).await)], 10);
    assert_eq!(tracker.pending(), 0);
    assert!(share.observe(&path).await.is_ok(), "who has it already goes on with it");
}

#[test]
fn a_look_that_fails_holds_up_no_other_file() {
    let rule = SettleRule::default();
    let look =
        |id| Observation { stat: FileStat { file_id: id, size: 1, modified: 1, changed: 1 }, writer: Writer::Absent };
    let [first, lost, last] = ["in/a", "in/b", "in/c"].map(SharePath::new);
    let mut tracker = Tracker::new(&rule);
    for p in [&first, &lost, &last] {
        tracker.touched(p.clone(), 0);
    }
    let all = |second| vec![(first.clone(), Ok(look(1))), (lost.clone(), second), (last.clone(), Ok(look(3)))];
    let begun = taken(&mut tracker, all(Ok(look(2))), 0);
    assert!(begun.ready.is_empty() && begun.lost.is_none());

    let rest = rule.strong_quiet_ms;
    let fault = Fault::new(FaultCode::ShareTimeout, "test");
    let t = taken(&mut tracker, all(Err(fault)), rest);
    let started: Vec<_> = t.ready.iter().map(|r| &r.fingerprint.path).collect();
    assert_eq!(started, [&first, &last]);
    assert_eq!(t.lost.map(|f| f.code), Some(FaultCode::ShareTimeout));
    assert_eq!(tracker.due(rest, 9), [lost], "it is looked at again by the next session");
}
