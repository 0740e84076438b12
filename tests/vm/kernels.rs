//! The program on other kernels, with busybox and nothing else: the demo, and the VIPs of a daemon that was killed.

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::initrd::{self, Contents};
use crate::machine::{Machine, tail};
use crate::supplies::{self, Supplies};

/// Suites of Debian with the versions of their kernels. IFA_PROTO, the mark of our addresses, came with 5.18.
const SUITES: [(&str, &str); 3] = [("bullseye", "5.10."), ("bookworm", "6.1."), ("trixie", "6.12.")];

/// The first process: tells a line for each step, and switches off.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
echo "kernel: $(uname -r)"

# Its checks have 50 ms, which an emulated processor on a busy machine does not always have.
for round in 1 2 3; do
    vipcast demo
    status=$?
    [ $status -eq 0 ] && break
done
echo "demo: $status"

# A daemon is killed; the next one has another VIP, and removes the first.
ip link set lo up
config() {
    echo "{local_as: 65001, router_id: 10.0.0.1, peers: {tor: {address: 127.0.0.9, peer_as: 65000}},
        services: {web: {vips: [$1], checks: []}}}" >/run/vipcast.yaml
}
bound() { ip address show lo | grep -q "inet $1/32"; }
wait_for() {
    for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
        "$@" && return
        sleep 1
    done
    echo "waited in vain: $*"
    ip address show lo
    cat /run/log
    return 1
}
gone() { ! bound "$1"; }
config 192.0.2.1
vipcast run --config /run/vipcast.yaml >/run/log 2>&1 &
wait_for bound 192.0.2.1 && echo "first: bound"
kill -9 $!
wait $!
bound 192.0.2.1 && echo "killed: left behind"
config 192.0.2.2
vipcast run --config /run/vipcast.yaml >/run/log 2>&1 &
wait_for bound 192.0.2.2 && wait_for gone 192.0.2.1 && echo "second: adopted and removed"
kill $!
wait $!
echo "end: $?"
poweroff -f
"#;

/// What it must have told.
const STORY: [&str; 5] =
    ["demo: 0", "first: bound", "killed: left behind", "second: adopted and removed", "end: 0"];

pub(crate) fn trials(needs: &Result<(), String>, supplies: &Arc<Supplies>) -> Vec<Trial> {
    let trial = |(suite, version): (&'static str, &'static str)| {
        let name = format!("kernels::{version}x_runs_the_demo_and_removes_what_a_killed_daemon_left");
        let supplies = Arc::clone(supplies);
        let needs = needs.clone().and_then(|()| supplies::has(suite));
        vipcast_lab::trial(&name, needs, move || boots(&supplies, suite, version))
    };
    SUITES.into_iter().map(trial).collect()
}

fn boots(supplies: &Supplies, suite: &str, version: &str) -> Result<()> {
    let kernel = supplies.kernel(suite)?;
    let directory = supplies.directory().join(suite);
    fs::create_dir_all(&directory).context("cannot make a directory for a machine")?;
    let program = directory.join("vipcast");
    fs::copy(supplies::program(), &program).context("cannot copy the program")?;
    let initrd = initrd::make(
        &directory,
        &kernel,
        &Contents { programs: &[program], init: INIT, ..Contents::default() },
    )?;
    let began = Instant::now();
    let mut machine = Machine::start(None, &directory, &kernel, &initrd, &[])?;
    machine.wait_off()?;
    let console = machine.console();
    println!("{console}\n{suite}: {:?}", began.elapsed());
    // The firmware writes on the first line as well.
    ensure!(console.contains(&format!("kernel: {version}")), "another kernel: {}", tail(&console));
    let lines: Vec<&str> = console.lines().map(str::trim).collect();
    for told in STORY {
        ensure!(lines.contains(&told), "it does not say {told:?}: {}", tail(&console));
    }
    Ok(())
}
