//! `vipcast-lab bench`: the cost of vipcast, compared with programs that do a part of its work.
//!
//! ```text
//!  Bench ──► field: contenders that can ──► rounds ──► Table ──► Section ──► Report ──► terminal, docs/benchmarks.md
//!                                             │
//!                                             └─ a lab of its own for each: hosts, sink, contender; gone before the next
//! ```
//!
//! A contender that fails has a row that says so, and the others go on. After an interrupt the undertaker of the lab
//! clears up, as after a test.
//!
//! | To … | see |
//! | --- | --- |
//! | add a contender | [`contender`]: one file, and its line in `contender::all` |
//! | add a bench | a variant of [`Bench`] and its file |
//! | change the page | [`report`], [`table`] |

mod announce;
mod bfd;
mod bind;
mod checks;
mod contender;
mod failover;
mod memory;
mod provenance;
mod report;
mod samples;
mod table;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::ValueEnum;
use vipcast_lab::{Host, Lab, Link, Neighbor, Process, Router, RouterConfig, RouterKind, Subnet, wait};

use self::contender::{Contender, LOCAL_AS, Part, ROUTER_AS, Vipcast};
use self::report::{Report, Section};
use crate::BenchArguments;

/// More than anything here takes, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bench {
    /// HTTP checks of many servers
    Checks,
    /// The memory that VIPs with a check each take
    Memory,
    /// Announcing prefixes that need no binding
    Announce,
    /// Binding and announcing VIPs
    Bind,
    /// From the death of a service to the withdrawal, and on to the router's kernel
    Failover,
    /// From the silence of a router to the end of its session
    Bfd,
}

impl Bench {
    fn run(self, context: &Context) -> Result<Section> {
        match self {
            Self::Checks => checks::run(context),
            Self::Memory => memory::run(context),
            Self::Announce => announce::run(context),
            Self::Bind => bind::run(context),
            Self::Failover => failover::run(context),
            Self::Bfd => bfd::run(context),
        }
    }
}

/// What all benches have.
pub(crate) struct Context {
    contenders: Vec<Box<dyn Contender>>,
    vipcast: Vipcast,
    /// This program, for its servers.
    own: PathBuf,
    rounds: u32,
    quick: bool,
}

/// A contender that takes part.
pub(crate) struct Starter<'a> {
    pub(crate) contender: &'a dyn Contender,
    most: u32,
}

impl Starter<'_> {
    /// How much of `wanted` it does.
    pub(crate) fn count(&self, wanted: u32) -> u32 {
        wanted.min(self.most)
    }

    /// The part of `wanted` that it does.
    pub(crate) fn share(&self, wanted: u32) -> f64 {
        f64::from(self.count(wanted)) / f64::from(wanted)
    }

    /// Its name, with the part that it does when that is not all.
    pub(crate) fn label(&self, wanted: u32) -> String {
        let (name, share) = (self.contender.name(), self.share(wanted));
        if share < 1.0 { format!("{name}, {:.0} %", 100.0 * share) } else { name.to_owned() }
    }
}

impl Context {
    /// Who takes part in a bench, and why the others do not, or not in all of it.
    fn field(&self, bench: Bench) -> (Vec<Starter<'_>>, Vec<String>) {
        let (mut starters, mut absent) = (Vec::new(), Vec::new());
        for contender in self.contenders.iter().map(AsRef::as_ref) {
            match contender.part(bench) {
                Part::Whole => starters.push(Starter { contender, most: u32::MAX }),
                Part::AtMost(most, reason) => {
                    absent.push(format!("{} does a part: {reason}", contender.name()));
                    starters.push(Starter { contender, most });
                }
                Part::None(reason) => absent.push(format!("{} is not in it: {reason}", contender.name())),
            }
        }
        (starters, absent)
    }

    /// One of two sizes.
    fn size<T>(&self, whole: T, quick: T) -> T {
        if self.quick { quick } else { whole }
    }

    /// Calls `once` for each round, and says on standard error how far it is.
    fn rounds(&self, what: &str, mut once: impl FnMut()) {
        for round in 1..=self.rounds {
            eprintln!("{what}: round {round} of {}", self.rounds);
            once();
        }
    }

    /// Starts servers on a host, and returns when they listen.
    fn serve(&self, host: &Host, arguments: &[String]) -> Result<Process> {
        let mut command = host.command(&self.own);
        command.arg("serve").args(arguments);
        let process = host.spawn("servers", command)?;
        wait::until("the servers to listen", PATIENCE, || {
            let log = process.log();
            ensure!(process.is_running(), "they ended: {log}");
            ensure!(log.lines().any(|line| line == "ready"), "{log}");
            Ok(())
        })?;
        Ok(process)
    }
}

