//! Finding `vipcast-lab-agent`, the helper that runs inside the namespaces.
//!
//! Cargo tells a test the paths of the binaries of its *own* package, not of a dependency. So the agent is searched
//! where Cargo puts it: in `target/<profile>/`, above the `deps/` (or `examples/`) directory of the running test, with
//! any `CARGO_TARGET_DIR`. If it is missing there or older than its sources, it is built with `cargo build -p
//! vipcast-lab --bin vipcast-lab-agent` into the same target directory and profile.
//! `VIPCAST_LAB_AGENT=/path` overrides all of this.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, ensure};

use crate::lab::{run, unpoisoned};

const NAME: &str = "vipcast-lab-agent";
const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

/// The path of the agent, built if need be.
///
/// # Errors
/// When it is missing and cannot be built.
pub fn path() -> Result<PathBuf> {
    static FOUND: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut found = unpoisoned(&FOUND);
    if let Some(path) = &*found {
        return Ok(path.clone());
    }
    let path = match std::env::var_os("VIPCAST_LAB_AGENT") {
        Some(path) => PathBuf::from(path),
        None => in_target()?,
    };
    ensure!(path.is_file(), "there is no {}", path.display());
    *found = Some(path.clone());
    Ok(path)
}

fn in_target() -> Result<PathBuf> {
    let test = std::env::current_exe().context("cannot find the running test")?;
    let mut profile = test.parent().context("the test is in no directory")?;
    if profile.file_name().is_some_and(|name| name == "deps" || name == "examples") {
        profile = profile.parent().context("deps/ is in no directory")?;
    }
    let agent = profile.join(NAME);
    // Several tests may start at the same time; one builds, the others find it done.
    let lock_path = profile.join(".vipcast-lab-agent.lock");
    let lock = File::create(&lock_path).with_context(|| format!("cannot create {}", lock_path.display()))?;
    lock.lock().context("cannot lock the agent")?;
    if !is_fresh(&agent)? {
        build(profile)
            .context("cannot build the agent; VIPCAST_LAB_AGENT can name one that is built already")?;
    }
    Ok(agent)
}

fn is_fresh(agent: &Path) -> Result<bool> {
    let Ok(built) = fs::metadata(agent).and_then(|metadata| metadata.modified()) else { return Ok(false) };
    Ok(newest(&Path::new(PACKAGE).join("src"))? <= built)
}

/// The latest change of any file below a directory. A source tree that is not there any more is older than all.
fn newest(directory: &Path) -> Result<SystemTime> {
    let mut latest = SystemTime::UNIX_EPOCH;
    let Ok(entries) = fs::read_dir(directory) else { return Ok(latest) };
    for entry in entries {
        let entry = entry?;
        let time = match entry.file_type()?.is_dir() {
            true => newest(&entry.path())?,
            false => entry.metadata()?.modified()?,
        };
        latest = latest.max(time);
    }
    Ok(latest)
}

/// `target/debug` is the profile `dev`; with `--target` there is a directory for the triple in between.
fn build(profile: &Path) -> Result<()> {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let directory = name(profile).ok_or_else(|| anyhow!("{} has no name", profile.display()))?;
    let mut target = profile.parent().context("the profile is in no directory")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "vipcast-lab", "--bin", NAME]);
    command.args(["--profile", if directory == "debug" { "dev" } else { &directory }]);
    command.arg("--manifest-path").arg(Path::new(PACKAGE).join("Cargo.toml"));
    if let Some(triple) = name(target).filter(|name| name.matches('-').count() >= 2 && name.contains("linux"))
    {
        command.args(["--target", &triple]);
        target = target.parent().context("the triple is in no directory")?;
    }
    command.arg("--target-dir").arg(target);
    run(&mut command)?;
    let agent = profile.join(NAME);
    // Cargo may find it fresh after a source was merely touched; then it need not be asked again.
    File::open(&agent)?.set_modified(SystemTime::now())?;
    Ok(())
}
