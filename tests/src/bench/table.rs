//! Results: a measure, what it is beside, and whether the goal is reached.

use serde_json::json;

/// One measured thing.
#[derive(Debug, Clone)]
pub struct Row {
    /// What.
    pub what: String,
    /// Value with its unit.
    pub value: f64,
    /// Unit.
    pub unit: &'static str,
    /// What it is measured beside, in the same unit.
    pub beside: Option<(String, f64)>,
    /// The goal: for the ratio if there is something beside, else for the value.
    pub goal: Option<Goal>,
}

/// What to reach for.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// At least.
    Least(f64),
    /// At most.
    Most(f64),
}

impl Row {
    /// A value alone.
    #[must_use]
    pub fn new(what: &str, value: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, unit, beside: None, goal: None }
    }
    /// Beside something, of which the ratio is told.
    #[must_use]
    pub fn beside(mut self, what: &str, value: f64) -> Self {
        self.beside = Some((what.into(), value));
        self
    }
    /// With a least value, or ratio.
    #[must_use]
    pub fn least(mut self, goal: f64) -> Self {
        self.goal = Some(Goal::Least(goal));
        self
    }
    /// With a largest value.
    #[must_use]
    pub fn most(mut self, goal: f64) -> Self {
        self.goal = Some(Goal::Most(goal));
        self
    }
    /// Value beside value.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        self.beside.as_ref().map(|(_, b)| self.value / b)
    }
    /// Whether the goal is reached.
    #[must_use]
    pub fn reached(&self) -> Option<bool> {
        let v = self.ratio().unwrap_or(self.value);
        self.goal.map(|g| match g {
            Goal::Least(n) => v >= n,
            Goal::Most(n) => v <= n,
        })
    }
    /// For people, under the head of [`Rows::text`].
    #[must_use]
    pub fn line(&self) -> String {
        let beside = self.beside.as_ref().map_or(String::new(), |(w, v)| format!("{w} {v:.1}"));
        let ratio = self.ratio().map_or(String::new(), |n| format!("{n:.2}"));
        let goal = self.goal.map_or(String::new(), |g| {
            let (sign, n) = match g {
                Goal::Least(n) => ("≥", n),
                Goal::Most(n) => ("≤", n),
            };
            format!("{sign} {n} {}", if self.reached() == Some(true) { "reached" } else { "NOT reached" })
        });
        format!("{:<46} {:>12.2} {:<8} {beside:<34} {ratio:>6}  {goal}", self.what, self.value, self.unit)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Rows(pub Vec<Row>);

impl Rows {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out =
            format!("{:<46} {:>12} {:<8} {:<34} {:>6}  {}\n", "measure", "value", "", "beside", "ratio", "goal");
        for r in &self.0 {
            out.push_str(&r.line());
            out.push('\n');
        }
        out
    }
    /// For programs: one object a line.
    #[must_use]
    pub fn json(&self) -> String {
        let line = |r: &Row| {
            let goal = r.goal.map(|g| match g {
                Goal::Least(n) => json!({"least": n}),
                Goal::Most(n) => json!({"most": n}),
            });
            let beside = r.beside.as_ref().map(|(w, v)| json!({"what": w, "value": v}));
            json!({"measure": r.what, "value": r.value, "unit": r.unit, "beside": beside, "ratio": r.ratio(),
                "goal": goal, "reached": r.reached()})
            .to_string()
        };
        self.0.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}
