//! Finds other routing daemons on this host, which may announce VIPs that are withheld here.
//!
//! A VIP is on the host from the start, healthy or not (`bind: always`). A daemon that announces the addresses on `lo`
//! (BIRD's `protocol direct`, FRR's `redistribute connected`) also announces the VIP, and traffic goes to a service
//! that is down. There are two signs: the process of such a daemon, and a router's path to a VIP with this host as next
//! hop while we do not announce it. A thread looks for processes in /proc at the start and at each reload.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;
use std::{fs, io, thread};

use ipnet::IpNet;
use tokio::sync::{mpsc, watch};
use vipcast_bgp::Instant;
use vipcast_node::engine::Engine;
use vipcast_node::input::Input;
use vipcast_node::model::{BindPolicy, Config};
use vipcast_node::names::PeerName;
use vipcast_node::notice::{Notice, OtherDaemon};
use vipcast_node::vip::Vip;

use crate::log::note;

/// Programs that announce the host's addresses if they are configured so.
const DAEMONS: [&str; 7] = ["bird", "bird6", "bgpd", "ospfd", "ospf6d", "isisd", "calico-node"];
/// A router may still send our own route for a moment after its withdrawal.
const PATIENCE: Duration = Duration::from_secs(10);
/// The interval between two looks at the routers' paths.
const EVERY: Duration = Duration::from_secs(5);

/// The known daemons and their announcements.
#[derive(Debug)]
pub struct Exporters {
    running: watch::Sender<Option<String>>,
    /// VIPs that another daemon on this host announces, with the warning for each.
    announced: BTreeMap<Vip, String>,
    next_look: Instant,
    noticed: mpsc::UnboundedSender<Input>,
}

impl Exporters {
    /// Nothing is known yet. Findings go to `noticed`.
    pub fn new(noticed: mpsc::UnboundedSender<Input>, now: Instant) -> Self {
        let running = watch::Sender::new(None);
        Self { running, announced: BTreeMap::new(), next_look: now + EVERY, noticed }
    }

    /// Looks for other daemons, if one of them could do harm. Findings are noticed, and show in [`Self::warnings`].
    pub fn look(&self, config: &Config) {
        if is_harmless(config) {
            self.running.send_replace(None);
            return;
        }
        let (running, noticed) = (self.running.clone(), self.noticed.clone());
        let started = thread::Builder::new().name("exporters".to_owned()).spawn(move || {
            let found = daemons(Path::new("/proc")).unwrap_or_default();
            running.send_if_modified(|known| {
                let said = (!found.is_empty()).then(|| running_in_words(&found));
                if *known == said {
                    return false;
                }
                if said.is_some() {
                    // An error occurs only while the daemon ends.
                    drop(noticed.send(Input::Noticed(Notice::OtherDaemons(found))));
                }
                *known = said;
                true
            });
        });
        if let Err(error) = started {
            note!(%error, "cannot look for other routing daemons on this host");
        }
    }

    /// When the next look at the routers' paths is due.
    pub fn deadline(&self) -> Instant {
        self.next_look
    }

    /// Compares the routers' paths with our announcements. `paths` are those to VIPs, with the next hops; `is_ours`
    /// tells whether an address is on this host.
    pub fn listen<'a>(
        &mut self,
        engine: &Engine,
        paths: impl Iterator<Item = (&'a PeerName, IpNet, IpAddr)>,
        is_ours: impl Fn(IpAddr) -> bool,
        now: Instant,
    ) {
        self.next_look = now + EVERY;
        let mut found = BTreeMap::new();
        for (peer, prefix, next_hop) in paths {
            let withheld = engine.standing().get(&prefix).is_some_and(|standing| {
                !standing.decision.verdict.is_announced()
                    && now.saturating_duration_since(standing.since) >= PATIENCE
            });
            if withheld && is_ours(next_hop) {
                found.entry(Vip::from(prefix)).or_insert((peer, next_hop));
            }
        }
        let announced =
            found.iter().map(|(vip, (peer, next_hop))| (*vip, announced_in_words(*vip, peer, *next_hop)));
        let before = std::mem::replace(&mut self.announced, announced.collect());
        for (vip, (peer, next_hop)) in found {
            if !before.contains_key(&vip) {
                let notice = Notice::AnnouncedElsewhere { vip, peer: peer.clone(), next_hop };
                // An error occurs only while the daemon ends.
                drop(self.noticed.send(Input::Noticed(notice)));
            }
        }
    }

    /// The warnings about other daemons.
    pub fn warnings(&self) -> Vec<String> {
        self.running.borrow().iter().chain(self.announced.values()).cloned().collect()
    }

    /// The warnings about single VIPs.
    pub fn announced(&self) -> &BTreeMap<Vip, String> {
        &self.announced
    }
}

/// Whether another daemon can announce none of our VIPs while they are withheld.
pub(crate) fn is_harmless(config: &Config) -> bool {
    config.services.values().all(|service| match service.bind {
        // Bound only while it is announced, or not an address.
        BindPolicy::Announced | BindPolicy::Route => true,
        BindPolicy::Always => false,
    })
}

/// The hint of these warnings.
pub(crate) const HINT: &str = "bind VIPs only while they are announced (`bind: announced`), or filter addresses of protocol 86 in that daemon";

/// The warning about a VIP that another daemon announces.
pub(crate) fn announced_in_words(vip: Vip, peer: &PeerName, next_hop: IpAddr) -> String {
    format!(
        "another daemon on this host announces {}, which is withheld here: {peer} sends a path whose next hop is {next_hop}, \
         an address of this host",
        vip.ip()
    )
}

