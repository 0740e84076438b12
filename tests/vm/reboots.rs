//! A node goes down in each way while another one has the VIP: no datagram is lost, and the withdrawal is at the router before the
//! first service of the node is stopped.
//!
//! ```text
//!  client ── tor (BIRD) ──┬── edge-a: a virtual machine with systemd; its logind waits for vipcast
//!    1 datagram/ms        └── edge-b: a host of the lab
//! ```

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use vipcast_lab::{
    Capture, Client, EchoServer, Host, Lab, Neighbor, Process, RouterConfig, RouterKind, Subnet,
};

use crate::site::{PACKAGE, PORT, SOON, Site};
use crate::supplies::{Supplies, program};

pub(crate) const NAME: &str = "reboots::a_node_that_goes_down_withdraws_before_its_first_service_stops";

const VIP: &str = "192.0.2.10";
/// The machine, as the router sees it.
const EDGE_A: &str = "10.0.9.2";
/// The number of reboots besides the other ways, where it is not 1.
const REBOOTS: &str = "VIPCAST_REBOOTS";

pub(crate) fn available() -> Result<(), String> {
    if Path::new("/dev/net/tun").exists() { Ok(()) } else { Err("there is no /dev/net/tun".to_owned()) }
}

/// The configuration of a node. `rest` are keys of its own.
fn config(local_as: u32, tor: IpAddr, rest: &str) -> String {
    format!(
        "local_as: {local_as}
peers:
  tor: {{address: {tor}, peer_as: 65000}}
checks:
  web: {{http: {{url: \"http://127.0.0.1:8081/healthz\"}}, interval: 1s, timeout: 900ms}}
services:
  web: {{vips: [{VIP}], checks: [web]}}
{rest}"
    )
}

struct Rack {
    tor: Host,
    edge_b: IpAddr,
    client: Host,
    _service: EchoServer,
    _node: Process,
}

pub(crate) fn run(supplies: &Supplies) -> Result<()> {
    Lab::run("reboots", |lab| {
        let rack = rack(lab)?;
        let mut site = Site::boot_beside(supplies, Some(rack.tor.clone()))?;
        let began = Instant::now();
        site.shell(&format!("dpkg --install {PACKAGE}"))?;
        // The services must not be stopped before the last datagram was answered, however busy the processor is.
        let shutdown = "shutdown: {drain_time: 500ms, unbind_delay: 2s}\n";
        site.write("/etc/vipcast/vipcast.yaml", &config(65001, "10.0.9.1".parse()?, shutdown))?;
        site.shell("systemctl enable --now vipcast 2>&1")?;
        rack.has(lab, true)?;
        let found = site.shell("vipcast doctor --json || true")?;
        ensure!(!found.contains("shutdown-"), "{found}");
        cancelled(lab, &rack, &mut site)?;
        // Only now: while systemd reads its files anew, the emulated processor has no time for the datagrams.
        let client = Client::start(&rack.client, format!("{VIP}:7").parse()?)?;
        client.wait_for_servers(&["edge-a", "edge-b"], SOON)?;
        let reboots = std::env::var(REBOOTS).ok().and_then(|number| number.parse().ok()).unwrap_or(1);
        let ways = std::iter::repeat_n("reboot", reboots).chain(["poweroff", "halt"]);
        for way in ways {
            goes_down(lab, &rack, &mut site, way).with_context(|| way.to_owned())?;
        }
        println!("all within {:?}", began.elapsed());
        let report = client.stop()?;
        println!("{}", report.summary());
        ensure!(report.lost() == 0, "{}", report.summary());
        Ok(())
    })
}

fn rack(lab: &Lab) -> Result<Rack> {
    let (tor, client, edge) = (lab.host("tor")?, lab.host("client")?, lab.host("edge-b")?);
    lab.link(&tor, &client, Subnet::dual(8))?;
    client.route(&["default", "via", "10.0.8.1"])?;
    let link = lab.link(&tor, &edge, Subnet::dual(2))?;
    let (gateway, edge_b) = (link.v4(&tor)?, link.v4(&edge)?);
    edge.route(&["default", "via", &gateway.to_string()])?;
    tor.run(["ip", "tuntap", "add", "dev", PORT, "mode", "tap"])?;
    tor.add_address(PORT, "10.0.9.1/24".parse()?)?;
    tor.run(["ip", "link", "set", PORT, "up"])?;
    let edge_a: IpAddr = EDGE_A.parse()?;
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1));
    let router = router.neighbor(Neighbor::new(edge_a, 65001)).neighbor(Neighbor::new(edge_b, 65002));
    lab.router(RouterKind::Bird, &tor, &router)?;
    let service = EchoServer::start(&edge, "edge-b", "[::]:7".parse()?, Some("[::]:8081".parse()?))?;
    let (state, socket) = (lab.directory().join("edge-b-state"), lab.directory().join("edge-b.sock"));
    let own = format!(
        "state_dir: {}\ncontrol: {{socket: {}}}\nshutdown: {{inhibit: false}}\n",
        state.display(),
        socket.display()
    );
    let file = edge.write_file("vipcast.yaml", &config(65002, gateway, &own))?;
    let mut command = edge.command(program());
    command.args(["run", "--config"]).arg(&file);
    let node = edge.spawn("vipcast", command)?;
    Ok(Rack { tor, edge_b, client, _service: service, _node: node })
}

impl Rack {
    /// Waits until the kernel of the router uses edge-b, and edge-a as well or not.
    fn has(&self, lab: &Lab, edge_a: bool) -> Result<()> {
        let vip: IpNet = format!("{VIP}/32").parse()?;
        let mut wanted = vec![self.edge_b];
        if edge_a {
            wanted.push(EDGE_A.parse()?);
        }
        lab.until(format_args!("the router to have the next hops {wanted:?}"), SOON, || {
            let routes = self.tor.routes(vip)?;
            let hops = routes.iter().flat_map(|route| route.next_hops.iter().filter_map(|hop| hop.gateway));
            ensure!(hops.collect::<Vec<_>>() == wanted, "{routes:?}");
            Ok(())
        })
    }
}

/// A reboot that is scheduled and cancelled, and one that fails after the drain, because systemd cannot start its target.
fn cancelled(lab: &Lab, rack: &Rack, site: &mut Site) -> Result<()> {
    site.shell("shutdown +1 2>&1; shutdown -c 2>&1")?;
    let drains = "vipcast events --json | grep -c 'by.*logind'";
    ensure!(site.shell(&format!("! {drains}")).is_ok(), "it is drained though nothing happens yet");
    site.write("/run/systemd/system/reboot.target.d/broken.conf", "[Unit]\nRequires=nonesuch.service")?;
    site.shell("systemctl daemon-reload")?;
    let began = Instant::now();
    // logind answers before the delay, and finds out after it.
    site.shell("systemctl reboot 2>&1 || true")?;
    site.until("the drain to be lifted", "vipcast events | grep 'does not go down after all'")?;
    println!("a reboot that failed was drained and undrained within {:?}", began.elapsed());
    println!("{}", site.shell("vipcast events | grep logind")?);
    rack.has(lab, true)?;
    site.shell("rm -r /run/systemd/system/reboot.target.d; systemctl daemon-reload").map(drop)
}

/// The machine is stopped in this way, and comes back.
fn goes_down(lab: &Lab, rack: &Rack, site: &mut Site, way: &str) -> Result<()> {
    site.until("the inhibitor", "systemd-inhibit --list | grep 'withdrawing service addresses'")?;
    // A service with all that a service has by default. Its stop is seen on the wire, beside the withdrawal.
    site.shell(
        "systemd-run --quiet --unit first \
         --property 'ExecStop=/bin/bash -c \"echo stopped >/dev/udp/10.0.9.1/9\"' sleep 1d",
    )?;
    let monitor = rack.tor.monitor_routes()?;
    let capture = rack.tor.capture(PORT, "tcp port 179 or udp dst port 9")?;
    let began = Instant::now();
    site.stop(&format!("systemctl {way}"))?;
    match way {
        "halt" => {
            site.machine().wait_halted()?;
            site.machine().switch_off();
        }
        _ => site.machine().wait_off()?,
    }
    let down = began.elapsed();
    capture.stop()?;
    let stopped = stopped(&capture)?;
    let withdrawn = capture.withdrawals()?.first().copied().context("nothing was withdrawn")?;
    let changes = monitor.changes(VIP.parse()?)?;
    let moved = changes.iter().map(|(time, _)| *time).find(|time| *time > withdrawn);
    let moved = moved.with_context(|| format!("the route of the router did not change: {changes:?}"))?;
    ensure!(
        withdrawn < stopped && moved < stopped,
        "withdrawn {withdrawn:?}, {moved:?}, stopped {stopped:?}"
    );
    let before = |time| stopped.duration_since(time).unwrap_or_default();
    println!(
        "{way}: withdrawn {:?} and off the router's table {:?} before the first service was stopped; down in {down:?}",
        before(withdrawn),
        before(moved)
    );
    site.switch_on()?;
    rack.has(lab, true)?;
    println!("{way}: back after {:?}", began.elapsed());
    Ok(())
}

/// When the first service was stopped.
fn stopped(capture: &Capture) -> Result<SystemTime> {
    let packets = capture.packets()?;
    let found = packets.into_iter().find(|(_, text)| text.contains("UDP") || text.contains(".9: "));
    found.map(|(time, _)| time).context("no service was stopped")
}
