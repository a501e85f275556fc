//! Which contents are the same recording.

mod samples;

use leadline_formats::synth::{Spec, SynthFormat};
use leadline_formats::{Identity, Relation, inspect_bytes, relate};

fn identity(bytes: &[u8]) -> Identity {
    inspect_bytes(bytes).identity
}

/// A tar archive of these files.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out: Vec<u8> = files
        .iter()
        .flat_map(|(name, bytes)| {
            let mut one = samples::tar(name, bytes);
            one.truncate(one.len() - 1024);
            one
        })
        .collect();
    out.extend([0; 1024]);
    out
}

fn of_archives(a: &[(&str, &[u8])], b: &[(&str, &[u8])]) -> Relation {
    let plain = relate(&identity(&archive(a)), &identity(&archive(b)));
    let packed = relate(&identity(&samples::gzip(&archive(a))), &identity(&samples::gzip(&archive(b))));
    assert_eq!(plain, packed);
    plain
}

#[test]
fn archives_are_the_same_when_all_that_they_hold_is() {
    let (one, two) = (samples::philips(12), samples::philips(11));
    let (one, two) = (one.as_bytes(), two.as_bytes());
    let scp = |seed: u64| SynthFormat::Scp.write(&Spec::new(seed)).expect("valid").remove(0).bytes;
    let [first, second] = [1, 2].map(scp);
    let a = ("a.xml", one);
    assert_eq!(of_archives(&[a], &[("other.xml", one)]), Relation::Merge);
    // What says nothing of itself counts as well.
    assert_eq!(of_archives(&[a, ("b", b"sinus rhythm")], &[a, ("b", b"sinus rhythm")]), Relation::Merge);
    assert_eq!(of_archives(&[a, ("b", b"sinus rhythm")], &[a, ("b", b"fibrillation")]), Relation::Revision);
    assert_eq!(of_archives(&[a, ("b", b"sinus rhythm")], &[a]), Relation::Link);
    assert_eq!(of_archives(&[a, ("b", b"")], &[a]), Relation::Merge, "what is empty says nothing");
    let scp_beside = |scp: &[u8]| archive(&[a, ("b.xml", two), ("c.scp", scp)]);
    let (first, second) = (identity(&scp_beside(&first)), identity(&scp_beside(&second)));
    assert_eq!(relate(&first, &second), Relation::Revision);
    // Also far behind.
    let same = vec![a; 80];
    let mut all = same.clone();
    assert_eq!(of_archives(&all, &same), Relation::Merge);
    all[79].1 = two;
    assert_eq!(of_archives(&all, &same), Relation::Revision);
    // Of the same recording plain and in an archive with others it is known that they have it in common.
    assert_eq!(relate(&identity(one), &identity(&archive(&[a, ("b", b"note")]))), Relation::Link);
    assert_eq!(relate(&identity(one), &identity(&archive(&[a]))), Relation::Merge);
}

/// Members of no bytes are many in little space.
#[test]
fn an_archive_of_more_members_than_are_looked_at_is_the_same_as_no_other() {
    let one = samples::philips(12);
    let mut files = vec![("a.xml", one.as_bytes())];
    files.resize(10_002, ("n", b""));
    let with_itself = |files: &[(&str, &[u8])]| {
        let found = identity(&archive(files));
        relate(&found, &found)
    };
    assert_eq!(with_itself(&files), Relation::Link);
    files.truncate(10_000);
    assert_eq!(with_itself(&files), Relation::Merge);
}
