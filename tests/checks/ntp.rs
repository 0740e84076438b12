//! `ntp` against chrony: one server whose clock is its own source at stratum 3, and one that has no source.
//!
//! chrony does not touch the clock of this host (`-x`), and has no file outside its directory.

use std::net::UdpSocket;
use std::process::Command;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use vipcast_lab::trial;

use crate::server::{Directory, Server, ask, expect, needs};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("ntp_against_chrony", needs("chronyd"), against_chrony)]
}

fn free_port() -> Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn chrony(directory: &Directory, port: u16, more: &str) -> Result<Server> {
    let path = directory.path().display();
    let text = format!(
        "port {port}\nbindaddress 127.0.0.1\ncmdport 0\nbindcmdaddress /\npidfile {path}/pid\nallow 127.0.0.1\n{more}\n"
    );
    let config = directory.write("chrony.conf", &text)?;
    let mut command = Command::new("/usr/sbin/chronyd");
    command.args(["-d", "-x", "-U", "-u", "root", "-f"]).arg(config);
    // A port that is taken cannot be bound.
    Server::start(command, directory)?.wait_until(|| UdpSocket::bind(("127.0.0.1", port)).is_err())
}

fn against_chrony() -> Result<()> {
    let [here, alone, nobody] = [free_port()?, free_port()?, free_port()?];
    let directories = [Directory::new()?, Directory::new()?];
    let _here = chrony(&directories[0], here, "local stratum 3")?;
    let _alone = chrony(&directories[1], alone, "")?;
    let ntp =
        |port: u16, more: &str| format!("{{ntp: {{server: \"127.0.0.1:{port}\"{more}}}, timeout: 900ms}}");
    expect(&[
        ("unsynchronised", ntp(alone, ""), false, "the server is not synchronised"),
        ("nobody", ntp(nobody, ""), false, "port unreachable"),
        // chrony allows this host nothing but 127.0.0.1, and is silent.
        (
            "forbidden",
            format!("{{ntp: \"127.0.0.1:{here}\", source_address: 127.0.0.9, timeout: 300ms}}"),
            false,
            "no answer within 300 ms",
        ),
    ])?;
    let asked = ask([
        ("short", format!("{{ntp: \"127.0.0.1:{here}\", timeout: 900ms}}")),
        ("close", ntp(here, ", stratum: 3, offset: 100ms, root_distance: 1s")),
        ("distant", ntp(here, ", stratum: 2")),
    ])?;
    for name in ["short", "close"] {
        let probed = &asked[name];
        ensure!(probed.passed && probed.detail.starts_with("stratum 3, offset "), "{name}: {probed:?}");
    }
    let distant = &asked["distant"];
    ensure!(!distant.passed && distant.detail.ends_with("; wanted stratum 2 or less"), "{distant:?}");
    Ok(())
}
