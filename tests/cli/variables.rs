//! Variables in values: one file for a fleet.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use vipcast::config::{self, Config, Host, Variables};
use vipcast_bgp::wire::Asn;

const FLEET: &str = r#"
local_as: ${RACK_AS}
router_id: 10.${RACK}.0.2
peers:
  tor:
    address: "10.${RACK}.0.1"
    peer_as: ${TOR_AS:-65000}
    hold_time: ${HOLD:-9}s
    passive: ${PASSIVE:-false}
    password: ${TOR_PASSWORD}
checks:
  web:
    http: {url: "http://127.0.0.1:${PORT:-8080}/healthz", headers: {X-Node: "${hostname}.example"}}
  script:
    exec: {command: [/bin/sh, -c, "test $${HOME} = $HOME || grep '^ok$'"]}
services:
  web: {vips: ["198.51.100.${RACK}"], checks: [web, script]}
"#;

fn read(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let variables = Variables::new("edge-7", environment.iter().copied());
    let loaded = config::parse_with("vipcast.yaml", text, &variables);
    loaded.map(|loaded| loaded.config).map_err(|found| found.to_string())
}

#[test]
fn one_file_serves_a_fleet() {
    let environment = [("RACK_AS", "65017"), ("RACK", "17"), ("TOR_PASSWORD", "correct-horse")];
    let filled = read(FLEET, &environment).unwrap_or_else(|found| panic!("{found}"));
    assert_eq!(filled.peers["tor"].local_as, Asn(65017));
    let by_hand = FLEET
        .replace("${RACK_AS}", "65017")
        .replace("${RACK}", "17")
        .replace("${TOR_AS:-65000}", "65000")
        .replace("${HOLD:-9}", "9")
        .replace("${PASSIVE:-false}", "false")
        .replace("${PORT:-8080}", "8080")
        .replace("${TOR_PASSWORD}", "correct-horse")
        .replace("${hostname}", "edge-7");
    assert_eq!(filled, read(&by_hand, &[]).unwrap_or_else(|found| panic!("{found}")));
    let script = format!("{:?}", filled.checks["script"]);
    assert!(script.contains("test ${HOME} = $HOME || grep '^ok$'"), "{script}");
}

#[test]
fn a_shell_keeps_its_variables_and_is_not_given_ours_unnoticed() {
    let text = |line: &str| {
        format!(
            "local_as: 65001\nchecks: {{a: {{exec: {{shell: {line}, environment: {{X: y}}}}}}}}\npeers: {{tor: {{address: 192.0.2.1, peer_as: 65000}}}}\nservices: {{web: {{vips: [198.51.100.1], checks: [a]}}}}\n"
        )
    };
    let variables = Variables::new("edge-7", []);
    let warned = |line: &str| {
        let loaded = config::parse_with("vipcast.yaml", &text(line), &variables);
        loaded.unwrap_or_else(|found| panic!("{found}")).warnings.to_string()
    };
    assert_eq!(warned("\"test -S $X -o $${X:-z} || grep 'a$'\""), "no errors\n");
    insta::assert_snapshot!("shell", warned("\"test -S ${X:-z}\""));
}

#[test]
fn what_cannot_be_filled_in_is_shown_where_it_stands() {
    let text = r#"
local_as: ${RACK_AS}
peers:
  tor: {address: "10.${RACK}.0.1", peer_as: "${TOR_AS:-many}"}
  "${hostname}": {address: 192.0.2.1, peer_as: 65000}
checks:
  web: {tcp: "127.0.0.1:${PORT"}
  script: {exec: {shell: "echo ${a%%b}"}}
  name: {tcp: "${HOSTNAME}:80"}
services:
  web: {vips: ["198.51.100.$RACK"], checks: [web, script, name]}
"#;
    insta::assert_snapshot!(read(text, &[("RACK", "1000")]).expect_err("nearly all of it is wrong"));
    let unquoted = "local_as: 65001\npeers:\n  tor: {address: ${TOR}, peer_as: 65000}\n";
    insta::assert_snapshot!("unquoted", read(unquoted, &[("TOR", "192.0.2.1")]).expect_err("no YAML"));
}

#[test]
fn no_diagnostic_shows_a_secret_of_the_environment() {
    let text = r#"
local_as: 65001
peers:
  a: {address: "${TOR_TOKEN}", peer_as: 65000}
  b: {address: 192.0.2.1, peer_as: 65000, password: "${LONG}"}
checks:
  web: {http: {url: "${PROXY}"}}
  odd: {tcp: "${PLAIN}"}
services:
  "x": {vips: [198.51.100.1], checks: [web, odd]}
"#;
    let long = "s3cr3t-".repeat(20);
    let environment = [
        ("TOR_TOKEN", "t0k3n-of-a"),
        ("LONG", &long),
        ("PROXY", "http://user:pa55word@host:99999/"),
        ("PLAIN", "no-secret"),
    ];
    let said = read(text, &environment).expect_err("nothing of it is right");
    for secret in ["t0k3n", "s3cr3t", "pa55word"] {
        assert!(!said.contains(secret), "{secret} is shown:\n{said}");
    }
    assert!(said.contains("no-secret"), "{said}");
}

#[test]
fn the_environment_counts_for_services_d_and_a_password_in_it_is_not_in_the_file() {
    let directory = std::env::temp_dir().join(format!("vipcast-variables-{}", std::process::id()));
    fs::create_dir_all(directory.join("services.d")).expect("a temporary directory");
    let main = directory.join("vipcast.yaml");
    let text = "local_as: 65001\npeers:\n  tor: {address: 192.0.2.1, peer_as: 65000, password: \"${TOR_PASSWORD}\"}\n";
    fs::write(&main, text).expect("a temporary file");
    fs::set_permissions(&main, fs::Permissions::from_mode(0o644)).expect("our own file");
    let drop_in = "services:\n  web: {vips: [\"198.51.100.${RACK}\"], checks: []}\n";
    fs::write(directory.join("services.d/web.yaml"), drop_in).expect("a temporary file");

    let check = |environment: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vipcast"));
        command.arg("check").arg(&main).envs(environment.iter().copied()).env_remove("NO_SUCH_VARIABLE");
        let output = command.output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(check(&[("TOR_PASSWORD", "correct-horse"), ("RACK", "7")]), (Some(0), String::new()));
    let (code, said) = check(&[("TOR_PASSWORD", "correct-horse")]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("web.yaml:2:28"), "{said}");
    assert!(said.contains("the environment has no variable `RACK`"), "{said}");
    let written = text.replace("${TOR_PASSWORD}", "${TOR_PASSWORD:-correct-horse}");
    fs::write(&main, written).expect("a temporary file");
    let (code, said) = check(&[("RACK", "7")]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("there is a password in this file"), "{said}");
    fs::remove_dir_all(&directory).expect("our own directory");
    assert!(config::load(&main, Host::Offline).is_err());
}
