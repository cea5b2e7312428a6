//! Tables as kubectl prints them: upper-case headers, columns three blanks apart, no lines.
//!
//! The text of a cell may come from any user, so it is made printable here (T13), and widths are counted in terminal columns. On a narrow
//! terminal free text is cut first; if that is not enough, each row is printed as several lines.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::paint::{Paint, painted};
use api::text::printable;

const GAP: usize = 3;
/// The minimum width of a free text.
const LEAST_FREE: usize = 12;
/// The text of an empty cell.
const NONE: &str = "<none>";

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    title: &'static str,
    wide: bool,
    free: bool,
}

impl Column {
    /// A column that is always shown.
    #[must_use]
    pub const fn new(title: &'static str) -> Self {
        Self { title, wide: false, free: false }
    }

    /// Shows the column only with `-o wide`.
    #[must_use]
    pub const fn wide(self) -> Self {
        Self { wide: true, ..self }
    }

    /// Marks a text that may be cut on a terminal.
    #[must_use]
    pub const fn free(self) -> Self {
        Self { free: true, ..self }
    }

    /// The cell of a row in this column.
    pub fn of(self, text: impl AsRef<str>) -> (Self, Cell) {
        self.painted(text, Paint::Plain)
    }

    /// The same in a colour.
    pub fn painted(self, text: impl AsRef<str>, paint: Paint) -> (Self, Cell) {
        (self, Cell { text: printable(text.as_ref()), paint })
    }
}

/// A cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    paint: Paint,
}

/// A table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// The options for rendering a table.
#[derive(Clone, Copy, Debug, Default)]
pub struct TableOptions {
    /// The width of the terminal; without a terminal nothing is cut.
    pub width: Option<usize>,
    /// Whether to use colour.
    pub colour: bool,
    /// Whether to show the columns of `-o wide`.
    pub wide: bool,
    /// Whether to omit the headers.
    pub bare: bool,
}

impl Table {
    /// Adds a row. All rows of a table have the same columns.
    pub fn push(&mut self, row: impl IntoIterator<Item = (Column, Cell)>) {
        let (columns, cells) = row.into_iter().unzip();
        self.columns = columns;
        self.rows.push(cells);
    }

    /// True without rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Renders the table.
    #[must_use]
    pub fn render(&self, options: TableOptions) -> String {
        let shown: Vec<(usize, Column)> =
            self.columns.iter().copied().enumerate().filter(|(_, column)| options.wide || !column.wide).collect();
        let rows: Vec<Vec<&Cell>> = self.rows.iter().map(|row| shown.iter().filter_map(|(i, _)| row.get(*i)).collect()).collect();
        let natural: Vec<usize> = shown
            .iter()
            .enumerate()
            .map(|(i, (_, column))| {
                rows.iter().filter_map(|row| row.get(i)).map(|cell| width(shown_as(cell))).chain([column.title.len()]).max().unwrap_or(0)
            })
            .collect();
        let columns: Vec<Column> = shown.into_iter().map(|(_, column)| column).collect();
        match fitted(&columns, natural, options.width) {
            Some(widths) => in_columns(&columns, &rows, &widths, options),
            None => stacked(&columns, &rows, options),
        }
    }
}

fn shown_as(cell: &Cell) -> &str {
    if cell.text.is_empty() { NONE } else { &cell.text }
}

/// The widths of the columns; none if even cut texts do not fit.
fn fitted(columns: &[Column], mut widths: Vec<usize>, limit: Option<usize>) -> Option<Vec<usize>> {
    let Some(limit) = limit else { return Some(widths) };
    let gaps = GAP * columns.len().saturating_sub(1);
    let mut surplus = (widths.iter().sum::<usize>() + gaps).saturating_sub(limit);
    while surplus > 0 {
        // Cuts the widest free text.
        let widest = columns
            .iter()
            .zip(widths.iter_mut())
            .filter(|(column, width)| column.free && **width > LEAST_FREE)
            .map(|(_, width)| width)
            .max()?;
        *widest -= 1;
        surplus -= 1;
    }
    Some(widths)
}

fn in_columns(columns: &[Column], rows: &[Vec<&Cell>], widths: &[usize], options: TableOptions) -> String {
    let mut lines = Vec::new();
    if !options.bare {
        let titles = columns.iter().zip(widths).map(|(column, width)| padded(column.title, *width, Paint::Plain, options.colour));
        lines.push(titles.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned());
    }
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| padded(shown_as(cell), *width, cell.paint, options.colour));
        lines.push(cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned());
    }
    lines.join("\n")
}

