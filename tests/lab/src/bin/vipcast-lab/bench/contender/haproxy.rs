//! HAProxy with one thread: checks servers, and speaks no BGP.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use vipcast_lab::Host;

use super::{Checks, Contender, Part, Running, first_line, number_in};
use crate::bench::Bench;

#[derive(Debug)]
pub(super) struct HaProxy;

impl Contender for HaProxy {
    fn name(&self) -> &'static str {
        "HAProxy"
    }

    fn program(&self) -> &Path {
        Path::new("haproxy")
    }

    fn package(&self) -> &'static str {
        "haproxy"
    }

    fn version(&self) -> Result<String> {
        Ok(number_in(&first_line(self.program(), &["-v"])?))
    }

    fn part(&self, bench: Bench) -> Part {
        match bench {
            Bench::Checks | Bench::Memory => Part::Whole,
            Bench::Announce | Bench::Bind | Bench::Failover | Bench::Bfd => {
                Part::None("it speaks no routing protocol")
            }
        }
    }

    fn check(&self, host: &Host, work: &Checks) -> Result<Running> {
        let mut config = "global\n nbthread 1\n maxconn 4000\ndefaults\n mode http\n timeout connect 500ms\n timeout client 1s\n \
                          timeout server 1s\n timeout check 500ms\nfrontend f\n bind 127.0.0.1:9\n default_backend b\n\
                          backend b\n option httpchk GET /healthz\n http-check expect status 200\n"
            .to_owned();
        for (number, port) in work.targets().enumerate() {
            writeln!(config, " server s{number} 127.0.0.1:{port} check inter 1s fall 2 rise 2")?;
        }
        let mut command = self.command(host);
        command.args(["-db", "-f"]).arg(host.write_file("haproxy.cfg", &config)?);
        Ok(host.spawn("haproxy", command)?.into())
    }
}
