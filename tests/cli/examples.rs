//! Every example loads: the files, and the blocks of the documentation.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use vipcast::config::{self, Diagnostics, Host, Loaded};

use super::root;

/// The files of a directory with this ending, by name.
fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let path = root().join(directory);
    let entries =
        fs::read_dir(&path).unwrap_or_else(|error| panic!("cannot list {}: {error}", path.display()));
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.expect("an entry of a directory").path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

/// The programs of an example are not on every machine; nothing else may be odd about it.
fn assert_no_warnings(warnings: &Diagnostics) {
    for warning in warnings {
        assert!(warning.message.contains(" cannot be run: "), "{warnings}");
    }
}

#[test]
fn every_configuration_file_loads() {
    for (directory, at_least) in [("examples", 3), ("packaging", 1), ("packaging/compose", 2)] {
        let files = files(directory, "yaml");
        assert!(files.len() >= at_least, "only {} files were found in {directory}", files.len());
        for path in files {
            let Loaded { config, warnings } =
                config::load(&path, Host::Strict).unwrap_or_else(|found| panic!("{found}"));
            assert_no_warnings(&warnings);
            assert!(!config.services.is_empty(), "{} announces nothing", path.display());
        }
    }
}

/// Every configuration that we show: the examples, and the blocks of the documentation, completed.
pub(crate) fn whole_configurations() -> Vec<String> {
    let read = |path: &PathBuf| fs::read_to_string(path).expect("it is there");
    let of = |directory, extension| files(directory, extension);
    let examples =
        ["examples", "packaging", "packaging/compose"].map(|directory| of(directory, "yaml")).concat();
    let pages = [of("docs", "md"), vec![root().join("README.md")]].concat();
    let blocks = pages.iter().flat_map(|page| yaml_blocks(&read(page)));
    examples.iter().map(read).chain(blocks.map(|(_, block)| completed(&block).0)).collect()
}

/// The blocks that begin with "```yaml", each with the number of its first line.
fn yaml_blocks(text: &str) -> Vec<(usize, String)> {
    let mut blocks: Vec<(usize, String)> = Vec::new();
    let mut inside = None;
    for (number, line) in (1..).zip(text.lines()) {
        let fence = line.trim_start().strip_prefix("```");
        match (inside, fence) {
            (None, Some(language)) => {
                inside = Some(language.trim() == "yaml");
                if inside == Some(true) {
                    blocks.push((number + 1, String::new()));
                }
            }
            (Some(_), Some(_)) => inside = None,
            (Some(true), None) => {
                if let Some((_, block)) = blocks.last_mut() {
                    block.push_str(line);
                    block.push('\n');
                }
            }
            (Some(false) | None, None) => {}
        }
    }
    blocks
}

/// A part of a configuration with the least that makes it whole.
fn completed(block: &str) -> (String, bool) {
    const REST: [(&[&str], &str); 4] = [
        (&["local_as"], "local_as: 65001\n"),
        (&["peers", "neighbors"], "peers: {rest: {address: 192.0.2.250, peer_as: 65000}}\n"),
        (&["checks"], "checks: {web: {tcp: \"127.0.0.1:80\"}}\n"),
        (&["services"], "services: {rest: {vips: [198.51.100.250], checks: []}}\n"),
    ];
    let has = |key: &str| {
        block.lines().any(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')))
    };
    let missing: Vec<&str> =
        REST.into_iter().filter(|(keys, _)| !keys.iter().any(|key| has(key))).map(|(_, rest)| rest).collect();
    (block.to_owned() + &missing.concat(), missing.is_empty())
}

/// The password file that the documentation speaks of, which this host does not have.
const PASSWORD_FILE: &str = "/etc/vipcast/tor-a.key";

/// One that it has.
fn password_file() -> String {
    let path = std::env::temp_dir().join(format!("vipcast-docs-{}.key", std::process::id()));
    fs::write(&path, "secret\n").expect("the temporary directory takes files");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("they are ours");
    path.display().to_string()
}

/// Loads every block of a page, and returns how many there are.
fn load_blocks(page: &Path) -> usize {
    let name = page.strip_prefix(root()).unwrap_or(page).display();
    let text = fs::read_to_string(page).unwrap_or_else(|error| panic!("cannot read {name}: {error}"));
    let blocks = yaml_blocks(&text);
    let password_file = password_file();
    for (line, block) in &blocks {
        let (text, whole) = completed(&block.replace(PASSWORD_FILE, &password_file));
        let loaded = config::parse(&format!("{name}, the block on line {line}"), &text);
        let Loaded { warnings, .. } = loaded.unwrap_or_else(|found| panic!("{found}"));
        // A part may name a check that nobody uses.
        if whole {
            assert_no_warnings(&warnings);
        }
    }
    blocks.len()
}

#[test]
fn every_block_of_the_readme_loads() {
    let page = root().join("README.md");
    let found = load_blocks(&page);
    let written = fs::read_to_string(page).expect("it was read just now").lines().count() > 1;
    assert!(found >= 1 || !written, "the README shows no configuration");
}

#[test]
fn every_block_of_the_documentation_loads() {
    let found: usize = files("docs", "md").iter().map(|page| load_blocks(page)).sum();
    assert!(found >= 5, "only {found} blocks were found");
}
