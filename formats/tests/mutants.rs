//! Partial writes of whole files: cuts, zero tails, holes, padding. No partial copy passes for complete, beyond the
//! kinds that leave no trace, and no padding makes a whole file partial.

mod samples;

use leadline_formats::{Format, Verdict, inspect_bytes};

/// Cuts that leave no trace in the content.
fn traceless(name: &str, cut: &[u8]) -> bool {
    match name {
        // Between members; between matrices; between elements.
        "gzip-members" => cut.len() == samples::gzip(b"one").len(),
        "mat4" => cut.is_empty(),
        "mat5" => cut.len() == 128 + 1608,
        // Between the two blocks of zero bytes at the end.
        "tar" => cut.ends_with(&[0; 512]),
        // Before the optional length of the document, the last element.
        "dicom-pdf" => cut.ends_with(b"application/pdf "),
        // In the comment lines behind the signals.
        "wfdb" => cut.ends_with(b"\n"),
        _ => false,
    }
}

fn cuts(len: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = (0..200).map(|i| i * len / 200).collect();
    cuts.extend((1..40).map(|back| len.saturating_sub(back)));
    cuts.extend((0..len).step_by(512));
    cuts.extend(0..len.min(300));
    cuts.sort_unstable();
    cuts.dedup();
    cuts.retain(|cut| *cut < len);
    cuts
}

#[test]
fn a_cut_is_never_complete() {
    for sample in samples::all() {
        for cut in cuts(sample.bytes.len()) {
            let copy = &sample.bytes[..cut];
            let inspection = inspect_bytes(copy);
            let lost = sample.bytes[cut..].iter().any(|byte| !byte.is_ascii_whitespace());
            assert!(
                inspection.verdict != Verdict::Complete || !lost || traceless(sample.name, copy),
                "{} cut to {cut} of {}: {}",
                sample.name,
                sample.bytes.len(),
                inspection.summary()
            );
        }
    }
}

#[test]
fn a_zero_tail_is_never_complete() {
    for sample in samples::all() {
        let len = sample.bytes.len();
        for from in cuts(len).into_iter().filter(|from| len - from >= 64) {
            if sample.bytes[from..].iter().filter(|byte| **byte != 0).count() < 8 {
                continue;
            }
            let mut copy = sample.bytes.clone();
            copy[from..].fill(0);
            let inspection = inspect_bytes(&copy);
            assert!(
                inspection.verdict != Verdict::Complete,
                "{} zero from {from} of {len}: {}",
                sample.name,
                inspection.summary()
            );
        }
    }
}

#[test]
fn a_hole_is_never_complete() {
    for sample in samples::all() {
        for from in (0..sample.bytes.len().saturating_sub(4096)).step_by(4096) {
            let mut copy = sample.bytes.clone();
            copy[from..from + 4096].fill(0);
            let inspection = inspect_bytes(&copy);
            assert!(
                inspection.verdict != Verdict::Complete,
                "{} hole at {from}: {}",
                sample.name,
                inspection.summary()
            );
        }
    }
}

#[test]
fn padding_never_makes_a_whole_file_partial() {
    for sample in samples::all() {
        for pad in [1usize, 2, 7, 64, 511, 4096, 20_000] {
            let mut copy = sample.bytes.clone();
            copy.resize(copy.len() + pad, 0);
            let inspection = inspect_bytes(&copy);
            // Zero bytes behind these are the start of another box, matrix or element that never ends.
            let open = matches!(sample.format, Format::Mat4 | Format::Mat5 | Format::Mp4 | Format::Mfer);
            assert!(
                inspection.verdict != Verdict::Partial || open,
                "{} padded by {pad}: {}",
                sample.name,
                inspection.summary()
            );
        }
    }
}
