//! Runs a compose file in the lab: a bridge for each network, a host for each service, and a process in it with its own
//! view of the directories that the scripts write to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use vipcast_lab::{Host, Lab, Process, Signal};

use crate::asking::Asking;
use crate::file::{Compose, Service};

/// What a container has to itself, of the directories that its programs write to.
pub(crate) const OWN_DIRECTORIES: [&str; 4] = ["/run", "/var/lib", "/var/log", "/etc/frr"];

/// Becomes the host `$1`, puts something empty over the directories `$2`, and runs what follows.
const CONTAIN: &str = r#"
set -eu
echo "$1" > /proc/sys/kernel/hostname
for directory in $2; do
    [ ! -d "$directory" ] || mount -t tmpfs -o mode=755 tmpfs "$directory"
done
shift 2
exec "$@"
"#;

/// A command that runs as in a container: in the network of `host`, with a name and a few directories of its own. The
/// program follows as arguments.
pub(crate) fn contained(host: &Host, hostname: &str) -> Result<Command> {
    let mut command = host.command("unshare");
    command.args(["--mount", "--uts", "sh", "-c", CONTAIN, "contain", hostname, &OWN_DIRECTORIES.join(" ")]);
    command.env("PATH", path()?).env("TMPDIR", "/run").env_remove("VIPCAST_SOCKET");
    Ok(command)
}

pub(crate) struct Rack {
    vip: IpNet,
    hosts: BTreeMap<String, Host>,
    processes: BTreeMap<String, Process>,
    starts: BTreeMap<String, Start>,
    asking: Option<Asking>,
}

/// What it takes to start a service.
struct Start {
    host: Host,
    hostname: String,
    script: std::path::PathBuf,
    environment: BTreeMap<String, String>,
    /// How often it was started.
    times: u32,
}

impl Rack {
    pub(crate) fn start(lab: &Lab, compose: &Compose) -> Result<Self> {
        let mut switches = BTreeMap::new();
        for name in compose.networks.keys() {
            let switch = lab.host(name)?;
            switch.run(["ip", "link", "add", "bridge", "up", "type", "bridge"])?;
            switches.insert(name.as_str(), switch);
        }
        let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
        for (name, service) in &compose.services {
            if service.shares()?.is_some() {
                continue;
            }
            let host = lab.host(name)?;
            for (network, place) in &service.networks {
                let switch = switches.get(network.as_str()).context("a network that is not defined")?;
                let length = compose.networks[network].prefix_len()?;
                let address = IpNet::new(place.ipv4_address.into(), length)?;
                let link = lab.link_addresses((&host, &[address]), (switch, &[]))?;
                switch.run(["ip", "link", "set", &link.end(switch).interface, "master", "bridge"])?;
            }
            for (key, value) in &service.sysctls {
                host.sysctl(&key.replace('.', "/"), &value.to_string())?;
            }
            hosts.insert(name.clone(), host);
        }
        let mut starts = BTreeMap::new();
        for (name, service) in &compose.services {
            starts.insert(name.clone(), Start::new(name, service, &hosts)?);
        }
        let vip = "198.51.100.10/32".parse()?;
        let mut rack = Self { vip, hosts, processes: BTreeMap::new(), starts, asking: None };
        for name in compose.services.keys() {
            rack.start_service(name)?;
        }
        Ok(rack)
    }

    /// Starts a service, or starts it again.
    pub(crate) fn start_service(&mut self, name: &str) -> Result<()> {
        let start = self.starts.get_mut(name).with_context(|| format!("there is no service {name}"))?;
        start.times += 1;
        let mut command = contained(&start.host, &start.hostname)?;
        command.arg(&start.script).envs(&start.environment);
        let process = start.host.spawn(&format!("{name}-{}", start.times), command)?;
        self.processes.insert(name.to_owned(), process);
        Ok(())
    }

    /// Sends a signal to what a service runs.
    pub(crate) fn kill(&self, name: &str, signal: Signal) -> Result<()> {
        self.process(name)?.kill(signal)
    }

    /// Runs `vipcast` as `docker compose exec` would.
    pub(crate) fn vipcast(&self, node: &str, arguments: &[&str]) -> Result<String> {
        let socket = format!("/proc/{}/root/run/vipcast/control.sock", self.process(node)?.pid());
        let mut command = Command::new(env!("CARGO_BIN_EXE_vipcast"));
        let output = command.args(arguments).args(["--socket", &socket]).output()?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(output.status.success(), "vipcast {}: {said}", arguments.join(" "));
        Ok(said)
    }

    /// Whether the router's kernel forwards packets for the VIP to these addresses, and to no others.
    pub(crate) fn has_next_hops(&self, router: &str, wanted: &[&str]) -> Result<()> {
        has_next_hops(&self.hosts[router], self.vip, wanted)
    }

    /// Starts `ask.sh` on the client, which goes on until the lab ends.
    pub(crate) fn start_asking(&mut self) -> Result<()> {
        let client = self.hosts.get("client").context("there is no client")?;
        let script = self.starts["client"].script.with_file_name("ask.sh");
        self.asking = Some(Asking::new(client.spawn("ask", client.command(script))?));
        Ok(())
    }

    /// Whether in the last second exactly these nodes answered, and nothing was lost.
    pub(crate) fn last_answers(&self, nodes: &[&str]) -> Result<()> {
        self.asking.as_ref().context("nobody asks")?.last_answers(nodes)
    }

    fn process(&self, name: &str) -> Result<&Process> {
        self.processes.get(name).with_context(|| format!("{name} was not started"))
    }
}

/// Whether a host's kernel forwards packets for a prefix to these addresses, and to no others.
pub(crate) fn has_next_hops(host: &Host, prefix: IpNet, wanted: &[&str]) -> Result<()> {
    let routes = host.routes(prefix)?;
    let next_hops: BTreeSet<IpAddr> =
        routes.iter().flat_map(|route| &route.next_hops).filter_map(|hop| hop.gateway).collect();
    let wanted = wanted.iter().map(|hop| hop.parse()).collect::<Result<BTreeSet<IpAddr>, _>>()?;
    ensure!(next_hops == wanted, "{} has {next_hops:?} and not {wanted:?}", host.name());
    Ok(())
}

impl Start {
    fn new(name: &str, service: &Service, hosts: &BTreeMap<String, Host>) -> Result<Self> {
        let host = service.shares()?.unwrap_or(name);
        let host = hosts
            .get(host)
            .with_context(|| format!("{name} shares the network of {host}, which has none"))?;
        Ok(Self {
            host: host.clone(),
            hostname: service.hostname.clone().unwrap_or_else(|| name.to_owned()),
            script: service.script()?,
            environment: service.environment.clone(),
            times: 0,
        })
    }
}

/// The PATH of the containers, with our `vipcast` in front.
fn path() -> Result<String> {
    let directory = Path::new(env!("CARGO_BIN_EXE_vipcast")).parent().context("the binary is nowhere")?;
    Ok(format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", directory.display()))
}
