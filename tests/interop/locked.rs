//! A kernel that does not answer netlink: the lock of its network configuration is held, so that every change or
//! listing of addresses waits in the kernel. The loop must not wait.
//!
//! The lock is that of the whole machine, and all tests that run beside this one would also wait: it runs alone, with
//! those of `soak`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast::control::api::SessionState;
use vipcast_lab::traffic::Health;
use vipcast_lab::wait::holds;
use vipcast_lab::{
    EchoServer, Host, Lab, Neighbor, Process, Router, RouterConfig, RouterKind, Signal, Subnet,
};

use crate::node::{Node, address};
use crate::{SOON, is_alone};

/// Services to which nothing happens, that die, that are drained, and that come while nothing can be bound.
const SERVICES: [(&str, &str); 4] =
    [("stays", "192.0.2.1"), ("dies", "192.0.2.2"), ("drained", "192.0.2.3"), ("comes", "192.0.2.4")];
/// A status, and a withdrawal, on a machine that does much else.
const PROMPT: Duration = Duration::from_secs(3);
/// The hold time is 3 s.
const WATCHED: Duration = Duration::from_secs(6);
/// The lock is not held for longer, whatever becomes of the test.
const LONGEST: &str = "60";

/// Takes the lock of the network configuration, says so, and lets go of it when it is told to. The kernel copies what
/// `ETHTOOL_GSTRINGS` says of itself while it has the lock, from a page that is not there: it waits for us to give it one.
const HOLDER: &str = r#"
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <linux/userfaultfd.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static char *half;

/* The command is read before the lock is taken, and what belongs to it afterwards: that page is missing. */
static void *ask(void *nothing) {
    struct ifreq request = {.ifr_name = "lo", .ifr_data = half};
    int socket_ = socket(AF_INET, SOCK_DGRAM, 0);
    ioctl(socket_, SIOCETHTOOL, &request);
    return nothing;
}

static void fail(const char *what) { perror(what); exit(1); }

