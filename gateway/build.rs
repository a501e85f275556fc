//! Puts the pages about faults into the binary, and Uppy where `script/bootstrap` has fetched it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What is taken of the npm package `uppy`, as `script/bootstrap` lays it down.
const UPPY: [&str; 3] = ["uppy.min.mjs", "uppy.min.css", "LICENSE"];

fn main() -> io::Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    faults(&here.join("../docs/faults"), &out.join("fault_pages.rs"))?;
    uppy(&here.join("vendor/uppy"), &out.join("uppy.rs"))
}

fn faults(dir: &Path, to: &Path) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", dir.display());
    let mut pages: Vec<_> = fs::read_dir(dir)?.filter_map(Result::ok).map(|e| e.path()).collect();
    pages.sort();
    let mut code = String::from("/// Pages about faults: code and text.\nconst FAULT_PAGES: &[(&str, &str)] = &[\n");
    for p in pages.iter().filter(|p| p.extension().is_some_and(|e| e == "md")) {
        let name = p.file_stem().unwrap_or_default().to_string_lossy();
        if name != "README" {
            let _ = writeln!(code, "    ({name:?}, include_str!({:?})),", p.display().to_string());
        }
    }
    code.push_str("];\n");
    fs::write(to, code)
}

fn uppy(dir: &Path, to: &Path) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", dir.parent().unwrap_or(dir).display());
    println!("cargo::rerun-if-changed={}", dir.display());
    let there = UPPY.iter().all(|f| dir.join(f).is_file());
    let mut code = String::from(
        "/// Uppy's files, if it was there when this was built.\npub(super) const UPPY: &[(&str, &[u8])] = &[\n",
    );
    for f in UPPY.iter().filter(|_| there) {
        let _ = writeln!(code, "    ({f:?}, include_bytes!({:?})),", dir.join(f).display().to_string());
    }
    code.push_str("];\n");
    fs::write(to, code)
}
