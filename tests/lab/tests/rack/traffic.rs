//! A client, a router that spreads its flows over two nodes, and a node that dies.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use vipcast_lab::traffic::Health;
use vipcast_lab::{Client, EchoServer, Host, Lab, Subnet, wait};

use crate::{SOON, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_killed_server_behind_ecmp_is_a_gap_in_the_report", &[], |name| {
            Lab::run(name, killed_server)
        }),
        trial("datagrams_leave_once_a_millisecond_without_drift", &[], |name| Lab::run(name, pace)),
        trial("a_health_check_fails_hangs_and_recovers_as_told", &[], |name| Lab::run(name, health)),
    ]
}

/// client ── tor ══ a, b; the VIP is on both nodes, of both families.
fn rack(lab: &Lab) -> Result<(Host, [Host; 2])> {
    let (client, tor) = (lab.host("client")?, lab.host("tor")?);
    lab.link(&tor, &client, Subnet::dual(9))?;
    client.route(&["default", "via", "10.0.9.1"])?;
    client.route(&["default", "via", "fd00:9::1"])?;
    let nodes = [lab.host("a")?, lab.host("b")?];
    for (node, number) in nodes.iter().zip(1..) {
        lab.link(&tor, node, Subnet::dual(number))?;
        node.route(&["default", "via", &format!("10.0.{number}.1")])?;
        node.route(&["default", "via", &format!("fd00:{number}::1")])?;
        node.add_address("lo", "192.0.2.1/32".parse()?)?;
        node.add_address("lo", "2001:db8::1/128".parse()?)?;
    }
    tor.route(&["192.0.2.1", "nexthop", "via", "10.0.1.2", "nexthop", "via", "10.0.2.2"])?;
    tor.route(&["2001:db8::1", "nexthop", "via", "fd00:1::2", "nexthop", "via", "fd00:2::2"])?;
    Ok((client, nodes))
}

fn killed_server(lab: &Lab) -> Result<()> {
    let (client, nodes) = rack(lab)?;
    for vip in ["192.0.2.1:7", "[2001:db8::1]:7"] {
        let vip: SocketAddr = vip.parse()?;
        let start = |host: &Host| EchoServer::start(host, host.name(), vip, None);
        let servers = [start(&nodes[0])?, start(&nodes[1])?];
        let client = Client::start(&client, vip)?;
        client.wait_for_servers(&["a", "b"], SOON)?;
        let killed = servers[0].kill()?;
        // Half of the flows are lost for 300 ms, until the server is back.
        std::thread::sleep(Duration::from_millis(300));
        let _again = start(&nodes[0])?;
        std::thread::sleep(Duration::from_millis(100));
        let report = client.stop()?;
        let summary = report.summary();
        let outages = report.outages(Duration::from_millis(100));
        ensure!(outages.len() == 1, "{summary}");
        let outage = &outages[0];
        let span = Duration::from_millis(250)..Duration::from_secs(5);
        ensure!(span.contains(&outage.duration), "{summary}");
        ensure!(outage.start >= killed - Duration::from_millis(5), "{summary}");
        ensure!(report.recovered_after(killed) >= Duration::from_millis(250), "{summary}");
        ensure!(report.gaps().len() > 10, "the other node answered nothing in between: {summary}");
        ensure!(report.sent() == report.received() + report.lost(), "{summary}");
        ensure!(report.per_server().len() == 2, "{summary}");
    }
    Ok(())
}

fn pace(lab: &Lab) -> Result<()> {
    let (client, nodes) = rack(lab)?;
    let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 7);
    let _servers =
        [EchoServer::start(&nodes[0], "a", any, None)?, EchoServer::start(&nodes[1], "b", any, None)?];
    let client = Client::start(&client, "192.0.2.1:7".parse()?)?;
    // The effect to be seen is the passing of time itself.
    std::thread::sleep(Duration::from_secs(1));
    let report = client.stop()?;
    let first = report.datagrams.first().context("nothing was sent")?.sent;
    let last = report.datagrams.last().context("nothing was sent")?;
    let due = Duration::from_millis(last.sequence);
    let drift = last.sent.duration_since(first)?.abs_diff(due);
    ensure!(drift < Duration::from_millis(50), "datagram {} is off by {drift:?}", last.sequence);
    ensure!(report.sent() > 500, "{}", report.summary());
    ensure!(report.lost() == 0, "{}", report.summary());
    Ok(())
}

fn health(lab: &Lab) -> Result<()> {
    let host = lab.host("a")?;
    let server = EchoServer::start(&host, "a", "127.0.0.1:7".parse()?, Some("127.0.0.1:8080".parse()?))?;
    let ask = || http_status(&host);
    for (health, status) in [(Health::Good, "200"), (Health::Bad, "503"), (Health::Good, "200")] {
        server.set_health(health)?;
        ensure!(ask()? == status, "{health:?}: {}", ask()?);
    }
    server.set_health(Health::Hang)?;
    ensure!(ask().is_err(), "a hanging server answered");
    server.kill()?;
    wait::until("the port to be closed", SOON, || {
        ensure!(ask().is_err(), "a dead server answered");
        Ok(())
    })
}

/// The status code of `/healthz`, or an error after half a second.
fn http_status(host: &Host) -> Result<String> {
    let script = "exec 3<>/dev/tcp/127.0.0.1/8080; printf 'GET /healthz HTTP/1.1\\r\\n\\r\\n' >&3; \
                  read -t 0.5 -r _ code _ <&3 && echo $code";
    Ok(host.run(["bash", "-c", script])?.trim().to_owned())
}
