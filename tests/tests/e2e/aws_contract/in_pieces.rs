//! Copies in pieces, on the endpoint.

use super::World;
use leadline_activities::adapters::aws::AwsOrgStores;
use leadline_activities::ports::content::{Content, Pieces};
use leadline_activities::ports::store::{OrgStores, Put};
use leadline_activities::ports::transfer::{Copied, Storages};
use leadline_domain::transfer::Storage;
use leadline_domain::{Digest, FaultCode};
use leadline_tests::contract::{pieces, store};
use leadline_tests::harness::past_us::PastUs;

/// How many pieces were copied.
fn copies(w: &World) -> u64 {
    w.aws.counts().snapshot().get(&("S3".into(), "UploadPartCopy".into())).copied().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_endpoint_keeps_the_contract_of_copies_in_pieces() {
    let w = World::new().await;
    let stores = AwsOrgStores::new(w.aws.clone()).copying(Pieces::up_to(0));
    pieces::all(&stores.open(&w.a).await.unwrap(), &|| copies(&w)).await;
    // Neither open uploads nor notes of them are left.
    let root = PastUs::new(&w.endpoint.url()).await;
    let open = root.s3.list_multipart_uploads().bucket(w.a.bucket()).prefix("recordings/").send().await.unwrap();
    assert_eq!(open.uploads().len(), 1, "of the copy that nobody went on with: {open:?}");
    let notes = root.s3.list_objects_v2().bucket(w.a.bucket()).prefix("staging/copies/").send().await.unwrap();
    assert_eq!(notes.contents().iter().filter_map(|o| o.key()).collect::<Vec<_>>(), ["staging/copies/left-alone"]);
}

/// From one storage to another, of what is too large for one request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_in_pieces_goes_on_where_it_was_cut_off_and_believes_digests_only() {
    let w = World::new().await;
    let stores = AwsOrgStores::new(w.aws.clone()).copying(Pieces::up_to(0));
    let between = stores.between(&w.a, Storage::Data, Storage::Processing, false).await.unwrap();
    let (data, to) = (stores.open(&w.a).await.unwrap(), stores.alone(&w.a, Storage::Processing).await.unwrap());
    let body = store::content(76 << 20);
    let content = Content::of(&body, data.pieces());
    assert_eq!(content.pieces.len(), 16);
    store::stage(&data, "large", &body).await;
    data.promote("large", &content, &store::meta("mine")).await.unwrap();
    let first = pieces::until(between.copy(&content.digest), 8, &|| copies(&w)).await;
    assert!((8..16).contains(&first) && to.head_recording(&content.digest).await.unwrap().is_none(), "{first}");
    // Another process, which knows nothing of the first.
    let again = stores.between(&w.a, Storage::Data, Storage::Processing, false).await.unwrap();
    let (before, reads) = (copies(&w), w.aws.counts().snapshot());
    assert_eq!(again.copy(&content.digest).await, Ok(Copied::New(content.size)));
    assert!(copies(&w) - before <= 12, "{} pieces were copied again", copies(&w) - before);
    assert_eq!(w.since(&reads).get("GetObject"), Some(&1), "the source is read once, the copy is not");
    assert_eq!(to.read_recording(&content.digest, content.size).await, Ok(body));
    let there = Put::Exists { claim: "mine".into(), size: content.size };
    assert_eq!(to.head_recording(&content.digest).await, Ok(Some(there)), "with what is beside its bytes");
    assert_eq!(again.copy(&content.digest).await, Ok(Copied::There));

    // A source that is not what its key says.
    let root = PastUs::new(&w.endpoint.url()).await;
    let (named, other) = (Digest::of(b"named so"), store::content(6 << 20));
    let key = leadline_domain::message::recording_key(&named);
    root.s3.put_object().bucket(w.a.bucket()).key(&key).body(other.into()).send().await.unwrap();
    let f = again.copy(&named).await.unwrap_err();
    assert_eq!(f.code, FaultCode::StoreChecksumMismatch, "{f}");
    assert_eq!(to.head_recording(&named).await, Ok(None));
}
