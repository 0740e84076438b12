//! Two nodes behind a router; the router and one node are virtual machines. A client asks the VIP a thousand times a second, and no
//! answer is lost whatever the node goes through.
//!
//! ```text
//!                      wire: a bridge in a host of the lab
//!  client 10.0.8.2 ──┬── tor: FRR on a machine, 10.0.{2,8,9}.1 on one card
//!   1 datagram/ms    ├── edge-a 10.0.9.2: a machine with systemd
//!                    └── edge-b 10.0.2.2: a host of the lab
//! ```
//!
//! The tests share the machines, one after the other; each begins with both nodes at the router.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use vipcast_lab::{Client, EchoServer, Host, Lab, Process, Subnet, wait};

use crate::router::{self, Router};
use crate::site::{self, AGENT, AGENT_UNIT, OLD_PACKAGE, SOON, Site};
use crate::supplies::{Recipe, SUITE, Supplies, has, program};
use crate::{packages, reboots};

pub(crate) const VIP: &str = "192.0.2.10";
/// The machine, as the router sees it.
pub(crate) const EDGE_A: &str = "10.0.9.2";
const EDGE_B: &str = "10.0.2.2";
/// The first suite with a systemd that knows `soft-reboot`.
const NEWER: &str = "trixie";

/// On a busy machine an emulated processor may stand still for a second. The datagrams wait meanwhile, and BFD has patience.
const BFD: &str = "bfd: {interval: 500ms, multiplier: 6}";
const SYSCTLS: &str = "net.core.rmem_default = 8000000\nnet.core.netdev_max_backlog = 10000\n";
const QUEUE: &str = "10000";

type Test = fn(&mut Rack) -> Result<()>;

const TESTS: [(&str, Test); 2] = [
    ("apt_hands_over_under_load_to_a_newer_package_the_same_and_an_older_one", packages::run),
    ("a_node_that_goes_down_withdraws_before_its_first_service_stops", reboots::run),
];

const NETWORK: &str = "#!/bin/sh
set -e
modprobe virtio_net
ip address replace 10.0.9.2/24 dev eth0
ip link set eth0 txqueuelen 10000 up
ip route replace default via 10.0.9.1
";

const fn recipe(suite: &'static str) -> Recipe {
    Recipe {
        name: "rack",
        suite,
        packages: ",kexec-tools",
        services: "agent.service network.service echo.service",
        ready: "ip route | grep -q default",
        files: &[
            ("usr/local/sbin/agent", AGENT),
            ("usr/local/sbin/network", NETWORK),
            ("etc/sysctl.d/90-rack.conf", SYSCTLS),
            ("srv/health", "200"),
            // The journal is kept.
            ("var/log/journal/.keep", ""),
            ("etc/systemd/system/agent.service", AGENT_UNIT),
            (
                "etc/systemd/system/network.service",
                "[Unit]\nDescription=The way to the router\nBefore=network-online.target\n\
                 [Service]\nType=oneshot\nExecStart=/usr/local/sbin/network\nRemainAfterExit=yes\n\
                 [Install]\nWantedBy=multi-user.target\n",
            ),
            (
                "etc/systemd/system/echo.service",
                "[Unit]\nDescription=Answers datagrams\n\
                 [Service]\nExecStart=/usr/local/sbin/lab-agent server edge-a [::]:7 /srv/health [::]:8081\n\
                 [Install]\nWantedBy=multi-user.target\n",
            ),
        ],
    }
}

pub(crate) fn trials(needs: &Result<(), String>, supplies: &Arc<Supplies>) -> Vec<Trial> {
    let needs = needs.clone().and_then(|()| Lab::available()).and_then(|()| router::available());
    let needs = needs.and_then(|()| match Path::new("/dev/net/tun").exists() {
        true => Ok(()),
        false => Err("there is no /dev/net/tun".to_owned()),
    });
    let newer = needs.clone().and_then(|()| has(NEWER));
    let suite = if newer.is_ok() { NEWER } else { SUITE };
    let shared: Arc<Mutex<Option<Rack>>> = Arc::default();
    let trial = |(name, test): (&str, Test)| {
        let (shared, supplies) = (Arc::clone(&shared), Arc::clone(supplies));
        vipcast_lab::trial(&format!("rack::{name}"), needs.clone(), move || {
            let mut place = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let mut rack = match place.take() {
                Some(rack) => rack,
                None => Rack::new(&supplies, suite)?,
            };
            let began = Instant::now();
            let result = test(&mut rack);
            println!("{:?}", began.elapsed());
            // As in `life`.
            match result {
                Ok(()) => *place = Some(rack),
                Err(error) => return Err(error.context(rack.site.journal())),
            }
            Ok(())
        })
    };
    let mut trials: Vec<Trial> = TESTS.into_iter().map(trial).collect();
    // Its place in the list says why it is left out.
    if let (Ok(()), Err(reason)) = (&needs, newer) {
        let soft = "rack::a_soft_reboot_withdraws_before_its_first_service_stops";
        trials.push(vipcast_lab::trial(soft, Err(reason), || Ok(())));
    }
    trials
}

/// Fields are dropped in this order: the machines before the namespaces in which they have their ports.
pub(crate) struct Rack {
    pub(crate) site: Site,
    pub(crate) router: Router,
    pub(crate) wire: Host,
    /// Whether its systemd knows `soft-reboot`.
    pub(crate) newer: bool,
    client: Host,
    _service: EchoServer,
    _node: Process,
    _lab: Lab,
}

