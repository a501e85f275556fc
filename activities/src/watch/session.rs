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
use leadline_domain::lifecycle::{ArchiveState, Outcome};
use leadline_domain::{ArchiveRule, Fault, FaultCode, FileStat, Fingerprint, Observation, OrgId, ShareId, SharePath};
use leadline_workflows::contracts::WatchInput;
use leadline_workflows::ids;
use leadline_workflows::ingest_batch::{BatchItem, MAX_FILES};
use std::collections::{BTreeMap, BTreeSet};
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
    own: Own,
}

/// Ids of the lifecycles of files that an earlier life of the watch began, that ended too soon, or whose file a listing
/// lacked: their files go to them again. A batch would not know of them, and deliver what one of them has delivered and
/// not moved yet.
type Own = BTreeSet<String>;

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
    let queue = deps.registry.env().task_queue(&config.group);
    let State { tracker, starts, units, own } = match state {
        Some(s) => s,
        None => state.insert(State {
            own: under_way(engine, input).await?,
            tracker: Tracker::new(&config.settle),
            starts: Starts::new(engine.clone(), input.clone(), config.clone(), queue.clone()),
            units: Units::default(),
        }),
    };
    starts.configure(&config, &queue);
    tracker.configure(&config.settle);
    let clock = Clock(*EPOCH.get_or_init(Instant::now));
    let mut s = Session { deps, engine, input, status, config, share, seen, tracker, starts, units, own, clock };
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
            Some(r) = s.starts.next() => {
                s.reported(r);
                s.tell_pending();
            }
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

/// What the marker of a version that was left in place says: file key and version key.
pub(crate) fn marker(org: &OrgId, share: &ShareId, file: &Fingerprint) -> (String, String) {
    (file.file_key(org, share).to_string(), file.version_key(org, share).to_string())
}

/// Versions that were dealt with and left in place: file key and version key. There may be several of one file.
#[derive(Debug, Default)]
struct SeenBefore(BTreeSet<(String, String)>);

impl SeenBefore {
    fn of(input: &WatchInput, file: &Fingerprint) -> (String, String) {
        marker(&input.org, &input.share, file)
    }

    fn has(&self, input: &WatchInput, file: &Fingerprint) -> bool {
        self.0.contains(&Self::of(input, file))
    }

    fn insert(&mut self, input: &WatchInput, file: &Fingerprint) {
        self.0.insert(Self::of(input, file));
    }

    /// Parts what is to be started from what was dealt with already. A hint that nothing came of must not have a file
    /// carried again that Temporal has forgotten by now. A member of a set is: its set may be another one.
    fn parted(
        &self,
        input: &WatchInput,
        in_set: impl Fn(&SharePath) -> bool,
        ready: Vec<Ready>,
    ) -> (Vec<Ready>, Vec<Ready>) {
        ready.into_iter().partition(|r| in_set(&r.fingerprint.path) || !self.has(input, &r.fingerprint))
    }
}

async fn seen_before(deps: &Deps, input: &WatchInput, config: &ShareConfig) -> Result<SeenBefore, Fault> {
    if config.archive != ArchiveRule::Leave {
        return Ok(SeenBefore::default());
    }
    let store = deps.store(&input.org).await?;
    Ok(SeenBefore(store.list_seen(input.share.as_str()).await?.into_iter().collect()))
}

/// What an earlier life of the watch has left. A batch takes care of its files until it ends, which it does: nothing
/// waits in it. What has left a batch, or began alone, is in a lifecycle.
async fn under_way(engine: &Engine, input: &WatchInput) -> Result<Own, Fault> {
    let mut own = Own::new();
    for id in engine.running_batches(&input.org, &input.share).await? {
        own.extend(left(engine.batch_result(&id).await?));
    }
    own.extend(engine.running("RecordingLifecycle", &input.org, &input.share).await?);
    Ok(own)
}

/// The lifecycles that files of a batch went to. Temporal's list may not have them yet.
fn left(items: Vec<BatchItem>) -> impl Iterator<Item = String> {
    items.into_iter().filter_map(|i| match i {
        BatchItem::Left { workflow_id, .. } => Some(workflow_id),
        BatchItem::Done(_) | BatchItem::Running(_) => None,
    })
}

fn lifecycle_id(input: &WatchInput, file: &Fingerprint) -> String {
    ids::lifecycle(&input.org, &input.share, file)
}

