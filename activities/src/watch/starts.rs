//! Starting lifecycles and batches beside the watch, each repeated until Temporal has it.

use super::members::{self, Unit, ended, member, spec};
use super::tracker::Ready;
use crate::engine::{Again, Engine, Started};
use crate::registry::ShareConfig;
use leadline_domain::lifecycle::{ArchiveState, Intake, Outcome};
use leadline_domain::set::Member;
use leadline_domain::{Fault, FileStat, Fingerprint, SharePath};
use leadline_workflows::contracts::WatchInput;
use leadline_workflows::ids;
use leadline_workflows::ingest_batch::BatchItem;
use leadline_workflows::set_lifecycle::SetInput;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::{Id, JoinSet};
use tracing::Instrument as _;

/// More concurrent starts only queue at the server.
const STARTS: usize = 12;
/// Batches of a share under way at once: each holds the contents of its files between their look and their storing.
const BATCHES: usize = 6;

/// What came of a start.
pub(super) enum Report {
    /// A lifecycle runs.
    Opened { path: SharePath, stat: FileStat, at_rest: bool },
    /// It has ended.
    Ended { path: SharePath, stat: FileStat, outcome: Outcome, archive: ArchiveState },
    /// It had ended before it could be told of this version.
    Missed { file: Fingerprint },
    /// A set has begun, with these files: what else is there of it belongs to it too.
    Begun { unit: String, with: Vec<SharePath> },
}

/// Starts under way. Dropping it gives them up; the next listing finds their files again.
pub(super) struct Starts {
    job: Arc<Job>,
    running: JoinSet<Vec<Report>>,
    /// The files of each start: one that ends abnormally must not keep them.
    files: HashMap<Id, Vec<(SharePath, FileStat)>>,
}

struct Job {
    engine: Engine,
    input: WatchInput,
    config: ShareConfig,
    queue: String,
    starts: Semaphore,
    batches: Semaphore,
}

impl Starts {
    pub(super) fn new(engine: Engine, input: WatchInput, config: ShareConfig, queue: String) -> Self {
        let (starts, batches) = (Semaphore::new(STARTS), Semaphore::new(BATCHES));
        let job = Arc::new(Job { engine, input, config, queue, starts, batches });
        Self { job, running: JoinSet::new(), files: HashMap::new() }
    }

    /// Takes up a changed configuration for what starts from now on.
    pub(super) fn configure(&mut self, config: &ShareConfig, queue: &str) {
        if self.job.config != *config || self.job.queue != queue {
            let (engine, input) = (self.job.engine.clone(), self.job.input.clone());
            let (running, files) = (std::mem::take(&mut self.running), std::mem::take(&mut self.files));
            *self = Self { running, files, ..Self::new(engine, input, config.clone(), queue.to_owned()) };
        }
    }

    /// The files of the starts under way.
    pub(super) fn files(&self) -> BTreeSet<&SharePath> {
        self.files.values().flatten().map(|(path, _)| path).collect()
    }

    /// The reports of the next start that ended; `None` when none is under way.
    pub(super) async fn next(&mut self) -> Option<Vec<Report>> {
        match self.running.join_next_with_id().await? {
            Ok((id, reports)) => {
                self.files.remove(&id);
                Some(reports)
            }
            Err(error) => {
                tracing::error!(%error, "a start ended abnormally");
                let files = self.files.remove(&error.id()).unwrap_or_default();
                Some(files.into_iter().map(|(path, stat)| forgotten(path, stat)).collect())
            }
        }
    }

    fn begin(&mut self, files: Vec<(SharePath, FileStat)>, start: impl Future<Output = Vec<Report>> + Send + 'static) {
        let id = self.running.spawn(start.in_current_span()).id();
        self.files.insert(id, files);
    }

    pub(super) fn single(&mut self, ready: Ready) {
        let job = Arc::clone(&self.job);
        self.begin(files([&ready]), async move {
            let _permit = job.starts.acquire().await;
            vec![job.lifecycle(&ready).await]
        });
    }

    pub(super) fn batch(&mut self, ready: Vec<Ready>) {
        let job = Arc::clone(&self.job);
        self.begin(files(&ready), async move {
            let _permit = job.batches.acquire().await;
            job.batch(ready).await
        });
    }

