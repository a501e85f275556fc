//! The samples of a recording.

use super::model;
use super::spec::{Spec, SynthError};

/// One of the twelve standard leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each name is the lead")]
pub enum Lead {
    I,
    II,
    III,
    AVR,
    AVL,
    AVF,
    V1,
    V2,
    V3,
    V4,
    V5,
    V6,
}

impl Lead {
    /// All leads in the order in which carts print them.
    pub const ALL: [Self; 12] = [
        Self::I,
        Self::II,
        Self::III,
        Self::AVR,
        Self::AVL,
        Self::AVF,
        Self::V1,
        Self::V2,
        Self::V3,
        Self::V4,
        Self::V5,
        Self::V6,
    ];

    /// The usual spelling: `aVR`, `V1`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::I => "I",
            Self::II => "II",
            Self::III => "III",
            Self::AVR => "aVR",
            Self::AVL => "aVL",
            Self::AVF => "aVF",
            Self::V1 => "V1",
            Self::V2 => "V2",
            Self::V3 => "V3",
            Self::V4 => "V4",
            Self::V5 => "V5",
            Self::V6 => "V6",
        }
    }

    /// The number of the lead in ISO/IEEE 11073-10101 (partition 2), which SCP-ECG (EN 1064, 5.6.3) shares.
    pub const fn code(self) -> u8 {
        match self {
            Self::I => 1,
            Self::II => 2,
            Self::III => 61,
            Self::AVR => 62,
            Self::AVL => 63,
            Self::AVF => 64,
            Self::V1 => 3,
            Self::V2 => 4,
            Self::V3 => 5,
            Self::V4 => 6,
            Self::V5 => 7,
            Self::V6 => 8,
        }
    }

    /// Whether the lead is measured against an electrode, and not computed from I and II.
    pub const fn is_measured(self) -> bool {
        !matches!(self, Self::III | Self::AVR | Self::AVL | Self::AVF)
    }
}

/// Measurements of a recording, in milliseconds unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// Ventricular rate, beats per minute.
    pub rate: u32,
    /// Mean distance of two R peaks.
    pub rr: u32,
    /// P onset to QRS onset.
    pub pr: u32,
    /// Duration of the QRS complex.
    pub qrs: u32,
    /// QRS onset to T end.
    pub qt: u32,
    /// QT corrected for the rate after Bazett: QT / sqrt(RR / 1 s).
    pub qtc: u32,
}

/// A recording: whole microvolts, one track per lead.
///
/// In every sample III = II - I, aVR = -(I + II) / 2, aVL = I - II / 2 and aVF = II - I / 2 hold without a rounding
/// error, because I and II are kept even. Twelve-lead amplitudes stay below 4 mV, well inside an `i16`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waveform {
    sample_rate_hz: u32,
    leads: Vec<(Lead, Vec<i16>)>,
    r_peaks: Vec<usize>,
    /// The rate that shaped the waves, in thousandths of a beat per minute; intervals follow from it.
    mean_rate_milli: u32,
}

impl Waveform {
    /// Computes the samples of `spec`. A recording with fewer leads has the same samples in those it has.
    pub fn synthesize(spec: &Spec) -> Result<Self, SynthError> {
        spec.validate()?;
        let tracks = model::run(spec.seed, spec.sample_rate_hz, spec.samples());
        let even = |x: &f64| 2 * (libm::round(x / 2.0).clamp(-4000.0, 4000.0) as i16);
        let whole = |x: &f64| libm::round(x.clamp(-8000.0, 8000.0)) as i16;
        let one: Vec<i16> = tracks.leads[0].iter().map(even).collect();
        let two: Vec<i16> = tracks.leads[1].iter().map(even).collect();
        let limb = |f: fn(i16, i16) -> i16| one.iter().zip(&two).map(|(&a, &b)| f(a, b)).collect::<Vec<i16>>();
        let leads = Lead::ALL[..usize::from(spec.leads)]
            .iter()
            .map(|&lead| {
                let samples = match lead {
                    Lead::I => one.clone(),
                    Lead::II => two.clone(),
                    Lead::III => limb(|a, b| b - a),
                    Lead::AVR => limb(|a, b| -(a + b) / 2),
                    Lead::AVL => limb(|a, b| a - b / 2),
                    Lead::AVF => limb(|a, b| b - a / 2),
                    chest => tracks.leads[usize::from(chest.code()) - 1].iter().map(whole).collect(),
                };
                (lead, samples)
            })
            .collect();
        Ok(Self {
            sample_rate_hz: spec.sample_rate_hz,
            leads,
            r_peaks: tracks.r_peaks,
            mean_rate_milli: (tracks.mean_rate * 1000.0) as u32,
        })
    }

    /// Samples per second and lead.
    pub fn sample_rate_hz(&self) -> u32 {
        self.sample_rate_hz
    }

    /// The leads in standard order, each with its samples in microvolts.
    pub fn leads(&self) -> &[(Lead, Vec<i16>)] {
        &self.leads
    }

    /// The samples of one lead in microvolts, if the recording has it.
    pub fn lead(&self, lead: Lead) -> Option<&[i16]> {
        self.leads.iter().find(|(l, _)| *l == lead).map(|(_, samples)| samples.as_slice())
    }

    /// Samples per lead.
    pub fn samples(&self) -> usize {
        self.leads.first().map_or(0, |(_, samples)| samples.len())
    }

    /// The sample of each R peak, ascending.
    pub fn r_peaks(&self) -> &[usize] {
        &self.r_peaks
    }

    /// All samples of instant 0, then of instant 1, ...: the order of WFDB, ISHNE and DICOM.
    pub(super) fn interleaved(&self) -> impl Iterator<Item = i16> + '_ {
        (0..self.samples()).flat_map(move |n| self.leads.iter().map(move |(_, samples)| samples[n]))
    }

    /// The mean interval between R peaks in seconds; of the model where the recording is too short for two.
    fn mean_rr(&self) -> f64 {
        match (self.r_peaks.first(), self.r_peaks.last()) {
            (Some(first), Some(last)) if last > first => {
                (last - first) as f64 / f64::from(self.sample_rate_hz) / (self.r_peaks.len() - 1) as f64
            }
            _ => 60_000.0 / f64::from(self.mean_rate_milli),
        }
    }

    /// P onset, P end, QRS onset, QRS end and T end relative to the R peak, milliseconds.
    pub(super) fn landmarks_ms(&self) -> [i32; 5] {
        let rr = self.mean_rr();
        model::landmarks(f64::from(self.mean_rate_milli) / 1000.0).map(|part| libm::round(part * rr * 1000.0) as i32)
    }

    /// The measurements a cart would print.
    pub fn intervals(&self) -> Intervals {
        let rr = self.mean_rr();
        let [p_on, _, q_on, s_end, t_end] = self.landmarks_ms();
        let ms = |x: i32| x.unsigned_abs();
        let qt = ms(t_end - q_on);
        Intervals {
            rate: libm::round(60.0 / rr) as u32,
            rr: libm::round(rr * 1000.0) as u32,
            pr: ms(q_on - p_on),
            qrs: ms(s_end - q_on),
            qt,
            qtc: libm::round(f64::from(qt) / libm::sqrt(rr)) as u32,
        }
    }
}
