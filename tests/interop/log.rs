//! The reader of the log hangs, dies or is full: only lines are lost.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast_lab::traffic::Health;
use vipcast_lab::wait::holds;
use vipcast_lab::{EchoServer, Host, Lab, Neighbor, Router, RouterConfig, RouterKind, Signal, Subnet};

use crate::node::{Node, address};
use crate::{SOON, trial};

const A: &str = "192.0.2.10";
const B: &str = "192.0.2.20";
const TOR: &str = "10.0.1.1";
const EDGE: &str = "10.0.1.2";

pub(crate) fn trials() -> Vec<Trial> {
    let frr = [RouterKind::Frr];
    vec![
        trial("frr::a_log_that_nobody_reads_costs_lines_and_nothing_else", &frr, nobody_reads),
        trial("a_log_that_cannot_be_written_is_not_fatal", &[], cannot_be_written),
        trial("lines_that_do_not_fit_are_counted_where_they_are_missing", &[], counted),
        trial("log_follows_a_reload_and_a_refused_reload_is_one_line", &[], reload),
    ]
}

/// stderr is a pipe beside the configuration, and nobody reads it until somebody opens it.
const PIPE: &[&str] = &["sh", "-c", "mkfifo \"$4.pipe\" && exec \"$@\" 2<> \"$4.pipe\"", "sh"];

fn pipe(lab: &Lab, host: &Host) -> PathBuf {
    lab.directory().join(format!("{}-vipcast.yaml.pipe", host.name()))
}

/// Reads the pipe until `wanted` is in it.
fn read_until(pipe: &mut File, wanted: &str) -> Result<String> {
    let (mut all, mut some) = (Vec::new(), [0; 4096]);
    vipcast_lab::wait::until(format!("{wanted:?} in the log"), SOON, || {
        while let Ok(read @ 1..) = pipe.read(&mut some) {
            all.extend_from_slice(&some[..read]);
        }
        let text = String::from_utf8_lossy(&all);
        ensure!(text.contains(wanted), "not in {} bytes", all.len());
        Ok(text.into_owned())
    })
}