impl Rack {
    fn new(supplies: &Supplies, suite: &'static str) -> Result<Self> {
        let lab = Lab::new("rack")?;
        let (wire, client, edge) = (lab.host("wire")?, lab.host("client")?, lab.host("edge-b")?);
        wire.run(["ip", "link", "add", "name", "bridge", "type", "bridge"])?;
        wire.run(["ip", "link", "set", "bridge", "up"])?;
        for (host, address, gateway) in [(&client, "10.0.8.2", "10.0.8.1"), (&edge, EDGE_B, "10.0.2.1")] {
            let link = lab.link(&wire, host, Subnet::none())?;
            wire.run(["ip", "link", "set", &link.end(&wire).interface, "master", "bridge"])?;
            host.add_address(&link.end(host).interface, format!("{address}/24").parse()?)?;
            host.route(&["default", "via", gateway])?;
        }
        for port in [router::PORT, site::PORT] {
            wire.run(["ip", "tuntap", "add", "dev", port, "mode", "tap"])?;
            wire.run(["ip", "link", "set", port, "txqueuelen", QUEUE, "master", "bridge", "up"])?;
        }
        let router = Router::boot(supplies, &wire, &bgp_config(), &bfd_config())?;
        let service = EchoServer::start(&edge, "edge-b", "[::]:7".parse()?, Some("[::]:8081".parse()?))?;
        let (state, socket) = (lab.directory().join("edge-b-state"), lab.directory().join("edge-b.sock"));
        let own = format!(
            "state_dir: {}\ncontrol: {{socket: {}}}\nshutdown: {{inhibit: false}}\n",
            state.display(),
            socket.display()
        );
        let file = edge.write_file("vipcast.yaml", &config(65002, "10.0.2.1", &own))?;
        let mut command = edge.command(program());
        command.args(["run", "--config"]).arg(&file);
        let node = edge.spawn("vipcast", command)?;
        let site = Site::boot(supplies, &recipe(suite), Some(wire.clone()))?;
        let newer = suite == NEWER;
        let mut rack = Self { site, router, wire, newer, client, _service: service, _node: node, _lab: lab };
        rack.serve()?;
        Ok(rack)
    }

    /// Installs the older package and starts it.
    fn serve(&mut self) -> Result<()> {
        self.site.shell(&format!("dpkg --install {OLD_PACKAGE}"))?;
        // The services must not be stopped before the last datagram was answered, however busy the processor is.
        let shutdown = "shutdown: {drain_time: 500ms, unbind_delay: 2s}\n";
        self.site.write("/etc/vipcast/vipcast.yaml", &config(65001, "10.0.9.1", shutdown))?;
        self.site.shell("systemctl enable --now vipcast 2>&1")?;
        self.has_both()?;
        let found = self.site.shell("vipcast doctor --json || true")?;
        ensure!(!found.contains("shutdown-"), "{found}");
        Ok(())
    }

    /// Waits until the kernel of the router uses both nodes, and BFD is up with edge-a.
    pub(crate) fn has_both(&mut self) -> Result<()> {
        wait::until("both nodes at the router", SOON, || {
            let mut hops = self.router.next_hops(VIP)?;
            hops.sort();
            ensure!(hops == [EDGE_B, EDGE_A], "its next hops are {hops:?}");
            self.router.session(EDGE_A.parse::<IpAddr>()?).map(drop)
        })
        .map_err(|error| error.context(self.site.journal()))
    }

    /// A client whose datagrams both nodes answer.
    pub(crate) fn client(&self) -> Result<Client> {
        let client = Client::start(&self.client, format!("{VIP}:7").parse()?)?;
        client.wait_for_servers(&["edge-a", "edge-b"], SOON)?;
        Ok(client)
    }
}

/// The configuration of a node. `rest` are keys of its own.
fn config(local_as: u32, tor: &str, rest: &str) -> String {
    format!(
        "local_as: {local_as}
peers:
  tor: {{address: {tor}, peer_as: 65000, hold_time: 30s, {BFD}}}
checks:
  web: {{http: {{url: \"http://127.0.0.1:8081/healthz\"}}, interval: 1s, timeout: 900ms}}
services:
  web: {{vips: [{VIP}], checks: [web]}}
{rest}"
    )
}

fn bgp_config() -> String {
    let session = |(address, number): (&str, u32)| {
        format!(
            " neighbor {address} remote-as {number}\n neighbor {address} bfd\n \
             neighbor {address} timers 10 30\n neighbor {address} timers connect 1\n"
        )
    };
    let sessions: String = [(EDGE_A, 65001), (EDGE_B, 65002)].map(session).concat();
    format!(
        "debug bgp updates in\ndebug bgp neighbor-events\nrouter bgp 65000\n bgp router-id 10.0.0.1\n \
         no bgp ebgp-requires-policy\n bgp bestpath as-path multipath-relax\n \
         bgp graceful-restart-disable\n{sessions} address-family ipv4 unicast\n  maximum-paths 16\n \
         exit-address-family\nexit\n"
    )
}

fn bfd_config() -> String {
    let peer = |address| {
        format!(
            " peer {address}\n  detect-multiplier 6\n  receive-interval 500\n  transmit-interval 500\n \
             exit\n"
        )
    };
    format!("bfd\n{}exit", [EDGE_A, EDGE_B].map(peer).concat())
}
