//! The list of formats, for callers that take one by name.

use std::fmt;
use std::str::FromStr;

use super::spec::{Spec, SynthError};
use super::{aecg, csv, dicom, edf, fhir, hl7v2, ishne, muse, pdf, scp, wfdb};

/// One file of a written recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name without a directory.
    pub name: String,
    /// The whole content.
    pub bytes: Vec<u8>,
}

/// A format that a recording can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SynthFormat {
    /// DICOM 12-lead (or general) ECG waveform.
    Dicom,
    /// DICOM Encapsulated PDF.
    DicomPdf,
    /// HL7 annotated ECG.
    Aecg,
    /// SCP-ECG, EN 1064.
    Scp,
    /// EDF+.
    Edf,
    /// BDF+.
    Bdf,
    /// ISHNE Holter.
    Ishne,
    /// WFDB: header, signal and annotation file.
    Wfdb,
    /// A printout.
    Pdf,
    /// GE MUSE `RestingECG` XML.
    MuseXml,
    /// Comma-separated values.
    Csv,
    /// HL7 v2 ORU^R01 with the printout.
    Hl7v2,
    /// FHIR DiagnosticReport with the printout.
    Fhir,
}

impl SynthFormat {
    /// Every format, in the order of the documentation.
    pub const fn all() -> &'static [Self] {
        &[
            Self::Dicom,
            Self::DicomPdf,
            Self::Aecg,
            Self::Scp,
            Self::Edf,
            Self::Bdf,
            Self::Ishne,
            Self::Wfdb,
            Self::Pdf,
            Self::MuseXml,
            Self::Csv,
            Self::Hl7v2,
            Self::Fhir,
        ]
    }

    /// The name that `FromStr` reads and `Display` writes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dicom => "dicom",
            Self::DicomPdf => "dicom-pdf",
            Self::Aecg => "aecg",
            Self::Scp => "scp",
            Self::Edf => "edf",
            Self::Bdf => "bdf",
            Self::Ishne => "ishne",
            Self::Wfdb => "wfdb",
            Self::Pdf => "pdf",
            Self::MuseXml => "muse-xml",
            Self::Csv => "csv",
            Self::Hl7v2 => "hl7v2",
            Self::Fhir => "fhir",
        }
    }

    /// What follows [`Spec::stem`] in the name of the file. Two formats never share a name.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Dicom => ".dcm",
            Self::DicomPdf => "-report.dcm",
            Self::Aecg => "-aecg.xml",
            Self::Scp => ".scp",
            Self::Edf => ".edf",
            Self::Bdf => ".bdf",
            Self::Ishne => ".ecg",
            Self::Wfdb => ".hea",
            Self::Pdf => ".pdf",
            Self::MuseXml => "-muse.xml",
            Self::Csv => ".csv",
            Self::Hl7v2 => ".hl7",
            Self::Fhir => ".json",
        }
    }

    /// Writes `spec`. Every format gives one file but WFDB, which gives its header last: a reader that sees the
    /// header finds the files it names.
    pub fn write(self, spec: &Spec) -> Result<Vec<Member>, SynthError> {
        let bytes = match self {
            Self::Wfdb => return wfdb::write(spec),
            Self::Dicom => dicom::write_ecg(spec),
            Self::DicomPdf => dicom::write_encapsulated_pdf(spec),
            Self::Aecg => aecg::write(spec),
            Self::Scp => scp::write(spec),
            Self::Edf => edf::write_edf(spec),
            Self::Bdf => edf::write_bdf(spec),
            Self::Ishne => ishne::write(spec),
            Self::Pdf => pdf::write(spec),
            Self::MuseXml => muse::write(spec),
            Self::Csv => csv::write(spec),
            Self::Hl7v2 => hl7v2::write(spec),
            Self::Fhir => fhir::write(spec),
        }?;
        Ok(vec![Member { name: spec.stem() + self.suffix(), bytes }])
    }
}

impl fmt::Display for SynthFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No format has this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownFormat(String);

impl fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no format is called `{}`; there are", self.0)?;
        for (i, format) in SynthFormat::all().iter().enumerate() {
            write!(f, "{}{format}", if i == 0 { " " } else { ", " })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownFormat {}

impl FromStr for SynthFormat {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::all()
            .iter()
            .copied()
            .find(|format| format.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}
