//! What a watch knows of the files on its share, and what is due. Pure: time comes in as milliseconds of a monotonic
//! clock, answers go out as lists. The share is the truth; losing all of this loses nothing but time.

use crate::ports::share::Entry;
use leadline_domain::lifecycle::{ArchiveState, Outcome};
use leadline_domain::{FileStat, Fingerprint, Observation, SettleRule, SharePath, Writer};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// A file that has been growing or held for this long gets a lifecycle all the same, so that its waiting is durable
/// and visible.
const ANNOUNCE_MS: u64 = 3_000;
/// Looks at a file that a writer holds: the first after this, then ever rarer.
const HELD_FIRST_MS: u64 = 60;
const HELD_MAX_MS: u64 = 1_000;

/// What is known of one file.
#[derive(Debug, Clone)]
enum Known {
    /// Seen, no lifecycle yet.
    Pending(Watched),
    /// A start is under way.
    Starting,
    /// A lifecycle runs; it is nudged once when the file comes to rest.
    Open { watched: Watched, nudged: Option<FileStat> },
    /// Its lifecycle ended and the file is still there, in this version.
    Closed { stat: FileStat },
}

#[derive(Debug, Clone)]
struct Watched {
    stat: FileStat,
    /// First sight of the file.
    first_ms: u64,
    /// First sight of this version, or of the writer's absence.
    since_ms: u64,
    next_look_ms: u64,
    backoff_ms: u64,
    held: bool,
    looks: u32,
}

impl Watched {
    fn new(stat: FileStat, now: u64, quiet: u64) -> Self {
        Self {
            stat,
            first_ms: now,
            since_ms: now,
            next_look_ms: now + quiet,
            backoff_ms: HELD_FIRST_MS,
            held: false,
            looks: 1,
        }
    }

    /// Takes a look into account. `true`: it is at rest.
    fn looked(&mut self, look: &Observation, now: u64, quiet: u64) -> bool {
        let held = look.writer == Writer::Present;
        if look.stat != self.stat || (self.held && !held) {
            self.stat = look.stat.clone();
            self.since_ms = now;
            self.looks = 0;
            self.backoff_ms = HELD_FIRST_MS;
        }
        self.held = held;
        self.looks += 1;
        if held {
            self.next_look_ms = now + self.backoff_ms;
            self.backoff_ms = (self.backoff_ms * 2).min(HELD_MAX_MS);
            return false;
        }
        let rest = now.saturating_sub(self.since_ms) >= quiet && self.looks >= 2;
        self.next_look_ms = if rest { u64::MAX } else { (self.since_ms + quiet).max(now + 1) };
        rest
    }
}

/// A file to start a lifecycle or a place in a batch for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) fingerprint: Fingerprint,
    pub(super) quiet_ms: u64,
    /// At rest; otherwise it goes to a lifecycle to wait there.
    pub(super) at_rest: bool,
}

/// See the module.
pub(super) struct Tracker {
    quiet_ms: u64,
    files: BTreeMap<SharePath, Known>,
    /// The last file whose lifecycle was checked on.
    checked: Option<SharePath>,
}

impl Tracker {
    pub(super) fn new(rule: &SettleRule) -> Self {
        Self { quiet_ms: rule.strong_quiet_ms, files: BTreeMap::new(), checked: None }
    }

    /// Takes up a changed rule.
    pub(super) fn configure(&mut self, rule: &SettleRule) {
        self.quiet_ms = rule.strong_quiet_ms;
    }

    /// Files without a lifecycle whose rest is waited for.
    pub(super) fn pending(&self) -> usize {
        self.files.values().filter(|k| matches!(k, Known::Pending(_))).count()
    }

    /// Files that Temporal is not known to have: those too whose start waits for its turn. A watch that ends gives up both.
    pub(super) fn unstarted(&self) -> usize {
        self.files.values().filter(|k| matches!(k, Known::Pending(_) | Known::Starting)).count()
    }

