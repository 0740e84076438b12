//! From the death of a service to the last packet that a client loses: checks that are told, and one that asks.
//!
//! Two nodes behind one router. In each round the service of one of them is killed with SIGKILL; printed are the medians of
//!
//! ```text
//!   kill ──► our UPDATE on the wire ──► the route is gone from the kernel of the router ──► the client's last loss
//! ```
//!
//! FRR holds every change of a route for 50 ms (bgpd, `process_queue->spec.hold`; not configurable), BIRD does not: so
//! the same is measured with both, and the first step is ours.
//!
//! `VIPCAST_ROUNDS` is the number of rounds.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use nix::unistd::Pid;
use vipcast::control::api::Verdict;
use vipcast_lab::{
    Capture, Client, EchoServer, Host, Lab, Neighbor, RouteMonitor, Router, RouterConfig, RouterKind, Signal,
    Subnet, Systemd, Toggle,
};

use crate::node::Node;
use crate::{SOON, trial};

const VIP: &str = "192.0.2.10";
/// Rounds where nobody asks for more.
const ROUNDS: usize = 5;
/// Between two probes of the check that asks.
const INTERVAL: Duration = Duration::from_secs(1);
/// From the kill to our UPDATE, the goal is a few milliseconds, which is printed. On a busy machine this much still is no
/// poll, which is a second apart from the next.
const MOST_OURS: Duration = Duration::from_millis(150);
/// From the kill to the last loss, likewise.
const MOST_LOST: Duration = Duration::from_millis(300);
/// The same for a check that asks: 1 s, then 100 ms for the second failure; the goal is 700 ms.
const MOST_POLLED: Duration = Duration::from_millis(1200);

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for kind in [RouterKind::Frr, RouterKind::Bird] {
        for (name, watch) in
            [("listener", Watch::Listener), ("process", Watch::Process), ("http", Watch::Http)]
        {
            let name = format!("{kind}::a_killed_service_is_withdrawn_by_{name}");
            trials.push(trial(&name, &[kind], move |lab| killed(lab, kind, watch)));
        }
        for (name, watch) in [("systemd", Watch::Systemd), ("systemd_over_a_bus", Watch::SystemdOverBus)] {
            let name = format!("{kind}::a_killed_service_is_withdrawn_by_{name}");
            let available = Lab::available_with(&[kind]).and_then(|()| Systemd::available());
            let lab = name.clone();
            let test = move || Lab::run(&lab, |lab| killed(lab, kind, watch));
            trials.push(vipcast_lab::trial(&name, available, test));
        }
    }
    trials.push(trial("bird::a_hand_over_of_a_socket_is_no_failure", &[RouterKind::Bird], hand_over));
    trials.push(trial("bird::a_link_without_carrier_is_withdrawn_at_once", &[RouterKind::Bird], carrier));
    trials
}

/// What watches the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watch {
    Listener,
    Process,
    Http,
    /// systemd itself is asked.
    Systemd,
    /// systemd is asked over a dbus-daemon.
    SystemdOverBus,
}

impl Watch {
    fn is_told(self) -> bool {
        match self {
            Self::Listener | Self::Process | Self::Systemd | Self::SystemdOverBus => true,
            Self::Http => false,
        }
    }

    /// The check of the node whose service is killed, with the defaults of its kind but for what is said of the polled one.
    fn check(self, pid_file: &str, systemd: &std::path::Path) -> String {
        let unit = |bus| format!("{{systemd: {{unit: {UNIT}, bus: {}/{bus}}}}}", systemd.display());
        match self {
            Self::Systemd => unit("runtime/systemd/private"),
            Self::SystemdOverBus => unit("runtime/bus"),
            Self::Listener => "{listener: {udp: 7}}".into(),
            Self::Process => format!("{{process: {{pid_file: {pid_file}}}}}"),
            Self::Http => "{http: {url: \"http://127.0.0.1:8080/healthz\"}, interval: 1s, fall: 2, fast_interval: 100ms}".into(),
        }
    }
}

