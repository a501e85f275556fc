//! Live progress: a table that is drawn over itself on a terminal, and a line for each change elsewhere.

use serde_json::Value;
use std::io::{IsTerminal, Write};
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
        [self.org.clone(), self.path.clone(), self.says.clone(), state, self.state.why.clone(), latency]
    }
}

/// The table.
pub struct Table {
    /// Its lines.
    pub rows: Vec<Row>,
    drawn: usize,
    live: bool,
}

const HEAD: [&str; 6] = ["organization", "file", "what the device does", "state", "evidence", "last write to queue"];

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
                        row.org, row.path, row.state.state, row.state.why
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
        let width = |n: usize| cells.iter().map(|c| c[n].chars().count()).chain([HEAD[n].len()]).max().unwrap_or(0);
        let widths: Vec<usize> = (0..6).map(width).collect();
        let line = |c: &dyn Fn(usize) -> String| {
            (0..6).map(|n| format!("{:w$}  ", c(n), w = widths[n])).collect::<String>().trim_end().to_owned()
        };
        let mut out = String::new();
        if self.live && self.drawn > 0 {
            out.push_str(&format!("\x1b[{}A\x1b[J", self.drawn));
        }
        out.push_str(&format!("  {}\n", line(&|n| HEAD[n].to_owned())));
        for c in &cells {
            out.push_str(&format!("  {}\n", line(&|n| c[n].clone())));
        }
        self.drawn = cells.len() + 1;
        let _ = std::io::stdout().write_all(out.as_bytes());
        let _ = std::io::stdout().flush();
    }
}

fn println_line(s: &str) {
    let _ = writeln!(std::io::stdout(), "{s}");
}
