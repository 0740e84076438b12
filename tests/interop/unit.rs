//! The unit under a real systemd, as the package installs it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use vipcast_lab::wait::holds;
use vipcast_lab::{Lab, RouterKind};

use crate::SOON;
use crate::package::{self, CONFIG, NEW, Site};

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn(&Lab) -> Result<()>| {
        let needs = package::available().and_then(|()| Lab::available_with(&[RouterKind::Frr]));
        let lab = name.to_owned();
        vipcast_lab::trial(name, needs, move || Lab::run(&lab, test))
    };
    vec![
        trial("unit::a_reload_that_the_daemon_refuses_fails_and_is_one_entry_of_the_journal", reload),
        trial("unit::commands_reload_and_upgrade_find_a_socket_that_was_moved", moved_socket),
        trial("unit::a_daemon_that_died_of_any_signal_is_started_again", signals),
        trial("unit::a_daemon_that_stands_still_is_ended_by_the_watchdog_and_started_again", watchdog),
        trial("unit::a_drain_that_takes_longer_than_the_unit_allows_is_not_cut_short", long_drain),
        trial(
            "unit::a_group_may_use_the_socket_and_programs_run_with_the_capabilities_of_the_unit",
            confined,
        ),
        trial("unit::the_drop_ins_take_root_and_other_processes_and_leave_the_daemon_its_work", dropped_in),
        trial("unit::a_broken_configuration_is_not_tried_again_and_a_mended_one_starts", broken),
    ]
}

/// The configuration with these lines.
fn config(more: &str) -> String {
    format!("{}{more}", Site::config(1, true))
}

fn reload(lab: &Lab) -> Result<()> {
    let site = Site::new(lab, true)?;
    site.start(true)?;
    let pid = site.pid()?;
    site.under_traffic(&["edge"], || {
        site.machine.write(CONFIG, &config("interface: lo\n"))?;
        site.machine.run(&["systemctl", "reload", "vipcast"])?;
        site.machine.write(CONFIG, &config("interfaces: lo\nlisten: 7\n"))?;
        let Err(error) = site.machine.run(&["systemctl", "reload", "vipcast"]) else {
            anyhow::bail!("a broken file was reloaded: {}", site.journal())
        };
        ensure!(format!("{error:#}").contains("Job for vipcast.service failed"), "{error:#}");
        Ok(())
    })?;
    let journal = site.journal();
    let entries: Vec<&str> = journal.lines().filter(|line| line.contains("interfaces")).collect();
    ensure!(
        entries.len() == 1 && entries[0].contains("did you mean `interface`?"),
        "{entries:#?}\n{journal}"
    );
    ensure!(site.pid()? == pid && site.show("ActiveState")? == "active", "the daemon was touched");
    Ok(())
}

fn moved_socket(lab: &Lab) -> Result<()> {
    let site = Site::new(lab, true)?;
    site.start(true)?;
    let moved = config("control: {socket: /run/vipcast/elsewhere.sock}\n");
    site.machine.write(CONFIG, &moved)?;
    // It takes a restart; until then the daemon is where it was, and says so.
    let said = site.machine.run(&["vipcast", "reload"]).unwrap_or_else(|error| format!("{error:#}"));
    ensure!(said.contains("a reload cannot change control"), "{said}");
    site.machine.run(&["systemctl", "restart", "vipcast"])?;
    site.wait_next_hops(&["10.0.1.2"])?;
    ensure!(
        site.machine.run(&["test", "-e", "/run/vipcast/control.sock"]).is_err(),
        "the socket was not moved"
    );
    site.machine.run(&["vipcast", "status"])?;
    site.machine.run(&["systemctl", "reload", "vipcast"])?;
    let said = site.under_traffic(&["edge"], || site.install(NEW))?;
    ensure!(site.is_current()?, "the old program runs: {said}");
    Ok(())
}

