//! ZIP (PKWARE APPNOTE 6.3.10), walked from the front: local headers and data, the central directory, its end record.
//!
//! A walk from the front sees every byte once and needs no seek. What the central directory says is compared with
//! what the walk met.

use std::collections::HashMap;

use super::members::Members;
use super::zip_entry::{DESCRIPTOR, Data, Entry, hunt, is_next, zip64};
use crate::engine::inflate::{Inflate, State};
use crate::engine::{End, Machine, Report, Step};
use crate::signal::{u16_le, u32_le, u64_le};
use crate::{Evidence, Part};

/// Members that are compared with the directory: 4.3 MB of table, and 6.5 MB while it last grows.
const TABLE: usize = 100_000;
const LOCAL: u32 = 0x0403_4B50;
const CENTRAL: u32 = 0x0201_4B50;
const END: u32 = 0x0605_4B50;
const END64: u32 = 0x0606_4B50;
const LOCATOR64: u32 = 0x0706_4B50;
const SIGNATURE: u32 = 0x0505_4B50;
const EXTRA_DATA: u32 = 0x0806_4B50;

struct Local {
    crc: u32,
    size: u64,
    /// Whether the data was decoded and agreed.
    sound: bool,
}

pub(crate) struct Zip {
    members: Members,
    entry: Option<Box<Entry>>,
    locals: HashMap<u64, Local>,
    overflow: bool,
    walked: u64,
    listed: u64,
    missing: Option<Evidence>,
    bad: Option<Evidence>,
    unchecked: bool,
    /// Whether a member was not read, whose sum nothing is known of.
    opaque: bool,
    gap: Option<u64>,
    /// Between records, where only those count that [`Zip::seek`] stops at: a piece may end anywhere in between.
    seeking: bool,
    /// Whether it is one volume of several.
    split: bool,
    directory_at: Option<u64>,
    declared: Option<u64>,
    ended_at: Option<u64>,
    comment: u64,
    floor: u64,
}

impl Zip {
    pub(crate) fn new(depth: u8) -> Self {
        Self {
            members: Members::new(depth),
            entry: None,
            locals: HashMap::new(),
            overflow: false,
            walked: 0,
            listed: 0,
            missing: None,
            bad: None,
            unchecked: false,
            opaque: false,
            gap: None,
            seeking: false,
            split: false,
            directory_at: None,
            declared: None,
            ended_at: None,
            comment: 0,
            floor: 22,
        }
    }

    fn local(&mut self, window: &[u8], at: u64) -> Step {
        if window.len() < 30 {
            return Step::Need(30);
        }
        let (name, extra) = (usize::from(u16_le(window, 26)), usize::from(u16_le(window, 28)));
        let header = 30 + name + extra;
        if window.len() < header {
            return Step::Need(header);
        }
        let (flags, method) = (u16_le(window, 6), u16_le(window, 8));
        let (mut packed, mut size) = (u64::from(u32_le(window, 18)), u64::from(u32_le(window, 22)));
        zip64(&window[30 + name..header], &mut size, &mut packed, &mut 0);
        let later = flags & 8 != 0 && packed == 0;
        let data = match method {
            _ if flags & 1 != 0 && later => Data::Hunt,
            _ if flags & 1 != 0 => Data::Opaque,
            8 => Data::Inflate(Box::new(Inflate::deflate())),
            _ if later => Data::Hunt,
            0 => Data::Stored,
            _ => Data::Opaque,
        };
        if !later && !self.split {
            self.floor = self.floor.max((at + header as u64).saturating_add(packed));
        }
        self.walked += 1;
        self.members.begin();
        if flags & 1 != 0 || !matches!(method, 0 | 8) {
            self.opaque = true;
            self.members.unread();
        }
        self.entry = Some(Box::new(Entry {
            at,
            flags,
            crc: u32_le(window, 14),
            packed: if later { u64::MAX } else { packed },
            size,
            seen: 0,
            made: 0,
            sum: crc32fast::Hasher::new(),
            data,
            plain: method == 0 && flags & 1 == 0,
            folder: window[..30 + name].ends_with(b"/"),
            done: false,
        }));
        Step::Take(header)
    }

