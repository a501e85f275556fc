//! The members of a set on their way: what each waits for, and what the set as a whole can do. Without a clock or an
//! activity: [`crate::set_lifecycle`] brings both.

use crate::contracts::{InSet, JudgedMember, Summed};
use crate::recording_lifecycle::FileReport;
use crate::set_lifecycle::{MemberReport, SetInput, SetSoFar};
use leadline_domain::lifecycle::{ArchiveState, Command, Event, Examination, Intake, Lifecycle, Outcome, Phase};
use leadline_domain::set::{Member, MemberRole, SetKind, SetObject, SetSeen, Standing, claim};
use leadline_domain::settle::{StructureVerdict, WaitReason};
use leadline_domain::{Digest, Fault, FaultCode, FileKey, FileStat, RecordingId};

/// One member on its way.
pub(crate) struct Lane {
    pub(crate) member: Member,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) next: Command,
    /// When its wait is over.
    wake_ms: i64,
    /// Whether it is whole another file of the set says.
    vouched: bool,
    /// What that file said of it last.
    judged: JudgedMember,
    /// Its samples added up, for a large one: in which version, to what, and the digest of what was read.
    summed: Option<(FileStat, Summed, Digest)>,
}

impl Lane {
    fn new(input: &SetInput, mut member: Member, now: i64) -> Self {
        // Samples and annotations say nothing by themselves; now and then they look like something else.
        let vouched = input.spec.kind == SetKind::Wfdb && member.role != MemberRole::Primary;
        if member.role == MemberRole::Marker && member.intake.resume.is_none() {
            let lifecycle = Lifecycle::marker(&member.intake, now);
            return Self::with(member, lifecycle, Command::Store { large: false }, now, vouched);
        }
        let (mut lifecycle, event) = Lifecycle::begin(&member.intake, now);
        member.intake.resume = None;
        let next = lifecycle.step(&member.intake, event, now);
        Self::with(member, lifecycle, next, now, vouched)
    }

    fn with(member: Member, lifecycle: Lifecycle, next: Command, now: i64, vouched: bool) -> Self {
        Self { member, lifecycle, next, wake_ms: now, vouched, judged: JudgedMember::default(), summed: None }
    }

    /// What it is to the set, as the set's own files say or else its name.
    pub(crate) fn role(&self) -> MemberRole {
        self.judged.role.unwrap_or(self.member.role)
    }

    /// What its samples come to, and the digest of what was read, if those of this version were added up.
    pub(crate) fn summed(&self) -> Option<(&Summed, Digest)> {
        let (_, summed, digest) = self.summed.as_ref().filter(|(stat, ..)| *stat == self.lifecycle.stat)?;
        Some((summed, *digest))
    }

    pub(crate) fn added_up(&mut self, summed: Summed, digest: Digest) {
        self.summed = Some((self.lifecycle.stat.clone(), summed, digest));
    }

    /// What is stored has to be what was added up.
    pub(crate) fn expect_what_was_judged(&mut self) {
        if let Some((_, digest)) = self.summed() {
            self.lifecycle.digest = Some(digest);
        }
    }

    pub(crate) fn is_marker(&self) -> bool {
        self.member.role == MemberRole::Marker
    }

    pub(crate) fn key(&self) -> FileKey {
        self.member.intake.file_key()
    }

    /// How its content is stored.
    pub(crate) fn shelved(&self, alone: bool) -> InSet {
        let small = self.lifecycle.stat.size <= self.member.intake.small_bytes;
        match (alone, self.vouched && (small || self.summed().is_some())) {
            (true, _) => InSet::Alone,
            (false, true) => InSet::Vouched,
            (false, false) => InSet::Member,
        }
    }

    pub(crate) fn take(&mut self, mut event: Event, now: i64) {
        // A large one is perhaps not added up: it has to look whole by itself as well.
        if let Event::Examined(Examination::Seen { structure: Some(s), look, .. }) = &mut event
            && self.vouched
            && look.stat.size <= self.member.intake.small_bytes
        {
            s.verdict = StructureVerdict::Unverifiable;
            s.evidence = vec!["Whether it is whole the header of its record says.".into()];
        }
        let next = self.lifecycle.step(&self.member.intake, event, now);
        self.then(next, now);
    }

    fn then(&mut self, next: Command, now: i64) {
        if let Command::Wait { ms } = next {
            self.wake_ms = now.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX));
        }
        self.next = next;
    }

    fn standing(&self) -> Standing {
        match &self.next {
            Command::Store { .. } => Standing::Ready,
            // Its outcome is known: only the recording of it is under way.
            _ if self.lifecycle.outcome.is_some() => Standing::Left,
            _ if self.lifecycle.retry.is_some() => Standing::Retrying,
            _ => Standing::Settling,
        }
    }

    fn look_again(&mut self) {
        if self.is_marker() || self.lifecycle.outcome.is_some() {
            return;
        }
        self.next = self.lifecycle.look_again();
    }

    fn report(&self) -> MemberReport {
        MemberReport {
            role: self.member.role,
            label: self.member.label.clone(),
            extension: self.member.extension.clone(),
            report: FileReport { intake: self.member.intake.clone(), lifecycle: self.lifecycle.clone() },
        }
    }
}

