//! Tables and JSON on standard output.

use serde::Serialize;
use std::io::{IsTerminal, Write};

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: one JSON document, or one object a line for lists.
    Json,
}

/// Writes a line to standard output. A reader that went away (`| head`) ends the program quietly.
pub(crate) fn line(s: &str) {
    if writeln!(std::io::stdout().lock(), "{s}").is_err() {
        std::process::exit(0);
    }
}

/// A value as one JSON line.
pub(crate) fn json(v: &impl Serialize) {
    line(&serde_json::to_string(v).unwrap_or_default());
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
    if std::io::stdout().is_terminal() {
        line(&format!("\x1b[1m{}\x1b[0m", joined(head, &widths)));
    } else {
        row(&mut head.iter().copied());
    }
    for r in rows {
        row(&mut r.iter().map(String::as_str));
    }
}

fn joined(head: &[&str], widths: &[usize]) -> String {
    head.iter().zip(widths).map(|(h, w)| format!("{h:w$}  ")).collect::<String>().trim_end().to_owned()
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
