//! There and back between two builds: the same program under the name of another commit.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use vipcast_lab::{Lab, RouterKind};

use super::{Site, program, upgrade, write_program};
use crate::node::{VIPCAST, released};

const OTHER: &[u8] = b"0123456789abcdef";

pub(crate) fn trials() -> Vec<Trial> {
    let name = "frr::upgrade_to_another_build_and_back_keeps_the_session";
    let needs = match commit(Path::new(&*VIPCAST)) {
        Ok(_) => Lab::available_with(&[RouterKind::Frr]),
        Err(error) => Err(format!("{error:#}")),
    };
    vec![vipcast_lab::trial(name, needs, move || Lab::run(name, there_and_back))]
}

/// The commit that a program is built from.
fn commit(program: &Path) -> Result<String> {
    let said = std::process::Command::new(program).args(["version", "--json"]).output()?;
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).context("version --json")?;
    said["commit"].as_str().map(str::to_owned).context("the program under test knows no commit")
}

/// Puts another program in the place of the node's, as a package does.
pub(super) fn put(site: &Site<'_>, new: &Path) -> Result<()> {
    let link = program(&site.node).with_extension("next");
    std::os::unix::fs::symlink(new, &link)?;
    fs::rename(&link, program(&site.node)).context("cannot replace the program")
}

fn there_and_back(lab: &Lab) -> Result<()> {
    // Where the program of people is another one, it is a third build. An optimised one has no name that could be replaced.
    let (first, ours) = (commit(Path::new(&released()))?, PathBuf::from(&*VIPCAST));
    let commit = commit(&ours)?;
    let other = String::from_utf8_lossy(&OTHER[..commit.len().min(OTHER.len())]).into_owned();
    let bytes = renamed(fs::read(&ours)?, commit.as_bytes(), other.as_bytes());
    let theirs = lab.directory().join("other-build");
    write_program(&theirs, &bytes, 0o755)?;
    ensure!(self::commit(&theirs)? == other, "it has not the other name");
    let site = Site::new(lab, RouterKind::Frr, "", "", "")?;
    let before = site.before()?;
    site.under_traffic(|| {
        for (next, from, to) in [
            (&theirs, &first, &other),
            (&ours, &other, &commit),
            (&theirs, &commit, &other),
            (&ours, &other, &commit),
        ] {
            put(&site, next)?;
            let said = upgrade(&site.node)?.said;
            println!("{}", said.trim());
            let (_, story) = said.split_once("upgraded from ").context("no upgrade")?;
            let (of, onto) = story.split_once(" to ").context("to nothing")?;
            ensure!(of.contains(from) && onto.contains(to), "{said}");
            site.ensure_untouched(&before)?;
        }
        Ok(())
    })
}

/// Replaces each occurrence by a word of the same length.
fn renamed(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(from.len()).position(|window| window == from) {
        at += found;
        bytes[at..at + from.len()].copy_from_slice(to);
    }
    bytes
}
