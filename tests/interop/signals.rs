//! Signals that stop, reload or change nothing, and none that is lost at a bad moment.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast_lab::{EchoServer, Host, Lab, Neighbor, RouterConfig, RouterKind, Signal, Subnet};

use crate::node::{Node, address};
use crate::{SOON, trial};

const VIP: &str = "192.0.2.10";

pub(crate) fn trials() -> Vec<Trial> {
    let frr = [RouterKind::Frr];
    vec![
        trial("a_signal_that_means_nothing_changes_nothing_and_is_mentioned_once", &[], meaningless),
        trial("sigquit_and_sigint_drain_as_sigterm_does", &[], stops),
        trial("a_signal_that_comes_while_it_starts_is_kept", &[], early),
        trial("process_1_reaps_orphans_and_loses_no_exit_code", &[], process_1),
        trial("a_start_that_hangs_can_be_stopped", &[], hanging_start),
        trial("frr::no_signal_is_lost_or_kills_between_two_processes", &frr, between_two_processes),
    ]
}

const ALONE: &str = "local_as: 65001
router_id: 10.0.0.2
peers:
  tor: {address: 10.0.1.1, peer_as: 65000}
services:
  a: {vips: [192.0.2.10], checks: []}
shutdown: {drain_time: 200ms, unbind_delay: 100ms}
";

fn wait_log(lab: &Lab, node: &Node, what: &str) -> Result<()> {
    lab.until(format_args!("{what:?} in the log"), SOON, || {
        ensure!(node.process.log().contains(what), "{}", node.process.log());
        Ok(())
    })
}

fn wait_bound(lab: &Lab, edge: &Host) -> Result<()> {
    lab.until("the VIP to be on the host", SOON, || {
        ensure!(address(edge, VIP.parse()?)?.is_some(), "it is not");
        Ok(())
    })
}

fn is_stopped_cleanly(node: &Node, edge: &Host) -> Result<()> {
    let status = node.process.wait_exit(SOON)?;
    ensure!(status.success(), "{status}: {}", node.process.log());
    ensure!(node.process.log().contains("shutting down"), "no drain: {}", node.process.log());
    ensure!(address(edge, VIP.parse()?)?.is_none(), "{VIP} is left on the host");
    Ok(())
}

/// Every signal whose default would end or stop a process, faults aside. SIGRTMIN+3 is what stops some containers.
fn meaningless(lab: &Lab) -> Result<()> {
    const SIGNALS: [&str; 16] = [
        "USR1", "ALRM", "PIPE", "VTALRM", "PROF", "IO", "PWR", "STKFLT", "XCPU", "XFSZ", "TSTP", "TTIN",
        "TTOU", "RTMIN", "RTMIN+3", "RTMAX",
    ];
    let edge = lab.host("edge")?;
    let node = Node::start(lab, &edge, ALONE)?;
    wait_bound(lab, &edge)?;
    for _ in 0..2 {
        for signal in SIGNALS {
            let (signal, pid) = (format!("-{signal}"), node.process.pid().to_string());
            edge.run(["bash", "-c", "kill \"$@\"", "bash", &signal, &pid])?;
        }
        node.status().context("it does not answer")?;
    }
    for named in ["SIGUSR1", "SIGALRM", "SIGPIPE", "SIGXFSZ", "SIGTSTP", "signal 64"] {
        wait_log(lab, &node, &format!("{named} means nothing"))?;
    }
    let log = node.process.log();
    let mentioned = log.lines().filter(|line| line.contains("means nothing to vipcast")).count();
    ensure!(mentioned == SIGNALS.len(), "each once: {mentioned} of {}: {log}", SIGNALS.len());
    ensure!(!log.contains("shutting down") && !log.contains("in force"), "{log}");
    node.process.kill(Signal::SIGTERM)?;
    is_stopped_cleanly(&node, &edge)
}

fn stops(lab: &Lab) -> Result<()> {
    for (name, signal) in [("quit", Signal::SIGQUIT), ("int", Signal::SIGINT), ("term", Signal::SIGTERM)] {
        let edge = lab.host(name)?;
        let node = Node::start(lab, &edge, ALONE)?;
        wait_bound(lab, &edge)?;
        node.process.kill(signal)?;
        is_stopped_cleanly(&node, &edge).with_context(|| name.to_owned())?;
    }
    Ok(())
}

/// Waits until the process is the daemon, and no older than its first instructions.
fn wait_blocked(lab: &Lab, node: &Node) -> Result<()> {
    let path = format!("/proc/{}/status", node.process.pid());
    let program = format!("/proc/{}/exe", node.process.pid());
    lab.until("SIGHUP and SIGTERM to be blocked", SOON, || {
        // A shell blocks them, too, while it starts something.
        let program = std::fs::read_link(&program)?;
        ensure!(program.ends_with("vipcast"), "{}", program.display());
        let status = std::fs::read_to_string(&path)?;
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).context("no SigBlk")?;
        let blocked = u64::from_str_radix(blocked.trim(), 16)?;
        let both = 1 | 1 << 14;
        ensure!(blocked & both == both, "{blocked:x}");
        Ok(())
    })
}

