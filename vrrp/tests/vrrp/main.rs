//! The example `router` against keepalived on one link: who is Active, clean stops, deaths, preemption, each way round. Needs the
//! lab; a test that cannot run on this machine is listed and counted as ignored.

mod keepalived;
mod router;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Trial};
use vipcast_lab::{Lab, Subnet, find_program, wait};

use keepalived::Keepalived;
use router::Router;

/// More than anything here takes, on a busy machine too.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) const VRID: u8 = 51;

/// How the two speak.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) version: u8,
    pub(crate) v6: bool,
    pub(crate) unicast: bool,
}

const CASES: [Case; 6] = [
    Case { name: "version_3_over_ipv4", version: 3, v6: false, unicast: false },
    Case { name: "version_3_over_ipv4_unicast", version: 3, v6: false, unicast: true },
    Case { name: "version_3_over_ipv6", version: 3, v6: true, unicast: false },
    Case { name: "version_3_over_ipv6_unicast", version: 3, v6: true, unicast: true },
    Case { name: "version_2_with_a_password", version: 2, v6: false, unicast: false },
    Case { name: "version_2_with_a_password_unicast", version: 2, v6: false, unicast: true },
];

impl Case {
    pub(crate) fn vip(self) -> &'static str {
        if self.v6 { "fe80::100/64" } else { "192.0.2.10/32" }
    }

    pub(crate) fn interval(self) -> Duration {
        if self.version == 2 { Duration::from_secs(1) } else { Duration::from_millis(100) }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials: Vec<Trial> = CASES.iter().map(|&case| trial(case)).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(case: Case) -> Trial {
    let keepalived = || match find_program("keepalived") {
        Some(_) => Ok(()),
        None => Err("keepalived is missing (Debian package keepalived)".to_owned()),
    };
    let name = format!("keepalived_{}", case.name);
    let lab = name.clone();
    vipcast_lab::trial(&name, Lab::available().and_then(|()| keepalived()), move || {
        Lab::run(&lab, |lab| play(lab, case))
    })
}

fn play(lab: &Lab, case: Case) -> Result<()> {
    let (a, b) = (lab.host("keepalived")?, lab.host("router")?);
    let link = lab.link(&a, &b, Subnet::v4(1))?;
    let them = Keepalived::new(lab, &a, &link, &b, case)?;
    let us = Router::new(&b, &link, &a, case)?;

    // They are the better one.
    let mut running = them.start(200)?;
    lab.until("keepalived takes the address", SOON, || them.is(true))?;
    let router = us.start(100)?;
    lab.until("we are Backup", SOON, || router.is("Backup"))?;
    wait::holds("we stay Backup", case.interval() * 5, || {
        them.is(true)?;
        router.is("Backup")
    })?;
    them.stop(running)?;
    lab.until("we take over from one that stops", SOON, || router.is("Active"))?;
    router.last_says("has stopped")?;
    running = them.start(200)?;
    lab.until("keepalived preempts", SOON, || {
        them.is(true)?;
        router.is("Backup")
    })?;
    them.kill(running)?;
    lab.until("we take over from one that died", SOON, || router.is("Active"))?;
    router.last_says("no Active Router is heard")?;

    // We are the better one.
    router.command("priority 250")?;
    running = them.start(200)?;
    wait::holds("keepalived stays without the address", case.interval() * 8, || {
        router.is("Active")?;
        them.is(false)
    })?;
    router.stop()?;
    lab.until("keepalived takes over from one that stops", SOON, || them.is(true))?;
    let router = us.start(250)?;
    lab.until("we preempt", SOON, || {
        router.is("Active")?;
        them.is(false)
    })?;
    router.kill()?;
    lab.until("keepalived takes over from one that died", SOON, || them.is(true))?;
    ensure!(running.is_running(), "keepalived has ended");
    Ok(())
}
