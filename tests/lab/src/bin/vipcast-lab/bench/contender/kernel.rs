//! The kernel alone: the plain cost of binding, by `ip -batch`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use vipcast_lab::Host;

use super::{Announce, Binding, Contender, Part, Running, first_line};
use crate::bench::Bench;

#[derive(Debug)]
pub(super) struct Kernel;

impl Contender for Kernel {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn program(&self) -> &Path {
        Path::new("ip")
    }

    fn package(&self) -> &'static str {
        "iproute2"
    }

    fn version(&self) -> Result<String> {
        let said = first_line(self.program(), &["-V"])?;
        let version = said.split_once("iproute2-").and_then(|(_, rest)| rest.split(',').next());
        Ok(format!("by iproute2 {}", version.unwrap_or("?")))
    }

    fn part(&self, bench: Bench) -> Part {
        match bench {
            Bench::Bind => Part::Whole,
            Bench::Checks | Bench::Memory | Bench::Failover => Part::None("it checks nothing"),
            Bench::Announce | Bench::Bfd => Part::None("it speaks no routing protocol"),
        }
    }

    /// It is done when the process ends, and tells no router.
    fn bind(&self, host: &Host, work: &Announce, binding: Binding) -> Result<Running> {
        let mut batch = String::new();
        for prefix in &work.prefixes {
            match binding {
                Binding::Route => writeln!(batch, "route add local {prefix} dev lo")?,
                Binding::Address => writeln!(batch, "address add {prefix} dev lo")?,
            }
        }
        let mut command = self.command(host);
        command.arg("-batch").arg(host.write_file("ip.batch", &batch)?);
        Ok(host.spawn("ip", command)?.into())
    }
}
