//! The control socket and reloads, with hostile clients and files: the loop goes on, sessions stay, the checks keep
//! their descriptors, memory is bounded, and a command whose caller has given up is not carried out.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use vipcast::control::api::{CheckState, SessionState};
use vipcast_lab::wait::holds;
use vipcast_lab::{Host, Lab, Neighbor, Router, RouterConfig, RouterKind, Signal, Subnet};

use crate::node::{Node, VIPCAST};
use crate::{SOON, has_route, trial, wait_route};

const VIP: &str = "192.0.2.10";
const EDGE: &str = "10.0.1.2";
/// More than twice the hold time.
const WATCHED: Duration = Duration::from_secs(8);
/// A status of a machine that does much else.
const PROMPT: Duration = Duration::from_secs(2);
/// A directory service that does not answer while a file is there: looking up a user waits.
const DIRECTORY_SERVICE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>
int getpwnam_r(const char *name, struct passwd *user, char *buffer, size_t length, struct passwd **result) {
    int (*real)(const char *, struct passwd *, char *, size_t, struct passwd **) = dlsym(RTLD_NEXT, "getpwnam_r");
    while (access(getenv("HANGS"), F_OK) == 0) usleep(10000);
    return real(name, user, buffer, length, result);
}
"#;
const CONFIG: &str = "local_as: 65001
router_id: 10.0.0.2
peers: {tor: {address: 10.0.1.1, peer_as: 65000, hold_time: 3s}}
services: {web: {vips: [192.0.2.10], checks: []}}
shutdown: {drain_time: 200ms, unbind_delay: 100ms}
";
const GET_STATUS: &str = "GET /v1/status HTTP/1.1\r\nhost: vipcast\r\n\r\n";

pub(crate) fn trials() -> Vec<Trial> {
    let frr = |name, test: fn(&Lab) -> Result<()>| trial(name, &[RouterKind::Frr], test);
    let alone = |name: &'static str, test: fn(&Lab) -> Result<()>| {
        vipcast_lab::trial(name, Lab::available(), move || Lab::run(name, test))
    };
    vec![
        frr("a_reload_that_hangs_ends_no_session_and_keeps_no_command_waiting", hanging_reload),
        frr("a_pipe_in_place_of_the_configuration_is_refused_and_ends_no_session", configuration_is_a_pipe),
        alone("a_command_that_was_given_up_while_the_daemon_stood_still_is_not_carried_out", stopped_daemon),
        alone("i4_silent_clients_take_no_descriptor_from_the_checks", idle_clients),
        alone("clients_that_do_not_read_take_no_memory", slow_readers),
    ]
}

/// A router, and a node with a session of three seconds' hold time.
struct Site<'a> {
    lab: &'a Lab,
    edge: Host,
    router: Arc<dyn Router>,
}

impl<'a> Site<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
        lab.link(&tor, &edge, Subnet::dual(1))?;
        let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1))
            .neighbor(Neighbor::new(EDGE.parse::<IpAddr>()?, 65001).both_families());
        let router = lab.router(RouterKind::Frr, &tor, &router)?;
        Ok(Self { lab, edge, router })
    }

    fn has_route(&self) -> Result<bool> {
        has_route(self.router.as_ref(), VIP)
    }

    fn wait_route(&self, wanted: bool) -> Result<()> {
        wait_route(self.lab, self.router.as_ref(), VIP, wanted, SOON)
    }

    /// For longer than the hold time the router has the route of the same session, and commands are answered.
    fn stays(&self, node: &Node) -> Result<()> {
        let begin = Instant::now();
        holds("the session to stay and commands to be answered", WATCHED, || {
            let asked = Instant::now();
            let status = node.status()?;
            ensure!(asked.elapsed() < PROMPT, "status took {:?}", asked.elapsed());
            let tor = status.peers.get("tor").context("no peer")?;
            ensure!(tor.state == SessionState::Established, "{tor:?}");
            ensure!(Duration::from_millis(tor.since_ms) >= begin.elapsed(), "another session: {tor:?}");
            ensure!(self.has_route()?, "the route is gone");
            Ok(())
        })
    }
}

