//! Live progress: a table that is drawn over itself on a terminal, and a line for each change elsewhere.

use serde_json::Value;
use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where a file stands, as far as `leadline file list` tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// `delivered`, `waiting`, ...; empty while unknown.
    pub state: String,
    /// Why.
    pub why: String,
    /// The last sentence of its evidence.
    pub evidence: String,
    /// When the message was accepted, ms since 1970.
    pub enqueued_ms: Option<i64>,
    /// File key.
    pub key: String,
}

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// Organization.
    pub org: String,
    /// Path as the clinic sees it.
    pub path: String,
    /// What the device does.
    pub says: String,
    /// When the device was done.
    pub last_write: Option<SystemTime>,
    /// Where it stands.
    pub state: State,
}

impl Row {
    /// From the last write to the queue, milliseconds.
    #[must_use]
    pub fn latency_ms(&self) -> Option<i64> {
        let written = self.last_write?.duration_since(UNIX_EPOCH).ok()?.as_millis();
        Some(self.state.enqueued_ms? - i64::try_from(written).ok()?)
    }

    fn cells(&self) -> [String; 6] {
        let latency = self.latency_ms().map_or("-".into(), |ms| format!("{}.{:02} s", ms / 1000, ms % 1000 / 10));
        let state = if self.state.state.is_empty() { "-".into() } else { self.state.state.clone() };
        [self.org.clone(), self.path.clone(), self.says.clone(), state, shortened(&self.state.why), latency]
    }
}

/// A text with what is left of digests that people can compare at a glance.
fn shortened(text: &str) -> String {
    let short = |word: &str| match word.rsplit_once('.') {
        Some((org, digest)) if digest.len() == 64 => format!("{org}.{}...", &digest[..13]),
        _ => word.to_owned(),
    };
    text.split(' ').map(short).collect::<Vec<_>>().join(" ")
}

/// The table.
pub struct Table {
    /// Its lines.
    pub rows: Vec<Row>,
    drawn: usize,
    live: bool,
}

const HEAD: [&str; 6] = ["organization", "file", "what the device does", "state", "evidence", "last write to queue"];
/// Columns that may be cut, and the least that is left of them.
const CUT: [usize; 2] = [1, 4];
const LEAST: usize = 8;
/// What the device does is known from the scene: it goes first where there is no room.
const DISPENSABLE: usize = 2;

/// The lines of a table, no line longer than `width` unless that is too little for anything.
fn lines(cells: &[[String; 6]], width: usize) -> Vec<String> {
    let natural = |n: usize| cells.iter().map(|c| c[n].chars().count()).chain([HEAD[n].len()]).max().unwrap_or(0);
    let mut widths: Vec<usize> = (0..6).map(natural).collect();
    let mut shown: Vec<usize> = (0..6).collect();
    // An indent of two, and two between columns.
    let total = |shown: &[usize], widths: &[usize]| shown.iter().map(|n| widths[*n] + 2).sum::<usize>();
    if total(&shown, &widths) > width {
        shown.retain(|n| *n != DISPENSABLE);
    }
    while total(&shown, &widths) > width {
        let Some(n) = CUT.into_iter().filter(|n| widths[*n] > LEAST).max_by_key(|n| widths[*n]) else { break };
        widths[n] -= 1;
    }
    let head = HEAD.map(str::to_owned);
    let line = |c: &[String; 6]| {
        let parts: Vec<String> =
            shown.iter().map(|n| format!("{:w$}", cut(&c[*n], widths[*n]), w = widths[*n])).collect();
        cut(format!("  {}", parts.join("  ")).trim_end(), width)
    };
    std::iter::once(&head).chain(cells).map(line).collect()
}

/// At most `most` characters of a text, with a sign where there was more.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Columns of the terminal that this program was started from.
fn columns() -> Option<usize> {
    let asked = Command::new("stty").arg("size").stdin(Stdio::inherit()).stderr(Stdio::null()).output().ok();
    let told = asked.filter(|o| o.status.success()).map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
    let of_stty = told.and_then(|t| t.split_whitespace().nth(1)?.parse().ok());
    of_stty.or_else(|| std::env::var("COLUMNS").ok()?.parse().ok()).filter(|n| *n > 0)
}

