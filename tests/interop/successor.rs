//! `restart --graceful` with a slow next program, or requested twice: one restart at a time, and the daemon works
//! normally until the next program is accepted.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use libtest_mimic::Trial;
use vipcast::control::api::SessionState;
use vipcast_lab::wait::holds;
use vipcast_lab::{Lab, Neighbor, Router, RouterConfig, RouterKind, Signal, Subnet};

use crate::node::{Node, VIPCAST};
use crate::{SOON, has_route, trial, wait_route};

const VIP: &str = "192.0.2.10";
const ANOTHER: &str = "192.0.2.11";
const UNDER_WAY: &str = "a restart is under way already";
/// A daemon whose program can be replaced, as an upgrade does.
const COPY: &[&str] =
    &["sh", "-c", "cp \"$1\" \"$4.program\" && exec \"$4.program\" \"$2\" \"$3\" \"$4\"", "sh"];

pub(crate) fn trials() -> Vec<Trial> {
    let frr = |name, test: fn(&Lab) -> Result<()>| trial(name, &[RouterKind::Frr], test);
    vec![
        frr("frr::a_second_restart_is_refused_while_the_first_tries_its_program_out", tried_out),
        frr("frr::of_two_restarts_that_are_asked_for_at_once_one_is_done", at_once),
        frr("frr::a_program_that_never_ends_is_given_up_and_the_session_stays", never_ends),
    ]
}

struct Site<'a> {
    lab: &'a Lab,
    router: Arc<dyn Router>,
    node: Node,
    /// While it is there, the program that was put in place hangs.
    hangs: PathBuf,
}

impl<'a> Site<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
        lab.link(&tor, &edge, Subnet::dual(1))?;
        let neighbor = Neighbor::new("10.0.1.2".parse::<IpAddr>()?, 65001).graceful_restart();
        let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(neighbor);
        let router = lab.router(RouterKind::Frr, &tor, &router)?;
        let node = Node::start_by(COPY, lab, &edge, &Self::config(VIP))?;
        let site = Self { lab, router, node, hangs: lab.directory().join("hangs") };
        site.wait_route(VIP)?;
        Ok(site)
    }

    fn config(vips: &str) -> String {
        format!(
            "local_as: 65001
router_id: 10.0.0.2
peers: {{tor: {{address: 10.0.1.1, peer_as: 65000, hold_time: 3s, graceful_restart: true}}}}
services: {{web: {{vips: [{vips}], checks: []}}}}
shutdown: {{drain_time: 500ms, unbind_delay: 200ms}}
"
        )
    }

    /// Puts a program in the place of the daemon's that hangs when it is asked for `command`, and is a vipcast otherwise.
    fn replace(&self, command: &str) -> Result<()> {
        let script = format!(
            "#!/bin/sh\nwhile [ $1 = {command} ] && [ -e {} ]; do sleep 0.05; done\nexec {} \"$@\"\n",
            self.hangs.display(),
            *VIPCAST
        );
        let program = PathBuf::from(format!("{}.program", self.node.config().display()));
        let new = program.with_extension("new");
        fs::write(&new, script)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
        fs::write(&self.hangs, "")?;
        fs::rename(&new, &program).context("cannot replace the program")
    }

    fn release(&self) -> Result<()> {
        fs::remove_file(&self.hangs).context("nothing hangs")
    }

    fn has(&self, vip: &str) -> Result<bool> {
        has_route(self.router.as_ref(), vip)
    }

    fn wait_route(&self, vip: &str) -> Result<()> {
        wait_route(self.lab, self.router.as_ref(), vip, true, SOON)
    }

    fn restart(&self) -> Result<String> {
        self.node.cli(&["restart", "--graceful"])
    }

    /// Asks for a restart, and returns when the daemon has begun with it.
    fn begin<'s>(&'s self, scope: &'s Scope<'s, '_>) -> Result<ScopedJoinHandle<'s, Result<String>>> {
        let restart = scope.spawn(|| self.restart());
        self.lab.until("the restart to begin", SOON, || {
            ensure!(self.node.process.log().contains("INFO restart by="), "not yet");
            Ok(())
        })?;
        Ok(restart)
    }

    fn established_for(&self) -> Result<Duration> {
        let status = self.node.status()?;
        let tor = status.peers.get("tor").context("no peer")?;
        ensure!(tor.state == SessionState::Established, "{tor:?}");
        Ok(Duration::from_millis(tor.since_ms))
    }

    /// For longer than the hold time it is the session that it was at `begin`.
    fn stays(&self, begin: Instant, duration: Duration) -> Result<()> {
        holds("the session to stay", duration, || {
            let (asked, since) = (begin.elapsed(), self.established_for()?);
            ensure!(since >= asked, "it is {since:?} old, after {asked:?}");
            ensure!(self.has(VIP)?, "the route is gone");
            Ok(())
        })
    }
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_panic| Err(anyhow!("the command panicked")))
}

fn refused(restart: Result<String>) -> Result<String> {
    let Err(error) = restart else { anyhow::bail!("it restarted") };
    Ok(format!("{error:#}"))
}

