//! GE MUSE XML: every lead carries its byte count and the plain CRC-32 of its bytes.

use super::sink::{Field, Sink};
use crate::engine::Report;
use crate::engine::base64::Base64;
use crate::identity::{self, WaveDigest};
use crate::trace::{Layout, Trace};
use crate::{Evidence, Part};

#[derive(Default)]
struct Lead {
    declared: Option<u64>,
    crc: Option<u64>,
    data: Base64,
    sum: crc32fast::Hasher,
    any: bool,
}

pub(super) struct Muse {
    lead: Option<Lead>,
    current: Current,
    field: Field,
    fields: [Vec<u8>; FIELDS.len()],
    digest: WaveDigest,
    /// Of the rhythm's first lead; the mean beats come before it.
    trace: Option<Trace>,
    rhythm: bool,
    leads: u64,
    failed: u64,
    bad: Option<Evidence>,
    first_failed: Option<Evidence>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Current {
    Nothing,
    Data,
    Count,
    Sum,
    Id,
    Kind,
    Field(usize),
}

const FIELDS: [&[u8]; 8] = [
    b"AcquisitionDate",
    b"AcquisitionTime",
    b"CartNumber",
    b"AcquisitionDevice",
    b"Site",
    b"PharmaUniqueECGID",
    b"EditDate",
    b"Status",
];

impl Muse {
    pub(super) fn new() -> Self {
        Self {
            lead: None,
            current: Current::Nothing,
            field: Field::default(),
            fields: Default::default(),
            digest: WaveDigest::new("muse"),
            trace: None,
            rhythm: false,
            leads: 0,
            failed: 0,
            bad: None,
            first_failed: None,
        }
    }

    fn close_lead(&mut self) {
        let Some(lead) = self.lead.take() else { return };
        if !lead.any {
            return;
        }
        self.leads += 1;
        if !lead.data.closed() {
            self.bad = self.bad.or(Some(Evidence::Undecodable { part: Part::LeadData, offset: self.leads - 1 }));
        }
        if let Some(expected) = lead.declared.filter(|expected| *expected != lead.data.decoded) {
            let fact = Evidence::ShortPart { part: Part::LeadData, expected, actual: lead.data.decoded };
            self.bad = self.bad.or(Some(fact));
        }
        if let Some(crc) = lead.crc
            && u64::from(lead.sum.finalize()) != crc
        {
            self.failed += 1;
            let fact = Evidence::FailedChecksum { part: Part::Lead, offset: self.leads - 1 };
            self.first_failed = self.first_failed.or(Some(fact));
        }
    }
}

impl Sink for Muse {
    fn start(&mut self, _depth: usize, name: &[u8], _attributes: &[u8]) {
        self.field.clear();
        self.current = match name {
            b"LeadData" => {
                self.lead = Some(Lead::default());
                Current::Nothing
            }
            b"WaveFormData" => Current::Data,
            b"LeadByteCountTotal" => Current::Count,
            b"LeadDataCRC32" => Current::Sum,
            b"LeadID" => Current::Id,
            b"WaveformType" => Current::Kind,
            name => FIELDS.iter().position(|field| *field == name).map_or(Current::Nothing, Current::Field),
        };
    }

    fn text(&mut self, text: &[u8]) {
        match (self.current, &mut self.lead) {
            (Current::Nothing, _) => {}
            (Current::Data, Some(lead)) => {
                let (digest, sum) = (&mut self.digest, &mut lead.sum);
                let mut trace = self.trace.as_mut().filter(|_| self.rhythm);
                lead.data.push(text, |bytes| {
                    digest.bytes(bytes);
                    sum.update(bytes);
                    if let Some(trace) = &mut trace {
                        trace.push(bytes);
                    }
                });
            }
            _ => self.field.push(text),
        }
    }

    fn end(&mut self, _depth: usize, name: &[u8]) {
        match (self.current, &mut self.lead) {
            (Current::Data, Some(lead)) => {
                lead.any = true;
                self.rhythm = false;
            }
            (Current::Count, Some(lead)) => lead.declared = self.field.number(),
            (Current::Sum, Some(lead)) => lead.crc = self.field.number(),
            (Current::Kind, _) if self.trace.is_none() && self.field.value().eq_ignore_ascii_case(b"rhythm") => {
                self.trace = Some(Trace::new(Layout::WORDS));
                self.rhythm = true;
            }
            (Current::Id, Some(_)) => self.digest.shape(&[self.field.value().len() as u64]),
            (Current::Field(index), _) if self.fields[index].is_empty() => {
                self.fields[index] = self.field.value().to_vec();
            }
            _ => {}
        }
        self.current = Current::Nothing;
        if name == b"LeadData" {
            self.close_lead();
        }
    }

    fn finish(&mut self, closed: bool, report: &mut Report) {
        let [date, time, cart, device, site, unique, edited, status] = &self.fields;
        report.identity.native = identity::opaque("muse", &[unique]);
        if !date.is_empty() && !time.is_empty() {
            report.identity.acquisition = identity::opaque("acquisition", &[device, cart, site, date, time]);
        }
        report.identity.revision = identity::opaque("muse-edit", &[edited, status]);
        report.identity.waveform = self.digest.finish();
        report.identity.trace = self.trace.as_ref().and_then(Trace::mark);
        if let Some(fact) = self.bad {
            report.malformed(fact);
        }
        if let Some(fact) = self.first_failed {
            // When no lead agrees, the sender computes something else, and nothing is known.
            if self.failed == self.leads && self.leads > 1 { report.unverifiable(fact) } else { report.malformed(fact) }
        }
        if closed && self.leads == 0 {
            report.unverifiable(Evidence::NoWaveform);
        }
    }
}
