use super::*;

fn stat(size: u64) -> FileStat {
    FileStat { file_id: 1, size, modified: size, changed: size }
}
fn look(size: u64, writer: Writer) -> Observation {
    Observation { stat: stat(size), writer }
}
fn path() -> SharePath {
    SharePath::new("in/a")
}
fn tracker() -> Tracker {
    Tracker::new(&SettleRule::default())
}

#[test]
fn a_file_that_is_written_and_closed_starts_once_it_is_quiet() {
    let mut t = tracker();
    t.touched(path(), 0);
    assert_eq!(t.due(0, 9), [path()]);
    assert_eq!(t.looked(&path(), Some(&look(1, Writer::Present)), 0), Due::Nothing);
    assert_eq!(t.next_look(), Some(60));
    assert_eq!(t.looked(&path(), Some(&look(5, Writer::Absent)), 60), Due::Nothing);
    assert_eq!(t.next_look(), Some(260));
    let Due::Start(r) = t.looked(&path(), Some(&look(5, Writer::Absent)), 260) else { panic!() };
    assert_eq!((r.quiet_ms, r.at_rest), (200, true));
    assert_eq!(t.next_look(), None, "nothing is due while the start is under way");
}

#[test]
fn a_slow_writer_gets_a_lifecycle_and_one_nudge_when_it_closes() {
    let mut t = tracker();
    t.touched(path(), 0);
    let (mut now, mut size) = (0, 1);
    let started = loop {
        if let Due::Start(r) = t.looked(&path(), Some(&look(size, Writer::Present)), now) {
            break r;
        }
        now = t.next_look().unwrap();
        size += 1;
    };
    assert!(!started.at_rest && now >= ANNOUNCE_MS);
    t.opened(&path(), &stat(size), false, now);
    t.touched(path(), now + 10);
    assert_eq!(t.looked(&path(), Some(&look(99, Writer::Present)), now + 10), Due::Nothing);
    assert_eq!(t.looked(&path(), Some(&look(99, Writer::Absent)), now + 100), Due::Nothing);
    assert!(matches!(t.looked(&path(), Some(&look(99, Writer::Absent)), now + 300), Due::Nudge(_)));
    assert_eq!(t.looked(&path(), Some(&look(99, Writer::Absent)), now + 600), Due::Nothing);
}

#[test]
fn two_listings_make_a_backlog_ready_without_a_look_at_each() {
    let mut t = tracker();
    let entries: Vec<Entry> =
        (0..500).map(|n| Entry { path: SharePath::new(format!("in/{n}")), stat: stat(n) }).collect();
    t.listed(&entries, &[], 0);
    assert!(t.take_listed_at_rest(0).is_empty());
    t.listed(&entries, &[], 250);
    assert_eq!(t.take_listed_at_rest(250).len(), 500);
    assert_eq!((t.pending(), t.unstarted()), (0, 500), "none is with Temporal yet");
    t.opened(&entries[0].path, &entries[0].stat, true, 260);
    assert_eq!(t.unstarted(), 499);
}

#[test]
fn what_ended_in_place_is_left_alone_until_it_changes() {
    let mut t = tracker();
    let q = Outcome::Quarantined { code: leadline_domain::FaultCode::FileStalled };
    t.ended(&path(), &stat(1), &q, ArchiveState::Untouched);
    t.listed(&[Entry { path: path(), stat: stat(1) }], &[], 0);
    assert_eq!((t.pending(), t.next_look()), (0, None));
    t.listed(&[Entry { path: path(), stat: stat(2) }], &[], 1_000);
    assert_eq!(t.pending(), 1);
}

#[test]
fn a_file_that_was_withdrawn_and_is_there_again_is_new() {
    let mut t = tracker();
    let w = Outcome::Withdrawn { how: leadline_domain::lifecycle::Withdrawal::Removed };
    t.ended(&path(), &stat(1), &w, ArchiveState::Untouched);
    t.listed(&[Entry { path: path(), stat: stat(1) }], &[], 0);
    assert_eq!(t.pending(), 1);
}

#[test]
fn a_file_that_takes_the_name_of_one_under_way_is_new() {
    let other = Observation { stat: FileStat { file_id: 2, ..stat(7) }, writer: Writer::Absent };
    for by_listing in [true, false] {
        let mut t = tracker();
        t.opened(&path(), &stat(1), true, 0);
        if by_listing {
            t.listed(&[Entry { path: path(), stat: other.stat.clone() }], &[], 10);
        } else {
            t.touched(path(), 10);
            assert_eq!(t.looked(&path(), Some(&other), 10), Due::Nothing);
        }
        assert_eq!((t.pending(), t.open(9).len()), (1, 0));
        assert!(matches!(t.looked(&path(), Some(&other), 500), Due::Start(_)));
    }
}

