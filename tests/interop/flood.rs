//! Connections opened and closed as fast as two cores can: to the BGP port by strangers and from a router's address,
//! and to the control socket. Sessions stay, commands are answered, a service that dies is withdrawn, and the log stays
//! short.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use libtest_mimic::Trial;
use vipcast::control::api::SessionState;
use vipcast_lab::speaker::knock;
use vipcast_lab::traffic::Health;
use vipcast_lab::{
    EchoServer, Host, Lab, Neighbor, Router, RouterConfig, RouterKind, SpeakerOptions, Subnet,
};

use crate::node::Node;
use crate::{SOON, has_route, trial, wait_route};

const WELL: &str = "192.0.2.10";
const DIES: &str = "192.0.2.20";
/// More than twice the hold time.
const LASTS: Duration = Duration::from_secs(8);
/// A status, and the withdrawal of a service whose check fails twice within 200 ms, on a machine that does much else.
const PROMPT: Duration = Duration::from_secs(6);
/// Lines that a flood may add, however many connections it has.
const LINES: usize = 60;
/// Fewer connections than that are no flood. How many a second there are is a matter of the machine.
const FLOOD: u32 = 1_000;

pub(crate) fn trials() -> Vec<Trial> {
    let frr = |name, test: fn(&Lab) -> Result<()>| trial(name, &[RouterKind::Frr], test);
    vec![
        frr("frr::a_flood_of_connections_to_the_bgp_port_ends_no_session_and_fills_no_log", bgp_port),
        frr(
            "frr::a_flood_of_connections_to_the_control_socket_ends_no_session_and_fills_no_log",
            control_socket,
        ),
    ]
}

/// Connects as often as it can until it is told to stop, and tells how often that was.
type Connects<'a> = dyn Fn(&AtomicBool) -> Result<u32> + Send + 'a;

struct Site<'a> {
    lab: &'a Lab,
    tor: Host,
    stranger: Host,
    router: Arc<dyn Router>,
    service: EchoServer,
    node: Node,
}

