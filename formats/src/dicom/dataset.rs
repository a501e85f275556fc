//! The elements of a data set (PS3.5 section 7), with sequences in both length forms.

use super::anchors::{Facts, Group, wanted};
use super::vr::{is_blank, long_form};
use crate::document::pdf::Pdf;
use crate::engine::{Driver, End, Machine, NulWatch, Report, Step};
use crate::identity::{self, WaveDigest};
use crate::trace::{Layout, Trace};
use crate::{Evidence, Format, Part};

/// How elements are written.
#[derive(Clone, Copy)]
pub(crate) struct Encoding {
    pub(crate) explicit: bool,
    pub(crate) big: bool,
}

const UNDEFINED: u32 = u32::MAX;
/// Values that are looked at are short (UIDs are at most 64 bytes, times 26).
const KEPT: u32 = 256;
const DEPTH: usize = 64;

const WAVEFORM_SEQUENCE: u32 = 0x5400_0100;
const WAVEFORM_DATA: u32 = 0x5400_1010;
const PIXEL_DATA: u32 = 0x7FE0_0010;
const DOCUMENT: u32 = 0x0042_0011;
const DOCUMENT_TYPE: u32 = 0x0042_0012;
/// Zero bytes at the end of a data set that mean nothing (PS3.10 7.2).
const PADDING: u32 = 0xFFFC_FFFC;
const ITEM: u32 = 0xFFFE_E000;
const ITEM_END: u32 = 0xFFFE_E00D;
const SEQUENCE_END: u32 = 0xFFFE_E0DD;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sequence,
    Item,
    Fragments,
}

struct Frame {
    kind: Kind,
    tag: u32,
    end: Option<u64>,
    explicit: bool,
}

#[derive(PartialEq, Eq)]
enum Use {
    Nothing,
    Wave,
    FirstWave,
    Document,
}

pub(crate) struct Dataset {
    encoding: Encoding,
    stack: Vec<Frame>,
    facts: Facts,
    group: Option<Group>,
    digest: WaveDigest,
    trace: Option<Trace>,
    pdf: Option<Box<(Driver<Pdf>, NulWatch)>>,
    /// Bytes of the current value that are still to come, and what to do with them.
    left: u64,
    value_use: Use,
    last: u32,
    unordered: Option<u64>,
    /// Where Data Set Trailing Padding starts.
    padding: Option<u64>,
    bad: Option<Evidence>,
    /// Where a zero tag was met, which is padding or an unwritten tail.
    zero_from: Option<u64>,
    /// Where bytes were met that are no element of a data set that had all it needs.
    foreign: Option<u64>,
    /// Where an element starts whose tag and length may be foreign bytes.
    doubtful: Option<u64>,
    /// Whether an element has neither type nor length.
    unwritten: bool,
    floor: u64,
    at: u64,
}

