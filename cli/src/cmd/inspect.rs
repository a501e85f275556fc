//! `leadline inspect`.

use crate::Global;
use crate::exit::{Code, Done};
use crate::output::{self, Format};
use leadline_formats::{Inspection, Verdict};
use serde_json::json;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files, or folders to look into.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

pub(crate) fn run(g: &Global, a: &Args) -> Done {
    let mut all = Vec::new();
    for f in &a.files {
        walk(f, &mut all);
    }
    let mut well = true;
    for path in all {
        let r = look(&path);
        well &= r.as_ref().is_ok_and(|i| i.verdict == Verdict::Complete);
        match (g.output, r) {
            (Format::Text, Ok(i)) => output::line(&format!("{}: {}", path.display(), i.summary())),
            (Format::Text, Err(e)) => output::line(&format!("{}: cannot be read: {e}", path.display())),
            (Format::Json, Ok(i)) => output::json(&json!({
                "file": path,
                "format": i.format,
                "verdict": i.verdict,
                "evidence": i.evidence.iter().map(|e| json!({"fact": e, "sentence": e.sentence()})).collect::<Vec<_>>(),
                "identity": i.identity,
            })),
            (Format::Json, Err(e)) => output::json(&json!({"file": path, "error": e.to_string()})),
        }
    }
    Ok(if well { Code::Ok } else { Code::NotWell })
}

fn look(path: &Path) -> std::io::Result<Inspection> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    leadline_formats::inspect(&mut BufReader::with_capacity(256 * 1024, file), len)
}

/// Files below `path`, by name; links are not followed.
fn walk(path: &Path, out: &mut Vec<PathBuf>) {
    let folder = std::fs::symlink_metadata(path).is_ok_and(|m| m.is_dir());
    if !folder {
        out.push(path.to_owned());
        return;
    }
    let mut inside: Vec<PathBuf> = std::fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path()).collect();
    inside.sort();
    inside.iter().for_each(|p| walk(p, out));
}