impl<'a> Site<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        let (tor, edge, stranger) = (lab.host("tor")?, lab.host("edge")?, lab.host("stranger")?);
        for (host, number) in [(&tor, 1), (&stranger, 2)] {
            lab.link(host, &edge, Subnet::dual(number))?;
            // Ports that wait for late segments are used again: this is about us, and not about them.
            host.sysctl("net/ipv4/tcp_tw_reuse", "1")?;
        }
        let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1))
            .neighbor(Neighbor::new("10.0.1.2".parse::<IpAddr>()?, 65001));
        let router = lab.router(RouterKind::Frr, &tor, &router)?;
        let service = EchoServer::start(&edge, "web", "[::]:7".parse()?, Some("[::]:8080".parse()?))?;
        let config = format!(
            "local_as: 65001
router_id: 10.0.0.2
log: {{level: info}}
peers: {{tor: {{address: 10.0.1.1, peer_as: 65000, hold_time: 3s}}}}
checks:
  web: {{http: {{url: \"http://127.0.0.1:8080/healthz\"}}, interval: 100ms, fast_interval: 100ms, timeout: 100ms, fall: 5}}
services:
  well: {{vips: [{WELL}], checks: []}}
  dies: {{vips: [{DIES}], checks: [web]}}
"
        );
        let node = Node::start(lab, &edge, &config)?;
        let site = Self { lab, tor, stranger, router, service, node };
        for vip in [WELL, DIES] {
            site.wait_route(vip, true)?;
        }
        Ok(site)
    }

    fn has(&self, vip: &str) -> Result<bool> {
        has_route(self.router.as_ref(), vip)
    }

    fn wait_route(&self, vip: &str, wanted: bool) -> Result<Duration> {
        let asked = Instant::now();
        wait_route(self.lab, self.router.as_ref(), vip, wanted, SOON)?;
        Ok(asked.elapsed())
    }

    /// What holds while all of these connect.
    fn endures(&self, clients: Vec<Box<Connects<'_>>>) -> Result<()> {
        let (before, descriptors) =
            (self.node.process.log().lines().count(), self.node.process.descriptors()?);
        let (over, begin) = (&AtomicBool::new(false), Instant::now());
        let (connections, seen) = thread::scope(|scope| {
            let clients: Vec<_> =
                clients.into_iter().map(|client| scope.spawn(move || client(over))).collect();
            let seen = self.watch(begin);
            over.store(true, Ordering::Relaxed);
            let counts = clients
                .into_iter()
                .map(|client| client.join().unwrap_or_else(|_panic| Err(anyhow!("a client panicked"))));
            (counts.collect::<Result<Vec<u32>>>(), seen)
        });
        let took = begin.elapsed();
        let (connections, (slowest, withdrawn)) = (connections?.into_iter().sum::<u32>(), seen?);
        let log = self.node.process.log();
        let lines: Vec<&str> = log.lines().skip(before).collect();
        let rate = f64::from(connections) / took.as_secs_f64();
        println!(
            "{connections} connections in {took:.1?} ({rate:.0} a second): {} lines of log, the slowest status {slowest:?}, \
             a dead service withdrawn after {withdrawn:?}",
            lines.len()
        );
        ensure!(slowest < PROMPT, "status took {slowest:?}");
        ensure!(withdrawn < PROMPT, "the withdrawal took {withdrawn:?}");
        ensure!(lines.len() < LINES, "{} lines, among them {:#?}", lines.len(), &lines[..LINES]);
        ensure!(connections > FLOOD, "{connections} connections are no flood");
        self.lab.until("the descriptors to come back", SOON, || {
            let now = self.node.process.descriptors()?;
            ensure!(now <= descriptors, "{now} and not {descriptors}");
            Ok(())
        })
    }

    /// The session stays, the status is answered, and in the middle of it a service dies.
    fn watch(&self, begin: Instant) -> Result<(Duration, Duration)> {
        let (mut slowest, mut withdrawn) = (Duration::ZERO, None);
        while begin.elapsed() < LASTS {
            let asked = Instant::now();
            let age = asked - begin;
            let status = self.node.status()?;
            slowest = slowest.max(asked.elapsed());
            let tor = status.peers.get("tor").context("no peer")?;
            ensure!(tor.state == SessionState::Established, "{tor:?}: {}", self.node.process.log());
            ensure!(Duration::from_millis(tor.since_ms) >= age, "another session: {tor:?}");
            ensure!(self.has(WELL)?, "{WELL} is gone");
            if withdrawn.is_none() && age > LASTS / 2 {
                self.service.set_health(Health::Bad)?;
                withdrawn = Some(self.wait_route(DIES, false)?);
            } else {
                ensure!(withdrawn.is_some() || self.has(DIES)?, "{DIES} is gone, and its service is well");
            }
        }
        Ok((slowest, withdrawn.context("it was not tried")?))
    }
}

/// By strangers, and from the router's address with its AS, where every second one says OPEN.
fn bgp_port(lab: &Lab) -> Result<()> {
    const AT_ONCE: u32 = 1_000;
    let site = Site::new(lab)?;
    let port = |last: u8| SocketAddr::from(([10, 0, last, 2], 179));
    let knocks = |host: &Host, number: u8, options: SpeakerOptions| {
        let host = host.clone();
        move |over: &AtomicBool| -> Result<u32> {
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                knock(&host, port(number), AT_ONCE, &options)?;
                count += AT_ONCE;
            }
            Ok(count)
        }
    };
    let stranger = || knocks(&site.stranger, 2, SpeakerOptions::new(65009, Ipv4Addr::new(10, 0, 0, 9)));
    let router = || knocks(&site.tor, 1, SpeakerOptions::new(65000, Ipv4Addr::new(10, 0, 0, 1)));
    // Where the queue of the port is full a client waits for a second, and the others go on.
    site.endures(vec![
        Box::new(stranger()),
        Box::new(stranger()),
        Box::new(stranger()),
        Box::new(router()),
        Box::new(router()),
    ])
}

/// By root: who connects, who says half a request, and who asks and does not wait for the answer.
fn control_socket(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    let connects = |socket: &Path, text: &'static str| {
        let socket = socket.to_owned();
        move |over: &AtomicBool| -> Result<u32> {
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                let mut client = UnixStream::connect(&socket).context("cannot connect")?;
                // It may have been closed for another already.
                drop(client.write_all(text.as_bytes()));
                count += 1;
            }
            Ok(count)
        }
    };
    let socket = site.node.socket();
    let texts = ["", "GET /v1/status HTT", "GET /v1/status HTTP/1.1\r\nhost: vipcast\r\n\r\n"];
    site.endures(texts.into_iter().map(|text| Box::new(connects(socket, text)) as Box<_>).collect())
}
