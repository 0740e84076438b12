//! What is made from the code and committed: the tables of the reference, the schema, the document of the API, and all that is made
//! from the commands and from the findings of `doctor`.
//! `tests/run --write` writes it anew.
//!
//! A table stands between `<!-- keys: SECTION -->` and `<!-- end of keys -->`; with `<!-- keys: SECTION: KEY KEY -->` it has these
//! keys alone. `docs/checks.md` has the list of the kinds of check, and the page of each, `page.md` of its folder, in which a table
//! is the line that names it. `docs/metrics.md` has every family of metrics.

mod commands;
mod findings;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::Path;

use vipcast::config::keys::{schema, table};
use vipcast::control::api::EventKind;
use vipcast::control::openapi;
use vipcast::metrics::{FAMILIES, Kind};

use super::root;

/// Set by `tests/run --write`.
const WRITE: &str = "VIPCAST_WRITE";
const END: &str = "<!-- end of keys -->";
const LIST: &str = "<!-- list of kinds -->";
const LIST_END: &str = "<!-- end of list -->";
const METRICS: &str = "<!-- metrics -->";
const METRICS_END: &str = "<!-- end of metrics -->";
const KINDS: &str = "<!-- kinds -->";
const KINDS_END: &str = "<!-- end of kinds -->";

#[test]
fn every_kind_of_event_is_in_the_page_of_hooks() {
    let page = fs::read_to_string(root().join("docs/hooks.md")).expect("the page is there");
    let kinds = EventKind::KNOWN.iter().map(EventKind::word);
    let missing: Vec<&str> = kinds.filter(|kind| !page.contains(&format!("\n| `{kind}` | "))).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

/// Compares a file with what it should be, or writes it.
fn settle(path: &Path, text: &str) {
    let name = path.strip_prefix(root()).unwrap_or(path).display();
    if env::var_os(WRITE).is_some() {
        fs::write(path, text).unwrap_or_else(|error| panic!("cannot write {name}: {error}"));
        return;
    }
    let there = fs::read_to_string(path).unwrap_or_default();
    let differs = there.lines().zip(text.lines()).position(|(there, made)| there != made);
    let line = differs.unwrap_or_else(|| there.lines().count().min(text.lines().count())) + 1;
    assert!(there == text, "{name} is stale from line {line} on: run `tests/run --write`");
}

/// A page with its tables made anew, and the keys that they explain.
fn made(page: &str, explained: &mut BTreeSet<(String, String)>) -> String {
    let mut text = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        text.push_str(line);
        text.push('\n');
        if line == LIST {
            text.push_str(&table::kinds());
            skip(&mut lines, LIST_END, &mut text);
        } else if line == KINDS {
            for kind in table::names_of_kinds() {
                text.push_str(&made(&section(kind), explained));
            }
            skip(&mut lines, KINDS_END, &mut text);
        }
        let named = line.strip_prefix("<!-- keys: ").and_then(|rest| rest.strip_suffix(" -->"));
        let Some(named) = named else { continue };
        let (section, keys) = named.split_once(": ").unwrap_or((named, ""));
        let keys: Vec<&str> = keys.split_whitespace().collect();
        let rows = table::of(section, &keys).unwrap_or_else(|| panic!("no such keys: {named}"));
        let names = rows.lines().skip(2).filter_map(|row| row.split('`').nth(1));
        explained.extend(names.map(|name| (section.to_owned(), name.to_owned())));
        text.push_str(&rows);
        skip(&mut lines, END, &mut text);
    }
    text
}

/// Passes over what was made before.
fn skip<'a>(lines: &mut impl Iterator<Item = &'a str>, end: &str, text: &mut String) {
    assert!(lines.any(|line| line == end), "there is no line {end}");
    text.push_str(end);
    text.push('\n');
}

/// What the reference has of a kind of check.
fn section(kind: &str) -> String {
    let path = root().join("src/check/kinds").join(kind).join("page.md");
    let page = fs::read_to_string(&path).unwrap_or_else(|error| panic!("no page of {kind}: {error}"));
    let example = page.split("```yaml\n").nth(1).and_then(|rest| rest.split_once("```"));
    let (example, _) = example.unwrap_or_else(|| panic!("no example of {kind}"));
    assert!(example.contains(&format!("{kind}: ")), "the example of {kind} has another kind");
    let mut text = format!("\n## `{kind}`\n\n");
    for line in page.lines() {
        text.push_str(line);
        text.push('\n');
        if line.starts_with("<!-- keys: ") {
            text.push_str(END);
            text.push('\n');
        }
    }
    text
}

#[test]
fn the_tables_of_the_reference_are_those_of_the_code_and_have_every_key() {
    let mut explained = BTreeSet::new();
    for page in ["config.md", "checks.md", "hooks.md", "transport.md"] {
        let path = root().join("docs").join(page);
        let there = fs::read_to_string(&path).expect("the page is there");
        settle(&path, &made(&there, &mut explained));
    }
    // The kinds of a check have a table of their own, and what holds many things is explained in the text.
    let kinds: BTreeSet<&str> = ["check"].into();
    let missing: Vec<_> = table::keys()
        .filter(|(section, key)| !explained.contains(&((*section).to_owned(), (*key).to_owned())))
        .filter(|(section, _)| !kinds.contains(section))
        .collect();
    assert_eq!(missing, [], "keys that no table of the reference explains");
}

#[test]
fn the_table_of_metrics_is_that_of_the_code() {
    let path = root().join("docs/metrics.md");
    let page = fs::read_to_string(&path).expect("the page is there");
    let (before, rest) = page.split_once(METRICS).expect("the place of the table");
    let (_, after) = rest.split_once(METRICS_END).expect("the end of the table");
    let mut table = "\n| metric | type | labels | |\n| --- | --- | --- | --- |\n".to_owned();
    for family in FAMILIES {
        let (kind, end) = match family.kind {
            Kind::Gauge => ("gauge", ""),
            Kind::Counter => ("counter", "_total"),
            Kind::Histogram => ("histogram", ""),
        };
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        table +=
            &format!("| `{}{end}` | {kind} | {} | {} |\n", family.name, labels.join(", "), family.help());
    }
    settle(&path, &format!("{before}{METRICS}{table}{METRICS_END}{after}"));
}

#[test]
fn the_schema_and_the_document_of_the_api_are_those_of_the_code() {
    for (name, made) in [("schema", schema::schema()), ("openapi", openapi::document())] {
        let mut text = serde_json::to_string_pretty(&made).expect("plain data");
        text.push('\n');
        settle(&root().join(format!("packaging/vipcast.{name}.json")), &text);
    }
}
