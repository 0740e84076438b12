//! Hosts, links, captures and isolation.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use vipcast_lab::addressing::Address;
use vipcast_lab::{Lab, Signal, Subnet, wait};

use crate::{SOON, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("addresses_of_a_link_are_usable_at_once", &[], |name| Lab::run(name, usable_at_once)),
        trial("an_isolated_host_is_silent_until_it_is_healed", &[], |name| Lab::run(name, isolation)),
        trial("a_process_keeps_its_pid_and_tells_how_it_ended", &[], |name| Lab::run(name, process)),
        trial("a_capture_shows_what_passed", &[], |name| Lab::run(name, capture)),
        trial("a_failing_command_tells_what_it_said", &[], |name| Lab::run(name, failing_command)),
        trial("a_cut_link_takes_its_routes_with_it", &[], |name| Lab::run(name, cut)),
    ]
}

fn usable_at_once(lab: &Lab) -> Result<()> {
    let (a, b) = (lab.host("a")?, lab.host("a-host-with-a-long-name")?);
    let link = lab.link(&a, &b, Subnet::dual(1))?;
    // The very first packet is answered: a second SYN would come too late.
    a.reaches("10.0.1.2".parse()?)?;
    a.reaches("fd00:1::2".parse()?)?;
    let end = link.end(&a);
    ensure!(end.interface == "to-a-host-with-", "{}", end.interface);
    let mut global = a.addresses()?;
    global.retain(|address| address.interface == end.interface && address.scope == "global");
    let expected = |address: &str| -> Result<Address> {
        Ok(Address {
            interface: end.interface.clone(),
            address: address.parse()?,
            scope: "global".to_owned(),
            protocol: None,
            preferred: true,
        })
    };
    ensure!(global == [expected("10.0.1.1/24")?, expected("fd00:1::1/64")?], "{global:?}");
    let second = lab.link(&a, &b, Subnet::none())?;
    ensure!(second.end(&a).interface == "to-a-host-wit-2", "{}", second.end(&a).interface);
    Ok(())
}

fn isolation(lab: &Lab) -> Result<()> {
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    lab.link(&a, &b, Subnet::dual(1))?;
    let ping = |address: &str| a.reaches(address.parse()?);
    ping("10.0.1.2")?;
    b.isolate()?;
    b.isolate()?;
    ensure!(ping("10.0.1.2").is_err() && ping("fd00:1::2").is_err(), "an isolated host answered");
    b.reaches("127.0.0.1".parse()?)?;
    b.heal()?;
    b.heal()?;
    for address in ["10.0.1.2", "fd00:1::2"] {
        wait::until("the healed host to answer", SOON, || ping(address))?;
    }
    Ok(())
}

fn process(lab: &Lab) -> Result<()> {
    let host = lab.host("a")?;
    let mut command = host.command("sh");
    command.args(["-c", "echo I am $$; exec sleep 1000"]);
    let process = host.spawn("sleeper", command)?;
    let expected = format!("I am {}\n", process.pid());
    wait::until("the log", SOON, || {
        ensure!(process.log() == expected, "{:?}", process.log());
        Ok(())
    })?;
    ensure!(host.pids()? == [i32::try_from(process.pid())?], "{:?}", host.pids());
    let error = process.wait_exit(Duration::ZERO).expect_err("it sleeps").to_string();
    ensure!(error.contains("timed out after 0ns waiting for a-sleeper to exit"), "{error}");
    process.kill(Signal::SIGTERM)?;
    let status = process.wait_exit(SOON)?;
    ensure!(status.to_string() == "signal: 15 (SIGTERM)", "{status}");
    ensure!(process.kill(Signal::SIGTERM).is_err(), "a signal was sent to a process that had ended");
    Ok(())
}

fn capture(lab: &Lab) -> Result<()> {
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    let link = lab.link(&a, &b, Subnet::v4(1))?;
    let capture = b.capture(&link.end(&b).interface, "tcp port 9")?;
    a.reaches("10.0.1.2".parse()?)?;
    wait::until("the answer in the capture", SOON, || {
        let text = capture.text()?;
        ensure!(text.contains("10.0.1.2.9 > 10.0.1.1"), "{text}");
        Ok(())
    })?;
    capture.stop()?;
    ensure!(capture.read(&["tcp[tcpflags] & tcp-rst != 0"])?.lines().count() == 1, "{}", capture.text()?);
    Ok(())
}

fn failing_command(lab: &Lab) -> Result<()> {
    let host = lab.host("a")?;
    let error = host.run(["sh", "-c", "echo no such luck >&2; exit 3"]).expect_err("it fails");
    let text = format!("{error:#}");
    ensure!(text.starts_with("on host a: "), "{text}");
    ensure!(text.ends_with("exit status: 3: no such luck"), "{text}");
    Ok(())
}

fn cut(lab: &Lab) -> Result<()> {
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    let link = lab.link(&a, &b, Subnet::dual(1))?;
    let subnet = "10.0.1.0/24".parse()?;
    ensure!(a.routes(subnet)?.len() == 1, "{:?}", a.routes(subnet));
    link.cut()?;
    ensure!(a.routes(subnet)?.is_empty(), "{:?}", a.routes(subnet));
    link.restore()?;
    for address in ["10.0.1.2", "fd00:1::2"] {
        wait::until("the other end to answer", SOON, || a.reaches(address.parse()?))?;
    }
    Ok(())
}
