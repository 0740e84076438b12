//! The daemon against real routers, in a rack of network namespaces with real client traffic.
//!
//! | file | contents |
//! | --- | --- |
//! | `sessions` | every kind of router: dialling by either side, collision, attributes, fail-over, restart, goodbye |
//! | `capabilities` | optional abilities: next hops, iBGP, AS numbers, refresh, link bandwidth |
//! | `graceful` | graceful restart: no packet is lost, and no wrong route is kept |
//! | `successor` | a graceful restart with a slow program, or requested twice |
//! | `upgrade` | `vipcast upgrade`, which nobody sees: no session, no UPDATE, no datagram, and who asks meanwhile |
//! | `kept` | stopped while a router keeps the routes of a session that is gone |
//! | `addresses` | link-local sessions, addresses that vanish, next hops that change |
//! | `routes` | VIPs and prefixes that are bound as local routes |
//! | `boot` | a start before the needed addresses, routes and ports exist |
//! | `renamed` | peers that get another name, or settings that do not affect the session |
//! | `observe` | a node that only observes, beside one that announces |
//! | `exporters` | another routing daemon on the same host |
//! | `unnumbered` | routers that are known by their link |
//! | `next_hops` | the choice of next hops, among 20,000 addresses that are none |
//! | `rack` | two nodes behind one router: ECMP, and a client's losses when a service dies |
//! | `announced` | addresses that are bound only while they are announced |
//! | `demoted` | an active node and a standby, and a slow node: the node with the traffic, and the time of a move |
//! | `kernel` | addresses and interfaces that other programs change: only the kernel's reports are facts |
//! | `flushes` | addresses that are flushed at random: how long a VIP is announced without its address |
//! | `drain_all` | thousands of services drained at once: the time, the memory, the session |
//! | `cordon` | drains from outside: the drain file, the exit codes for scripts, a playbook |
//! | `delivery` | delivery of our routes, a path that loses full segments, BGP roles |
//! | `invariants` | I1 to I10, where they need a kernel and a router |
//! | `transport` | passwords, TTL security, multihop, interfaces, and the messages when they are wrong |
//! | `hostile` | hostile peers and strangers, and their effect on others |
//! | `flood` | thousands of connections a second to the BGP port and the control socket |
//! | `load` | a million routes from one peer, and their effect on others |
//! | `scale` | a thousand services, each with its own check every second |
//! | `overrides` | a router in maintenance, services forced up and down, and a restart between |
//! | `tour` | an operator's day: what each command sends, and the story that the events tell |
//! | `paths` | other nodes that announce a VIP |
//! | `package` | the Debian package under a real systemd, and the effect of each step on the traffic |
//! | `bfd` | the BFD driver of the bgp crate against routers with BFD, and changes of links and addresses |
//! | `detection` | BFD beside BGP: a dead host, a dead router, and the daemon's reaction |
//! | `control` | reloads that hang, a daemon that stands still, clients that neither speak nor read |
//! | `missing` | a silent resolver, users and keys that are missing at the start |
//! | `doctor` | `vipcast doctor`: each fault that a network namespace can have, and a healthy node |
//! | `disk` | a state directory that hangs |
//! | `hooks` | hooks and the file of events, with a program that hangs and a disk that is full |
//! | `descriptors` | more checks than descriptors, half of which hang |
//! | `health` | from the death of a service to the last lost packet, with told and polled checks |
//! | `blocking` | the system calls of the loop, by strace: none of them waits |
//! | `log` | a log without a reader, or that cannot be written |
//! | `signals` | signals that stop, reload or change nothing, and none that is lost at a bad moment |
//! | `clients` | a thousand clients of the control socket, and the delay that they cause |
//! | `watchers` | scrapes, streams of events and rude readers over TCP, and the delay that they cause |
//! | `soak` | BFD on an overloaded host, for VIPCAST_SOAK seconds |
//! | `locked` | a kernel that does not answer netlink; alone, with `soak` |
//! | `unit` | the systemd unit: refused reloads, and automatic restarts |
//! | `node` | a vipcast daemon on a lab host |
//!
//! Without root, or without a router's package, the tests that need it are counted as ignored and named.
#![expect(clippy::print_stdout, reason = "measurements")]

