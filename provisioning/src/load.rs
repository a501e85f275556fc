//! Reads a folder of environments: the only part of this crate that touches files.

use crate::check::{Finding, Severity, SourceFile, check};
use crate::config::Config;
use std::path::Path;

/// Larger files are refused: a configuration file is a few KiB, and whoever pointed us at something else should hear it.
const MAX_BYTES: u64 = 1 << 20;

/// Reads and checks `dir`: `*.toml` in it are environments (but for `promotion.toml` and `jurisdictions.toml`),
/// `orgs/*.toml` organizations.
///
/// The configuration is given only if there is no error; see [`check()`].
#[must_use]
pub fn load(dir: &Path) -> (Option<Config>, Vec<Finding>) {
    let (files, mut unread) = read_files(dir);
    let (config, mut findings) = check(&files);
    if unread.is_empty() {
        return (config, findings);
    }
    findings.append(&mut unread);
    findings.sort();
    (None, findings)
}

/// The files of a folder, sorted by path, and a finding for each that cannot be read.
#[must_use]
pub fn read_files(dir: &Path) -> (Vec<SourceFile>, Vec<Finding>) {
    let (mut files, mut findings) = (Vec::new(), Vec::new());
    folder(dir, "", &mut files, &mut findings);
    if dir.join("orgs").exists() {
        folder(&dir.join("orgs"), "orgs/", &mut files, &mut findings);
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    (files, findings)
}

fn folder(dir: &Path, prefix: &str, files: &mut Vec<SourceFile>, findings: &mut Vec<Finding>) {
    let entries = match std::fs::read_dir(dir) {
        Ok(e) => e,
        Err(e) => {
            let at = if prefix.is_empty() { "." } else { prefix.trim_end_matches('/') };
            return findings.push(unreadable(at, &e.to_string()));
        }
    };
    for entry in entries {
        match entry {
            Ok(e) if e.path().extension().is_some_and(|x| x == "toml") => {
                let name = format!("{prefix}{}", e.file_name().to_string_lossy());
                match text(&e.path()) {
                    Ok(text) => files.push(SourceFile::new(name, text)),
                    Err(why) => findings.push(unreadable(&name, &why)),
                }
            }
            Ok(_) => {}
            Err(e) => findings.push(unreadable(prefix, &e.to_string())),
        }
    }
}

fn text(path: &Path) -> Result<String, String> {
    let meta = std::fs::metadata(path).map_err(|e| e.to_string())?;
    if !meta.is_file() {
        return Err("not a file".into());
    }
    if meta.len() > MAX_BYTES {
        return Err(format!("larger than {MAX_BYTES} bytes"));
    }
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    String::from_utf8(bytes).map_err(|_| "not UTF-8 text".into())
}

fn unreadable(file: &str, why: &str) -> Finding {
    Finding {
        file: file.to_owned(),
        line: None,
        key: String::new(),
        severity: Severity::Error,
        message: format!("cannot be read: {why}"),
        help: "check that it exists, is a text file, and that this user may read it".into(),
    }
}