    pub(super) fn set(&mut self, unit: Unit) {
        let job = Arc::clone(&self.job);
        self.begin(files(unit.files.iter().map(|(_, r)| r)), async move {
            let _permit = job.starts.acquire().await;
            job.set(&unit).await
        });
    }

    pub(super) fn nudge(&mut self, file: Fingerprint) {
        let job = Arc::clone(&self.job);
        self.begin(Vec::new(), async move {
            let (i, e) = (&job.input, &job.engine);
            let runs = until_done("nudge", || e.nudge(&i.org, &i.share, &file)).await;
            nudged(file, runs)
        });
    }
}

impl Job {
    fn intake(&self, r: &Ready) -> Intake {
        Intake {
            org: self.input.org.clone(),
            share: self.input.share.clone(),
            fingerprint: r.fingerprint.clone(),
            quiet_ms: r.quiet_ms,
            settle: self.config.settle.clone(),
            archive: self.config.archive.clone(),
            small_bytes: self.config.small_bytes,
            max_bytes: self.config.max_bytes,
            formats: self.config.formats.clone(),
            declared: None,
            resume: None,
        }
    }

    async fn lifecycle(&self, ready: &Ready) -> Report {
        let intake = self.intake(ready);
        let (path, stat) = (ready.fingerprint.path.clone(), ready.fingerprint.stat.clone());
        let start = |again| {
            let intake = &intake;
            move || self.engine.start_lifecycle(&self.queue, intake, again)
        };
        match until_done("start lifecycle", start(Again::Never)).await {
            Started::Running => Report::Opened { path, stat, at_rest: ready.at_rest },
            Started::Ended(Some(r)) if r.lifecycle.stat == stat && stays_ended(r.outcome()) => {
                let archive = there(r.lifecycle.archive);
                match r.lifecycle.outcome {
                    Some(outcome) => Report::Ended { path, stat, outcome, archive },
                    None => Report::Opened { path, stat, at_rest: ready.at_rest },
                }
            }
            // Another version of the file, or one that went away and came back: a life of its own.
            Started::Ended(_) => {
                until_done("start lifecycle again", start(Again::Always)).await;
                Report::Opened { path, stat, at_rest: ready.at_rest }
            }
        }
    }

    /// Files join the set that they belong to. Where none runs, one begins, unless the last one has dealt with them in
    /// this very version.
    async fn set(&self, unit: &Unit) -> Vec<Report> {
        let (org, share) = (&self.input.org, &self.input.share);
        let id = members::id(&self.input, &unit.name);
        // What a member is worth is told by its set, not by its format.
        let intake = |r| Intake { formats: BTreeSet::new(), ..self.intake(r) };
        let joining: Vec<Member> = unit.files.iter().map(|(place, r)| member(place, intake(r))).collect();
        let opened = || {
            let all = unit.files.iter().map(|(_, r)| Report::Opened {
                path: r.fingerprint.path.clone(),
                stat: r.fingerprint.stat.clone(),
                at_rest: r.at_rest,
            });
            all.collect::<Vec<_>>()
        };
        if until_done("join set", || self.engine.join_set(&id, &joining)).await {
            return opened();
        }
        if let Started::Ended(Some(last)) = until_done("ask for set", || self.engine.how_set_ended(&id)).await {
            let same = |m: &Member| {
                let key = m.intake.file_key();
                ended(&last, &key).filter(|r| {
                    matches!(r, Report::Ended { stat, outcome, .. }
                    if *stat == m.intake.fingerprint.stat && stays_ended(Some(outcome)))
                })
            };
            let ended: Vec<Report> = joining.iter().filter_map(same).collect();
            if ended.len() == joining.len() {
                return ended;
            }
        }
        let input = SetInput {
            org: org.clone(),
            share: share.clone(),
            spec: spec(&self.config.sets, unit.rule),
            settle: self.config.settle.clone(),
            resume: None,
        };
        until_done("start set", || self.engine.start_set(&self.queue, &id, &input, &joining)).await;
        let with = unit.files.iter().map(|(_, r)| r.fingerprint.path.clone()).collect();
        let mut reports = opened();
        reports.push(Report::Begun { unit: unit.name.clone(), with });
        reports
    }

