//! One session of a watch: from subscribing to the share until something is lost.

use super::members::{self, Units};
use super::starts::{Report, Starts};
use super::tracker::{Due, Ready, Tracker};
use super::{Status, update};
use crate::deps::Deps;
use crate::engine::{Engine, Started};
use crate::metrics::METRICS;
use crate::ports::share::{Hint, Listing, Share, Skipped};
use crate::registry::ShareConfig;
use futures::StreamExt;
use leadline_domain::{ArchiveRule, Fault, FaultCode, Fingerprint, Observation, SharePath};
use leadline_workflows::contracts::WatchInput;
use leadline_workflows::ids;
use leadline_workflows::ingest_batch::MAX_FILES;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

/// From this many files at rest at once a batch is cheaper than single lifecycles.
const BATCH_MIN: usize = 8;
/// From this many new files in a listing, a second listing is cheaper than a look at each.
const BACKLOG: usize = 32;
/// Looks taken at a time.
const LOOKS: usize = 16;
/// Running lifecycles checked on at a reconcile.
const CHECKS: usize = 64;

/// Milliseconds of a monotonic clock that began with the first session.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn now(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
    fn at(self, ms: u64) -> Instant {
        self.0 + Duration::from_millis(ms)
    }
}

static EPOCH: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();

/// What one session leaves to the next.
pub(super) struct State {
    tracker: Tracker,
    starts: Starts,
    units: Units,
}

/// Runs until a fault ends it.
pub(super) async fn run(
    deps: &Arc<Deps>,
    engine: &Engine,
    input: &WatchInput,
    status: &Status,
    state: &mut Option<State>,
) -> Result<Infallible, Fault> {
    let config = deps.registry.share(&input.org, &input.share)?;
    let share = deps.share(&input.org, &input.share).await?;
    // Subscribed before listing: what happens in between is told twice rather than never.
    let mut hints = subscribe(share.as_ref(), &config.folder).await?;
    let seen = seen_before(deps, input, &config).await?;
    if state.is_none() {
        wait_for_batches(engine, input).await?;
    }
    let queue = deps.registry.env().task_queue(&config.group);
    let State { tracker, starts, units } = state.get_or_insert_with(|| State {
        tracker: Tracker::new(&config.settle),
        starts: Starts::new(engine.clone(), input.clone(), config.clone(), queue.clone()),
        units: Units::default(),
    });
    starts.configure(&config, &queue);
    tracker.configure(&config.settle);
    let clock = Clock(*EPOCH.get_or_init(Instant::now));
    let mut s = Session { deps, engine, input, status, config, share, seen, tracker, starts, units, clock };
    update(status, |s| s.fault = None);
    s.reconcile().await?;
    let mut next_list = clock.now() + s.config.reconcile_ms;
    loop {
        if s.tracker.pending() >= BACKLOG {
            // The second look at a backlog is a second listing, once the first is old enough.
            next_list = next_list.min(clock.now() + s.config.settle.strong_quiet_ms + 1);
        }
        let wake = s.tracker.next_look().filter(|_| s.tracker.pending() < BACKLOG).unwrap_or(next_list).min(next_list);
        tokio::select! {
            h = hints.recv() => match h {
                Some(Ok(batch)) => if s.hinted(batch) { next_list = clock.now() },
                Some(Err(f)) => return Err(f),
                None => return Err(Fault::new(FaultCode::ShareUnreachable, "the notification stream ended")),
            },
            Some(r) = s.starts.next() => s.reported(r),
            () = tokio::time::sleep_until(clock.at(wake)) => {}
        }
        if clock.now() >= next_list {
            s.reconcile().await?;
            next_list = clock.now() + s.config.reconcile_ms;
        }
        if s.tracker.pending() < BACKLOG {
            s.look().await?;
        }
    }
}

/// Pumps hints into a channel, so that waiting for them can be given up without losing any.
async fn subscribe(share: &dyn Share, folder: &SharePath) -> Result<mpsc::Receiver<Result<Vec<Hint>, Fault>>, Fault> {
    let mut hints = share.watch(folder).await?;
    let (tx, rx) = mpsc::channel(64);
    tokio::spawn(async move {
        loop {
            let next = tokio::select! {
                n = hints.next() => n,
                () = tx.closed() => return,
            };
            let last = next.is_err();
            if tx.send(next).await.is_err() || last {
                return;
            }
        }
    });
    Ok(rx)
}

/// Versions that were dealt with and left in place, by file key.
async fn seen_before(deps: &Deps, input: &WatchInput, config: &ShareConfig) -> Result<BTreeMap<String, String>, Fault> {
    if config.archive != ArchiveRule::Leave {
        return Ok(BTreeMap::new());
    }
    let store = deps.store(&input.org).await?;
    Ok(store.list_seen(input.share.as_str()).await?.into_iter().collect())
}

