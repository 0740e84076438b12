//! Missing things on the host: an error of `check` and of a reload, a warning at a start, nothing with `--offline`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use vipcast::config::{self, Host, Loaded, Severity};

/// Every key that names something of the host, and nothing of it is there.
const MISSING: &str = "\
local_as: 65001
control: {group: no-such-group}
peers:
  a: {address: 192.0.2.1, peer_as: 65000, password_file: /no/such/a.key}
  b: {address: 192.0.2.2, peer_as: 65000, password_credential: no-such}
  c: {address: 192.0.2.3, peer_as: 65000, tcp_ao: {key_file: /no/such/c.key, send_id: 1, receive_id: 2}}
checks:
  program: {exec: {command: [/no/such/program], user: no-such-user, group: no-such-group, directory: /no/such}}
  tls: {tls: {address: \"127.0.0.1:443\", ca_file: /no/such/ca.pem}}
  http:
    http:
      url: \"https://127.0.0.1/\"
      tls: {client_cert_file: /no/such/cert.pem, client_key_file: /no/such/key.pem}
services:
  web: {vips: [198.51.100.1], checks: [program, tls, http]}
";

/// How many of what is missing is an error; the program and its directory are not.
const ERRORS: usize = 9;

struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str, mode: u32) -> Self {
        let path = std::env::temp_dir().join(format!("vipcast-host-{name}-{}.yaml", std::process::id()));
        fs::write(&path, text).expect("a temporary file");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("our own file");
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}

#[test]
fn what_the_host_lacks_is_an_error_of_a_check_a_warning_of_a_start_and_nothing_elsewhere() {
    let file = File::new("missing", MISSING, 0o600);
    let found = config::load(&file.0, Host::Strict).expect_err("everything is missing");
    assert_eq!((found.count(Severity::Error), found.count(Severity::Warning)), (ERRORS, 2), "{found}");

    let Loaded { config, warnings } = config::load(&file.0, Host::Lenient).expect("it can start");
    assert_eq!((warnings.count(Severity::Error), warnings.count(Severity::Warning)), (0, ERRORS + 2));
    let said = warnings.to_string();
    let user = "there is no user `no-such-user` on this host; only what needs it fails, until that is mended";
    assert!(said.contains(user), "{said}");
    assert_eq!(config.checks.len(), 3);
    assert!(
        config.peers.values().all(vipcast_node::model::Peer::lacks_key),
        "none is talked to without its key"
    );

    let Loaded { config, warnings } = config::load(&file.0, Host::Offline).expect("nothing is looked at");
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!(config.checks.len(), 3);
}

#[test]
fn mistakes_of_the_file_itself_are_errors_wherever_it_is_read() {
    let text = MISSING
        .replace("user: no-such-user", "user: [a]")
        .replace("peer_as: 65000, password_f", "password_f");
    let file = File::new("mistakes", &text, 0o600);
    for host in [Host::Strict, Host::Lenient, Host::Offline] {
        let found = config::load(&file.0, host).expect_err("two mistakes");
        let said = found.to_string();
        assert!(said.contains("expected the name of a user, found a list"), "{host:?}: {said}");
        assert!(said.contains("`peer_as` of `a` is missing"), "{host:?}: {said}");
    }
}

#[test]
fn two_keys_for_one_address_are_a_mistake_of_the_file_also_at_a_start() {
    let keys = ["one", "two"].map(|key| File::new(&format!("key-{key}"), key, 0o600));
    let peers = |second: &File| {
        format!(
            "local_as: 65001
peers:
  a: {{address: 192.0.2.1, peer_as: 65000, password_file: {}}}
  b: {{address: 192.0.2.1, port: 1790, peer_as: 65000, password_file: {}}}
services: {{web: {{vips: [198.51.100.1], checks: []}}}}
",
            keys[0].0.display(),
            second.0.display()
        )
    };
    let same = File::new("same-key", &peers(&keys[0]), 0o600);
    let other = File::new("other-key", &peers(&keys[1]), 0o600);
    for host in [Host::Strict, Host::Lenient] {
        assert!(config::load(&same.0, host).is_ok());
        let found = config::load(&other.0, host).expect_err("they differ");
        assert!(found.to_string().contains("two peers at 192.0.2.1 have different passwords"), "{found}");
    }
    assert!(config::load(&other.0, Host::Offline).is_ok());
}

#[test]
fn a_password_that_everyone_may_read_is_an_error_of_a_check_a_warning_of_a_start_and_nothing_elsewhere() {
    let text = "local_as: 65001
peers: {tor: {address: 192.0.2.1, peer_as: 65000, password: correct-horse}}
services: {web: {vips: [198.51.100.1], checks: []}}
";
    let file = File::new("exposed", text, 0o644);
    let everyones = "there is a password in this file, and everyone may read it";
    let messages = |found: &config::Diagnostics| -> Vec<(Severity, String)> {
        found.iter().map(|found| (found.severity, found.message.clone())).collect()
    };
    let found = config::load(&file.0, Host::Strict).expect_err("everyone may read it");
    assert_eq!(messages(&found), [(Severity::Error, everyones.to_owned())]);
    let Loaded { config, warnings } = config::load(&file.0, Host::Lenient).expect("it can start");
    let warning = format!("{everyones}; a reload is refused until that is mended");
    assert_eq!(messages(&warnings), [(Severity::Warning, warning)]);
    assert!(config.peers["tor"].authentication.is_some(), "it is not talked to without its key");
    assert!(!warnings.in_line().contains("correct-horse"));
    let Loaded { warnings, .. } = config::load(&file.0, Host::Offline).expect("a checkout is no host");
    assert!(warnings.is_empty(), "{warnings}");
}

#[test]
fn check_offline_says_that_a_configuration_is_right_where_its_host_is_not() {
    let file = File::new("offline", MISSING, 0o644);
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_vipcast"))
            .args(arguments)
            .arg(&file.0)
            .output()
            .expect("vipcast runs");
        (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
    };
    assert_eq!(run(&["check"]).0, Some(78));
    assert_eq!(run(&["check", "--offline"]), (Some(0), String::new()));
    let (code, said) = run(&["check", "--offline", "--probe"]);
    assert_eq!(code, Some(2), "{said}");
}