/// A program that catches no signal stands in for the daemon: systemd takes death by some for a clean end.
fn signals(lab: &Lab) -> Result<()> {
    let site = Site::new(lab, false)?;
    site.start(false)?;
    let restarts = || -> Result<u32> { Ok(site.show("NRestarts")?.parse()?) };
    let dies_of = |signal: &str| -> Result<()> {
        let before = (site.pid()?, restarts()?);
        site.machine.run(&["systemctl", "kill", "--kill-whom=main", "--signal", signal, "vipcast"])?;
        lab.until(format_args!("the service to be back after {signal}"), SOON, || {
            let now = (site.pid()?, restarts()?);
            ensure!(now.0 != before.0 && now.1 > before.1, "{before:?}, {now:?}: {}", site.show("Result")?);
            ensure!(site.show("ActiveState")? == "active", "{}", site.show("ActiveState")?);
            Ok(())
        })
    };
    dies_of("SIGKILL")?;
    site.wait_next_hops(&["10.0.1.2"])?;
    site.machine.write(
        "/etc/systemd/system/vipcast.service.d/stand-in.conf",
        "[Service]\nType=exec\nWatchdogSec=0\nExecStart=\nExecStart=/bin/sleep infinity\nRestartSec=100ms\n",
    )?;
    site.machine.shell("systemctl daemon-reload && systemctl restart vipcast")?;
    for signal in ["SIGHUP", "SIGINT", "SIGTERM", "SIGUSR1", "SIGABRT"] {
        dies_of(signal)?;
    }
    // A stop is meant.
    site.machine.run(&["systemctl", "stop", "vipcast"])?;
    ensure!(site.show("ActiveState")? == "inactive", "{}", site.show("ActiveState")?);
    Ok(())
}

/// A stopped process says nothing to systemd, nor to the router, whose hold timer is longer than the watchdog here.
fn watchdog(lab: &Lab) -> Result<()> {
    let site = Site::new(lab, false)?;
    site.start(false)?;
    let unit =
        site.machine.run(&["systemctl", "show", "--value", "--property", "WatchdogUSec", "vipcast"])?;
    ensure!(unit.trim() == "20s", "the unit has no watchdog of 20 s: {unit}");
    site.machine.write(
        "/etc/systemd/system/vipcast.service.d/watchdog.conf",
        "[Service]\nWatchdogSec=2s\nRestartSec=100ms\n",
    )?;
    site.machine.shell("systemctl daemon-reload && systemctl restart vipcast")?;
    site.wait_next_hops(&["10.0.1.2"])?;
    let (pid, restarts) = (site.pid()?, site.show("NRestarts")?);
    holds("a daemon that is well to be left alone", Duration::from_secs(5), || {
        ensure!(site.pid()? == pid, "it was started again: {}", site.journal());
        Ok(())
    })?;
    let stopped = Instant::now();
    site.machine.run(&["systemctl", "kill", "--kill-whom=main", "--signal", "SIGSTOP", "vipcast"])?;
    lab.until("another process", SOON, || {
        ensure!(site.pid()? != pid, "it is the same");
        Ok(())
    })?;
    let ended = stopped.elapsed();
    // The router may have the route of the one before for a moment.
    lab.until("the VIP to be announced again", SOON, || {
        let status = site.machine.run(&["vipcast", "status"])?;
        ensure!(status.contains(" announced "), "{status}");
        Ok(())
    })?;
    site.wait_next_hops(&["10.0.1.2"])?;
    ensure!(site.show("ActiveState")? == "active", "{}", site.show("ActiveState")?);
    println!("another process after {ended:?}, and the route {:?} after the stop", stopped.elapsed());
    let journal = site.journal();
    for said in
        ["vipcast.service: Watchdog timeout (limit 2s)!", "vipcast.service: Failed with result 'watchdog'."]
    {
        ensure!(journal.lines().any(|line| line.ends_with(said)), "systemd does not say {said:?}: {journal}");
    }
    ensure!(site.show("NRestarts")? != restarts, "systemd does not count it");
    ensure!(ended < Duration::from_secs(20), "it took {ended:?}");
    Ok(())
}

fn long_drain(lab: &Lab) -> Result<()> {
    let site = Site::new(lab, false)?;
    site.start(false)?;
    site.machine
        .write("/etc/systemd/system/vipcast.service.d/short.conf", "[Service]\nTimeoutStopSec=1s\n")?;
    site.machine.write(CONFIG, &config("").replace("drain_time: 500ms", "drain_time: 4s"))?;
    site.machine.shell("systemctl daemon-reload && systemctl restart vipcast")?;
    site.wait_next_hops(&["10.0.1.2"])?;
    let begin = Instant::now();
    site.machine.run(&["systemctl", "stop", "vipcast"])?;
    ensure!(site.show("Result")? == "success", "{}: {}", site.show("Result")?, site.journal());
    ensure!(begin.elapsed() >= Duration::from_secs(4), "it did not drain: {}", site.journal());
    Ok(())
}

/// The group of the socket, and a user who is in it and in no other.
const OPERATORS: &str = "groupadd operators && useradd --no-create-home --gid operators operator";

