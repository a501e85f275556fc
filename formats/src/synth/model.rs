//! The dynamical model behind the samples.
//!
//! P. E. McSharry, G. D. Clifford, L. Tarassenko, L. A. Smith, "A dynamical model for generating synthetic
//! electrocardiogram signals", IEEE Transactions on Biomedical Engineering 50(3):289-294, 2003. A point runs round
//! the unit circle once a beat; whenever its angle passes that of the P, Q, R, S or T wave, a Gaussian pulls the
//! third coordinate, the voltage, up or down (equation 1; angles and widths from table I). The angular velocity
//! follows a series of RR intervals whose spectrum has two Gaussians, Mayer waves and respiratory sinus arrhythmia
//! (equations 2 and 3).
//!
//! The amplitude of a wave enters as `A omega / b^2`, so that `A` is its height in microvolts at any heart rate:
//! R. Sameni, G. D. Clifford, C. Jutten, M. B. Shamsollahi, "Multichannel ECG and noise modeling: application to
//! maternal and fetal ECG signals", EURASIP Journal on Advances in Signal Processing 2007:043407. That paper also
//! gives every lead its own amplitudes on one common phase.

use std::f64::consts::{PI, TAU};

use libm::{cos, exp, sin, sqrt};

use super::rng::SplitMix64;

/// P, Q, R, S and T.
const WAVES: usize = 5;
/// Table I: the angle of each wave at 60 beats a minute, radians; R is at zero.
const ANGLE: [f64; WAVES] = [-PI / 3.0, -PI / 12.0, 0.0, PI / 12.0, PI / 2.0];
/// Table I: the width of each wave at 60 beats a minute, radians.
const WIDTH: [f64; WAVES] = [0.25, 0.1, 0.1, 0.1, 0.4];

/// The leads that are measured, not computed: I, II, V1 to V6.
pub(super) const MEASURED: usize = 8;

/// Heights of P, Q, R, S, T in microvolts of a healthy adult, per measured lead. R grows from V1 to V4 and S
/// shrinks from V2 to V6, as the textbook progression has it.
const HEIGHT: [[f64; WAVES]; MEASURED] = [
    [60.0, -40.0, 800.0, -120.0, 200.0],
    [120.0, -60.0, 1050.0, -200.0, 300.0],
    [50.0, 0.0, 250.0, -900.0, -60.0],
    [60.0, 0.0, 450.0, -1400.0, 420.0],
    [60.0, 0.0, 800.0, -950.0, 480.0],
    [60.0, -60.0, 1400.0, -550.0, 430.0],
    [60.0, -90.0, 1350.0, -250.0, 340.0],
    [60.0, -100.0, 1050.0, -90.0, 260.0],
];

/// What the model yields: one track of microvolts per measured lead, and where the beats are.
#[derive(Debug)]
pub(super) struct Tracks {
    /// Microvolts, before rounding.
    pub(super) leads: [Vec<f64>; MEASURED],
    /// The sample nearest to each R peak, ascending.
    pub(super) r_peaks: Vec<usize>,
    /// Mean heart rate that the series of RR intervals was built for, per minute.
    pub(super) mean_rate: f64,
}

/// The RR interval as a function of time: a sum of cosines with random phases and the spectrum of equation 2.
struct Tachogram {
    mean: f64,
    tones: Vec<(f64, f64, f64)>,
}

impl Tachogram {
    fn new(mean: f64, spread: f64, rng: &mut SplitMix64) -> Self {
        // f1, f2, c1, c2 and the ratio sigma1^2 / sigma2^2 = 0.5 as the paper chooses them.
        let density = |f: f64| {
            let bell = |centre: f64, power: f64| {
                let x = (f - centre) / 0.01;
                power * exp(-x * x / 2.0)
            };
            bell(0.1, 0.5) + bell(0.25, 1.0)
        };
        let mut tones: Vec<(f64, f64, f64)> = (0..80)
            .map(|i| {
                let f = 0.06 + 0.003 * f64::from(i);
                (sqrt(density(f)), TAU * f, rng.range(0.0, TAU))
            })
            .collect();
        let power: f64 = tones.iter().map(|(a, _, _)| a * a / 2.0).sum();
        let scale = spread / sqrt(power);
        for tone in &mut tones {
            tone.0 *= scale;
        }
        Self { mean, tones }
    }

    /// The interval in seconds that holds at time `t`.
    fn at(&self, t: f64) -> f64 {
        let wobble: f64 = self.tones.iter().map(|(a, w, phase)| a * cos(w * t + phase)).sum();
        // A spread of a few percent never gets near these; they keep the angular velocity finite come what may.
        (self.mean + wobble).clamp(0.3 * self.mean, 2.0 * self.mean)
    }
}

/// Brings an angle into `-pi..=pi`.
fn wrap(angle: f64) -> f64 {
    let turned = angle - TAU * libm::floor((angle + PI) / TAU);
    if turned > PI { turned - TAU } else { turned }
}

/// The waves of one recording, scaled to its heart rate.
struct Shape {
    angle: [f64; WAVES],
    width: [f64; WAVES],
    height: [[f64; WAVES]; MEASURED],
}

impl Shape {
    fn new(mean_rate: f64, rng: &mut SplitMix64) -> Self {
        // At a higher rate the waves take more of the circle (but less of the time): the authors' own program
        // scales angles and widths by the square root of the rate, and P and T angles by its fourth root.
        let h = sqrt(mean_rate / 60.0);
        let stretch = [sqrt(h), h, 1.0, h, 1.0];
        let mut shape = Self { angle: ANGLE, width: WIDTH, height: HEIGHT };
        for (angle, factor) in shape.angle.iter_mut().zip(stretch) {
            *angle *= factor;
        }
        for width in &mut shape.width {
            *width *= h;
        }
        let overall = rng.range(0.8, 1.2);
        for lead in &mut shape.height {
            for wave in lead {
                *wave *= overall * rng.range(0.9, 1.1);
            }
        }
        shape
    }

