//! `synth_all DIR SEED [LEADS] [SECONDS] [RATE_HZ]`: writes one synthetic recording in every format into `DIR`.
//!
//! Formats that cannot carry the recording are named on standard error and left out.

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;

use leadline_formats::synth::{Spec, SynthError, SynthFormat};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: synth_all DIR SEED [LEADS] [SECONDS] [RATE_HZ]";
    let dir = PathBuf::from(args.next().ok_or(usage)?);
    let mut spec = Spec::new(args.next().ok_or(usage)?.parse()?);
    if let Some(leads) = args.next() {
        spec.leads = leads.parse()?;
    }
    if let Some(seconds) = args.next() {
        spec.seconds = seconds.parse()?;
    }
    if let Some(rate) = args.next() {
        spec.sample_rate_hz = rate.parse()?;
    }
    std::fs::create_dir_all(&dir)?;
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    for format in SynthFormat::all() {
        match format.write(&spec) {
            Ok(members) => {
                for member in members {
                    let path = dir.join(&member.name);
                    std::fs::write(&path, &member.bytes)?;
                    writeln!(out, "{format:10} {:8} {}", member.bytes.len(), path.display())?;
                }
            }
            Err(error @ SynthError::Unrepresentable { .. }) => writeln!(err, "{format:10} left out: {error}")?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
