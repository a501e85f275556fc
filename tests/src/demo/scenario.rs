//! What the clinics' devices do.

use crate::device::Device;
use leadline_formats::synth::{Patient, Sex, Spec, SynthFormat};
use std::time::{Duration, SystemTime};

/// How a device writes its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Opens, writes, closes.
    AtOnce,
    /// In pieces with pauses, open all the while.
    InPieces,
    /// Sets the full length first, fills it from the end to the start, open all the while.
    Preallocated,
    /// Stops in the middle and closes.
    CutShort,
}

/// One file of the demonstration.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Organization.
    pub org: &'static str,
    /// Path on its share.
    pub path: &'static str,
    /// Format.
    pub format: SynthFormat,
    /// Seed: the same seed and format give the same bytes.
    pub seed: u64,
    /// Length of the recording, seconds.
    pub seconds: u32,
    /// How it is written.
    pub act: Act,
    /// Begin after the files before it have an outcome.
    pub later: bool,
    /// Outcomes that are right; several where two files race.
    pub expected: &'static [&'static str],
    /// For the reader.
    pub says: &'static str,
}

/// The demonstration's files.
#[must_use]
pub fn scenes() -> Vec<Scene> {
    let s = |org, path, format, seed, act, later, expected, says| Scene {
        org,
        path,
        format,
        seed,
        seconds: 10,
        act,
        later,
        expected,
        says,
    };
    use Act::{AtOnce, CutShort, InPieces, Preallocated};
    use SynthFormat as F;
    const DELIVERED: &[&str] = &["delivered"];
    const WAITING: &[&str] = &["waiting"];
    const DUPLICATE: &[&str] = &["duplicate"];
    const EITHER: &[&str] = &["delivered", "duplicate"];
    vec![
        s("st-mary", "in/DOE_JANE 1967.dcm", F::Dicom, 1, AtOnce, false, DELIVERED, "writes it and closes"),
        s("st-mary", "in/report.pdf", F::Pdf, 2, InPieces, false, DELIVERED, "in pieces, with pauses"),
        s("st-mary", "in/holter.edf", F::Edf, 3, Preallocated, false, DELIVERED, "preallocates, fills it later"),
        s("st-mary", "in/resting.scp", F::Scp, 4, CutShort, false, WAITING, "stops in the middle"),
        s("st-mary", "in/export.csv", F::Csv, 5, AtOnce, false, DELIVERED, "a format that cannot tell"),
        s("st-mary", "in/Trace.XML", F::Aecg, 6, AtOnce, false, EITHER, "two letter cases ..."),
        s("st-mary", "in/trace.xml", F::Aecg, 6, AtOnce, false, EITHER, "... of one recording"),
        s(
            "kings-road",
            "in/DOE_JANE 1967.dcm",
            F::Dicom,
            1,
            AtOnce,
            false,
            DELIVERED,
            "st-mary's bytes, another clinic",
        ),
        s(
            "kings-road",
            "in/ward 3/muse.xml",
            F::MuseXml,
            7,
            InPieces,
            false,
            DELIVERED,
            "in pieces, in a folder below",
        ),
        s("kings-road", "in/event.ecg", F::Ishne, 8, AtOnce, false, DELIVERED, "writes it and closes"),
        s("st-mary", "in/copy of DOE_JANE.dcm", F::Dicom, 1, AtOnce, true, DUPLICATE, "the same bytes, another name"),
    ]
}

impl Scene {
    /// The bytes the device has.
    ///
    /// # Panics
    /// When they cannot be made.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut spec = Spec::new(self.seed);
        spec.seconds = self.seconds;
        spec.patient = Some(Patient {
            family: "DOE".into(),
            given: "JANE".into(),
            id: format!("MRN-{}", self.seed),
            birth: None,
            sex: Sex::Unknown,
        });
        self.format.write(&spec).expect("a recording is made").remove(0).bytes
    }

    /// Plays it; returns when the device made its last change.
    ///
    /// # Errors
    /// Whatever the file server says.
    pub async fn play(&self, device: &Device) -> smb2::Result<SystemTime> {
        let bytes = self.bytes();
        if let Some((folder, _)) = self.path.rsplit_once('/') {
            device.mkdir(folder).await?;
        }
        let mut f = device.create(self.path).await?;
        match self.act {
            Act::AtOnce => f.write(0, &bytes).await?,
            Act::CutShort => f.write(0, &bytes[..bytes.len() / 2]).await?,
            Act::InPieces => {
                let piece = bytes.len() / 6 + 1;
                for (n, part) in bytes.chunks(piece).enumerate() {
                    f.write((n * piece) as u64, part).await?;
                    tokio::time::sleep(Duration::from_millis(700)).await;
                }
            }
            Act::Preallocated => {
                f.set_len(bytes.len() as u64).await?;
                tokio::time::sleep(Duration::from_millis(2_500)).await;
                let piece = bytes.len() / 4 + 1;
                let parts: Vec<_> = bytes.chunks(piece).enumerate().collect();
                for (n, part) in parts.into_iter().rev() {
                    f.write((n * piece) as u64, part).await?;
                    tokio::time::sleep(Duration::from_millis(400)).await;
                }
            }
        }
        f.close().await?;
        Ok(SystemTime::now())
    }
}