    fn data(&mut self, entry: &mut Entry, window: &[u8], at: u64) -> Result<usize, Step> {
        let left = usize::try_from(entry.packed.saturating_sub(entry.seen)).unwrap_or(usize::MAX);
        let part = &window[..window.len().min(left)];
        match &mut entry.data {
            Data::Inflate(inflate) => {
                let (sum, members, made) = (&mut entry.sum, &mut self.members, &mut entry.made);
                let used = inflate.push(part, |bytes| {
                    sum.update(bytes);
                    members.push(bytes);
                    *made += bytes.len() as u64;
                });
                entry.seen += used as u64;
                match inflate.state {
                    State::Running if entry.seen < entry.packed => Ok(used),
                    State::Ended if entry.packed == u64::MAX || entry.seen == entry.packed => {
                        self.decoded(entry);
                        Ok(used)
                    }
                    State::TooLarge => {
                        self.unchecked = true;
                        Err(Step::Stop)
                    }
                    _ => {
                        self.bad = Some(Evidence::Undecodable { part: Part::CompressedData, offset: entry.at });
                        Err(Step::Stop)
                    }
                }
            }
            Data::Stored => {
                entry.sum.update(part);
                self.members.push(part);
                entry.made += part.len() as u64;
                entry.seen += part.len() as u64;
                if entry.seen >= entry.packed {
                    self.decoded(entry);
                }
                Ok(part.len())
            }
            Data::Opaque => {
                entry.seen += part.len() as u64;
                if entry.seen >= entry.packed {
                    if entry.flags & 8 != 0 {
                        entry.data = Data::Descriptor;
                    } else {
                        self.finish_entry(entry, true);
                    }
                }
                Ok(part.len())
            }
            Data::Hunt => {
                let used = hunt(entry, window)?;
                if entry.plain {
                    entry.sum.update(&window[..used]);
                    self.members.push(&window[..used]);
                    entry.made += used as u64;
                }
                Ok(used)
            }
            Data::Descriptor => {
                let used = self.descriptor(entry, window, at)?;
                Ok(used)
            }
        }
    }

    fn decoded(&mut self, entry: &mut Entry) {
        if entry.flags & 8 != 0 {
            entry.data = Data::Descriptor;
            return;
        }
        let sound = entry.sum.clone().finalize() == entry.crc && entry.made == entry.size;
        if !sound {
            let fact = Evidence::FailedChecksum { part: Part::Member, offset: entry.at };
            self.bad = self.bad.or(Some(fact));
        }
        self.finish_entry(entry, sound);
    }

    /// The data descriptor (4.3.9), with or without its signature, in 32 or 64 bits.
    fn descriptor(&mut self, entry: &mut Entry, window: &[u8], at: u64) -> Result<usize, Step> {
        // An end of central directory record follows, so 24 bytes are there in a whole file.
        if window.len() < 24 {
            return Err(Step::Need(24));
        }
        let known = matches!(entry.made, 1..) || entry.seen == 0;
        for (skip, wide) in [(4, false), (4, true), (0, false), (0, true)] {
            if skip == 4 && window[..4] != DESCRIPTOR {
                continue;
            }
            let (packed, size, len) = if wide {
                if skip + 20 > window.len() {
                    continue;
                }
                (u64_le(window, skip + 4), u64_le(window, skip + 12), skip + 20)
            } else {
                (u64::from(u32_le(window, skip + 4)), u64::from(u32_le(window, skip + 8)), skip + 12)
            };
            let crc = u32_le(window, skip);
            let agrees = !known || crc == entry.sum.clone().finalize() && size == entry.made;
            if packed == entry.seen && agrees {
                entry.crc = crc;
                entry.size = size;
                self.finish_entry(entry, true);
                return Ok(len);
            }
        }
        // Some announce a descriptor and write none: the sizes in front are right then.
        let sized = entry.packed == entry.seen && entry.size == entry.made || entry.folder && entry.seen == 0;
        if sized && is_next(window) && entry.crc == entry.sum.clone().finalize() {
            self.finish_entry(entry, true);
            return Ok(0);
        }
        self.bad = self.bad.or(Some(Evidence::FailedChecksum { part: Part::Member, offset: entry.at }));
        self.gap = self.gap.or(Some(at));
        self.finish_entry(entry, false);
        Ok(0)
    }

