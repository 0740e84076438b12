//! keepalived 2.2 with one instance and no checks.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use vipcast_lab::{Host, Lab, Link, Process, Signal};

use super::router::source;
use super::{Case, SOON, VRID};

pub(crate) struct Keepalived {
    host: Host,
    directory: PathBuf,
    interface: String,
    /// The lines of its instance that depend on the case.
    lines: String,
    case: Case,
    vip: IpNet,
}

impl Keepalived {
    pub(crate) fn new(lab: &Lab, host: &Host, link: &Link, other: &Host, case: Case) -> Result<Self> {
        let interface = link.end(host).interface.clone();
        let mut lines = String::new();
        if case.version == 2 {
            lines += "authentication {\n auth_type PASS\n auth_pass secret\n }\n";
        }
        if case.unicast {
            let (ours, theirs) = (source(host, link, case)?, source(other, link, case)?);
            // Over IPv6 it would send unicast packets with the hop limit of the host, 64.
            lines += &format!("unicast_src_ip {ours}\n unicast_peer {{\n {theirs}\n }}\n");
        }
        let directory = lab.directory().to_owned();
        Ok(Self { host: host.clone(), directory, interface, lines, case, vip: case.vip().parse()? })
    }

    pub(crate) fn start(&self, priority: u8) -> Result<Process> {
        let Self { interface, lines, vip, case, .. } = self;
        let config = format!(
            "global_defs {{\n vrrp_version {}\n}}\nvrrp_instance test {{\n interface {interface}\n virtual_router_id {VRID}\n \
             priority {priority}\n advert_int {}\n {lines} virtual_ipaddress {{\n {vip} dev {interface}\n }}\n}}\n",
            case.version,
            case.interval().as_secs_f64(),
        );
        let config = self.host.write_file("keepalived.conf", &config)?;
        for file in [self.pid_file(), self.child_file()] {
            // A killed one leaves them.
            let _absent = fs::remove_file(file);
        }
        let mut command = self.host.command("keepalived");
        command.args(["--dont-fork", "--log-console", "--log-detail", "--vrrp", "--use-file"]).arg(config);
        command.arg("--pid").arg(self.pid_file()).arg("--vrrp_pid").arg(self.child_file());
        self.host.spawn("keepalived", command)
    }

    /// Whether it has the address.
    pub(crate) fn is(&self, active: bool) -> Result<()> {
        let has = self.host.addresses()?.iter().any(|address| address.address.addr() == self.vip.addr());
        ensure!(has == active, "keepalived has {}the address", if has { "" } else { "not " });
        Ok(())
    }

    pub(crate) fn stop(&self, process: Process) -> Result<()> {
        process.kill(Signal::SIGTERM)?;
        process.wait_exit(SOON)?;
        Ok(())
    }

    /// The child first, because it stops cleanly when its parent is gone.
    pub(crate) fn kill(&self, process: Process) -> Result<()> {
        let child =
            fs::read_to_string(self.child_file()).context("cannot read the pid of keepalived's child")?;
        self.host.run(["kill", "-KILL", child.trim(), &process.pid().to_string()])?;
        process.wait_exit(SOON)?;
        self.host.remove_address(&self.interface, self.vip)
    }

    fn pid_file(&self) -> PathBuf {
        self.directory.join("keepalived.pid")
    }

    fn child_file(&self) -> PathBuf {
        self.directory.join("keepalived-vrrp.pid")
    }
}
