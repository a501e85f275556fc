//! Measures the verdicts on a folder of real files and on damaged copies of them.
//!
//! ```text
//! cargo run --release -p leadline-formats --example corpus_report -- CORPUS [--list] [--seed N] [--cuts N] [--broken FILE]...
//! ```
//!
//! `CORPUS` holds files and a `MANIFEST.tsv` with the columns `file`, `format` and `truth` (by name, tab separated);
//! the truth is `complete`, `partial`, `malformed` or anything else for what a content cannot tell. Without a manifest all
//! files below the folder are whole, but for those named after `--broken`, by the end of their path. Of every file it
//! makes copies that lack bytes: 25 cuts at random offsets, cuts at block boundaries, zero filled tails and zero
//! holes. No such copy may be called complete, beyond those that leave no trace (named in the report) and a share of
//! 0.1 %; no whole file may be called partial or malformed. Copies padded with zero bytes lack nothing and are
//! counted apart. The exit code is 1 when a bound is broken.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use leadline_formats::sets::{WfdbFiles, wfdb_verdict};
use leadline_formats::wfdb::{Header, SampleCheck, SampleSums, SignalFile};
use leadline_formats::{Evidence, Format, Inspection, Verdict, inspect_bytes};

/// Share of the damaged copies that may be called complete.
const BOUND: f64 = 0.001;

struct Options {
    root: PathBuf,
    list: bool,
    seed: u64,
    cuts: usize,
    broken: Vec<String>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self { root: PathBuf::new(), list: false, seed: 20_260_101, cuts: 25, broken: Vec::new() };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => options.list = true,
                "--seed" => options.seed = arguments.next()?.parse().ok()?,
                "--cuts" => options.cuts = arguments.next()?.parse().ok()?,
                "--broken" => options.broken.push(arguments.next()?),
                _ if options.root.as_os_str().is_empty() => options.root = argument.into(),
                _ => return None,
            }
        }
        (!options.root.as_os_str().is_empty()).then_some(options)
    }
}

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

#[derive(Clone, Copy, Default)]
struct Tally {
    copies: u64,
    complete: u64,
}

impl Tally {
    fn add(&mut self, verdict: Verdict) {
        self.copies += 1;
        self.complete += u64::from(verdict == Verdict::Complete);
    }

    fn share(self) -> f64 {
        self.complete as f64 / self.copies.max(1) as f64
    }
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

/// Every file below a folder that has no manifest, by its extension.
fn found(options: &Options) -> std::io::Result<Vec<Row>> {
    let (mut rows, mut folders) = (Vec::new(), vec![options.root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let file = path.strip_prefix(&options.root).unwrap_or(&path).to_string_lossy().into_owned();
                let broken = options.broken.iter().any(|name| file.ends_with(name));
                let format = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
                rows.push(Row { file, format, truth: if broken { "malformed" } else { "complete" }.to_owned() });
            }
        }
    }
    rows.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(rows)
}

/// The folder of a manifest that holds files of a format, where it has traceless losses.
fn kind(format: Format) -> Option<&'static str> {
    match format {
        Format::Dicom | Format::DicomDocument | Format::DicomImage | Format::DicomWaveform => Some("dicom"),
        Format::Gzip | Format::TarGzip => Some("gzip"),
        Format::Hl7v2 | Format::Hl7v2Mllp => Some("hl7v2"),
        Format::Mat4 | Format::Mat5 => Some("mat"),
        Format::Mp4 => Some("mp4"),
        Format::Pdf => Some("pdf"),
        Format::WfdbHeader => Some("wfdb"),
        _ => None,
    }
}

/// What was done to a copy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Damage {
    RandomCut,
    BlockCut,
    ZeroTail,
    ZeroHole,
    Padding,
}

impl Damage {
    fn name(self) -> &'static str {
        match self {
            Self::RandomCut => "cut at a random byte",
            Self::BlockCut => "cut at a block boundary",
            Self::ZeroTail => "zero tail",
            Self::ZeroHole => "zero hole",
            Self::Padding => "zero padding",
        }
    }
}

