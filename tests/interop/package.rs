//! The Debian package under a real systemd: the effect of each step on the daemon, and on the traffic of the node.
//!
//! ```text
//!  client ── tor (FRR) ──┬── edge     a booted machine of its own, with the package
//!                        └── other    another node, for tests that need one with traffic
//! ```
//!
//! The older version is the same program under a lower number.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast_lab::{
    Bfd, Client, EchoServer, Host, Lab, Machine, Neighbor, Router, RouterConfig, RouterKind, Subnet,
};

use crate::SOON;
use crate::node::{Node, VIPCAST};

const VIP: &str = "192.0.2.10";
const OLD: &str = "0.0.9-1";
pub(crate) const NEW: &str = "0.1.0-1";
pub(crate) const CONFIG: &str = "/etc/vipcast/vipcast.yaml";

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn(&Lab) -> Result<()>| {
        let needs = available().and_then(|()| Lab::available_with(&[RouterKind::Frr]));
        let lab = name.to_owned();
        vipcast_lab::trial(name, needs, move || Lab::run(&lab, test))
    };
    vec![
        trial("package::an_installation_neither_enables_nor_starts_the_service", installed),
        trial(
            "package::upgrade_downgrade_and_reinstallation_are_seen_by_no_router_and_lose_nothing",
            upgraded,
        ),
        trial("package::an_upgrade_of_a_daemon_that_cannot_hand_over_is_a_graceful_restart", older),
        trial("package::an_upgrade_that_is_refused_leaves_the_old_daemon_running_and_says_so", not_replaced),
        trial("package::an_upgrade_that_fails_leaves_the_daemon_alone", failed),
        trial(
            "package::an_upgrade_that_cannot_be_configured_leaves_the_old_daemon_until_it_can",
            not_configured,
        ),
        trial("package::a_removal_drains_the_node_and_a_purge_leaves_nothing", removed),
        trial("package::without_systemd_it_installs_and_removes_files_alone", without_systemd),
        vipcast_lab::trial("package::lintian_has_nothing_to_say", lintian_available(), lintian),
    ]
}

pub(crate) fn available() -> Result<(), String> {
    Machine::available()?;
    buildable()
}

fn lintian_available() -> Result<(), String> {
    buildable()?;
    is_there("lintian", "lintian")
}

fn buildable() -> Result<(), String> {
    is_there("dpkg-shlibdeps", "dpkg-dev")?;
    is_there("strip", "binutils")
}

fn is_there(program: &str, package: &str) -> Result<(), String> {
    let there = Path::new("/usr/bin").join(program).exists();
    if there { Ok(()) } else { Err(format!("{program} is missing (Debian package {package})")) }
}

/// The package of this tree with that version, built once for all tests.
fn package(version: &str) -> Result<PathBuf> {
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("package-{}", std::process::id()));
    package_of(&VIPCAST, version, &output)
}

/// The package with that program, which is built where there is none of that version.
fn package_of(program: &str, version: &str, output: &Path) -> Result<PathBuf> {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = || -> Option<PathBuf> {
        let mut entries = std::fs::read_dir(output).ok()?.flatten().map(|entry| entry.path());
        entries.find(|path| path.to_string_lossy().contains(&format!("vipcast_{version}_")))
    };
    if let Some(path) = built() {
        return Ok(path);
    }
    let mut build = Command::new(root.join("packaging/deb/build"));
    build.args(["--fast", "--binary", program, "--version", version, "--output"]).arg(output);
    let done = build.output().context("cannot run packaging/deb/build")?;
    ensure!(done.status.success(), "packaging/deb/build: {}", String::from_utf8_lossy(&done.stderr));
    built().context("packaging/deb/build made no package")
}

/// A router, and a machine that has the package's traffic.
pub(crate) struct Site<'a> {
    lab: &'a Lab,
    edge: Host,
    other: Host,
    client: Host,
    router: Arc<dyn Router>,
    pub(crate) machine: Machine,
    _servers: Vec<EchoServer>,
}

