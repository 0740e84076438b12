//! A node that only observes, beside one that announces: the router and the host see nothing of it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use vipcast::control::api::{Status, VipState};
use vipcast_lab::{EchoServer, Host, Lab, Neighbor, Process, RouterConfig, RouterKind, Signal, Subnet};

use crate::node::{Node, VIPCAST, address};
use crate::{SOON, trial, wait_route};

const VIP: &str = "192.0.2.10";
/// The check's longest time to notice: two probes 100 ms apart, each with its time-out, and the next answer of `status`.
const NOTICED: Duration = Duration::from_secs(3);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("bird::a_node_observes_beside_one_that_announces", &[RouterKind::Bird], beside),
        trial("a_node_that_observes_needs_no_root", &[], unprivileged),
    ]
}

/// Root with the capabilities of `vipcast.service`, so that the kernel allows whatever the observer does.
const ROOT: &[&str] =
    &["--bounding-set=-all,+net_admin,+net_bind_service,+net_raw,+setuid,+setgid,+kill", "--inh-caps=-all"];
const NOBODY: &[&str] = &["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"];

/// A node that only observes.
struct Observer {
    host: Host,
    socket: PathBuf,
    process: Process,
}

impl Observer {
    /// Starts it with a copy of a configuration, by a user that `setpriv` knows by these options.
    fn start(lab: &Lab, host: &Host, name: &str, user: &[&str], config: &Path) -> Result<Self> {
        let place = lab.directory().join(name);
        fs::create_dir(&place)?;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o777))?;
        let (copy, socket) = (place.join("vipcast.yaml"), place.join("observe.sock"));
        fs::copy(config, &copy)?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o644))?;
        let mut command = host.command("setpriv");
        command.args(user).arg(VIPCAST.as_str());
        command.args(["run", "--observe", "--config"]).arg(&copy).arg("--socket").arg(&socket);
        let process = host.spawn(name, command)?;
        Ok(Self { host: host.clone(), socket, process })
    }

    fn cli(&self, arguments: &[&str]) -> Result<String> {
        let socket = self.socket.to_string_lossy().into_owned();
        self.host.run([&[VIPCAST.as_str()], arguments, &["--socket", &socket]].concat())
    }

    fn status(&self) -> Result<Status> {
        serde_json::from_str(&self.cli(&["status", "--json"])?).context("status --json")
    }

    fn end(&self) -> Result<()> {
        self.process.kill(Signal::SIGTERM)?;
        let status = self.process.wait_exit(SOON)?;
        ensure!(status.success() && !self.socket.exists(), "{status}, socket: {}", self.socket.exists());
        Ok(())
    }

    fn wait(&self, lab: &Lab, state: &VipState, timeout: Duration) -> Result<()> {
        lab.until(format_args!("the observer to say {state}"), timeout, || {
            let status = self.status()?;
            ensure!(status.observing && status.peers.is_empty(), "{status:?}");
            let vip = status.vips.first().context("no VIP")?;
            ensure!(vip.state == *state, "{vip:?}");
            Ok(())
        })
    }
}

/// The TCP sockets of a process for BGP, or that listen.
fn sockets(host: &Host, process: &Process) -> Result<Vec<String>> {
    let bgp = host.run(["ss", "-Htanp", "( sport = :179 or dport = :179 )"])?;
    let listening = host.run(["ss", "-Htlnp"])?;
    let pid = format!("pid={},", process.pid());
    let lines = bgp.lines().chain(listening.lines());
    Ok(lines.filter(|line| line.contains(&pid)).map(str::to_owned).collect())
}

/// The kernel's own record of every change of an address.
struct Changes(Process);

impl Changes {
    fn watch(lab: &Lab, host: &Host) -> Result<Self> {
        let mut command = host.command("ip");
        command.args(["monitor", "address"]);
        let changes = Self(host.spawn("addresses", command)?);
        let known = "203.0.113.1/32".parse()?;
        lab.until("the monitor to see an address", SOON, || {
            host.add_address("lo", known)?;
            host.remove_address("lo", known)?;
            ensure!(changes.0.log().contains("203.0.113.1"), "not yet");
            Ok(())
        })?;
        Ok(changes)
    }

    fn of_vip(&self) -> Vec<String> {
        self.0.log().lines().filter(|line| line.contains(VIP)).map(str::to_owned).collect()
    }
}

fn state_files(lab: &Lab) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(lab.directory().join("edge-state"))? {
        let entry = entry?;
        files.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
    }
    files.sort();
    Ok(files)
}

