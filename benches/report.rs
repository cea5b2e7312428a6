//! The table on the screen and the list in the file.

use std::{fs, path::Path};

use serde::Serialize;

use crate::Failure;

/// The goal of a figure.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// The figure is only reported.
    None,
    /// At most this many times the baseline.
    AtMostFloor(f64),
    /// At most this many times the plain client under the policies.
    AtMostGuarded(f64),
    /// At least this fraction of the plain client under the policies.
    AtLeastGuarded(f64),
    /// At most this value.
    AtMost(f64),
}

impl Goal {
    fn text(self) -> String {
        match self {
            Self::None => String::new(),
            Self::AtMostFloor(ratio) => format!("<= {ratio} x floor"),
            Self::AtMostGuarded(ratio) => format!("<= {ratio} x guarded"),
            Self::AtLeastGuarded(ratio) => format!(">= {ratio} x guarded"),
            Self::AtMost(most) => format!("<= {most}"),
        }
    }

    fn met(self, baseline: Baseline, ours: f64) -> bool {
        let ratio = |of: Option<f64>| of.map_or(f64::NAN, |of| ours / of);
        match self {
            Self::None => true,
            Self::AtMostFloor(most) => ratio(baseline.floor) <= most,
            Self::AtMostGuarded(most) => ratio(baseline.guarded) <= most,
            Self::AtLeastGuarded(part) => ratio(baseline.guarded) >= part,
            Self::AtMost(most) => ours <= most,
        }
    }
}

/// The figures that a figure is compared with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Baseline {
    /// A plain client on the bare API server.
    pub floor: Option<f64>,
    /// A plain client under the policies, making the same writes.
    pub guarded: Option<f64>,
}

impl Baseline {
    /// There is no figure to compare with.
    pub const NONE: Self = Self { floor: None, guarded: None };

    /// Only the bare baseline.
    pub const fn floor(floor: f64) -> Self {
        Self { floor: Some(floor), guarded: None }
    }

    /// Both.
    pub const fn both(floor: f64, guarded: f64) -> Self {
        Self { floor: Some(floor), guarded: Some(guarded) }
    }
}

/// One line.
#[derive(Debug, Serialize)]
struct Line {
    measure: String,
    unit: &'static str,
    floor: Option<f64>,
    guarded: Option<f64>,
    ours: f64,
    ratio: Option<f64>,
    guarded_ratio: Option<f64>,
    goal: String,
    met: bool,
}

/// All lines.
#[derive(Debug, Default)]
pub struct Report(Vec<Line>);

impl Report {
    /// Adds a figure that was just measured, with the figures to compare it with, and prints it.
    pub fn add(&mut self, measure: &str, unit: &'static str, baseline: Baseline, ours: f64, goal: Goal) {
        self.list(measure, unit, baseline, ours, goal);
        self.0.last().iter().for_each(|line| eprintln!("  {}", line.text()));
    }

    /// Adds a figure that was printed before.
    pub fn list(&mut self, measure: &str, unit: &'static str, baseline: Baseline, ours: f64, goal: Goal) {
        let Baseline { floor, guarded } = baseline;
        let ratio = |of: Option<f64>| of.map(|of| ours / of);
        let (ratio, guarded_ratio, met) = (ratio(floor), ratio(guarded), goal.met(baseline, ours));
        self.0.push(Line { measure: measure.to_owned(), unit, floor, guarded, ours, ratio, guarded_ratio, goal: goal.text(), met });
    }

    /// Returns true when every goal is met.
    pub fn met(&self) -> bool {
        self.0.iter().all(|line| line.met)
    }

    /// Writes the list.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, serde_json::to_string_pretty(&self.0)? + "\n")?;
        Ok(())
    }

    /// Prints the table.
    pub fn print(&self) {
        println!("{:<70} {:<6} {:>9} {:>9} {:>9} / floor / guarded  goal", "measure", "unit", "floor", "guarded", "product");
        for line in &self.0 {
            println!("{}", line.text());
        }
    }
}

impl Line {
    fn text(&self) -> String {
        let digits = |value: f64| if value.abs() < 10.0 { 2 } else { 1 };
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.*}", digits(value)));
        let ratio = |ratio: Option<f64>| ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let missed = if self.met { "" } else { "  MISSED" };
        let Self { measure, unit, goal, .. } = self;
        let text = format!(
            "{measure:<70} {unit:<6} {:>9} {:>9} {:>9} {:>7} {:>9}  {goal}{missed}",
            number(self.floor),
            number(self.guarded),
            number(Some(self.ours)),
            ratio(self.ratio),
            ratio(self.guarded_ratio),
        );
        text.trim_end().to_owned()
    }
}
