//! `systemd` against a real systemd, directly and over a real dbus-daemon.

use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vipcast_lab::{Systemd, trial};

use crate::server::{Directory, ask, expect};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("systemd_units_in_every_state", Systemd::available(), every_state)]
}

fn service(lines: &str) -> String {
    format!("[Unit]\nDefaultDependencies=no\n[Service]\n{lines}\n")
}

fn every_state() -> Result<()> {
    let directory = Directory::new()?;
    let sleeping = service("ExecStart=/bin/sleep 1000");
    let units = [
        ("running.service", sleeping.clone()),
        ("odd-name@1.service", sleeping.clone()),
        ("dead.service", sleeping.clone()),
        ("killed.service", sleeping),
        ("failing.service", service("ExecStart=/bin/false")),
        ("restarting.service", service("ExecStart=/bin/false\nRestart=always\nRestartSec=1h")),
        ("starting.service", service("Type=oneshot\nExecStart=/bin/sleep 1000\nTimeoutStartSec=1h")),
        ("broken.service", service("Restart=always")),
        ("masked.service", String::new()),
        ("up.target", "[Unit]\nDefaultDependencies=no\n".into()),
    ];
    let units = units.each_ref().map(|(name, text)| (*name, text.as_str()));
    let systemd = Systemd::start(&directory.path().join("systemd"), &units, |program| Command::new(program))?;
    symlink("running.service", directory.path().join("systemd/units/other-name.service"))?;
    systemd.ctl(&["start", "running.service", "odd-name@1.service", "killed.service", "up.target"])?;
    systemd.ctl(&["start", "--no-block", "failing.service", "restarting.service", "starting.service"])?;
    kill(Pid::from_raw(systemd.main_pid("killed.service")?), Signal::SIGKILL)?;
    let begin = Instant::now();
    for bus in [systemd.private(), systemd.bus()?] {
        let check = |unit: &str| format!("{{systemd: {{unit: {unit}, bus: {}}}}}", bus.display());
        // systemd needs a moment for what was begun.
        while !ask([("last", check("restarting.service"))])?["last"].detail.contains("auto-restart") {
            ensure!(begin.elapsed() < Duration::from_secs(30), "{}", systemd.ctl(&["list-units", "--all"])?);
        }
        let table = [
            ("running", "running.service", true, "running.service: active (running)"),
            ("alias", "other-name.service", true, "other-name.service: active (running)"),
            ("instance", "odd-name@1.service", true, "odd-name@1.service: active (running)"),
            ("target", "up.target", true, "up.target: active (active)"),
            ("dead", "dead.service", false, "dead.service: inactive (dead)"),
            ("killed", "killed.service", false, "killed.service: failed (Result=signal)"),
            ("failing", "failing.service", false, "failing.service: failed (Result=exit-code)"),
            ("restarting", "restarting.service", false, "restarting.service: activating (auto-restart)"),
            ("starting", "starting.service", false, "starting.service: activating (start)"),
            ("masked", "masked.service", false, "masked.service: masked"),
            ("nonesuch", "nonesuch.service", false, "nonesuch.service: no such unit"),
            ("broken", "broken.service", false, "broken.service: the unit file cannot be read (bad-setting)"),
        ];
        expect(&table.map(|(name, unit, passes, said)| (name, check(unit), passes, said)))?;
    }
    Ok(())
}
