//! A state directory that hangs: its file system is frozen, so that a writer waits in the kernel and cannot even be
//! killed. Commands, ends of drains, sessions, verdicts and the shutdown go on without it.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast::control::api::SessionState;
use vipcast_lab::traffic::Health;
use vipcast_lab::wait::holds;
use vipcast_lab::{EchoServer, Host, Lab, Neighbor, Process, RouterConfig, RouterKind, Signal, Subnet};

use crate::SOON;
use crate::node::{Node, address};

/// A service that is drained, one whose drain ends, one that dies, and one that nothing happens to.
const SERVICES: [(&str, &str); 4] =
    [("drained", "192.0.2.1"), ("back", "192.0.2.2"), ("dies", "192.0.2.3"), ("stays", "192.0.2.4")];
/// From the death of a service to the withdrawal: three checks in 100 ms each, and what a busy machine adds.
const IN_TIME: Duration = Duration::from_secs(3);
/// Nobody who writes is there for longer, whatever becomes of the test.
const LONGEST_FREEZE: u32 = 120;

pub(crate) fn trials() -> Vec<Trial> {
    let name = "frr::a_state_directory_that_hangs_costs_what_is_not_saved_and_nothing_else";
    let needs = Lab::available_with(&[RouterKind::Frr]).and_then(|()| available());
    vec![vipcast_lab::trial(name, needs, move || Lab::run(name, frozen))]
}

/// Whether there is a file system that can be frozen.
fn available() -> Result<(), String> {
    for (program, package) in [("mkfs.ext4", "e2fsprogs"), ("fsfreeze", "util-linux"), ("losetup", "mount")] {
        let places = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
        if !places.iter().any(|place| Path::new(place).join(program).exists()) {
            return Err(format!("{program} is missing (Debian package {package})"));
        }
    }
    let free = Command::new("losetup").arg("--find").output();
    match free {
        Ok(free) if free.status.success() => Ok(()),
        Ok(free) => Err(format!("no loop device: {}", String::from_utf8_lossy(&free.stderr).trim())),
        Err(error) => Err(format!("losetup cannot be run: {error}")),
    }
}

/// A disk of its own that is mounted for itself and for the daemon alone. It thaws when it is dropped, when the test is
/// killed, and after a while.
struct Disk {
    keeper: Process,
    mount: PathBuf,
}

impl Disk {
    fn new(lab: &Lab, host: &Host) -> Result<Self> {
        let (image, mount) =
            (lab.directory().join("disk"), lab.directory().join(format!("{}-state", host.name())));
        File::create(&image)?.set_len(16 << 20).context("no image of a disk")?;
        std::fs::create_dir(&mount)?;
        let (disk, place) = (image.display(), mount.display());
        host.run(["mkfs.ext4", "-q", &image.to_string_lossy()])?;
        let script = format!(
            "mount -o loop {disk} {place} && echo mounted
             trap '' TERM INT HUP
             while read -t {LONGEST_FREEZE} order; do
                 case $order in
                     freeze) fsfreeze --freeze {place} && echo frozen ;;
                     thaw) fsfreeze --unfreeze {place} && echo thawed ;;
                 esac
             done
             fsfreeze --unfreeze {place} 2>/dev/null
             exit 0"
        );
        // It leaves the namespace of the host, where every process is killed when the test is: none could thaw it then.
        let elsewhere = format!("--net=/proc/{}/ns/net", std::process::id());
        let mut command = host.command("sh");
        command.args([
            "-c",
            "read go; exec nsenter \"$1\" unshare --mount bash -c \"$2\"",
            "sh",
            &elsewhere,
            &script,
        ]);
        let keeper = host.spawn("disk", command)?;
        keeper.write_line("go")?;
        let disk = Self { keeper, mount };
        disk.wait_for("mounted")?;
        Ok(disk)
    }

    /// What starts the daemon where the disk is mounted.
    fn wrapper(&self) -> &'static [&'static str] {
        // It lives as long as the tests.
        let target: &str = self.keeper.pid().to_string().leak();
        vec!["nsenter", "--mount", "--target", target, "--"].leak()
    }

    /// Whether there is a file of this name.
    fn has(&self, host: &Host, name: &str) -> bool {
        let (target, path) = (self.keeper.pid().to_string(), self.mount.join(name));
        host.run(["nsenter", "--mount", "--target", &target, "test", "-e", &path.to_string_lossy()]).is_ok()
    }

    fn freeze(&self) -> Result<()> {
        self.keeper.write_line("freeze")?;
        self.wait_for("frozen")
    }

    fn thaw(&self) -> Result<()> {
        self.keeper.write_line("thaw")?;
        self.wait_for("thawed")
    }

    fn wait_for(&self, word: &str) -> Result<()> {
        vipcast_lab::wait::until(format!("{} to be {word}", self.mount.display()), SOON, || {
            let log = self.keeper.log();
            ensure!(log.lines().last() == Some(word), "{log}");
            Ok(())
        })
    }
}

impl Drop for Disk {
    /// It thaws at the end of its input, and must not be killed before.
    fn drop(&mut self) {
        self.keeper.close_stdin();
        let _hangs = self.keeper.wait_exit(SOON);
    }
}