    fn finish_entry(&mut self, entry: &mut Entry, sound: bool) {
        self.members.end();
        if self.locals.len() < TABLE {
            self.locals.insert(entry.at, Local { crc: entry.crc, size: entry.size, sound });
        } else {
            self.overflow = true;
        }
        entry.done = true;
    }

    fn central(&mut self, window: &[u8], at: u64) -> Step {
        if window.len() < 46 {
            return Step::Need(46);
        }
        let (name, extra, comment) = (u16_le(window, 28), u16_le(window, 30), u16_le(window, 32));
        let len = 46 + usize::from(name) + usize::from(extra) + usize::from(comment);
        if window.len() < len {
            return Step::Need(len);
        }
        self.directory_at = self.directory_at.or(Some(at));
        self.listed += 1;
        let (mut packed, mut size) = (u64::from(u32_le(window, 20)), u64::from(u32_le(window, 24)));
        let mut offset = u64::from(u32_le(window, 42));
        let extra_at = 46 + usize::from(name);
        zip64(&window[extra_at..extra_at + usize::from(extra)], &mut size, &mut packed, &mut offset);
        match self.locals.get(&offset) {
            // WinZip AES leaves the checksum out of one place (AE-2).
            Some(local) if local.size == size || local.crc == u32_le(window, 16) || !local.sound => {}
            Some(_) => {
                let fact = Evidence::Contradiction { part: Part::CentralDirectory, offset: at };
                self.missing = self.missing.or(Some(fact));
            }
            None if self.overflow => {}
            None => self.missing = self.missing.or(Some(Evidence::Missing { part: Part::LocalHeader })),
        }
        Step::Take(len)
    }

    fn end_record(&mut self, window: &[u8], at: u64) -> Step {
        if window.len() < 22 {
            return Step::Need(22);
        }
        self.comment = u64::from(u16_le(window, 20));
        self.ended_at = Some(at + 22 + self.comment);
        self.floor = self.floor.max(at + 22 + self.comment);
        self.declared = self.declared.or(Some(u64::from(u16_le(window, 10))));
        // The number of this volume, counted from zero; all ones where a wider record has it.
        self.split |= !matches!(u16_le(window, 4), 0 | 0xFFFF);
        Step::Take(22)
    }

    /// Something that is no record: padding, a signing block, or damage. The walk goes on at the next record.
    fn seek(&mut self, window: &[u8], at: u64) -> Step {
        self.gap = self.gap.or(Some(at));
        self.seeking = true;
        for found in memchr::memmem::find_iter(window, b"PK") {
            let Some(kind) = window.get(found + 2..found + 4) else { return Step::Take(found).or_need(4) };
            if found > 0 && matches!(kind, b"\x01\x02" | b"\x03\x04" | b"\x05\x06" | b"\x06\x06") {
                return Step::Take(found);
            }
        }
        let keep = usize::from(window.ends_with(b"P"));
        match window.len() - keep {
            0 => Step::Need(2),
            len => Step::Take(len),
        }
    }
}

impl Step {
    /// Taking nothing would not get further: ask for more instead.
    fn or_need(self, need: usize) -> Self {
        match self {
            Self::Take(0) => Self::Need(need),
            step => step,
        }
    }
}

