//! A section of the report: prose, tables and plots, as Markdown.

use std::fmt;

/// The column at which prose wraps, as in the other documents of the project.
const MAX_COLUMNS: usize = 100;

/// The result of one measurement.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    /// Description of the measurement. One line per paragraph or list item (`- `).
    pub(crate) text: String,
    pub(crate) tables: Vec<Table>,
    pub(crate) plots: Vec<Plot>,
}

/// A Markdown table.
pub(crate) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// A plot with logarithmic axes.
pub(crate) struct Plot {
    /// The file name without extension.
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    pub(crate) lines: Vec<Line>,
}

/// A line of a plot.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Table {
    pub(crate) fn new<T: Into<String>>(header: impl IntoIterator<Item = T>) -> Self {
        Self { header: header.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    pub(crate) fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "| {} |", self.header.join(" | "))?;
        writeln!(f, "|{}", " --- |".repeat(self.header.len()))?;
        self.rows.iter().try_for_each(|row| writeln!(f, "| {} |", row.join(" | ")))
    }
}

/// The section without its plots, which are separate files.
impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "## {}\n\n{}", self.title, wrap(&self.text))?;
        self.tables.iter().try_for_each(|table| write!(f, "\n{table}"))
    }
}

/// Wraps each line at [`MAX_COLUMNS`]. The continuation lines of a list item are indented.
fn wrap(text: &str) -> String {
    text.lines().map(wrap_line).collect::<Vec<_>>().join("\n")
}

fn wrap_line(line: &str) -> String {
    let indent = if line.starts_with("- ") { "  " } else { "" };
    let (mut wrapped, mut column) = (String::new(), 0);
    for word in line.split(' ') {
        let width = word.chars().count();
        if column == 0 {
            column = width;
        } else if column + 1 + width <= MAX_COLUMNS {
            wrapped.push(' ');
            column += 1 + width;
        } else {
            wrapped.push('\n');
            wrapped.push_str(indent);
            column = indent.len() + width;
        }
        wrapped.push_str(word);
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_paragraphs_and_indents_list_items() {
        let word = "µ".repeat(50);
        assert_eq!(wrap("short\n\n- item"), "short\n\n- item");
        assert_eq!(wrap(&format!("{word} and {word}")), format!("{word} and\n{word}"));
        assert_eq!(wrap(&format!("- {word} and {word}")), format!("- {word} and\n  {word}"));
    }
}