/// Damaged copies: what was done, the bytes, and whether bytes were lost.
fn mutants(bytes: &[u8], cuts: usize, random: &mut Random, mut each: impl FnMut(Damage, &[u8], bool)) {
    let len = bytes.len() as u64;
    for _ in 0..cuts {
        each(Damage::RandomCut, &bytes[..random.below(len) as usize], true);
    }
    for block in [512u64, 4096, 65_536, 1 << 20] {
        let blocks = (len - 1) / block;
        for turn in 0..3 {
            let at = if turn == 0 { blocks } else { random.below(blocks) + 1 };
            if blocks > 0 {
                each(Damage::BlockCut, &bytes[..(at * block) as usize], true);
            }
        }
    }
    let mut copy = bytes.to_vec();
    for at in [len / 2, len * 9 / 10, len / 4096 * 4096, random.below(len)] {
        let at = at as usize;
        copy[at..].fill(0);
        // A file that ends in zero bytes is not changed by writing them.
        let lost = bytes[at..].iter().filter(|byte| **byte != 0).count() >= 64;
        if lost {
            each(Damage::ZeroTail, &copy, true);
        }
        copy[at..].copy_from_slice(&bytes[at..]);
    }
    let blocks = len / 4096;
    for _ in 0..if blocks < 2 { 0 } else { 3 } {
        let from = (random.below(blocks - 1) * 4096) as usize;
        let hole = from..from + 4096;
        if bytes[hole.clone()].iter().any(|byte| *byte != 0) {
            copy[hole.clone()].fill(0);
            each(Damage::ZeroHole, &copy, true);
            copy[hole.clone()].copy_from_slice(&bytes[hole]);
        }
    }
    for pad in [64usize, 4096] {
        copy.resize(bytes.len() + pad, 0);
        each(Damage::Padding, &copy, false);
        copy.truncate(bytes.len());
    }
}

/// Why a copy that is called complete shows no trace of what it lacks, as docs/FORMATS.md names the kinds; `None`
/// when it should have shown.
fn traceless(row: &Row, whole: &Inspection, bytes: &[u8], copy: &[u8]) -> Option<&'static str> {
    let cut = bytes.starts_with(copy);
    let behind = |fact: &Evidence| matches!(fact, Evidence::TrailingBytes { from, .. } if *from <= copy.len() as u64);
    let rest = bytes.get(copy.len()..).unwrap_or_default();
    let comments = |text: &[u8]| {
        text.split(|byte| *byte == b'\n').all(|line| line.trim_ascii().is_empty() || line.starts_with(b"#"))
    };
    match row.format.as_str() {
        _ if cut && rest.iter().all(u8::is_ascii_whitespace) => Some("cut in the white space behind the end"),
        _ if cut && whole.evidence.iter().any(behind) => Some("cut in the foreign bytes behind the end"),
        "wfdb" if cut && row.file.ends_with(".hea") && comments(rest) => Some("cut between comment lines of a .hea"),
        "gzip" if cut && rest.starts_with(b"\x1f\x8b") => Some("cut between gzip members"),
        "pdf" if cut && copy.trim_ascii_end().ends_with(b"%%EOF") => Some("cut between revisions of a PDF"),
        "mat" if cut && !bytes.starts_with(b"MATLAB") => Some("cut between matrices of a MAT-file v4"),
        "mat" if cut => Some("cut between elements of a MAT-file v5"),
        "dicom" if cut => Some("cut behind the last mandatory element of a data set"),
        "mp4" if cut => Some("cut between boxes behind the samples of an MP4"),
        "hl7v2" if cut => Some("cut between messages of a stream of MLLP frames"),
        _ => None,
    }
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

#[derive(Default)]
struct Totals {
    verdicts: BTreeMap<(String, &'static str, &'static str), u64>,
    by_format: BTreeMap<String, Tally>,
    by_damage: BTreeMap<Damage, Tally>,
    kinds: BTreeMap<&'static str, u64>,
    padded_partial: u64,
    misjudged: u64,
    files: u64,
    bytes: u64,
    seconds: f64,
}