impl Table {
    /// A table of these files.
    #[must_use]
    pub fn new(rows: Vec<Row>) -> Self {
        Self { rows, drawn: 0, live: std::io::stdout().is_terminal() }
    }

    /// Takes what `leadline file list --output json --show-paths` printed; draws or tells what changed.
    pub fn take(&mut self, listed: &str) {
        for line in listed.lines() {
            let Ok(v) = serde_json::from_str::<Value>(line) else { continue };
            let text = |k: &str| v[k].as_str().unwrap_or_default().to_owned();
            let Some(row) = self.rows.iter_mut().find(|r| r.org == text("organization") && r.path == text("path"))
            else {
                continue;
            };
            let evidence = v["evidence"].as_array().and_then(|a| a.last()).and_then(Value::as_str).unwrap_or_default();
            let state = State {
                state: text("state"),
                why: text("why"),
                evidence: evidence.to_owned(),
                enqueued_ms: v["times"]["enqueued_ms"].as_i64(),
                key: text("file"),
            };
            if state != row.state {
                let told = state.state != row.state.state;
                row.state = state;
                if told && !self.live {
                    println_line(&format!(
                        "  {:<11} {:<26} {:<12} {}",
                        row.org,
                        row.path,
                        row.state.state,
                        shortened(&row.state.why)
                    ));
                }
            }
        }
        if self.live {
            self.draw();
        }
    }

    /// Draws it, over itself where that is possible.
    pub fn draw(&mut self) {
        let cells: Vec<[String; 6]> = self.rows.iter().map(Row::cells).collect();
        // A line that the terminal breaks is two to the cursor: the next drawing would leave its rest behind.
        let width = if self.live { columns().unwrap_or(80) } else { usize::MAX };
        let lines = lines(&cells, width);
        let mut out = String::new();
        if self.live && self.drawn > 0 {
            out.push_str(&format!("\x1b[{}A\x1b[J", self.drawn));
        }
        lines.iter().for_each(|l| {
            out.push_str(l);
            out.push('\n');
        });
        self.drawn = lines.len();
        let _ = std::io::stdout().write_all(out.as_bytes());
        let _ = std::io::stdout().flush();
    }
}

fn println_line(s: &str) {
    let _ = writeln!(std::io::stdout(), "{s}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells() -> Vec<[String; 6]> {
        let duplicate = format!("of st-mary.{}", "470e0a81d6aee".repeat(5).get(..64).unwrap());
        let row = |path: &str, says: &str, state: &str, why: &str| {
            let state = State { state: state.into(), why: why.into(), ..State::default() };
            Row { org: "kings-road".into(), path: path.into(), says: says.into(), last_write: None, state }.cells()
        };
        vec![
            row("in/copy of DOE_JANE.dcm", "the same bytes, another name", "duplicate", &duplicate),
            row("in/resting.scp", "stops in the middle", "waiting", "the content is provably incomplete"),
        ]
    }

    #[test]
    fn no_line_is_longer_than_the_terminal_is_wide_and_the_state_is_always_there() {
        for width in 60..200 {
            let lines = lines(&cells(), width);
            assert!(lines.iter().all(|l| l.chars().count() <= width), "{width}: {lines:#?}");
            assert!(lines[1].contains("duplicate") && lines[2].contains("waiting"), "{width}: {lines:#?}");
        }
        assert!(lines(&cells(), 10).iter().all(|l| l.chars().count() <= 10));
    }

    #[test]
    fn elsewhere_nothing_but_digests_is_cut() {
        let lines = lines(&cells(), usize::MAX);
        assert!(
            lines[1].contains("the same bytes, another name  duplicate  of st-mary.470e0a81d6aee...  "),
            "{lines:#?}"
        );
        assert!(lines[2].contains("the content is provably incomplete"), "{lines:#?}");
    }
}
