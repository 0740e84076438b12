//! Upgrades one after the other beside every kind of router, with a datagram a millisecond and BFD where the router has it:
//! none is lost, no session ends, not an UPDATE is sent. The pause is what the next program says of itself; the silence is
//! the longest time between two of our BFD packets around an upgrade.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use vipcast_lab::{Capture, Lab, RouterKind};

use super::{Distribution, Site, Upgrade, interval, upgrade, wanted};
use crate::node::is_released;
use crate::{SOON, trial};

/// What the pause may be at the 99th percentile, on a machine that does nothing else.
const MOST: Duration = Duration::from_millis(30);
/// Descriptors that come and go: a probe, a client.
const PASSING: usize = 8;
/// Upgrades with a large state.
const ROUNDS: usize = 5;

pub(crate) fn trials() -> Vec<Trial> {
    let trials = RouterKind::ALL.map(|kind| {
        let name = format!("{kind}::upgrade_again_and_again_is_seen_by_nobody");
        trial(&name, &[kind], move |lab| again(lab, kind))
    });
    let many = trial("frr::upgrade_with_5000_vips_is_seen_by_nobody", &[RouterKind::Frr], many_vips);
    trials.into_iter().chain([many]).collect()
}

/// The larger the state, the longer the pause; BFD has to live through that.
fn many_vips(lab: &Lab) -> Result<()> {
    const VIPS: u32 = 5000;
    let vip = |number: u32| Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number);
    let services: String =
        (0..VIPS).map(|number| format!("  s{number}: {{vips: [{}], checks: []}}\n", vip(number))).collect();
    let site = Site::new(lab, RouterKind::Frr, "", &services, "log: {level: info}\n")?;
    lab.until("every VIP to be at the router", SOON, || {
        let count = site.router.count(site.edge4)?;
        ensure!(count > usize::try_from(VIPS)?, "{count}");
        Ok(())
    })?;
    let bfd = site.edge.capture("any", &format!("udp dst port 3784 and src host {}", site.edge4))?;
    let before = site.before()?;
    let upgrades = site.under_traffic(|| {
        (0..ROUNDS).map(|_| upgrade(&site.node)).collect::<Result<Vec<_>>>().inspect_err(|_| {
            println!("{:?}", site.ensure_untouched(&before));
        })
    })?;
    let pauses = Distribution::new(upgrades.iter().map(|upgrade| upgrade.pause));
    let silences = Distribution::new(silences(&bfd, &upgrades)?);
    println!("{VIPS} VIPs: pause {pauses}\nBFD {} ms × 3: the longest silence {silences}", interval());
    site.ensure_untouched(&before)
}

fn again(lab: &Lab, kind: RouterKind) -> Result<()> {
    let count = wanted().unwrap_or(20);
    let site = Site::new(lab, kind, "", "", "")?;
    let bfd = kind
        .has_bfd()
        .then(|| site.edge.capture("any", &format!("udp dst port 3784 and src host {}", site.edge4)));
    let bfd = bfd.transpose()?;
    let before = site.before()?;
    let (memory, descriptors) = (site.node.process.memory()?, site.node.process.descriptors()?);
    let upgrades = site.under_traffic(|| {
        let mut upgrades = Vec::new();
        for number in 0..count {
            upgrades.push(upgrade(&site.node)?);
            if number % 10 == 0 || number + 1 == count {
                site.ensure_untouched(&before)?;
            }
        }
        Ok(upgrades)
    })?;
    let pauses = Distribution::new(upgrades.iter().map(|upgrade| upgrade.pause));
    let asked = Distribution::new(upgrades.iter().filter_map(|one| one.done.duration_since(one.asked).ok()));
    println!("{kind}: {}\npause {pauses}; the command took {asked}", upgrades[0].said.trim());
    if let Some(bfd) = bfd {
        let silences = Distribution::new(silences(&bfd, &upgrades)?);
        println!("BFD {} ms × 3: the longest silence around each upgrade {silences}", interval());
    }
    let (most, open) = (site.node.process.memory()?, site.node.process.descriptors()?);
    println!("memory {memory} before, {most} after; {descriptors} descriptors before, {open} after");
    ensure!(open <= descriptors + PASSING, "descriptors are left: {descriptors} before, {open} after");
    // The hurry of the change of programs is over.
    let policy = site.edge.run(["chrt", "-p", &before.pid.to_string()])?;
    ensure!(policy.contains("SCHED_OTHER"), "{policy}");
    ensure_told(&site, count)?;
    let is_held = wanted().is_some() && is_released();
    ensure!(!is_held || pauses.percentile(99) <= MOST, "the pause: {pauses}");
    Ok(())
}

/// The events of all programs are one story, of which the latest are kept, and each upgrade is told.
fn ensure_told(site: &Site<'_>, count: usize) -> Result<()> {
    let told = site.node.cli(&["events", "--json"])?;
    let told = told.lines().map(serde_json::from_str).collect::<serde_json::Result<Vec<Value>>>()?;
    let numbers: Vec<u64> = told.iter().filter_map(|event| event["seq"].as_u64()).collect();
    // Not every record is an event.
    ensure!(numbers.len() == told.len() && numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    let upgraded = told.iter().filter(|event| event["event"] == "upgraded").count();
    let is_whole = numbers.first() == Some(&1);
    ensure!(upgraded == count || !is_whole, "{upgraded} of {count} upgrades are told");
    Ok(())
}

/// The longest time between two BFD packets, for each upgrade.
fn silences(bfd: &Capture, upgrades: &[Upgrade]) -> Result<Vec<Duration>> {
    let text = bfd.read(&[])?;
    let times: Vec<SystemTime> = text
        .lines()
        .filter_map(|line| line.split(' ').next()?.parse::<f64>().ok())
        .map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds))
        .collect();
    let around = |upgrade: &Upgrade| {
        let pairs = times.windows(2).map(|pair| (pair[0], pair[1]));
        let pairs = pairs.filter(|(last, next)| *next >= upgrade.asked && *last <= upgrade.done);
        pairs.filter_map(|(last, next)| next.duration_since(last).ok()).max().unwrap_or_default()
    };
    Ok(upgrades.iter().map(around).collect())
}
