//! Gathers the facts: all I/O of the examination.
//!
//! ```text
//!  control socket ─► configuration ─┬─► routes, network managers
//!  addresses ───────────────────────┼─► attempts to connect, if no daemon runs
//!  sockets, programs, sysctls,      ├─► process of the daemon
//!  kernel, processes, clock         └─► state directory, logind
//! ```
//!
//! What stands above each other runs beside each other. A step has a thread and three seconds; a step that hangs in the
//! kernel is abandoned, and ends with the process. Nothing is written.

mod clock;
mod daemon;
mod files;
mod managers;
mod network;
mod processes;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use vipcast_bgp::net::knock;
use vipcast_bgp::wire::Peering;
use vipcast_node::engine::Listing;
use vipcast_node::model::{Config, ConnectMode};
use vipcast_node::names::PeerName;
use vipcast_node::peers::transport;

use super::gathered::{Daemon, Gathered, Logind, Network, Process, StateDir, Way};
use crate::blocking::Threads;
use crate::config::{self, Host};
use crate::control::api::PeerFault;
use crate::logind::{self, SYSTEM_BUS};

/// The time limit of a step.
const PATIENCE: Duration = Duration::from_secs(3);
/// The time limit of an attempt to connect to a router: three SYNs.
const KNOCK: Duration = Duration::from_millis(3_500);
/// The most steps at once.
const STEPS: usize = 32;

/// The subject of an examination.
#[derive(Debug)]
pub struct Subject {
    /// The configuration; `None`: that of the running daemon, or the default.
    pub config: Option<PathBuf>,
    /// The control socket; `None`: that of the configuration.
    pub socket: Option<PathBuf>,
    /// The only peer of interest; `None`: all.
    pub peer: Option<PeerName>,
    /// The root of the files of the host: `/`, or that of a test.
    pub root: PathBuf,
}

/// Runs steps, and keeps the failures.
struct Steps {
    threads: Threads,
    patience: Duration,
    failed: Mutex<Vec<(&'static str, String)>>,
}

impl Steps {
    fn new(patience: Duration) -> Self {
        Self { threads: Threads::new("doctor", STEPS), patience, failed: Mutex::default() }
    }

    /// The result of a step; `None` if it fails or takes too long.
    async fn step<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Option<T> {
        match self.threads.within(self.patience, work).await {
            Ok(Ok(result)) => Some(result),
            Ok(Err(error)) => self.miss(what, vipcast_bgp::net::words::io_error(&error)),
            Err(error) => self.miss(what, error.to_string()),
        }
    }