impl Dataset {
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            stack: Vec::new(),
            facts: Facts::default(),
            group: None,
            digest: WaveDigest::new("dicom"),
            trace: None,
            pdf: None,
            left: 0,
            value_use: Use::Nothing,
            last: 0,
            unordered: None,
            padding: None,
            bad: None,
            zero_from: None,
            foreign: None,
            doubtful: None,
            unwritten: false,
            floor: 0,
            at: 0,
        }
    }

    fn u16(&self, bytes: &[u8]) -> u16 {
        let pair = [bytes[0], bytes[1]];
        if self.encoding.big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
    }

    fn u32(&self, bytes: &[u8]) -> u32 {
        let four = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if self.encoding.big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    }

    fn fail(&mut self, part: Part, offset: u64) -> Step {
        self.bad = Some(Evidence::Contradiction { part, offset });
        Step::Stop
    }

    /// Closes what ends at `at`; false when something should have ended before.
    fn close(&mut self, at: u64) -> bool {
        while let Some(frame) = self.stack.last() {
            match frame.end {
                Some(end) if end == at => self.pop(at),
                Some(end) if end < at => return false,
                _ => break,
            }
        }
        true
    }

    fn pop(&mut self, at: u64) {
        let Some(frame) = self.stack.pop() else { return };
        if frame.kind == Kind::Item
            && self.stack.len() == 1
            && frame.tag == WAVEFORM_SEQUENCE
            && let Some(group) = self.group.take()
        {
            match group.judge(at) {
                None => self.facts.groups += 1,
                Some(fact) => self.bad = self.bad.or(Some(fact)),
            }
        }
        if frame.kind == Kind::Fragments && self.stack.is_empty() && frame.tag == PIXEL_DATA {
            self.facts.fragments = true;
        }
    }

    fn element(&mut self, window: &[u8], at: u64) -> Step {
        if window.len() < 8 {
            return Step::Need(8);
        }
        let tag = u32::from(self.u16(window)) << 16 | u32::from(self.u16(&window[2..]));
        let explicit = self.stack.last().map_or(self.encoding.explicit, |frame| frame.explicit);
        if tag >> 16 == 0xFFFE {
            return self.delimiter(tag, self.u32(&window[4..]), at, explicit);
        }
        if tag >> 16 == 0 {
            // Group 0000 is for messages on a network and never in a file (PS3.7).
            self.zero_from = Some(at);
            return if self.stack.is_empty() { Step::Stop } else { self.fail(Part::Sequence, at) };
        }
        if self.stack.last().is_some_and(|frame| frame.kind != Kind::Item) {
            return self.fail(Part::Sequence, at);
        }
        let vr = [window[4], window[5]];
        let letters = vr.iter().all(u8::is_ascii_uppercase);
        let (header, len, sequence) = if !explicit {
            (8, self.u32(&window[4..]), tag == WAVEFORM_SEQUENCE)
        } else if !letters && self.could_have_ended(tag <= self.last) {
            self.foreign = Some(at);
            return Step::Stop;
        } else if !letters && !is_blank(window) {
            return self.fail(Part::ElementHeader, at);
        } else if long_form(vr) {
            if window.len() < 12 {
                return Step::Need(12);
            }
            (12, self.u32(&window[8..]), matches!(&vr, b"SQ" | b"UN") && tag == WAVEFORM_SEQUENCE)
        } else {
            (8, u32::from(self.u16(&window[6..])), false)
        };
        // Zero bytes for type and length may be a header that was never written.
        self.unwritten |= !letters && explicit && window[4..8] == [0; 4];
        let top = self.stack.is_empty();
        // PS3.5 section 6.2.2, note 4: a sequence whose type was not known to a writer has implicit items.
        let inner = explicit && &vr != b"UN";
        // Without a type to go by, four letters behind the last element are a length like any other.
        let doubtful = !explicit && tag <= self.last && self.could_have_ended(true);
        let kept = wanted(tag) && len <= KEPT && (top || self.in_group());
        // Before anything is noted: this element is seen again when the bytes are there.
        if kept && window.len() < header + len as usize {
            return Step::Need(header + len as usize);
        }
        if top {
            self.doubtful = doubtful.then_some(at);
            if tag <= self.last && self.unordered.is_none() {
                self.unordered = Some(at);
            }
            self.last = tag;
            if tag == PADDING {
                self.padding = Some(at);
            }
            self.facts.waveform_sequence |= tag == WAVEFORM_SEQUENCE;
        }
        if len == UNDEFINED {
            // Pixel Data is never a sequence (PS3.5 A.4); some writers have it so in implicit VR.
            let fragments = tag == PIXEL_DATA || explicit && matches!(&vr, b"OB" | b"OW");
            let kind = if fragments { Kind::Fragments } else { Kind::Sequence };
            return self.descend(Frame { kind, tag, end: None, explicit: inner }, header);
        }
        let end = at + header as u64 + u64::from(len);
        if self.stack.iter().filter_map(|frame| frame.end).any(|outer| end > outer) {
            return self.fail(Part::Element, at);
        }
        if !doubtful {
            self.floor = self.floor.max(end);
        }
        if sequence {
            return self.descend(Frame { kind: Kind::Sequence, tag, end: Some(end), explicit: inner }, header);
        }
        if kept {
            let total = header + len as usize;
            self.keep(tag, &window[header..total], top);
            return Step::Take(total);
        }
        self.value(tag, header, len)
    }

    /// Whether bytes at the top level that are no element may be foreign ones behind the end: the anchor was met, or
    /// the object has none and the tag would be out of order.
    fn could_have_ended(&self, backwards: bool) -> bool {
        self.stack.is_empty() && self.facts.anchored().unwrap_or(backwards)
    }

    /// Whether the first bytes of an element that is not all there cannot belong to one: line ends of a text channel, or
    /// a tag behind which the data set already was.
    fn is_foreign(&self, rest: &[u8]) -> bool {
        let line_ends = rest.iter().all(|c| matches!(c, b'\r' | b'\n' | 0x1A | b' '));
        let backwards = match rest.len() {
            0 | 1 => false,
            2 | 3 => u32::from(self.u16(rest)) < self.last >> 16,
            _ => (u32::from(self.u16(rest)) << 16 | u32::from(self.u16(&rest[2..]))) <= self.last,
        };
        (line_ends || backwards) && self.could_have_ended(true)
    }

    /// Whether elements stand directly in an item of the waveform sequence.
    fn in_group(&self) -> bool {
        self.stack.len() == 2 && self.group.is_some()
    }

    fn descend(&mut self, frame: Frame, header: usize) -> Step {
        if self.stack.len() >= DEPTH {
            self.bad = Some(Evidence::NotChecked { part: Part::Sequence });
            return Step::Stop;
        }
        self.stack.push(frame);
        Step::Take(header)
    }

    /// Items and their ends (PS3.5 section 7.5).
    fn delimiter(&mut self, tag: u32, len: u32, at: u64, explicit: bool) -> Step {
        let kind = self.stack.last().map(|frame| frame.kind);
        match (tag, kind) {
            (ITEM, Some(Kind::Sequence)) => {
                let end = (len != UNDEFINED).then(|| at + 8 + u64::from(len));
                if let (Some(end), Some(outer)) = (end, self.stack.last().and_then(|frame| frame.end))
                    && end > outer
                {
                    return self.fail(Part::Sequence, at);
                }
                let tag = self.stack.last().map_or(0, |frame| frame.tag);
                self.floor = self.floor.max(end.unwrap_or(0));
                if tag == WAVEFORM_SEQUENCE && self.stack.len() == 1 {
                    self.group = Some(Group::default());
                }
                self.descend(Frame { kind: Kind::Item, tag, end, explicit }, 8)
            }
            (ITEM, Some(Kind::Fragments)) if len != UNDEFINED => {
                self.left = u64::from(len);
                self.value_use = Use::Nothing;
                self.floor = self.floor.max(at + 8 + u64::from(len));
                Step::Take(8)
            }
            (ITEM_END, Some(Kind::Item)) | (SEQUENCE_END, Some(Kind::Sequence | Kind::Fragments)) => {
                self.pop(at);
                Step::Take(8)
            }
            _ => self.fail(Part::Sequence, at),
        }
    }

    fn value(&mut self, tag: u32, header: usize, len: u32) -> Step {
        let top = self.stack.is_empty();
        self.left = u64::from(len);
        self.value_use = Use::Nothing;
        match tag {
            PIXEL_DATA | 0x7FE0_0008 | 0x7FE0_0009 if top => self.facts.pixels = Some(u64::from(len)),
            DOCUMENT_TYPE if top => self.facts.document_type = len > 0,
            DOCUMENT if top => {
                self.value_use = Use::Document;
                self.facts.document = len > 0;
            }
            WAVEFORM_DATA if self.in_group() => {
                self.value_use = Use::Wave;
                if let Some(group) = &mut self.group {
                    group.data = Some(u64::from(len));
                    let channels = group.channels.unwrap_or(0);
                    self.digest.shape(&[channels, group.samples.unwrap_or(0)]);
                    let (words, big) = (group.bits == Some(16), self.encoding.big);
                    // The first multiplex group is the rhythm; others are what was made of it.
                    if words && self.trace.is_none() {
                        self.trace = Some(Trace::new(Layout { big, ..Layout::interleaved(channels) }));
                        self.value_use = Use::FirstWave;
                    }
                }
            }
            _ => {}
        }
        Step::Take(header)
    }

    fn keep(&mut self, tag: u32, value: &[u8], top: bool) {
        let number = match value.len() {
            2 => Some(u64::from(self.u16(value))),
            4 => Some(u64::from(self.u32(value))),
            _ => None,
        };
        if !top {
            let Some(group) = &mut self.group else { return };
            match tag {
                0x003A_0005 => group.channels = number,
                0x003A_0010 => group.samples = number,
                0x5400_1004 => group.bits = number,
                _ => {}
            }
            return;
        }
        let facts = &mut self.facts;
        match tag {
            0x0008_0016 => facts.sop_class = value.to_vec(),
            0x0008_0018 => facts.sop_instance = value.to_vec(),
            0x0008_002A => facts.acquired = value.to_vec(),
            0x0018_1000 => facts.serial = value.to_vec(),
            0x0028_0002 => facts.samples = number,
            0x0028_0004 => facts.photometric = value.to_vec(),
            0x0028_0008 => facts.frames = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok()),
            0x0028_0010 => facts.rows = number,
            0x0028_0011 => facts.columns = number,
            0x0028_0100 => facts.bits = number,
            _ => {}
        }
    }

    fn consume(&mut self, window: &[u8], at: u64) -> Step {
        let len = window.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let bytes = &window[..len];
        match self.value_use {
            Use::Nothing => {}
            Use::Wave | Use::FirstWave => {
                let words = self.group.as_ref().is_some_and(|group| group.bits == Some(16));
                if self.encoding.big && words {
                    self.digest.swapped(bytes)
                } else {
                    self.digest.bytes(bytes)
                }
                if self.value_use == Use::FirstWave
                    && let Some(trace) = &mut self.trace
                {
                    trace.push(bytes);
                }
            }
            Use::Document => {
                let (pdf, nul) = &mut **self
                    .pdf
                    .get_or_insert_with(|| Box::new((Driver::new(Pdf::new()), NulWatch::starting_at(at))));
                nul.push(bytes);
                pdf.push(bytes);
            }
        }
        self.left -= len as u64;
        Step::Take(len)
    }
}