/// The control socket belongs to the group, and a user in it may ask.
fn let_in(site: &Site<'_>) -> Result<()> {
    let said = site.machine.shell("stat --format '%G %a' /run/vipcast/control.sock")?;
    ensure!(said.trim() == "operators 660", "{said}; {}", site.journal());
    site.machine.run(&[
        "setpriv",
        "--reuid=operator",
        "--regid=operators",
        "--clear-groups",
        "vipcast",
        "status",
    ])?;
    Ok(())
}

/// Whether the daemon could get a capability, by its number.
fn may_have(site: &Site<'_>, capability: u32) -> Result<bool> {
    let status = site.machine.shell(&format!("cat /proc/{}/status", site.pid()?))?;
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let bounding = u64::from_str_radix(bounding.unwrap_or_default().trim(), 16)?;
    Ok(bounding & (1 << capability) != 0)
}

const CAP_CHOWN: u32 = 0;
const CAP_SETUID: u32 = 7;
const CAP_NET_ADMIN: u32 = 12;

fn confined(lab: &Lab) -> Result<()> {
    let site = Site::new(lab, false)?;
    site.machine.shell(OPERATORS)?;
    site.start(false)?;
    // A program as another user, which sees no disk and writes to the null device.
    let program = "test $(id -un) = nobody && test ! -e /dev/vda && : >/dev/null";
    let check = format!("checks:\n  program: {{exec: {{shell: \"{program}\", user: nobody}}}}\n");
    let config = config("control: {group: operators}\n").replacen("checks:\n", &check, 1);
    let config = config.replace("checks: [web]", "checks: [web, program]");
    site.machine.write(CONFIG, &config)?;
    site.machine.run(&["systemctl", "restart", "vipcast"])?;
    site.wait_next_hops(&["10.0.1.2"])?;
    let_in(&site)?;
    ensure!(may_have(&site, CAP_SETUID)? && !may_have(&site, CAP_CHOWN)?, "other capabilities");
    Ok(())
}

fn dropped_in(lab: &Lab) -> Result<()> {
    let site = Site::new(lab, false)?;
    site.machine.shell(OPERATORS)?;
    site.start(false)?;
    site.machine.write(CONFIG, &config("control: {group: operators}\n"))?;
    let place = "/etc/systemd/system/vipcast.service.d";
    site.machine.write(&format!("{place}/group.conf"), "[Service]\nGroup=operators\n")?;
    for drop_in in ["without-exec.conf", "without-proc.conf"] {
        site.machine.shell(&format!(
            "cp /usr/share/vipcast/systemd/{drop_in} {place}/ && systemctl daemon-reload && systemctl restart vipcast"
        ))?;
        site.wait_next_hops(&["10.0.1.2"])?;
        let_in(&site)?;
        ensure!(may_have(&site, CAP_NET_ADMIN)? && !may_have(&site, CAP_SETUID)?, "other capabilities");
        let user = site.machine.shell(&format!("stat --format %u /proc/{}", site.pid()?))?;
        ensure!(user.trim() != "0", "{drop_in}: it is root");
        let mounts = site.machine.shell(&format!("cat /proc/{}/mounts", site.pid()?))?;
        let proc = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/proc")).unwrap_or_default();
        ensure!(proc.contains("hidepid=") == (drop_in == "without-proc.conf"), "{drop_in}: {proc}");
    }
    // The state directory is writable, and a drain is kept in it.
    site.machine.run(&["vipcast", "drain", "web", "--wait"])?;
    site.machine.run(&["systemctl", "restart", "vipcast"])?;
    let said = site.machine.run(&["vipcast", "status"])?;
    ensure!(said.contains("drained"), "the drain is forgotten: {said}");
    site.machine.run(&["vipcast", "undrain", "web", "--wait"])?;
    site.wait_next_hops(&["10.0.1.2"])
}

fn broken(lab: &Lab) -> Result<()> {
    let site = Site::new(lab, false)?;
    site.start(false)?;
    site.machine.write(CONFIG, &config("interfaces: lo\n"))?;
    ensure!(site.machine.run(&["systemctl", "restart", "vipcast"]).is_err(), "it started");
    ensure!(
        site.show("ActiveState")? == "failed" && site.show("ExecMainStatus")? == "78",
        "{}",
        site.journal()
    );
    site.machine.write(CONFIG, &config(""))?;
    site.machine.run(&["systemctl", "start", "vipcast"])?;
    site.wait_next_hops(&["10.0.1.2"])
}
