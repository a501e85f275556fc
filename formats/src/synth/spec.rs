//! What to synthesize: the one input of every writer.

use std::fmt;

use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use sha2::{Digest, Sha256};

use super::rng::SplitMix64;

/// Administrative sex, as far as the written formats agree on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sex {
    /// Female.
    Female,
    /// Male.
    Male,
    /// Not recorded.
    Unknown,
}

/// The person a recording claims to show. Defaults are invented.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Patient {
    /// Family name. Fixed-width fields are filled in US-ASCII and cut: ISHNE 40 bytes, EDF 80 with the other parts.
    pub family: String,
    /// Given name, with the same limits.
    pub given: String,
    /// The clinic's identifier of the person; at most 20 characters survive in ISHNE.
    pub id: String,
    /// Date of birth, if recorded.
    pub birth: Option<NaiveDate>,
    /// Administrative sex.
    pub sex: Sex,
}

/// A recording to synthesize. Equal specifications give equal bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Spec {
    /// How many leads, 1..=12, taken in the order I, II, III, aVR, aVL, aVF, V1 to V6.
    pub leads: u8,
    /// Length in seconds, 1..=3600. Formats with narrower limits refuse with [`SynthError::Unrepresentable`].
    pub seconds: u32,
    /// Selects heart rate, wave shapes, noise and identifiers.
    pub seed: u64,
    /// Samples per second and lead, 100..=8000 Hz.
    pub sample_rate_hz: u32,
    /// Who is recorded; `None` leaves every demographic field empty, as an anonymised export does.
    pub patient: Option<Patient>,
    /// Serial number of the recording device.
    pub device_serial: String,
    /// Manufacturer of the recording device.
    pub manufacturer: String,
    /// Model name of the recording device.
    pub model: String,
    /// Start of the acquisition. Formats that demand an offset state UTC.
    pub start: NaiveDateTime,
    /// 0 is the first export. A higher number is a later export of the same recording: identifiers and samples
    /// stay, the interpretation text changes (and with it the bytes of every format but CSV).
    pub revision: u8,
}

/// Why a specification cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SynthError {
    /// A field is outside its range.
    OutOfRange {
        /// The field of [`Spec`].
        field: &'static str,
        /// What it may hold.
        allowed: &'static str,
    },
    /// The specification is sound but this format has no way to say it.
    Unrepresentable {
        /// The format.
        format: &'static str,
        /// The limit that is exceeded.
        limit: &'static str,
    },
}

impl fmt::Display for SynthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { field, allowed } => write!(f, "{field} must be {allowed}"),
            Self::Unrepresentable { format, limit } => write!(f, "{format} cannot carry this recording: {limit}"),
        }
    }
}

impl std::error::Error for SynthError {}

const FAMILIES: [&str; 12] = [
    "Amberly",
    "Brackwell",
    "Corvane",
    "Dunmarsh",
    "Ellering",
    "Farrowby",
    "Grenholt",
    "Hollinsby",
    "Ivarsen",
    "Jessamine",
    "Kestrell",
    "Lorrimer",
];
const GIVEN_FEMALE: [&str; 6] = ["Alma", "Beatrix", "Clara", "Edith", "Greta", "Ines"];
const GIVEN_MALE: [&str; 6] = ["Anton", "Bruno", "Caspar", "Edmund", "Gustav", "Ivo"];

impl Spec {
    /// A 10 s recording of 12 leads at 500 Hz; patient, device and start are chosen by `seed`.
    ///
    /// The start lies between 2020 and 2025, at a whole second.
    pub fn new(seed: u64) -> Self {
        let mut rng = SplitMix64::new(seed, 1);
        let sex = if rng.below(2) == 0 { Sex::Female } else { Sex::Male };
        let given = if sex == Sex::Female { rng.pick(&GIVEN_FEMALE) } else { rng.pick(&GIVEN_MALE) };
        let family = rng.pick(&FAMILIES);
        let day = |first: i32, days: u64| {
            NaiveDate::from_yo_opt(first, 1).unwrap_or(NaiveDate::MIN) + TimeDelta::days(days.cast_signed())
        };
        let birth = day(1935, rng.below(365 * 65));
        let id = format!("SYN{:07}", rng.below(10_000_000));
        let midnight = day(2020, rng.below(365 * 6)).and_time(chrono::NaiveTime::MIN);
        let start = midnight + TimeDelta::seconds(rng.below(86_400).cast_signed());
        Self {
            leads: 12,
            seconds: 10,
            seed,
            sample_rate_hz: 500,
            patient: Some(Patient { family: family.to_owned(), given: given.to_owned(), id, birth: Some(birth), sex }),
            device_serial: format!("SN{:06}", rng.below(1_000_000)),
            manufacturer: "Leadline Synthetic".to_owned(),
            model: "SYN12".to_owned(),
            start,
            revision: 0,
        }
    }

