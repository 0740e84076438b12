//! The lab: founds hosts, links and routers, dumps all of it when a test fails, and clears everything away.

use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use ipnet::IpNet;

use crate::host::Host;
use crate::link::{Link, Subnet};
use crate::process::tail;
use crate::remains::{self, Claim};
use crate::router::{self, Router, RouterConfig, RouterKind};
use crate::{agent, wait};

/// Programs that every lab needs, and the Debian packages they come in.
const PROGRAMS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("ss", "iproute2"),
    ("nsenter", "util-linux"),
    ("timeout", "coreutils"),
    ("tcpdump", "tcpdump"),
    ("nft", "nftables"),
];

/// How many lines of each log are in a dump.
const LOG_LINES: usize = 60;

/// A rack in network namespaces. Everything it started is gone after it was dropped, after a panic, and after this
/// process was killed; see the module `remains`.
#[derive(Debug)]
pub struct Lab {
    scene: Arc<Scene>,
    undertaker: Mutex<Child>,
}

/// What hosts, processes and routers share: where the files are, and who else is there.
#[derive(Debug)]
pub(crate) struct Scene {
    name: String,
    claim: Claim,
    hosts: Mutex<Vec<Host>>,
    routers: Mutex<Vec<Arc<dyn Router>>>,
    numbers: AtomicU32,
    dumped: AtomicBool,
}

impl Lab {
    /// Founds a lab, after burying those whose process has died. `name` is for people only.
    ///
    /// # Errors
    /// When this machine cannot run one ([`Lab::available`] says why), or the agent cannot be built.
    pub fn new(name: &str) -> Result<Self> {
        Self::available().map_err(|reason| anyhow!("no lab on this machine: {reason}"))?;
        let agent = agent::path()?;
        let claim = Claim::new()?;
        let undertaker = undertaker(&agent, &claim.prefix)?;
        let scene = Scene {
            name: name.to_owned(),
            claim,
            hosts: Mutex::default(),
            routers: Mutex::default(),
            numbers: AtomicU32::new(1),
            dumped: AtomicBool::new(false),
        };
        Ok(Self { scene: Arc::new(scene), undertaker: Mutex::new(undertaker) })
    }

    /// Runs a test in a new lab. When it returns an error, the lab is dumped to standard error before it is
    /// cleared away (after a panic it always is).
    ///
    /// # Errors
    /// Those of [`Lab::new`] and of the test.
    pub fn run<T>(name: &str, test: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let lab = Self::new(name)?;
        let result = test(&lab);
        if result.is_err() {
            lab.scene.dump_once("the test failed");
        }
        result
    }

    /// Whether this machine can run a lab, and if not, why.
    ///
    /// # Errors
    /// The reason, in words for the one who reads "skipped".
    pub fn available() -> Result<(), String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("not root".to_owned());
        }
        for (program, package) in PROGRAMS {
            if find_program(program).is_none() {
                return Err(format!("{program} is missing (Debian package {package})"));
            }
        }
        static NAMESPACES: Mutex<Option<Result<(), String>>> = Mutex::new(None);
        unpoisoned(&NAMESPACES).get_or_insert_with(try_namespaces).clone()
    }

    /// Whether this machine can run a lab with these routers, and if not, why.
    ///
    /// # Errors
    /// The first reason found.
    pub fn available_with(kinds: &[RouterKind]) -> Result<(), String> {
        Self::available()?;
        kinds.iter().try_for_each(|kind| kind.available())
    }

    /// Adds a host.
    ///
    /// # Errors
    /// When there is one of this name already, or the namespace cannot be made.
    pub fn host(&self, name: &str) -> Result<Host> {
        ensure!(self.hosts().iter().all(|host| host.name() != name), "there are two hosts named {name}");
        let host = Host::new(&self.scene, name)?;
        unpoisoned(&self.scene.hosts).push(host.clone());
        Ok(host)
    }

    /// Connects two hosts. `a` gets the first address of the subnet, `b` the second.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn link(&self, a: &Host, b: &Host, subnet: Subnet) -> Result<Link> {
        Link::with_subnet(a, b, subnet)
    }

    /// Connects two hosts with explicit addresses.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn link_addresses(&self, a: (&Host, &[IpNet]), b: (&Host, &[IpNet])) -> Result<Link> {
        Link::with_addresses(a, b)
    }

    /// Starts a router on a host and waits until it answers. The lab keeps it until it ends; to end it sooner,
    /// [`Router::stop`] or [`Router::kill`] it.
    ///
    /// # Errors
    /// When it does not start, with its log.
    pub fn router(&self, kind: RouterKind, host: &Host, config: &RouterConfig) -> Result<Arc<dyn Router>> {
        let router = router::start(kind, host, config)?;
        unpoisoned(&self.scene.routers).push(Arc::clone(&router));
        Ok(router)
    }

    /// [`wait::until`], with a dump of the lab on standard error when it times out.
    ///
    /// # Errors
    /// After `timeout`, with the last status.
    pub fn until<T>(
        &self,
        what: impl Display,
        timeout: Duration,
        probe: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        wait::until(what, timeout, probe).inspect_err(|error| self.scene.dump_once(&format!("{error:#}")))
    }

    /// The state of everything: routers, hosts (addresses, routes, sockets), the ends of all logs.
    pub fn dump(&self) -> String {
        self.scene.dump()
    }

    /// All hosts so far.
    pub fn hosts(&self) -> Vec<Host> {
        unpoisoned(&self.scene.hosts).clone()
    }

    /// Where configuration and log files are until the lab ends.
    pub fn directory(&self) -> &Path {
        self.scene.directory()
    }

    /// What the names of all namespaces of this lab begin with.
    pub fn prefix(&self) -> &str {
        self.scene.prefix()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.scene.dump_if_panicking();
        // Routers and hosts hold the scene and it holds them: let go, so that all are freed.
        let routers = std::mem::take(&mut *unpoisoned(&self.scene.routers));
        let hosts = std::mem::take(&mut *unpoisoned(&self.scene.hosts));
        for router in &routers {
            router.kill();
        }
        if let Err(error) = remains::bury(self.prefix()) {
            complain(&format!("lab {}: {error:#}", self.scene.name));
        }
        let mut undertaker = unpoisoned(&self.undertaker);
        drop(undertaker.stdin.take());
        let _status = undertaker.wait();
        drop((routers, hosts));
    }
}

