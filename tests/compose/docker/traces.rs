//! Whatever an engine could leave on this machine: packet filter rules, bridges, mounts, cgroups, namespaces, processes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use vipcast_lab::Process;

/// What began the names of interfaces, mounts and cgroups of an engine. Other tests run meanwhile, and theirs come and go.
const ENGINES: [&str; 4] = ["docker", "containerd", "br-", "-engine"];
const NAMESPACES: [&str; 5] = ["net", "mnt", "pid", "uts", "ipc"];

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Traces(BTreeSet<String>);

impl Traces {
    pub(crate) fn now() -> Result<Self> {
        let rules = Command::new("nft").args(["list", "ruleset"]).output().context("cannot run nft")?;
        let mut found: BTreeSet<String> =
            String::from_utf8_lossy(&rules.stdout).lines().map(|line| format!("rule {line}")).collect();
        let mut named = |kind: &str, names: Vec<String>| {
            let names = names.into_iter().filter(|name| ENGINES.iter().any(|word| name.contains(word)));
            found.extend(names.map(|name| format!("{kind} {name}")));
        };
        named("interface", entries("/sys/class/net"));
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
        named("mount", mounts.lines().map(str::to_owned).collect());
        named("network namespace", entries("/run/netns"));
        for place in ["/sys/fs/cgroup", "/run", "/var/lib", "/var/run"] {
            named(place, entries(place));
        }
        for hierarchy in entries("/sys/fs/cgroup") {
            let place = format!("/sys/fs/cgroup/{hierarchy}");
            if Path::new(&place).is_dir() {
                named(&place, entries(&place));
            }
        }
        Ok(Self(found))
    }

    /// What is here and not there, or there and not here.
    pub(crate) fn beyond(&self, before: &Self) -> String {
        let other: Vec<&str> = self.0.symmetric_difference(&before.0).map(String::as_str).collect();
        other.join("\n")
    }
}

/// The namespaces of all processes that descend from this one, itself included, as links in `/proc` name them.
pub(crate) fn namespaces(first: &Process) -> Result<BTreeSet<String>> {
    let mut family = BTreeSet::from([first.pid()]);
    loop {
        let parents = processes().into_iter().filter_map(|pid| Some((pid, parent(pid)?)));
        let more: Vec<u32> =
            parents.filter(|(_, parent)| family.contains(parent)).map(|(pid, _)| pid).collect();
        let before = family.len();
        family.extend(more);
        if family.len() == before {
            break;
        }
    }
    ensure!(family.len() > 3, "the engine has no processes: {family:?}");
    let ours = namespaces_of(std::process::id());
    Ok(family.into_iter().flat_map(namespaces_of).filter(|namespace| !ours.contains(namespace)).collect())
}

/// Whether no process is in one of these namespaces, and no mount keeps one.
pub(crate) fn ended(namespaces: &BTreeSet<String>) -> Result<()> {
    ensure!(namespaces.len() >= NAMESPACES.len(), "the engine had no namespaces of its own: {namespaces:?}");
    for pid in processes() {
        let kept: Vec<String> = namespaces_of(pid).intersection(namespaces).cloned().collect();
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        ensure!(kept.is_empty(), "process {pid} ({}) is left in {kept:?}", name.trim());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
    let kept = namespaces.iter().find(|namespace| mounts.contains(namespace.as_str()));
    ensure!(kept.is_none(), "a mount keeps {kept:?}");
    Ok(())
}

fn processes() -> Vec<u32> {
    entries("/proc").iter().filter_map(|name| name.parse().ok()).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything; behind it: state, parent.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn namespaces_of(pid: u32) -> BTreeSet<String> {
    let links = NAMESPACES.iter().filter_map(|kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok());
    links.map(|link| link.to_string_lossy().into_owned()).collect()
}

fn entries(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
