//! Properties of synthesized recordings that hold across formats.

use std::collections::HashSet;

use leadline_formats::synth::{Lead, Spec, SynthFormat, Waveform};
use sha2::{Digest, Sha256};

/// The rate of beats that a simple detector finds in lead II: rises through half of the maximum, 0.3 s apart.
fn counted_beats(waveform: &Waveform) -> usize {
    let samples = waveform.lead(Lead::II).unwrap();
    let threshold = samples.iter().max().unwrap() / 2;
    let dead = waveform.sample_rate_hz() as usize * 3 / 10;
    let (mut count, mut next) = (0, 0);
    for (n, sample) in samples.iter().enumerate() {
        if n >= next && *sample > threshold {
            count += 1;
            next = n + dead;
        }
    }
    count
}

#[test]
fn the_same_spec_gives_the_same_bytes() {
    for format in SynthFormat::all() {
        let spec = Spec::new(21);
        assert_eq!(format.write(&spec).unwrap(), format.write(&spec.clone()).unwrap(), "{format}");
    }
}

#[test]
fn another_seed_gives_other_bytes_and_names() {
    for format in SynthFormat::all() {
        let (a, b) = (format.write(&Spec::new(1)).unwrap(), format.write(&Spec::new(2)).unwrap());
        for (a, b) in a.iter().zip(&b) {
            assert_ne!(a.name, b.name);
            assert_ne!(a.bytes, b.bytes);
        }
    }
}

#[test]
fn a_revision_changes_bytes_but_not_samples_or_identifiers() {
    let first = Spec::new(22);
    let second = Spec { revision: 1, ..first.clone() };
    assert_eq!(Waveform::synthesize(&first).unwrap(), Waveform::synthesize(&second).unwrap());
    assert_eq!(first.stem(), second.stem());
    for format in SynthFormat::all() {
        let same = format.write(&first).unwrap() == format.write(&second).unwrap();
        assert_eq!(same, *format == SynthFormat::Csv, "{format}");
    }
}

#[test]
fn limb_leads_obey_einthoven_and_goldberger_exactly() {
    for seed in 0..8 {
        let waveform = Waveform::synthesize(&Spec::new(seed)).unwrap();
        let lead = |l| waveform.lead(l).unwrap().iter().map(|s| i32::from(*s)).collect::<Vec<_>>();
        let (i, ii, iii) = (lead(Lead::I), lead(Lead::II), lead(Lead::III));
        let (avr, avl, avf) = (lead(Lead::AVR), lead(Lead::AVL), lead(Lead::AVF));
        for n in 0..waveform.samples() {
            assert_eq!(iii[n], ii[n] - i[n]);
            assert_eq!(2 * avr[n], -(i[n] + ii[n]));
            assert_eq!(2 * avl[n], 2 * i[n] - ii[n]);
            assert_eq!(2 * avf[n], 2 * ii[n] - i[n]);
        }
    }
}

#[test]
fn recordings_look_like_a_resting_heart() {
    for seed in 0..32 {
        let waveform = Waveform::synthesize(&Spec::new(seed)).unwrap();
        let beats = counted_beats(&waveform);
        assert!(beats.abs_diff(waveform.r_peaks().len()) <= 1, "seed {seed}: {beats}");
        let measured = waveform.intervals();
        assert!((50..=100).contains(&measured.rate), "seed {seed}: {measured:?}");
        assert!((120..=200).contains(&measured.pr), "seed {seed}: {measured:?}");
        assert!((70..=120).contains(&measured.qrs), "seed {seed}: {measured:?}");
        assert!((300..=470).contains(&measured.qt), "seed {seed}: {measured:?}");
        for (lead, samples) in waveform.leads() {
            let (low, high) = (samples.iter().min().unwrap(), samples.iter().max().unwrap());
            let swing = i32::from(*high) - i32::from(*low);
            assert!((150..=4000).contains(&swing), "seed {seed} {}: {swing} uV", lead.name());
        }
        // R grows towards the left chest and S shrinks.
        let peak = |l| waveform.lead(l).unwrap().iter().max().copied().unwrap();
        assert!(peak(Lead::V4) > peak(Lead::V1));
        let trough = |l| waveform.lead(l).unwrap().iter().min().copied().unwrap();
        assert!(trough(Lead::V2) < trough(Lead::V6));
    }
}

#[test]
fn fewer_leads_are_a_prefix() {
    let all = Waveform::synthesize(&Spec::new(23)).unwrap();
    for leads in 1..=12u8 {
        let some = Waveform::synthesize(&Spec { leads, ..Spec::new(23) }).unwrap();
        assert_eq!(some.leads(), &all.leads()[..usize::from(leads)]);
        assert_eq!(some.samples(), 5000);
    }
}

#[test]
fn every_format_writes_every_lead_count_and_an_anonymous_person() {
    for leads in 1..=12 {
        let spec = Spec { leads, seconds: 2, patient: None, ..Spec::new(24) };
        for format in SynthFormat::all() {
            let members = format.write(&spec).unwrap();
            assert!(members.iter().all(|m| !m.bytes.is_empty()), "{format}");
        }
    }
}

#[test]
fn names_parse_back_and_files_do_not_collide() {
    let spec = Spec { seconds: 1, ..Spec::new(25) };
    let mut names = HashSet::new();
    for format in SynthFormat::all() {
        assert_eq!(format.to_string().parse::<SynthFormat>().unwrap(), *format);
        for member in format.write(&spec).unwrap() {
            assert!(names.insert(member.name.clone()), "{}", member.name);
        }
    }
    assert!("tiff".parse::<SynthFormat>().unwrap_err().to_string().contains("muse-xml"));
}

/// Digests of whole files. A change here means that recordings made from a noted seed can no longer be made again:
/// change them together with a word in the changelog.
#[test]
fn golden_digests() {
    let spec = Spec { seconds: 2, ..Spec::new(42) };
    let mut found = Vec::new();
    for format in SynthFormat::all() {
        let mut hash = Sha256::new();
        for member in format.write(&spec).unwrap() {
            hash.update(&member.bytes);
        }
        found.push(format!("{format} {}", hex::encode(&hash.finalize()[..8])));
    }
    assert_eq!(found.join("\n"), include_str!("synth_golden.txt").trim_end());
}
