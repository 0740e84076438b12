//! Every diagnostic of a configuration, as the operator sees it.

pub(crate) mod mistakes;

use std::fmt::Write as _;

use proptest::prelude::*;
use vipcast::config::keys::table;
use vipcast::config::{self, Diagnostics, Loaded, Severity};

use self::mistakes::WRONG;

/// What is printed for a text: the diagnostics, or the warnings of a valid configuration.
fn said(text: &str) -> String {
    match config::parse("vipcast.yaml", text) {
        Ok(Loaded { warnings, .. }) if warnings.is_empty() => String::from("(valid)\n"),
        Ok(Loaded { warnings, .. }) => format!("(valid)\n{warnings}"),
        Err(diagnostics) => diagnostics.to_string(),
    }
}

pub(crate) const FIVE_MISTAKES: &str = "\
local_as: 65001

peers:
  tor-a:
    adress: 192.0.2.1
    peer_as: 65000
    hold_time: 9

checks:
  web:
    http: {url: \"http://127.0.0.1:8080/healthz\"}
    timeout: 2s

services:
  www:
    vips: [198.51.100.10/24]
    checks: [wbe]
";

#[test]
fn five_mistakes_are_reported_in_one_run() {
    let found = config::parse("/etc/vipcast/vipcast.yaml", FIVE_MISTAKES).expect_err("it has five mistakes");
    insta::assert_snapshot!("five_mistakes", found.to_string());
    insta::assert_snapshot!("five_mistakes_json", serde_json::to_string_pretty(&found).expect("plain data"));
    assert_eq!(found.summary(), "5 errors in vipcast.yaml");
}

#[test]
fn colour_adds_escape_sequences_and_nothing_else() {
    let found = config::parse("vipcast.yaml", FIVE_MISTAKES).expect_err("it has five mistakes");
    let coloured = found.render(true);
    assert!(coloured.contains("\u{1b}["), "{coloured}");
    assert_eq!(without_escapes(&coloured), found.render(false));
}

fn without_escapes(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest);
    }
    plain + rest
}

/// A configuration with one peer, one check and one service, one of which is what is under test.
pub(crate) fn around(section: &str, text: &str) -> String {
    let indented = |depth: usize| {
        text.lines().fold(String::new(), |mut out, line| {
            let _ = writeln!(out, "{:depth$}{line}", "");
            out
        })
    };
    let peers = "peers: {tor: {address: 192.0.2.1, peer_as: 65000}}\n";
    let checks = "checks: {up: {tcp: \"127.0.0.1:80\"}}\n";
    let services = "services: {web: {vips: [198.51.100.1], checks: [up]}}\n";
    match section {
        "top" => format!("local_as: 65001\n{}{peers}{checks}{services}", indented(0)),
        "peer" => format!("local_as: 65001\npeers:\n  tor:\n{}{checks}{services}", indented(4)),
        "peers" => format!("local_as: 65001\n{}{checks}{services}", indented(0)),
        "check" => {
            format!("local_as: 65001\n{peers}checks:\n  up:\n{}{services}", indented(4))
        }
        "service" => format!("local_as: 65001\n{peers}{checks}services:\n  web:\n{}", indented(4)),
        "services" => format!("local_as: 65001\n{peers}{checks}services:\n{}", indented(2)),
        "all" => text.to_owned(),
        other => panic!("there is no section {other}"),
    }
}

#[test]
fn every_diagnostic_as_the_operator_sees_it() {
    let mut all = String::new();
    for (section, text) in WRONG {
        let _ =
            write!(all, "════ {section}: {}\n\n{}\n", text.replace('\n', "⏎"), said(&around(section, text)));
    }
    insta::assert_snapshot!(all);
}

/// Not part of the snapshot, which need not change with every kind of check.
#[test]
fn a_kind_that_is_not_known_is_answered_with_every_kind() {
    let text = around("check", "snmp: {name: example.com}");
    let found = config::parse("vipcast.yaml", &text).expect_err("there is no such kind");
    let [unknown] = &found.iter().collect::<Vec<_>>()[..] else { panic!("{found}") };
    assert_eq!(unknown.message, "unknown key `snmp`");
    let kinds: Vec<String> = table::names_of_kinds().map(|kind| format!("`{kind}`")).collect();
    let hint = format!("possible keys under a check: {}, `host`, ", kinds.join(", "));
    assert!(unknown.hint.as_ref().is_some_and(|found| found.starts_with(&hint)), "{unknown:?}");
}

