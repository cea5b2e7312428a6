//! The table on the screen and the list in the file.

use std::{fs, path::Path};

use serde::Serialize;

use crate::Failure;

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// It is only told.
    None,
    /// At most so many times the floor.
    AtMostFloor(f64),
    /// At most this.
    AtMost(f64),
    /// At least this, and at least this part of the floor.
    AtLeast(f64, f64),
}

impl Goal {
    fn text(self) -> String {
        match self {
            Self::None => String::new(),
            Self::AtMostFloor(ratio) => format!("<= {ratio} x floor"),
            Self::AtMost(most) => format!("<= {most}"),
            Self::AtLeast(least, ratio) => format!(">= {least} and >= {ratio} x floor"),
        }
    }

    fn met(self, floor: Option<f64>, ours: f64) -> bool {
        let ratio = floor.map_or(f64::NAN, |floor| ours / floor);
        match self {
            Self::None => true,
            Self::AtMostFloor(most) => ratio <= most,
            Self::AtMost(most) => ours <= most,
            Self::AtLeast(least, part) => ours >= least && ratio >= part,
        }
    }
}

/// One line.
#[derive(Debug, Serialize)]
struct Line {
    measure: String,
    unit: &'static str,
    floor: Option<f64>,
    ours: f64,
    ratio: Option<f64>,
    goal: String,
    met: bool,
}

/// All lines.
#[derive(Debug, Default)]
pub struct Report(Vec<Line>);

impl Report {
    /// Adds a figure that was just taken, and the floor's where there is one, and says so.
    pub fn add(&mut self, measure: &str, unit: &'static str, floor: Option<f64>, ours: f64, goal: Goal) {
        self.list(measure, unit, floor, ours, goal);
        self.0.last().iter().for_each(|line| eprintln!("  {}", line.text()));
    }

    /// Adds a figure that was said before.
    pub fn list(&mut self, measure: &str, unit: &'static str, floor: Option<f64>, ours: f64, goal: Goal) {
        let ratio = floor.map(|floor| ours / floor);
        let met = goal.met(floor, ours);
        self.0.push(Line { measure: measure.to_owned(), unit, floor, ours, ratio, goal: goal.text(), met });
    }

    /// True when every goal is met.
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
        println!("{:<58} {:<6} {:>9} {:>9} {:>6}  goal", "measure", "unit", "floor", "ours", "ratio");
        for line in &self.0 {
            println!("{}", line.text());
        }
    }
}

impl Line {
    fn text(&self) -> String {
        let digits = |value: f64| if value.abs() < 10.0 { 2 } else { 1 };
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.*}", digits(value)));
        let ratio = self.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let missed = if self.met { "" } else { "  MISSED" };
        let Self { measure, unit, goal, .. } = self;
        let text = format!("{measure:<58} {unit:<6} {:>9} {:>9} {ratio:>6}  {goal}{missed}", number(self.floor), number(Some(self.ours)));
        text.trim_end().to_owned()
    }
}
