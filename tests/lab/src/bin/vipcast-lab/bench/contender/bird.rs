//! BIRD: announces, and has BFD. It checks and binds nothing.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use anyhow::Result;
use vipcast_lab::Host;

use super::{Announce, Bfd, Contender, LOCAL_AS, Part, ROUTER_AS, ROUTER_ID, Running, first_line, number_in};
use crate::bench::Bench;

#[derive(Debug)]
pub(super) struct Bird;

impl Bird {
    fn start(&self, host: &Host, config: &str) -> Result<Running> {
        let config = host.write_file("bird.conf", config)?;
        let mut command = self.command(host);
        command.arg("-f").arg("-c").arg(&config);
        command.arg("-s").arg(config.with_extension("ctl")).arg("-P").arg(config.with_extension("pid"));
        Ok(host.spawn("bird", command)?.into())
    }
}

impl Contender for Bird {
    fn name(&self) -> &'static str {
        "BIRD"
    }

    fn program(&self) -> &Path {
        Path::new("bird")
    }

    fn package(&self) -> &'static str {
        "bird2"
    }

    fn version(&self) -> Result<String> {
        Ok(number_in(&first_line(self.program(), &["--version"])?))
    }

    fn part(&self, bench: Bench) -> Part {
        match bench {
            Bench::Announce | Bench::Bfd => Part::Whole,
            Bench::Checks | Bench::Memory | Bench::Failover => Part::None("it checks no services"),
            Bench::Bind => Part::None("it announces what others have bound"),
        }
    }

    fn announce(&self, host: &Host, work: &Announce) -> Result<Running> {
        let mut config = head() + "protocol static { ipv4;\n";
        for prefix in &work.prefixes {
            writeln!(config, "  route {prefix} blackhole;")?;
        }
        config += "}\n";
        self.start(host, &(config + &session(work.router, work.local, "")))
    }

    fn bfd(&self, host: &Host, work: &Bfd) -> Result<Running> {
        let (interval, multiplier) = (work.interval.as_millis(), work.multiplier);
        let timers =
            format!("min tx interval {interval} ms; min rx interval {interval} ms; multiplier {multiplier};");
        let bfd = format!("protocol bfd {{ interface \"*\" {{ {timers} }}; }}\n");
        self.start(host, &(head() + &bfd + &session(work.router, work.local, " bfd on;")))
    }
}

fn head() -> String {
    format!("log stderr all;\nrouter id {ROUTER_ID};\nprotocol device {{ }}\n")
}

/// It dials as soon as it runs, as the others do.
fn session(router: IpAddr, local: IpAddr, more: &str) -> String {
    format!(
        "protocol bgp {{\n  local {local} as {LOCAL_AS};\n  neighbor {router} as {ROUTER_AS};\n  connect delay time 0;\n  \
         connect retry time 1;\n  error wait time 1, 2;{more}\n  ipv4 {{ import none; export all; next hop self; }};\n}}\n"
    )
}
