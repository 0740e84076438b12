//! Hooks and the file of events: a program, a webhook and the file tell the same story of a VIP, also of the stop; a program
//! that hangs and a state directory without room cost the traffic nothing.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use vipcast_lab::traffic::Health;
use vipcast_lab::{EchoServer, Host, Lab, Neighbor, Router, RouterConfig, RouterKind, Signal, Subnet};

use crate::node::Node;
use crate::{SOON, trial, wait_route};

const VIP: &str = "192.0.2.10";
/// From the first refusal to the withdrawal: a few checks, 50 ms apart, and what a busy machine adds.
const IN_TIME: Duration = Duration::from_secs(5);

pub(crate) fn trials() -> Vec<Trial> {
    let frr = [RouterKind::Frr];
    vec![
        trial(
            "frr::hooks_and_the_file_of_events_tell_one_story_and_a_hook_that_hangs_costs_nothing",
            &frr,
            story,
        ),
        trial("a_state_directory_without_room_costs_the_file_of_events_and_nothing_else", &[], no_room),
    ]
}

/// Receives webhooks, verifies them as docs/hooks.md says, and refuses the first attempt.
const RECEIVER: &str = r#"
import http.server, ssl, sys

class Receiver(http.server.BaseHTTPRequestHandler):
    refused = False

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        good = verify(b"a-long-random-text", self.headers, body)
        first, Receiver.refused = not Receiver.refused, True
        with open(sys.argv[1], "ab") as out:
            out.write(b"" if first else body + b"\n" if good else b"not signed\n")
        self.send_response(503 if first else 204)
        self.end_headers()

server = http.server.HTTPServer(("127.0.0.1", 9000), Receiver)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(sys.argv[2], sys.argv[3])
server.socket = tls.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

/// The Python of docs/hooks.md.
fn verifier() -> Result<String> {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/hooks.md"))?;
    let code = page.split("```python\n").nth(1).and_then(|rest| rest.split_once("```"));
    Ok(code.context("no Python in docs/hooks.md")?.0.to_owned())
}

/// Id and kind of each event of the story in a file.
fn told(path: &Path) -> Result<Vec<(String, String)>> {
    const STORY: [&str; 5] = ["started", "session_up", "announced", "withdrawn", "stopped"];
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut story = Vec::new();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).with_context(|| format!("{line:?}"))?;
        let word = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        if STORY.contains(&word("event").as_str()) {
            story.push((word("id"), word("event")));
        }
    }
    Ok(story)
}

