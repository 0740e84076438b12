//! Nothing is left: after a drop, after a panic, after the death of the test; and labs do not disturb each other.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use vipcast_lab::{Lab, Process, RouterConfig, RouterKind, Subnet, remains, wait};

use crate::{SOON, trial};

/// Says to the test binary that it is to found a lab and wait to be killed.
const VICTIM: &str = "VIPCAST_LAB_VICTIM";

pub(crate) fn trials() -> Vec<Trial> {
    let frr = &[RouterKind::Frr];
    vec![
        trial("nothing_is_left_after_a_drop", frr, after_drop),
        trial("nothing_is_left_after_a_panic", frr, after_panic),
        trial("nothing_is_left_after_the_test_was_killed", &[], after_kill),
        trial("two_labs_with_the_same_names_do_not_meet", &[], two_labs),
        trial("a_process_that_outlives_its_lab_is_dead", &[], process_outlives_lab),
    ]
}

/// What a lab consists of, seen from outside.
struct Traces {
    prefix: String,
    directory: PathBuf,
    pids: Vec<i32>,
}

impl Traces {
    fn of(lab: &Lab) -> Result<Self> {
        let mut pids = Vec::new();
        for host in lab.hosts() {
            pids.extend(host.pids()?);
        }
        ensure!(pids.len() >= 3, "zebra, bgpd and sleep should run: {pids:?}");
        Ok(Self { prefix: lab.prefix().to_owned(), directory: lab.directory().to_owned(), pids })
    }

    fn check_gone(&self) -> Result<()> {
        let namespaces = remains::namespaces(&self.prefix)?;
        ensure!(namespaces.is_empty(), "namespaces are left: {namespaces:?}");
        ensure!(!self.directory.exists(), "{} is left", self.directory.display());
        let alive: Vec<_> = self.pids.iter().filter(|pid| is_alive(**pid)).collect();
        ensure!(alive.is_empty(), "processes are left: {alive:?}");
        let output = Command::new("ip").args(["-brief", "link"]).output()?;
        let links = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(!links.lines().any(|line| line.starts_with("to-")), "interfaces are left: {links}");
        Ok(())
    }
}

/// A zombie has been killed and waits for its parent.
fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Two hosts, a link, a router, and a process which has left its group and session.
fn furnish(lab: &Lab) -> Result<Process> {
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    lab.link(&a, &b, Subnet::dual(1))?;
    lab.router(RouterKind::Frr, &a, &RouterConfig::new(65000, Ipv4Addr::new(10, 0, 1, 1)))?;
    let mut command = b.command("setsid");
    command.args(["--fork", "sleep", "1000"]);
    let process = b.spawn("runaway", command)?;
    process.wait_exit(SOON)?;
    wait::until("the runaway sleep", SOON, || {
        ensure!(b.pids()?.len() == 1, "{:?}", b.pids());
        Ok(())
    })?;
    Ok(process)
}

fn after_drop(name: &str) -> Result<()> {
    let lab = Lab::new(name)?;
    let _process = furnish(&lab)?;
    let traces = Traces::of(&lab)?;
    let dump = lab.dump();
    for part in ["=== frr on a ===", "=== host b", "router bgp 65000", "a-zebra.log", "--- ss -tnp -a"] {
        ensure!(dump.contains(part), "no {part:?} in the dump:\n{dump}");
    }
    drop(lab);
    traces.check_gone()
}

fn after_panic(name: &str) -> Result<()> {
    let mut traces = None;
    eprintln!("the panic and the dump of the lab that follow belong to a test of them");
    let panicked = catch_unwind(AssertUnwindSafe(|| -> Result<()> {
        let lab = Lab::new(name)?;
        let _process = furnish(&lab)?;
        traces = Some(Traces::of(&lab)?);
        panic!("on purpose");
    }));
    ensure!(panicked.is_err(), "it failed before the panic: {panicked:?}");
    traces.context("the panic came too early")?.check_gone()
}

/// The test binary runs itself, kills that process as hard as it can, and looks what is left.
fn after_kill(_: &str) -> Result<()> {
    let mut victim = Command::new(std::env::current_exe()?)
        .env(VICTIM, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run this test again")?;
    let mut prefix = String::new();
    let mut output = std::io::BufReader::new(victim.stdout.take().context("no output")?);
    std::io::BufRead::read_line(&mut output, &mut prefix)?;
    let prefix = prefix.trim();
    let before = remains::namespaces(prefix)?;
    victim.kill()?;
    victim.wait()?;
    ensure!(before == [format!("{prefix}-a")], "the victim had founded nothing: {before:?}");
    wait::until("the undertaker", SOON, || {
        let namespaces = remains::namespaces(prefix)?;
        ensure!(namespaces.is_empty(), "namespaces are left: {namespaces:?}");
        let directory = PathBuf::from("/tmp/vipcast-lab").join(prefix);
        ensure!(!directory.exists(), "{} is left", directory.display());
        Ok(())
    })
}

/// Whether this process is the one to be killed; it never returns then.
pub(crate) fn be_the_victim() -> Result<()> {
    if std::env::var_os(VICTIM).is_none() {
        return Ok(());
    }
    let lab = Lab::new("victim")?;
    let host = lab.host("a")?;
    let mut command = host.command("sleep");
    command.arg("1000");
    let sleeper = host.spawn("sleeper", command)?;
    println!("{}", lab.prefix());
    sleeper.wait_exit(std::time::Duration::from_secs(600)).map(drop)
}

fn two_labs(name: &str) -> Result<()> {
    let (one, two) = (Lab::new(name)?, Lab::new(name)?);
    let mut namespaces = BTreeSet::new();
    for lab in [&one, &two] {
        let (a, b) = (lab.host("a")?, lab.host("b")?);
        lab.link(&a, &b, Subnet::dual(1))?;
        namespaces.extend([a.namespace().to_owned(), b.namespace().to_owned()]);
        ensure!(lab.host("a").is_err(), "two hosts of one name in one lab");
    }
    ensure!(namespaces.len() == 4, "{namespaces:?}");
    drop(one);
    two.hosts()[0].reaches("10.0.1.2".parse()?)
}

fn process_outlives_lab(name: &str) -> Result<()> {
    let lab = Lab::new(name)?;
    let host = lab.host("a")?;
    let mut command = host.command("sleep");
    command.arg("1000");
    let process = host.spawn("sleeper", command)?;
    drop(lab);
    process.wait_exit(SOON)?;
    Ok(())
}
