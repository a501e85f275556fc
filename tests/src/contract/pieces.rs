//! Copies that are too large for one request: what a store that copies in pieces of 5 MiB promises.

use super::store::{PART, Store, content, exists, meta, one_creates, stage};
use bytes::Bytes;
use leadline_activities::ports::content::Content;
use leadline_activities::ports::store::Put;
use leadline_domain::{Digest, FaultCode, StagedAt};

/// Pieces of what is copied here: the last one is short.
const PIECES: u64 = 16;

fn large() -> Bytes {
    content((PIECES as usize - 1) * PART + 1_000)
}

/// All cases. `copied`: how many pieces the store was asked to copy so far.
pub async fn all(store: &Store, copied: &(dyn Fn() -> u64 + Sync)) {
    assert!(!store.pieces().at_once(PART as u64 + 1), "a store that copies in pieces");
    cut_off(store, copied).await;
    by_whom_else(store, copied).await;
    something_else(store).await;
    race(store).await;
    quarantined(store, copied).await;
}

/// Runs `work` until so many more pieces were copied, and lets go of it there: what a process that is killed leaves. Gives
/// how many were copied then; all of them if it came to its end before.
pub async fn until<T>(work: impl Future<Output = T>, pieces: u64, copied: &(dyn Fn() -> u64 + Sync)) -> u64 {
    let before = copied();
    let mut work = std::pin::pin!(work);
    while copied() < before + pieces && futures::poll!(work.as_mut()).is_pending() {
        tokio::task::yield_now().await;
    }
    copied() - before
}

/// A copy that was cut off goes on with what is there, and what comes of it is whole.
async fn cut_off(store: &Store, copied: &(dyn Fn() -> u64 + Sync)) {
    let body = large();
    let content = Content::of(&body, store.pieces());
    assert_eq!(content.pieces.len() as u64, PIECES);
    stage(store, "cut-off", &body).await;
    let first = until(store.promote("cut-off", &content, &meta("cut-off")), 8, copied).await;
    assert!((8..PIECES).contains(&first), "{first} pieces were copied when it was cut off");
    assert_eq!(store.head_recording(&content.digest).await, Ok(None), "nothing is there before all of it is");
    let before = copied();
    assert_eq!(store.promote("cut-off", &content, &meta("cut-off")).await, Ok(Put::Created));
    // Of those that were under way when it was cut off some may have to be copied again.
    let second = copied() - before;
    assert!(second <= PIECES - 4, "{second} of {PIECES} pieces were copied again");
    assert_eq!(store.read_recording(&content.digest, content.size).await, Ok(body.clone()));
    let before = copied();
    let again = store.promote("cut-off", &content, &meta("cut-off")).await;
    assert_eq!(again, Ok(exists("cut-off", body.len())), "once more");
    assert_eq!(copied(), before, "what is there is not copied");
}

/// What somebody else's copy of the same content left is not gone on with: the recording would be theirs, who may never
/// come back.
async fn by_whom_else(store: &Store, copied: &(dyn Fn() -> u64 + Sync)) {
    let body = large();
    let content = Content::of(&body, store.pieces());
    for name in ["left-alone", "comes-later"] {
        stage(store, name, &body).await;
    }
    until(store.promote("left-alone", &content, &meta("left-alone")), 8, copied).await;
    assert_eq!(store.promote("comes-later", &content, &meta("comes-later")).await, Ok(Put::Created));
    let told = store.promote("left-alone", &content, &meta("left-alone")).await;
    assert_eq!(told, Ok(exists("comes-later", body.len())));
}

/// L2: a piece that is another one, wherever it is, makes no recording; what is staged stays.
async fn something_else(store: &Store) {
    let body = content(2 * PART + 5);
    let right = Content::of(&body, store.pieces());
    stage(store, "something-else", &body).await;
    for n in 0..right.pieces.len() {
        let mut wrong = right.clone();
        wrong.pieces[n] = Digest::of(b"another one");
        let f = store.promote("something-else", &wrong, &meta("x")).await.expect_err("another piece");
        assert_eq!(f.code, FaultCode::StoreChecksumMismatch, "{f}");
        assert_eq!(store.head_recording(&right.digest).await, Ok(None));
    }
    assert_eq!(store.promote("something-else", &right, &meta("x")).await, Ok(Put::Created));
}

/// L3, as for what is copied at once.
async fn race(store: &Store) {
    let body = content(PART + 1);
    let content = Content::of(&body, store.pieces());
    one_creates(store, &body, content, (0..4).map(|n| format!("pieces-{n}"))).await;
}

/// What is kept for a human is copied in pieces too, and goes on likewise: the step has little time.
async fn quarantined(store: &Store, copied: &(dyn Fn() -> u64 + Sync)) {
    let body = large();
    let size = body.len() as u64;
    let name = format!("kept-{}", &Digest::of(&body).to_hex()[..24]);
    stage(store, &name, &body).await;
    let first = until(store.quarantine_staged(StagedAt::now(&name), size), 8, copied).await;
    let before = copied();
    assert_eq!(store.quarantine_staged(StagedAt::now(&name), size).await, Ok(true));
    let second = copied() - before;
    assert!(first >= 8 && second <= PIECES - 4, "{second} of {PIECES} pieces were copied again after {first}");
    assert_eq!(store.quarantine_staged(StagedAt::now(&name), size).await, Ok(true), "once more");
}
