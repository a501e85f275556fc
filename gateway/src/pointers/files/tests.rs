use super::*;
use leadline_activities::adapters::smb_fake::FakeShare;
use leadline_formats::synth::{Spec, pdf};

const QUIET: Duration = Duration::from_secs(30);
const LIMIT: usize = 1 << 20;
/// Its format does not tell where it ends.
const ROWS: &[u8] = b"1,2\n3,4\n";

/// A time of a server, as ours.
fn at(ticks: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(ticks / 10) - Duration::from_secs(11_644_473_600)
}

/// What comes of reading a file so long after its last change.
async fn read(share: &FakeShare, path: &str, later: Duration) -> Result<Bytes, FaultCode> {
    let path = SharePath::new(path);
    let now = at(share.observe(&path).await.map_err(|f| f.code)?.stat.changed) + later;
    written(share, &path, QUIET, now, LIMIT).await.map_err(|f| f.code)
}

#[tokio::test]
async fn a_file_that_somebody_writes_is_pointed_to_too_early() {
    let share = FakeShare::new();
    let mut device = share.create("in/a.csv");
    device.write(0, ROWS);
    assert_eq!(read(&share, "in/a.csv", 2 * QUIET).await, Err(FaultCode::PointerUnreachable));
    device.close();
    assert_eq!(read(&share, "in/a.csv", 2 * QUIET).await.unwrap(), ROWS);
}

#[tokio::test]
async fn only_what_proves_that_it_is_whole_is_taken_while_it_is_new() {
    let share = FakeShare::new();
    let whole = pdf::write(&Spec::new(1)).unwrap();
    share.put("in/a.csv", ROWS);
    share.put("in/whole.pdf", &whole);
    share.put("in/short.pdf", &whole[..whole.len() / 2]);
    let early = Duration::from_secs(29);
    assert_eq!(read(&share, "in/a.csv", early).await, Err(FaultCode::PointerUnreachable));
    assert_eq!(read(&share, "in/a.csv", QUIET).await.unwrap(), ROWS);
    // The server's clock is ahead.
    let path = SharePath::new("in/a.csv");
    assert!(written(&*share, &path, QUIET, SystemTime::UNIX_EPOCH, LIMIT).await.is_err());
    assert_eq!(read(&share, "in/whole.pdf", Duration::ZERO).await.unwrap(), whole);
    assert_eq!(read(&share, "in/short.pdf", early).await, Err(FaultCode::PointerUnreachable));
    assert!(read(&share, "in/short.pdf", QUIET).await.is_ok(), "of that the sender is told");
    assert_eq!(read(&share, "in/none.pdf", QUIET).await, Err(FaultCode::ShareFileGone));
}

#[test]
fn what_changes_while_it_is_read_is_not_one_version() {
    let stat = FileStat { file_id: 1, size: 8, modified: 10, changed: 10 };
    let seen = |stat: &FileStat, writer| Observation { stat: stat.clone(), writer };
    let still = seen(&stat, Writer::Absent);
    let good = Looks { before: still.clone(), opened: stat.clone(), read: 8, after: Some(still) };
    assert!(good.one());
    assert!(Looks { after: None, ..good.clone() }.one(), "all of it was read before it went");
    let longer = FileStat { size: 9, modified: 11, ..stat.clone() };
    let rewritten = FileStat { modified: 11, ..stat.clone() };
    let other = FileStat { file_id: 2, ..stat.clone() };
    for bad in [
        Looks { read: 7, ..good.clone() },
        Looks { after: Some(seen(&stat, Writer::Present)), ..good.clone() },
        Looks { after: Some(seen(&longer, Writer::Absent)), ..good.clone() },
        Looks { after: Some(seen(&rewritten, Writer::Absent)), ..good.clone() },
        Looks { before: seen(&rewritten, Writer::Absent), ..good.clone() },
        Looks { opened: other, ..good.clone() },
    ] {
        assert!(!bad.one());
    }
    // A copy has the time of its original.
    let now = 0x01DA_3C00_0000_0000;
    let copied = FileStat { changed: now - 10_000_000, ..stat };
    let copied = Looks { after: Some(seen(&copied, Writer::Absent)), ..good };
    assert_eq!(copied.rested(at(now)), Duration::from_secs(1));
    assert_eq!(Looks { after: None, ..copied }.rested(at(now)), Duration::ZERO);
}
