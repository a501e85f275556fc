//! `leadline synth`.

use crate::exit::{Code, Done, Failure};
use crate::output;
use leadline_formats::synth::{Patient, Sex, Spec, SynthFormat};
use std::path::PathBuf;

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Format; `all` makes every one.
    #[arg(long, value_name = "FORMAT", value_parser = formats)]
    #[arg(help = format!("Format: {}, or all", names()))]
    format: Formats,
    /// Leads, 1 to 12, in the order I II III aVR aVL aVF V1 to V6.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u8).range(1..=12))]
    leads: u8,
    /// Length in seconds, 1 to 3600.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// The same seed makes the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// An invented patient: `FAMILY^GIVEN`.
    #[arg(long, value_name = "NAME")]
    patient: Option<String>,
    /// File to write, or a folder (must exist) for names of their own.
    out: PathBuf,
}

fn names() -> String {
    SynthFormat::all().iter().map(|f| f.name()).collect::<Vec<_>>().join(", ")
}

/// What `--format` names.
#[derive(Debug, Clone)]
struct Formats(Vec<SynthFormat>);

fn formats(name: &str) -> Result<Formats, String> {
    if name == "all" {
        return Ok(Formats(SynthFormat::all().to_vec()));
    }
    name.parse().map(|f| Formats(vec![f])).map_err(|_| format!("formats are: {}, all", names()))
}

pub(crate) fn run(a: &Args) -> Done {
    let Formats(formats) = &a.format;
    if formats.len() > 1 && !a.out.is_dir() {
        return Err(Failure::command(format!(
            "{} formats make several files: name a folder that exists",
            formats.len()
        )));
    }
    let mut spec = Spec::new(a.seed);
    spec.leads = a.leads;
    spec.seconds = a.seconds;
    if let Some(name) = &a.patient {
        let (family, given) = name.split_once('^').unwrap_or((name, ""));
        spec.patient = Some(Patient {
            family: family.to_owned(),
            given: given.to_owned(),
            id: format!("SYNTH-{}", a.seed),
            birth: None,
            sex: Sex::Unknown,
        });
    }
    for f in formats {
        let members = f.write(&spec).map_err(|e| Failure::command(e.to_string()))?;
        let single = members.len() == 1 && !a.out.is_dir();
        if !single && !a.out.is_dir() {
            return Err(Failure::command(format!("{f} makes several files: name a folder that exists")));
        }
        for m in members {
            let path = if single { a.out.clone() } else { a.out.join(&m.name) };
            std::fs::write(&path, &m.bytes)
                .map_err(|e| Failure::machine(format!("cannot write {}: {e}", path.display())))?;
            output::line(&path.display().to_string());
        }
    }
    Ok(Code::Ok)
}
