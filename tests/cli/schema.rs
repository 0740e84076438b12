//! The JSON Schema accepts every valid configuration, and refuses most invalid ones.
//!
//! A third-party validator checks that: Debian's `python3-jsonschema`, with `python3-ruamel.yaml`. So these tests run
//! only in a separate step of `tests/run`.

use std::env;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;

use vipcast::config;

use super::config_errors::{around, mistakes::WRONG};
use super::examples::whole_configurations;
use super::root;

/// Whether `tests/run` has found the validator.
fn is_asked_for() -> bool {
    env::var_os("VIPCAST_SCHEMA").is_some()
}

/// What the validator says of each text: `valid`, or what is wrong.
fn judged(texts: &[String]) -> Vec<String> {
    let root = root();
    let mut validator = Command::new("/usr/bin/python3")
        .arg(root.join("tests/cli/schema.py"))
        .arg(root.join("packaging/vipcast.schema.json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there");
    let mut input = validator.stdin.take().expect("it is piped");
    let lines: Vec<String> =
        texts.iter().map(|text| serde_json::to_string(text).expect("a text is JSON") + "\n").collect();
    let writing = thread::spawn(move || input.write_all(lines.concat().as_bytes()));
    let output = validator.wait_with_output().expect("it ends");
    writing.join().expect("no panic").expect("it reads all");
    assert!(output.status.success(), "the validator failed: {}", output.status);
    let said: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    assert_eq!(said.len(), texts.len());
    said
}

#[test]
fn the_schema_takes_every_configuration_that_is_valid() {
    if !is_asked_for() {
        return;
    }
    let wrong = WRONG.iter().map(|(section, text)| around(section, text));
    let mut valid: Vec<String> = wrong.filter(|text| config::parse("vipcast.yaml", text).is_ok()).collect();
    let warned = valid.len();
    assert!(warned >= 20, "only {warned} of the mistakes are none");
    valid.extend(whole_configurations());
    assert!(valid.len() - warned >= 35, "only {} examples", valid.len() - warned);
    let refused: Vec<String> = judged(&valid)
        .into_iter()
        .zip(&valid)
        .filter(|(said, _)| said != "valid")
        .map(|(said, text)| format!("{said}\n{text}"))
        .collect();
    assert!(refused.is_empty(), "{} are refused:\n{}", refused.len(), refused.join("\n"));
}

#[test]
fn the_schema_refuses_most_mistakes() {
    if !is_asked_for() {
        return;
    }
    let wrong = WRONG.iter().map(|(section, text)| around(section, text));
    // The environment decides about a variable.
    let wrong = wrong.filter(|text| !text.contains("${"));
    let wrong: Vec<String> = wrong.filter(|text| config::parse("vipcast.yaml", text).is_err()).collect();
    let said = judged(&wrong);
    let missed: Vec<&String> =
        said.iter().zip(&wrong).filter(|(said, _)| *said == "valid").map(|(_, text)| text).collect();
    let share = 100 * (wrong.len() - missed.len()) / wrong.len();
    println!("{share} % of {} mistakes are refused", wrong.len());
    if env::var_os("VIPCAST_SHOW").is_some() {
        missed.iter().for_each(|text| println!("────\n{text}"));
    }
    assert!(share >= 80, "{share} % of {} mistakes are refused", wrong.len());
}

#[test]
fn the_schema_takes_what_is_valid_and_not_often_written() {
    if !is_asked_for() {
        return;
    }
    let table = [
        ("peer", "address: 192.0.2.1\npeer_as: 65000\nnext_hop: 169.254.1.1\nhold_time: 9000ms"),
        ("peer", "address: 255.1.2.3\npeer_as: 65000\ngraceful_restart: {restart_time: 1h8m}"),
        ("service", "vips: [198.51.100.1]\nchecks: []\nannounce: {communities: [NO_EXPORT, llgr-stale]}"),
        ("service", "vips: [\"fec0::1\"]\nchecks: []"),
        ("check", "tcp: \":80\"\nhost: 127.0.0.1\nsource_address: 127.0.0.1"),
        ("check", "tcp: 80\nhost: VIP\nsource_address: VIP"),
        ("check", "tls: {address: \"localhost:443\", expiry: 60000ms}"),
        ("check", "file: {path: /x, max_age: 1s500ms}"),
        (
            "peer",
            "address: ${SURELY_NOT_SET:-192.0.2.1}\npeer_as: ${SURELY_NOT_SET:-65000}\npassive: ${SURELY_NOT_SET:-true}",
        ),
        ("check", "tcp: \"${hostname}:80\"\ninterval: ${SURELY_NOT_SET:-1}s\nrise: ${SURELY_NOT_SET:-2}"),
        (
            "service",
            "vips: [\"${SURELY_NOT_SET:-198.51.100.1}\"]\nchecks: []\non_down: ${SURELY_NOT_SET:-demote}",
        ),
    ];
    let texts: Vec<String> = table.iter().map(|(section, text)| around(section, text)).collect();
    for text in &texts {
        if let Err(found) = config::parse("vipcast.yaml", text) {
            panic!("it is not valid: {found}");
        }
    }
    let said: Vec<(String, String)> = judged(&texts).into_iter().zip(texts).collect();
    let refused: Vec<_> = said.iter().filter(|(said, _)| said != "valid").collect();
    assert!(refused.is_empty(), "{refused:#?}");
}
