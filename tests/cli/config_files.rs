//! Loading from a directory: `services.d`, and files that cannot be read.

use std::fs;
use std::path::{Path, PathBuf};

use vipcast::config::{self, Host, Loaded};

const MAIN: &str = "\
local_as: 65001
peers:
  tor: {address: 192.0.2.1, peer_as: 65000}
checks:
  web: {tcp: \"127.0.0.1:80\"}
services:
  web: {vips: [198.51.100.1], checks: [web]}
";

/// A directory that goes away with its test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vipcast-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("services.d")).expect("a temporary directory");
        Self(path)
    }

    fn with(self, file: &str, text: impl AsRef<[u8]>) -> Self {
        fs::write(self.0.join(file), text).expect("a temporary file");
        self
    }

    fn main(&self) -> PathBuf {
        self.0.join("vipcast.yaml")
    }

    /// What `load` said, with the directory cut out.
    fn said(&self) -> String {
        let text = match config::load(&self.main(), Host::Strict) {
            Ok(Loaded { warnings, .. }) => format!("(loaded)\n{warnings}"),
            Err(diagnostics) => diagnostics.to_string(),
        };
        text.replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_in_services_d_add_services_and_checks() {
    let directory = Directory::new("adds")
        .with("vipcast.yaml", MAIN)
        .with("services.d/20-dns.yaml", "services: {dns: {vips: [198.51.100.2], checks: [dns]}}\n")
        .with("services.d/10-dns.yaml", "checks: {dns: {tcp: \"127.0.0.1:53\"}}\n")
        .with("services.d/.hidden.yaml", "no: configuration\n")
        .with("services.d/README", "no configuration\n");
    let loaded =
        config::load(&directory.main(), Host::Strict).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let names = |keys: Vec<&str>| keys.join(" ");
    assert_eq!(names(loaded.config.services.keys().map(|name| name.as_str()).collect()), "dns web");
    assert_eq!(names(loaded.config.checks.keys().map(|name| name.as_str()).collect()), "dns web");
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}

#[test]
fn a_name_in_two_files_is_shown_in_both() {
    let directory = Directory::new("twice")
        .with("vipcast.yaml", MAIN)
        .with(
            "services.d/web.yaml",
            "services:\n  web: {vips: [198.51.100.2], checks: [wbe]}\nlog: {level: info}\n",
        )
        .with("services.d/vip.yaml", "services:\n  vip: {vips: [198.51.100.1], checks: [web]}\n");
    insta::assert_snapshot!(directory.said());
}

#[test]
fn a_file_of_services_d_that_is_not_read_is_mentioned() {
    let directory = Directory::new("ignored")
        .with("vipcast.yaml", MAIN)
        .with("services.d/dns.yml", "services: {}\n")
        .with("services.d/empty.yaml", "# nothing yet\n");
    insta::assert_snapshot!(directory.said());
}

#[test]
fn a_syntax_error_in_one_file_does_not_make_names_of_another_unknown() {
    let directory = Directory::new("syntax")
        .with("vipcast.yaml", MAIN.replace("checks: [web]", "checks: [web, dns]"))
        .with("services.d/dns.yaml", "checks:\n\tdns: {}\n");
    insta::assert_snapshot!(directory.said());
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let missing = Directory::new("missing");
    insta::assert_snapshot!("missing", missing.said());
    let latin1 = Directory::new("latin1").with("vipcast.yaml", b"local_as: 1\n# caf\xe9\n");
    insta::assert_snapshot!("latin1", latin1.said());
    let empty = Directory::new("empty").with("vipcast.yaml", "# nothing yet\n");
    insta::assert_snapshot!("empty", empty.said());
    let large = Directory::new("large").with("vipcast.yaml", vec![b'#'; (16 << 20) + 1]);
    insta::assert_snapshot!("large", large.said());
    let directory = Directory::new("directory");
    fs::create_dir(directory.main()).expect("a temporary directory");
    insta::assert_snapshot!("directory", directory.said());
}

#[test]
fn a_main_file_without_a_directory_is_looked_up_here() {
    let found = config::load(Path::new("no-such-file.yaml"), Host::Strict).expect_err("it is not there");
    assert_eq!(found.summary(), "1 error in no-such-file.yaml");
}