impl<'a> Site<'a> {
    pub(crate) fn new(lab: &'a Lab, graceful: bool) -> Result<Self> {
        let (tor, client) = (lab.host("tor")?, lab.host("client")?);
        lab.link(&tor, &client, Subnet::dual(9))?;
        client.route(&["default", "via", "10.0.9.1"])?;
        let mut config = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1));
        let mut hosts = Vec::new();
        let mut servers = Vec::new();
        for (name, number) in [("edge", 1_u8), ("other", 2)] {
            let host = lab.host(name)?;
            let link = lab.link(&tor, &host, Subnet::dual(number))?;
            host.route(&["default", "via", &link.v4(&tor)?.to_string()])?;
            let neighbor = Neighbor::new(link.v4(&host)?, 65000 + u32::from(number));
            // BFD stays down until a test asks for it; slow, because the daemon has no real-time priority there.
            config = config.neighbor(match graceful {
                true => neighbor.graceful_restart(),
                false => neighbor.bfd(Bfd::new(1000, 5)),
            });
            servers.push(EchoServer::start(&host, name, "[::]:7".parse()?, Some("[::]:8080".parse()?))?);
            hosts.push(host);
        }
        let router = lab.router(RouterKind::Frr, &tor, &config)?;
        let machine = Machine::boot(&hosts[0])?;
        let [edge, other] = <[Host; 2]>::try_from(hosts).ok().context("two hosts")?;
        Ok(Self { lab, edge, other, client, router, machine, _servers: servers })
    }

    /// The configuration of node `number`.
    pub(crate) fn config(number: u8, graceful: bool) -> String {
        format!(
            "local_as: {}
peers:
  tor: {{address: 10.0.{number}.1, peer_as: 65000, graceful_restart: {graceful}}}
checks:
  web:
    http: {{url: \"http://127.0.0.1:8080/healthz\"}}
    interval: 1s
    fast_interval: 100ms
    timeout: 1s
services:
  web: {{vips: [{VIP}], checks: [web]}}
shutdown: {{drain_time: 500ms, unbind_delay: 200ms}}
",
            65000 + u32::from(number)
        )
    }

    fn dpkg(&self, arguments: &str) -> Result<String> {
        self.machine.shell(&format!("dpkg --force-unsafe-io {arguments}"))
    }

    pub(crate) fn install(&self, version: &str) -> Result<String> {
        self.install_file(&package(version)?)
    }

    fn install_file(&self, package: &Path) -> Result<String> {
        let package = self.machine.copy(package)?;
        self.dpkg(&format!("--install {}", package.display()))
    }

    /// Tries to install the new version with a script that fails when it is called with that word, and tells what dpkg said.
    fn install_broken(&self, script: &str, word: &str) -> Result<String> {
        let package = self.machine.copy(&package(NEW)?)?;
        let unpacked = format!("/root/{script}");
        self.machine.run(&["dpkg-deb", "--raw-extract", &package.to_string_lossy(), &unpacked])?;
        let path = format!("{unpacked}/DEBIAN/{script}");
        self.machine.write(&path, &fails_at(word))?;
        self.machine.run(&["chmod", "755", &path])?;
        self.machine.run(&["dpkg-deb", "-Znone", "--build", &unpacked, "/root/broken.deb"])?;
        match self.dpkg("--install /root/broken.deb") {
            Ok(said) => bail!("{script}: the broken package was installed: {said}"),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    /// Installs the old version, and starts it as an operator does.
    pub(crate) fn start(&self, graceful: bool) -> Result<()> {
        self.install(OLD)?;
        self.enable(&Self::config(1, graceful))
    }

    fn enable(&self, config: &str) -> Result<()> {
        self.machine.write(CONFIG, config)?;
        self.machine.run(&["vipcast", "check"])?;
        self.machine.run(&["systemctl", "enable", "--now", "vipcast"])?;
        self.wait_next_hops(&["10.0.1.2"])
    }

    /// Waits until the kernel of the router sends the VIP there and nowhere else.
    pub(crate) fn wait_next_hops(&self, wanted: &[&str]) -> Result<()> {
        let vip: IpNet = format!("{VIP}/32").parse()?;
        self.lab.until(format_args!("the router to have the next hops {wanted:?}"), SOON, || {
            let routes = self.router.host().routes(vip)?;
            let hops = routes.iter().flat_map(|route| route.next_hops.iter().filter_map(|hop| hop.gateway));
            let mut hops: Vec<String> = hops.map(|hop| hop.to_string()).collect();
            hops.sort();
            ensure!(hops == wanted, "{hops:?}; the journal: {}", self.journal());
            Ok(())
        })
    }

    /// What a client loses while something happens, and what came of that. Its answers come from `servers` before.
    pub(crate) fn under_traffic<T>(&self, servers: &[&str], what: impl FnOnce() -> Result<T>) -> Result<T> {
        let client = Client::start(&self.client, format!("{VIP}:7").parse()?)?;
        client.wait_for_servers(servers, SOON)?;
        let done = what()?;
        let report = client.stop()?;
        println!("{}", report.summary());
        ensure!(report.lost() == 0, "{}\n{}", report.summary(), self.journal());
        ensure!(report.sent() > 100, "{}", report.summary());
        Ok(done)
    }

    pub(crate) fn show(&self, property: &str) -> Result<String> {
        let said = self.machine.run(&["systemctl", "show", "--value", "--property", property, "vipcast"])?;
        Ok(said.trim().to_owned())
    }

    pub(crate) fn pid(&self) -> Result<i32> {
        let pid = self.show("MainPID")?.parse()?;
        ensure!(pid > 0, "vipcast does not run: {}", self.journal());
        Ok(pid)
    }

    /// Whether the daemon runs the program that is on disk.
    pub(crate) fn is_current(&self) -> Result<bool> {
        let pid = self.pid()?;
        let said = self.machine.shell(&format!("stat -Lc %d:%i /proc/{pid}/exe /usr/bin/vipcast"))?;
        let mut lines = said.lines();
        Ok(lines.next() == lines.next())
    }

    fn version(&self) -> Result<String> {
        self.machine.run(&["dpkg-query", "--show", "--showformat", "${Version} ${Status}", "vipcast"])
    }

    pub(crate) fn journal(&self) -> String {
        self.machine
            .run(&["journalctl", "--no-pager", "--unit", "vipcast"])
            .unwrap_or_else(|error| format!("{error:#}"))
    }
}

/// A maintainer script that fails when it is called with that word.
fn fails_at(word: &str) -> String {
    format!("#!/bin/sh\n[ \"$1\" != {word} ]\n")
}

fn installed(lab: &Lab) -> Result<()> {
    let site = Site::new(lab, false)?;
    let said = site.install(NEW)?;
    println!("{said}");
    ensure!(site.version()? == format!("{NEW} install ok installed"), "{}", site.version()?);
    ensure!(
        site.show("UnitFileState")? == "disabled" && site.show("ActiveState")? == "inactive",
        "it was started"
    );
    ensure!(site.show("LoadState")? == "loaded", "systemd does not know the unit");
    site.machine.run(&["systemd-analyze", "verify", "--man=no", "/lib/systemd/system/vipcast.service"])?;
    let said = site.machine.shell("systemd-analyze verify --man=no /lib/systemd/system/vipcast.service")?;
    ensure!(said.trim().is_empty(), "{said}");
    site.machine.run(&["vipcast", "check"])?;
    Ok(())
}

/// Every step hands the session over: the process keeps its number, the router has seen nothing, and the client loses
/// nothing. The session has BFD and no graceful restart.
fn upgraded(lab: &Lab) -> Result<()> {
    let site = Site::new(lab, false)?;
    site.install(OLD)?;
    site.enable(
        &Site::config(1, false).replace("graceful_restart: false", "bfd: {interval: 1s, multiplier: 5}"),
    )?;
    let (pid, edge4) = (site.pid()?, "10.0.1.2".parse()?);
    lab.until("BFD to be up", SOON, || {
        let bfd = site.router.bfd(edge4)?;
        ensure!(bfd.state == "up" && bfd.detection == Duration::from_secs(5), "{bfd:?}");
        Ok(())
    })?;
    let history = site.router.history(edge4)?;
    for (step, version) in [("upgrade", NEW), ("reinstallation", NEW), ("downgrade", OLD)] {
        let said = site.under_traffic(&["edge"], || site.install(version))?;
        println!("{step}: {said}");
        ensure!(said.contains(HANDED_OVER), "{step}: {said}");
        ensure!(site.version()? == format!("{version} install ok installed"), "{step}: {}", site.version()?);
        ensure!(site.pid()? == pid, "{step}: it is another process");
        ensure!(site.is_current()?, "{step}: the old program runs\n{said}");
        ensure!(site.show("UnitFileState")? == "enabled", "{step}: it is not enabled any more");
        ensure!(site.show("ActiveState")? == "active" && site.show("NRestarts")? == "0", "{step}: restarted");
        let now = site.router.history(edge4)?;
        ensure!(now == history, "{step}: the router had {history:?} and has {now:?}");
    }
    Ok(())
}

/// What the command says when it is done.
const HANDED_OVER: &str = "vipcast: upgraded from ";

/// The daemon that runs does not know how to hand over, as its program says.
fn older(lab: &Lab) -> Result<()> {
    let site = Site::new(lab, true)?;
    let mut program = std::fs::read(&*VIPCAST)?;
    let word = b"hands_over";
    let places: Vec<usize> = program
        .windows(word.len())
        .enumerate()
        .filter(|(_, bytes)| bytes == word)
        .map(|(at, _)| at)
        .collect();
    for at in places {
        program[at] = b'H';
    }
    let older = lab.directory().join("older");
    std::fs::write(&older, program)?;
    std::fs::set_permissions(&older, PermissionsExt::from_mode(0o755))?;
    site.install_file(&package_of(&older.to_string_lossy(), OLD, &lab.directory().join("packages"))?)?;
    site.enable(&Site::config(1, true))?;
    let pid = site.pid()?;
    let said = site.under_traffic(&["edge"], || site.install(NEW))?;
    println!("{said}");
    ensure!(said.contains("1 of 1 peers established, 1 of 1 VIPs announced"), "{said}");
    ensure!(site.pid()? == pid && site.is_current()?, "the old program runs: {said}");
    let said = site.under_traffic(&["edge"], || site.install(NEW))?;
    ensure!(said.contains(HANDED_OVER), "{said}");
    Ok(())
}

/// The new program is to take over what is in force, and something else is on disk: nothing happens to the daemon until the
/// operator says what.
fn not_replaced(lab: &Lab) -> Result<()> {
    let site = Site::new(lab, false)?;
    site.start(false)?;
    let pid = site.pid()?;
    site.machine.write(CONFIG, &format!("{}log: {{level: debug}}\n", Site::config(1, false)))?;
    let said = site.under_traffic(&["edge"], || site.install(NEW))?;
    println!("{said}");
    for part in [
        "the daemon was not replaced: error: /etc/vipcast/vipcast.yaml on disk is not the configuration in force",
        "the old program keeps running",
        "'systemctl restart vipcast' starts the new one",
    ] {
        ensure!(said.contains(part), "it does not say {part:?}: {said}");
    }
    ensure!(site.pid()? == pid && !site.is_current()?, "the daemon was replaced");
    ensure!(site.version()? == format!("{NEW} install ok installed"), "{}", site.version()?);
    site.wait_next_hops(&["10.0.1.2"])?;
    site.machine.run(&["vipcast", "status"])?;

    // A policy that forbids restarts is obeyed, and nobody is asked.
    site.machine.write(CONFIG, &Site::config(1, false))?;
    site.machine.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n")?;
    site.machine.run(&["chmod", "755", "/usr/sbin/policy-rc.d"])?;
    let said = site.under_traffic(&["edge"], || site.install(OLD))?;
    ensure!(said.contains("the daemon was not replaced: policy-rc.d forbids a restart"), "{said}");
    site.machine.run(&["rm", "/usr/sbin/policy-rc.d"])?;

    // What was refused is done when it is asked for again.
    let said = site.under_traffic(&["edge"], || site.machine.run(&["vipcast", "upgrade"]))?;
    println!("{said}");
    ensure!(site.pid()? == pid && site.is_current()?, "the old program runs: {said}");
    Ok(())
}

/// Packages whose scripts fail where dpkg goes back to the old version; each is installed over it.
fn failed(lab: &Lab) -> Result<()> {
    let site = Site::new(lab, true)?;
    site.start(true)?;
    let pid = site.pid()?;
    for (script, place, word) in [
        ("preinst", "pre-installation", "upgrade"),
        ("prerm", "pre-removal", "failed-upgrade"),
        ("postrm", "post-removal", "failed-upgrade"),
    ] {
        if word == "failed-upgrade" {
            // The new version is asked when the old one has failed.
            site.machine.write(&format!("/var/lib/dpkg/info/vipcast.{script}"), &fails_at("upgrade"))?;
        }
        let said = site.under_traffic(&["edge"], || site.install_broken(script, word))?;
        println!("{script}: {said}");
        ensure!(said.contains(&format!("new vipcast package {place} script")), "it failed elsewhere: {said}");
        ensure!(site.pid()? == pid, "{script}: it is another process");
        ensure!(site.version()? == format!("{OLD} install ok installed"), "{script}: {}", site.version()?);
        ensure!(site.show("UnitFileState")? == "enabled", "{script}: it is not enabled any more");
        site.machine.run(&["vipcast", "status"])?;
    }
    Ok(())
}

/// The new files are there and dpkg wants to try their configuration again: until that works the old daemon goes on.
fn not_configured(lab: &Lab) -> Result<()> {
    let site = Site::new(lab, true)?;
    site.start(true)?;
    let pid = site.pid()?;
    let said = site.under_traffic(&["edge"], || site.install_broken("postinst", "configure"))?;
    println!("{said}");
    ensure!(said.contains("post-installation script"), "it failed elsewhere: {said}");
    ensure!(site.version()? == format!("{NEW} install ok half-configured"), "{}", site.version()?);
    ensure!(site.pid()? == pid && !site.is_current()?, "the daemon was replaced");
    let status = site.machine.run(&["vipcast", "status"])?;
    ensure!(status.contains("announced"), "the new command and the old daemon: {status}");
    let said = site.under_traffic(&["edge"], || site.install(NEW))?;
    println!("{said}");
    ensure!(said.contains(HANDED_OVER), "{said}");
    ensure!(site.version()? == format!("{NEW} install ok installed"), "{}", site.version()?);
    ensure!(site.pid()? == pid && site.is_current()?, "the old program runs: {said}");
    Ok(())
}

fn removed(lab: &Lab) -> Result<()> {
    let site = Site::new(lab, false)?;
    site.start(false)?;
    // What operators do to units.
    site.machine.shell(
        "systemctl add-wants graphical.target vipcast
         mkdir -p /etc/systemd/system/vipcast.service.d
         printf '[Service]\\nLimitCORE=0\\n' >/etc/systemd/system/vipcast.service.d/override.conf
         systemctl daemon-reload",
    )?;
    let _other = Node::start(lab, &site.other, &Site::config(2, false))?;
    site.wait_next_hops(&["10.0.1.2", "10.0.2.2"])?;
    let pid = site.pid()?;
    let said = site.under_traffic(&["edge", "other"], || {
        let said = site.dpkg("--remove vipcast")?;
        site.wait_next_hops(&["10.0.2.2"])?;
        Ok(said)
    })?;
    println!("{said}");
    ensure!(said.contains("draining this node and stopping the daemon"), "{said}");
    ensure!(site.machine.run(&["test", "-e", &format!("/proc/{pid}")]).is_err(), "the daemon still runs");
    let journal = site.journal();
    ensure!(journal.contains("GRACEFUL_SHUTDOWN is set"), "it was not drained: {journal}");
    ensure!(
        site.edge.addresses()?.iter().all(|address| address.address.addr().to_string() != VIP),
        "the VIP is left"
    );
    // What the next installation finds again.
    site.machine.run(&["test", "-e", CONFIG])?;
    site.machine.run(&["test", "-d", "/var/lib/vipcast"])?;

    // Installed again it has its configuration, and is enabled as before, but starts when the operator says so.
    site.install(NEW)?;
    ensure!(
        site.show("UnitFileState")? == "enabled" && site.show("ActiveState")? == "inactive",
        "started by itself"
    );
    site.machine.run(&["systemctl", "start", "vipcast"])?;
    site.wait_next_hops(&["10.0.1.2", "10.0.2.2"])?;

    let said = site.under_traffic(&["edge", "other"], || site.dpkg("--purge vipcast"))?;
    println!("{said}");
    site.wait_next_hops(&["10.0.2.2"])?;
    left(&site.machine)?;
    let units =
        site.machine.run(&["systemctl", "list-unit-files", "vipcast*", "--no-legend"]).unwrap_or_default();
    ensure!(units.is_empty(), "{units}");
    Ok(())
}

/// A chroot, a container or an image that is built: nothing is started, and nothing fails for that.
fn without_systemd(lab: &Lab) -> Result<()> {
    let machine = Machine::chroot(&lab.host("edge")?)?;
    for version in [OLD, NEW, NEW] {
        let package = machine.copy(&package(version)?)?;
        machine.shell(&format!("dpkg --force-unsafe-io --install {}", package.display()))?;
    }
    machine.run(&["vipcast", "version"])?;
    machine.shell("dpkg --remove vipcast")?;
    machine.run(&["test", "-e", CONFIG])?;
    machine.shell("dpkg --purge vipcast")?;
    left(&machine)
}

fn lintian() -> Result<()> {
    let mut lintian = Command::new("lintian");
    lintian.args(["--fail-on", "error,warning", "--tag-display-limit", "0"]).arg(package(NEW)?);
    let done = lintian.output().context("cannot run lintian")?;
    // On standard error it does not like root.
    let said = String::from_utf8_lossy(&done.stdout);
    ensure!(done.status.success() && said.is_empty(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// Nothing of the package is left after a purge; a link whose end is gone is found, too.
fn left(machine: &Machine) -> Result<()> {
    let found = machine.run(&[
        "find",
        "/etc",
        "/usr/bin",
        "/usr/share",
        "/lib/systemd",
        "/run",
        "/var/lib",
        "-xdev",
        "-name",
        "*vipcast*",
    ])?;
    ensure!(found.is_empty(), "left after the purge:\n{found}");
    Ok(())
}
