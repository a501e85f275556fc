//! Measures the verdicts on a folder of real files and on damaged copies of them.
//!
//! ```text
//! cargo run --release -p leadline-formats --example corpus_report -- MANIFEST.tsv FOLDER [--list]
//! ```
//!
//! The manifest has the columns `file`, `format`, `bytes` and `truth` (by name, tab separated). Of every file whose
//! truth is `complete` it makes copies that are partial: 25 cuts at random offsets, cuts at block boundaries, zero
//! filled tails and zero holes; and copies padded with zero bytes, which are not partial and must not be called so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use leadline_formats::sets::{WfdbFiles, wfdb_verdict};
use leadline_formats::wfdb::{Header, SampleCheck, SampleSums, SignalFile};
use leadline_formats::{Verdict, inspect_bytes};

struct Row {
    file: String,
    format: String,
    truth: String,
}

/// A small generator with a fixed seed: two runs make the same copies.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

#[derive(Default)]
struct Tally {
    partial: u64,
    complete: u64,
    verdicts: BTreeMap<&'static str, u64>,
}

fn rows(path: &Path) -> std::io::Result<Vec<Row>> {
    let text = std::fs::read_to_string(path)?;
    let mut lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let names = lines.next().unwrap_or_default();
    let column = |name: &str| names.iter().position(|other| *other == name).unwrap_or(usize::MAX);
    let (file, format, truth) = (column("file"), column("format"), column("truth"));
    let cell = |line: &[&str], at: usize| line.get(at).copied().unwrap_or_default().to_owned();
    Ok(lines
        .map(|line| Row { file: cell(&line, file), format: cell(&line, format), truth: cell(&line, truth) })
        .collect())
}

/// Damaged copies: what was done, the bytes, and whether bytes were lost.
fn mutants(bytes: &[u8], random: &mut Random) -> Vec<(&'static str, Vec<u8>, bool)> {
    let len = bytes.len() as u64;
    let mut out = Vec::new();
    for _ in 0..25 {
        out.push(("cut", bytes[..random.below(len) as usize].to_vec(), true));
    }
    for block in [512u64, 4096, 65_536, 1 << 20] {
        let blocks = (len - 1) / block;
        for turn in 0..3 {
            let at = if turn == 0 { blocks } else { random.below(blocks) + 1 };
            if blocks > 0 {
                out.push(("block cut", bytes[..(at * block) as usize].to_vec(), true));
            }
        }
    }
    for at in [len / 2, len * 9 / 10, len / 4096 * 4096, random.below(len)] {
        let mut copy = bytes.to_vec();
        copy[at as usize..].fill(0);
        // A file that ends in zero bytes is not changed by writing them.
        let lost = bytes[at as usize..].iter().filter(|byte| **byte != 0).count() >= 64;
        out.push(("zero tail", copy, lost));
    }
    for _ in 0..3 {
        let blocks = len / 4096;
        if blocks < 2 {
            continue;
        }
        let from = (random.below(blocks - 1) * 4096) as usize;
        let mut copy = bytes.to_vec();
        copy[from..from + 4096].fill(0);
        let lost = bytes[from..from + 4096].iter().any(|byte| *byte != 0);
        out.push(("hole", copy, lost));
    }
    for pad in [64usize, 4096] {
        let mut copy = bytes.to_vec();
        copy.resize(copy.len() + pad, 0);
        out.push(("padding", copy, false));
    }
    out
}

/// The files around a header on disk, one of which may be replaced.
struct Folder<'a> {
    path: PathBuf,
    replaced: Option<(&'a str, &'a [u8])>,
}

impl Folder<'_> {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        match self.replaced {
            Some((other, bytes)) if other == name => Some(bytes.to_vec()),
            _ => std::fs::read(self.path.join(name)).ok(),
        }
    }
}

impl WfdbFiles for Folder<'_> {
    fn header(&self, record: &str) -> Option<Header> {
        Header::parse(&self.read(&format!("{record}.hea"))?).ok()
    }

    fn signal(&self, file: &SignalFile, frames: Option<u64>) -> Option<SampleSums> {
        let mut check = SampleCheck::new(file, frames.unwrap_or(0));
        check.push(&self.read(&file.name)?);
        Some(check.finish())
    }
}

