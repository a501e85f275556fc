//! WFDB records: header, signals and beat annotations.
//!
//! physionet.org/physiotools/wag: header(5), signal(5) format 16, annot(5) MIT format.

use super::format::Member;
use super::spec::{Sex, Spec, SynthError};
use super::text::{ascii, put};
use super::waveform::Waveform;

/// Writes `.dat` (format 16, 1000 units a millivolt), `.atr` (one `N` at each R peak) and, last, `.hea`.
pub fn write(spec: &Spec) -> Result<Vec<Member>, SynthError> {
    let waveform = Waveform::synthesize(spec)?;
    let stem = spec.stem();
    let signals: Vec<u8> = waveform.interleaved().flat_map(i16::to_le_bytes).collect();
    Ok(vec![
        Member { name: format!("{stem}.dat"), bytes: signals },
        Member { name: format!("{stem}.atr"), bytes: annotations(waveform.r_peaks()) },
        Member { name: format!("{stem}.hea"), bytes: header(spec, &waveform).into_bytes() },
    ])
}

fn header(spec: &Spec, waveform: &Waveform) -> String {
    let stem = spec.stem();
    let mut out = String::new();
    put(
        &mut out,
        format_args!(
            "{stem} {} {} {} {} {}\n",
            spec.leads,
            spec.sample_rate_hz,
            waveform.samples(),
            spec.start.format("%H:%M:%S"),
            spec.start.format("%d/%m/%Y")
        ),
    );
    for (lead, samples) in waveform.leads() {
        let first = samples.first().copied().unwrap_or_default();
        // The checksum is the sum of the samples in 16 bits, written as a signed number.
        let sum = samples.iter().fold(0i16, |sum, s| sum.wrapping_add(*s));
        put(&mut out, format_args!("{stem}.dat 16 1000(0)/mV 16 0 {first} {sum} 0 {}\n", lead.name()));
    }
    if let Some(age) = spec.age_years() {
        put(&mut out, format_args!("#Age: {age}\n"));
    }
    match spec.patient.as_ref().map(|p| p.sex) {
        Some(Sex::Female) => out.push_str("#Sex: Female\n"),
        Some(Sex::Male) => out.push_str("#Sex: Male\n"),
        _ => {}
    }
    put(&mut out, format_args!("#Device: {} {}\n", ascii(&spec.model), ascii(&spec.device_serial)));
    put(&mut out, format_args!("#{}\n", spec.interpretation()));
    out
}

/// MIT annotations: 16-bit words of a code (6 bits) and the distance in samples (10 bits), closed by a zero word.
fn annotations(beats: &[usize]) -> Vec<u8> {
    const NORMAL: u16 = 1;
    const SKIP: u16 = 59;
    let mut out = Vec::new();
    let mut last = 0;
    for &beat in beats {
        let mut distance = beat - last;
        if distance > 1023 {
            // SKIP carries the distance in the next four bytes, high half first, each half little endian.
            out.extend_from_slice(&(SKIP << 10).to_le_bytes());
            let long = distance as u32;
            out.extend_from_slice(&((long >> 16) as u16).to_le_bytes());
            out.extend_from_slice(&(long as u16).to_le_bytes());
            distance = 0;
        }
        out.extend_from_slice(&((NORMAL << 10) | distance as u16).to_le_bytes());
        last = beat;
    }
    out.extend_from_slice(&[0, 0]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_describes_the_signal_file() {
        let spec = Spec { leads: 2, seconds: 3, ..Spec::new(4) };
        let members = write(&spec).unwrap();
        assert_eq!(members.len(), 3);
        assert_eq!(members[0].bytes.len(), 2 * 2 * 1500);
        let text = String::from_utf8(members[2].bytes.clone()).unwrap();
        assert!(text.ends_with('\n'));
        let waveform = Waveform::synthesize(&spec).unwrap();
        for (line, (lead, samples)) in text.lines().skip(1).zip(waveform.leads()) {
            let fields: Vec<&str> = line.split(' ').collect();
            let sum: i64 = samples.iter().map(|s| i64::from(*s)).sum();
            assert_eq!(fields[6].parse::<i64>().unwrap().rem_euclid(65_536), sum.rem_euclid(65_536));
            assert_eq!(fields[8], lead.name());
        }
    }

    #[test]
    fn long_distances_are_skipped() {
        assert_eq!(annotations(&[5]), [5, 4, 0, 0]);
        assert_eq!(annotations(&[70_000]), [0, 0xEC, 1, 0, 0x70, 0x11, 0, 4, 0, 0]);
    }
}