    async fn batch(&self, ready: Vec<Ready>) -> Vec<Report> {
        let files: Vec<Intake> = ready.iter().map(|r| self.intake(r)).collect();
        let versions: Vec<_> =
            files.iter().map(|i| i.fingerprint.version_key(&self.input.org, &self.input.share)).collect();
        let id = ids::batch(&self.input.org, &self.input.share, &versions);
        let started = until_done("start batch", || self.engine.start_batch(&self.queue, &id, &files)).await;
        if started != Started::Running {
            // These very files went through a batch before and are here again: one by one, to see why.
            let mut reports = Vec::with_capacity(ready.len());
            for r in &ready {
                reports.push(self.lifecycle(r).await);
            }
            return reports;
        }
        let items = until_done("await batch", || self.engine.batch_result(&id)).await;
        let mut reports = Vec::with_capacity(ready.len());
        for (r, item) in ready.iter().zip(items.into_iter().map(Some).chain(std::iter::repeat(None))) {
            let (path, stat) = (r.fingerprint.path.clone(), r.fingerprint.stat.clone());
            reports.push(match item {
                Some(BatchItem::Done(report)) => {
                    let l = report.lifecycle;
                    let outcome = l
                        .outcome
                        .unwrap_or(Outcome::Withdrawn { how: leadline_domain::lifecycle::Withdrawal::Replaced });
                    Report::Ended { path, stat: l.stat, outcome, archive: l.archive }
                }
                Some(BatchItem::Left { started: true, .. }) => Report::Opened { path, stat, at_rest: false },
                // It had a lifecycle before, which may have ended with this very version.
                Some(BatchItem::Left { started: false, .. }) => self.lifecycle(r).await,
                Some(BatchItem::Running(_)) | None => forgotten(path, stat),
            });
        }
        reports
    }
}

fn files<'a>(all: impl IntoIterator<Item = &'a Ready>) -> Vec<(SharePath, FileStat)> {
    all.into_iter().map(|r| (r.fingerprint.path.clone(), r.fingerprint.stat.clone())).collect()
}

/// Nothing is known of how it ended: the next listing finds the file new.
fn forgotten(path: SharePath, stat: FileStat) -> Report {
    let outcome = Outcome::Withdrawn { how: leadline_domain::lifecycle::Withdrawal::Replaced };
    Report::Ended { path, stat, outcome, archive: ArchiveState::Untouched }
}

/// What became of the copy of a file that lies there in the very version that was dealt with. Its folder was away when the
/// copy was to be moved, say: it is left alone until it changes, rather than found new by each listing.
fn there(archive: ArchiveState) -> ArchiveState {
    match archive {
        ArchiveState::Moved | ArchiveState::Gone => ArchiveState::Untouched,
        other => other,
    }
}

/// What came of a nudge: a lifecycle that has ended sees nothing more of its file.
fn nudged(file: Fingerprint, runs: bool) -> Vec<Report> {
    if runs { Vec::new() } else { vec![Report::Missed { file }] }
}

/// A file that went away before it was judged has not ended for good if it is there.
pub(super) fn stays_ended(o: Option<&Outcome>) -> bool {
    !matches!(o, None | Some(Outcome::Withdrawn { .. }))
}

/// Repeats a call until it succeeds; the watch's own end is the only limit.
async fn until_done<T, F: Future<Output = Result<T, Fault>>>(what: &'static str, call: impl Fn() -> F) -> T {
    let mut wait = Duration::from_millis(100);
    loop {
        match call().await {
            Ok(t) => return t,
            Err(fault) => tracing::warn!(what, %fault, "temporal does not take it yet"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nudge_that_comes_too_late_is_told() {
        let stat = FileStat { file_id: 1, size: 2, modified: 3, changed: 4 };
        let file = Fingerprint { path: SharePath::new("in/a"), stat };
        assert!(nudged(file.clone(), true).is_empty());
        assert!(matches!(&nudged(file.clone(), false)[..], [Report::Missed { file: f }] if *f == file));
    }

    #[test]
    fn a_file_that_lies_there_in_the_version_that_was_dealt_with_is_not_new() {
        let (path, stat) = (SharePath::new("in/a"), FileStat { file_id: 1, size: 2, modified: 3, changed: 4 });
        let outcome = Outcome::Quarantined { code: leadline_domain::FaultCode::FileStalled };
        let mut tracker = super::super::tracker::Tracker::new(&leadline_domain::SettleRule::default());
        tracker.ended(&path, &stat, &outcome, there(ArchiveState::Gone));
        tracker.listed(&[crate::ports::share::Entry { path, stat }], &[], 0);
        assert_eq!(tracker.pending(), 0);
    }
}
