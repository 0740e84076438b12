//! `drain --all` on a node with thousands of services: the wait of the operator, the cost, and no late KEEPALIVE.

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use vipcast::control::api::Verdict;
use vipcast_lab::{Lab, Speaker, wait};

use crate::flushes::config;
use crate::load::{LATEST, Watch, beside, options, same_session};
use crate::node::{Node, RELEASED, is_released, released};
use crate::{SOON, is_alone, measured, trial};

/// Services of the one node and of the other.
const SIZES: [u32; 2] = [1000, 5000];
/// How often each is drained and undrained.
const ROUNDS: usize = 16;
/// After how many of these rounds the heap has the room that the largest answers take.
const FIRST: usize = 4;
/// How long the command may take for the larger one, on a machine with nothing else to do: promised of a release build.
const MOST: Duration = Duration::from_millis(300);
/// How much the daemon may still grow in the rounds after the first ones, in KiB. What is left between the blocks of a heap
/// takes some rounds to settle; 70 bytes that each drain of a service left behind would already be more.
const STAYS: u64 = 4 * 1024;
/// The records that may wait for the journal's thread, in KiB, when other tests keep it from running: 16,384 of them.
const WAITING: u64 = 10 << 10;
/// How much longer it may take for five times as many: linear, and some room for what is measured in milliseconds.
const TIMES: f64 = 6.0;

pub(crate) fn trials() -> Vec<Trial> {
    let name = measured("drain_all_of_5000_services_is_fast_linear_and_delays_no_keepalive");
    vec![trial(&name, &[], |lab| {
        let times = SIZES.map(|services| drained(lab, services));
        let [small, large] = times;
        let ((small, _), (large, late)) = (small?, large?);
        let growth = large.as_secs_f64() / small.as_secs_f64();
        println!("{SIZES:?} services: {small:.1?} and {large:.1?}, {growth:.1} times as long");
        // In a debug build it is as linear; beside other tests no time says anything.
        ensure!(!is_alone() || growth <= TIMES, "{small:?} and {large:?}, {growth:.1} times as long");
        ensure!(!is_alone() || !is_released() || large <= MOST + 2 * late, "{large:?}");
        Ok(())
    })]
}

/// The shortest time of a few that the command took, and how late this machine was at worst.
fn drained(lab: &Lab, services: u32) -> Result<(Duration, Duration)> {
    let edge = lab.host(&format!("edge-{services}"))?;
    let number = if services == SIZES[0] { 1 } else { 2 };
    let speaker = Speaker::start(&beside(lab, &edge, number)?, &options(number))?;
    let name = format!("peer-{number}");
    let config = config(0..services).replace(&crate::load::peer(1), &crate::load::peer(number));
    // Long enough that nothing is withdrawn: what is measured is the drain, and not the kernel that removes addresses.
    let config = config.replace("drain_time: 0s", "drain_time: 1h") + "log: {level: warn}\n";
    let node = Node::start_by(RELEASED, lab, &edge, &config)?;
    let wait_sent = || {
        lab.until("every VIP to be announced", SOON, || {
            let sent = node.status()?.peers[&name].advertised;
            ensure!(sent == usize::try_from(services)?, "{sent}");
            Ok(())
        })
    };
    wait_sent()?;
    let (before, since) = (node.process.memory()?, SystemTime::now());
    let socket = node.socket().to_string_lossy().into_owned();
    let ask = |command: &str| -> Result<Duration> {
        let begin = Instant::now();
        edge.run([released().as_str(), command, "--all", "--socket", &socket])?;
        Ok(begin.elapsed())
    };
    let ended = AtomicBool::new(false);
    let (rounds, (most, late)) = thread::scope(|scope| {
        let watch = Watch::start(scope, &ended, &node.process);
        let rounds = (0..ROUNDS)
            .map(|_| {
                let time = ask("drain")?;
                let drains = node.status()?.vips.iter().filter(|vip| vip.verdict == Verdict::Demoted).count();
                ensure!(drains == usize::try_from(services)?, "{drains} drain");
                ask("undrain")?;
                wait_sent()?;
                Ok((time, node.process.memory()?))
            })
            .collect::<Result<Vec<_>>>();
        // Long enough for a KEEPALIVE that is late because of it to be seen.
        let stays = wait::holds("the session", Duration::from_secs(4), || {
            ensure!(node.process.is_running());
            Ok(())
        });
        (stays.and(rounds), watch.stop())
    });
    let (mut times, memory): (Vec<_>, Vec<_>) = rounds?.into_iter().unzip();
    times.sort();
    let (settled, after) = (&memory[FIRST - 1], node.process.memory()?);
    let heard = speaker.stop()?;
    let silence = heard.longest_silence(since);
    println!(
        "drain --all of {services} services: {times:.1?}; memory {before}, {settled} after {FIRST} rounds, at most {most}, \
         {after} after {ROUNDS}; the longest silence to the peer {silence:?}, this machine up to {late:?} late"
    );
    same_session(&heard)?;
    ensure!(silence < LATEST + 2 * late, "the peer heard nothing for {silence:?}");
    let stays = STAYS + if is_alone() { 0 } else { WAITING };
    ensure!(after.resident <= settled.resident + stays, "it grew from {settled} to {after}");
    Ok((times[0], late))
}