    /// A full listing: what is new is watched, what is gone is forgotten, what changed since it was closed is new again. Of
    /// what is below folders that were not listed nothing is known: it stays as it was. Returns the files whose lifecycle ran
    /// when last heard of and that are not there: should they come back, they are its own.
    pub(super) fn listed(&mut self, entries: &[Entry], unlisted: &[SharePath], now: u64) -> Vec<Fingerprint> {
        let quiet = self.quiet_ms;
        let mut next = BTreeMap::new();
        for e in entries {
            let known = match self.files.remove(&e.path) {
                Some(Known::Pending(mut w)) => {
                    let writer = if w.held { Writer::Present } else { Writer::Absent };
                    // A listing says nothing of writers: it only counts as a look at the version.
                    let at_rest = w.looked(&Observation { stat: e.stat.clone(), writer }, now, quiet);
                    if at_rest {
                        w.next_look_ms = now;
                    }
                    Known::Pending(w)
                }
                Some(Known::Closed { stat }) if stat == e.stat => Known::Closed { stat },
                Some(Known::Closed { .. }) | None => Known::Pending(Watched::new(e.stat.clone(), now, quiet)),
                // Another file took the name; the lifecycle of the one before finds that out by itself.
                Some(Known::Open { watched, .. }) if watched.stat.file_id != e.stat.file_id => {
                    Known::Pending(Watched::new(e.stat.clone(), now, quiet))
                }
                Some(Known::Open { mut watched, nudged }) => {
                    if watched.stat != e.stat {
                        watched.next_look_ms = now;
                    }
                    Known::Open { watched, nudged }
                }
                Some(k @ Known::Starting) => k,
            };
            next.insert(e.path.clone(), known);
        }
        let mut lost = Vec::new();
        for (path, known) in std::mem::take(&mut self.files) {
            let unlisted = unlisted.iter().any(|f| path.is_under(f));
            match known {
                // A start that is under way reports back under its path.
                Known::Starting => {
                    next.insert(path, known);
                }
                Known::Open { .. } | Known::Closed { .. } if unlisted => {
                    next.insert(path, known);
                }
                Known::Open { watched, .. } => lost.push(Fingerprint { path, stat: watched.stat }),
                // Looking at what is new would only be refused: it is new still when its folder is back.
                Known::Pending(_) | Known::Closed { .. } => {}
            }
        }
        self.files = next;
        lost
    }

    /// Forgets files that count as starting while no start has them: the listing that follows finds them new. How many.
    pub(super) fn without_start(&mut self, under_way: &BTreeSet<&SharePath>) -> usize {
        let before = self.files.len();
        self.files.retain(|path, k| !matches!(k, Known::Starting) || under_way.contains(path));
        before - self.files.len()
    }

    /// A hint: look now.
    pub(super) fn touched(&mut self, path: SharePath, now: u64) {
        match self.files.get_mut(&path) {
            Some(Known::Pending(w) | Known::Open { watched: w, .. }) => {
                w.next_look_ms = w.next_look_ms.min(now);
                w.backoff_ms = HELD_FIRST_MS;
            }
            Some(Known::Starting) => {}
            Some(Known::Closed { .. }) | None => {
                let nothing = FileStat { file_id: 0, size: 0, modified: 0, changed: 0 };
                self.files.insert(path, Known::Pending(Watched::new(nothing, now, 0)));
            }
        }
    }

    /// When the next look is due.
    pub(super) fn next_look(&self) -> Option<u64> {
        self.files.values().filter_map(Known::due).min()
    }

    /// The files to look at now, at most `limit`.
    pub(super) fn due(&self, now: u64, limit: usize) -> Vec<SharePath> {
        self.files
            .iter()
            .filter(|(_, k)| k.due().is_some_and(|t| t <= now))
            .map(|(p, _)| p.clone())
            .take(limit)
            .collect()
    }

    /// Files that are at rest by listing alone: a batch examines them itself. Taken as starting.
    pub(super) fn take_listed_at_rest(&mut self, now: u64) -> Vec<Ready> {
        let quiet = self.quiet_ms;
        let mut out = Vec::new();
        for (path, known) in &mut self.files {
            if let Known::Pending(w) = known
                && !w.held
                && w.looks >= 2
                && now.saturating_sub(w.since_ms) >= quiet
            {
                out.push(Ready {
                    fingerprint: Fingerprint { path: path.clone(), stat: w.stat.clone() },
                    quiet_ms: now - w.since_ms,
                    at_rest: true,
                });
                *known = Known::Starting;
            }
        }
        out
    }

    /// A look was taken (`None`: the file is gone). Says what to do with it, if anything.
    pub(super) fn looked(&mut self, path: &SharePath, look: Option<&Observation>, now: u64) -> Due {
        let quiet = self.quiet_ms;
        let Some(known) = self.files.get_mut(path) else { return Due::Nothing };
        let Some(look) = look else {
            if !matches!(known, Known::Starting) {
                self.files.remove(path);
            }
            return Due::Nothing;
        };
        match known {
            Known::Pending(w) => {
                let at_rest = w.looked(look, now, quiet);
                if !at_rest && now.saturating_sub(w.first_ms) < ANNOUNCE_MS {
                    return Due::Nothing;
                }
                let ready = Ready {
                    fingerprint: Fingerprint { path: path.clone(), stat: w.stat.clone() },
                    quiet_ms: now - w.since_ms,
                    at_rest,
                };
                *known = Known::Starting;
                Due::Start(ready)
            }
            Known::Open { watched, .. } if watched.stat.file_id != look.stat.file_id => {
                *known = Known::Pending(Watched::new(look.stat.clone(), now, quiet));
                Due::Nothing
            }
            Known::Open { watched, nudged } => {
                if watched.looked(look, now, quiet) && nudged.as_ref() != Some(&watched.stat) {
                    *nudged = Some(watched.stat.clone());
                    return Due::Nudge(Fingerprint { path: path.clone(), stat: watched.stat.clone() });
                }
                Due::Nothing
            }
            Known::Starting | Known::Closed { .. } => Due::Nothing,
        }
    }