fn config() -> String {
    let mut config = "local_as: 65001
router_id: 10.0.0.2
peers: {tor: {address: 10.0.1.1, peer_as: 65000, hold_time: 3s, graceful_restart: true}}
checks:
  web: {http: {url: \"http://127.0.0.1:8080/healthz\"}, interval: 100ms, fast_interval: 100ms, timeout: 100ms}
shutdown: {drain_time: 500ms, unbind_delay: 200ms}
services:
"
    .to_owned();
    for (name, vip) in SERVICES {
        let checks = if name == "dies" { "web" } else { "" };
        config += &format!("  {name}: {{vips: [{vip}], checks: [{checks}]}}\n");
    }
    config
}

fn frozen(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    lab.link(&tor, &edge, Subnet::dual(1))?;
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1))
        .neighbor(Neighbor::new("10.0.1.2".parse::<IpAddr>()?, 65001).graceful_restart());
    let router = lab.router(RouterKind::Frr, &tor, &router)?;
    let web = EchoServer::start(&edge, "web", "[::]:7".parse()?, Some("[::]:8080".parse()?))?;
    let disk = Disk::new(lab, &edge)?;
    let node = Node::start_by(disk.wrapper(), lab, &edge, &config())?;
    let routed = || -> Result<Vec<&str>> {
        let routes = router.routes()?;
        let has =
            |vip: &str| Ok::<_, anyhow::Error>(routes.contains_key(&IpNet::from(vip.parse::<IpAddr>()?)));
        let mut routed = Vec::new();
        for (name, vip) in SERVICES {
            if has(vip)? {
                routed.push(name);
            }
        }
        Ok(routed)
    };
    let wait_routed = |wanted: &[&str]| {
        let asked = Instant::now();
        lab.until(format_args!("the router to have the VIPs of {wanted:?}"), SOON, || {
            let routed = routed()?;
            ensure!(routed == wanted, "{routed:?}; the log: {}", node.process.log());
            Ok(asked.elapsed())
        })
    };
    wait_routed(&["drained", "back", "dies", "stays"])?;
    node.cli(&["drain", "back", "--for", "15s"])?;
    wait_routed(&["drained", "dies", "stays"])?;
    let begin = Instant::now();

    disk.freeze()?;
    let asked = Instant::now();
    let warned = node.cli(&["drain", "drained"]).expect_err("it cannot be saved");
    let answered = asked.elapsed();
    let warned = format!("{warned:#}");
    let unsaved = "warning: not saved yet (the state directory does not answer): until it is, it will not survive a restart";
    ensure!(warned.contains(unsaved), "{warned}");
    ensure!(answered < Duration::from_secs(6), "the answer took {answered:?}");
    let withdrawn = wait_routed(&["dies", "stays"])?;
    let returned = wait_routed(&["back", "dies", "stays"])?;
    web.set_health(Health::Bad)?;
    let noticed = wait_routed(&["back", "stays"])?;
    println!(
        "frozen: `drain` answered after {answered:?}, withdrawn {withdrawn:?} later, the other drain ended {returned:?} later; \
         a dead service withdrawn after {noticed:?}"
    );
    ensure!(noticed < IN_TIME, "it took {noticed:?}");
    let mut slowest = Duration::ZERO;
    holds("the session to stay for twice its hold time", Duration::from_secs(7), || {
        let asked = Instant::now();
        let status = node.status()?;
        slowest = slowest.max(asked.elapsed());
        let tor = status.peers.get("tor").context("no peer")?;
        ensure!(tor.state == SessionState::Established, "{tor:?}");
        ensure!(Duration::from_millis(tor.since_ms) >= begin.elapsed(), "another session: {tor:?}");
        let unsaved = status.unsaved.as_deref().unwrap_or_default();
        ensure!(unsaved.ends_with("drains.json is not written yet"), "{unsaved:?}");
        ensure!(routed()? == ["back", "stays"], "{:?}", routed()?);
        Ok(())
    })?;
    println!("the slowest status took {slowest:?}");
    ensure!(slowest < Duration::from_secs(4), "status took {slowest:?}");

    // The change of process would wait for the thread that hangs, and the next one not know what was announced.
    let refused = node.cli(&["restart", "--graceful"]).expect_err("a thread hangs");
    let refused = format!("{refused:#}");
    let said = "error: a thread of vipcast hangs in the kernel (state), and the restart would wait for it with every session closed\n";
    ensure!(refused.contains(said), "{refused}");
    disk.thaw()?;
    lab.until("the drain to be saved", SOON, || {
        let unsaved = node.status()?.unsaved;
        ensure!(unsaved.is_none(), "{unsaved:?}");
        Ok(())
    })?;
    // Written after this one, for the store has one hand.
    node.cli(&["undrain", "drained"])?;
    ensure!(!disk.has(&edge, "restart.json"), "the note of a restart that did not come is left");
    ensure!(disk.has(&edge, "drains.json"), "nothing is there, so nothing was looked at");
    wait_routed(&["drained", "back", "stays"])?;

    disk.freeze()?;
    node.cli(&["drain", "drained"]).expect_err("it cannot be saved");
    node.process.kill(Signal::SIGTERM)?;
    let asked = Instant::now();
    wait_routed(&[])?;
    // The process ends but for the thread that waits in the kernel, which no signal reaches.
    let stat = format!("/proc/{}/stat", node.process.pid());
    lab.until("the main thread to have ended", SOON, || {
        let stat = std::fs::read_to_string(&stat).context("it has ended, disk or not")?;
        ensure!(stat.contains(") Z "), "{stat}; the log: {}", node.process.log());
        Ok(())
    })?;
    let ended = asked.elapsed();
    for (name, vip) in SERVICES {
        ensure!(address(&edge, vip.parse()?)?.is_none(), "the VIP of {name} is left on the host");
    }
    let log = node.process.log();
    ensure!(log.contains("the state directory does not answer: the last change may be lost"), "{log}");
    ensure!(log.contains("INFO stopped"), "{log}");
    disk.thaw()?;
    let status = node.process.wait_exit(SOON)?;
    println!("SIGTERM: ended after {ended:?}");
    ensure!(status.success(), "{status}: {log}");
    ensure!(ended < Duration::from_secs(15), "the end took {ended:?}");
    Ok(())
}
