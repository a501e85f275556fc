//! Tables and JSON on standard output.

use crate::exit::Code;
use serde::Serialize;
use std::io::{ErrorKind, IsTerminal, Write};

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: one JSON document, or one object a line for lists.
    Json,
}

/// Writes a line to standard output.
pub(crate) fn line(s: &str) {
    raw(format!("{s}\n").as_bytes());
}

/// Writes to standard output. A reader that went away (`| head`) ends the program quietly; output that cannot be written
/// (a full disk) ends it as failed, since a cut list must not pass for a whole one.
pub(crate) fn raw(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if let Err(e) = out.write_all(bytes).and_then(|()| out.flush()) {
        if e.kind() == ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        note(&format!("leadline: standard output: {e}"));
        std::process::exit(Code::Failed as i32);
    }
}

/// A value as one JSON line.
pub(crate) fn json(v: &impl Serialize) {
    match serde_json::to_string(v) {
        Ok(text) => line(&text),
        Err(e) => {
            note(&format!("leadline: a bug: what was to be printed is no JSON: {e}"));
            std::process::exit(Code::Failed as i32);
        }
    }
}

/// A line to standard error: progress and remarks.
#[expect(clippy::print_stderr, reason = "the place for remarks")]
pub(crate) fn note(s: &str) {
    eprintln!("{s}");
}

/// A table with left-aligned columns, wide enough for their cells; nothing for no rows.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    let width = |n: usize| {
        rows.iter().filter_map(|r| r.get(n)).map(|c| c.chars().count()).chain([head[n].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let row = |cells: &mut dyn Iterator<Item = &str>| {
        let mut out = String::new();
        for (c, w) in cells.zip(&widths) {
            out.push_str(c);
            out.extend(std::iter::repeat_n(' ', w.saturating_sub(c.chars().count()) + 2));
        }
        line(out.trim_end());
    };
    if styled(&std::io::stdout()) {
        line(&format!("\x1b[1m{}\x1b[0m", joined(head, &widths)));
    } else {
        row(&mut head.iter().copied());
    }
    for r in rows {
        row(&mut r.iter().map(String::as_str));
    }
}

/// Whether to write escapes for bold and colours there: to a terminal, unless the user wants none (<https://no-color.org>).
pub(crate) fn styled(to: &impl IsTerminal) -> bool {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty());
    to.is_terminal() && set("NO_COLOR").is_none() && set("TERM").is_none_or(|t| t != "dumb")
}

fn joined(head: &[&str], widths: &[usize]) -> String {
    head.iter().zip(widths).map(|(h, w)| format!("{h:w$}  ")).collect::<String>().trim_end().to_owned()
}

/// So many of something, in words.
pub(crate) fn count(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// Bytes in words.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let mut v = n as f64;
    let mut unit = "";
    for u in UNITS {
        if v < 1024.0 {
            break;
        }
        v /= 1024.0;
        unit = u;
    }
    format!("{v:.1} {unit}")
}

/// Milliseconds in words.
pub(crate) fn duration(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms / 1000 % 60),
        _ => format!("{} h {} min", ms / 3_600_000, ms / 60_000 % 60),
    }
}