/// The service where systemd starts it.
const UNIT: &str = "echo.service";

/// A service that can be killed.
enum Service<'a> {
    Echo(EchoServer),
    Unit(&'a Systemd),
}

impl Service<'_> {
    /// Kills it, and tells when.
    fn kill(&self) -> Result<SystemTime> {
        match self {
            Self::Echo(server) => server.kill(),
            Self::Unit(systemd) => {
                let pid = Pid::from_raw(systemd.main_pid(UNIT)?);
                let now = SystemTime::now();
                nix::sys::signal::kill(pid, Signal::SIGKILL)?;
                Ok(now)
            }
        }
    }
}

fn rounds() -> usize {
    std::env::var("VIPCAST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS)
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}

/// A router, a client, and two nodes that announce the same address.
struct Rack<'a> {
    lab: &'a Lab,
    client: Host,
    router: std::sync::Arc<dyn Router>,
    edges: Vec<Edge>,
}

struct Edge {
    host: Host,
    /// Its address towards the router.
    address: IpAddr,
    interface: String,
    pid_file: String,
    node: Node,
}

impl<'a> Rack<'a> {
    fn new(lab: &'a Lab, kind: RouterKind, check: impl Fn(&str, &str) -> String) -> Result<Self> {
        let (tor, client) = (lab.host("tor")?, lab.host("client")?);
        let link = lab.link(&tor, &client, Subnet::dual(9))?;
        client.route(&["default", "via", &link.v4(&tor)?.to_string()])?;
        let mut router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1));
        let mut edges = Vec::new();
        for (name, number) in [("edge-a", 1), ("edge-b", 2)] {
            let host = lab.host(name)?;
            let link = lab.link(&tor, &host, Subnet::dual(number))?;
            let (address, gateway) = (link.v4(&host)?, link.v4(&tor)?);
            host.route(&["default", "via", &gateway.to_string()])?;
            router = router.neighbor(Neighbor::new(address, 65000 + u32::from(number)));
            let pid_file = host.write_file("service.pid", "")?.display().to_string();
            let config = format!(
                "local_as: {}
peers:
  tor: {{address: {gateway}, peer_as: 65000}}
checks:
  service: {}
services:
  service: {{vips: [{VIP}], checks: [service]}}
",
                65000 + u32::from(number),
                check(name, &pid_file)
            );
            let node = Node::start(lab, &host, &config)?;
            let interface = link.end(&host).interface.clone();
            edges.push(Edge { host, address, interface, pid_file, node });
        }
        let router = lab.router(kind, &tor, &router)?;
        Ok(Self { lab, client, router, edges })
    }

    /// Starts the service of a node.
    fn serve(&self, edge: usize) -> Result<EchoServer> {
        let edge = &self.edges[edge];
        let service =
            EchoServer::start(&edge.host, edge.host.name(), "[::]:7".parse()?, Some("[::]:8080".parse()?))?;
        std::fs::write(&edge.pid_file, format!("{}\n", service.process().pid()))?;
        Ok(service)
    }

    /// Waits until the kernel of the router has these nodes as next hops.
    fn wait_hops(&self, edges: &[usize]) -> Result<()> {
        let wanted: Vec<_> = edges.iter().map(|edge| self.edges[*edge].address).collect();
        let vip: IpNet = format!("{VIP}/32").parse()?;
        self.lab.until(
            format_args!("the kernel of the router to have the next hops {wanted:?}"),
            SOON,
            || {
                let routes = self.router.host().routes(vip)?;
                let hops =
                    routes.iter().flat_map(|route| route.next_hops.iter().filter_map(|hop| hop.gateway));
                let mut hops: Vec<IpAddr> = hops.collect();
                hops.sort();
                ensure!(hops == wanted, "{routes:?}");
                Ok(())
            },
        )
    }

    fn client(&self) -> Result<Client> {
        let client = Client::start(&self.client, format!("{VIP}:7").parse()?)?;
        client.wait_for_servers(&["edge-a", "edge-b"], SOON)?;
        Ok(client)
    }

    /// What the first node sends to the router.
    fn capture(&self) -> Result<Capture> {
        let edge = &self.edges[0];
        edge.host.capture(&edge.interface, &format!("tcp port 179 and src host {}", edge.address))
    }
}

