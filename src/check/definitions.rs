//! The definition of a check as a hand-over compares it (`vipcast_node::model::Check::definition`): for each kind a golden
//! text, in `definitions.txt`.
//!
//! A test that fails here means: a program of before the change and one of after it take the same check for another one, and
//! an upgrade between them forgets its history. That happens with a renamed field or type, another type of a value, or
//! another `Debug` form in a dependency. Keep the old name (`Debug` by hand), or raise the version of the form of
//! [`Health`](vipcast_node::frozen::Health), whose older version then compares the older text (`docs/adr/0020`). A new
//! field that is `None`, `false` or empty changes nothing.

use std::fmt::Write as _;

use super::kinds::KINDS;
use crate::config::tests::config;

/// A check of each kind, with most of its keys.
const CHECKS: &str = include_str!("definitions.yaml");
/// The file of their definitions, each on a line. `VIPCAST_WRITE=1` writes it anew.
const GOLDEN: &str = "src/check/definitions.txt";

#[test]
fn every_kind_is_defined_by_the_same_text_as_ever() {
    let config = config(CHECKS);
    let mut definitions = String::new();
    for (name, check) in &config.checks {
        writeln!(definitions, "{name} {:016x} {}", check.digest(), check.definition()).unwrap();
    }
    if std::env::var_os("VIPCAST_WRITE").is_some() {
        std::fs::write(GOLDEN, &definitions).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(GOLDEN).unwrap();
    for (is, was) in definitions.lines().zip(golden.lines()) {
        assert_eq!(is, was, "an upgrade would forget the history of such checks: see the top of this file");
    }
    assert_eq!(definitions.lines().count(), golden.lines().count());
}

#[test]
fn every_kind_has_a_definition_here() {
    let named: Vec<&str> = CHECKS
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split_once(": {"))
        .map(|(_, rest)| rest.split(':').next().unwrap_or_default())
        .collect();
    for kind in KINDS {
        assert!(named.contains(&kind.key.name), "{} is missing", kind.key.name);
    }
}
