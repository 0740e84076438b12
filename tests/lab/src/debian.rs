//! The files of a small Debian, made by mmdebstrap as a tar file.
//!
//! Nothing of it is kept from one run to the next: the packages are those that the mirror has today.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::lab::{find_program, run};

/// Settings of apt and dpkg: no translations of descriptions, and no waiting for the disk.
const SETTINGS: [&str; 3] =
    ["--aptopt=Acquire::Languages \"none\"", "--aptopt=Acquire::Retries \"3\"", "--dpkgopt=force-unsafe-io"];

/// Why none can be made here.
///
/// # Errors
/// In words.
pub fn available() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("not root".to_owned());
    }
    find_program("mmdebstrap")
        .map(drop)
        .ok_or_else(|| "mmdebstrap is missing (Debian package mmdebstrap)".to_owned())
}

/// Writes the files of a Debian of that suite to a tar file. `options` are those of mmdebstrap: the packages
/// (`--include=`), and commands that change the tree (`--customize-hook=`).
///
/// # Errors
/// When mmdebstrap fails, with its output.
pub fn make(suite: &str, options: &[String], tar: &Path) -> Result<()> {
    let mut command = Command::new("mmdebstrap");
    command
        .args(["--quiet", "--mode=root", "--variant=minbase"])
        .args(SETTINGS)
        .args(options)
        .arg(suite)
        .arg(tar);
    if let Some(mirror) = mirror(suite) {
        command.arg(mirror);
    }
    run(&mut command).map(drop).with_context(|| format!("cannot make a Debian {suite}"))
}

/// The mirror that this machine's apt uses for a suite, or for another one: it has them all. Without one, mmdebstrap has its own
/// default.
pub fn mirror(suite: &str) -> Option<String> {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(SITE) $(CODENAME)", "Created-By: Packages"]);
    let targets = run(&mut command).ok()?;
    let of = |suite: &str| {
        targets.lines().find_map(|line| line.strip_suffix(suite)?.strip_suffix(' ').map(str::to_owned))
    };
    [suite, "bookworm", "trixie"].into_iter().find_map(of)
}