/// The members of a set.
pub(crate) struct Lanes {
    /// Under way.
    pub(crate) lanes: Vec<Lane>,
    /// Over, the latest of each file.
    over: Vec<MemberReport>,
    /// When a member last joined.
    joined_ms: i64,
}

impl Lanes {
    pub(crate) fn new(now: i64) -> Self {
        Self { lanes: Vec::new(), over: Vec::new(), joined_ms: now }
    }

    /// Whether nobody is between an outcome and the recording of it, but for those who wait to try it again.
    pub(crate) fn rest(&self) -> bool {
        self.lanes.iter().all(|l| l.lifecycle.outcome.is_none() || matches!(l.next, Command::Wait { .. }))
    }

    /// Whether all of them have an outcome, and only the recording of it is left.
    pub(crate) fn are_decided(&self) -> bool {
        self.lanes.iter().all(|l| l.lifecycle.outcome.is_some())
    }

    /// What one of them waits to try again.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.lanes.iter().find_map(|l| l.lifecycle.retry.as_ref()).map(|r| r.fault.clone())
    }

    /// For a fresh history. Whoever has no outcome yet is looked at again there.
    pub(crate) fn so_far(&mut self, recording: Option<RecordingId>) -> SetSoFar {
        let under_way = std::mem::take(&mut self.lanes).into_iter().map(|mut lane| {
            lane.look_again();
            // A marker that nothing was decided on is what it is by its name alone.
            let known = !lane.is_marker() || lane.lifecycle.outcome.is_some();
            let resume = known.then(|| Box::new(lane.lifecycle));
            Member { intake: Intake { resume, ..lane.member.intake }, ..lane.member }
        });
        let members = under_way.collect();
        SetSoFar { members, over: std::mem::take(&mut self.over), joined_ms: self.joined_ms, recording }
    }

    /// Goes on from there.
    pub(crate) fn resumed(input: &SetInput, so_far: SetSoFar, now: i64) -> Self {
        let lanes = so_far.members.into_iter().map(|m| Lane::new(input, m, now)).collect();
        Self { lanes, over: so_far.over, joined_ms: so_far.joined_ms }
    }

    /// A file that the watch has seen. One that is under way is looked at again if it is not what it was. `false`: a
    /// late repeat of one that was delivered.
    pub(crate) fn join(&mut self, input: &SetInput, member: Member, now: i64) -> bool {
        let (key, stat) = (member.intake.file_key(), &member.intake.fingerprint.stat);
        let settled = |m: &MemberReport| {
            let l = &m.report.lifecycle;
            m.report.intake.file_key() == key
                && l.stat == *stat
                && matches!(l.outcome, Some(Outcome::Delivered { .. } | Outcome::Duplicate { .. }))
        };
        if self.over.iter().any(settled) {
            return false;
        }
        if let Some(lane) = self.lanes.iter_mut().find(|l| l.key() == key && l.lifecycle.outcome.is_none()) {
            if lane.is_marker() {
                *lane = Lane::new(input, member, now);
            } else if matches!(lane.next, Command::Wait { .. }) {
                lane.wake_ms = now;
            } else if lane.lifecycle.stat != *stat {
                lane.look_again();
            }
            return true;
        }
        // Another file took the name: the one before finds that out when it looks.
        let path = member.intake.fingerprint.path.clone();
        for lane in self.lanes.iter_mut().filter(|l| l.member.intake.fingerprint.path == path) {
            lane.look_again();
        }
        self.lanes.push(Lane::new(input, member, now));
        self.joined_ms = now;
        self.relax(input, now);
        true
    }

    /// What still lies on the share of a set that is over belongs to the next one.
    pub(crate) fn reopen(&mut self, input: &SetInput, now: i64) {
        let (lying, gone) = std::mem::take(&mut self.over).into_iter().partition(|m: &MemberReport| {
            let l = &m.report.lifecycle;
            l.archive == ArchiveState::Left || matches!(l.outcome, Some(Outcome::Quarantined { .. }))
        });
        self.over = gone;
        for m in lying {
            let mut intake = m.report.intake;
            intake.fingerprint.stat = m.report.lifecycle.stat;
            intake.quiet_ms = 0;
            self.join(input, Member { role: m.role, label: m.label, extension: m.extension, intake }, now);
        }
    }

    /// With a marker there, content that cannot tell needs to be quiet only as long as content that can.
    fn relax(&mut self, input: &SetInput, now: i64) {
        if !(input.spec.marker && self.lanes.iter().any(Lane::is_marker)) {
            return;
        }
        for lane in self.lanes.iter_mut().filter(|l| !l.is_marker()) {
            let rule = &mut lane.member.intake.settle;
            rule.unverifiable_quiet_ms = rule.unverifiable_quiet_ms.min(rule.strong_quiet_ms);
            if matches!(lane.lifecycle.phase, Phase::Waiting { why: WaitReason::Quiet }) {
                lane.wake_ms = lane.wake_ms.min(now);
            }
        }
    }

    /// Wakes what is due; all that waits if `all`.
    pub(crate) fn wake(&mut self, now: i64, all: bool) {
        for lane in &mut self.lanes {
            if matches!(lane.next, Command::Wait { .. }) && (all || lane.wake_ms <= now) {
                lane.take(Event::Woken, now);
            }
        }
    }

    /// Milliseconds until the next wake.
    pub(crate) fn next_wake(&self, now: i64) -> Option<u64> {
        let waiting = self.lanes.iter().filter(|l| matches!(l.next, Command::Wait { .. }));
        waiting.map(|l| u64::try_from(l.wake_ms.saturating_sub(now)).unwrap_or(0)).min()
    }

    /// Puts aside what is over.
    pub(crate) fn sweep(&mut self) {
        let (done, under_way) = std::mem::take(&mut self.lanes).into_iter().partition(|l| l.next == Command::Finish);
        self.lanes = under_way;
        for lane in done {
            let lane: Lane = lane;
            self.over.retain(|m| m.report.intake.file_key() != lane.key());
            self.over.push(lane.report());
        }
    }

    /// The set as it is seen now.
    pub(crate) fn seen(&self, now: i64, judged: Option<StructureVerdict>) -> SetSeen<'_> {
        let first_seen = self.lanes.iter().filter(|l| !l.is_marker()).map(|l| l.lifecycle.times.first_seen_ms);
        let last = first_seen.chain([self.joined_ms]).max().unwrap_or(now);
        SetSeen {
            members: self.lanes.iter().map(|l| (l.member.role, l.member.label.as_str(), l.standing())).collect(),
            quiet_ms: u64::try_from(now.saturating_sub(last)).unwrap_or(0),
            judged,
        }
    }

    /// The members whose content is delivered.
    pub(crate) fn contents(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.lanes.iter_mut().filter(|l| !l.is_marker() && l.lifecycle.outcome.is_none())
    }

    /// After a try to store so many: whether all are stored. If not, those that are go back to the look, because what made
    /// one of them change or go may be at work on the others.
    pub(crate) fn all_stored(&mut self, tried: usize) -> bool {
        let stored = |l: &&mut Lane| matches!(l.next, Command::Enqueue(_));
        if self.contents().filter(stored).count() == tried {
            return true;
        }
        self.contents().filter(stored).for_each(Lane::look_again);
        false
    }

    /// What the set's own files say of its members, in the order of [`Lanes::contents`].
    pub(crate) fn place(&mut self, members: Vec<JudgedMember>) {
        let told = members.into_iter().chain(std::iter::repeat(JudgedMember::default()));
        self.contents().zip(told).for_each(|(lane, judged)| lane.judged = judged);
    }

    /// All members go back to the look.
    pub(crate) fn look_again(&mut self) {
        self.contents().for_each(Lane::look_again);
    }

    /// The objects of the set, and its claim.
    pub(crate) fn objects(&mut self) -> (Vec<SetObject>, String) {
        let mut objects: Vec<SetObject> = self
            .contents()
            .filter_map(|l| {
                let d = l.lifecycle.delivery()?;
                Some(SetObject {
                    role: l.role(),
                    extension: l.member.extension.clone(),
                    digest: d.digest,
                    size: d.size,
                    format: d.format,
                    identity: d.identity,
                    place: l.judged.place,
                })
            })
            .collect();
        objects.sort();
        let versions: Vec<_> = self.contents().map(|l| l.lifecycle.version_key(&l.member.intake)).collect();
        (objects, claim(&versions))
    }

    /// The lifecycle of the member that the set is named after; of several, the first.
    pub(crate) fn primary(&mut self) -> Option<&mut Lifecycle> {
        self.contents().find(|l| l.role() == MemberRole::Primary).map(|l| &mut l.lifecycle)
    }

    /// What the members said of each other goes on record with the primary one.
    pub(crate) fn testify(&mut self, evidence: &[String]) {
        let primary = self.lanes.iter_mut().filter(|l| l.role() == MemberRole::Primary);
        for lane in primary {
            if let Some(s) = &mut lane.lifecycle.structure {
                s.evidence.extend(evidence.iter().filter(|e| !s.evidence.contains(e)).cloned().collect::<Vec<_>>());
            }
        }
    }

    /// Ends every member that has no outcome of its own.
    pub(crate) fn release(&mut self, mut end: impl FnMut(&mut Lifecycle) -> Command, now: i64) {
        for lane in self.lanes.iter_mut().filter(|l| l.lifecycle.outcome.is_none()) {
            let next = end(&mut lane.lifecycle);
            lane.then(next, now);
        }
    }

    /// Quarantines every member that has no outcome of its own.
    pub(crate) fn give_up(&mut self, code: FaultCode, now: i64) {
        for lane in self.lanes.iter_mut().filter(|l| l.lifecycle.outcome.is_none()) {
            let next = lane.lifecycle.give_up(&lane.member.intake, code);
            lane.then(next, now);
        }
    }

    /// All members, those that are over included.
    pub(crate) fn reports(&self) -> Vec<MemberReport> {
        self.over.iter().cloned().chain(self.lanes.iter().map(Lane::report)).collect()
    }
}
