//! The origin of the numbers: the machine, and the versions of all programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::contender::Contender;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The vipcast to measure: the named one, or the release build of this directory, which cargo brings up to date.
pub(super) fn vipcast(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = named {
        return path.canonicalize().with_context(|| format!("there is no {}", path.display()));
    }
    eprintln!("bringing the release build of vipcast up to date: cargo build --release --locked");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--locked", "--package", "vipcast"])
        .current_dir(REPOSITORY)
        .status()
        .context("cannot run cargo; --vipcast names a build that is there already")?;
    ensure!(status.success(), "cargo cannot build vipcast; --vipcast names a build that is there already");
    // Beside this program when that is a release build, too.
    let own = std::env::current_exe().context("cannot find this program")?;
    let target = own.parent().and_then(Path::parent).context("this program is in no target directory")?;
    let path = target.join("release/vipcast");
    ensure!(path.is_file(), "cargo has built vipcast, but there is no {}", path.display());
    Ok(path)
}

/// Cores and kernel. No name of a host is in it.
pub(super) fn machine() -> Result<String> {
    let cores = std::thread::available_parallelism().context("cannot count the cores")?;
    let cpus = std::fs::read_to_string("/proc/cpuinfo").context("cannot read /proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("processor", |(_, model)| model).trim();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .context("cannot read the release of the kernel")?;
    let release = kernel.trim().split('-').next().unwrap_or_default();
    Ok(format!("{cores} cores of {model}, Linux {release}"))
}

/// `vipcast 0.1.0 (e1b5223a7c2f)`, `HAProxy 2.6.12`, and the routers.
pub(super) fn versions(contenders: &[Box<dyn Contender>]) -> Result<Vec<String>> {
    let mut versions = Vec::new();
    for contender in contenders {
        versions.push(format!("{} {}", contender.name(), contender.version()?));
    }
    let frr = Command::new("/usr/lib/frr/bgpd").arg("--version").output().context("cannot run bgpd")?;
    let text = String::from_utf8_lossy(&frr.stdout).into_owned();
    versions.push(format!("FRR {} as a router", text.split_whitespace().nth(2).unwrap_or("?")));
    Ok(versions)
}

/// Programs that check thousands of servers take as many descriptors as they are allowed at their start.
pub(super) fn raise_descriptors() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot read the limit of descriptors")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("cannot raise the limit of descriptors")
}