/// A batch of an earlier life of the watch takes care of its files until it ends, which it does: nothing waits in it.
async fn wait_for_batches(engine: &Engine, input: &WatchInput) -> Result<(), Fault> {
    for id in engine.running_batches(&input.org, &input.share).await? {
        engine.batch_result(&id).await?;
    }
    Ok(())
}

/// What came of some looks.
#[derive(Debug, Default)]
struct Taken {
    ready: Vec<Ready>,
    nudges: Vec<Fingerprint>,
    /// A fault that ends the session, once the rest is carried out: a file that is taken as starting must be started.
    lost: Option<Fault>,
}

/// Takes looks into account, all of them.
fn taken(tracker: &mut Tracker, looks: Vec<(SharePath, Result<Observation, Fault>)>, now: u64) -> Taken {
    let mut t = Taken::default();
    for (path, look) in looks {
        let look = match look {
            Ok(l) => Some(l),
            // A folder answers an open for reading data with an error of its own: nothing to deliver.
            Err(f) if matches!(f.code, FaultCode::ShareFileGone | FaultCode::ShareFolderMissing) => None,
            // One file that may not be opened is not the end of the share: its lifecycle waits and says so.
            Err(f) if f.code == FaultCode::ShareAccessDenied => {
                tracing::warn!(fault = %f, "a file may not be opened");
                t.ready.extend(tracker.refused(&path, now));
                continue;
            }
            Err(f) => {
                t.lost.get_or_insert(f);
                continue;
            }
        };
        match tracker.looked(&path, look.as_ref(), now) {
            Due::Nothing => {}
            Due::Start(r) => t.ready.push(r),
            Due::Nudge(f) => t.nudges.push(f),
        }
    }
    t
}

struct Session<'a> {
    deps: &'a Arc<Deps>,
    engine: &'a Engine,
    input: &'a WatchInput,
    status: &'a Status,
    config: ShareConfig,
    share: Arc<dyn Share>,
    seen: BTreeMap<String, String>,
    tracker: &'a mut Tracker,
    starts: &'a mut Starts,
    units: &'a mut Units,
    clock: Clock,
}

/// What of a share waits for a human, if anything: counted, told, and no failure of the rest.
fn waits(skipped: &BTreeMap<Skipped, u64>, kind: Skipped, code: FaultCode, what: &str) -> Option<Fault> {
    let n = skipped.get(&kind)?;
    let fault = Fault::new(code, format!("{n} {what}"));
    METRICS.fault(code);
    tracing::error!(%fault, "part of the share waits for a human");
    Some(fault)
}

