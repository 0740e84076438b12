//! The results of a run: as text on a terminal, and as the page `docs/benchmarks.md`.

use std::fmt;

use super::table::{Table, wrap};

const COMMAND: &str = "cargo run --release -p vipcast-lab -- bench --write docs/benchmarks.md";

/// One bench: what was done, tables, and what is to be said of them.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    /// What is measured and how: a paragraph.
    pub(crate) text: String,
    pub(crate) tables: Vec<Table>,
    /// Results that are no table.
    pub(crate) remarks: Vec<String>,
    /// Who is not in it, and why.
    pub(crate) absent: Vec<String>,
}

impl Section {
    fn lines(&self) -> String {
        let mut parts = vec![wrap(&self.text, "")];
        parts.extend(self.tables.iter().map(|table| table.render().trim_end().to_owned()));
        let failures = self.tables.iter().flat_map(Table::failures);
        let remarks: Vec<String> =
            (self.remarks.iter().cloned().chain(failures).chain(self.absent.iter().cloned()))
                .map(|remark| wrap(&format!("* {remark}"), "  "))
                .collect();
        if !remarks.is_empty() {
            parts.push(remarks.join("\n"));
        }
        parts.join("\n\n")
    }
}

/// A whole run.
#[derive(Debug)]
pub(crate) struct Report {
    /// Cores and kernel.
    pub(crate) machine: String,
    /// Names and versions of all that took part.
    pub(crate) versions: Vec<String>,
    /// What is not installed.
    pub(crate) missing: Vec<String>,
    pub(crate) rounds: u32,
    pub(crate) quick: bool,
    pub(crate) sections: Vec<Section>,
}

impl Report {
    /// Whether vipcast failed in any bench. What others fail at is theirs.
    pub(crate) fn has_failed(&self) -> bool {
        self.sections.iter().flat_map(|section| &section.tables).any(Table::has_failed)
    }

    /// The page, in Markdown.
    pub(crate) fn page(&self) -> String {
        let mut parts = vec![
            "# What it costs".to_owned(),
            wrap(
                "vipcast beside programs that do a part of its work, measured by one command, which also writes this page. It needs \
                 root, and names what is not installed:",
                "",
            ),
            format!(
                "```sh\n{COMMAND}\ncargo run --release -p vipcast-lab -- bench announce bind --rounds 9\n```"
            ),
            self.preface(),
        ];
        for section in &self.sections {
            parts.push(format!("## {}", section.title));
            parts.push(section.lines());
        }
        parts.join("\n\n") + "\n"
    }

    fn preface(&self) -> String {
        let quick = "This run was a quick one: it shows that everything works, and its numbers mean nothing.";
        let scale = format!(
            "Each number is the median of {} rounds, with the lowest and the highest in brackets. Times depend on the \
             machine and on what else runs there; compare what stands side by side: the column × is how many times the \
             best of the table a contender takes, for the same work.",
            self.rounds
        );
        let mut lines = vec![wrap(if self.quick { quick } else { &scale }, ""), String::new()];
        lines.push(format!("* machine: {}", self.machine));
        lines.push(wrap(&format!("* versions: {}", self.versions.join(", ")), "  "));
        lines.extend(self.missing.iter().map(|missing| wrap(&format!("* {missing}"), "  ")));
        lines.join("\n")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.preface())?;
        for section in &self.sections {
            writeln!(f, "\n{}\n\n{}", section.title, section.lines())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_what_failed_and_who_is_absent_below_the_tables() {
        let mut table = Table::new("", &["s"], &[]);
        table.add("vipcast", 1.0, Ok(vec![0.5]));
        let section = Section {
            title: "Announcing",
            text: "Until counted.".to_owned(),
            tables: vec![table],
            remarks: Vec::new(),
            absent: vec!["haproxy: it speaks no BGP".to_owned()],
        };
        let expected = "\
Until counted.

|         | s    | ×    |
| ------- | ---- | ---- |
| vipcast | 0.50 | 1.00 |

* haproxy: it speaks no BGP";
        assert_eq!(section.lines(), expected);
    }
}
