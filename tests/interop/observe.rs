//! A node that only observes, beside one that announces: the router and the host see nothing of it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use vipcast::control::api::{Status, VipState};
use vipcast_lab::{EchoServer, Host, Lab, Neighbor, RouterConfig, RouterKind, Signal, Subnet};

use crate::node::{Node, VIPCAST, address};
use crate::{SOON, trial, wait_route};

const VIP: &str = "192.0.2.10";
/// The check's longest time to notice: two probes 100 ms apart, each with its time-out, and the next answer of `status`.
const NOTICED: Duration = Duration::from_secs(3);

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("bird::a_node_observes_beside_one_that_announces", &[RouterKind::Bird], beside)]
}

/// Runs as nobody, with the file of the node that announces.
struct Observer {
    host: Host,
    socket: PathBuf,
    process: vipcast_lab::Process,
}

impl Observer {
    fn start(lab: &Lab, host: &Host, config: &Path) -> Result<Self> {
        let place = lab.directory().join("observer");
        fs::create_dir(&place)?;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o777))?;
        let (copy, socket) = (place.join("vipcast.yaml"), place.join("observe.sock"));
        fs::copy(config, &copy)?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o644))?;
        let mut command = host.command("setpriv");
        command.args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--bounding-set=-all",
            VIPCAST.as_str(),
        ]);
        command.args(["run", "--observe", "--config"]).arg(&copy).arg("--socket").arg(&socket);
        let process = host.spawn("observer", command)?;
        Ok(Self { host: host.clone(), socket, process })
    }

    fn cli(&self, arguments: &[&str]) -> Result<String> {
        let socket = self.socket.to_string_lossy().into_owned();
        self.host.run([&[VIPCAST.as_str()], arguments, &["--socket", &socket]].concat())
    }

    fn status(&self) -> Result<Status> {
        serde_json::from_str(&self.cli(&["status", "--json"])?).context("status --json")
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

/// The sessions of the host, with the processes that have them.
fn sessions(host: &Host) -> Result<Vec<String>> {
    let listed = host.run(["ss", "-Htanp", "( sport = :179 or dport = :179 )"])?;
    Ok(listed.lines().map(str::to_owned).collect())
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
shutdown: {{drain_time: 100ms, unbind_delay: 0s}}
",
        link.v4(&tor)?
    );
    let service = || EchoServer::start(&edge, "edge", "[::]:7".parse()?, Some("[::]:8080".parse()?));
    let running = service()?;
    let node = Node::start(lab, &edge, &config)?;
    wait_route(lab, &*router, VIP, true, SOON)?;
    let (before, vip): (_, IpAddr) = (state_files(lab)?, VIP.parse()?);
    ensure!(address(&edge, vip)? == Some(true), "not bound by the node that announces");

    let observer = Observer::start(lab, &edge, node.config())?;
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
    let theirs = sessions(&edge)?;
    let pid = format!("pid={},", node.process.pid());
    ensure!(!theirs.is_empty() && theirs.iter().all(|line| line.contains(&pid)), "{theirs:?}");
    ensure!(node.status()?.peers["tor"].sessions == 1, "the session was disturbed");
    ensure!(state_files(lab)? == before, "the state directory of the other one has changed");

    // Alone it still binds and announces nothing, and says what it would.
    node.process.kill(Signal::SIGTERM)?;
    wait_route(lab, &*router, VIP, false, SOON)?;
    lab.until("the address to be gone", SOON, || {
        let there = address(&edge, vip)?;
        ensure!(there.is_none(), "{there:?}");
        Ok(())
    })?;
    observer.cli(&["reload"])?;
    observer.wait(lab, &VipState::Ready, SOON)?;
    ensure!(sessions(&edge)?.iter().all(|line| !line.contains("users:")), "{:?}", sessions(&edge)?);
    ensure!(address(&edge, vip)?.is_none(), "the observer has bound it");
    running.kill()?;
    observer.wait(lab, &VipState::Withheld, NOTICED)?;
    observer.process.kill(Signal::SIGTERM)?;
    lab.until("the observer to end", SOON, || {
        ensure!(!observer.socket.exists(), "its socket is there");
        Ok(())
    })
}
