//! ExaBGP: announces; with a process of its `healthcheck` for each check, which runs a command each time.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use anyhow::Result;
use vipcast_lab::Host;

use super::{
    Announce, Checks, Contender, LOCAL_AS, Part, ROUTER_AS, ROUTER_ID, Running, Watch, first_line, number_in,
};
use crate::bench::Bench;

/// Debian's ExaBGP belongs to Debian's Python, whatever else is in the path.
const HEALTHCHECK: &str = "/usr/bin/python3 -m exabgp healthcheck";

#[derive(Debug)]
pub(super) struct ExaBgp;

impl ExaBgp {
    fn start(&self, host: &Host, config: &str) -> Result<Running> {
        let mut command = self.command(host);
        // Nobody asks it through its pipe, and it stays root, for which its files are.
        for (key, value) in
            [("exabgp.daemon.drop", "false"), ("exabgp.api.cli", "false"), ("exabgp.tcp.bind", "")]
        {
            command.env(key, value);
        }
        command.arg(host.write_file("exabgp.conf", config)?);
        Ok(host.spawn("exabgp", command)?.into())
    }
}

impl Contender for ExaBgp {
    fn name(&self) -> &'static str {
        "ExaBGP"
    }

    fn program(&self) -> &Path {
        Path::new("exabgp")
    }

    fn package(&self) -> &'static str {
        "exabgp"
    }

    fn version(&self) -> Result<String> {
        Ok(number_in(&first_line(self.program(), &["--version"])?.replace(':', " ")))
    }

    fn part(&self, bench: Bench) -> Part {
        const PROCESSES: &str = "each check is a Python process that runs curl";
        match bench {
            Bench::Checks | Bench::Memory => Part::AtMost(20, PROCESSES),
            Bench::Announce => Part::AtMost(10_000, "100,000 take it minutes"),
            Bench::Failover => Part::Whole,
            Bench::Bind => Part::None("its healthcheck binds one address at a time by running ip"),
            Bench::Bfd => Part::None("it has no BFD"),
        }
    }

    fn check(&self, host: &Host, work: &Checks) -> Result<Running> {
        let mut processes = String::new();
        let mut names = Vec::new();
        for (number, port) in work.targets().enumerate() {
            let command = format!("curl -sf -m 1 http://127.0.0.1:{port}/healthz");
            processes += &process(host, number, &command, "1", &format!("198.18.0.{}", number + 1))?;
            names.push(format!("watch{number}"));
        }
        let nobody = IpAddr::from([127, 0, 0, 9]);
        let session = neighbor(nobody, IpAddr::from([127, 0, 0, 1]), &api(&names));
        self.start(host, &(processes + &session))
    }

    fn announce(&self, host: &Host, work: &Announce) -> Result<Running> {
        let mut routes = "  static {\n".to_owned();
        for prefix in &work.prefixes {
            writeln!(routes, "    route {prefix} next-hop self;")?;
        }
        routes += "  }\n";
        self.start(host, &neighbor(work.router, work.local, &routes))
    }

    fn watch(&self, host: &Host, work: &Watch) -> Result<Running> {
        let script = host.write_file("is-open", &format!(": </dev/tcp/127.0.0.1/{}\n", work.port))?;
        let command = format!("bash {}", script.display());
        let process = process(host, 0, &command, "0.1", &work.vip.to_string())?;
        self.start(host, &(process + &neighbor(work.router, work.local, &api(&["watch0".to_owned()]))))
    }
}

/// A healthcheck that withdraws as soon as its command fails once.
fn process(host: &Host, number: usize, command: &str, interval: &str, vip: &str) -> Result<String> {
    let options = format!(
        "no-syslog\nno-ip-setup\nwithdraw-on-down\nname = watch{number}\ninterval = {interval}\n\
         fast-interval = {interval}\nrise = 1\nfall = 1\ncommand = {command}\nip = {vip}/32\n"
    );
    let file = host.write_file(&format!("healthcheck{number}.conf"), &options)?;
    Ok(format!(
        "process watch{number} {{\n  run {HEALTHCHECK} --config {};\n  encoder text;\n}}\n",
        file.display()
    ))
}

fn api(names: &[String]) -> String {
    format!("  api {{ processes [ {} ]; }}\n", names.join(", "))
}

fn neighbor(router: IpAddr, local: IpAddr, more: &str) -> String {
    format!(
        "neighbor {router} {{\n  router-id {ROUTER_ID};\n  local-address {local};\n  local-as {LOCAL_AS};\n  \
         peer-as {ROUTER_AS};\n  hold-time 180;\n  family {{ ipv4 unicast; }}\n{more}}}\n"
    )
}
