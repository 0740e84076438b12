//! `tcp` against redis.

use std::process::Command;

use anyhow::Result;
use libtest_mimic::Trial;
use vipcast_lab::trial;

use crate::server::{Directory, Server, expect, free_port, needs};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("tcp_against_redis", needs("redis-server"), against_redis)]
}

fn against_redis() -> Result<()> {
    let (directory, locked_in) = (Directory::new()?, Directory::new()?);
    let (port, locked, nobody) = (free_port()?, free_port()?, free_port()?);
    let redis = |directory: &Directory, port: u16, more: &[&str]| {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string(), "--dir"]);
        command.arg(directory.path()).args(more);
        Server::start(command, directory)?.listening_on(port)
    };
    let _open = redis(&directory, port, &[])?;
    let _locked = redis(&locked_in, locked, &["--requirepass", "hunter2"])?;
    let ping = |port, expected: &str| {
        format!(
            "{{tcp: {{address: \"127.0.0.1:{port}\", send: \"PING\\r\\n\", expect: {expected}}}, timeout: 500ms}}"
        )
    };
    expect(&[
        ("connected", format!("{{tcp: \"127.0.0.1:{port}\"}}"), true, "connected"),
        ("text", ping(port, "+PONG"), true, r#"received "+PONG\r\n""#),
        ("regex", ping(port, r"{regex: '^\+P[OI]NG\r\n$'}"), true, r#"received "+PONG\r\n""#),
        (
            "locked",
            ping(locked, "+PONG"),
            false,
            r#"no "+PONG" within 500 ms, received "-NOAUTH Authentication required.\r\n""#,
        ),
        (
            "quit",
            format!(
                "{{tcp: {{address: \"127.0.0.1:{port}\", send: \"QUIT\\r\\n\", expect: \"+PONG\"}}, timeout: 900ms}}"
            ),
            false,
            r#"connection closed before "+PONG", received "+OK\r\n""#,
        ),
        (
            "silent",
            format!("{{tcp: {{address: \"127.0.0.1:{port}\", expect: \"+PONG\"}}, timeout: 100ms}}"),
            false,
            r#"no "+PONG" within 100 ms, received nothing"#,
        ),
        ("refused", ping(nobody, "+PONG"), false, "connection refused"),
    ])
}
