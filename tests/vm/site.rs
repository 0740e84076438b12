//! A machine that is an edge node, with the agent and the packages; [`LIFE`] has a router in a namespace and a web server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use vipcast_lab::Host;

use crate::initrd::{self, Contents};
use crate::machine::{self, Agent, Machine, tail};
use crate::supplies::{Kernel, Recipe, SUITE, Supplies, output};

/// More than anything on the machine takes.
pub(crate) const SOON: Duration = Duration::from_secs(120);
/// The VIPs of the two services.
pub(crate) const WEB: &str = "192.0.2.10";
pub(crate) const API: &str = "192.0.2.11";
pub(crate) const PACKAGE: &str = "/root/vipcast_0.1.0-1_amd64.deb";
pub(crate) const OLD_PACKAGE: &str = "/root/vipcast_0.0.9-1_amd64.deb";

/// The end of its network card on the host outside.
pub(crate) const PORT: &str = "edge-a";

/// What the first file system of the disk's kernel needs, in any order.
const MODULES: [&str; 6] =
    ["virtio", "virtio_ring", "virtio_pci", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_blk"];

const INIT: &str = r"#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
# A module that needs another fails until that one is there.
for round in 1 2 3; do
    for module in /modules/*.ko; do /bin/busybox insmod $module 2>/dev/null; done
done
/bin/busybox mount -t ext4 /dev/vda /root || exec /bin/busybox poweroff -f
/bin/busybox umount /proc
exec /bin/busybox switch_root /root /sbin/init
";

/// Also for busybox.
pub(crate) const AGENT: &str = r#"#!/bin/sh
exec 3<>/dev/ttyS1
stty -F /dev/ttyS1 raw -echo
echo ready >&3
while read -r number script <&3; do
    status=0
    said=$(sh -ec "$(printf %s "$script" | base64 -d)" 2>&1 </dev/null) || status=$?
    printf '%s %s %s\n' "$number" "$status" "$(printf %s "$said" | base64 -w 0)" >&3
done
"#;

/// The network: a router's namespace beside the node's.
const RACK: &str = r"#!/bin/sh
set -e
ip netns add tor
ip link add uplink type veth peer name port netns tor
ip address add 10.0.1.2/24 dev uplink
ip link set uplink up
ip -n tor address add 10.0.1.1/24 dev port
ip -n tor link set lo up
ip -n tor link set port up
";

const BIRD: &str = "router id 10.0.1.1;
protocol device { }
protocol kernel { ipv4 { export all; }; }
protocol bgp edge {
    local 10.0.1.1 as 65000;
    neighbor 10.0.1.2 as 65001;
    graceful restart on;
    ipv4 { import all; export none; };
}
";

pub(crate) const AGENT_UNIT: &str = "[Unit]\nDescription=Runs the commands of the test\n\
     [Service]\nExecStart=/usr/local/sbin/agent\nRestart=always\n[Install]\nWantedBy=multi-user.target\n";

/// The node with its router on one machine.
pub(crate) const LIFE: Recipe = Recipe {
    name: "life",
    suite: SUITE,
    packages: ",bird2",
    services: "agent.service rack.service web.service",
    ready: "birdc -s /run/tor.ctl show status >/dev/null",
    files: &FILES,
};

const FILES: [(&str, &str); 7] = [
    ("usr/local/sbin/agent", AGENT),
    ("usr/local/sbin/rack", RACK),
    ("etc/tor.conf", BIRD),
    ("srv/www/healthz", "ok\n"),
    ("etc/systemd/system/agent.service", AGENT_UNIT),
    (
        "etc/systemd/system/rack.service",
        "[Unit]\nDescription=The router\nBefore=network-online.target\n\
         [Service]\nExecStartPre=/usr/local/sbin/rack\n\
         ExecStart=/usr/sbin/ip netns exec tor bird -f -c /etc/tor.conf -s /run/tor.ctl\n\
         [Install]\nWantedBy=multi-user.target\n",
    ),
    (
        "etc/systemd/system/web.service",
        "[Unit]\nDescription=The service\n[Service]\nExecStart=/usr/bin/busybox httpd -f -p 8080 -h /srv/www\n\
         [Install]\nWantedBy=multi-user.target\n",
    ),
];

/// The node's configuration, with this MED on its routes.
pub(crate) fn config(med: u32) -> String {
    format!(
        "local_as: 65001
peers:
  tor: {{address: 10.0.1.1, peer_as: 65000, graceful_restart: true}}
checks:
  web: {{http: {{url: \"http://127.0.0.1:8080/healthz\"}}, interval: 1s, timeout: 900ms}}
services:
  web: {{vips: [{WEB}], checks: [web], announce: {{med: {med}}}}}
  api: {{vips: [{API}], checks: [web]}}
shutdown: {{drain_time: 500ms, unbind_delay: 200ms}}
"
    )
}

/// The machine, with its agent and what it is booted from.
pub(crate) struct Site {
    machine: Machine,
    agent: Agent,
    directory: PathBuf,
    kernel: Kernel,
    initrd: PathBuf,
    ready: &'static str,
    /// The host outside to which its network card leads.
    port: Option<Host>,
}

impl Site {
    /// With `port`, it has a network card, whose other end is [`PORT`] on that host.
    pub(crate) fn boot(supplies: &Supplies, recipe: &Recipe, port: Option<Host>) -> Result<Self> {
        let began = Instant::now();
        let kernel = supplies.kernel(SUITE)?;
        let directory = supplies.directory().join(recipe.name);
        fs::create_dir_all(&directory).context("cannot make a directory for the machine")?;
        let contents = Contents { modules: &MODULES, init: INIT, ..Contents::default() };
        let initrd = initrd::make(&directory, &kernel, &contents)?;
        let disk = supplies.disk(recipe, &kernel, &initrd)?;
        println!("kernel, packages and disk: {:?}", began.elapsed());
        // The machine writes to a copy, which the next one replaces.
        output(Command::new("cp").arg("--sparse=always").arg(&disk).arg(directory.join("disk.img")))?;
        let began = Instant::now();
        let (machine, agent) = switch_on(&directory, &kernel, &initrd, port.as_ref())?;
        let mut site = Self { machine, agent, directory, kernel, initrd, ready: recipe.ready, port };
        site.booted()?;
        println!("{}; booted in {:?}", site.shell("uname -r")?, began.elapsed());
        Ok(site)
    }

    /// Waits for the agent and what else there is, after a boot.
    pub(crate) fn booted(&mut self) -> Result<()> {
        let ready = self.agent.wait_ready();
        ready.with_context(|| format!("the console: {}", tail(&self.machine.console())))?;
        self.agent.until("the machine to be ready", self.ready, SOON).map(drop)
    }

    /// Reboots: the machine shuts down and resets itself, where qemu ends, and is switched on again with its disk.
    pub(crate) fn reboot(&mut self) -> Result<()> {
        self.stop("systemctl reboot")?;
        self.machine.wait_off()?;
        self.switch_on()
    }

    /// Begins to stop the machine with this command.
    pub(crate) fn stop(&mut self, command: &str) -> Result<()> {
        // The answer must get out before the agent is stopped.
        self.shell(&format!("systemd-run --quiet --on-active=1s {command}")).map(drop)
    }

    pub(crate) fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// Switches it on again, with its disk.
    pub(crate) fn switch_on(&mut self) -> Result<()> {
        (self.machine, self.agent) =
            switch_on(&self.directory, &self.kernel, &self.initrd, self.port.as_ref())?;
        self.booted()
    }

    pub(crate) fn shell(&mut self, script: &str) -> Result<String> {
        self.agent.shell(script)
    }

    pub(crate) fn until(&mut self, what: &str, script: &str) -> Result<String> {
        let found = self.agent.until(what, script, SOON);
        found.map_err(|error| error.context(self.journal()))
    }

    /// Writes a file of the machine.
    pub(crate) fn write(&mut self, path: &str, text: &str) -> Result<()> {
        self.shell(&format!("mkdir -p \"$(dirname {path})\"; cat >{path} <<'END'\n{text}\nEND")).map(drop)
    }

    /// A node in service: the package is installed, the daemon runs, both VIPs are at the router.
    pub(crate) fn serve(&mut self) -> Result<()> {
        if self.shell("test -x /usr/bin/vipcast").is_err() {
            self.shell(&format!("dpkg --install {PACKAGE}"))?;
        }
        self.write("/etc/vipcast/vipcast.yaml", &config(0))?;
        self.shell("systemctl enable vipcast 2>&1; systemctl reload-or-restart vipcast")?;
        // Drains of a test before.
        self.shell("vipcast undrain --all")?;
        self.announced(WEB)?;
        self.announced(API)
    }

    /// Waits until the router's kernel has the VIP.
    pub(crate) fn announced(&mut self, vip: &str) -> Result<()> {
        let route = format!("ip -n tor route show {vip} | grep -q 'via 10.0.1.2'");
        self.until(&format!("{vip} to be announced"), &route).map(drop)
    }

    /// Waits until the router's kernel does not have the VIP.
    pub(crate) fn withdrawn(&mut self, vip: &str) -> Result<()> {
        let route = format!("test -z \"$(ip -n tor route show {vip})\"");
        self.until(&format!("{vip} to be withdrawn"), &route).map(drop)
    }

    pub(crate) fn show(&mut self, property: &str) -> Result<String> {
        self.shell(&format!("systemctl show --value --property {property} vipcast"))
    }

    pub(crate) fn pid(&mut self) -> Result<u32> {
        let pid = self.show("MainPID")?.trim().parse()?;
        ensure!(pid > 0, "vipcast does not run: {}", self.journal());
        Ok(pid)
    }

    /// How many sessions began since the boot. The last one is up.
    pub(crate) fn sessions(&mut self) -> Result<String> {
        self.shell(
            "birdc -s /run/tor.ctl show protocols edge | grep -q Established
            journalctl --boot --unit vipcast | grep -c 'session established'",
        )
    }

    pub(crate) fn journal(&mut self) -> String {
        let journal = self.agent.shell("journalctl --no-pager --lines 60 --unit vipcast");
        journal.unwrap_or_else(|error| format!("{error:#}"))
    }
}

fn switch_on(
    directory: &Path,
    kernel: &Kernel,
    initrd: &Path,
    port: Option<&Host>,
) -> Result<(Machine, Agent)> {
    let disk = directory.join("disk.img");
    let mut arguments = Agent::port(directory).to_vec();
    arguments
        .extend(["-drive".to_owned(), format!("file={},if=virtio,format=raw,cache=unsafe", disk.display())]);
    if port.is_some() {
        arguments.extend(machine::network(PORT, 1));
    }
    let machine = Machine::start(port, directory, kernel, initrd, &arguments)?;
    Ok((machine, Agent::connect(directory)?))
}
