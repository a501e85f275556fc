//! Comma-separated values.

use super::spec::{Spec, SynthError};
use super::text::put;
use super::waveform::Waveform;

/// Writes a heading of `time_ms` and the lead names, then one line an instant, microvolts as whole numbers.
///
/// There is no standard behind it, no identity in it, and nothing that tells a reader where it ends.
pub fn write(spec: &Spec) -> Result<Vec<u8>, SynthError> {
    let waveform = Waveform::synthesize(spec)?;
    let mut out = String::from("time_ms");
    for (lead, _) in waveform.leads() {
        put(&mut out, format_args!(",{}", lead.name()));
    }
    out.push('\n');
    for n in 0..waveform.samples() {
        // Whole microseconds, so that the decimal text does not depend on how a float prints.
        let us = n as u64 * 1_000_000 / u64::from(spec.sample_rate_hz);
        put(&mut out, format_args!("{}.{:03}", us / 1000, us % 1000));
        for (_, samples) in waveform.leads() {
            put(&mut out, format_args!(",{}", samples[n]));
        }
        out.push('\n');
    }
    Ok(out.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns() {
        let text = String::from_utf8(write(&Spec { leads: 3, seconds: 1, ..Spec::new(4) }).unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 501);
        assert_eq!(lines[0], "time_ms,I,II,III");
        assert!(lines[2].starts_with("2.000,"));
        assert!(lines.iter().all(|line| line.split(',').count() == 4));
    }
}