fn padded(text: &str, to: usize, paint: Paint, colour: bool) -> String {
    let text = cut(text, to);
    let blanks = to.saturating_sub(width(&text));
    format!("{}{}", painted(&text, paint, colour), " ".repeat(blanks))
}

/// Each row as lines of header and text.
fn stacked(columns: &[Column], rows: &[Vec<&Cell>], options: TableOptions) -> String {
    let widest = columns.iter().map(|column| column.title.len()).max().unwrap_or(0);
    let row = |row: &Vec<&Cell>| {
        let lines = columns
            .iter()
            .zip(row)
            .map(|(column, cell)| format!("{:widest$}  {}", column.title, painted(shown_as(cell), cell.paint, options.colour)));
        lines.collect::<Vec<_>>().join("\n")
    };
    rows.iter().map(row).collect::<Vec<_>>().join("\n\n")
}

/// The width of a text on a terminal.
#[must_use]
pub fn width(text: &str) -> usize {
    text.width()
}

/// Wraps `text` at this width, but not below twenty columns.
#[must_use]
pub fn wrapped(text: &str, to: usize) -> Vec<String> {
    let to = to.max(20);
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for letter in text.chars() {
        let columns = letter.width().unwrap_or(0);
        if used + columns > to {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        line.push(letter);
        used += columns;
    }
    lines.push(line);
    lines
}

/// Cuts a text to this width, with a mark.
#[must_use]
pub fn cut(text: &str, to: usize) -> String {
    if width(text) <= to {
        return text.to_owned();
    }
    let mut left = to.saturating_sub(1);
    let mut kept = String::new();
    for letter in text.chars() {
        let wide = letter.width().unwrap_or(0);
        if wide > left {
            break;
        }
        left -= wide;
        kept.push(letter);
    }
    kept + "…"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use api::text::is_forbidden;

    fn table(rows: &[(&str, &str, &str)]) -> Table {
        let mut table = Table::default();
        for (name, uid, reason) in rows {
            table.push([Column::new("NAME").of(name), Column::new("UID").wide().of(uid), Column::new("REASON").free().of(reason)]);
        }
        table
    }

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let table = table(&[("a", "1", "日本語 の理由"), ("longer-name", "", "x")]);
        assert_eq!(table.render(TableOptions::default()), "NAME          REASON\na             日本語 の理由\nlonger-name   x");
        assert_eq!(
            table.render(TableOptions { wide: true, ..TableOptions::default() }),
            "NAME          UID      REASON\na             1        日本語 の理由\nlonger-name   <none>   x"
        );
        assert_eq!(table.render(TableOptions { bare: true, ..TableOptions::default() }), "a             日本語 の理由\nlonger-name   x");
    }

    #[test]
    fn a_narrow_terminal_cuts_reasons_and_then_stacks() {
        let table = table(&[("short", "", "a reason that is written at length")]);
        assert_eq!(
            table.render(TableOptions { width: Some(30), ..TableOptions::default() }),
            "NAME    REASON\nshort   a reason that is writ…"
        );
        let name = "n".repeat(253);
        let table = table_of(&name);
        assert_eq!(table.render(TableOptions { width: Some(40), ..TableOptions::default() }), format!("NAME    {name}\nREASON  why"));
    }

    fn table_of(name: &str) -> Table {
        table(&[(name, "", "why")])
    }

    proptest! {
        #[test]
        fn t13_nothing_reaches_the_terminal_raw_and_nothing_breaks_the_lines(
            rows in prop::collection::vec((any::<String>(), any::<String>(), any::<String>()), 0..6), at in prop::option::of(1_usize..120)
        ) {
            let rows: Vec<(&str, &str, &str)> = rows.iter().map(|(a, b, c)| (a.as_str(), b.as_str(), c.as_str())).collect();
            let said = table(&rows).render(TableOptions { width: at, ..TableOptions::default() });
            prop_assert!(!said.chars().any(|c| c != '\n' && is_forbidden(c)), "{said:?}");
            let columns = said.starts_with("NAME   ") && said.lines().next().is_some_and(|line| line.contains("REASON"));
            if columns {
                prop_assert_eq!(said.lines().count(), rows.len() + 1);
            }
        }
    }
}
