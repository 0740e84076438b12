//! Addresses that another program flushes at random moments: a VIP without its address is announced only for the
//! reaction time of the daemon.
//!
//! Two witnesses are independent of the daemon: `ip monitor` shows the changes of addresses, a BGP speaker those of
//! routes. A reload adds new VIPs before each flush: no address was lost often enough for a longer pause, and some are
//! being bound. The thousand flushes of a full run take some minutes a size: `VIPCAST_FLUSHES=1000`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use vipcast::control::api::{Verdict, Vip};
use vipcast_lab::speaker::Event;
use vipcast_lab::{Host, Lab, Process, Speaker};

use crate::load::{beside, lateness, options, peer};
use crate::node::{Node, RELEASED, is_released};
use crate::{SOON, is_alone, measured, trial};

/// How many flushes a size.
const VARIABLE: &str = "VIPCAST_FLUSHES";
/// Without that.
const FEW: u32 = 15;
/// VIPs that take a while to bind.
const MANY: usize = 1000;
/// How long a VIP may be announced and not there, on a machine with nothing else to do. That is promised of a release build;
/// in a debug build, or beside other tests, it takes its time to go through a thousand addresses.
fn limit(vips: u32) -> Duration {
    if is_released() && is_alone() {
        Duration::from_millis(10)
    } else {
        Duration::from_millis(50 + 2 * u64::from(vips))
    }
}

pub(crate) fn trials() -> Vec<Trial> {
    let sizes = [1, 10, 1000];
    let trials = sizes.map(|vips| {
        let name = measured(&format!(
            "i1_flushes_at_random_moments_leave_none_of_{vips}_vips_announced_and_unbound"
        ));
        trial(&name, &[], move |lab| flushed(lab, vips))
    });
    trials.into()
}

/// Of 198.18.0.0/15, where they begin anew after the last.
fn vip(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number % 0x2_0000)
}

pub(crate) fn config(vips: Range<u32>) -> String {
    let mut services = String::new();
    for number in vips {
        let _infallible = writeln!(services, "  s{number}: {{vips: [{}], checks: []}}", vip(number));
    }
    format!(
        "local_as: 64999\nrouter_id: 10.0.0.99\npeers:\n{}services:\n{services}shutdown: {{drain_time: 0s, unbind_delay: 0s}}\n",
        peer(1)
    )
}

/// The VIPs of one round.
fn of_round(round: u32, vips: u32) -> Range<u32> {
    round * vips..(round + 1) * vips
}

/// Chance that is the same in every run (a linear congruential generator; the constants are Knuth's).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % u64::from(end)).unwrap_or_default()
    }
}

fn flushed(lab: &Lab, vips: u32) -> Result<()> {
    let flushes = std::env::var(VARIABLE).ok().and_then(|count| count.parse().ok()).unwrap_or(FEW);
    let edge = lab.host("edge")?;
    let speaker = Speaker::start(&beside(lab, &edge, 1)?, &options(1))?;
    let monitor = monitor(&edge)?;
    let node = Node::start_by(RELEASED, lab, &edge, &config(of_round(0, vips)))?;
    let sent = || -> Result<usize> { Ok(node.status()?.peers["peer-1"].advertised) };
    lab.until("every VIP to be announced", SOON, || {
        let sent = sent()?;
        ensure!(sent == usize::try_from(vips)?, "{sent}");
        Ok(())
    })?;
    let ended = AtomicBool::new(false);
    let (result, late) = thread::scope(|scope| {
        // To look at its memory would hold it up.
        let late = scope.spawn(|| lateness(&ended));
        let mut dice = Dice(u64::from(vips));
        let result = (0..flushes).try_for_each(|round| {
            let vips = of_round(round, vips);
            node.write_config(lab, &config(vips.clone()))?;
            node.hang_up()?;
            // To bind a thousand takes a while and both cores; a flush that meets that is what the smaller sizes are for.
            if vips.len() >= MANY {
                let new: BTreeSet<IpAddr> = vips.clone().map(|number| vip(number).into()).collect();
                lab.until("the new VIPs to be announced", SOON, || {
                    let status = node.status()?;
                    let there = |of: &&Vip| of.verdict == Verdict::Announced && new.contains(&of.vip.ip());
                    let count = status.vips.iter().filter(there).count();
                    ensure!(count == vips.len(), "{count}");
                    Ok(())
                })?;
            }
            thread::sleep(Duration::from_millis(dice.below(300).into()));
            flush(&edge, &vips, &mut dice)
        });
        ended.store(true, Ordering::Relaxed);
        (result, late.join().unwrap_or_default())
    });
    result?;
    lab.until("what is announced to be there, and nothing else", SOON, || {
        let status = node.status()?;
        let there: Vec<IpAddr> = edge.addresses()?.iter().map(|address| address.address.addr()).collect();
        let mut announced = status.vips.iter().filter(|vip| vip.verdict == Verdict::Announced);
        let lies = announced.find(|vip| !there.contains(&vip.vip.ip()));
        ensure!(lies.is_none(), "{lies:?}");
        Ok(())
    })?;
    let log = node.process.log();
    // Its session ends before its addresses go.
    let until = SystemTime::now();
    drop(node);
    let heard = speaker.stop()?;
    let mut lives: BTreeMap<IpAddr, Vec<(SystemTime, Change)>> = BTreeMap::new();
    for (at, event) in heard.events {
        if let Event::Announced(prefix) = event {
            lives.entry(prefix.addr()).or_default().push((at, Change::Announced(true)));
        } else if let Event::Withdrawn(prefix) = event {
            lives.entry(prefix.addr()).or_default().push((at, Change::Announced(false)));
        }
    }
    for (at, ip, bound) in seen(&monitor.log())? {
        lives.entry(ip).or_default().push((at, Change::Bound(bound)));
    }
    let mut gaps: Vec<Duration> = Vec::new();
    for life in lives.values_mut() {
        gaps.extend(announced_and_unbound(life, until));
    }
    gaps.sort();
    let (hits, worst) = (gaps.len(), gaps.last().copied().unwrap_or_default());
    let median = gaps.get(hits / 2).copied().unwrap_or_default();
    println!(
        "{flushes} flushes of {vips} VIPs: {hits} times one was announced and not there, for {median:?} at the median and \
         {worst:?} at most; this machine up to {late:?} late"
    );
    ensure!(hits >= 1, "no flush met an announced VIP: {log}");
    ensure!(worst <= limit(vips) + 2 * late, "announced and not there for {worst:?}");
    Ok(())
}