fn beside(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::v4(1))?;
    let router =
        RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(Neighbor::new(link.v4(&edge)?, 65001));
    let router = lab.router(RouterKind::Bird, &tor, &router)?;
    let config = format!(
        "local_as: 65001
router_id: 10.0.0.2
peers: {{tor: {{address: {}, peer_as: 65000}}}}
checks:
  web: {{http: {{url: \"http://127.0.0.1:8080/healthz\"}}, interval: 200ms, fast_interval: 100ms, timeout: 200ms, rise: 1}}
services: {{web: {{vips: [{VIP}], checks: [web], bind: announced}}}}
api: {{listen: \"127.0.0.1:9467\"}}
metrics: {{listen: \"127.0.0.1:9468\"}}
shutdown: {{drain_time: 100ms, unbind_delay: 0s}}
",
        link.v4(&tor)?
    );
    let service = || EchoServer::start(&edge, "edge", "[::]:7".parse()?, Some("[::]:8080".parse()?));
    let running = service()?;
    let node = Node::start(lab, &edge, &config)?;
    wait_route(lab, &*router, VIP, true, SOON)?;
    let changes = Changes::watch(lab, &edge)?;
    let (before, vip): (_, IpAddr) = (state_files(lab)?, VIP.parse()?);
    ensure!(address(&edge, vip)? == Some(true), "not bound by the node that announces");

    let observer = Observer::start(lab, &edge, "observer", ROOT, node.config())?;
    observer.wait(lab, &VipState::Ready, SOON)?;
    let said = observer.cli(&["status"])?;
    ensure!(
        said.contains("only observing: nothing is bound or announced; it would announce 1 of 1 VIPs"),
        "{said}"
    );
    let why = observer.cli(&["explain", VIP])?;
    ensure!(why.starts_with("192.0.2.10 would be announced by a node that only observes\n"), "{why}");
    let events = observer.cli(&["events"])?;
    ensure!(events.contains("only observing") && events.contains("VIP would be announced"), "{events}");
    ensure!(!node.status()?.observing, "the other one announces");

    // A drain of the observer is a drain of nothing else.
    observer.cli(&["drain", "web"])?;
    observer.wait(lab, &VipState::Withheld, SOON)?;
    observer.cli(&["undrain", "web"])?;
    observer.wait(lab, &VipState::Ready, SOON)?;
    ensure!(changes.of_vip().is_empty(), "the address was touched: {:?}", changes.of_vip());

    // Both follow the service, each by its own check.
    let killed = Instant::now();
    running.kill()?;
    observer.wait(lab, &VipState::Withheld, NOTICED)?;
    println!("the observer said `withheld` {:?} after the death of the service", killed.elapsed());
    wait_route(lab, &*router, VIP, false, SOON)?;
    let events = observer.cli(&["events"])?;
    ensure!(events.contains("VIP would be withdrawn"), "{events}");
    let running = service()?;
    observer.wait(lab, &VipState::Ready, SOON)?;
    wait_route(lab, &*router, VIP, true, SOON)?;

    // The router and the host see one vipcast.
    let theirs = sockets(&edge, &observer.process)?;
    ensure!(theirs.is_empty(), "{theirs:?}");
    ensure!(node.status()?.peers["tor"].sessions == 1, "the session was disturbed");
    ensure!(state_files(lab)? == before, "the state directory of the other one has changed");

    // Alone it still binds, opens and announces nothing, and says what it would.
    node.process.kill(Signal::SIGTERM)?;
    node.process.wait_exit(SOON)?;
    wait_route(lab, &*router, VIP, false, SOON)?;
    ensure!(address(&edge, vip)?.is_none(), "the other one has left its address");
    let (ended, left) = (changes.of_vip(), state_files(lab)?);
    running.kill()?;
    observer.wait(lab, &VipState::Withheld, NOTICED)?;
    let running = service()?;
    observer.wait(lab, &VipState::Ready, SOON)?;
    observer.cli(&["reload"])?;
    observer.wait(lab, &VipState::Ready, SOON)?;
    let again = Observer::start(lab, &edge, "again", ROOT, node.config())?;
    again.wait(lab, &VipState::Ready, SOON)?;
    for observer in [&observer, &again] {
        let theirs = sockets(&edge, &observer.process)?;
        ensure!(theirs.is_empty(), "{theirs:?}");
    }
    running.kill()?;
    for observer in [&observer, &again] {
        observer.wait(lab, &VipState::Withheld, NOTICED)?;
        observer.end()?;
    }
    ensure!(changes.of_vip() == ended, "the address was touched: {:?}", changes.of_vip());
    ensure!(state_files(lab)? == left, "the state directory of the other one has changed");
    Ok(())
}

fn unprivileged(lab: &Lab) -> Result<()> {
    let edge = lab.host("edge")?;
    let config = format!(
        "local_as: 65001
router_id: 10.0.0.2
state_dir: /var/lib/vipcast
peers: {{tor: {{address: 10.0.1.0, peer_as: 65000}}}}
checks: {{web: {{http: {{url: \"http://127.0.0.1:8080/healthz\"}}, interval: 200ms, timeout: 200ms, rise: 1}}}}
services: {{web: {{vips: [{VIP}], checks: [web]}}}}
"
    );
    let _running = EchoServer::start(&edge, "edge", "[::]:7".parse()?, Some("[::]:8080".parse()?))?;
    let config = edge.write_file("vipcast.yaml", &config)?;
    let observer = Observer::start(lab, &edge, "observer", NOBODY, &config)?;
    observer.wait(lab, &VipState::Ready, SOON)?;
    observer.end()
}
