//! `leadline inspect`.

use super::inspect_set;
use crate::Global;
use crate::exit::{Code, Done};
use crate::output::{self, Format};
use leadline_formats::{Evidence, Inspection, Verdict};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files, or folders to look into.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Judge files that belong together as one.
    ///
    /// These are sets: a WFDB header with the files that it names or that share its name; an XML file with the PDF of
    /// its name; an ISHNE .ecg file with its .ann file. In a folder with .done files, each set waits for one. A file
    /// alone is a set too.
    #[arg(long)]
    set: bool,
}

/// One line of output, or why there is none.
pub(crate) type Line = io::Result<Judged>;

/// What is said of a file or a set.
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    pub(crate) text: String,
    pub(crate) json: Value,
}

pub(crate) fn run(g: &Global, a: &Args) -> Done {
    let (mut all, mut passed) = (Vec::new(), Vec::new());
    for f in &a.files {
        // A link that was named is what it leads to; those met on the way are not followed, or a walk might not end.
        walk(f, std::fs::metadata(f), &mut all, &mut passed);
    }
    // Opening a pipe waits for whoever writes to it. One that was asked for by its name was not inspected.
    let mut well = !passed.iter().any(|p| a.files.contains(p));
    for p in &passed {
        output::note(&format!("leadline: {}: passed over: it is no regular file", p.display()));
    }
    let mut print = |name: &Path, line: Line| match line {
        Ok(judged) => {
            well &= judged.verdict == Verdict::Complete;
            match g.output {
                Format::Text => output::line(&judged.text),
                Format::Json => output::json(&judged.json),
            }
        }
        Err(e) => {
            well = false;
            if g.output == Format::Json {
                output::json(&unread(name, &e));
            }
            output::note(&format!("leadline: {}: cannot be read: {e}", name.display()));
        }
    };
    if a.set {
        let sets = inspect_set::sets(&all);
        in_order(threads(), &sets, inspect_set::judge, |set, line| print(&set.name(), line));
    } else {
        in_order(threads(), &all, |path| Ok(one(path, &look(path)?)), |path, line| print(path, line));
    }
    Ok(if well { Code::Ok } else { Code::NotWell })
}

fn one(path: &Path, i: &Inspection) -> Judged {
    Judged {
        verdict: i.verdict,
        text: format!("{}: {}", path.display(), i.summary()),
        json: json!({
            "file": path.to_string_lossy(),
            "format": i.format,
            "verdict": i.verdict,
            "evidence": facts(&i.evidence),
            "identity": i.identity,
        }),
    }
}

/// What a program is told of a file that cannot be read: it finds an object for each that it asked about.
fn unread(path: &Path, error: &io::Error) -> Value {
    json!({
        "file": path.to_string_lossy(),
        "format": null,
        "verdict": null,
        "evidence": [],
        "identity": null,
        "error": error.to_string(),
    })
}

/// Facts with their sentences.
pub(crate) fn facts(evidence: &[Evidence]) -> Vec<Value> {
    evidence.iter().map(|e| json!({"fact": e, "sentence": e.sentence()})).collect()
}

pub(crate) fn look(path: &Path) -> io::Result<Inspection> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    leadline_formats::inspect(&mut file, len)
}

/// One for each processor.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Works on items on this many threads and hands the results on in the order of the items.
fn in_order<T: Sync, R: Send>(threads: usize, items: &[T], work: impl Fn(&T) -> R + Sync, mut each: impl FnMut(&T, R)) {
    let threads = threads.min(items.len());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (sender, results) = mpsc::sync_channel(threads * 16 + 1);
        for _ in 0..threads {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(i) else { return };
                    if sender.send((i, work(item))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let (mut early, mut due) = (BTreeMap::new(), 0);
        for (i, result) in results {
            early.insert(i, result);
            while let Some(result) = early.remove(&due) {
                each(&items[due], result);
                due += 1;
            }
        }
    });
}

/// Regular files below `path`, by name, and what is none; links to folders are not followed.
fn walk(path: &Path, is: io::Result<Metadata>, out: &mut Vec<PathBuf>, passed: &mut Vec<PathBuf>) {
    if !is.is_ok_and(|m| m.is_dir()) {
        // What cannot be asked is opened later, which says what is wrong.
        let regular = std::fs::metadata(path).map_or(true, |m| m.is_file());
        if regular { out } else { passed }.push(path.to_owned());
        return;
    }
    let Ok(entries) = std::fs::read_dir(path) else {
        // Opening it again says what is wrong.
        out.push(path.to_owned());
        return;
    };
    let mut inside: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    inside.sort();
    inside.iter().for_each(|p| walk(p, std::fs::symlink_metadata(p), out, passed));
}

#[cfg(test)]
mod tests {
    use super::in_order;
    use std::sync::{Mutex, mpsc};

    /// The first item is done after the second one.
    #[test]
    fn results_come_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..500).collect();
        let (done, waits) = mpsc::channel();
        let waits = Mutex::new(waits);
        let work = |n: &usize| {
            match n {
                0 => waits.lock().unwrap().recv().unwrap(),
                1 => done.send(()).unwrap(),
                _ => {}
            }
            n * 2
        };
        let mut seen = Vec::new();
        in_order(2, &items, work, |item, result| seen.push((*item, result)));
        assert_eq!(seen, items.iter().map(|n| (*n, n * 2)).collect::<Vec<_>>());
        in_order(2, &[] as &[u64], |n| *n, |_, _| panic!("there is nothing"));
    }
}
