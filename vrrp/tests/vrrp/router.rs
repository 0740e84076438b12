//! The example `router` of this crate.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use vipcast_lab::{Host, Link, Process, Signal};

use super::{Case, SOON, VRID};

/// How to start it.
pub(crate) struct Router {
    host: Host,
    program: PathBuf,
    before: [String; 2],
    after: Vec<String>,
}

/// One that runs.
pub(crate) struct Running(Process);

impl Router {
    pub(crate) fn new(host: &Host, link: &Link, other: &Host, case: Case) -> Result<Self> {
        let (vip, _) = case.vip().split_once('/').context("an address without length")?;
        let interval = format!("interval={}ms", case.interval().as_millis());
        let mut after = vec![vip.to_owned(), interval];
        if case.version == 2 {
            after.extend(["version=2", "password=secret"].map(str::to_owned));
        } else if !case.v6 {
            // keepalived 2.2 knows no other.
            after.push("checksum=pseudo-header".to_owned());
        }
        if case.unicast {
            after.push(format!("peer={}", source(other, link, case)?));
        }
        if case.unicast && case.v6 {
            // keepalived 2.2 sends these with the hop limit of the host.
            after.push("least_ttl=64".to_owned());
        }
        let before = [link.end(host).interface.clone(), VRID.to_string()];
        Ok(Self { host: host.clone(), program: program()?, before, after })
    }

    pub(crate) fn start(&self, priority: u8) -> Result<Running> {
        let mut command = self.host.command(&self.program);
        command.args(&self.before).arg(priority.to_string()).args(&self.after);
        Ok(Running(self.host.spawn("router", command)?))
    }
}

impl Running {
    pub(crate) fn is(&self, state: &str) -> Result<()> {
        let change = self.last_change()?;
        let to = change.split([' ', ':']).nth(2);
        ensure!(to == Some(state), "the router says {change:?}");
        Ok(())
    }

    /// The cause of the last change.
    pub(crate) fn last_says(&self, cause: &str) -> Result<()> {
        let change = self.last_change()?;
        ensure!(change.ends_with(cause), "{change:?} does not end with {cause:?}");
        Ok(())
    }

    pub(crate) fn command(&self, line: &str) -> Result<()> {
        self.0.write_line(line)
    }

    pub(crate) fn stop(self) -> Result<()> {
        self.0.kill(Signal::SIGTERM)?;
        let status = self.0.wait_exit(SOON)?;
        ensure!(status.success(), "the router ended with {status}");
        Ok(())
    }

    pub(crate) fn kill(self) -> Result<()> {
        self.0.kill(Signal::SIGKILL)?;
        self.0.wait_exit(SOON)?;
        Ok(())
    }

    /// `Backup to Active: 10.0.1.1 has stopped`
    fn last_change(&self) -> Result<String> {
        const STATES: [&str; 4] = ["Initialize to ", "Fault to ", "Backup to ", "Active to "];
        let log = self.0.log();
        let change = log.lines().rfind(|line| STATES.iter().any(|state| line.starts_with(state)));
        change.map(str::to_owned).with_context(|| format!("no change of state in {log:?}"))
    }
}

/// The primary address of the host on the link.
pub(crate) fn source(host: &Host, link: &Link, case: Case) -> Result<IpAddr> {
    if !case.v6 {
        return link.v4(host);
    }
    let interface = &link.end(host).interface;
    let addresses = host.addresses()?;
    let mut here = addresses.iter().filter(|address| &address.interface == interface);
    let found = here.find(|address| match address.address.addr() {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    });
    found
        .map(|address| address.address.addr())
        .with_context(|| format!("{interface} has no link-local address"))
}

/// Cargo builds the examples with the tests, in the directory above.
fn program() -> Result<PathBuf> {
    let here = std::env::current_exe().context("cannot find this test")?;
    let program = here.ancestors().nth(2).map(|target| target.join("examples/router"));
    let program = program.filter(|program| program.is_file());
    program.context("the example is not built: cargo build -p vipcast-vrrp --example router")
}