/// Parts what goes into batches from what gets a lifecycle each.
fn parted(input: &WatchInput, small_bytes: u64, own: &mut Own, ready: Vec<Ready>) -> (Vec<Ready>, Vec<Ready>) {
    let (mut batch, mut single): (Vec<Ready>, Vec<Ready>) = ready.into_iter().partition(|r| {
        !own.remove(&lifecycle_id(input, &r.fingerprint)) && r.at_rest && r.fingerprint.stat.size <= small_bytes
    });
    if batch.len() < BATCH_MIN {
        single.append(&mut batch);
    }
    (batch, single)
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
            // One file that may not be opened, or is answered with a status that says nothing, is not the end of the
            // share: its lifecycle waits and says so. A connection that was lost has another code.
            Err(f) if matches!(f.code, FaultCode::ShareAccessDenied | FaultCode::ShareProtocol) => {
                tracing::warn!(fault = %f, "a file cannot be opened");
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
    seen: SeenBefore,
    tracker: &'a mut Tracker,
    starts: &'a mut Starts,
    units: &'a mut Units,
    own: &'a mut Own,
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
        let Listing { mut files, skipped, unlisted } =
            self.share.list(&self.config.folder, &self.config.except()).await?;
        let listed = files.len();
        files.retain(|e| self.config.concerns(&e.path));
        let ignored = (listed - files.len()) as u64;
        let now = self.clock.now();
        for e in &files {
            let fp = Fingerprint { path: e.path.clone(), stat: e.stat.clone() };
            if self.seen.has(self.input, &fp) {
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
        let away = self.tracker.listed(&files, &unlisted, now);
        self.own.extend(away.iter().map(|f| lifecycle_id(self.input, f)));
        self.units.retain(|path| self.tracker.knows(path));
        let ready = self.tracker.take_listed_at_rest(now);
        self.start(ready);
        self.check_open().await?;
        let pending = self.tracker.unstarted() as u64;
        let denied = waits(&skipped, Skipped::Denied, FaultCode::ShareAccessDenied, "folders below cannot be listed");
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
        for f in self.tracker.open(CHECKS) {
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
            let Started::Ended(report) = self.engine.how_ended(&lifecycle_id(self.input, &f)).await? else { continue };
            match report.as_ref().and_then(|r| Some((r.outcome()?, &r.lifecycle))) {
                Some((outcome, l)) => self.ended(&f.path, &l.stat, outcome, l.archive),
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
                let r = share.observe_listed(&p).await;
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
        self.tell_pending();
        lost.map_or(Ok(()), Err)
    }

    fn tell_pending(&self) {
        let pending = self.tracker.unstarted() as u64;
        update(self.status, |s| s.pending = pending);
    }

    fn start(&mut self, ready: Vec<Ready>) {
        let in_set = |path: &SharePath| self.config.place(path).is_some();
        let (ready, dealt_with) = self.seen.parted(self.input, in_set, ready);
        for r in dealt_with {
            self.tracker.dealt_with(&r.fingerprint);
        }
        let (ready, units) = members::split(&self.config, ready);
        for unit in units {
            for (_, r) in &unit.files {
                self.units.insert(unit.name.clone(), r.fingerprint.path.clone());
            }
            self.starts.set(unit);
            update(self.status, |s| s.lifecycles += 1);
        }
        let (mut batch, single) = parted(self.input, self.config.small_bytes, self.own, ready);
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

    fn ended(&mut self, path: &SharePath, stat: &FileStat, outcome: &Outcome, archive: ArchiveState) {
        if archive == ArchiveState::Left {
            let file = Fingerprint { path: path.clone(), stat: stat.clone() };
            self.seen.insert(self.input, &file);
        }
        self.tracker.ended(path, stat, outcome, archive);
    }

    fn reported(&mut self, reports: Vec<Report>) {
        for r in reports {
            match r {
                Report::Opened { path, stat, at_rest } => self.tracker.opened(&path, &stat, at_rest, self.clock.now()),
                Report::Ended { path, stat, outcome, archive } => self.ended(&path, &stat, &outcome, archive),
                Report::Missed { file } => {
                    self.own.insert(lifecycle_id(self.input, &file));
                    self.tracker.rejoin(&file.path, self.clock.now());
                }
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
#[path = "session_tests.rs"]
mod tests;