impl Scene {
    pub(crate) fn prefix(&self) -> &str {
        &self.claim.prefix
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.claim.directory
    }

    /// A number that nobody else in this lab gets.
    pub(crate) fn next_number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Called by whatever is dropped first while the stack unwinds.
    pub(crate) fn dump_if_panicking(&self) {
        if std::thread::panicking() {
            self.dump_once("panic");
        }
    }

    fn dump_once(&self, cause: &str) {
        if !self.dumped.swap(true, Ordering::Relaxed) {
            complain(&format!(
                "##### lab {} ({}): {cause}\n{}\n#####",
                self.name,
                self.prefix(),
                self.dump()
            ));
        }
    }

    fn dump(&self) -> String {
        let routers = unpoisoned(&self.routers).clone();
        let hosts = unpoisoned(&self.hosts).clone();
        let mut parts: Vec<String> = routers.iter().map(|router| router.dump()).collect();
        parts.extend(hosts.iter().map(Host::dump));
        parts.extend(self.logs());
        parts.join("\n")
    }

    fn logs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory()).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        paths.sort();
        let show = |path: &std::path::PathBuf| {
            let bytes = fs::read(path).unwrap_or_default();
            format!("=== {} ===\n{}", path.display(), tail(&String::from_utf8_lossy(&bytes), LOG_LINES))
        };
        paths.iter().map(show).collect()
    }
}

/// Runs a command to its end and returns its standard output; its standard error is in the error.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        // Some tools (vtysh, birdc) complain on standard output.
        let words = [output.stderr, output.stdout].concat();
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&words).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Looks in `PATH` and where Debian keeps daemons.
pub fn find_program(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(Into::into));
    directories.map(|directory| directory.join(name)).find(|program| program.is_file())
}

/// A panic elsewhere while a lock was held changes nothing for clearing away.
pub(crate) fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A container may have root and the programs, and yet no right to make a namespace.
fn try_namespaces() -> Result<(), String> {
    let mut command = Command::new("unshare");
    run(command.args(["--net", "ip", "link", "set", "lo", "up"]))
        .map(drop)
        .map_err(|error| format!("{error:#}"))
}

/// Starts the process that buries the lab when this one cannot. Its group is its own, so that what ends a test run
/// by its group spares it.
fn undertaker(agent: &Path, prefix: &str) -> Result<Child> {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(agent);
    command.args(["undertake", prefix]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.process_group(0).spawn().with_context(|| format!("cannot start {}", agent.display()))
}

#[expect(clippy::print_stderr, reason = "a failing test shows its lab there")]
fn complain(text: &str) {
    eprintln!("{text}");
}