/// The warning about running daemons.
pub(crate) fn running_in_words(found: &[OtherDaemon]) -> String {
    let named: Vec<String> =
        found.iter().map(|OtherDaemon { name, pid }| format!("{name} (process {pid})")).collect();
    format!(
        "{} on this host: if it announces connected or loopback addresses, it also announces VIPs that are withheld here; \
         `bind: announced` keeps them off the host meanwhile",
        named.join(", ")
    )
}

/// Whether a process may be in our network namespace. Only a process that may trace it can read the link to its
/// namespace (CAP_SYS_PTRACE, which the unit does not grant); but every process can read /proc/PID/net, whose files
/// have inode numbers of the namespace. A process with neither visible may be here, unless it is ending: then it has none.
fn may_be_here(proc: &Path, pid: &Path) -> bool {
    let namespace = |of: &Path| fs::read_link(of.join("ns/net")).ok();
    let file =
        |of: &Path| Some(fs::metadata(of.join("net/dev")).ok()?).map(|about| (about.dev(), about.ino()));
    let us = proc.join("self");
    if let (Some(theirs), Some(ours)) = (namespace(pid), namespace(&us)) {
        return theirs == ours;
    }
    match (file(pid), file(&us)) {
        (Some(theirs), Some(ours)) => theirs == ours,
        (None, _) | (_, None) => pid.exists() && !is_ending(pid),
    }
}

/// Whether a process has given its namespaces back (`PF_EXITING` of the kernel), or is a zombie: fields 3 and 9 of
/// proc_pid_stat(5).
fn is_ending(pid: &Path) -> bool {
    const PF_EXITING: u32 = 0x4;
    let stat = fs::read_to_string(pid.join("stat")).unwrap_or_default();
    // The name in parentheses may have blanks and parentheses.
    let Some((_, fields)) = stat.rsplit_once(')') else { return false };
    let mut fields = fields.split_whitespace();
    let is_dead = fields.next().is_some_and(|state| matches!(state, "Z" | "X"));
    let flags = fields.nth(5).and_then(|flags| flags.parse::<u32>().ok());
    is_dead || flags.is_some_and(|flags| flags & PF_EXITING != 0)
}

/// The daemons in our network namespace, by name and process.
pub(crate) fn daemons(proc: &Path) -> io::Result<Vec<OtherDaemon>> {
    processes(proc, |name| DAEMONS.contains(&name))
}

/// The processes in our network namespace with such a name.
pub(crate) fn processes(proc: &Path, is_wanted: impl Fn(&str) -> bool) -> io::Result<Vec<OtherDaemon>> {
    let mut found: Vec<OtherDaemon> = fs::read_dir(proc)?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            // The process may have ended meanwhile.
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            let name = name.trim_end();
            (is_wanted(name) && may_be_here(proc, &entry.path()))
                .then(|| OtherDaemon { name: name.to_owned(), pid })
        })
        .collect();
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn daemons_of_this_network_namespace_are_found_and_others_are_not() {
        let proc = std::env::temp_dir().join(format!("vipcast-exporters-{}", std::process::id()));
        for (pid, comm, namespace) in [
            ("7", "bird", "net:[1]"),
            ("8", "bgpd", "net:[2]"),
            ("9", "birdwatcher", "net:[1]"),
            ("10", "bgpd", "net:[1]"),
            ("self", "vipcast", "net:[1]"),
            // Processes without a readable link: with the files of our namespace, of another one, and with none
            // visible.
            ("11", "ospfd", "ours"),
            ("12", "ospfd", "other"),
            ("13", "ospfd", "hidden"),
            ("14", "ospfd", "hidden"),
            ("15", "ospfd", "hidden"),
        ] {
            let process = proc.join(pid);
            fs::create_dir_all(process.join("ns")).unwrap();
            fs::write(process.join("comm"), format!("{comm}\n")).unwrap();
            let net = |of: &str| {
                fs::create_dir_all(proc.join(of)).unwrap();
                fs::write(proc.join(of).join("dev"), "").unwrap();
                symlink(proc.join(of), process.join("net")).unwrap();
            };
            match namespace {
                "hidden" => {}
                "ours" | "other" => net(namespace),
                readable => {
                    symlink(readable, process.join("ns/net")).unwrap();
                    net(if readable == "net:[1]" { "ours" } else { "other" });
                }
            }
        }
        for (pid, stat) in [
            ("13", "13 (ospfd) S 1 13 13 0 -1 4194560 0"),
            ("14", "14 (ospfd) Z 1 14 14 0 -1 4194560 0"),
            ("15", "15 (a ) b) R 1 15 15 0 -1 4194308 0"),
        ] {
            fs::write(proc.join(pid).join("stat"), stat).unwrap();
        }
        let found = daemons(&proc);
        fs::remove_dir_all(&proc).unwrap();
        let found = found.unwrap();
        let named: Vec<_> = found.iter().map(|daemon| (daemon.name.as_str(), daemon.pid)).collect();
        assert_eq!(named, [("bgpd", 10), ("bird", 7), ("ospfd", 11), ("ospfd", 13)]);
        let said = running_in_words(&found[..2]);
        assert!(said.starts_with("bgpd (process 10), bird (process 7) on this host"), "{said}");
        assert!(said.contains("`bind: announced`"), "{said}");
    }
}
