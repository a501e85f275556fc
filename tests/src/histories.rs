//! The recorded histories of workflows.

use crate::harness::tools::root;
use std::path::PathBuf;

/// Where they are.
#[must_use]
pub fn folder() -> PathBuf {
    root().join("tests/histories")
}

/// All of them, by the names of their files: scenario and JSON.
///
/// # Panics
/// When they cannot be read.
#[must_use]
pub fn recorded() -> Vec<(String, Vec<u8>)> {
    let files = std::fs::read_dir(folder()).expect("recorded histories").flatten().map(|e| e.path());
    let mut files: Vec<PathBuf> = files.filter(|p| p.extension().is_some_and(|e| e == "json")).collect();
    files.sort();
    let name = |p: &PathBuf| p.file_stem().expect("a name").to_string_lossy().into_owned();
    files.iter().map(|p| (name(p), std::fs::read(p).expect("read"))).collect()
}
