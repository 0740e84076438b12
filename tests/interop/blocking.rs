//! The loop makes no call that waits for files, names, users or the log: `strace` lists the system calls of its thread
//! during every command, a reload, a drain and faults, with hooks and the file of events, and the test compares them with a
//! table.
//!
//! `VIPCAST_RELEASE` names another build of the program; `tests/run` names the release build.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use vipcast::control::api::SessionState;
use vipcast_lab::traffic::Health;
use vipcast_lab::{
    EchoServer, Host, Lab, Neighbor, Router, RouterConfig, RouterKind, Signal, Subnet, Toggle,
};

use crate::node::Node;
use crate::{SOON, trial, wait_route};

const A: &str = "192.0.2.10";
const B: &str = "192.0.2.20";

pub(crate) fn trials() -> Vec<Trial> {
    let name = "frr::the_loop_makes_no_call_that_waits_for_files_names_users_or_the_log";
    vec![trial(name, &[RouterKind::Frr], traced)]
}

/// What the thread of the loop may call, and why it does not wait there.
const ALLOWED: &[(&str, &str)] = &[
    (
        "epoll_wait epoll_pwait epoll_pwait2 epoll_ctl epoll_create1",
        "this is where the loop waits, for whatever comes first",
    ),
    ("eventfd2 timerfd_create timerfd_settime", "descriptors of the kernel alone"),
    ("socket bind listen connect accept4 getsockname getpeername setsockopt getsockopt shutdown", "sockets"),
    ("sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg", "sockets"),
    (
        "read readv write writev close fcntl ioctl dup",
        "only on descriptors that do not wait; see `descriptors`",
    ),
    ("futex", "wakes other threads; a wait is bounded by LONGEST"),
    ("mmap munmap mremap mprotect madvise brk", "memory"),
    (
        "clock_gettime gettimeofday getrandom sched_yield gettid getpid tgkill",
        "answered by the kernel at once",
    ),
    (
        "clone clone3 rt_sigprocmask rt_sigreturn restart_syscall set_robust_list rseq",
        "starts a thread for what may wait",
    ),
];

/// What may be read, written and closed besides: descriptors that do not lead to a file.
const DESCRIPTORS: &[&str] = &["socket:[", "anon_inode:", "pipe:["];
/// Counters in the memory of the kernel, which no disk is asked for.
const COUNTERS: &[&str] = &["/proc/self/net/netstat\"", "/net/netstat>"];
/// A call other than the wait of the loop that takes longer has waited; `strace` itself and a busy machine take some.
const LONGEST: f64 = 0.5;

const TRACED: &[&str] = &[
    "sh",
    "-c",
    "exec strace -D -f -y -T -qq -o \"$4.trace\" \"${VIPCAST_RELEASE:-$1}\" \"$2\" \"$3\" \"$4\"",
    "sh",
];