/// A contender's host and the router that it talks to.
pub(crate) struct Rack {
    pub(crate) edge: Host,
    pub(crate) link: Link,
    pub(crate) router: Arc<dyn Router>,
    pub(crate) router_address: std::net::IpAddr,
    pub(crate) local: std::net::IpAddr,
    /// The last to go.
    _lab: Lab,
}

impl Rack {
    /// A router of this kind, as `shape` makes it and its neighbour.
    pub(crate) fn new(
        kind: RouterKind,
        shape: impl FnOnce(RouterConfig, Neighbor) -> RouterConfig,
    ) -> Result<Self> {
        let lab = Lab::new("bench")?;
        let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
        let link = lab.link(&tor, &edge, Subnet::v4(1))?;
        let (router_address, local) = (link.v4(&tor)?, link.v4(&edge)?);
        let config = RouterConfig::new(ROUTER_AS, std::net::Ipv4Addr::new(10, 0, 0, 1));
        // Nobody's session may end because two cores have too much to do.
        let neighbor = Neighbor::new(local, LOCAL_AS).hold_time(180);
        let router = lab.router(kind, &tor, &shape(config, neighbor))?;
        Ok(Self { edge, link, router, router_address, local, _lab: lab })
    }

    /// One that only counts: its kernel has no part in it. It dials every second, for those who wait longer before they do.
    pub(crate) fn sink() -> Result<Self> {
        Self::new(RouterKind::Frr, |config, neighbor| config.without_kernel().neighbor(neighbor))
    }

    /// How long after `begun` the router had the first of `count` routes, and how long until it had all.
    pub(crate) fn count(
        &self,
        count: usize,
        begun: Instant,
        mut alive: impl FnMut() -> Result<()>,
    ) -> Result<(Duration, Duration)> {
        let mut first = None;
        loop {
            let has = self.router.count(self.local)?;
            if has > 0 {
                first.get_or_insert_with(|| begun.elapsed());
            }
            if has >= count {
                return Ok((first.unwrap_or_default(), begun.elapsed()));
            }
            alive()?;
            ensure!(begun.elapsed() < PATIENCE, "only {has} of {count} routes are there after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Runs benches, all if none is named, and returns what they have shown.
///
/// # Errors
/// When this machine cannot run a lab, or there is no vipcast.
pub(crate) fn run(arguments: &BenchArguments) -> Result<Report> {
    let BenchArguments { names, only, rounds, quick, vipcast, write: _ } = arguments;
    Lab::available_with(&[RouterKind::Bird, RouterKind::Frr])
        .map_err(|reason| anyhow!("benches need root, network namespaces and two routers: {reason}"))?;
    provenance::raise_descriptors()?;
    let vipcast = provenance::vipcast(vipcast.as_deref())?;
    let mut contenders = contender::all(&vipcast);
    if !only.is_empty() {
        let is_meant = |name: &str| only.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
        contenders.retain(|contender| is_meant(contender.name()));
        ensure!(!contenders.is_empty(), "there is no contender {}", only.join(", "));
    }
    let (present, absent): (Vec<_>, Vec<_>) =
        contenders.into_iter().map(|one| (one.available(), one)).partition(|(here, _)| here.is_ok());
    let context = Context {
        contenders: present.into_iter().map(|(_, contender)| contender).collect(),
        vipcast: Vipcast::new(&vipcast),
        own: std::env::current_exe().context("cannot find this program")?,
        rounds: if *quick { 1 } else { *rounds },
        quick: *quick,
    };
    let missing: Vec<String> = absent.into_iter().filter_map(|(here, _)| here.err()).collect();
    for reason in &missing {
        eprintln!("{reason}; it is left out");
    }
    let benches = if names.is_empty() { Bench::value_variants() } else { names };
    let mut sections = Vec::new();
    for bench in benches {
        let begun = Instant::now();
        sections.push(bench.run(&context)?);
        eprintln!("{bench:?}: {:.0} s", begun.elapsed().as_secs_f64());
    }
    let versions = provenance::versions(&context.contenders)?;
    Ok(Report {
        machine: provenance::machine()?,
        versions,
        missing,
        rounds: context.rounds,
        quick: *quick,
        sections,
    })
}