fn hanging_reload(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    let source = site.edge.write_file("directory.c", DIRECTORY_SERVICE)?;
    let (library, hangs) = (source.with_extension("so"), source.with_extension("hangs"));
    let paths = [&library, &source].map(|path| path.to_string_lossy().into_owned());
    site.edge.run(["cc", "-shared", "-fPIC", "-o", &paths[0], &paths[1]])?;
    // The wrapper lives as long as the tests.
    let preload: &str = format!("LD_PRELOAD={}", library.display()).leak();
    let trigger: &str = format!("HANGS={}", hangs.display()).leak();
    let config =
        CONFIG.replace("checks: []}}", "checks: []}, other: {vips: [192.0.2.11], checks: [program]}}");
    let config = config + "checks: {program: {exec: {shell: \"true\", user: nobody}}}\n";
    let node = Node::start_by(vec!["env", preload, trigger].leak(), lab, &site.edge, &config)?;
    site.wait_route(true)?;
    node.cli(&["reload"])?;
    fs::write(&hangs, "")?;
    node.hang_up()?;
    site.stays(&node)?;
    let mut command = site.edge.command(VIPCAST.as_str());
    command.arg("reload").arg("--socket").arg(node.socket());
    let reload = site.edge.spawn("reload", command)?;
    // While this one waits, everything else is done.
    node.cli(&["drain", "web"])?;
    site.wait_route(false)?;
    node.cli(&["undrain", "web"])?;
    site.wait_route(true)?;
    ensure!(!reload.wait_exit(SOON)?.success(), "{}", reload.log());
    let refused = "error: cannot read the user nobody: no answer after 10s\n";
    ensure!(reload.log().starts_with(refused), "{}", reload.log());
    fs::remove_file(&hangs)?;
    lab.until("a reload to be possible again", SOON, || node.cli(&["reload"]))?;
    fs::write(&hangs, "")?;
    node.hang_up()?;
    node.process.kill(Signal::SIGTERM)?;
    let ended = node.process.wait_exit(SOON)?;
    ensure!(ended.success(), "{ended}");
    site.wait_route(false)?;
    let log = node.process.log();
    let refused =
        "not reloaded, the running configuration stays: cannot read the user nobody: no answer after 10s";
    ensure!(log.contains(refused), "{log}");
    Ok(())
}

fn configuration_is_a_pipe(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    let node = Node::start(lab, &site.edge, CONFIG)?;
    site.wait_route(true)?;
    let file = node.config().to_owned();
    let drop_ins = file.with_file_name("services.d");
    fs::create_dir_all(&drop_ins)?;
    let pipe = drop_ins.join("x.yaml");
    for path in [&pipe, &file] {
        if path == &file {
            fs::remove_file(&pipe)?;
            fs::remove_file(&file)?;
        }
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU)?;
        node.hang_up()?;
        let refused = node.cli(&["reload"]).expect_err("it is a pipe");
        let refused = format!("{refused:#}");
        let said = format!("cannot read `{}`: it is a pipe, not a file", path.display());
        ensure!(refused.contains(&said), "{refused}");
    }
    site.stays(&node)?;
    fs::remove_file(&file)?;
    node.write_config(lab, CONFIG)?;
    node.cli(&["reload"])?;
    Ok(())
}

fn stopped_daemon(lab: &Lab) -> Result<()> {
    let edge = lab.host("edge")?;
    let node = Node::start(lab, &edge, CONFIG)?;
    lab.until("the daemon to answer", SOON, || node.status())?;
    node.process.kill(Signal::SIGSTOP)?;
    let asked = Instant::now();
    let silent = node.cli(&["drain", "web", "--timeout", "1s"]).expect_err("it stands still");
    let silent = format!("{silent:#}");
    let said = format!("vipcast does not answer on {}: no answer within 1s", node.socket().display());
    ensure!(silent.contains(&said), "{silent}");
    ensure!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    node.process.kill(Signal::SIGCONT)?;
    // What was sent before is looked at before.
    let drain = node.explain(VIP.parse()?)?.drain;
    ensure!(drain.is_none(), "{drain:?}");
    node.cli(&["drain", "web"])?;
    ensure!(node.explain(VIP.parse()?)?.drain.is_some(), "a command that somebody waits for is carried out");
    Ok(())
}