int main(int count, char **arguments) {
    long page = sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    half = pages + page - sizeof(__u32);
    *(__u32 *)half = ETHTOOL_GSTRINGS;
    int faults = syscall(SYS_userfaultfd, O_CLOEXEC);
    if (faults < 0) fail("userfaultfd");
    struct uffdio_api api = {.api = UFFD_API};
    if (ioctl(faults, UFFDIO_API, &api)) fail("UFFDIO_API");
    struct uffdio_register missing = {.range = {(__u64)(pages + page), page}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    if (ioctl(faults, UFFDIO_REGISTER, &missing)) fail("UFFDIO_REGISTER");
    pthread_t thread;
    pthread_create(&thread, NULL, ask, NULL);
    struct uffd_msg fault;
    if (read(faults, &fault, sizeof fault) != sizeof fault) fail("no fault");
    puts("held");
    fflush(stdout);
    struct pollfd input = {.fd = 0, .events = POLLIN};
    poll(&input, 1, 1000 * atoi(arguments[count - 1]));
    struct uffdio_zeropage zero = {.range = {(__u64)(pages + page), page}};
    ioctl(faults, UFFDIO_ZEROPAGE, &zero);
    pthread_join(thread, NULL);
    puts("released");
    return 0;
}
"#;

pub(crate) fn trials() -> Vec<Trial> {
    if !is_alone() {
        return Vec::new();
    }
    let name = "soak::a_kernel_that_does_not_answer_netlink_ends_no_session_and_delays_no_withdrawal";
    let needs = Lab::available_with(&[RouterKind::Frr]).and_then(|()| available());
    vec![vipcast_lab::trial(name, needs, move || Lab::run(name, locked))]
}

fn available() -> Result<(), String> {
    if !Path::new("/usr/bin/cc").exists() {
        return Err("cc is missing (Debian package gcc)".to_owned());
    }
    let faults = Path::new("/proc/sys/vm/unprivileged_userfaultfd").exists();
    if faults { Ok(()) } else { Err("the kernel has no userfaultfd".to_owned()) }
}

struct Locked(Process);

impl Locked {
    fn program(host: &Host) -> Result<PathBuf> {
        let source = host.write_file("lock.c", HOLDER)?;
        let program = source.with_extension("");
        let paths = [&program, &source].map(|path| path.to_string_lossy().into_owned());
        host.run(["cc", "-o", &paths[0], &paths[1], "-lpthread"])?;
        Ok(program)
    }

    fn begin(host: &Host, program: &Path) -> Result<Self> {
        let mut command = host.command(program);
        command.arg(LONGEST);
        let holder = Self(host.spawn("lock", command)?);
        holder.wait_for("held")?;
        Ok(holder)
    }

    fn end(self) -> Result<()> {
        self.0.write_line("release")?;
        self.wait_for("released")
    }

    fn wait_for(&self, word: &str) -> Result<()> {
        vipcast_lab::wait::until(format!("the lock to be {word}"), SOON, || {
            ensure!(self.0.log().lines().any(|line| line == word), "{}", self.0.log());
            Ok(())
        })
    }
}

fn config(more: &str) -> String {
    let mut config = "local_as: 65001
router_id: 10.0.0.2
peers: {tor: {address: 10.0.1.1, peer_as: 65000, hold_time: 3s}}
checks:
  dies: {http: {url: \"http://127.0.0.1:8081/healthz\"}, interval: 100ms, fast_interval: 100ms, timeout: 100ms}
  comes: {http: {url: \"http://127.0.0.1:8082/healthz\"}, interval: 100ms, fast_interval: 100ms, timeout: 100ms}
shutdown: {drain_time: 500ms, unbind_delay: 200ms}
services:
"
    .to_owned();
    for (name, vip) in SERVICES {
        let checks = if ["dies", "comes"].contains(&name) { name } else { "" };
        config += &format!("  {name}: {{vips: [{vip}], checks: [{checks}], bind: announced}}\n");
    }
    config + more
}

struct Site<'a> {
    lab: &'a Lab,
    edge: Host,
    router: Arc<dyn Router>,
    node: Node,
}

impl Site<'_> {
    fn routed(&self) -> Result<Vec<&'static str>> {
        let routes = self.router.routes()?;
        let mut routed = Vec::new();
        for (name, vip) in SERVICES {
            if routes.contains_key(&IpNet::from(vip.parse::<IpAddr>()?)) {
                routed.push(name);
            }
        }
        Ok(routed)
    }

    fn wait_routed(&self, wanted: &[&str]) -> Result<Duration> {
        let asked = Instant::now();
        self.lab.until(format_args!("the router to have the VIPs of {wanted:?}"), SOON, || {
            let routed = self.routed()?;
            ensure!(routed == wanted, "{routed:?}; the log: {}", self.node.process.log());
            Ok(asked.elapsed())
        })
    }
}

fn locked(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    lab.link(&tor, &edge, Subnet::dual(1))?;
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1))
        .neighbor(Neighbor::new("10.0.1.2".parse::<IpAddr>()?, 65001));
    let router = lab.router(RouterKind::Frr, &tor, &router)?;
    let dies = EchoServer::start(&edge, "dies", "[::]:7".parse()?, Some("[::]:8081".parse()?))?;
    let comes = EchoServer::start(&edge, "comes", "[::]:8".parse()?, Some("[::]:8082".parse()?))?;
    comes.set_health(Health::Bad)?;
    let node = Node::start(lab, &edge, &config(""))?;
    let site = Site { lab, edge, router, node };
    site.wait_routed(&["stays", "dies", "drained"])?;
    let program = Locked::program(&site.edge)?;

    let lock = Locked::begin(&site.edge, &program)?;
    let begin = Instant::now();
    // The proof that it is locked: this one does not end before.
    let mut waits = site.edge.command("ip");
    waits.args(["link", "set", "lo", "mtu", "60000"]);
    let waits = site.edge.spawn("waits", waits)?;
    dies.set_health(Health::Bad)?;
    let withdrawn = site.wait_routed(&["stays", "drained"])?;
    site.node.cli(&["drain", "drained"])?;
    let drained = site.wait_routed(&["stays"])?;
    comes.set_health(Health::Good)?;
    site.node.write_config(lab, &config("log: {level: info}\n"))?;
    site.node.cli(&["reload"])?;
    let mut slowest = Duration::ZERO;
    holds("the session to stay for twice its hold time", WATCHED, || {
        let asked = Instant::now();
        let status = site.node.status()?;
        slowest = slowest.max(asked.elapsed());
        let tor = status.peers.get("tor").context("no peer")?;
        ensure!(tor.state == SessionState::Established, "{tor:?}");
        ensure!(Duration::from_millis(tor.since_ms) >= asked - begin, "another session: {tor:?}");
        // Nobody has seen the address of `comes` on the host.
        ensure!(site.routed()? == ["stays"], "{:?}", site.routed()?);
        Ok(())
    })?;
    // A new session needs nothing of the kernel that is not known.
    site.router.clear("10.0.1.2".parse()?)?;
    lab.until("another session", SOON, || {
        let tor = site.node.status()?.peers.remove("tor").context("no peer")?;
        ensure!(
            tor.state == SessionState::Established && Duration::from_millis(tor.since_ms) < WATCHED,
            "{tor:?}"
        );
        Ok(())
    })?;
    let returned = site.wait_routed(&["stays"])?;
    ensure!(waits.is_running(), "the kernel was not locked: {}", waits.log());
    println!(
        "locked: a dead service withdrawn after {withdrawn:?}, a drained one after {drained:?}, the slowest status {slowest:?}, \
         the route after a new session {returned:?}"
    );
    ensure!(withdrawn < PROMPT && drained < PROMPT && slowest < PROMPT, "too slow");
    lock.end()?;
    ensure!(waits.wait_exit(SOON)?.success(), "{}", waits.log());
    println!("unlocked: what could not be bound is there after {:?}", site.wait_routed(&["stays", "comes"])?);

    // The end withdraws; what cannot be unbound yet is waited for.
    let lock = Locked::begin(&site.edge, &program)?;
    site.node.process.kill(Signal::SIGTERM)?;
    let withdrawn = site.wait_routed(&[])?;
    ensure!(withdrawn < PROMPT, "it took {withdrawn:?}");
    lab.until("the addresses to be next", SOON, || {
        ensure!(site.node.process.log().contains("phase=\"unbinding\""), "{}", site.node.process.log());
        Ok(())
    })?;
    ensure!(site.node.process.is_running(), "it has ended: {}", site.node.process.log());
    lock.end()?;
    let status = site.node.process.wait_exit(SOON)?;
    ensure!(status.success(), "{status}: {}", site.node.process.log());
    for (name, vip) in SERVICES {
        ensure!(address(&site.edge, vip.parse()?)?.is_none(), "the VIP of {name} is left on the host");
    }
    println!("SIGTERM: withdrawn after {withdrawn:?}");
    Ok(())
}
