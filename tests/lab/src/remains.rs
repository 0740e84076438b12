//! The remains of a lab, and their removal.
//!
//! ```text
//! /tmp/vipcast-lab/lock            held while a lab is founded or dead ones are searched
//! /tmp/vipcast-lab/vl812-0/lock    held by the lab's process as long as it lives: a pid could be reused
//! /run/netns/vl812-0-tor           every namespace carries the lab's prefix
//! ```
//!
//! Three ways lead to [`bury`], and each is enough: dropping the [`Lab`](crate::Lab); the undertaker, a process which
//! outlives a `SIGKILL` of the test because it waits for the end of a pipe; and the next lab, which reaps labs whose
//! lock is free. All processes of a lab are found by the namespace they are in, so daemons that fork, change
//! their user or start a session of their own are no exception (a parent-death signal would miss those, and would
//! fire when the *thread* that started a router ends).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait;

/// Where the kernel's namespaces get their names (`ip netns`).
const NETNS: &str = "/run/netns";

/// A lab's claim on its prefix and directory.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Begins the name of each of the lab's namespaces: `vl<pid>-<n>`.
    pub(crate) prefix: String,
    /// Configuration and log files.
    pub(crate) directory: PathBuf,
    /// Locked as long as this process lives.
    _lock: File,
}

impl Claim {
    /// Buries the dead, then claims a prefix that nobody has.
    pub(crate) fn new() -> Result<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let root = root();
        fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
        let founding = open_lock(&root)?;
        founding.lock().context("cannot lock the lab directory")?;
        bury_the_dead(&root)?;
        loop {
            let prefix = format!("vl{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
            let directory = root.join(&prefix);
            match fs::create_dir(&directory) {
                Ok(()) => {
                    let lock = open_lock(&directory)?;
                    lock.lock().with_context(|| format!("cannot lock {}", directory.display()))?;
                    return Ok(Self { prefix, directory, _lock: lock });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot create {}", directory.display()));
                }
            }
        }
    }
}

