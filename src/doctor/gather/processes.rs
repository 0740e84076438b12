//! Processes of this network namespace, from /proc.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use vipcast_node::notice::OtherDaemon;

use crate::doctor::gathered::{Process, Program};
use crate::exporters;

/// The scheduling policies with a real-time priority (linux/sched.h).
const REAL_TIME: [&str; 2] = ["1", "2"];
/// The place of the policy behind the name in /proc/PID/stat (proc_pid_stat(5): field 41).
const POLICY: usize = 38;

/// Processes by their names.
#[derive(Debug, Default)]
pub(super) struct Processes {
    /// `vipcast run`.
    pub(super) vipcast: Vec<u32>,
    /// Other routing daemons.
    pub(super) routing: Vec<OtherDaemon>,
}

/// The daemons of this network namespace.
pub(super) fn by_name(proc: &Path) -> io::Result<Processes> {
    let runs = |pid: &u32| {
        let line = fs::read(proc.join(pid.to_string()).join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(b"run")
    };
    let vipcast = exporters::processes(proc, |name| name == "vipcast")?;
    Ok(Processes {
        vipcast: vipcast.into_iter().map(|process| process.pid).filter(runs).collect(),
        routing: exporters::daemons(proc)?,
    })
}

/// The programs behind sockets, as far as this user may see them. A socket that several processes share is that of the
/// one with the lowest id.
pub(super) fn programs(proc: &Path) -> io::Result<BTreeMap<u32, Program>> {
    let mut programs: BTreeMap<u32, Program> = BTreeMap::new();
    for entry in fs::read_dir(proc)?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // The process may have ended, or belong to another user.
        let Ok(descriptors) = fs::read_dir(entry.path().join("fd")) else { continue };
        let Ok(name) = fs::read_to_string(entry.path().join("comm")) else { continue };
        for inode in descriptors.flatten().filter_map(|file| socket(&fs::read_link(file.path()).ok()?)) {
            let program = Program { name: name.trim_end().to_owned(), pid };
            let known = programs.entry(inode).or_insert_with(|| program.clone());
            if pid < known.pid {
                *known = program;
            }
        }
    }
    Ok(programs)
}

/// The inode of `socket:[4711]`.
fn socket(link: &Path) -> Option<u32> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The process of the daemon.
pub(super) fn of_daemon(proc: &Path, pid: u32) -> io::Result<Process> {
    let proc = proc.join(pid.to_string());
    let status = fs::read_to_string(proc.join("status"))?;
    let limits = fs::read_to_string(proc.join("limits"))?;
    let mut is_bfd_real_time = None;
    for task in fs::read_dir(proc.join("task"))?.flatten() {
        // A thread may have ended.
        let Ok(stat) = fs::read_to_string(task.path().join("stat")) else { continue };
        if let Some(("bfd", policy)) = thread(&stat) {
            is_bfd_real_time = Some(REAL_TIME.contains(&policy));
        }
    }
    let capabilities =
        capabilities(&status).ok_or_else(|| io::Error::other("no capabilities in its status"))?;
    Ok(Process { pid, capabilities, descriptors: descriptors(&limits), is_bfd_real_time })
}

/// `CapEff` of /proc/PID/status.
fn capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// The soft limit of open files of /proc/PID/limits; `None`: unlimited.
fn descriptors(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Name and scheduling policy of a thread, from its stat.
fn thread(stat: &str) -> Option<(&str, &str)> {
    let (_, rest) = stat.split_once('(')?;
    // The name may hold anything.
    let (name, rest) = rest.rsplit_once(')')?;
    Some((name, rest.split_whitespace().nth(POLICY)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_process_are_understood() {
        assert_eq!(capabilities("Name:\tvipcast\nCapEff:\t0000000000003400\n"), Some(0x3400));
        assert_eq!(capabilities("Name:\tvipcast\n"), None);
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            65536                65536                files     \n";
        assert_eq!(descriptors(limits), Some(65536));
        assert_eq!(descriptors(&limits.replace("65536", "unlimited")), None);
        let fields = |policy| format!("9 (b (f) d) S {} 20 {policy} 0 0", ["0"; 36].join(" "));
        assert_eq!(thread(&fields(1)), Some(("b (f) d", "1")));
        assert_eq!(socket(Path::new("socket:[4711]")), Some(4711));
        assert_eq!(socket(Path::new("/dev/null")), None);
    }

    #[test]
    fn our_own_process_and_its_sockets_are_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let proc = Path::new("/proc");
        let us = of_daemon(proc, std::process::id()).unwrap();
        assert_eq!((us.pid, us.is_bfd_real_time), (std::process::id(), None));
        let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&listener));
        let inode = socket(&fs::read_link(link).unwrap()).unwrap();
        assert_eq!(programs(proc).unwrap()[&inode].pid, std::process::id());
        assert!(by_name(proc).unwrap().vipcast.iter().all(|pid| *pid != std::process::id()));
    }
}
