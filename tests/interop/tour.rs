//! A tour of an operator's day: each command touches only what it names, and the events tell exactly that story.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast::control::api::{Event, Status};
use vipcast_lab::{Capture, EchoServer, Host, Lab, Neighbor, Router, RouterConfig, RouterKind, Subnet};

use crate::node::Node;
use crate::{SOON, has_route, trial};

const DNS: &str = "192.0.2.53";
const OLD: &str = "192.0.2.80";
const NEW: &str = "192.0.2.90";
const WEB: &str = "192.0.2.10";

pub(crate) fn trials() -> Vec<Trial> {
    let name = "frr::a_day_of_commands_sends_only_what_changed_and_the_events_tell_that_story";
    vec![trial(name, &[RouterKind::Frr], tour)]
}

/// A router, its address for us, and the UPDATEs that it gets.
struct Tor {
    name: &'static str,
    router: Arc<dyn Router>,
    address: IpAddr,
    edge: IpAddr,
    capture: Capture,
}

/// What the UPDATEs said of each prefix, in order: `+` announced, `-` withdrawn.
pub(crate) type Said = BTreeMap<IpNet, String>;

impl Tor {
    fn start(lab: &Lab, edge: &Host, name: &'static str, number: u8) -> Result<Self> {
        let host = lab.host(name)?;
        let link = lab.link(&host, edge, Subnet::v4(number))?;
        let (address, ours) = (link.v4(&host)?, link.v4(edge)?);
        let config =
            RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, number)).neighbor(Neighbor::new(ours, 65001));
        let router = lab.router(RouterKind::Frr, &host, &config)?;
        let capture =
            host.capture(&link.end(&host).interface, &format!("tcp port 179 and src host {ours}"))?;
        Ok(Self { name, router, address, edge: ours, capture })
    }

    /// The router has seen one session, and its end not yet.
    fn ensure_one_session(&self) -> Result<()> {
        let said = self.router.cli(&format!("show bgp neighbors {} json", self.edge))?;
        let said: serde_json::Value = serde_json::from_str(&said)?;
        let count = |key: &str| said[self.edge.to_string()][key].as_u64();
        let counts = (count("connectionsEstablished"), count("connectionsDropped"));
        ensure!(counts == (Some(1), Some(0)), "sessions at {}, and those that ended: {counts:?}", self.name);
        Ok(())
    }

    fn said(&self) -> Result<Said> {
        Ok(said(&self.capture.text()?))
    }
}

/// Reads the UPDATEs in what `tcpdump -v` writes.
pub(crate) fn said(text: &str) -> Said {
    let mut said = Said::new();
    let mut sign = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with("Withdrawn routes") {
            sign = Some('-');
        } else if line.starts_with("Updated routes") {
            sign = Some('+');
        } else if let (Some(sign), Ok(prefix)) = (sign, line.parse::<IpNet>()) {
            said.entry(prefix).or_default().push(sign);
        } else {
            sign = None;
        }
    }
    said
}

