//! The measured programs: one file each, behind one trait.
//!
//! A contender says which benches it can do, and starts itself for them on a host of the lab. For a bench that it
//! cannot do it gives a reason, which stands below the table.

mod bird;
mod exabgp;
mod gobgp;
mod haproxy;
mod keepalived;
mod kernel;
mod vipcast;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ipnet::Ipv4Net;
use vipcast_lab::{Host, Process, find_program, wait};

pub(crate) use self::vipcast::Vipcast;
use super::{Bench, PATIENCE};

/// The AS number of contenders.
pub(crate) const LOCAL_AS: u32 = 65001;
/// The AS number of the routers they talk to.
pub(crate) const ROUTER_AS: u32 = 65000;
/// The BGP identifier of contenders.
pub(crate) const ROUTER_ID: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// What a contender does in a bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All that is asked.
    Whole,
    /// No more than so much of it, for a reason.
    AtMost(u32, &'static str),
    /// Nothing, for a reason.
    None(&'static str),
}

/// HTTP checks of servers on 127.0.0.1, one a second each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checks {
    /// How many.
    pub(crate) count: u32,
    /// The first of the ports, over which they are spread.
    pub(crate) first: u16,
    /// How many ports there are.
    pub(crate) ports: u16,
    /// So many checks have a VIP of their own, where there are VIPs; the others belong to one more.
    pub(crate) vips: u32,
}

impl Checks {
    /// The ports to ask, one a check.
    pub(crate) fn targets(&self) -> impl Iterator<Item = u16> {
        let Self { count, first, ports, .. } = *self;
        (0..count).map(move |number| {
            // Less than the number of ports, which is one of u16.
            first + u16::try_from(number % u32::from(ports)).unwrap_or(0)
        })
    }
}

/// A router and what it is to be told.
#[derive(Debug, Clone)]
pub(crate) struct Announce {
    /// The address of the router.
    pub(crate) router: IpAddr,
    /// The address of the contender.
    pub(crate) local: IpAddr,
    /// What is announced.
    pub(crate) prefixes: Vec<Ipv4Net>,
}

/// What a VIP is on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binding {
    /// A local route.
    Route,
    /// An address.
    Address,
}

/// A service that dies: one VIP depends on whether a program listens on a port of 127.0.0.1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch {
    /// The address of the router.
    pub(crate) router: IpAddr,
    /// The address of the contender.
    pub(crate) local: IpAddr,
    /// What depends on the service.
    pub(crate) vip: Ipv4Addr,
    /// Where the service listens.
    pub(crate) port: u16,
}

/// A router that is watched with BFD.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bfd {
    /// The address of the router.
    pub(crate) router: IpAddr,
    /// The address of the contender.
    pub(crate) local: IpAddr,
    /// Between two packets, both ways.
    pub(crate) interval: Duration,
    /// How many may be lost.
    pub(crate) multiplier: u8,
}

/// A program that is measured, and what runs beside it on its behalf, which is not.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) _beside: Vec<Process>,
}

impl From<Process> for Running {
    fn from(process: Process) -> Self {
        Self { process, _beside: Vec::new() }
    }
}

impl Running {
    /// Waits until `probe` succeeds, for as long as the contender runs.
    pub(crate) fn until<T>(&self, what: &str, mut probe: impl FnMut() -> Result<T>) -> Result<T> {
        wait::until(what, PATIENCE, || match self.expect_alive() {
            Ok(()) => probe().map(Ok),
            Err(ended) => Ok(Err(ended)),
        })?
    }

    /// Fails when the contender has ended.
    pub(crate) fn expect_alive(&self) -> Result<()> {
        match self.process.exit_status()? {
            None => Ok(()),
            Some(status) => {
                let log = self.process.log();
                let last = log.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
                bail!("it ended: {status}: {}", last.trim())
            }
        }
    }
}

/// A program that does a part of vipcast's work.
pub(crate) trait Contender {
    /// Its name in tables.
    fn name(&self) -> &'static str;

    /// The program.
    fn program(&self) -> &Path;