    /// The file may not be opened: it goes to a lifecycle, which waits for a human and says so.
    pub(super) fn refused(&mut self, path: &SharePath, now: u64) -> Option<Ready> {
        match self.files.get_mut(path) {
            Some(known @ Known::Pending(_)) => {
                let Known::Pending(w) = known.clone() else { return None };
                *known = Known::Starting;
                let fingerprint = Fingerprint { path: path.clone(), stat: w.stat };
                Some(Ready { fingerprint, quiet_ms: now - w.since_ms, at_rest: false })
            }
            Some(Known::Open { watched, .. }) => {
                watched.next_look_ms = u64::MAX;
                None
            }
            _ => None,
        }
    }

    /// A lifecycle runs for this file.
    pub(super) fn opened(&mut self, path: &SharePath, stat: &FileStat, at_rest: bool, now: u64) {
        // A set that runs already was told of a version, and there is a later one by now.
        if matches!(self.files.get(path), Some(Known::Open { watched, .. }) if watched.stat != *stat) {
            return;
        }
        let mut watched = Watched::new(stat.clone(), now, self.quiet_ms);
        if at_rest {
            watched.next_look_ms = u64::MAX;
        }
        self.files.insert(path.clone(), Known::Open { watched, nudged: at_rest.then(|| stat.clone()) });
    }

    /// The lifecycle of this file ended.
    pub(super) fn ended(&mut self, path: &SharePath, stat: &FileStat, outcome: &Outcome, archive: ArchiveState) {
        match (outcome, archive) {
            (_, ArchiveState::Moved | ArchiveState::Gone) => {
                self.files.remove(path);
            }
            // If it is there after all, the next listing finds it new.
            (Outcome::Withdrawn { .. }, _) | (_, ArchiveState::Changed | ArchiveState::Pending) => {
                self.files.remove(path);
            }
            _ => {
                self.files.insert(path.clone(), Known::Closed { stat: stat.clone() });
            }
        }
    }

    /// A new set of files that this one belongs to has begun, or its lifecycle had ended before it could be told of this
    /// version: it is seen anew.
    pub(super) fn rejoin(&mut self, path: &SharePath, now: u64) {
        if let Some(known) = self.files.get_mut(path)
            && let Known::Closed { stat } | Known::Open { watched: Watched { stat, .. }, .. } = known
        {
            *known = Known::Pending(Watched::new(stat.clone(), now, self.quiet_ms));
        }
    }

    /// Whether this file is known.
    pub(super) fn knows(&self, path: &SharePath) -> bool {
        self.files.contains_key(path)
    }

    /// Temporal does not know the lifecycle of this file: it was ended from outside. What is there is new.
    pub(super) fn forgotten(&mut self, path: &SharePath) {
        self.files.remove(path);
    }

    /// A listing shows a file in a version that was dealt with and left in place. One that is being seen anew, because its
    /// set begins anew, stays so.
    pub(super) fn closed(&mut self, path: &SharePath, stat: &FileStat) {
        match self.files.get_mut(path) {
            Some(Known::Pending(_) | Known::Starting | Known::Open { .. }) => {}
            Some(Known::Closed { stat: known }) => known.clone_from(stat),
            None => {
                self.files.insert(path.clone(), Known::Closed { stat: stat.clone() });
            }
        }
    }

    /// A file that was to be started turns out to have been dealt with in this version.
    pub(super) fn dealt_with(&mut self, file: &Fingerprint) {
        self.files.insert(file.path.clone(), Known::Closed { stat: file.stat.clone() });
    }

    /// Files whose lifecycle runs, for checking on them at a reconcile: at most `limit`, the next ones each time, so that
    /// every one has its turn.
    pub(super) fn open(&mut self, limit: usize) -> Vec<Fingerprint> {
        // No path is empty: without a last one all come after it.
        let last = self.checked.take().unwrap_or_else(|| SharePath::new(""));
        let rest = self.files.range((Bound::Excluded(&last), Bound::Unbounded));
        let before = self.files.range(..=&last);
        let all = rest.chain(before).filter_map(|(p, k)| match k {
            Known::Open { watched, .. } => Some(Fingerprint { path: p.clone(), stat: watched.stat.clone() }),
            _ => None,
        });
        let out: Vec<_> = all.take(limit).collect();
        self.checked = out.last().map(|f| f.path.clone());
        out
    }
}

impl Known {
    fn due(&self) -> Option<u64> {
        match self {
            Known::Pending(w) | Known::Open { watched: w, .. } => Some(w.next_look_ms).filter(|t| *t != u64::MAX),
            Known::Starting | Known::Closed { .. } => None,
        }
    }
}

/// What a look makes due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Start(Ready),
    Nudge(Fingerprint),
}

#[cfg(test)]
#[path = "tracker_tests.rs"]
mod tests;