/// Kills every process in the lab's namespaces, then deletes these and the directory. Doing it twice does nothing.
///
/// # Errors
/// When a process survives `SIGKILL` for five seconds, or a namespace cannot be deleted.
pub fn bury(prefix: &str) -> Result<()> {
    let namespaces = namespaces(prefix)?;
    let inodes = namespaces.iter().filter_map(|name| inode(&Path::new(NETNS).join(name))).collect();
    kill_all(prefix, &inodes)?;
    for name in &namespaces {
        let output = Command::new("ip").args(["netns", "delete", name]).output().context("cannot run ip")?;
        let path = Path::new(NETNS).join(name);
        if !output.status.success() && path.exists() {
            bail!("cannot delete namespace {name}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    // Once more, for one that was on its way in while the name was still there.
    kill_all(prefix, &inodes)?;
    for (hierarchy, _) in cgroups() {
        for name in entries(&hierarchy)?.iter().filter(|name| lab_of(name) == Some(prefix)) {
            remove_cgroup(&hierarchy.join(name))?;
        }
    }
    match fs::remove_dir_all(root().join(prefix)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove the directory of {prefix}"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Where the unified hierarchy of cgroups is mounted. A machine of the lab has a cgroup of the name of its namespace there.
pub(crate) fn unified_cgroups() -> Option<PathBuf> {
    cgroups().into_iter().find(|(_, kind)| kind == "cgroup2").map(|(place, _)| place)
}

/// Where hierarchies of cgroups are mounted, each with its kind: `cgroup` or `cgroup2`.
fn cgroups() -> Vec<(PathBuf, String)> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next()?, words.next()?);
        kind.starts_with("cgroup").then(|| (place.into(), kind.to_owned()))
    });
    places.collect()
}

/// Removes a cgroup and those below it as soon as the processes in there have ended.
pub(crate) fn remove_cgroup(path: &Path) -> Result<()> {
    for name in entries(path)? {
        let child = path.join(name);
        if child.is_dir() {
            remove_cgroup(&child)?;
        }
    }
    wait::until(format!("{} to be empty", path.display()), Duration::from_secs(5), || {
        match fs::remove_dir(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    })
}

fn kill_all(prefix: &str, namespaces: &BTreeSet<(u64, u64)>) -> Result<()> {
    wait::until(format!("the processes of {prefix} to die"), Duration::from_secs(5), || {
        let alive = processes_in(namespaces)?;
        for pid in &alive {
            // It may be gone by now (ESRCH); the next look decides.
            let _gone = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        ensure!(alive.is_empty(), "still alive: {alive:?}");
        Ok(())
    })
}

/// Whether the process is in the named namespace (yet).
pub(crate) fn is_inside(pid: u32, namespace: &str) -> bool {
    let inside = inode(Path::new(&format!("/proc/{pid}/ns/net")));
    inside.is_some() && inside == inode(&Path::new(NETNS).join(namespace))
}

/// The pids of all live processes in the named namespace.
pub(crate) fn processes(namespace: &str) -> Result<Vec<i32>> {
    processes_in(&inode(&Path::new(NETNS).join(namespace)).into_iter().collect())
}

/// The namespaces of the lab with this prefix.
pub fn namespaces(prefix: &str) -> Result<Vec<String>> {
    Ok(entries(Path::new(NETNS))?.into_iter().filter(|name| lab_of(name) == Some(prefix)).collect())
}

/// Not `TMPDIR`: labs that do not see each other's locks would take each other for dead.
fn root() -> PathBuf {
    PathBuf::from("/tmp/vipcast-lab")
}

/// The prefix in `vl812-0-tor`: it ends before the second hyphen.
fn lab_of(namespace: &str) -> Option<&str> {
    let (end, _) = namespace.match_indices('-').nth(1)?;
    namespace.starts_with("vl").then(|| &namespace[..end])
}

/// Buries each lab whose lock nobody holds, and namespaces which have not even a directory.
fn bury_the_dead(root: &Path) -> Result<()> {
    let mut prefixes: BTreeSet<String> =
        entries(root)?.into_iter().filter(|name| root.join(name).is_dir()).collect();
    prefixes.extend(entries(Path::new(NETNS))?.iter().filter_map(|name| lab_of(name)).map(str::to_owned));
    for prefix in prefixes {
        let dead = is_dead(&root.join(&prefix))?;
        if dead {
            bury(&prefix).with_context(|| format!("cannot bury the dead lab {prefix}"))?;
        }
    }
    Ok(())
}

/// Whether nobody holds the lock. It is not created here: a lab that is being buried this moment, by its own process
/// or its undertaker, may have lost it already, and must not get a new file while its directory is removed.
fn is_dead(directory: &Path) -> Result<bool> {
    match File::options().append(true).open(directory.join("lock")) {
        Ok(lock) => Ok(lock.try_lock().is_ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", directory.display())),
    }
}

fn open_lock(directory: &Path) -> Result<File> {
    let path = directory.join("lock");
    File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))
}

fn entries(directory: &Path) -> Result<Vec<String>> {
    match fs::read_dir(directory) {
        Ok(entries) => {
            Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", directory.display())),
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// A zombie has no namespace left, so it does not count as alive.
fn processes_in(namespaces: &BTreeSet<(u64, u64)>) -> Result<Vec<i32>> {
    if namespaces.is_empty() {
        return Ok(Vec::new());
    }
    let pids = entries(Path::new("/proc"))?.into_iter().filter_map(|name| name.parse::<i32>().ok());
    let inside = |pid: &i32| {
        inode(&PathBuf::from(format!("/proc/{pid}/ns/net"))).is_some_and(|inode| namespaces.contains(&inode))
    };
    Ok(pids.filter(inside).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lab_of_a_namespace_is_what_stands_before_the_second_hyphen() {
        assert_eq!(lab_of("vl812-0-tor-a"), Some("vl812-0"));
        assert_eq!(lab_of("blue-0-tor"), None);
        assert_eq!(lab_of("vl812"), None);
    }
}
