//! `apt install` of another package while the node is in service, busy, and its disk as well.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use vipcast_lab::wait;

use crate::rack::{EDGE_A, Rack};
use crate::site::{OLD_PACKAGE, PACKAGE, SOON};

/// What keeps the processor and the disk of the node busy.
const LOAD: &str = "systemd-run --quiet --unit load-processor sh -c 'while :; do :; done'
    systemd-run --quiet --unit load-disk sh -c \
    'while :; do dd if=/dev/zero of=/var/tmp/load bs=64k count=256 conv=fsync 2>/dev/null; done'";

pub(crate) fn run(rack: &mut Rack) -> Result<()> {
    let neighbor = EDGE_A.parse()?;
    rack.site.shell(LOAD)?;
    let client = rack.client()?;
    let (pid, session) = (rack.site.pid()?, rack.router.session(neighbor)?);
    let began = rack.router.log_length()?;
    let apt = "DEBIAN_FRONTEND=noninteractive apt install --yes";
    for (step, package, version) in [
        (format!("{apt} {PACKAGE}"), PACKAGE, "newer"),
        (format!("{apt} --reinstall {PACKAGE}"), PACKAGE, "the same"),
        (format!("{apt} --allow-downgrades {OLD_PACKAGE}"), OLD_PACKAGE, "older"),
    ] {
        let started = Instant::now();
        let said = rack.site.shell(&format!("{step} 2>&1"))?;
        let handed = said.lines().find(|line| line.starts_with("vipcast: upgraded from "));
        let handed = handed.with_context(|| format!("it was not handed over: {said}"))?;
        println!("{version}, {:?}: {handed}", started.elapsed());
        let installed = rack.site.shell("dpkg-query --show --showformat '${Version}' vipcast")?;
        ensure!(package.contains(&format!("_{installed}_")), "{installed} is installed: {said}");
        ensure!(rack.site.pid()? == pid, "{version}: another process: {said}");
        rack.site.shell(&format!("[ $(stat -Lc %i /proc/{pid}/exe) = $(stat -c %i /usr/bin/vipcast) ]"))?;
        wait::until("the session to be told", SOON, || {
            let now = rack.router.session(neighbor)?;
            ensure!(now == session, "{version}: another session: {now:?}, before {session:?}");
            Ok(())
        })?;
    }
    let report = client.stop()?;
    println!("{}; the session: {session:?}", report.summary());
    rack.site.shell("systemctl stop load-processor load-disk; rm -f /var/tmp/load")?;
    ensure!(report.lost() == 0, "{}", report.summary());
    // Nothing was told that was known.
    let log = rack.router.log_since(began)?;
    let updates: Vec<&String> = log.iter().filter(|line| line.contains("rcvd UPDATE")).collect();
    ensure!(updates.is_empty(), "the router got {updates:?}");
    Ok(())
}