#[test]
fn a_file_whose_set_begins_anew_is_seen_anew() {
    let mut t = tracker();
    let q = Outcome::Quarantined { code: leadline_domain::FaultCode::SetIncomplete };
    t.ended(&path(), &stat(1), &q, ArchiveState::Untouched);
    t.rejoin(&path(), 1_000);
    assert_eq!((t.pending(), t.next_look()), (1, Some(1_200)));
    assert!(matches!(t.looked(&path(), Some(&look(1, Writer::Absent)), 1_200), Due::Start(_)));
    t.rejoin(&path(), 1_300);
    assert_eq!(t.pending(), 0, "its start is under way");
    t.rejoin(&SharePath::new("in/unknown"), 1_300);
    assert!(!t.knows(&SharePath::new("in/unknown")));
}

#[test]
fn a_listing_does_not_close_what_is_to_join_a_new_set() {
    let mut t = tracker();
    t.closed(&path(), &stat(1));
    assert_eq!(t.pending(), 0);
    t.rejoin(&path(), 0);
    t.closed(&path(), &stat(1));
    assert_eq!(t.pending(), 1);
    assert!(matches!(t.looked(&path(), Some(&look(1, Writer::Absent)), 200), Due::Start(_)));
    t.closed(&path(), &stat(1));
    assert_eq!(t.unstarted(), 1, "nor one whose start is under way");
    t.dealt_with(&Fingerprint { path: path(), stat: stat(1) });
    assert_eq!((t.unstarted(), t.knows(&path())), (0, true));
}

#[test]
fn what_counts_as_starting_has_a_start() {
    let mut t = tracker();
    let (kept, lost) = (SharePath::new("in/kept"), SharePath::new("in/lost"));
    let entries = [&kept, &lost].map(|p| Entry { path: p.clone(), stat: stat(1) });
    t.listed(&entries, &[], 0);
    t.listed(&entries, &[], 250);
    assert_eq!(t.take_listed_at_rest(250).len(), 2);
    assert_eq!(t.without_start(&BTreeSet::from([&kept])), 1);
    t.listed(&entries, &[], 500);
    assert_eq!((t.pending(), t.knows(&kept)), (1, true), "the one without a start is seen anew");
}

#[test]
fn what_is_gone_is_forgotten() {
    let mut t = tracker();
    t.listed(&[Entry { path: path(), stat: stat(1) }], &[], 0);
    t.listed(&[], &[], 10);
    assert_eq!(t.pending(), 0);
    t.touched(path(), 20);
    assert_eq!(t.looked(&path(), None, 20), Due::Nothing);
    assert_eq!(t.next_look(), None);
}

#[test]
fn what_is_in_a_folder_that_cannot_be_listed_is_not_forgotten() {
    let (away, below) = ([SharePath::new("in/away")], |n: &str| SharePath::new(format!("in/away/{n}")));
    let (open, closed, new) = (below("open"), below("closed"), below("new"));
    let all = [&open, &closed, &new].map(|p| Entry { path: p.clone(), stat: stat(1) });
    let mut t = tracker();
    t.opened(&open, &stat(1), true, 0);
    t.closed(&closed, &stat(1));
    t.listed(&all, &[], 0);
    t.listed(&[], &away, 10);
    assert_eq!([&open, &closed, &new].map(|p| t.knows(p)), [true, true, false]);
    t.listed(&all, &[], 20);
    assert_eq!((t.pending(), t.open(9).len()), (1, 1), "only the new one is new");
}

#[test]
fn a_file_that_a_listing_lacks_while_its_lifecycle_runs_is_told() {
    let mut t = tracker();
    t.opened(&path(), &stat(1), true, 0);
    t.closed(&SharePath::new("in/closed"), &stat(1));
    assert_eq!(t.listed(&[], &[], 10), [Fingerprint { path: path(), stat: stat(1) }]);
    assert!(t.listed(&[], &[], 20).is_empty(), "once");
}

#[test]
fn every_lifecycle_is_checked_on_in_its_turn() {
    let mut t = tracker();
    for n in 0..5 {
        t.opened(&SharePath::new(format!("in/{n}")), &stat(1), true, 0);
    }
    let turn = |t: &mut Tracker| -> Vec<String> { t.open(2).iter().map(|f| f.path.name().to_owned()).collect() };
    assert_eq!([turn(&mut t), turn(&mut t), turn(&mut t)].concat(), ["0", "1", "2", "3", "4", "0"]);
    t.forgotten(&SharePath::new("in/0"));
    assert_eq!(turn(&mut t), ["1", "2"], "the last one may be gone by now");
    assert_eq!(t.open(9).len(), 4, "and none comes twice");
}

#[test]
fn a_file_that_was_written_again_after_its_lifecycle_is_seen_anew() {
    let mut t = tracker();
    t.opened(&path(), &stat(1), true, 0);
    t.touched(path(), 10);
    assert_eq!(t.looked(&path(), Some(&look(2, Writer::Absent)), 10), Due::Nothing);
    assert!(matches!(t.looked(&path(), Some(&look(2, Writer::Absent)), 300), Due::Nudge(_)));
    t.rejoin(&path(), 400);
    assert_eq!((t.pending(), t.open(9).len()), (1, 0));
    assert!(matches!(t.looked(&path(), Some(&look(2, Writer::Absent)), 700), Due::Start(_)));
}