fn config(tors: &[Tor], services: [(&str, &str); 3], med: &str) -> String {
    let peers: String = tors
        .iter()
        .map(|tor| {
            let med = if tor.name == "tor-b" { med } else { "" };
            format!("  {}: {{address: {}, peer_as: 65000{med}}}\n", tor.name, tor.address)
        })
        .collect();
    let services: String =
        services.iter().map(|(name, vip)| format!("  {name}: {{vips: [{vip}], checks: [web]}}\n")).collect();
    format!(
        "local_as: 65001
peers:
{peers}checks:
  web: {{http: {{url: \"http://127.0.0.1:8080/healthz\"}}, interval: 2s, timeout: 2s, rise: 1, fall: 1}}
services:
{services}shutdown: {{drain_time: 500ms, unbind_delay: 200ms}}
"
    )
}

/// The tour so far: what each router was told.
struct Tour<'a> {
    lab: &'a Lab,
    node: Node,
    tors: Vec<Tor>,
    told: [Said; 2],
}

impl Tour<'_> {
    /// Waits until the VIPs are at both routers, or not, and compares what was sent for that with what had to be.
    fn step(&mut self, what: &str, at_routers: &[(&str, bool)], sent: [&[(&str, &str)]; 2]) -> Result<()> {
        for ((tor, told), sent) in self.tors.iter().zip(&mut self.told).zip(sent) {
            for (vip, signs) in sent {
                told.entry(format!("{vip}/32").parse()?).or_default().push_str(signs);
            }
            self.lab.until(format_args!("{what}: the UPDATEs to {}", tor.name), SOON, || {
                let said = tor.said()?;
                ensure!(said == *told, "it was told {said:?} and not {told:?}");
                Ok(())
            })?;
        }
        self.lab.until(format_args!("{what}: {at_routers:?} at the routers"), SOON, || {
            for tor in &self.tors {
                for (vip, wanted) in at_routers {
                    ensure!(has_route(&*tor.router, vip)? == *wanted, "{vip} at {}", tor.name);
                }
            }
            Ok(())
        })
    }
}

fn tour(lab: &Lab) -> Result<()> {
    let edge = lab.host("edge")?;
    let tors = [("tor-a", 1), ("tor-b", 2)]
        .into_iter()
        .map(|(name, number)| Tor::start(lab, &edge, name, number))
        .collect::<Result<Vec<_>>>()?;
    let service = EchoServer::start(&edge, "edge", "[::]:7".parse()?, Some("[::]:8080".parse()?))?;
    let first = config(&tors, [("dns", DNS), ("old", OLD), ("web", WEB)], "");
    let second = config(&tors, [("dns", DNS), ("new", NEW), ("web", WEB)], ", med: 50");
    let node = Node::start(lab, &edge, &first)?;
    let mut tour = Tour { lab, node, tors, told: Default::default() };
    let all: &[(&str, &str)] = &[(DNS, "+"), (OLD, "+"), (WEB, "+")];
    tour.step("the start", &[(DNS, true), (OLD, true), (WEB, true)], [all; 2])?;
    let checked = check_up(&tour.node.status()?)?;

    // Drained for two seconds: once with GRACEFUL_SHUTDOWN, withdrawn, and back by itself.
    tour.node.cli(&["drain", "web", "--for", "2s", "--reason", "new kernel"])?;
    tour.step("a drain and its end", &[(WEB, true)], [&[(WEB, "+-+")]; 2])?;
    tour.node.cli(&["drain", "dns", "--wait"])?;
    tour.step("another drain", &[(DNS, false)], [&[(DNS, "+-")]; 2])?;
    tour.node.cli(&["undrain", "dns", "--wait"])?;
    tour.step("undrain", &[(DNS, true)], [&[(DNS, "+")]; 2])?;

    tour.node.cli(&["force-down", "web", "--reason", "bad build"])?;
    tour.step("force-down", &[(WEB, false)], [&[(WEB, "-")]; 2])?;
    tour.node.cli(&["clear", "web"])?;
    tour.step("clear", &[(WEB, true)], [&[(WEB, "+")]; 2])?;

    // One service more, one fewer, and another MED for one peer.
    tour.node.write_config(lab, &second)?;
    let would = tour.node.cli(&["reload", "--dry-run"])?;
    let touched = [
        ("sessions       1 changed without a reset", "tor-b"),
        ("addresses      1 bound", NEW),
        ("1 unbound", OLD),
        ("announcements  1 added, when healthy", NEW),
        ("2 changed", "192.0.2.10, 192.0.2.53"),
        ("1 withdrawn", OLD),
    ];
    for (what, which) in touched {
        ensure!(would.contains(&format!("{what}: {which}\n")), "{what}: {which} is not in\n{would}");
    }
    tour.step("a dry run", &[(NEW, false), (OLD, true)], [&[]; 2])?;
    tour.node.cli(&["reload"])?;
    let with_med: &[(&str, &str)] = &[(OLD, "-"), (NEW, "+"), (DNS, "+"), (WEB, "+")];
    tour.step("a reload", &[(NEW, true), (OLD, false)], [&[(OLD, "-"), (NEW, "+")], with_med])?;
    let routes = tour.tors[1].router.routes()?;
    for vip in [DNS, NEW, WEB] {
        let med = routes[&format!("{vip}/32").parse::<IpNet>()?][0].med;
        ensure!(med == Some(50), "the MED of {vip} at tor-b is {med:?}");
    }

    tour.tors.iter().try_for_each(Tor::ensure_one_session)?;
    // The check goes on: it has not begun anew.
    let still = check_up(&tour.node.status()?)?;
    ensure!(still > checked, "the check was up for {checked} ms before and {still} ms after");
    service.kill()?;
    tour.step(
        "the end of the service",
        &[(DNS, false), (NEW, false), (WEB, false)],
        [&[(DNS, "-"), (NEW, "-"), (WEB, "-")], &[(DNS, "-"), (NEW, "-"), (WEB, "-")]],
    )?;

    let told = tour.node.cli(&["events", "--json"])?;
    let told = told.lines().map(serde_json::from_str).collect::<serde_json::Result<Vec<Event>>>()?;
    // The start has an order of its own; and each command is told by its effects.
    let day = told.iter().skip_while(|event| event.by.is_none());
    let story: Vec<String> = day.filter(|event| event.event.word() != "command").map(sentence).collect();
    ensure!(story == STORY, "the events tell:\n{}", story.join("\n"));
    Ok(())
}

/// The time for which the check has been up, in milliseconds.
fn check_up(status: &Status) -> Result<u64> {
    let check = &status.checks["web"];
    ensure!(check.state.word() == "up", "{check:?}");
    check.since_ms.context("no time")
}

/// An event as a sentence: what, of which service, who, why.
fn sentence(event: &Event) -> String {
    let mut text = event.event.word().to_owned();
    for (before, part) in [
        (" ", event.service.as_ref().or(event.check.as_ref()).or(event.peer.as_ref())),
        (" by ", event.by.as_ref()),
        (": ", event.reason.as_ref()),
    ] {
        if let Some(part) = part {
            text.push_str(before);
            text.push_str(part);
        }
    }
    text
}

const STORY: [&str; 21] = [
    "drain_begins web by root: new kernel",
    "demoted web: being drained, GRACEFUL_SHUTDOWN is set",
    "withdrawn web: drained",
    "drain_ends web",
    "announced web",
    "drain_begins dns by root",
    "demoted dns: being drained, GRACEFUL_SHUTDOWN is set",
    "withdrawn dns: drained",
    "drain_ends dns by root",
    "announced dns",
    "forced web by root: bad build",
    "withdrawn web: forced down by an operator",
    "cleared web by root",
    "announced web",
    "removed old",
    "reloaded by root",
    "announced new",
    "check_down web",
    "withdrawn dns: check web is down",
    "withdrawn new: check web is down",
    "withdrawn web: check web is down",
];
