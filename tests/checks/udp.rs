//! `udp` against socat.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use libtest_mimic::Trial;
use vipcast_lab::trial;

use crate::server::{Directory, Server, expect, needs};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("udp_against_socat", needs("socat"), against_socat)]
}

/// One that nobody has, and nobody gets soon.
fn free_udp_port() -> Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Whether `question` is answered there.
fn answers(port: u16, question: &[u8]) -> bool {
    let ask = || {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        socket.connect(("127.0.0.1", port))?;
        socket.send(question)?;
        socket.recv(&mut [0; 512])
    };
    ask().is_ok()
}

fn against_socat() -> Result<()> {
    let directory = Directory::new()?;
    let (port, nobody) = (free_udp_port()?, free_udp_port()?);
    let mut command = Command::new("/usr/bin/socat");
    command.args([&format!("UDP4-RECVFROM:{port},bind=127.0.0.1,fork"), "SYSTEM:cat"]);
    let _socat = Server::start(command, &directory)?.wait_until(|| answers(port, b"hello\n"))?;
    let within = |timeout: &str, port: u16, rest: &str| {
        format!("{{udp: {{address: \"127.0.0.1:{port}\", {rest}}}, interval: 10s, timeout: {timeout}}}")
    };
    // It starts a process for each datagram, on a machine that has other things to do.
    let udp = |port: u16, rest: &str| within("8s", port, rest);
    let silent = UdpSocket::bind("127.0.0.1:0")?;
    let silent_port = silent.local_addr()?.port();
    expect(&[
        ("any", udp(port, "send: \"ping\\n\""), true, r#"answered "ping\n""#),
        ("text", udp(port, "send: \"state=up\\n\", expect: up"), true, r#"answered "state=up\n""#),
        ("regex", udp(port, "send: up, expect: {regex: '^u.$'}"), true, r#"answered "up""#),
        ("hex", udp(port, "send_hex: \"00 ff 41\""), true, r#"answered "\x00\xffA""#),
        (
            "wrong",
            within("2s", port, "send: state=down, expect: state=up"),
            false,
            r#"no answer that matches within 2 s; the last one was "state=down""#,
        ),
        ("silent", within("300ms", silent_port, "send: x"), false, "no answer within 300 ms"),
        ("nobody", udp(nobody, "send: x"), false, "port unreachable"),
    ])
}