    /// The Debian package of the program.
    fn package(&self) -> &'static str;

    /// What it says of its version.
    fn version(&self) -> Result<String>;

    /// What it does in a bench.
    fn part(&self, bench: Bench) -> Part;

    /// Begins to check.
    fn check(&self, _host: &Host, _work: &Checks) -> Result<Running> {
        self.unable()
    }

    /// Begins to announce what need not be bound.
    fn announce(&self, _host: &Host, _work: &Announce) -> Result<Running> {
        self.unable()
    }

    /// Begins to bind VIPs, and to announce each when it is bound.
    fn bind(&self, _host: &Host, _work: &Announce, _binding: Binding) -> Result<Running> {
        self.unable()
    }

    /// Begins to watch a service.
    fn watch(&self, _host: &Host, _work: &Watch) -> Result<Running> {
        self.unable()
    }

    /// Begins to watch a router.
    fn bfd(&self, _host: &Host, _work: &Bfd) -> Result<Running> {
        self.unable()
    }

    /// For what its [`part`](Self::part) excludes.
    fn unable(&self) -> Result<Running> {
        bail!("{} has no part in this", self.name())
    }

    /// A command on a host, wherever Debian keeps the program.
    fn command(&self, host: &Host) -> Command {
        host.command(found(self.program()))
    }

    /// Whether it is here, and if not, what to install.
    fn available(&self) -> Result<(), String> {
        if found(self.program()).is_file() {
            Ok(())
        } else {
            Err(format!("{} is not installed (Debian package {})", self.name(), self.package()))
        }
    }
}

/// All of them; vipcast is the first.
pub(crate) fn all(vipcast: &Path) -> Vec<Box<dyn Contender>> {
    vec![
        Box::new(Vipcast::new(vipcast)),
        Box::new(haproxy::HaProxy),
        Box::new(bird::Bird),
        Box::new(exabgp::ExaBgp),
        Box::new(gobgp::GoBgp),
        Box::new(keepalived::Keepalived),
        Box::new(kernel::Kernel),
    ]
}

/// A program by its whole path, if it is anywhere.
fn found(program: &Path) -> PathBuf {
    program.to_str().and_then(find_program).unwrap_or_else(|| program.to_owned())
}

/// The first line that a program prints, on either output.
fn first_line(program: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(found(program)).args(arguments).output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// The first word of a text that begins with a digit, perhaps behind a `v`.
fn number_in(text: &str) -> String {
    let mut words = text.split([' ', ',']).map(|word| word.trim_start_matches('v'));
    words.find(|word| word.starts_with(|c: char| c.is_ascii_digit())).unwrap_or("?").to_owned()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_bench_has_vipcast_and_a_reason_for_all_who_are_absent() {
        let contenders = all(Path::new("vipcast"));
        for bench in Bench::value_variants() {
            assert_eq!(contenders[0].part(*bench), Part::Whole, "{bench:?}");
            for contender in &contenders {
                if let Part::None(reason) | Part::AtMost(_, reason) = contender.part(*bench) {
                    assert!(!reason.is_empty() && !reason.ends_with('.'), "{} {bench:?}", contender.name());
                }
            }
        }
    }

    #[test]
    fn names_are_told_once_and_fit_a_table() {
        let contenders = all(Path::new("vipcast"));
        let names: Vec<_> = contenders.iter().map(|contender| contender.name()).collect();
        assert_eq!(names, ["vipcast", "HAProxy", "BIRD", "ExaBGP", "GoBGP", "keepalived", "kernel"]);
    }

    #[test]
    fn a_version_is_the_first_number() {
        assert_eq!(number_in("HAProxy version 2.6.12-1 2026/10/17"), "2.6.12-1");
        assert_eq!(number_in("Keepalived v2.2.7 (01/16,2022)"), "2.2.7");
    }

    #[test]
    fn checks_are_spread_over_all_ports() {
        let work = Checks { count: 5, first: 10_000, ports: 2, vips: 0 };
        assert_eq!(work.targets().collect::<Vec<_>>(), [10_000, 10_001, 10_000, 10_001, 10_000]);
    }
}