mod addresses;
mod announced;
mod bfd;
mod blocking;
mod boot;
mod capabilities;
mod clients;
mod control;
mod cordon;
mod delivery;
mod demoted;
mod descriptors;
mod detection;
mod disk;
mod doctor;
mod drain_all;
mod exporters;
mod flood;
mod flushes;
mod graceful;
mod health;
mod hooks;
mod hostile;
mod invariants;
mod kept;
mod kernel;
mod load;
mod locked;
mod log;
mod missing;
mod next_hops;
mod node;
mod observe;
mod overrides;
mod package;
mod paths;
mod rack;
mod renamed;
mod routes;
mod scale;
mod sessions;
mod signals;
mod soak;
mod start;
mod successor;
mod tour;
mod transport;
mod unit;
mod unnumbered;
mod upgrade;
mod watchers;

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use ipnet::IpNet;
use libtest_mimic::{Arguments, Trial};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use vipcast_lab::{Lab, Router, RouterKind};

/// More than anything here takes, on a busy machine too.
pub(crate) const SOON: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    raise_descriptors();
    let groups = [
        sessions::trials(),
        addresses::trials(),
        routes::trials(),
        next_hops::trials(),
        boot::trials(),
        start::trials(),
        unnumbered::trials(),
        renamed::trials(),
        exporters::trials(),
        observe::trials(),
        capabilities::trials(),
        graceful::trials(),
        kept::trials(),
        successor::trials(),
        upgrade::trials(),
        rack::trials(),
        delivery::trials(),
        demoted::trials(),
        announced::trials(),
        invariants::trials(),
        flushes::trials(),
        drain_all::trials(),
        cordon::trials(),
        overrides::trials(),
        tour::trials(),
        kernel::trials(),
        transport::trials(),
        paths::trials(),
        package::trials(),
        unit::trials(),
        load::trials(),
        scale::trials(),
        bfd::trials(),
        detection::trials(),
        descriptors::trials(),
        control::trials(),
        clients::trials(),
        watchers::trials(),
        disk::trials(),
        doctor::trials(),
        health::trials(),
        hooks::trials(),
        hostile::trials(),
        flood::trials(),
        log::trials(),
        signals::trials(),
        missing::trials(),
        blocking::trials(),
        soak::trials(),
        locked::trials(),
    ];
    libtest_mimic::run(&arguments, groups.into_iter().flatten().collect()).exit_code()
}

/// Some tests have more connections than the usual limit allows. Where it cannot be raised, they say so.
fn raise_descriptors() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok();
    }
}

/// Whether the tests run one after the other, with nothing beside them: what is promised in milliseconds is held to then.
pub(crate) fn is_alone() -> bool {
    std::env::var_os(soak::VARIABLE).is_some()
}

/// The name of a test that runs both ways: side by side with others it shows that it holds, by itself how well.
pub(crate) fn measured(name: &str) -> String {
    if is_alone() { format!("soak::{name}") } else { name.to_owned() }
}

/// Whether a router has a route to a VIP.
pub(crate) fn has_route(router: &dyn Router, vip: &str) -> Result<bool> {
    Ok(router.routes()?.contains_key(&IpNet::from(vip.parse::<IpAddr>()?)))
}

/// Waits until a router has a route to a VIP, or none.
pub(crate) fn wait_route(
    lab: &Lab,
    router: &dyn Router,
    vip: &str,
    wanted: bool,
    timeout: Duration,
) -> Result<()> {
    lab.until(format_args!("the router to have {vip}: {wanted}"), timeout, || {
        let has = has_route(router, vip)?;
        ensure!(has == wanted, "{has}");
        Ok(())
    })
}

/// A test in a lab of its own that needs these routers.
pub(crate) fn trial(
    name: &str,
    kinds: &[RouterKind],
    test: impl FnOnce(&Lab) -> Result<()> + Send + 'static,
) -> Trial {
    let lab = name.to_owned();
    vipcast_lab::trial(name, Lab::available_with(kinds), move || Lab::run(&lab, test))
}
