//! What every [`OrgStore`] promises.

use bytes::Bytes;
use futures::future::join_all;
use leadline_activities::ports::content::{Content, Pieces};
use leadline_activities::ports::staging::Once;
use leadline_activities::ports::store::{OrgStore, Part, Put, RecordingMeta, Shelf, Upload};
use leadline_domain::{Digest, FaultCode, Ingress, StagedAt};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A store under test. Cases use contents of their own, so that they can share one bucket.
pub type Store = Arc<dyn OrgStore>;

/// S3: every part but the last has at least 5 MiB.
pub(super) const PART: usize = 5 * 1024 * 1024;

/// Different bytes each time.
#[must_use]
pub fn content(len: usize) -> Bytes {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut x =
        NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(std::process::id());
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out.extend_from_slice(&x.to_le_bytes());
    }
    out.truncate(len);
    out.into()
}

/// Metadata with this claim.
#[must_use]
pub fn meta(claim: &str) -> RecordingMeta {
    RecordingMeta {
        claim: claim.into(),
        format: "scp-ecg".into(),
        media_type: "application/octet-stream".into(),
        shelf: Shelf::Recordings,
    }
}

/// Content that is small enough to be copied at once.
pub(super) fn whole(body: &Bytes) -> Content {
    Content::of(body, Pieces::default())
}

fn sha(b: &[u8]) -> [u8; 32] {
    *Digest::of(b).as_bytes()
}

pub(super) fn exists(claim: &str, size: usize) -> Put {
    Put::Exists { claim: claim.into(), size: size as u64 }
}

/// All cases that need nothing but a store.
pub async fn all(store: &Store) {
    store.check().await.expect("the store answers");
    small(store).await;
    shelves(store).await;
    staging(store).await;
    written_once(store).await;
    race(store).await;
    wrong_checksum(store).await;
    resumed_upload(store).await;
    unknown_upload(store).await;
    promotions(store).await;
    bad_promotion(store).await;
    promotion_race(store).await;
    markers(store).await;
    notes(store).await;
}

/// Stages content as a multipart upload of one or more parts.
pub async fn stage(store: &Store, name: &str, content: &Bytes) {
    let upload = store.begin_upload(name).await.expect("begun");
    let mut parts = Vec::new();
    for (n, chunk) in content.chunks(PART).enumerate() {
        let number = u32::try_from(n + 1).expect("few parts");
        let body = content.slice_ref(chunk);
        parts.push(store.upload_part(&upload, number, body, sha(chunk)).await.expect("part"));
    }
    store.complete_upload(&upload, &parts).await.expect("completed");
}

/// Written once, found, read back, not written again.
pub async fn small(store: &Store) {
    let body = content(40_000);
    let digest = Digest::of(&body);
    assert_eq!(store.head_recording(&digest).await, Ok(None));
    assert_eq!(store.put_recording(&digest, body.clone(), &meta("first")).await, Ok(Put::Created));
    // A second writer and a repeat of the first: the same answer, and whose it is can be told.
    assert_eq!(store.put_recording(&digest, body.clone(), &meta("second")).await, Ok(exists("first", body.len())));
    assert_eq!(store.put_recording(&digest, body.clone(), &meta("first")).await, Ok(exists("first", body.len())));
    assert_eq!(store.head_recording(&digest).await, Ok(Some(exists("first", body.len()))));
    assert_eq!(store.read_recording(&digest, 40_000).await, Ok(body));
    assert_eq!(store.read_recording(&digest, 39_999).await.unwrap_err().code, FaultCode::BugInvariant);
}

/// The same bytes as part of a set and by themselves are two objects: neither is the claim of the other.
pub async fn shelves(store: &Store) {
    let member = |claim| RecordingMeta { shelf: Shelf::Members, ..meta(claim) };
    let body = content(9_000);
    let digest = Digest::of(&body);
    assert_eq!(store.put_recording(&digest, body.clone(), &member("set")).await, Ok(Put::Created));
    assert_eq!(store.head_recording(&digest).await, Ok(None));
    assert_eq!(store.put_recording(&digest, body.clone(), &meta("alone")).await, Ok(Put::Created));
    assert_eq!(store.put_recording(&digest, body.clone(), &member("other")).await, Ok(exists("set", body.len())));
    let large = content(PART + 100);
    for (name, meta) in [("a-member", member("set")), ("a-recording", meta("alone"))] {
        stage(store, name, &large).await;
        assert_eq!(store.promote(name, &whole(&large), &meta).await, Ok(Put::Created));
    }
}