impl Session<'_> {
    /// A full listing, the truth of the share.
    async fn reconcile(&mut self) -> Result<(), Fault> {
        let Listing { mut files, skipped } = self.share.list(&self.config.folder, &self.config.except()).await?;
        let listed = files.len();
        files.retain(|e| self.config.concerns(&e.path));
        let ignored = (listed - files.len()) as u64;
        let now = self.clock.now();
        for e in &files {
            let fp = Fingerprint { path: e.path.clone(), stat: e.stat.clone() };
            let (key, version) =
                (fp.file_key(&self.input.org, &self.input.share), fp.version_key(&self.input.org, &self.input.share));
            if self.seen.get(key.as_str()).is_some_and(|v| v == version.as_str()) {
                self.tracker.closed(&e.path, &e.stat);
                if let Some(place) = self.config.place(&e.path) {
                    self.units.insert(place.unit, e.path.clone());
                }
            }
        }
        let lost = self.tracker.without_start(&self.starts.files());
        if lost > 0 {
            tracing::error!(files = lost, "files counted as starting without a start; they are seen anew");
        }
        self.tracker.listed(&files, now);
        self.units.retain(|path| self.tracker.knows(path));
        let ready = self.tracker.take_listed_at_rest(now);
        self.start(ready);
        self.check_open().await?;
        let pending = self.tracker.pending() as u64;
        let denied = waits(&skipped, Skipped::Denied, FaultCode::ShareAccessDenied, "folders below may not be listed");
        let why = "files or folders have names that cannot be read";
        let unreadable = waits(&skipped, Skipped::Unreadable, FaultCode::ShareNameUnreadable, why);
        update(self.status, |s| {
            s.fault = denied.or(unreadable);
            s.listed = listed as u64;
            s.skipped = skipped.iter().map(|(k, n)| (format!("{k:?}"), *n)).collect();
            if ignored > 0 {
                s.skipped.insert("IgnoredByRule".into(), ignored);
            }
            s.pending = pending;
            s.reconciles += 1;
        });
        // The configuration may have changed: it is taken up by a new session.
        if self.deps.registry.share(&self.input.org, &self.input.share)? != self.config {
            return Err(Fault::new(FaultCode::ConfigInvalid, "the share's configuration changed; beginning anew")
                .retry_after(0));
        }
        Ok(())
    }

    /// Lifecycles whose file is still there may have ended without moving it.
    async fn check_open(&mut self) -> Result<(), Fault> {
        let mut sets = BTreeMap::new();
        for f in self.tracker.open().into_iter().take(CHECKS) {
            if let Some(place) = self.config.place(&f.path) {
                let id = members::id(self.input, &place.unit);
                if !sets.contains_key(&id) {
                    sets.insert(id.clone(), self.engine.how_set_ended(&id).await?);
                }
                let Started::Ended(last) = &sets[&id] else { continue };
                let key = f.file_key(&self.input.org, &self.input.share);
                match last.as_ref().and_then(|l| members::ended(l, &key)) {
                    Some(report) => self.reported(vec![report]),
                    None => self.tracker.forgotten(&f.path),
                }
                continue;
            }
            let id =
                ids::lifecycle(&self.input.org, &self.input.share, &f.file_key(&self.input.org, &self.input.share));
            let Started::Ended(report) = self.engine.how_ended(&id).await? else { continue };
            match report.as_ref().and_then(|r| Some((r.outcome()?, &r.lifecycle))) {
                Some((outcome, l)) => self.tracker.ended(&f.path, &l.stat, outcome, l.archive),
                None => self.tracker.forgotten(&f.path),
            }
        }
        Ok(())
    }

    /// Takes hints; `true`: list now.
    fn hinted(&mut self, batch: Vec<Hint>) -> bool {
        let mut list = false;
        for h in batch {
            match h {
                Hint::Touched(p) if self.config.concerns(&p) && !p.is_temporary() => {
                    self.tracker.touched(p, self.clock.now());
                }
                Hint::Touched(_) => {}
                Hint::Overflow => list = true,
            }
        }
        list
    }

    /// Looks at what is due.
    async fn look(&mut self) -> Result<(), Fault> {
        let due = self.tracker.due(self.clock.now(), 256);
        let share = &self.share;
        let looks: Vec<_> = futures::stream::iter(due)
            .map(|p| async move {
                let r = share.observe(&p).await;
                (p, r)
            })
            .buffer_unordered(LOOKS)
            .collect()
            .await;
        let Taken { mut ready, nudges, lost } = taken(self.tracker, looks, self.clock.now());
        for f in nudges {
            if self.config.place(&f.path).is_some() {
                ready.push(Ready { fingerprint: f, quiet_ms: 0, at_rest: true });
            } else {
                self.starts.nudge(f);
            }
        }
        self.start(ready);
        let pending = self.tracker.pending() as u64;
        update(self.status, |s| s.pending = pending);
        lost.map_or(Ok(()), Err)
    }

    fn start(&mut self, ready: Vec<Ready>) {
        let (ready, units) = members::split(&self.config, ready);
        for unit in units {
            for (_, r) in &unit.files {
                self.units.insert(unit.name.clone(), r.fingerprint.path.clone());
            }
            self.starts.set(unit);
            update(self.status, |s| s.lifecycles += 1);
        }
        let (mut batch, mut single): (Vec<Ready>, Vec<Ready>) =
            ready.into_iter().partition(|r| r.at_rest && r.fingerprint.stat.size <= self.config.small_bytes);
        if batch.len() < BATCH_MIN {
            single.append(&mut batch);
        }
        while !batch.is_empty() {
            let rest = batch.split_off(batch.len().min(MAX_FILES));
            self.starts.batch(std::mem::replace(&mut batch, rest));
            update(self.status, |s| s.batches += 1);
        }
        for r in single {
            self.starts.single(r);
            update(self.status, |s| s.lifecycles += 1);
        }
    }

    fn reported(&mut self, reports: Vec<Report>) {
        for r in reports {
            match r {
                Report::Opened { path, stat, at_rest } => self.tracker.opened(&path, &stat, at_rest, self.clock.now()),
                Report::Ended { path, stat, outcome, archive } => self.tracker.ended(&path, &stat, &outcome, archive),
                Report::Begun { unit, with } => {
                    for path in self.units.others(&unit, &with) {
                        self.tracker.rejoin(&path, self.clock.now());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leadline_domain::{FileStat, SettleRule, Writer};

    #[test]
    fn a_look_that_fails_holds_up_no_other_file() {
        let rule = SettleRule::default();
        let look = |id| Observation {
            stat: FileStat { file_id: id, size: 1, modified: 1, changed: 1 },
            writer: Writer::Absent,
        };
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
}
