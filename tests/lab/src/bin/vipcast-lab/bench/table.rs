//! A table of contenders and quantities. It is the same text on a terminal and in Markdown, and at most 80 columns wide.

use std::fmt::Write as _;

use super::samples::{Samples, number};

/// Terminals have this many columns, and so have tables.
pub(crate) const WIDTH: usize = 80;

/// What was measured of several contenders, side by side.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    columns: Vec<&'static str>,
    /// So many columns, the first ones, show the range beside the median; for more there is no room.
    ranged: usize,
    rows: Vec<Row>,
    /// Rows are compared by the first column.
    compared: bool,
}

#[derive(Debug)]
struct Row {
    label: String,
    /// Work done, by which the first column is divided before rows are compared.
    share: f64,
    cells: Vec<Samples>,
    failures: Vec<String>,
}

impl Table {
    /// A table whose rows are compared by the first column: lower is better. Columns with a range come first.
    pub(crate) fn new(title: impl Into<String>, ranged: &[&'static str], plain: &[&'static str]) -> Self {
        let columns = [ranged, plain].concat();
        Self { title: title.into(), columns, ranged: ranged.len(), rows: Vec::new(), compared: true }
    }

    /// Without the column of ratios: all rows are vipcast.
    #[must_use]
    pub(crate) fn uncompared(self) -> Self {
        Self { compared: false, ..self }
    }

    /// Adds what one round has shown of the row with this label, one value for each column, or why it failed. `share` is
    /// the part of the work that was done.
    pub(crate) fn add(&mut self, label: &str, share: f64, measured: anyhow::Result<Vec<f64>>) {
        let columns = self.columns.len();
        let index = self.rows.iter().position(|row| row.label == label).unwrap_or_else(|| {
            let cells = vec![Samples::default(); columns];
            self.rows.push(Row { label: label.to_owned(), share, cells, failures: Vec::new() });
            self.rows.len() - 1
        });
        let row = &mut self.rows[index];
        match measured {
            Ok(values) => row.cells.iter_mut().zip(values).for_each(|(cell, value)| cell.add(value)),
            Err(error) => row.failures.push(reason(&error)),
        }
    }

    /// The median of a cell.
    pub(crate) fn median(&self, label: &str, column: usize) -> Option<f64> {
        self.rows.iter().find(|row| row.label == label)?.cells.get(column)?.median()
    }

    /// Why rows are missing or incomplete, a line each.
    pub(crate) fn failures(&self) -> Vec<String> {
        let failed = self.rows.iter().filter_map(|row| {
            let reason = row.failures.first()?;
            let rounds = row.failures.len();
            let times = if rounds > 1 { format!(" in {rounds} rounds") } else { String::new() };
            Some(format!("{} failed{times}: {reason}", row.label))
        });
        failed.collect()
    }

    /// Whether vipcast failed somewhere in it.
    pub(crate) fn has_failed(&self) -> bool {
        let is_ours = |row: &Row| !self.compared || row.label.starts_with("vipcast");
        self.rows.iter().any(|row| is_ours(row) && !row.failures.is_empty())
    }

    /// Header, rule and rows as Markdown, with columns that are aligned.
    pub(crate) fn render(&self) -> String {
        let mut header = vec![self.title.clone()];
        header.extend(self.columns.iter().map(|column| (*column).to_owned()));
        if self.compared {
            header.insert(2, "×".to_owned());
        }
        let mut lines = vec![header];
        let best = self.rows.iter().filter_map(Row::cost).min_by(f64::total_cmp);
        for row in &self.rows {
            let mut cells = vec![row.label.clone()];
            cells.extend(row.cells.iter().enumerate().map(|(column, cell)| {
                if cell.median().is_none() && !row.failures.is_empty() {
                    "failed".to_owned()
                } else if column < self.ranged {
                    cell.words()
                } else {
                    cell.middle()
                }
            }));
            if self.compared {
                let ratio =
                    best.zip(row.cost()).filter(|(best, _)| *best > 0.0).map(|(best, cost)| cost / best);
                cells.insert(2, ratio.map_or_else(|| "–".to_owned(), |ratio| number(ratio, ratio)));
            }
            lines.push(cells);
        }
        let widths: Vec<usize> = (0..lines[0].len())
            .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for (index, line) in lines.iter().enumerate() {
            let cells: Vec<String> =
                line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
            // Writing to a string does not fail.
            let _written = writeln!(text, "| {} |", cells.join(" | "));
            if index == 0 {
                let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
                let _written = writeln!(text, "| {} |", rule.join(" | "));
            }
        }
        text
    }
}

impl Row {
    fn cost(&self) -> Option<f64> {
        Some(self.cells.first()?.median()? / self.share)
    }
}

/// The first line of an error with its causes, and not too much of it.
fn reason(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let line = text.lines().next().unwrap_or_default();
    let mut short: String = line.chars().take(200).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short
}

/// Breaks a paragraph at blanks. Lines after the first begin with `indent`.
pub(crate) fn wrap(text: &str, indent: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("it begins with one");
        let is_empty = line.trim().is_empty();
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(format!("{indent}{word}"));
        } else {
            line.push_str(if is_empty { "" } else { " " });
            line.push_str(word);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn rows_are_compared_by_what_a_share_of_the_work_costs() {
        let mut table = Table::new("checks", &["CPU %"], &["PSS MiB"]);
        for value in [7.0, 8.0, 6.0] {
            table.add("vipcast", 1.0, Ok(vec![value, 9.0]));
        }
        table.add("ExaBGP, 5 %", 0.05, Ok(vec![35.0, 400.0]));
        table.add("bird", 1.0, Err(anyhow!("no checks\nat all").context("cannot start")));
        let expected = "\
| checks      | CPU %            | ×    | PSS MiB |
| ----------- | ---------------- | ---- | ------- |
| vipcast     | 7.00 (6.00–8.00) | 1.00 | 9.00    |
| ExaBGP, 5 % | 35.0             | 100  | 400     |
| bird        | failed           | –    | failed  |
";
        assert_eq!(table.render(), expected);
        assert_eq!(table.failures(), ["bird failed: cannot start: no checks"]);
        assert_eq!(table.median("vipcast", 0), Some(7.0));
        assert!(!table.has_failed());
    }

    #[test]
    fn the_widest_row_fits_a_terminal() {
        let mut table = Table::new("half silent", &["CPU %", "PSS MiB"], &["user %", "sys %"]);
        for value in [88.8, 99.9, 44.4] {
            table.add("ExaBGP, 2 %", 1.0, Ok(vec![value, value, value / 10.0, value]));
        }
        let widest = table.render().lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(WIDTH), "{widest:?}\n{}", table.render());
    }

    #[test]
    fn paragraphs_are_broken_at_blanks() {
        let text = "word ".repeat(40);
        let wrapped = wrap(&text, "  ");
        assert!(wrapped.lines().all(|line| line.chars().count() <= WIDTH), "{wrapped}");
        assert!(wrapped.lines().skip(1).all(|line| line.starts_with("  word")), "{wrapped}");
    }
}
