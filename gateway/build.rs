//! Puts Uppy into the binary, where `script/bootstrap` has fetched it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What is taken of the npm package `uppy`, as `script/bootstrap` lays it down.
const UPPY: [&str; 3] = ["uppy.min.mjs", "uppy.min.css", "LICENSE"];

fn main() -> io::Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    uppy(&here.join("vendor/uppy"), &out.join("uppy.rs"))
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
