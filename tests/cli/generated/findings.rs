//! Files made from the findings of `vipcast doctor`: the index of docs/doctor.md, and the schema of its JSON.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use vipcast::doctor::finding::{Id, schema};

use super::super::root;
use super::{LIST_END, settle};

const FINDINGS: &str = "<!-- list of findings -->";

fn index() -> String {
    let mut text = String::from("| finding | severity | |\n| --- | --- | --- |\n");
    for id in Id::ALL {
        let (name, severity, meaning) = (id.name(), id.severity().word(), id.meaning());
        writeln!(text, "| [`{name}`](#{name}) | {severity} | {} |", meaning.trim_end_matches('.'))
            .expect("a string");
    }
    text
}

#[test]
fn the_page_of_the_doctor_has_every_finding_in_its_index_and_a_section_for_each() {
    let path = root().join("docs/doctor.md");
    let page = fs::read_to_string(&path).expect("the page is there");
    let (before, rest) = page.split_once(FINDINGS).expect("it has a place for the index");
    let (_, after) = rest.split_once(LIST_END).expect("the index ends");
    settle(&path, &format!("{before}{FINDINGS}\n{}{LIST_END}{after}", index()));
    let sections: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let missing: Vec<_> =
        Id::ALL.iter().map(|id| id.name()).filter(|name| !sections.contains(name)).collect();
    assert_eq!(missing, [""; 0], "findings without a section");
    let strange: Vec<_> = sections
        .into_iter()
        .filter(|title| {
            title.chars().all(|c| c.is_ascii_lowercase() || c == '-') && Id::named(title).is_none()
        })
        .collect();
    assert_eq!(strange, [""; 0], "sections about no finding");
}

#[test]
fn the_schema_of_findings_is_that_of_the_code() {
    let mut text = serde_json::to_string_pretty(&schema()).expect("plain data");
    text.push('\n');
    settle(&root().join("packaging/vipcast.doctor.schema.json"), &text);
}
