//! The images that the Dockerfiles begin with. No registry is asked for them.
//!
//! * `debian:bookworm-slim` is made by mmdebstrap. The packages that the Dockerfiles install lie in it, in a repository, so that
//!   the builds need no network.
//! * The stage that compiles the program is replaced by an image with the program of this build.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use vipcast_lab::debian;

use crate::docker::engine::Engine;
use crate::file::Compose;

const SUITE: &str = "bookworm";
const BASE: &str = "debian:bookworm-slim";

/// The image with the program, and how a service of the compose file is told to use it.
pub(crate) const BUILT: &str = "vipcast-built";
pub(crate) const PROGRAM: &str = "{build: {args: {PROGRAM: vipcast-built}}}";

/// Puts the packages `$@` and what they need into a repository in the new system `$1`, apt's only one.
const REPOSITORY: &str = r#"set -eu
root=$1
shift
chroot "$root" apt-get install --yes --quiet --quiet --download-only --no-install-recommends "$@" >"$root/log" 2>&1 ||
    { cat "$root/log" >&2; exit 1; }
rm "$root/log"
mkdir "$root/packages"
mv "$root"/var/cache/apt/archives/*.deb "$root/packages"
cd "$root/packages"
dpkg-scanpackages --multiversion . >Packages 2>/dev/null
rm -f "$root"/etc/apt/sources.list.d/*
echo "deb [trusted=yes] file:/packages ./" >"$root/etc/apt/sources.list"
"#;

/// Whether the program of this machine runs on the libraries of the base image.
pub(crate) fn program_runs_on_the_base() -> Result<(), String> {
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let same = system.lines().any(|line| line == format!("VERSION_CODENAME={SUITE}"));
    same.then_some(()).ok_or_else(|| format!("a program built here needs other libraries than {BASE} has"))
}

pub(crate) fn import(engine: &Engine, compose: &Compose) -> Result<()> {
    let base = engine.directory().join("base.tar");
    let script = engine.directory().join("repository.sh");
    fs::write(&script, REPOSITORY).context("cannot write a script")?;
    let packages = packages(compose)?.join(" ");
    let hook = format!("--customize-hook=sh {} \"$1\" {packages}", script.display());
    debian::make(SUITE, &["--skip=cleanup/apt".to_owned(), hook], &base)?;
    engine.import(&base, BASE)?;
    fs::remove_file(&base).context("cannot remove a file of the test's own")?;

    let root = engine.directory().join("built");
    let place = root.join("vipcast/target/release");
    fs::create_dir_all(&place).context("cannot make a directory")?;
    fs::copy(program(), place.join("vipcast")).context("cannot copy the program")?;
    let tar = engine.directory().join("built.tar");
    let mut pack = Command::new("tar");
    pack.args(["--create", "--file"]).arg(&tar).arg("--directory").arg(&root).arg("vipcast");
    ensure!(pack.status().context("cannot run tar")?.success(), "tar failed");
    engine.import(&tar, BUILT)
}

/// The release build if `tests/run` made one.
fn program() -> PathBuf {
    std::env::var_os("VIPCAST_RELEASE").unwrap_or_else(|| env!("CARGO_BIN_EXE_vipcast").into()).into()
}

/// What the Dockerfiles install: the words after `apt-get install` that are no options.
fn packages(compose: &Compose) -> Result<Vec<String>> {
    let mut packages = Vec::new();
    for service in compose.services.values() {
        let path = service.dockerfile();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let installed = text.lines().filter_map(|line| line.split_once("apt-get install "));
        let words = installed.flat_map(|(_, words)| words.split_whitespace());
        packages.extend(words.filter(|word| !word.starts_with(['-', '\\'])).map(str::to_owned));
    }
    packages.sort();
    packages.dedup();
    ensure!(!packages.is_empty(), "no Dockerfile installs anything");
    Ok(packages)
}