/// All of them, some of them, or a few again and again.
fn flush(edge: &Host, vips: &Range<u32>, dice: &mut Dice) -> Result<()> {
    let one = vip(vips.start + dice.below(vips.end - vips.start));
    match dice.below(4) {
        0 => edge.run(["ip", "address", "flush", "dev", "lo", "to", "198.18.0.0/15"]).map(drop),
        1 => {
            let line = format!("address delete {one}/32 dev lo\n").repeat(10);
            let path = edge.write_file("ten", &line)?;
            // What is not back yet cannot be deleted.
            drop(edge.run(["ip", "-force", "-batch", &path.to_string_lossy()]));
            Ok(())
        }
        _ => {
            let length = 24 + dice.below(9);
            let prefix = format!("{one}/{length}");
            edge.run(["ip", "address", "flush", "dev", "lo", "to", &prefix]).map(drop)
        }
    }
}

/// What the kernel says of addresses, with its time.
fn monitor(edge: &Host) -> Result<Process> {
    let mut command = edge.command("ip");
    command.env("TZ", "UTC").args(["-rcvbuf", "16777216", "-ts", "-o", "-4", "monitor", "address"]);
    edge.spawn("monitor", command)
}

/// `[2026-11-26T17:00:00.123456] Deleted 1: lo    inet 198.18.0.1/32 scope host lo …`
fn seen(text: &str) -> Result<Vec<(SystemTime, IpAddr, bool)>> {
    let mut seen = Vec::new();
    for line in text.lines().filter(|line| line.contains(" inet 198.1")) {
        let (at, rest) =
            line.strip_prefix('[').and_then(|line| line.split_once(']')).context(line.to_owned())?;
        let at: jiff::Timestamp = format!("{at}Z").parse().with_context(|| line.to_owned())?;
        let address =
            rest.split_whitespace().skip_while(|word| *word != "inet").nth(1).context(line.to_owned())?;
        let ip = address.split('/').next().unwrap_or_default().parse()?;
        seen.push((SystemTime::from(at), ip, !rest.contains("Deleted")));
    }
    Ok(seen)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Bound(bool),
    Announced(bool),
}

/// The times during which a VIP was announced and not on the host.
fn announced_and_unbound(life: &mut [(SystemTime, Change)], until: SystemTime) -> Vec<Duration> {
    life.sort_by_key(|(at, _)| *at);
    let (mut bound, mut announced, mut since) = (false, false, None);
    let mut gaps = Vec::new();
    for (at, change) in life.iter().filter(|(at, _)| *at <= until) {
        match change {
            Change::Bound(now) => bound = *now,
            Change::Announced(now) => announced = *now,
        }
        match (announced && !bound, since) {
            (true, None) => since = Some(*at),
            (false, Some(begin)) => {
                gaps.push(at.duration_since(begin).unwrap_or_default());
                since = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
    gaps.extend(since.and_then(|begin| until.duration_since(begin).ok()));
    gaps
}
