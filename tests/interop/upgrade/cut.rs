//! Signals in the middle of an upgrade: the one program or the other serves them. The death of the next program is a
//! crash like any other.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use libtest_mimic::Trial;
use vipcast_lab::{Lab, RouterKind, Signal};

use super::{Site, VIP, upgrade};
use crate::node::address;
use crate::{SOON, trial, wait_route};

const ANOTHER: &str = "192.0.2.90";
const ANOTHER_SERVICE: &str = "  another: {vips: [192.0.2.90], checks: []}\n";
/// The signals come at moments so far apart, over the length of an upgrade and more.
const STEP: Duration = Duration::from_millis(25);

pub(crate) fn trials() -> Vec<Trial> {
    let frr = |name, test: fn(&Lab) -> Result<()>| trial(name, &[RouterKind::Frr], test);
    vec![
        frr("frr::upgrade_with_a_sighup_in_the_middle_reloads", hang_up),
        frr("frr::upgrade_with_a_sigterm_in_the_middle_drains_and_ends", terminated),
        frr("frr::upgrade_to_a_program_that_is_killed_is_a_crash", killed),
    ]
}

/// The file changes, and the signal says so, at every moment of an upgrade.
fn hang_up(lab: &Lab) -> Result<()> {
    const ROUNDS: u32 = 16;
    let site = Site::new(lab, RouterKind::Frr, "", "", "")?;
    let before = site.before()?;
    let without = fs::read_to_string(site.node.config())?;
    let with = without.replace("shutdown:", &format!("{ANOTHER_SERVICE}shutdown:"));
    let mut done = 0;
    site.under_traffic(|| {
        for round in 0..ROUNDS {
            let is_there = round % 2 == 0;
            thread::scope(|scope| -> Result<()> {
                let upgrade = scope.spawn(|| upgrade(&site.node));
                thread::sleep(STEP * round);
                fs::write(site.node.config(), if is_there { &with } else { &without })?;
                site.node.hang_up()?;
                wait_route(lab, site.router.as_ref(), ANOTHER, is_there, SOON)?;
                match upgrade.join().map_err(|_panic| anyhow!("a thread panicked"))? {
                    Ok(_) => done += 1,
                    Err(error) => {
                        let why = format!("{error:#}");
                        let waits = ["a reload is under way", "is not the configuration in force"];
                        ensure!(waits.iter().any(|words| why.contains(words)), "{why}");
                    }
                }
                Ok(())
            })?;
            site.ensure_same_session(&before)?;
        }
        Ok(())
    })?;
    println!("{done} of {ROUNDS} were upgraded, and {ROUNDS} reloaded");
    ensure!(done > 0, "no upgrade was done");
    Ok(())
}

fn terminated(lab: &Lab) -> Result<()> {
    const ROUNDS: u32 = 6;
    let mut site = Site::new(lab, RouterKind::Frr, "", "", "")?;
    for round in 0..ROUNDS {
        thread::scope(|scope| -> Result<()> {
            let upgrade = scope.spawn(|| upgrade(&site.node));
            thread::sleep(2 * STEP * round);
            site.node.process.kill(Signal::SIGTERM)?;
            let status = site.node.process.wait_exit(SOON)?;
            ensure!(status.success(), "round {round}: {status}: {}", site.node.process.log());
            let said = upgrade.join().map_err(|_panic| anyhow!("a thread panicked"))?;
            println!("round {round}: upgraded {}", said.is_ok());
            Ok(())
        })?;
        wait_route(lab, site.router.as_ref(), VIP, false, SOON)?;
        ensure!(address(&site.edge, VIP.parse()?)?.is_none(), "round {round}: {VIP} is left on the host");
        let said = site.router.received_notification(site.edge4)?.map(|said| (said.code, said.subcode));
        ensure!(said == Some((6, 2)), "round {round}: no goodbye: {said:?}");
        site.node.start_again()?;
        site.settle()?;
    }
    Ok(())
}

/// As soon as the process is another program it is killed, and started again as systemd would.
fn killed(lab: &Lab) -> Result<()> {
    const ROUNDS: u32 = 4;
    let mut site = Site::new(lab, RouterKind::Frr, "", "", "")?;
    for round in 0..ROUNDS {
        let stack = start_of_stack(&site)?;
        let mut command = site.node.command(&["upgrade"]);
        let mut command =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("no command")?;
        while start_of_stack(&site)? == stack {
            ensure!(command.try_wait()?.is_none(), "round {round}: not upgraded");
        }
        // At once, and later and later.
        thread::sleep(Duration::from_millis(10) * round);
        site.node.process.kill(Signal::SIGKILL)?;
        site.node.process.wait_exit(SOON)?;
        site.node.start_again()?;
        site.node.wait_established(lab, "tor", SOON)?;
        site.settle()?;
        // Who has asked is told, unless the answer came before the kill.
        let done = command.wait_with_output()?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        println!("round {round}: {} {}", done.status, said.trim());
        ensure!(done.status.success() || said.contains("began anew"), "round {round}: {said}");
    }
    upgrade(&site.node)?;
    wait_route(lab, site.router.as_ref(), VIP, true, SOON)
}

/// Field 28 of proc(5): it is drawn anew for each program.
fn start_of_stack(site: &Site<'_>) -> Result<String> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", site.node.process.pid()))?;
    let (_, fields) = stat.rsplit_once(") ").context("no stat")?;
    Ok(fields.split(' ').nth(25).context("no field")?.to_owned())
}