#[test]
fn nothing_said_quotes_a_secret() {
    let mut quoted = 0;
    for (section, text) in WRONG.iter().filter(|(_, text)| text.contains("hunter")) {
        let text = around(section, text);
        let found = match config::parse("vipcast.yaml", &text) {
            Ok(loaded) => loaded.warnings,
            Err(found) => found,
        };
        let json = serde_json::to_string(&found).expect("plain data");
        assert!(!found.is_empty() && !json.contains("hunter"), "{json}");
        assert!(!found.to_string().contains("hunter"), "{found}");
        assert!(!format!("{found:?}").contains("hunter"), "a debugger's view has it: {found:?}");
        quoted += 1;
    }
    assert!(quoted >= 12, "only {quoted} of them");
}

#[test]
fn nothing_said_is_wider_than_a_terminal_or_ends_in_a_period() {
    for (section, text) in WRONG {
        let text = around(section, text);
        let found = match config::parse("vipcast.yaml", &text) {
            Ok(loaded) => loaded.warnings,
            Err(found) => found,
        };
        assert!(!found.is_empty(), "nothing is said about {text}");
        for diagnostic in &found {
            for said in [Some(&diagnostic.message), diagnostic.hint.as_ref(), diagnostic.label.as_ref()] {
                assert!(said.is_none_or(|said| !said.ends_with('.')), "{said:?} ends in a period");
            }
        }
        for line in found.to_string().lines().filter(|line| !line.contains('|')) {
            assert!(line.chars().count() <= 80, "this line is too long: {line}");
        }
    }
}

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        let _ = writeln!(text, "a{level}: &a{level} [{aliases}]");
    }
    insta::assert_snapshot!(said(&text));
}

#[test]
fn deep_nesting_is_refused() {
    insta::assert_snapshot!("deep_list", said(&format!("peers: {}", "[".repeat(100_000))));
    insta::assert_snapshot!("deep_map", said(&format!("peers: {}", "{a: ".repeat(1000))));
    let block = (0..2000).fold(String::new(), |mut text, depth| {
        let _ = writeln!(text, "{:depth$}a:", "");
        text
    });
    insta::assert_snapshot!("deep_block", said(&block));
}

#[test]
fn a_huge_scalar_is_shown_in_part() {
    let text = format!("local_as: {}\n", "9".repeat(8 << 20));
    let said = said(&text);
    assert!(said.len() < 2000, "{} bytes are too much to read", said.len());
    assert!(said.contains("found `9999999999999999999999999999999999999999…`"), "{said}");
}

#[test]
fn a_thousand_mistakes_are_counted_and_a_hundred_shown() {
    let text = (0..1000).fold(String::from("local_as: 65001\npeers:\n"), |mut text, n| {
        let _ = writeln!(text, "  tor-{n}: {{address: 192.0.2.{n}, peer_as: 65000, mode: passive}}");
        text
    });
    let found = config::parse("vipcast.yaml", &text).expect_err("it is full of mistakes");
    assert_eq!(found.count(Severity::Error), 1000 + (1000 - 256));
    let said = found.render(false);
    assert_eq!(said.matches("error: ").count(), 99, "and one warning");
    assert!(said.contains("… and 1645 more"), "{}", &said[said.len() - 200..]);
}

#[test]
fn a_line_of_json_is_a_configuration_too() {
    let text = r#"{"local_as": 65001, "peers": {"tor": {"address": "192.0.2.1", "peer_as": 65000}},
	"checks": {"up": {"tcp": "127.0.0.1:80", "interval": "1s"}},
	"services": {"web": {"vips": ["198.51.100.1"], "checks": ["up"]}}}"#;
    assert_eq!(said(text), "(valid)\n");
}