/// The verdict on a signal file with its header, when there is one.
fn as_set(root: &Path, row: &Row, bytes: &[u8]) -> Option<Verdict> {
    let path = root.join(&row.file);
    let folder = path.parent()?.to_owned();
    let name = path.file_name()?.to_str()?.to_owned();
    let headers = std::fs::read_dir(&folder).ok()?.flatten().map(|entry| entry.path());
    let headers: Vec<PathBuf> = headers.filter(|path| path.extension().is_some_and(|e| e == "hea")).collect();
    let files = Folder { path: folder, replaced: Some((&name, bytes)) };
    let own = headers.iter().any(|path| path.file_name().is_some_and(|other| other == name.as_str()));
    if own {
        // A header is judged with its files only where it names segments; alone it is judged as a text.
        let header = Header::parse(bytes).ok().filter(|header| !header.segments.is_empty())?;
        return Some(wfdb_verdict(&header, &files).verdict);
    }
    headers
        .iter()
        .filter_map(|path| Header::parse(&std::fs::read(path).ok()?).ok())
        .find(|header| header.files().iter().any(|file| file.name == name))
        .map(|header| wfdb_verdict(&header, &files).verdict)
}

/// The verdict on a file, for a member of a record together with the others.
fn verdict(root: &Path, row: &Row, bytes: &[u8]) -> Verdict {
    let alone = inspect_bytes(bytes).verdict;
    let set = if row.format == "wfdb" { as_set(root, row, bytes) } else { None };
    match set {
        // A set vouches for a signal file, which says nothing by itself.
        Some(set) if alone == Verdict::Unverifiable && !row.file.ends_with(".hea") => set,
        Some(set) => set.max(alone),
        None => alone,
    }
}

#[allow(clippy::print_stdout)] // the report is the purpose of this program
fn run() -> std::io::Result<bool> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [manifest, root, options @ ..] = &arguments[..] else {
        return Err(std::io::Error::other("usage: corpus_report MANIFEST.tsv FOLDER [--list]"));
    };
    let root = Path::new(root);
    let list = options.iter().any(|option| option == "--list");
    let mut random = Random(20_260_101);
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let (mut misjudged, mut files, mut volume, mut spent) = (0, 0u64, 0u64, 0.0);
    for row in rows(Path::new(manifest))? {
        let bytes = std::fs::read(root.join(&row.file))?;
        let start = Instant::now();
        let inspection = inspect_bytes(&bytes);
        spent += start.elapsed().as_secs_f64();
        files += 1;
        volume += bytes.len() as u64;
        let whole = verdict(root, &row, &bytes);
        let bad = match row.truth.as_str() {
            "complete" => matches!(whole, Verdict::Partial | Verdict::Malformed),
            "partial" | "malformed" => whole == Verdict::Complete,
            _ => whole == Verdict::Partial,
        };
        misjudged += u64::from(bad);
        if list || bad {
            let mark = if bad { "MISJUDGED" } else { "         " };
            println!("{mark} {:<48} truth {:<12} {:?} | {}", row.file, row.truth, whole, inspection.summary());
        }
        let tally = tallies.entry(row.format.clone()).or_default();
        *tally.verdicts.entry(whole.as_str()).or_default() += 1;
        if row.truth != "complete" || bytes.is_empty() {
            continue;
        }
        for (kind, copy, partial) in mutants(&bytes, &mut random) {
            let verdict = verdict(root, &row, &copy);
            if partial {
                tally.partial += 1;
                if verdict == Verdict::Complete {
                    tally.complete += 1;
                    println!("PASSED    {:<48} {kind}, {} of {} bytes", row.file, copy.len(), bytes.len());
                }
            }
        }
    }
    println!("\n{:<20} {:>9} {:>16}  whole files", "format", "mutants", "called complete");
    let (mut partial, mut complete) = (0, 0);
    for (format, tally) in &tallies {
        println!("{format:<20} {:>9} {:>16}  {:?}", tally.partial, tally.complete, tally.verdicts);
        partial += tally.partial;
        complete += tally.complete;
    }
    let share = 100.0 * complete as f64 / partial.max(1) as f64;
    println!("\npartial mutants called complete: {complete} of {partial} ({share:.3} %)");
    println!("whole files misjudged: {misjudged} of {files}");
    println!("speed: {:.0} files/s, {:.0} MB/s on one thread", files as f64 / spent, volume as f64 / spent / 1e6);
    Ok(misjudged == 0)
}

#[allow(clippy::print_stderr)] // the only place that reports why the program stops
fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