/// L3: of many at once exactly one creates, the others see its claim.
pub async fn race(store: &Store) {
    for _ in 0..5 {
        let body = content(10_000);
        let digest = Digest::of(&body);
        let puts =
            join_all((0..16).map(|n| {
                let (store, body) = (Arc::clone(store), body.clone());
                async move {
                    (n, store.put_recording(&digest, body, &meta(&format!("claim-{n}"))).await.expect("an answer"))
                }
            }))
            .await;
        let winners: Vec<i32> = puts.iter().filter(|(_, p)| *p == Put::Created).map(|(n, _)| *n).collect();
        assert_eq!(winners.len(), 1, "winners of a race: {winners:?}");
        let seen = exists(&format!("claim-{}", winners[0]), body.len());
        assert!(puts.iter().all(|(n, p)| *n == winners[0] || *p == seen));
    }
}

/// L2: bytes that are not those of the digest are not taken.
pub async fn wrong_checksum(store: &Store) {
    let digest = Digest::of(&content(10));
    let f = store.put_recording(&digest, content(1000), &meta("x")).await.unwrap_err();
    assert_eq!(f.code, FaultCode::StoreChecksumMismatch);
    assert_eq!(store.head_recording(&digest).await, Ok(None));
    let upload = store.begin_upload("wrong-checksum").await.expect("begun");
    let f = store.upload_part(&upload, 1, content(1000), sha(b"other")).await.unwrap_err();
    assert_eq!(f.code, FaultCode::StoreChecksumMismatch);
    store.abort_upload(&upload).await.expect("given up");
}

/// After a crash, what the store holds is listed, compared and not sent again.
pub async fn resumed_upload(store: &Store) {
    let body = content(2 * PART + 1000);
    let digest = Digest::of(&body);
    let upload = store.begin_upload("resumed").await.expect("begun");
    assert_eq!(store.list_parts(&upload).await, Ok(vec![]));
    for n in [2, 1] {
        let from = (n - 1) * PART;
        let chunk = body.slice(from..from + PART);
        let part =
            store.upload_part(&upload, u32::try_from(n).unwrap(), chunk.clone(), sha(&chunk)).await.expect("part");
        assert_eq!((part.sha256, part.size), (sha(&chunk), PART as u64));
    }
    // The process that did this is gone; another one knows the name.
    assert_eq!(store.find_upload("resume").await, Ok(None), "a name that this one begins with");
    let again = store.find_upload("resumed").await.expect("asked").expect("found");
    assert_eq!(again, upload);
    let mut held: Vec<Part> = store.list_parts(&again).await.expect("listed");
    assert_eq!(held.iter().map(|p| (p.number, p.size)).collect::<Vec<_>>(), [(1, PART as u64), (2, PART as u64)]);
    assert_eq!(held[0].sha256, sha(&body[..PART]));
    let rest = body.slice(2 * PART..);
    held.push(store.upload_part(&again, 3, rest.clone(), sha(&rest)).await.expect("part"));
    store.complete_upload(&again, &held).await.expect("completed");
    assert_eq!(store.find_upload("resumed").await, Ok(None), "a completed one");
    assert_eq!(store.promote("resumed", &whole(&body), &meta("large")).await, Ok(Put::Created));
    assert_eq!(store.read_recording(&digest, body.len() as u64).await, Ok(body));
}

/// An upload that is not known (any more) has a fault of its own; giving it up is success.
pub async fn unknown_upload(store: &Store) {
    let body = content(1000);
    let upload = store.begin_upload("given-up").await.expect("begun");
    let part = store.upload_part(&upload, 1, body.clone(), sha(&body)).await.expect("part");
    store.abort_upload(&upload).await.expect("given up");
    store.abort_upload(&upload).await.expect("given up twice");
    lost(store, &upload, &part).await;
}