/// How long after `event` the first of these was.
fn first_after(event: SystemTime, times: &[SystemTime]) -> Option<Duration> {
    times.iter().filter_map(|time| time.duration_since(event).ok()).min()
}

/// When the route of the VIP changed.
fn changes(monitor: &RouteMonitor) -> Result<Vec<SystemTime>> {
    Ok(monitor.changes(VIP.parse()?)?.into_iter().map(|(time, _deleted)| time).collect())
}

/// Kills the service of the first node, again and again.
fn killed(lab: &Lab, kind: RouterKind, watch: Watch) -> Result<()> {
    let directory = lab.directory().join("systemd");
    let rack = Rack::new(lab, kind, |name, pid_file| match name {
        "edge-a" => watch.check(pid_file, &directory),
        _survivor => Watch::Listener.check(pid_file, &directory),
    })?;
    let edge = &rack.edges[0].host;
    let systemd = match watch {
        Watch::Listener | Watch::Process | Watch::Http => None,
        Watch::Systemd | Watch::SystemdOverBus => {
            let server = EchoServer::command_line(edge, edge.name(), "[::]:7".parse()?)?;
            let unit = format!(
                "[Unit]\nDefaultDependencies=no\nStartLimitIntervalSec=0\n[Service]\nExecStart={server}\n"
            );
            let systemd = Systemd::start(&directory, &[(UNIT, &unit)], |program| edge.command(program))?;
            systemd.bus()?;
            Some(systemd)
        }
    };
    let serve = || match &systemd {
        None => rack.serve(0).map(Service::Echo),
        Some(systemd) => {
            systemd.ctl(&["start", UNIT])?;
            Ok(Service::Unit(systemd))
        }
    };
    let _other = rack.serve(1)?;
    let (capture, monitor) = (rack.capture()?, rack.router.host().monitor_routes()?);
    let (mut sent, mut changed, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    let rounds = rounds();
    for round in 0..rounds {
        let service = serve()?;
        rack.wait_hops(&[0, 1])?;
        let client = rack.client()?;
        // Until here all follows from a probe; services die at any time between two of them.
        let phase = INTERVAL.mul_f64((round as f64 + 0.5) / rounds as f64);
        vipcast_lab::wait::holds("the route", if watch.is_told() { Duration::ZERO } else { phase }, || {
            Ok(())
        })?;
        let died = service.kill()?;
        rack.wait_hops(&[1])?;
        let report = client.stop()?;
        lost.push(report.recovered_after(died));
        changed.push(first_after(died, &changes(&monitor)?).context("the route did not change")?);
        sent.push(lab.until("the withdrawal to be captured", SOON, || {
            first_after(died, &capture.withdrawals()?).context("no UPDATE withdraws anything")
        })?);
    }
    println!("{kind}, {watch:?}, {} rounds, after the kill:", lost.len());
    for (what, times) in
        [("our UPDATE on the wire", &sent), ("the route gone", &changed), ("the client's last loss", &lost)]
    {
        println!("  {what}: median {:?} of {times:?}", median(times));
    }
    let (most_ours, most_lost) =
        if watch.is_told() { (MOST_OURS, MOST_LOST) } else { (MOST_POLLED, MOST_POLLED) };
    ensure!(median(&sent) <= most_ours, "our UPDATE came late: {sent:?}");
    ensure!(median(&lost) <= most_lost, "the client lost for too long: {lost:?}");
    Ok(())
}

/// A new process listens on the same port (SO_REUSEPORT), then the old one is killed: nothing is withdrawn.
fn hand_over(lab: &Lab) -> Result<()> {
    let rack = Rack::new(lab, RouterKind::Bird, |_, _| "{listener: {udp: 7}}".into())?;
    let _other = rack.serve(1)?;
    let mut old = rack.serve(0)?;
    rack.wait_hops(&[0, 1])?;
    let capture = rack.capture()?;
    let client = rack.client()?;
    let downs = || rack.edges[0].node.process.log().matches("check down").count();
    let before = downs();
    let (mut kills, host) = (Vec::new(), &rack.edges[0].host);
    for round in 0..rounds() {
        let name = format!("successor-{round}");
        let new = EchoServer::start(host, &name, "[::]:7".parse()?, None)?;
        client.wait_for_servers(&[&name], SOON)?;
        kills.push(old.kill()?);
        old = new;
    }
    // More than one interval: whatever was to follow from the last kill has followed.
    let quiet_since = SystemTime::now();
    vipcast_lab::wait::holds("the node to be announced", Duration::from_millis(1500), || {
        let verdict = rack.edges[0].node.explain(VIP.parse()?)?.vip.verdict;
        ensure!(verdict == Verdict::Announced, "{verdict}");
        Ok(())
    })?;
    let report = client.stop()?;
    let updates = capture.text()?.matches("Update Message").count();
    println!("{} hand-overs, {updates} UPDATEs: {}", kills.len(), report.summary());
    ensure!(updates == 0, "the router was told something: {}", capture.text()?);
    ensure!(downs() == before, "{}", rack.edges[0].node.process.log());
    // What was queued in the socket of the killed one is gone with it; nothing else is lost.
    for lost in report.datagrams.iter().filter(|datagram| datagram.answer.is_none()) {
        let near = kills.iter().any(|kill| {
            let apart = lost.sent.duration_since(*kill).unwrap_or_else(|early| early.duration());
            apart <= Duration::from_millis(50)
        });
        ensure!(near, "{lost:?} was lost, and the kills were at {kills:?}");
    }
    ensure!(report.since(quiet_since).lost() == 0, "{}", report.summary());
    Ok(())
}

/// The interface that a node needs loses its carrier, and gets it back.
fn carrier(lab: &Lab) -> Result<()> {
    let rack = Rack::new(lab, RouterKind::Bird, |_, _| "{interface: to-storage}".into())?;
    let storage = lab.host("storage")?;
    let edge = &rack.edges[0];
    let vip: IpAddr = VIP.parse()?;
    let said = |words: &str| {
        lab.until(format_args!("explain to say {words:?}"), SOON, || {
            let text = edge.node.cli(&["explain", VIP])?;
            ensure!(text.contains(words), "{text}");
            Ok(())
        })
    };
    said("there is no interface to-storage")?;
    let link = lab.link(&edge.host, &storage, Subnet::none())?;
    ensure!(link.end(&edge.host).interface == "to-storage", "{link:?}");
    rack.wait_hops(&[0])?;
    let capture = rack.capture()?;
    let far = &link.end(&storage).interface;
    let mut sent = Vec::new();
    for _ in 0..rounds() {
        edge.node.wait_verdict(lab, vip, "announced", SOON)?;
        let cut = SystemTime::now();
        storage.set_link(far, Toggle::Down)?;
        rack.wait_hops(&[])?;
        sent.push(lab.until("the withdrawal to be captured", SOON, || {
            first_after(cut, &capture.withdrawals()?).context("no UPDATE withdraws anything")
        })?);
        said("the link of to-storage is down (no carrier)")?;
        storage.set_link(far, Toggle::Up)?;
        rack.wait_hops(&[0])?;
    }
    println!("our UPDATE after the carrier was lost: median {:?} of {sent:?}", median(&sent));
    ensure!(median(&sent) <= MOST_OURS, "our UPDATE came late: {sent:?}");
    edge.host.set_link("to-storage", Toggle::Down)?;
    said("to-storage is administratively down")
}