fn early(lab: &Lab) -> Result<()> {
    for round in 0..5 {
        let edge = lab.host(&format!("hup-{round}"))?;
        let node = Node::start(lab, &edge, ALONE)?;
        wait_blocked(lab, &node)?;
        node.hang_up()?;
        wait_log(lab, &node, "is in force")?;
        wait_bound(lab, &edge)?;
        node.process.kill(Signal::SIGKILL)?;

        let edge = lab.host(&format!("term-{round}"))?;
        let node = Node::start(lab, &edge, ALONE)?;
        wait_blocked(lab, &node)?;
        node.process.kill(Signal::SIGTERM)?;
        is_stopped_cleanly(&node, &edge)?;
    }
    Ok(())
}

/// The configuration is a pipe that somebody has opened and nobody writes to.
fn hanging_start(lab: &Lab) -> Result<()> {
    const PIPE: &[&str] =
        &["sh", "-c", "mkfifo \"$4.fifo\"; exec 9<> \"$4.fifo\"; exec \"$1\" \"$2\" \"$3\" /dev/fd/9", "sh"];
    let edge = lab.host("edge")?;
    let node = Node::start_by(PIPE, lab, &edge, ALONE)?;
    wait_blocked(lab, &node)?;
    node.process.kill(Signal::SIGTERM)?;
    let status = node.process.wait_exit(SOON)?;
    ensure!(status.code() == Some(1), "{status}");
    Ok(())
}

/// A graceful restart with SIGHUPs all the while, and then one with a SIGTERM in it, at five moments.
fn between_two_processes(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::dual(1))?;
    let neighbor = Neighbor::new(link.v4(&edge)?, 65001).graceful_restart();
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(neighbor);
    let router = lab.router(RouterKind::Frr, &tor, &router)?;
    let _service = EchoServer::start(&edge, "web", "[::]:7".parse()?, Some("[::]:8080".parse()?))?;
    let config = format!(
        "local_as: 65001
router_id: 10.0.0.2
peers:
  tor: {{address: {}, peer_as: 65000, graceful_restart: {{restart_time: 60s}}}}
services:
  a: {{vips: [{VIP}], checks: []}}
shutdown: {{drain_time: 200ms, unbind_delay: 100ms}}
",
        link.v4(&tor)?
    );
    let wait_route = |wanted: bool| {
        lab.until(format_args!("the router to have {VIP}: {wanted}"), SOON, || {
            let has = router.routes()?.contains_key(&IpNet::from(VIP.parse::<IpAddr>()?));
            ensure!(has == wanted, "{has}");
            Ok(())
        })
    };
    let mut node = Node::start(lab, &edge, &config)?;
    wait_route(true)?;
    for _ in 0..3 {
        node.wait_established(lab, "tor", SOON)?;
        std::thread::scope(|scope| {
            let restart = scope.spawn(|| node.cli(&["restart", "--graceful"]));
            while !restart.is_finished() {
                node.hang_up()?;
                std::thread::sleep(Duration::from_micros(200));
            }
            restart.join().map_err(|_panic| anyhow::anyhow!("the restart panicked"))?
        })?;
    }
    for milliseconds in [0, 1, 3, 6, 10] {
        node.wait_established(lab, "tor", SOON)?;
        let before = node.process.log().matches("restarting: ").count();
        std::thread::scope(|scope| {
            let restart = scope.spawn(|| node.cli(&["restart", "--graceful"]));
            lab.until("the restart to begin", SOON, || {
                ensure!(node.process.log().matches("restarting: ").count() > before, "not yet");
                Ok(())
            })?;
            std::thread::sleep(Duration::from_millis(milliseconds));
            node.process.kill(Signal::SIGTERM)?;
            // It may find nobody to ask any more.
            drop(restart.join());
            anyhow::Ok(())
        })?;
        is_stopped_cleanly(&node, &edge).with_context(|| format!("SIGTERM after {milliseconds} ms"))?;
        wait_route(false)?;
        node.start_again()?;
        wait_route(true)?;
    }
    Ok(())
}

/// A check leaves a process behind that its group does not have, another one runs all the time.
fn process_1(lab: &Lab) -> Result<()> {
    const INIT: &[&str] = &["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--"];
    let config = "local_as: 65001
router_id: 10.0.0.2
peers:
  tor: {address: 10.0.1.1, peer_as: 65000}
checks:
  leaves: {exec: {shell: 'setsid sh -c \"sleep 0.3\" > /dev/null 2>&1 & sleep 0.1'}, interval: 1h, timeout: 5s, rise: 1}
  busy: {exec: {shell: 'exit 0'}, interval: 100ms, timeout: 100ms, fall: 100}
services:
  a: {vips: [192.0.2.10], checks: [leaves, busy]}
";
    let edge = lab.host("edge")?;
    let node = Node::start_by(INIT, lab, &edge, config)?;
    wait_bound(lab, &edge)?;
    let parent = node.process.pid().to_string();
    let init = lab.until("process 1 to be there", SOON, || {
        Ok(edge.run(["ps", "--ppid", &parent, "-o", "pid="])?.trim().to_owned())
    })?;
    // `ps` fails where there is none.
    let orphans = || edge.run(["ps", "--ppid", &init, "-o", "stat=,comm="]).unwrap_or_default();
    let dead = || orphans().lines().filter(|line| line.starts_with('Z') && line.contains("sh")).count();
    lab.until("an orphan to be dead", SOON, || {
        ensure!(dead() > 0, "{}", orphans());
        Ok(())
    })?;
    lab.until("it to be reaped", SOON, || {
        ensure!(dead() == 0, "{}", orphans());
        Ok(())
    })?;
    let log = node.process.log();
    ensure!(!log.contains("exit code lost") && !log.contains("check down"), "{log}");
    Ok(())
}
