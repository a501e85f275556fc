//! Files that are committed and compared with what the code makes.

/// Compares with `docs/schema/<file>`; `UPDATE_GOLDEN=1` writes it.
pub(crate) fn golden(file: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema").join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "{file} differs from the code; if that is meant, run with UPDATE_GOLDEN=1 and version it");
}