    /// Refuses fields outside their documented ranges. Every writer calls this first.
    pub fn validate(&self) -> Result<(), SynthError> {
        let refuse = |field, allowed| Err(SynthError::OutOfRange { field, allowed });
        if !(1..=12).contains(&self.leads) {
            return refuse("leads", "1..=12");
        }
        if !(1..=3600).contains(&self.seconds) {
            return refuse("seconds", "1..=3600");
        }
        if !(100..=8000).contains(&self.sample_rate_hz) {
            return refuse("sample_rate_hz", "100..=8000");
        }
        // EDF writes a two-digit year that means 1985..=2084, and the other formats four digits.
        if !(1985..=2084).contains(&chrono::Datelike::year(&self.start.date())) {
            return refuse("start", "in the years 1985..=2084");
        }
        Ok(())
    }

    /// Samples per lead.
    pub fn samples(&self) -> usize {
        self.seconds as usize * self.sample_rate_hz as usize
    }

    /// The instant after the last sample.
    pub fn end(&self) -> NaiveDateTime {
        self.start + TimeDelta::seconds(i64::from(self.seconds))
    }

    /// When the cart is said to have sent the recording: one minute after its end.
    pub(super) fn sent(&self) -> NaiveDateTime {
        self.end() + TimeDelta::seconds(60)
    }

    /// Age in whole years at the start, where the date of birth is known and not later.
    pub fn age_years(&self) -> Option<u32> {
        self.start.date().years_since(self.patient.as_ref()?.birth?)
    }

    /// 128 bits for one `purpose`, derived from everything that identifies the recording but not from `revision`.
    ///
    /// The value is shaped as a version 8 UUID (RFC 9562, 5.8), the version for values derived in one's own way.
    pub(super) fn uuid_bits(&self, purpose: &str) -> u128 {
        let mut hash = Sha256::new();
        let patient = self.patient.as_ref().map_or("", |p| p.id.as_str());
        let start = self.start.and_utc().timestamp_micros().to_string();
        let numbers = format!("{}/{}/{}/{}", self.seed, self.leads, self.seconds, self.sample_rate_hz);
        for part in ["leadline synth", purpose, &numbers, patient, &self.device_serial, &start] {
            // The length in front keeps ("ab", "c") and ("a", "bc") apart.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        let mut bytes = [0u8; 16];
        bytes.copy_from_slice(&digest[..16]);
        bytes[6] = (bytes[6] & 0x0F) | 0x80;
        bytes[8] = (bytes[8] & 0x3F) | 0x80;
        u128::from_be_bytes(bytes)
    }

    /// A DICOM unique identifier for one `purpose`: `2.25.` and the decimal value of a UUID (PS3.5, B.2).
    pub fn uid(&self, purpose: &str) -> String {
        format!("2.25.{}", self.uuid_bits(purpose))
    }

    /// A UUID for one `purpose`, in the 8-4-4-4-12 notation of RFC 9562.
    pub fn uuid(&self, purpose: &str) -> String {
        let hex = format!("{:032x}", self.uuid_bits(purpose));
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    /// The name that files of this recording start with: letters, digits and a hyphen, as WFDB demands.
    pub fn stem(&self) -> String {
        format!("ecg-{:012x}", self.uuid_bits("stem") & 0xFFFF_FFFF_FFFF)
    }

    /// The number an order or accession system would give: `E` and nine digits.
    pub(super) fn accession(&self) -> String {
        format!("E{:09}", self.uuid_bits("accession") % 1_000_000_000)
    }

    /// The statement that a cart prints below its measurements. It tells revisions apart.
    pub fn interpretation(&self) -> String {
        match self.revision {
            0 => "Sinus rhythm. Synthetic recording, not of a person.".to_owned(),
            n => format!("Sinus rhythm. Synthetic recording, not of a person. Revision {n}."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_derived_and_well_formed() {
        let spec = Spec::new(3);
        assert_eq!(spec, Spec::new(3));
        assert_ne!(spec.uid("sop"), spec.uid("series"));
        assert_ne!(spec.uid("sop"), Spec::new(4).uid("sop"));
        assert!(spec.uid("sop").len() <= 64, "PS3.5, 9.1: at most 64 characters");
        assert_eq!(&spec.uuid("x")[14..15], "8");
        let later = Spec { revision: 2, ..spec.clone() };
        assert_eq!(spec.uid("sop"), later.uid("sop"));
        assert_ne!(spec.interpretation(), later.interpretation());
        let longer = Spec { seconds: 20, ..spec.clone() };
        assert_ne!(spec.uid("sop"), longer.uid("sop"));
    }

    #[test]
    fn ranges_are_enforced() {
        let good = Spec::new(1);
        assert_eq!(good.validate(), Ok(()));
        for bad in [
            Spec { leads: 0, ..good.clone() },
            Spec { leads: 13, ..good.clone() },
            Spec { seconds: 0, ..good.clone() },
            Spec { seconds: 3601, ..good.clone() },
            Spec { sample_rate_hz: 99, ..good.clone() },
            Spec { start: NaiveDateTime::MIN, ..good.clone() },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }
}
