//! A daemon with few descriptors: `ulimit -n 64`, servers that hang, programs whose children ignore SIGTERM, and more
//! checks than descriptors. Only checks of hanging servers fail, with that reason, and all are up when the servers are.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use libtest_mimic::Trial;
use nix::sched::{CloneFlags, setns};
use vipcast::control::api::CheckState;
use vipcast_lab::{Host, Lab, trial};

use crate::SOON;
use crate::node::Node;

/// Of the daemon.
const DESCRIPTORS: usize = 64;
/// Servers of each kind.
const SERVERS: usize = 60;
/// Programs of each kind.
const PROGRAMS: usize = 20;
/// How long healthy checks must stay up while others hang.
const WATCHED: Duration = Duration::from_secs(5);

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("i4_few_descriptors_fail_what_hangs_and_nothing_else", Lab::available(), few_descriptors)]
}

/// Answers every request on the host, but says nothing while it `hangs`.
fn server(host: &Host, hangs: Arc<AtomicBool>) -> Result<u16> {
    let namespace = File::open(format!("/run/netns/{}", host.namespace())).context("no such namespace")?;
    // Only this thread enters.
    let listening = thread::spawn(move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET).context("cannot enter the namespace")?;
        anyhow::Ok(TcpListener::bind("127.0.0.1:0")?)
    });
    let listener = listening.join().map_err(|_| anyhow!("the thread panicked"))??;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let hangs = Arc::clone(&hangs);
            thread::spawn(move || answer(stream, &hangs));
        }
    });
    Ok(port)
}

fn answer(mut stream: TcpStream, hangs: &AtomicBool) {
    while stream.read(&mut [0; 1024]).is_ok_and(|length| length > 0) {
        if !hangs.load(Ordering::Relaxed) {
            // Whoever asked may have gone.
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok();
            return;
        }
    }
}

/// The states of the checks by what stands before the dash of their names, with what they last saw.
fn states(node: &Node) -> Result<BTreeMap<String, Vec<(CheckState, String)>>> {
    let mut states = BTreeMap::<String, Vec<_>>::new();
    for (name, check) in node.status()?.checks {
        let kind = name.split('-').next().unwrap_or_default().to_owned();
        states.entry(kind).or_default().push((check.state, check.detail.unwrap_or_default()));
    }
    Ok(states)
}

/// Whether all checks of these kinds are in one of these states.
fn all_are(node: &Node, wanted: &[(&str, &[&str])]) -> Result<()> {
    let states = states(node)?;
    for (kind, wanted) in wanted {
        let others: Vec<_> =
            states[*kind].iter().filter(|(state, _)| !wanted.contains(&state.word())).collect();
        ensure!(others.is_empty(), "{} of {kind}, like {:?}", others.len(), others[0]);
    }
    Ok(())
}

fn few_descriptors() -> Result<()> {
    Lab::run("few descriptors", |lab| {
        let host = lab.host("node")?;
        let hangs = Arc::new(AtomicBool::new(true));
        let (hanging, healthy) = (server(&host, Arc::clone(&hangs))?, server(&host, Arc::default())?);
        let mut checks = String::new();
        let http = |port: u16| format!("{{http: {{url: \"http://127.0.0.1:{port}/\"}}, interval: 2s}}");
        for n in 0..SERVERS {
            writeln!(checks, "  hanging-{n}: {}\n  healthy-{n}: {}", http(hanging), http(healthy))?;
        }
        for n in 0..PROGRAMS {
            writeln!(checks, "  program-{n}: {{exec: {{shell: \"true\"}}, interval: 2s, timeout: 2s}}")?;
        }
        let stubborn = "trap '' TERM; (trap '' TERM; sleep 1000) & sleep 1000";
        writeln!(checks, "  stubborn-0: {{exec: {{shell: \"{stubborn}\"}}, interval: 2s}}")?;
        let names: Vec<&str> = checks.lines().filter_map(|line| line.trim().split(':').next()).collect();
        let config = format!(
            "local_as: 65001\nrouter_id: 192.0.2.2\npeers: {{tor: {{address: 192.0.2.1, peer_as: 65000}}}}\nservices: {{web: {{vips: \
             [198.51.100.1], checks: [{}]}}}}\nchecks:\n{checks}",
            names.join(", ")
        );
        let node = Node::start_by(&["prlimit", "--nofile=64:64"], lab, &host, &config)?;

        const DOWN: &[&str] = &["down"];
        const UP: &[&str] = &["up"];
        let settled = [("hanging", DOWN), ("healthy", UP), ("program", UP), ("stubborn", DOWN)];
        lab.until("all to be known", SOON, || all_are(&node, &settled))?;
        let begin = Instant::now();
        let mut most = 0;
        while begin.elapsed() < WATCHED {
            all_are(&node, &settled)?;
            let states = states(&node)?;
            for (_, detail) in &states["hanging"] {
                ensure!(detail == "no answer within 500 ms", "{detail}");
            }
            for (_, detail) in &states["stubborn"] {
                ensure!(detail.ends_with("killed after 500 ms"), "{detail}");
            }
            most = most.max(node.process.descriptors()?);
        }
        println!("{most} of {DESCRIPTORS} descriptors at most");
        hangs.store(false, Ordering::Relaxed);
        lab.until("all to recover", SOON, || {
            all_are(&node, &[("hanging", UP), ("healthy", UP), ("program", UP)])
        })
    })
}