/// Every use of a lost upload says `store.upload_lost`.
pub async fn lost(store: &Store, upload: &Upload, part: &Part) {
    let code = |r: Result<(), leadline_domain::Fault>| r.unwrap_err().code;
    assert_eq!(code(store.list_parts(upload).await.map(drop)), FaultCode::StoreUploadLost);
    let body = content(10);
    assert_eq!(
        code(store.upload_part(upload, 1, body.clone(), sha(&body)).await.map(drop)),
        FaultCode::StoreUploadLost
    );
    assert_eq!(code(store.complete_upload(upload, std::slice::from_ref(part)).await), FaultCode::StoreUploadLost);
}

/// The staged object becomes the recording once; repeats and duplicates are told apart by the claim.
pub async fn promotions(store: &Store) {
    let body = content(PART + 17);
    let (digest, size) = (Digest::of(&body), body.len() as u64);
    stage(store, "mine", &body).await;
    assert_eq!(store.promote("mine", &whole(&body), &meta("mine")).await, Ok(Put::Created));
    // The same step again, after a crash: the staged object is gone, our claim stands.
    assert_eq!(store.promote("mine", &whole(&body), &meta("mine")).await, Ok(exists("mine", body.len())));
    // Another file with the same content: the first claim stays, its staged object does not.
    stage(store, "theirs", &body).await;
    assert_eq!(store.promote("theirs", &whole(&body), &meta("theirs")).await, Ok(exists("mine", body.len())));
    assert_eq!(store.promote("theirs", &whole(&body), &meta("theirs")).await, Ok(exists("mine", body.len())));
    assert_eq!(store.put_recording(&digest, body.clone(), &meta("small")).await, Ok(exists("mine", body.len())));
    assert_eq!(store.read_recording(&digest, size).await, Ok(body));
}

/// L2, L5: nothing appears under a digest when nothing, or something else, is staged.
pub async fn bad_promotion(store: &Store) {
    let body = content(3000);
    let digest = Digest::of(&body);
    let f = store.promote("never-staged", &whole(&body), &meta("x")).await.unwrap_err();
    assert_eq!(f.code, FaultCode::StoreUploadLost);
    stage(store, "other-size", &body).await;
    let f = store.promote("other-size", &Content { size: 2999, ..whole(&body) }, &meta("x")).await.unwrap_err();
    assert_eq!(f.code, FaultCode::StoreChecksumMismatch);
    assert_eq!(store.head_recording(&digest).await, Ok(None));
    assert_eq!(store.promote("other-size", &whole(&body), &meta("x")).await, Ok(Put::Created));
}

/// Eight files of one content, promoted at once: one creates.
pub async fn promotion_race(store: &Store) {
    let body = content(20_000);
    one_creates(store, &body, whole(&body), (0..8).map(|n| format!("race-{n}"))).await;
}

/// Stages a content under each name and promotes all at once: one creates, the others are told which.
pub(super) async fn one_creates(store: &Store, body: &Bytes, content: Content, names: impl Iterator<Item = String>) {
    let names: Vec<String> = names.collect();
    for name in &names {
        stage(store, name, body).await;
    }
    let puts = join_all(names.iter().map(|name| {
        let (meta, content) = (meta(name), &content);
        async move { (name, store.promote(name, content, &meta).await.expect("an answer")) }
    }))
    .await;
    let winners: Vec<&String> = puts.iter().filter(|(_, p)| *p == Put::Created).map(|(n, _)| *n).collect();
    assert_eq!(winners.len(), 1, "winners: {winners:?}");
    assert!(puts.iter().all(|(n, p)| *n == winners[0] || *p == exists(winners[0], body.len())));
}