fn config(tor: IpAddr) -> String {
    format!(
        "local_as: 65001
router_id: 10.0.0.2
peers:
  tor: {{address: {tor}, peer_as: 65000}}
checks:
  a: {{http: {{url: \"http://127.0.0.1:8081/healthz\"}}, interval: 1s, fast_interval: 100ms, timeout: 1s}}
  b: {{exec: {{command: [/bin/true]}}, interval: 1s, fast_interval: 200ms, timeout: 1s}}
  named: {{tcp: \"localhost:8081\", interval: 1s, fast_interval: 200ms, timeout: 1s}}
services:
  a: {{vips: [{A}], checks: [a]}}
  b: {{vips: [{B}], checks: [b, named]}}
events: {{file: true}}
hooks:
  program: {{command: [/bin/cat], user: root}}
  hangs: {{shell: \"sleep 1000\", timeout: 10m}}
  nobody: {{url: \"http://localhost:9/\", retry_for: 1s}}
shutdown: {{drain_time: 300ms, unbind_delay: 200ms}}
"
    )
}

fn traced(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::dual(1))?;
    let neighbor = Neighbor::new(link.v4(&edge)?, 65001);
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(neighbor);
    let router: Arc<dyn Router> = lab.router(RouterKind::Frr, &tor, &router)?;
    let service = EchoServer::start(&edge, "a", "[::]:7".parse()?, Some("[::]:8081".parse()?))?;
    let config = config(link.v4(&tor)?);
    let node = Node::start_by(TRACED, lab, &edge, &config)?;
    let wait_route = |vip: &str, wanted: bool| wait_route(lab, router.as_ref(), vip, wanted, SOON);
    wait_route(A, true)?;
    wait_route(B, true)?;
    let trace = lab.directory().join(format!("{}-vipcast.yaml.trace", edge.name()));
    let lines =
        || -> Result<usize> { Ok(std::fs::read_to_string(&trace).context("no trace")?.lines().count()) };
    let began = lines()?;
    everything(lab, &node, &edge, &service, &config, &wait_route)?;
    let ended = lines()?;
    node.process.kill(Signal::SIGTERM)?;
    node.process.wait_exit(SOON)?;
    judge(&std::fs::read_to_string(&trace)?, node.process.pid(), began..ended)
}

fn everything(
    lab: &Lab,
    node: &Node,
    edge: &Host,
    service: &EchoServer,
    config: &str,
    wait_route: &dyn Fn(&str, bool) -> Result<()>,
) -> Result<()> {
    for command in
        [&["status"][..], &["explain", A], &["reload"], &["drain", "a", "--for", "1h", "--reason", "test"]]
    {
        node.cli(command)?;
    }
    wait_route(A, false)?;
    node.cli(&["undrain", "a"])?;
    wait_route(A, true)?;
    node.cli(&["drain", "--all"])?;
    wait_route(B, false)?;
    node.cli(&["undrain", "--all"])?;
    wait_route(B, true)?;
    // It has nothing to take over, and a router without graceful restart refuses the other.
    drop((node.cli(&["promote", "a"]), node.cli(&["restart", "--graceful"])));
    service.set_health(Health::Bad)?;
    wait_route(A, false)?;
    service.set_health(Health::Good)?;
    wait_route(A, true)?;
    edge.remove_address("lo", format!("{A}/32").parse()?)?;
    node.wait_verdict(lab, A.parse()?, "announced", SOON)?;
    node.write_config(lab, &format!("{config}nonsense: 1\n"))?;
    node.hang_up()?;
    node.write_config(
        lab,
        &config.replace("fast_interval: 200ms", "fast_interval: 300ms").replace(B, "192.0.2.30"),
    )?;
    node.cli(&["reload"])?;
    wait_route("192.0.2.30", true)?;
    let interface = "to-tor";
    edge.set_link(interface, Toggle::Down)?;
    lab.until("the session to end", SOON, || {
        let state = &node.status()?.peers["tor"].state;
        ensure!(*state != SessionState::Established, "{state}");
        Ok(())
    })?;
    edge.set_link(interface, Toggle::Up)?;
    wait_route(A, true)?;
    vipcast_lab::wait::holds("some time to pass", Duration::from_secs(2), || Ok(()))
}

/// Every call of the thread `main` in these lines of the trace.
fn judge(trace: &str, main: u32, lines: std::ops::Range<usize>) -> Result<()> {
    let (main, mut calls, mut wrong) = (main.to_string(), 0, Vec::new());
    for line in trace.lines().skip(lines.start).take(lines.len()) {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if thread != main || call.starts_with("---") || call.starts_with("+++") {
            continue;
        }
        calls += 1;
        if !may_be_called(call) {
            wrong.push(line.to_owned());
        }
    }
    ensure!(calls > 500, "only {calls} calls of the loop were seen; is the thread {main}?");
    ensure!(wrong.is_empty(), "{} of {calls} calls of the loop may wait:\n{}", wrong.len(), wrong.join("\n"));
    println!("{calls} calls of the loop, and none that waits");
    Ok(())
}

/// One call, as strace writes it: `read(9<socket:[1234]>, …) = 5 <0.000012>`, or cut in two where another thread came
/// between: `… <unfinished ...>` and `<... read resumed>… <0.000012>`.
fn may_be_called(call: &str) -> bool {
    let (begins, name) = match call.strip_prefix("<... ") {
        Some(rest) => (false, rest.split(' ').next().unwrap_or_default()),
        None => (true, call.split('(').next().unwrap_or_default()),
    };
    let took = call.rsplit_once('<').and_then(|(_, took)| took.strip_suffix('>')?.parse::<f64>().ok());
    if !name.starts_with("epoll_") && took.is_some_and(|took| took > LONGEST) {
        return false;
    }
    // What it is about was looked at when it began.
    if !begins {
        return true;
    }
    if COUNTERS.iter().any(|path| call.contains(path)) {
        return ["openat", "statx", "read", "close", "fcntl"].contains(&name);
    }
    match name {
        "ppoll" | "poll" => call.contains("{tv_sec=0, tv_nsec=0}") || call.contains(", 0) ="),
        "read" | "readv" | "write" | "writev" | "fcntl" | "ioctl" | "dup" | "close" => {
            let descriptor = call.split_once('<').map_or("", |(_, rest)| rest);
            DESCRIPTORS.iter().any(|kind| descriptor.starts_with(kind))
        }
        name => ALLOWED.iter().any(|(names, _)| names.split(' ').any(|allowed| allowed == name)),
    }
}