    /// The Gaussian terms of equation 1 for every lead, microvolts per second, at one phase and angular velocity.
    fn pull(&self, phase: f64, omega: f64) -> [f64; MEASURED] {
        let mut terms = [0.0; WAVES];
        for (term, (angle, width)) in terms.iter_mut().zip(self.angle.iter().zip(&self.width)) {
            let delta = wrap(phase - angle);
            let b2 = width * width;
            *term = -omega / b2 * delta * exp(-delta * delta / (2.0 * b2));
        }
        let mut sums = [0.0; MEASURED];
        for (sum, heights) in sums.iter_mut().zip(&self.height) {
            *sum = heights.iter().zip(&terms).map(|(a, term)| a * term).sum();
        }
        sums
    }
}

/// Baseline wander, muscle noise and mains pickup of one lead. The levels are those of a quiet resting recording.
struct Noise {
    muscle: f64,
    mains: f64,
    mains_phase: f64,
    sway: f64,
    sway_phase: f64,
}

impl Noise {
    fn new(rng: &mut SplitMix64) -> Self {
        Self {
            muscle: 0.0,
            mains: rng.range(0.5, 2.5),
            mains_phase: rng.range(0.0, TAU),
            sway: rng.range(10.0, 40.0),
            sway_phase: rng.range(0.0, TAU),
        }
    }

    fn at(&mut self, t: f64, rng: &mut SplitMix64) -> f64 {
        self.muscle = 0.6 * self.muscle + 3.5 * rng.normal();
        self.muscle + self.mains * sin(TAU * 50.0 * t + self.mains_phase)
    }

    /// The baseline z0 that the voltage relaxes to: respiration at 0.25 Hz (after equation 1).
    fn baseline(&self, t: f64) -> f64 {
        self.sway * sin(TAU * 0.25 * t + self.sway_phase)
    }
}

/// Runs the model for `samples` steps at `rate_hz`.
pub(super) fn run(seed: u64, rate_hz: u32, samples: usize) -> Tracks {
    let mut rng = SplitMix64::new(seed, 2);
    let mean_rate = rng.range(56.0, 92.0);
    // 1.5 beats a minute of standard deviation.
    let mean_rr = 60.0 / mean_rate;
    let tachogram = Tachogram::new(mean_rr, mean_rr * 1.5 / mean_rate, &mut rng);
    let shape = Shape::new(mean_rate, &mut rng);
    let mut noises: [Noise; MEASURED] = std::array::from_fn(|_| Noise::new(&mut rng));

    // Steps of at most 1 ms keep the R wave, whose flank takes about 10 ms, exact to a microvolt.
    let substeps = 1000u32.div_ceil(rate_hz);
    let step = 1.0 / (f64::from(rate_hz) * f64::from(substeps));
    let mut z = [0.0f64; MEASURED];
    let mut phase = rng.range(-PI, PI);
    let mut tracks = Tracks { leads: std::array::from_fn(|_| Vec::with_capacity(samples)), r_peaks: vec![], mean_rate };
    // The first seconds are thrown away: the voltage starts at zero and relaxes with a time constant of one second.
    let settle = 3 * rate_hz as usize;
    for n in 0..settle + samples {
        for k in 0..substeps {
            let t = (n as f64 * f64::from(substeps) + f64::from(k)) * step;
            let omega = TAU / tachogram.at(t);
            // The phase is linear within a step, so the classical Runge-Kutta rule needs three evaluations of the
            // Gaussians; the relaxation term is folded in exactly as the rule prescribes.
            let (p0, p1, p2) = (
                shape.pull(phase, omega),
                shape.pull(phase + omega * step / 2.0, omega),
                shape.pull(phase + omega * step, omega),
            );
            for lead in 0..MEASURED {
                let base = noises[lead].baseline(t);
                let k1 = p0[lead] - (z[lead] - base);
                let k2 = p1[lead] - (z[lead] + step / 2.0 * k1 - base);
                let k3 = p1[lead] - (z[lead] + step / 2.0 * k2 - base);
                let k4 = p2[lead] - (z[lead] + step * k3 - base);
                z[lead] += step / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4);
            }
            let next = phase + omega * step;
            if phase < 0.0 && next >= 0.0 && n >= settle {
                tracks.r_peaks.push(n - settle);
            }
            phase = wrap(next);
        }
        if n >= settle {
            let t = (n - settle) as f64 / f64::from(rate_hz);
            for ((track, noise), volts) in tracks.leads.iter_mut().zip(&mut noises).zip(z) {
                track.push(volts + noise.at(t, &mut rng));
            }
        }
    }
    tracks
}

/// Onset and end of P, QRS and T around an R peak, as fractions of the beat: P onset, P end, Q onset, S end, T end.
pub(super) fn landmarks(mean_rate: f64) -> [f64; 5] {
    let h = sqrt(mean_rate / 60.0);
    let at = |angle: f64, width: f64| (angle + width) / TAU;
    [
        at(ANGLE[0] * sqrt(h), -2.0 * WIDTH[0] * h),
        at(ANGLE[0] * sqrt(h), 1.6 * WIDTH[0] * h),
        at(ANGLE[1] * h, -WIDTH[1] * h),
        at(ANGLE[3] * h, WIDTH[3] * h),
        at(ANGLE[4], 2.0 * WIDTH[4] * h),
    ]
}
