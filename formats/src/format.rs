//! The kinds of file that are told apart.

use serde::{Deserialize, Serialize};

macro_rules! formats {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// A kind of file.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Format { $($(#[$doc])* $name,)* }

        impl Format {
            /// Every kind of file.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name an operator knows it by.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

formats! {
    /// DICOM PS3.10 file that is neither of the more precise kinds below.
    Dicom = "DICOM",
    /// DICOM waveform object (SOP classes 1.2.840.10008.5.1.4.1.1.9.*).
    DicomWaveform = "DICOM waveform",
    /// DICOM encapsulated document (SOP classes 1.2.840.10008.5.1.4.1.1.104.*).
    DicomDocument = "DICOM encapsulated document",
    /// DICOM image.
    DicomImage = "DICOM image",
    /// HL7 annotated ECG.
    Aecg = "HL7 aECG",
    /// GE MUSE XML.
    MuseXml = "GE MUSE XML",
    /// GE CardioSoft XML.
    CardiosoftXml = "GE CardioSoft XML",
    /// Philips SierraECG XML.
    PhilipsXml = "Philips SierraECG XML",
    /// Mortara / Hill-Rom ELI XML.
    MortaraXml = "Mortara XML",
    /// ECG XML of another known vendor.
    VendorXml = "vendor ECG XML",
    /// XML of an unknown vocabulary.
    Xml = "XML",
    /// SCP-ECG (EN 1064).
    Scp = "SCP-ECG",
    /// ISHNE Holter recording.
    Ishne = "ISHNE Holter",
    /// ISHNE Holter annotations.
    IshneAnnotations = "ISHNE Holter annotations",
    /// European Data Format.
    Edf = "EDF",
    /// EDF+.
    EdfPlus = "EDF+",
    /// BioSemi Data Format.
    Bdf = "BDF",
    /// BDF+.
    BdfPlus = "BDF+",
    /// Header file of a WFDB record.
    WfdbHeader = "WFDB header",
    /// MFER (ISO 22077).
    Mfer = "MFER",
    /// PDF.
    Pdf = "PDF",
    /// ZIP archive.
    Zip = "ZIP",
    /// GZIP stream.
    Gzip = "GZIP",
    /// Tar archive.
    Tar = "tar",
    /// GZIP stream over a tar archive.
    TarGzip = "tar.gz",
    /// ISO base media file (MP4, QuickTime, 3GP).
    Mp4 = "MP4/QuickTime",
    /// MATLAB level 4 MAT-file.
    Mat4 = "MAT-file v4",
    /// MATLAB level 5 MAT-file.
    Mat5 = "MAT-file v5",
    /// MATLAB 7.3 MAT-file, an HDF5 file with a user block.
    Mat73 = "MAT-file v7.3",
    /// HDF5.
    Hdf5 = "HDF5",
    /// FHIR resource in JSON.
    FhirJson = "FHIR JSON",
    /// JSON of an unknown vocabulary.
    Json = "JSON",
    /// HL7 v2 message or batch in ER7 encoding.
    Hl7v2 = "HL7 v2",
    /// HL7 v2 in an MLLP frame.
    Hl7v2Mllp = "HL7 v2 (MLLP)",
    /// Anything else.
    Unknown = "unknown content",
}

impl Format {
    /// Whether the file carries the samples of an ECG by its kind, as opposed to a picture, document or container.
    #[must_use]
    pub fn is_waveform(self) -> bool {
        matches!(
            self,
            Self::DicomWaveform
                | Self::Aecg
                | Self::MuseXml
                | Self::CardiosoftXml
                | Self::PhilipsXml
                | Self::MortaraXml
                | Self::VendorXml
                | Self::Scp
                | Self::Ishne
                | Self::Edf
                | Self::EdfPlus
                | Self::Bdf
                | Self::BdfPlus
                | Self::Mfer
        )
    }
}