/// Markers: repeats are harmless, shares are apart, versions are kept.
pub async fn markers(store: &Store) {
    for version in ["v1", "v1", "v2"] {
        store.put_seen("share-a", "key-1", version).await.expect("marked");
    }
    store.put_seen("share-a", "key-2", "v1").await.expect("marked");
    store.put_seen("share-ab", "key-3", "v1").await.expect("marked");
    let seen: BTreeSet<(String, String)> = store.list_seen("share-a").await.expect("listed").into_iter().collect();
    let expected = [("key-1", "v1"), ("key-1", "v2"), ("key-2", "v1")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(seen, BTreeSet::from(expected));
    assert_eq!(store.list_seen("share-without").await, Ok(vec![]));
}

/// Of a claim the last note is found, and only by its own name.
pub async fn notes(store: &Store) {
    let claim = unique("claim");
    assert_eq!(store.noted_claim(&claim).await, Ok(None));
    for note in ["first", "{\"second\":1}"] {
        store.note_claim(&claim, note).await.expect("noted");
        assert_eq!(store.noted_claim(&claim).await, Ok(Some(note.to_owned())));
    }
    assert_eq!(store.noted_claim(&claim[..claim.len() - 1]).await, Ok(None));
    assert!(
        store.head_staged(StagedAt::now(&claim)).await.expect("asked").is_none(),
        "it is nothing that was received"
    );
}

/// A name that no other case uses.
pub(super) fn unique(what: &str) -> String {
    format!("{what}-{}", &Digest::of(&content(8)).to_hex()[..24])
}

/// What was received: staged once, read by its version, adopted, kept or removed.
async fn staging(store: &Store) {
    let (body, name) = (content(300_000), unique("in"));
    let digest = Digest::of(&body);
    assert!(store.head_staged(StagedAt::now(&name)).await.expect("asked").is_none());
    let wrong = store.stage(&name, body.clone(), &Digest::of(b"other")).await.expect_err("another digest");
    assert_eq!(wrong.code, FaultCode::StoreChecksumMismatch);
    assert_eq!(store.stage(&name, body.clone(), &digest).await.expect("staged"), Put::Created);
    let again = store.stage(&name, content(10), &Digest::of(b"")).await;
    assert!(!matches!(again, Ok(Put::Created)), "what is staged is not replaced");
    let there = store.head_staged(StagedAt::now(&name)).await.expect("asked").expect("it is there");
    assert_eq!(there.size, body.len() as u64);
    let part = store
        .read_staged(StagedAt::now(&name), &there.etag, 100, 1_000)
        .await
        .expect("read")
        .expect("the same version");
    assert_eq!(part, body.slice(100..1_100));
    let tail = store
        .read_staged(StagedAt::now(&name), &there.etag, 299_990, 1_000)
        .await
        .expect("read")
        .expect("the same version");
    assert_eq!(tail, body.slice(299_990..));
    assert!(
        store.read_staged(StagedAt::now(&name), "\"0000\"", 0, 10).await.expect("asked").is_none(),
        "another version"
    );
    let meta = meta(&unique("claim"));
    assert_eq!(store.adopt(StagedAt::now(&name), &whole(&body), &meta).await.expect("adopted"), Put::Created);
    let repeat = store.adopt(StagedAt::now(&name), &whole(&body), &meta).await.expect("adopted again");
    assert_eq!(repeat, exists(&meta.claim, body.len()), "it stays where it was, and the claim is kept");
    store.remove_staged(&name).await.expect("removed");
    store.remove_staged(&name).await.expect("not there is success");
    assert!(store.read_staged(StagedAt::now(&name), &there.etag, 0, 10).await.expect("asked").is_none());

    let (body, name) = (content(70_000), unique("in"));
    assert!(!store.quarantine_staged(StagedAt::now(&name), 70_000).await.expect("asked"), "there is nothing to keep");
    store.stage(&name, body.clone(), &Digest::of(&body)).await.expect("staged");
    assert!(store.quarantine_staged(StagedAt::now(&name), 70_000).await.expect("kept"));
    assert!(store.head_staged(StagedAt::now(&name)).await.expect("asked").is_none());
    assert!(store.quarantine_staged(StagedAt::now(&name), 70_000).await.expect("a repeat finds it"));
    // Another content comes under the same name: it stays too.
    let other = content(60_000);
    store.stage(&name, other.clone(), &Digest::of(&other)).await.expect("staged");
    assert!(store.quarantine_staged(StagedAt::now(&name), 60_000).await.expect("kept beside it"));
    assert!(store.head_staged(StagedAt::now(&name)).await.expect("asked").is_none());
}

/// The first one stays, and says who it was.
async fn written_once(store: &Store) {
    let name = unique("once");
    for place in [Once::Identities, Once::Received(Ingress::Hl7v2)] {
        let writes = (0..8).map(|n| {
            let (store, name) = (Arc::clone(store), name.clone());
            async move { store.put_once(place, &name, content(100), &format!("writer {n}")).await.expect("answered") }
        });
        let answers = join_all(writes).await;
        let first = answers.iter().position(|a| *a == Put::Created).expect("one wins");
        let told = exists(&format!("writer {first}"), 100);
        assert!(answers.iter().enumerate().all(|(n, a)| n == first || *a == told), "{answers:?}");
    }
}
