//! keepalived: its HTTP checks belong to servers of IPVS, and it moves addresses by VRRP.

use std::path::Path;

use anyhow::Result;

use super::{Contender, Part, first_line, number_in};
use crate::bench::Bench;

#[derive(Debug)]
pub(super) struct Keepalived;

impl Contender for Keepalived {
    fn name(&self) -> &'static str {
        "keepalived"
    }

    fn program(&self) -> &Path {
        Path::new("keepalived")
    }

    fn package(&self) -> &'static str {
        "keepalived"
    }

    fn version(&self) -> Result<String> {
        Ok(number_in(&first_line(self.program(), &["--version"])?))
    }

    fn part(&self, bench: Bench) -> Part {
        match bench {
            Bench::Checks | Bench::Memory => Part::None(
                "its HTTP_GET is for servers of IPVS, which it would balance, and it does not begin without; the scripts of \
                 its VRRP are a process for each check",
            ),
            Bench::Announce | Bench::Bind | Bench::Failover | Bench::Bfd => {
                Part::None("it moves addresses on a link by VRRP, and has neither BGP nor a router to tell")
            }
        }
    }
}