/// Meanwhile the session stays for longer than its hold time, and a reload and a drain are done.
fn tried_out(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    site.replace("check")?;
    let (begin, pid) = (Instant::now(), site.node.process.pid());
    let said = std::thread::scope(|scope| -> Result<String> {
        let first = site.begin(scope)?;
        let asked = Instant::now();
        let second = refused(site.restart())?;
        println!("the second was refused after {:?}", asked.elapsed());
        ensure!(second.contains(&format!("error: {UNDER_WAY}\n")), "{second}");
        ensure!(asked.elapsed() < Duration::from_secs(2), "it took {:?}", asked.elapsed());
        site.node.write_config(lab, &Site::config(&format!("{VIP}, {ANOTHER}")))?;
        site.node.cli(&["reload"])?;
        site.wait_route(ANOTHER)?;
        site.node.cli(&["drain", "web"])?;
        site.node.cli(&["undrain", "web"])?;
        site.stays(begin, Duration::from_secs(4))?;
        ensure!(!first.is_finished(), "the first did not wait for its program");
        site.release()?;
        while !first.is_finished() {
            for vip in [VIP, ANOTHER] {
                ensure!(site.has(vip)?, "{vip} is gone from the router\n{}", site.node.process.log());
            }
        }
        joined(first)
    })?;
    println!("{}", said.trim());
    ensure!(said.contains("1 of 1 peers established, 2 of 2 VIPs announced"), "{said}");
    ensure!(site.node.process.pid() == pid && site.node.process.is_running(), "the process keeps its id");
    // It can be done again, and the end is possible while a program is tried out.
    site.replace("version")?;
    std::thread::scope(|scope| -> Result<()> {
        let log = site.node.process.log().matches("INFO restart by=").count();
        let restart = scope.spawn(|| site.restart());
        lab.until("the other restart to begin", SOON, || {
            ensure!(site.node.process.log().matches("INFO restart by=").count() > log, "not yet");
            Ok(())
        })?;
        site.node.process.kill(Signal::SIGTERM)?;
        let status = site.node.process.wait_exit(SOON)?;
        ensure!(status.success(), "{status}: {}", site.node.process.log());
        println!("with a SIGTERM: {}", refused(joined(restart))?.lines().last().unwrap_or_default());
        Ok(())
    })?;
    ensure!(!site.has(VIP)? && !site.has(ANOTHER)?, "not withdrawn");
    Ok(())
}

/// Again and again, so that the second comes at every moment of the first.
fn at_once(lab: &Lab) -> Result<()> {
    const ROUNDS: usize = 12;
    let site = Site::new(lab)?;
    let (mut too_late, mut both) = (0, 0);
    for _ in 0..ROUNDS {
        site.node.wait_established(lab, "tor", SOON)?;
        let restarts = || site.node.process.log().matches("restarting: addresses and routes stay").count();
        let before = restarts();
        let said = std::thread::scope(|scope| {
            let commands: Vec<_> = (0..3).map(|_| scope.spawn(|| site.restart())).collect();
            while commands.iter().any(|command| !command.is_finished()) {
                ensure!(site.has(VIP)?, "{VIP} is gone from the router\n{}", site.node.process.log());
            }
            Ok(commands.into_iter().map(joined).collect::<Vec<_>>())
        })?;
        let all: Vec<String> = said
            .iter()
            .map(|said| said.as_ref().map_or_else(|error| format!("{error:#}"), Clone::clone))
            .collect();
        let (done, others): (Vec<_>, Vec<_>) = said.into_iter().partition(Result::is_ok);
        ensure!(
            !done.is_empty() && restarts() == before + done.len(),
            "{} restarts: {}",
            restarts() - before,
            all.join("\n")
        );
        both += done.len() - 1;
        for other in others {
            let other = refused(other)?;
            let gone = ["cannot reach the daemon", "no answer from the daemon", "the daemon is stopping"];
            ensure!(other.contains(UNDER_WAY) || gone.iter().any(|word| other.contains(word)), "{other}");
            too_late += usize::from(!other.contains(UNDER_WAY));
        }
    }
    println!(
        "of {} restarts that were asked for three at once, {ROUNDS} were done, {both} followed, {too_late} found nobody",
        3 * ROUNDS
    );
    Ok(())
}

/// A program that hangs for ever costs the restart, and no more.
fn never_ends(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    site.replace("version")?;
    let begin = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        let restart = site.begin(scope)?;
        site.stays(begin, Duration::from_secs(4))?;
        let refused = refused(joined(restart))?;
        println!("refused after {:?}", begin.elapsed());
        let program = format!("{}.program", site.node.config().display());
        let said = format!(
            "error: `{} version --json` does not end: killed after 5s\n",
            Path::new(&program).display()
        );
        ensure!(refused.contains(&said), "{refused}");
        Ok(())
    })?;
    site.stays(begin, Duration::from_secs(1))?;
    site.release()?;
    // The next one is a first one again.
    let said = site.restart()?;
    ensure!(said.contains("1 of 1 peers established, 1 of 1 VIPs announced"), "{said}");
    Ok(())
}