fn story(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    lab.link(&tor, &edge, Subnet::dual(1))?;
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1))
        .neighbor(Neighbor::new("10.0.1.2".parse::<IpAddr>()?, 65001).both_families().graceful_restart());
    let router: Arc<dyn Router> = lab.router(RouterKind::Frr, &tor, &router)?;
    let web = EchoServer::start(&edge, "web", "[::]:7".parse()?, Some("[::]:8081".parse()?))?;
    let (noted, posted) = (lab.directory().join("noted"), lab.directory().join("posted"));
    let receiver = edge.write_file("receiver.py", &(verifier()? + RECEIVER))?;
    let secret = edge.write_file("secret", "a-long-random-text\n")?;
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
    let (cert, key) = (lab.directory().join("cert.pem"), lab.directory().join("key.pem"));
    let make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=chat \
         -addext subjectAltName=IP:127.0.0.1 -out $0 -keyout $1";
    edge.run(["sh", "-c", make, &cert.to_string_lossy(), &key.to_string_lossy()])?;
    let mut command = edge.command("python3");
    command.arg(receiver).arg(&posted).arg(&cert).arg(&key);
    let _receiver = edge.spawn("receiver", command)?;
    lab.until("the receiver to listen", SOON, || edge.run(["bash", "-c", ": < /dev/tcp/127.0.0.1/9000"]))?;
    let kinds = "[started, session_up, announced, withdrawn, stopped]";
    let config = format!(
        "local_as: 65001
peers:
  tor: {{address: 10.0.1.1, peer_as: 65000, graceful_restart: true}}
checks:
  web: {{http: {{url: \"http://127.0.0.1:8081/healthz\"}}, interval: 1s, fast_interval: 100ms, timeout: 1s}}
services:
  web: {{vips: [{VIP}], checks: [web]}}
events: {{file: true, max_size: 64KiB}}
hooks:
  note: {{shell: \"cat >> {}\", on: {kinds}}}
  chat: {{url: \"https://127.0.0.1:9000/\", on: {kinds}, secret_file: {}, tls: {{ca_file: {}}}}}
  hangs: {{shell: \"trap '' TERM HUP; sleep 1000\", timeout: 10m}}
shutdown: {{drain_time: 500ms, unbind_delay: 200ms}}
",
        noted.display(),
        secret.display(),
        cert.display()
    );
    let node = Node::start(lab, &edge, &config)?;
    wait_route(lab, &*router, VIP, true, SOON)?;
    web.set_health(Health::Bad)?;
    let failed = Instant::now();
    wait_route(lab, &*router, VIP, false, SOON)?;
    let took = failed.elapsed();
    ensure!(took < IN_TIME, "withdrawn after {took:?}");
    web.set_health(Health::Good)?;
    wait_route(lab, &*router, VIP, true, SOON)?;
    let words = ["started", "session_up", "announced", "withdrawn", "announced"];
    let is_told = |path: &Path| -> Result<()> {
        let story = told(path)?;
        ensure!(story.iter().map(|(_, word)| word.as_str()).eq(words), "{story:?}");
        Ok(())
    };
    lab.until("the program to be told", SOON, || is_told(&noted))?;
    lab.until("the receiver to be told", SOON, || is_told(&posted))?;
    let warnings = node.status()?.warnings;
    ensure!(warnings.is_empty(), "{warnings:?}");
    let metrics = edge.run([
        "curl",
        "-s",
        "--unix-socket",
        &node.socket().to_string_lossy(),
        "http://vipcast/metrics",
    ])?;
    let retries = metrics.lines().any(|line| line == "vipcast_hook_retries_total{hook=\"chat\"} 1.0");
    ensure!(retries, "{metrics}");
    let restarting = Instant::now();
    node.cli(&["restart", "--graceful"])?;
    let begun = |path: &Path| -> Result<()> {
        let (story, again) = (told(path)?, ["started", "session_up", "announced"]);
        ensure!(story.iter().skip(words.len()).map(|(_, word)| word.as_str()).eq(again), "{story:?}");
        Ok(())
    };
    lab.until("the receiver to be told of the next process", SOON, || begun(&posted))?;
    lab.until("the program to be told of the next process", SOON, || begun(&noted))?;
    let restarted = restarting.elapsed();
    ensure!(programs(&edge)?.len() == 1, "the program that hung is left behind");
    node.process.kill(Signal::SIGTERM)?;
    let stopping = Instant::now();
    let status = node.process.wait_exit(SOON)?;
    ensure!(status.success(), "{status}");
    println!(
        "withdrawn after {took:?}; restarted after {restarted:?}; stopped after {:?}, with a hook that hangs",
        stopping.elapsed()
    );
    let file = lab.directory().join("edge-state/events.jsonl");
    let (noted, posted, written) = (told(&noted)?, told(&posted)?, told(&file)?);
    let last: Vec<&str> = written.iter().map(|(_, word)| word.as_str()).collect();
    let next = ["started", "session_up", "announced", "withdrawn", "stopped"];
    ensure!(last == [&words[..], &next].concat(), "{last:?}");
    ensure!(noted == written && posted == written, "{noted:?}\n{posted:?}\n{written:?}");
    let left = programs(&edge)?;
    ensure!(left.is_empty(), "the program is left behind: {left:?}");
    Ok(())
}

/// The programs of the hook that hangs, without their shells.
fn programs(edge: &Host) -> Result<Vec<i32>> {
    let is_one = |pid: &i32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"sleep\x001000"))
    };
    Ok(edge.pids()?.into_iter().filter(is_one).collect())
}

/// The state directory is a file system of 64 KiB that is full; then there is room again.
fn no_room(lab: &Lab) -> Result<()> {
    const SMALL: &[&str] = &[
        "unshare",
        "--mount",
        "sh",
        "-c",
        "state=$(sed -n 's/^state_dir: //p' \"$4\"); mkdir -p \"$state\"; mount -t tmpfs -o size=64k,mode=0700 tmpfs \"$state\"
         head -c 60000 /dev/zero > \"$state/ballast\"; exec \"$@\"",
        "sh",
    ];
    let edge = lab.host("edge")?;
    let config = format!(
        "local_as: 65001
router_id: 10.0.0.2
peers: {{tor: {{address: 10.0.1.1, peer_as: 65000}}}}
services: {{web: {{vips: [{VIP}], checks: []}}}}
events: {{file: true, max_size: 64KiB}}
"
    );
    let node = Node::start_by(SMALL, lab, &edge, &config)?;
    let state = lab.directory().join("edge-state");
    let pid = node.process.pid().to_string();
    let inside = |words: &[&str]| -> Result<String> {
        let all = [&["nsenter", "--mount", "--target", pid.as_str(), "--"], words].concat();
        edge.run(all)
    };
    lab.until("the VIP to be bound", SOON, || {
        ensure!(node.address(VIP.parse()?)? == Some(true), "it is not");
        Ok(())
    })?;
    // A command is an event; a few hundred are more than fit.
    lab.until("the warning", SOON, || {
        // These say that they cannot be saved.
        drop(node.cli(&["drain", "web", "--for", "1h"]));
        drop(node.cli(&["undrain", "web"]));
        let warnings = node.status()?.warnings;
        let found = warnings.iter().any(|warning| {
            warning.starts_with("events are not written to ") && warning.ends_with("no space left on device")
        });
        ensure!(found, "{warnings:?}");
        Ok(())
    })?;
    let doctor = node.cli(&["doctor", "--json"]).err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(doctor.contains("events-not-written"), "{doctor}");
    inside(&["rm", &state.join("ballast").to_string_lossy()])?;
    lab.until("no warning", SOON, || {
        let warnings = node.status()?.warnings;
        ensure!(!warnings.iter().any(|warning| warning.starts_with("events are not")), "{warnings:?}");
        Ok(())
    })?;
    let text = inside(&["cat", &state.join("events.jsonl").to_string_lossy()])?;
    for line in text.lines() {
        serde_json::from_str::<Value>(line).with_context(|| format!("{line:?}"))?;
    }
    ensure!(text.starts_with("{\"id\":\"") && text.contains("\"event\":\"drain_begins\""), "{text}");
    node.process.kill(Signal::SIGTERM)?;
    let status = node.process.wait_exit(SOON)?;
    ensure!(status.success(), "{status}");
    Ok(())
}
