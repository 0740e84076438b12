//! vipcast itself.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vipcast_lab::Host;

use super::{
    Announce, Bfd, Binding, Checks, Contender, LOCAL_AS, Part, ROUTER_AS, ROUTER_ID, Running, Watch,
};
use crate::bench::Bench;

/// A build of vipcast.
#[derive(Debug)]
pub(crate) struct Vipcast {
    program: PathBuf,
}

impl Vipcast {
    pub(crate) fn new(program: &Path) -> Self {
        Self { program: program.to_owned() }
    }

    /// What it says of itself.
    pub(crate) fn status(&self, host: &Host) -> Result<Value> {
        let mut command = host.command(&self.program);
        command.args(["status", "--json", "--socket"]).arg(socket(host)?);
        let output = command.output().context("cannot run vipcast status")?;
        ensure!(
            output.status.success(),
            "vipcast status: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        serde_json::from_slice(&output.stdout).context("vipcast status --json")
    }

    fn start(&self, host: &Host, config: &str) -> Result<Running> {
        let (state, socket) = (host.write_file("state", "")?.with_extension("d"), socket(host)?);
        let config = format!(
            "state_dir: {}\ncontrol: {{socket: {}}}\nlocal_as: {LOCAL_AS}\nrouter_id: {ROUTER_ID}\n{config}",
            state.display(),
            socket.display()
        );
        let mut command = host.command(&self.program);
        command.args(["run", "--config"]).arg(host.write_file("vipcast.yaml", &config)?);
        Ok(host.spawn("vipcast", command)?.into())
    }

    fn tell(&self, host: &Host, work: &Announce, bind: &str) -> Result<Running> {
        let mut config = format!(
            "{}services:\n  all:\n    bind: {bind}\n    checks: []\n    vips:\n",
            peer(work.router, "")
        );
        for prefix in &work.prefixes {
            writeln!(config, "      - {prefix}")?;
        }
        self.start(host, &config)
    }
}

impl Contender for Vipcast {
    fn name(&self) -> &'static str {
        "vipcast"
    }

    fn program(&self) -> &Path {
        &self.program
    }

    fn package(&self) -> &'static str {
        "vipcast"
    }

    fn version(&self) -> Result<String> {
        let output = Command::new(&self.program).args(["version", "--json"]).output();
        let output = output.context("cannot run vipcast version")?;
        let identity: Value = serde_json::from_slice(&output.stdout).context("vipcast version --json")?;
        let version = identity["version"].as_str().context("it has no version")?;
        Ok(match identity["commit"].as_str() {
            Some(commit) => format!("{version} ({commit})"),
            None => format!("{version} (of no commit)"),
        })
    }

    fn part(&self, _bench: Bench) -> Part {
        Part::Whole
    }

    fn check(&self, host: &Host, work: &Checks) -> Result<Running> {
        // Nobody is there: what is measured are the checks.
        let mut config = peer(Ipv4Addr::new(127, 0, 0, 9).into(), "") + "checks:\n";
        for (number, port) in work.targets().enumerate() {
            writeln!(
                config,
                "  c{number}: {{http: {{url: \"http://127.0.0.1:{port}/healthz\"}}, interval: 1s, fast_interval: 1s}}"
            )?;
        }
        config += "services:\n";
        for number in 0..work.vips {
            let vip = Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 1).to_bits() + number);
            writeln!(config, "  s{number}: {{vips: [{vip}], checks: [c{number}]}}")?;
        }
        if work.vips < work.count {
            let names: Vec<String> = (work.vips..work.count).map(|number| format!("c{number}")).collect();
            writeln!(config, "  rest: {{vips: [198.19.255.1], checks: [{}]}}", names.join(", "))?;
        }
        self.start(host, &config)
    }

    fn announce(&self, host: &Host, work: &Announce) -> Result<Running> {
        self.tell(host, work, "always")
    }

    fn bind(&self, host: &Host, work: &Announce, binding: Binding) -> Result<Running> {
        self.tell(
            host,
            work,
            match binding {
                Binding::Route => "route",
                Binding::Address => "always",
            },
        )
    }

    fn watch(&self, host: &Host, work: &Watch) -> Result<Running> {
        let Watch { router, vip, port, .. } = work;
        let config = format!(
            "{}checks:\n  web: {{listener: {{tcp: {port}}}, interval: 100ms}}\n\
             services:\n  web: {{vips: [{vip}], checks: [web]}}\n",
            peer(*router, "")
        );
        self.start(host, &config)
    }

    fn bfd(&self, host: &Host, work: &Bfd) -> Result<Running> {
        let bfd =
            format!(", bfd: {{interval: {}ms, multiplier: {}}}", work.interval.as_millis(), work.multiplier);
        let config =
            format!("{}services:\n  web: {{vips: [192.0.2.10], checks: []}}\n", peer(work.router, &bfd));
        self.start(host, &config)
    }
}

/// It may have 107 bytes, and the directory of the lab is short.
fn socket(host: &Host) -> Result<PathBuf> {
    Ok(host.write_file("control", "")?.with_extension("sock"))
}

fn peer(address: std::net::IpAddr, more: &str) -> String {
    format!("peers:\n  tor: {{address: {address}, peer_as: {ROUTER_AS}{more}}}\n")
}