/// As many connections as a host may have files, and their clients say nothing.
fn idle_clients(lab: &Lab) -> Result<()> {
    const CLIENTS: usize = 1100;
    /// 64 connections, 16 that are refused, and what the daemon itself needs.
    const DESCRIPTORS: usize = 140;
    let edge = lab.host("edge")?;
    let config = CONFIG.replace(
        "checks: []}}",
        "checks: [program]}}\nchecks: {program: {exec: {shell: \"true\"}, interval: 500ms, timeout: 500ms, fall: 2}}",
    );
    let node = Node::start_by(&["prlimit", "--nofile=1024:1024"], lab, &edge, &config)?;
    let is_up = || -> Result<()> {
        let asked = Instant::now();
        let status = node.status()?;
        ensure!(asked.elapsed() < PROMPT, "status took {:?}", asked.elapsed());
        let check = status.checks.get("program").context("no check")?;
        ensure!(check.state == CheckState::Up, "{check:?}");
        Ok(())
    };
    lab.until("the check to be up", SOON, is_up)?;
    let mut clients = Vec::new();
    let mut most = 0;
    for _ in 0..CLIENTS {
        clients.push(UnixStream::connect(node.socket()).context("cannot connect")?);
        most = most.max(node.process.descriptors()?);
    }
    holds("the check to stay up", Duration::from_secs(5), || {
        most = most.max(node.process.descriptors()?);
        is_up()
    })?;
    println!("{CLIENTS} silent clients: {most} descriptors at most");
    ensure!(most <= DESCRIPTORS, "{most} descriptors");
    let log = node.process.log();
    ensure!(!log.contains("cannot accept a control connection"), "{log}");
    Ok(())
}

/// 400 clients that ask again and again for a large status, and read nothing.
fn slow_readers(lab: &Lab) -> Result<()> {
    const CLIENTS: usize = 400;
    const VIPS: u32 = 1000;
    /// In KiB: the answers that nobody reads, one that is made, and what an allocator keeps.
    const GROWTH: u64 = 40 << 10;
    let edge = lab.host("edge")?;
    let vips: Vec<String> =
        (0..VIPS).map(|n| Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + n).to_string()).collect();
    let node = Node::start(lab, &edge, &CONFIG.replace(VIP, &vips.join(", ")))?;
    lab.until("every VIP to be bound", SOON, || {
        let bound = node.status()?.vips.iter().filter(|vip| vip.bound).count();
        ensure!(bound == vips.len(), "{bound}");
        Ok(())
    })?;
    let before = node.process.memory()?.resident;
    let (mut clients, mut most) = (Vec::new(), 0);
    for _ in 0..CLIENTS {
        let mut client = UnixStream::connect(node.socket()).context("cannot connect")?;
        client.set_nonblocking(true)?;
        // It may have been closed for another already.
        drop(client.write_all(GET_STATUS.repeat(20).as_bytes()));
        clients.push(client);
        most = most.max(node.process.memory()?.resident);
    }
    holds("the status to be answered", Duration::from_secs(5), || {
        most = most.max(node.process.memory()?.resident);
        let asked = Instant::now();
        ensure!(node.status()?.vips.len() == vips.len(), "not all VIPs");
        ensure!(asked.elapsed() < PROMPT, "status took {:?}", asked.elapsed());
        Ok(())
    })?;
    println!("{CLIENTS} clients that do not read: {before} KiB, {most} KiB at most");
    ensure!(most <= before + GROWTH, "from {before} to {most} KiB");
    Ok(())
}