impl Machine for Dataset {
    fn step(&mut self, window: &[u8], at: u64) -> Step {
        let step = if self.left > 0 {
            self.consume(window, at)
        } else if !self.close(at) {
            self.fail(Part::Sequence, at)
        } else {
            self.element(window, at)
        };
        if let Step::Take(taken) = step {
            self.at = at + taken as u64;
        }
        step
    }

    fn finish(&mut self, rest: &[u8], at: u64, end: &End<'_>, report: &mut Report) {
        self.facts.name(report);
        report.padding = self.padding;
        let facts = &self.facts;
        report.identity.native = identity::uid("dicom", &facts.sop_instance);
        if !facts.serial.is_empty() && !facts.acquired.is_empty() {
            report.identity.acquisition = identity::opaque("acquisition", &[&facts.serial, &facts.acquired]);
        }
        report.identity.waveform = self.digest.finish();
        report.identity.trace = self.trace.as_ref().and_then(Trace::mark);

        match self.bad {
            Some(fact @ Evidence::NotChecked { .. }) => report.unverifiable(fact),
            Some(fact) => report.malformed(fact),
            None if self.unwritten => report.unverifiable(Evidence::NotChecked { part: Part::ElementHeader }),
            None => {}
        }
        if let Some(from) = self.zero_from {
            if end.nul.tail_from() <= from {
                report.suspect(Evidence::NulTail { from, length: end.len - from });
            } else {
                report.malformed(Evidence::Contradiction { part: Part::ElementHeader, offset: from });
            }
            return;
        }
        if matches!(self.bad, Some(Evidence::Contradiction { .. } | Evidence::NotChecked { .. })) {
            return;
        }
        let padded = rest.iter().all(|byte| *byte == 0);
        let foreign = self
            .foreign
            .or_else(|| self.doubtful.filter(|_| self.left > 0))
            .or_else(|| (!padded && self.is_foreign(rest)).then_some(at));
        if let Some(from) = foreign {
            report.suspect(Evidence::TrailingBytes { from, length: end.len - from });
        } else if self.left > 0 {
            let expected = end.len + self.left;
            report.partial(Evidence::Short { part: Part::Element, expected, actual: end.len });
            return;
        }
        if foreign.is_none() && !rest.is_empty() {
            // The first bytes of an element that cannot be one: padding shorter than a header.
            if padded {
                report.suspect(Evidence::NulTail { from: at, length: rest.len() as u64 });
            } else {
                let expected = end.len + 8u64.saturating_sub(rest.len() as u64).max(1);
                report.partial(Evidence::Short { part: Part::ElementHeader, expected, actual: end.len });
                return;
            }
        }
        self.close(at);
        // The last item may just have told what the object is.
        self.facts.name(report);
        if let Some(fact) = self.bad {
            report.malformed(fact);
        }
        if !self.stack.is_empty() {
            report.partial(Evidence::Unclosed { part: Part::Sequence, depth: self.stack.len() as u32 });
            return;
        }
        if let Some(offset) = self.unordered {
            report.suspect(Evidence::OutOfOrder { offset });
        }
        if (rest.is_empty() || foreign.is_some()) && self.bad.is_none() {
            self.facts.judge(report);
        }
        if let Some(pair) = &mut self.pdf {
            let mut inner = Report::new(Format::Pdf);
            // Before anything is asked of it: its last bytes are looked at here.
            pair.0.finish(&pair.1, &mut inner);
            if pair.0.machine.is_pdf() && inner.verdict > crate::Verdict::Unverifiable {
                report.add(inner.verdict, Evidence::Inner { format: Format::Pdf, verdict: inner.verdict });
            }
        }
    }

    fn floor(&self) -> u64 {
        self.floor
    }
}