impl Machine for Zip {
    fn step(&mut self, window: &[u8], at: u64) -> Step {
        if self.ended_at.is_some() {
            return Step::Take(window.len());
        }
        if let Some(mut entry) = self.entry.take() {
            let used = self.data(&mut entry, window, at);
            if !entry.done {
                self.entry = Some(entry);
            }
            return used.map_or_else(|step| step, Step::Take);
        }
        if window.len() < 4 {
            return Step::Need(4);
        }
        let kind = u32_le(window, 0);
        if matches!(kind, LOCAL | CENTRAL | END | END64) {
            self.seeking = false;
        } else if self.seeking {
            return self.seek(window, at);
        }
        match kind {
            LOCAL if self.directory_at.is_none() => {
                let step = self.local(window, at);
                // An empty member has no data to wait for.
                if let (Step::Take(_), Some(mut entry)) = (&step, self.entry.take()) {
                    if entry.packed == 0 && !matches!(entry.data, Data::Inflate(_)) {
                        self.decoded_empty(&mut entry);
                    }
                    if !entry.done {
                        self.entry = Some(entry);
                    }
                }
                step
            }
            CENTRAL => self.central(window, at),
            END => self.end_record(window, at),
            END64 if window.len() < 40 => Step::Need(40),
            END64 => {
                // What lies behind the fixed part is passed over like any other bytes.
                let len = u64_le(window, 4).saturating_add(12).min(56) as usize;
                if window.len() < len {
                    return Step::Need(len);
                }
                self.declared = Some(u64_le(window, 32));
                Step::Take(len)
            }
            LOCATOR64 if window.len() < 20 => Step::Need(20),
            LOCATOR64 => Step::Take(20),
            SIGNATURE if window.len() < 6 => Step::Need(6),
            SIGNATURE => {
                let len = 6 + usize::from(u16_le(window, 4));
                if window.len() < len { Step::Need(len) } else { Step::Take(len) }
            }
            EXTRA_DATA if window.len() < 8 => Step::Need(8),
            EXTRA_DATA => Step::Take(8),
            // Marks of a split archive at the front (8.5.4).
            _ if at == 0 && window.starts_with(b"PK00") => Step::Take(4),
            _ if at == 0 && window.starts_with(&DESCRIPTOR) => {
                self.split = true;
                Step::Take(4)
            }
            _ => self.seek(window, at),
        }
    }

    fn finish(&mut self, rest: &[u8], _at: u64, end: &End<'_>, report: &mut Report) {
        self.members.report(report);
        if self.unchecked {
            report.unverifiable(Evidence::NotChecked { part: Part::CompressedData });
            return;
        }
        if self.opaque {
            report.unverifiable(Evidence::NotChecked { part: Part::CompressedData });
        }
        let declared = self.declared.unwrap_or(0);
        let listed = declared == self.listed || declared == self.listed & 0xFFFF;
        let volume = self.split && (self.ended_at.is_none() || self.missing.is_some() || !listed);
        if volume {
            // Its members go on in others.
            report.unverifiable(Evidence::NotChecked { part: Part::Member });
        }
        if let Some(fact) = self.bad {
            report.malformed(fact);
        }
        if volume {
            return;
        }
        let hunted = self.entry.as_ref().is_some_and(|entry| matches!(entry.data, Data::Hunt));
        if hunted && rest.len() >= 22 && rest[rest.len() - 22..].starts_with(b"PK\x05\x06") {
            // It has its end; where the member has its own nothing says.
            report.unverifiable(Evidence::NotChecked { part: Part::Member });
            return;
        }
        let Some(ended) = self.ended_at else {
            if self.bad.is_none() {
                let part = if self.entry.is_some() { Part::Member } else { Part::DirectoryEnd };
                match part {
                    Part::Member if self.floor > end.len => {
                        report.partial(Evidence::Short { part, expected: self.floor, actual: end.len });
                    }
                    _ if self.gap.is_some() && end.nul.tail() >= 64 => {
                        report.suspect(Evidence::NulTail { from: end.nul.tail_from(), length: end.nul.tail() });
                    }
                    _ => report.partial(Evidence::Missing { part: Part::DirectoryEnd }),
                }
            }
            return;
        };
        if let Some(fact) = self.missing {
            report.malformed(fact);
        }
        if !listed {
            report.malformed(Evidence::ShortPart {
                part: Part::CentralDirectory,
                expected: declared,
                actual: self.listed,
            });
        }
        if self.overflow {
            report.note(Evidence::NotChecked { part: Part::CentralDirectory });
        }
        if end.len < ended {
            report.partial(Evidence::Short { part: Part::DirectoryEnd, expected: ended, actual: end.len });
        } else if end.len > ended {
            let length = end.len - ended;
            if end.nul.tail() >= length {
                report.suspect(Evidence::NulTail { from: ended, length });
            } else {
                report.suspect(Evidence::TrailingBytes { from: ended, length });
            }
        }
    }

    fn floor(&self) -> u64 {
        self.floor
    }
}

impl Zip {
    fn decoded_empty(&mut self, entry: &mut Entry) {
        match entry.data {
            Data::Stored => self.decoded(entry),
            Data::Opaque if entry.flags & 8 == 0 => self.finish_entry(entry, true),
            _ => {}
        }
    }
}