    fn miss<T>(&self, what: &'static str, why: String) -> Option<T> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).push((what, why));
        None
    }
}

/// The daemon and its configuration.
struct Known {
    socket: PathBuf,
    daemon: Option<Daemon>,
    pid: Option<u32>,
    config_path: PathBuf,
    config: Option<Result<Config, String>>,
}

/// Gathers all facts.
pub async fn gather(subject: &Subject) -> Gathered {
    let steps = Steps::new(PATIENCE);
    let root = || subject.root.clone();
    let proc = || subject.root.join("proc");
    let (at, here, of, by) = (root(), root(), proc(), proc());
    let (known, listing, sockets, programs, settings, kernel, processes, is_synchronised) = tokio::join!(
        known(&steps, subject),
        steps.step("addresses and interfaces", crate::vip::listing),
        steps.step("listening sockets", network::sockets),
        steps.step("programs with sockets", move || processes::programs(&of)),
        steps.step("sysctls", move || files::settings(&at)),
        steps.step("the version of the kernel", move || files::kernel(&here)),
        steps.step("processes", move || processes::by_name(&by)),
        steps.step("the clock", clock::is_synchronised),
    );
    let Known { socket, daemon, pid, config_path, config } = known;
    let (settings, processes) = (settings.unwrap_or_default(), processes.unwrap_or_default());
    let listed = listing.is_some();
    let listing = listing.unwrap_or_default();
    let valid = config.as_ref().and_then(|config| config.as_ref().ok());
    let is_alone = matches!(daemon, Some(Daemon::Absent)) && processes.vipcast.is_empty();
    let (at, proc, links) = (root(), proc(), listing.links.clone());
    let (network, managers, dials, process, state_dir, logind) = tokio::join!(
        network_of(&steps, valid.filter(|_| listed), listing),
        steps.step("network managers", move || managers::read(&at, &links)),
        knocks(valid.filter(|_| is_alone), subject.peer.as_ref()),
        process_of(&steps, proc, pid),
        state_directory_of(&steps, valid),
        logind_of(&steps, valid, subject.root.join(SYSTEM_BUS.trim_start_matches('/'))),
    );
    let (network, ways) = network.map_or_else(Default::default, |(network, ways)| (Some(network), ways));
    Gathered {
        config_path,
        config,
        socket,
        daemon,
        process,
        running: processes.vipcast,
        routing_daemons: processes.routing,
        kernel,
        network,
        ways,
        dials,
        sockets,
        programs: programs.unwrap_or_default(),
        has_ipvs: settings.has_ipvs,
        sysctls: settings.links,
        first_free_port: settings.first_free_port,
        pings_are_free: settings.pings_are_free,
        managers: managers.unwrap_or_default(),
        is_synchronised,
        state_dir,
        logind,
        failed: steps.failed.into_inner().unwrap_or_else(PoisonError::into_inner),
    }
}

/// Asks the daemon, and reads the configuration: the one that was named, or that of the daemon, or the default.
async fn known(steps: &Steps, subject: &Subject) -> Known {
    let named = subject.config.clone();
    let path = named.clone().unwrap_or_else(|| config::DEFAULT_PATH.into());
    let socket = match subject.socket.clone() {
        Some(socket) => Some(socket),
        None => steps.step("the control socket", move || Ok(config::control_socket(&path))).await,
    };
    let socket = socket.unwrap_or_else(|| config::DEFAULT_SOCKET.into());
    let (daemon, pid) = daemon::ask(&socket, PATIENCE).await;
    let of_daemon = match &daemon {
        Daemon::Answers(status) => Some(PathBuf::from(&status.config)),
        Daemon::Absent | Daemon::Forbidden | Daemon::Silent | Daemon::Incomprehensible | Daemon::Fails(_) => {
            None
        }
    };
    let config_path = named.or(of_daemon).unwrap_or_else(|| config::DEFAULT_PATH.into());
    let config = if config_path.is_absolute() || subject.config.is_some() {
        let path = config_path.clone();
        let load = move || {
            match config::load(&path, Host::Lenient) {
                Ok(loaded) => Ok(Ok(loaded.config)),
                // This user may not read it, or a disk errs.
                Err(mistakes) if mistakes.may_pass() => Err(io::Error::other(mistakes.in_line())),
                Err(mistakes) => Ok(Err(mistakes.in_line())),
            }
        };
        steps.step("the configuration", load).await
    } else {
        let why = format!("the daemon has it from {}; name the file", config_path.display());
        steps.miss("the configuration", why)
    };
    Known { socket, daemon: Some(daemon), pid, config_path, config }
}

/// The network, and the way to each peer.
async fn network_of(
    steps: &Steps,
    config: Option<&Config>,
    listing: Listing,
) -> Option<(Network, BTreeMap<PeerName, Result<Way, String>>)> {
    let config = config?.clone();
    steps.step("routes", move || network::read(&config, &listing)).await
}

async fn process_of(steps: &Steps, proc: PathBuf, pid: Option<u32>) -> Option<Process> {
    let pid = pid?;
    steps.step("the process of the daemon", move || processes::of_daemon(&proc, pid)).await
}

async fn state_directory_of(steps: &Steps, config: Option<&Config>) -> Option<StateDir> {
    let path = config?.state_dir.clone();
    steps.step("the state directory", move || files::state_directory(&path)).await?
}

/// Asked only if a shutdown of the machine is to wait for the daemon.
async fn logind_of(steps: &Steps, config: Option<&Config>, bus: PathBuf) -> Option<Logind> {
    if !config?.shutdown.inhibit {
        return None;
    }
    match tokio::time::timeout(PATIENCE, logind::asked::ask(&bus)).await {
        Ok(Ok(logind)) => logind,
        Ok(Err(error)) => steps.miss("logind", vipcast_bgp::net::words::io_error(&error)),
        Err(_late) => steps.miss("logind", format!("no answer after {PATIENCE:?}")),
    }
}

/// Connects to each router that we would dial, or only to one.
async fn knocks(
    config: Option<&Config>,
    only: Option<&PeerName>,
) -> BTreeMap<PeerName, Option<(PeerFault, String)>> {
    let mut knocks = JoinSet::new();
    for (name, peer) in config.iter().flat_map(|config| &config.peers) {
        let dials =
            only.is_none_or(|only| only == name) && peer.mode != ConnectMode::Passive && !peer.lacks_key();
        let Some(transport) = transport(peer).filter(|_| dials) else { continue };
        let peering = if peer.is_internal() { Peering::Internal } else { Peering::External };
        let name = name.clone();
        knocks.spawn(async move {
            let answer = knock(&transport, peering, KNOCK).await;
            (name, answer.err().map(|error| ((&error).into(), format!("cannot connect: {error}"))))
        });
    }
    knocks.join_all().await.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_step_that_fails_hangs_or_panics_is_noted_and_the_others_go_on() {
        let steps = Steps::new(Duration::from_millis(50));
        assert_eq!(steps.step("one", || Ok(7)).await, Some(7));
        let missing = || Err::<u8, _>(io::ErrorKind::NotFound.into());
        assert_eq!(steps.step("two", missing).await, None);
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let wait = move || Ok(held.recv().is_ok());
        assert_eq!(steps.step("three", wait).await, None);
        drop(hold);
        let failed = steps.failed.into_inner().unwrap();
        let failed: Vec<_> = failed.iter().map(|(what, why)| (*what, why.as_str())).collect();
        assert_eq!(failed, [("two", "entity not found"), ("three", "no answer after 50ms")]);
    }
}