#[allow(clippy::print_stdout)] // the report is the purpose of this program
fn measure(options: &Options) -> std::io::Result<Totals> {
    let mut random = Random(options.seed);
    let mut totals = Totals::default();
    let root = &options.root;
    let manifest = root.join("MANIFEST.tsv");
    let listed = manifest.exists();
    for mut row in if listed { rows(&manifest)? } else { found(options)? } {
        let bytes = std::fs::read(root.join(&row.file))?;
        let start = Instant::now();
        let inspection = inspect_bytes(&bytes);
        totals.seconds += start.elapsed().as_secs_f64();
        totals.files += 1;
        totals.bytes += bytes.len() as u64;
        if let Some(kind) = kind(inspection.format).filter(|_| !listed) {
            kind.clone_into(&mut row.format);
        }
        let whole = verdict(root, &row, &bytes);
        let bad = match row.truth.as_str() {
            "complete" => matches!(whole, Verdict::Partial | Verdict::Malformed),
            "partial" | "malformed" => whole == Verdict::Complete,
            _ => whole == Verdict::Partial,
        };
        totals.misjudged += u64::from(bad);
        if options.list || bad {
            let mark = if bad { "MISJUDGED" } else { "         " };
            println!("{mark} {:<48} truth {:<12} {:?} | {}", row.file, row.truth, whole, inspection.summary());
        }
        *totals.verdicts.entry((row.format.clone(), inspection.format.label(), whole.as_str())).or_default() += 1;
        if bytes.is_empty() {
            continue;
        }
        mutants(&bytes, options.cuts, &mut random, |damage, copy, lost| {
            let verdict = verdict(root, &row, copy);
            totals.by_damage.entry(damage).or_default().add(verdict);
            if !lost {
                totals.padded_partial += u64::from(verdict == Verdict::Partial && row.truth == "complete");
                return;
            }
            totals.by_format.entry(row.format.clone()).or_default().add(verdict);
            if verdict == Verdict::Complete {
                let kind = traceless(&row, &inspection, &bytes, copy).unwrap_or("UNEXPLAINED");
                *totals.kinds.entry(kind).or_default() += 1;
                if options.list || kind == "UNEXPLAINED" {
                    let what = damage.name();
                    println!("PASSED    {:<48} {what}, {} of {} bytes: {kind}", row.file, copy.len(), bytes.len());
                }
            }
        });
    }
    Ok(totals)
}

#[allow(clippy::print_stdout)] // the report is the purpose of this program
fn print(totals: &Totals) -> bool {
    println!("{:<20} {:<28} {:<14} files", "folder", "recognized as", "verdict");
    for ((folder, format, verdict), count) in &totals.verdicts {
        println!("{folder:<20} {format:<28} {verdict:<14} {count:>5}");
    }
    println!("\n{:<28} {:>8} {:>16} {:>9}", "copies that lack bytes", "copies", "called complete", "share");
    let line = |name: &str, tally: Tally| {
        println!("{name:<28} {:>8} {:>16} {:>7.3} %", tally.copies, tally.complete, 100.0 * tally.share());
    };
    let mut all = Tally::default();
    for (damage, tally) in totals.by_damage.iter().filter(|(damage, _)| **damage != Damage::Padding) {
        line(damage.name(), *tally);
        all.copies += tally.copies;
        all.complete += tally.complete;
    }
    line("all", all);
    println!();
    for (format, tally) in &totals.by_format {
        line(format, *tally);
    }
    println!("\nwithout a trace:");
    for (kind, count) in &totals.kinds {
        println!("{count:>6}  {kind}");
    }
    let padded = totals.by_damage.get(&Damage::Padding).copied().unwrap_or_default();
    println!("\npadded copies: {}, called complete: {}", padded.copies, padded.complete);
    println!("padded copies of whole files called partial: {}", totals.padded_partial);
    println!("whole files misjudged: {} of {}", totals.misjudged, totals.files);
    let (files, bytes, seconds) = (totals.files as f64, totals.bytes as f64, totals.seconds);
    println!(
        "time: {:.0} ms for {:.1} MB on one thread: {:.0} MB/s, {:.0} files/s",
        seconds * 1e3,
        bytes / 1e6,
        bytes / seconds / 1e6,
        files / seconds
    );
    totals.misjudged == 0 && all.share() <= BOUND && !totals.kinds.contains_key("UNEXPLAINED")
}

#[allow(clippy::print_stderr)] // the only place that reports why the program stops
fn main() -> ExitCode {
    let Some(options) = Options::parse(std::env::args().skip(1)) else {
        eprintln!("usage: corpus_report CORPUS [--list] [--seed N] [--cuts N] [--broken FILE]...");
        return ExitCode::from(64);
    };
    match measure(&options) {
        Ok(totals) if print(&totals) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