/// For longer than the hold time of 3 s: the session stays, a service that dies is withdrawn and another is not, commands
/// are answered, and SIGTERM drains.
fn nobody_reads(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    lab.link(&tor, &edge, Subnet::dual(1))?;
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1))
        .neighbor(Neighbor::new(EDGE.parse::<IpAddr>()?, 65001));
    let router: Arc<dyn Router> = lab.router(RouterKind::Frr, &tor, &router)?;
    let a = EchoServer::start(&edge, "a", "[::]:7".parse()?, Some("[::]:8081".parse()?))?;
    let _b = EchoServer::start(&edge, "b", "[::]:8".parse()?, Some("[::]:8082".parse()?))?;
    let config = format!(
        "local_as: 65001
peers:
  tor: {{address: {TOR}, peer_as: 65000, hold_time: 3s}}
checks:
  a: {{http: {{url: \"http://127.0.0.1:8081/healthz\"}}, interval: 100ms, fast_interval: 50ms, timeout: 100ms}}
  b: {{http: {{url: \"http://127.0.0.1:8082/healthz\"}}, interval: 100ms, fast_interval: 50ms, timeout: 100ms}}
services:
  a: {{vips: [{A}], checks: [a]}}
  b: {{vips: [{B}], checks: [b]}}
shutdown: {{drain_time: 500ms, unbind_delay: 200ms}}
"
    );
    let node = Node::start_by(PIPE, lab, &edge, &config)?;
    let has = |vip: &str| -> Result<bool> {
        Ok(router.routes()?.contains_key(&IpNet::from(vip.parse::<IpAddr>()?)))
    };
    let wait_route = |vip: &str, wanted: bool| {
        lab.until(format_args!("the router to have {vip}: {wanted}"), SOON, || {
            ensure!(has(vip)? == wanted, "{}", !wanted);
            Ok(())
        })
    };
    wait_route(A, true)?;
    wait_route(B, true)?;
    // Full before the daemon has written another word.
    let mut full = nonblocking(&pipe(lab, &edge))?;
    while let Ok(1..) = full.write(&[b'.'; 512]) {}
    let established = node.status()?.peers["tor"].since_ms;
    holds("the session to stay for longer than its hold time", Duration::from_secs(5), || {
        ensure!(has(B)?, "{B} is gone");
        Ok(())
    })?;
    let later = node.status()?.peers["tor"].since_ms;
    ensure!(later > established, "the session began anew: {established} ms, then {later} ms");
    a.set_health(Health::Bad)?;
    wait_route(A, false)?;
    ensure!(has(B)?, "{B} is gone with {A}");
    node.process.kill(Signal::SIGTERM)?;
    wait_route(B, false)?;
    let status = node.process.wait_exit(SOON)?;
    ensure!(status.success(), "{status}");
    ensure!(address(&edge, B.parse()?)?.is_none(), "{B} is left on the host");
    Ok(())
}

fn nonblocking(pipe: &Path) -> Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    File::options().read(true).write(true).custom_flags(flags).open(pipe).context("no pipe")
}

fn alone(level: &str) -> String {
    format!(
        "local_as: 65001
router_id: 10.0.0.2
log: {{level: {level}}}
peers:
  tor: {{address: 10.0.1.1, peer_as: 65000}}
services:
  a: {{vips: [{A}], checks: []}}
"
    )
}

fn wait_bound(lab: &Lab, edge: &Host) -> Result<()> {
    lab.until("the VIP to be on the host", SOON, || {
        ensure!(address(edge, A.parse()?)?.is_some(), "it is not");
        Ok(())
    })
}

/// The reader of the pipe has died, the disk is full, stderr is closed.
fn cannot_be_written(lab: &Lab) -> Result<()> {
    const WAYS: [(&str, &[&str]); 3] = [
        ("reader", &["bash", "-c", "exec \"$@\" 2> >(sleep 0.1)", "bash"]),
        ("full", &["sh", "-c", "exec \"$@\" 2> /dev/full", "sh"]),
        ("closed", &["sh", "-c", "exec \"$@\" 2>&-", "sh"]),
    ];
    for (name, way) in WAYS {
        let edge = lab.host(name)?;
        let node = Node::start_by(way, lab, &edge, &alone("trace"))?;
        wait_bound(lab, &edge)?;
        for _ in 0..5 {
            node.hang_up()?;
            node.status().with_context(|| format!("{name}: it does not answer"))?;
        }
        node.process.kill(Signal::SIGTERM)?;
        let status = node.process.wait_exit(SOON)?;
        ensure!(status.success(), "{name}: {status}");
        ensure!(address(&edge, A.parse()?)?.is_none(), "{name}: {A} is left on the host");
    }
    Ok(())
}

/// More than a pipe and the queue of a megabyte hold, and then a reader.
fn counted(lab: &Lab) -> Result<()> {
    const VIPS: usize = 1500;
    let edge = lab.host("edge")?;
    let vips: Vec<String> = (1..VIPS).map(|n| format!("198.18.{}.{}", n / 250, n % 250 + 1)).collect();
    let many = alone("info").replace(A, &format!("{A}, {}", vips.join(", ")));
    let node = Node::start_by(PIPE, lab, &edge, &(many + "shutdown: {drain_time: 0s, unbind_delay: 0s}\n"))?;
    for _ in 0..6 {
        node.wait_verdict(lab, A.parse()?, "announced", SOON)?;
        node.cli(&["drain", "a"])?;
        node.wait_verdict(lab, A.parse()?, "withheld", SOON)?;
        node.cli(&["undrain", "a"])?;
    }
    // An event is there after its line was handed to the log, so then all lines before it were.
    node.cli(&["drain", "a", "--reason", "the-last"])?;
    lab.until("the event of the last drain", SOON, || {
        let events = node.cli(&["events", "--service", "a"])?;
        ensure!(events.contains("reason=the-last"), "{:?}", events.lines().last());
        Ok(())
    })?;
    let mut pipe = nonblocking(&pipe(lab, &edge))?;
    let log = read_until(&mut pipe, "lines were not logged")?;
    ensure!(log.len() > 500_000, "nearly a megabyte waits: {}", log.len());
    // Further lines may follow, and further gaps.
    let (before, _) = log.split_once(" lines were not logged").context("no gap")?;
    let (before, missing) = before.rsplit_once(' ').context("no number")?;
    let missing: usize = missing.parse().with_context(|| missing.to_owned())?;
    let whole = before.lines().filter(|line| line.contains(" VIP ")).count();
    ensure!(whole > 3 * VIPS && missing > 0, "{whole} lines and {missing} missing");
    // The log goes on.
    node.hang_up()?;
    read_until(&mut pipe, "is in force")?;
    Ok(())
}

fn reload(lab: &Lab) -> Result<()> {
    let edge = lab.host("edge")?;
    // What the lab adds comes before, so the last one would be a duplicate.
    let plain = alone("info").replace("log: {level: info}\n", "");
    let node = Node::start(lab, &edge, &plain)?;
    wait_bound(lab, &edge)?;
    let path = node.config().to_owned();
    let text = std::fs::read_to_string(&path)?;
    let wait_log = |what: &str| {
        lab.until(format_args!("{what:?} in the log"), SOON, || {
            ensure!(node.process.log().contains(what), "{}", node.process.log());
            Ok(())
        })
    };
    wait_log("started")?;
    std::fs::write(&path, format!("{text}nonsense: 1\npeer: 2\n"))?;
    node.hang_up()?;
    wait_log("not reloaded")?;
    let log = node.process.log();
    let refused: Vec<&str> =
        log.lines().filter(|line| line.contains("not reloaded") || line.contains("nonsense")).collect();
    ensure!(refused.len() == 1, "one event, one line: {refused:#?}");
    ensure!(refused[0].contains(": unknown key `nonsense`"), "{}", refused[0]);
    ensure!(refused[0].contains(": unknown key `peer` (did you mean `peers`?)"), "{}", refused[0]);
    ensure!(!log.contains("hint=\"\""), "{log}");

    std::fs::write(&path, text.replace("level: debug", "level: info, format: json"))?;
    node.hang_up()?;
    wait_log("\"level\":\"INFO\"")?;
    std::fs::write(&path, text.replace("level: debug", "level: error"))?;
    node.cli(&["reload"])?;
    let before = node.process.log().len();
    node.cli(&["drain", "a"])?;
    ensure!(node.process.log().len() == before, "{}", &node.process.log()[before..]);
    std::fs::write(&path, &text)?;
    node.cli(&["reload"])?;
    node.cli(&["undrain", "a"])?;
    wait_log("drain lifted")
}
