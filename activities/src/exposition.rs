//! The Prometheus text format, version 0.0.4.

use std::fmt::{Display, Write as _};

/// What is counted is either only ever added to, or as it was at the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `counter`.
    Counter,
    /// `gauge`.
    Gauge,
}

/// A text in the making.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// A family of samples, each with its labels (name and value) and its number.
    pub fn family<'a, L, V: Display>(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) where
        L: IntoIterator<Item = (&'a str, String)>,
    {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let labels: Vec<String> = labels.into_iter().map(|(k, v)| format!("{k}=\"{}\"", escaped(&v))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }

    /// The text.
    #[must_use]
    pub fn text(self) -> String {
        self.0
    }
}

/// As the format wants the value of a label.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_says_nothing_but_its_value() {
        let mut e = Exposition::default();
        e.family(Kind::Counter, "a_total", "Some.", [([("of", "x\"} 1\n\\".to_owned())], 2)]);
        e.family(Kind::Gauge, "b", "Others.", [([], 0.5)]);
        let said = "# HELP a_total Some.\n# TYPE a_total counter\na_total{of=\"x\\\"} 1\\n\\\\\"} 2\n\
                    # HELP b Others.\n# TYPE b gauge\nb 0.5\n";
        assert_eq!(e.text(), said);
    }
}