#[test]
fn anchors_and_merge_keys_work() {
    let text = "\
local_as: 65001
peers: {tor: {address: 192.0.2.1, peer_as: 65000}}
checks:
  a: &defaults {tcp: \"127.0.0.1:80\", interval: 5s, rise: 3}
  b: {<<: *defaults, tcp: \"127.0.0.1:81\", rise: 4}
services:
  web: {vips: [198.51.100.1], checks: [a, b]}
";
    let loaded = config::parse("vipcast.yaml", text).unwrap_or_else(|found| panic!("{found}"));
    let b = &loaded.config.checks["b"];
    assert_eq!((b.interval.as_secs(), b.rise.get()), (5, 4));
}

/// Every span of a finding lies inside the text that it points into, at characters.
fn spans_are_inside(found: &Diagnostics) {
    for diagnostic in found {
        let spans = diagnostic.span.iter().chain(diagnostic.secondary.iter().map(|(span, _)| span));
        for span in spans {
            let text = found.text(span.file);
            assert!(text.get(span.start..span.end).is_some(), "{span:?} is outside of the text");
        }
    }
}

/// What happens to a text on its way to us.
#[derive(Debug, Clone)]
enum Mutation {
    Remove(prop::sample::Index, usize),
    Insert(prop::sample::Index, String),
    Repeat(prop::sample::Index, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            " ",
            "\n",
            "\n  ",
            ":",
            ": ",
            "- ",
            "[",
            "]",
            "{",
            "}",
            "&a ",
            "*a",
            "<<: ",
            "!t ",
            "|\n",
            ">\n",
            "\"",
            "'",
            "#",
            "\t",
            "~",
            "0",
            "-1",
            "1e9",
            "é",
            "\u{1F600}",
            "\u{feff}",
            "\r\n",
            "? ",
            "---\n",
            "::",
            "/",
            "%",
            "\0",
        ])
        .prop_map(String::from),
        ".{0,6}",
    ];
    prop_oneof![
        (any::<prop::sample::Index>(), 1..20_usize).prop_map(|(at, length)| Mutation::Remove(at, length)),
        (any::<prop::sample::Index>(), piece).prop_map(|(at, piece)| Mutation::Insert(at, piece)),
        (any::<prop::sample::Index>(), 1..80_usize).prop_map(|(at, length)| Mutation::Repeat(at, length)),
    ]
}

/// The offset, or the nearest before it that a text can be cut at.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}

fn mutate(text: &mut String, mutation: &Mutation) {
    let place = |text: &str, index: &prop::sample::Index| boundary(text, index.index(text.len() + 1));
    match mutation {
        Mutation::Remove(index, length) => {
            let start = place(text, index);
            let end = boundary(text, start + length);
            text.replace_range(start..end, "");
        }
        Mutation::Insert(index, piece) => text.insert_str(place(text, index), piece),
        Mutation::Repeat(index, length) => {
            let start = place(text, index);
            let end = boundary(text, start + length);
            let piece = text[start..end].to_owned();
            text.insert_str(end, &piece);
        }
    }
}

const STARTS: [&str; 3] = [
    include_str!("../../examples/two-tors-dual-stack.yaml"),
    include_str!("../../examples/exec-and-demote.yaml"),
    FIVE_MISTAKES,
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_configuration_never_panics_and_is_pointed_into(
        start in prop::sample::select(STARTS.to_vec()),
        mutations in prop::collection::vec(mutation(), 1..6),
    ) {
        let mut text = start.to_owned();
        for mutation in &mutations {
            mutate(&mut text, mutation);
        }
        let found = match config::parse("vipcast.yaml", &text) {
            Ok(loaded) => loaded.warnings,
            Err(found) => {
                prop_assert!(found.count(Severity::Error) > 0, "refused without a reason");
                found
            }
        };
        spans_are_inside(&found);
        let _ = found.render(false);
        let _ = serde_json::to_string(&found).expect("plain data");
    }

    #[test]
    fn any_text_at_all_is_answered(text in ".{0,200}") {
        let found = match config::parse("vipcast.yaml", &text) {
            Ok(loaded) => loaded.warnings,
            Err(found) => found,
        };
        spans_are_inside(&found);
        let _ = found.render(true);
    }
}
