//! Shared by the tests of this crate.
#![allow(dead_code)]

use leadline_provisioning::{Config, Finding, Severity, SourceFile, check, load, read_files};
use std::path::{Path, PathBuf};

/// The environments folder of the repository.
pub fn environments() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../environments")
}

/// Its configuration.
pub fn config() -> Config {
    let (config, findings) = load(&environments());
    config.unwrap_or_else(|| panic!("{findings:#?}"))
}

/// Its files.
pub fn files() -> Vec<SourceFile> {
    read_files(&environments()).0
}

/// The files with one of them changed; the text must be there.
pub fn with(path: &str, from: &str, to: &str) -> Vec<SourceFile> {
    let mut files = files();
    let f = files.iter_mut().find(|f| f.path == path).expect("a file of the folder");
    assert!(f.text.contains(from), "{path} has no {from}");
    f.text = f.text.replace(from, to);
    files
}

/// What is found in these files.
pub fn findings(files: &[SourceFile]) -> Vec<Finding> {
    check(files).1
}

/// Exactly these keys are wrong, in this order, and the words occur in what is said of the first.
#[track_caller]
pub fn wrong(files: &[SourceFile], keys: &[&str], words: &str) -> Vec<Finding> {
    let (config, all) = check(files);
    let errors: Vec<Finding> = all.into_iter().filter(|f| f.severity == Severity::Error).collect();
    let found: Vec<&str> = errors.iter().map(|f| f.key.as_str()).collect();
    assert_eq!(found, keys, "{errors:#?}");
    let said = errors[0].to_string();
    assert!(said.contains(words), "{said}");
    assert!(config.is_none());
    assert!(errors.iter().all(|f| !f.help.is_empty()));
    errors
}

/// Compares with a committed file; `UPDATE_GOLDEN=1` writes it instead.
pub fn golden(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a writable file");
        return;
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert!(there == text, "{} is not what the code makes; UPDATE_GOLDEN=1 writes it", path.display());
}

/// Where golden templates are.
pub fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}
