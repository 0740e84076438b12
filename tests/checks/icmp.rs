//! `icmp` against the kernel.
//!
//! ```text
//!   node ──10.0.1.0/24── router ──10.0.2.0/24── far
//!    vipcast               what it does with 10.7.0.0/16, 10.8.0.0/16 …
//! ```

use std::process::Command;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use vipcast_lab::{Host, Lab, trial};

use crate::server::{Probed, ask_with, expect_with, needs, vipcast};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("icmp_over_a_router", Lab::available(), over_a_router),
        trial("icmp_with_packets_lost", Lab::available(), with_packets_lost),
        trial("icmp_without_privileges", Lab::available().and(needs("setpriv")), without_privileges),
    ]
}

/// The node, the router and the far host of a lab where both reach everything over the router.
fn hosts(lab: &Lab) -> Result<(Host, Host, Host)> {
    let (node, router, far) = (lab.host("node")?, lab.host("router")?, lab.host("far")?);
    lab.link_addresses((&router, &prefixes(1, 1)?), (&node, &prefixes(1, 2)?))?;
    lab.link_addresses((&router, &prefixes(2, 1)?), (&far, &prefixes(2, 2)?))?;
    for (host, number) in [(&node, 1), (&far, 2)] {
        host.route(&["10.0.0.0/8", "via", &format!("10.0.{number}.1")])?;
        host.run(["ip", "-6", "route", "add", "fd00::/16", "via", &format!("fd00:{number}::1")])?;
    }
    Ok((node, router, far))
}

fn prefixes(link: u8, host: u8) -> Result<[ipnet::IpNet; 2]> {
    Ok([format!("10.0.{link}.{host}/24").parse()?, format!("fd00:{link}::{host}/64").parse()?])
}

fn over_a_router() -> Result<()> {
    Lab::run("icmp over a router", |lab| {
        let (node, router, far) = hosts(lab)?;
        router.run(["ip", "route", "add", "blackhole", "10.7.0.0/16"])?;
        router.run(["ip", "route", "add", "unreachable", "10.8.0.0/16"])?;
        router.run(["ip", "route", "add", "prohibit", "10.9.0.0/16"])?;
        router.run(["ip", "-6", "route", "add", "unreachable", "fd00:8::/32"])?;
        router.run(["ip", "-6", "route", "add", "prohibit", "fd00:9::/32"])?;
        // Back and forth between them until the time to live is over.
        router.route(&["10.6.0.0/16", "via", "10.0.2.2"])?;
        far.sysctl("net/ipv4/ip_forward", "1")?;
        for host in [&router, &far] {
            host.sysctl("net/ipv4/conf/all/send_redirects", "0")?;
        }
        // Or else the third packet waits for a second.
        for host in [&far, &router] {
            host.sysctl("net/ipv4/icmp_ratelimit", "0")?;
            host.sysctl("net/ipv6/icmp/ratelimit", "0")?;
        }
        let icmp = |host: &str| format!("{{icmp: {host}, timeout: 900ms}}");
        expect_with(
            node.command(vipcast()),
            &[
                ("silent", icmp("10.7.0.1"), false, "no answer within 900 ms"),
                ("unreachable", icmp("10.8.0.1"), false, "host unreachable, says 10.0.1.1"),
                ("prohibited", icmp("10.9.0.1"), false, "prohibited, says 10.0.1.1"),
                ("unreachable6", icmp("\"fd00:8::1\""), false, "no route, says fd00:1::1"),
                ("prohibited6", icmp("\"fd00:9::1\""), false, "prohibited, says fd00:1::1"),
                ("nowhere", icmp("192.0.2.1"), false, "network is unreachable"),
                ("nowhere6", icmp("\"2001:db8::1\""), false, "network is unreachable"),
            ],
        )?;
        let far = [("far", icmp("10.0.2.2")), ("far6", icmp("\"fd00:2::2\"")), ("loop", icmp("10.6.0.1"))];
        let asked = ask_with(node.command(vipcast()), far)?;
        for name in ["far", "far6"] {
            let Probed { passed, detail } = &asked[name];
            ensure!(*passed && detail.starts_with("3 of 3 answered, "), "{name}: {detail}");
        }
        let looped = &asked["loop"];
        let said = "time exceeded on the way, which may be a loop, says 10.0.2.2";
        ensure!(!looped.passed && looped.detail == said, "{looped:?}");
        Ok(())
    })
}

fn with_packets_lost() -> Result<()> {
    Lab::run("icmp with packets lost", |lab| {
        let (node, router, _far) = hosts(lab)?;
        // One of three, beginning with the first.
        router.nft(
            "table inet loss { chain forward { type filter hook forward priority 0; icmp type echo-request numgen inc mod \
             3 == 0 drop; }; }",
        )?;
        let ask = |loss: &str| {
            let check = format!("{{icmp: {{host: 10.0.2.2, loss: {loss}}}, timeout: 300ms}}");
            ask_with(node.command(vipcast()), [("far", check)])
        };
        let asked = ask("34%")?;
        ensure!(asked["far"].passed && asked["far"].detail.starts_with("2 of 3 answered, "), "{asked:?}");
        let asked = ask("33%")?;
        let ends = ", at most 33 % may be lost";
        ensure!(!asked["far"].passed && asked["far"].detail.ends_with(ends), "{asked:?}");
        Ok(())
    })
}

/// What needs no capability where the system grants sockets of datagrams to everybody, and says what it needs where not.
fn without_privileges() -> Result<()> {
    Lab::run("icmp without privileges", |lab| {
        let host = lab.host("host")?;
        // Where nobody may read it otherwise.
        let program = std::env::temp_dir().join(format!("vipcast-icmp-{}", std::process::id()));
        std::fs::copy(vipcast(), &program)?;
        let command = || {
            let mut command: Command = host.command("setpriv");
            let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"];
            command.args(nobody).arg(&program);
            command
        };
        let checks = || [("v4", String::from("{icmp: 127.0.0.1}")), ("v6", String::from("{icmp: \"::1\"}"))];
        let refused = ask_with(command(), checks());
        host.sysctl("net/ipv4/ping_group_range", "0 2147483647")?;
        let granted = ask_with(command(), checks());
        std::fs::remove_file(&program)?;
        let (refused, granted) = (refused?, granted?);
        let needed = "not permitted: needs CAP_NET_RAW, or a group within net.ipv4.ping_group_range";
        ensure!(refused.values().all(|probed| !probed.passed && probed.detail == needed), "{refused:?}");
        ensure!(
            granted.values().all(|probed| probed.passed && probed.detail.starts_with("3 of 3 answered, ")),
            "{granted:?}"
        );
        Ok(())
    })
}
