//! Few descriptors: `ulimit -n 64`, and more hanging servers and programs that ignore SIGTERM than descriptors.
//! `tests/interop/descriptors.rs` has the same with a daemon.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use vipcast_lab::trial;

use crate::server::{Probed, ask_with, needs, vipcast};

/// Of each kind of check, more than there are descriptors.
const MANY: usize = 100;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("with_few_descriptors_checks_wait_their_turn", needs("prlimit"), few_descriptors)]
}

/// Accepts every connection, and treats it with `serve`.
fn server(serve: fn(TcpStream)) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    Ok(port)
}

fn hang(mut stream: TcpStream) {
    while stream.read(&mut [0; 1024]).is_ok_and(|length| length > 0) {}
}

fn answer(mut stream: TcpStream) {
    if stream.read(&mut [0; 1024]).is_ok_and(|length| length > 0) {
        // Whoever asked may have gone.
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok();
    }
}

fn few_descriptors() -> Result<()> {
    let (hanging, healthy) = (server(hang)?, server(answer)?);
    let http = |port: u16, rest| format!("{{http: {{url: \"http://127.0.0.1:{port}/\"}}, {rest}}}");
    let patient = "interval: 10s, timeout: 8s";
    let program = format!("{{exec: {{shell: \"true\"}}, {patient}}}");
    // Their children ignore SIGTERM and hold the pipes.
    let stubborn =
        "{exec: {shell: \"trap '' TERM; (trap '' TERM; sleep 1000) & sleep 1000\"}, timeout: 300ms}";
    let mut checks = BTreeMap::from([(String::from("file-0"), String::from("{file: /proc/version}"))]);
    for n in 0..MANY {
        checks.insert(format!("hanging-{n}"), http(hanging, "timeout: 500ms"));
        checks.insert(format!("healthy-{n}"), http(healthy, patient));
        checks.insert(format!("program-{n}"), program.clone());
    }
    for n in 0..8 {
        checks.insert(format!("stubborn-{n}"), stubborn.into());
    }

    // Other tests have servers on this machine, which are not to be late for it.
    let mut limited = Command::new("nice");
    limited.args(["-n", "10", "prlimit", "--nofile=64:64", vipcast()]);
    let begin = Instant::now();
    let asked = ask_with(limited, checks.iter().map(|(name, check)| (name.as_str(), check.clone())))?;
    for (name, Probed { passed, detail }) in &asked {
        let as_it_should = match name.split_once('-').map(|(kind, _)| kind) {
            Some("hanging") => !passed && detail == "no answer within 500 ms",
            Some("stubborn") => !passed && detail.ends_with("killed after 300 ms"),
            Some(_) | None => *passed,
        };
        ensure!(as_it_should, "{name}: {passed}, {detail}");
    }
    ensure!(asked.len() == checks.len(), "{} of {}", asked.len(), checks.len());
    // A hundred that hang for half a second, 32 at a time, take two seconds; nobody waits for anything longer.
    ensure!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    Ok(())
}
