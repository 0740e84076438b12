//! Upgrades without a pause between them, and everything else that a node has to do: no change of a route is lost or made
//! twice, no event is lost or told twice, no client is refused, no route of a router is overlooked.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast_lab::speaker::Event;
use vipcast_lab::traffic::Health;
use vipcast_lab::{Flood, Host, Lab, RouterKind, Speaker};

use super::{Before, REPLACEABLE, Site, VIP, config, story, upgrade};
use crate::load::{beside, options, peer, same_session};
use crate::node::Node;
use crate::tour::said;
use crate::watchers::{METRICS, enter, scrape};
use crate::{SOON, trial, wait_route};

const DNS: &str = "192.0.2.53";
const NEW: &str = "192.0.2.90";
const DNS_SERVICE: &str = "  dns: {vips: [192.0.2.53], checks: []}\n";
const NEW_SERVICE: &str = "  new: {vips: [192.0.2.90], checks: [web]}\n";
/// What may be said against an upgrade while a file is reloaded.
const WAITS: [&str; 2] = ["a reload is under way", "is not the configuration in force"];
/// How often a service fails and recovers, and another is drained.
const ROUNDS: usize = 3;
/// Between two requests of a client: the machine has other things to do.
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("frr::upgrade_while_services_and_commands_and_clients_come_and_go", &[RouterKind::Frr], busy),
        trial("upgrade_in_a_flood_of_routes_overlooks_none", &[], flooded),
    ]
}

/// Upgrades until it is over; returns how many there were, and how many had to wait for a reload.
fn upgrades(node: &Node, over: &AtomicBool, done: &AtomicUsize) -> Result<usize> {
    let mut waited = 0;
    while !over.load(Ordering::Relaxed) {
        match upgrade(node) {
            Ok(_) => drop(done.fetch_add(1, Ordering::Relaxed)),
            Err(error) => {
                let why = format!("{error:#}");
                ensure!(WAITS.iter().any(|words| why.contains(words)), "{why}");
                waited += 1;
            }
        }
    }
    Ok(waited)
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_panic| Err(anyhow!("a thread panicked")))
}

/// Asks for the status until it is over, each time by a connection of its own; returns how often.
fn asks(socket: &Path, over: &AtomicBool) -> Result<usize> {
    let mut count = 0;
    while !over.load(Ordering::Relaxed) {
        let mut answer = String::new();
        let mut stream = UnixStream::connect(socket).context("a client was refused")?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: vipcast\r\nconnection: close\r\n\r\n")?;
        stream.read_to_string(&mut answer).context("a client was cut off")?;
        ensure!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("}\n"), "no status: {answer:?}");
        count += 1;
        thread::sleep(PAUSE);
    }
    Ok(count)
}

/// The same with scrapes over TCP.
fn scrapes(edge: &Host, over: &AtomicBool) -> Result<usize> {
    enter(edge)?;
    let mut count = 0;
    while !over.load(Ordering::Relaxed) {
        scrape()?;
        count += 1;
        thread::sleep(PAUSE);
    }
    Ok(count)
}

/// What a client had of the stream of events.
#[derive(Debug, Default)]
struct Streamed {
    numbers: Vec<u64>,
    kinds: BTreeMap<String, usize>,
    streams: usize,
}

/// Follows the events until it is over, with `Last-Event-ID` after each end of a stream.
fn follow(socket: &Path, over: &AtomicBool) -> Result<Streamed> {
    let (mut had, mut last) = (Streamed::default(), String::new());
    while !over.load(Ordering::Relaxed) {
        let mut stream = UnixStream::connect(socket).context("a stream was refused")?;
        stream.set_read_timeout(Some(Duration::from_millis(200)))?;
        let id = if last.is_empty() { String::new() } else { format!("last-event-id: {last}\r\n") };
        stream
            .write_all(format!("GET /v1/events/stream HTTP/1.0\r\nhost: vipcast\r\n{id}\r\n").as_bytes())?;
        had.streams += 1;
        let (mut lines, mut line) = (BufReader::new(stream), String::new());
        let (mut id, mut kind) = (String::new(), String::new());
        loop {
            match lines.read_line(&mut line) {
                Ok(0) => break,
                Ok(_) if line.ends_with('\n') => {}
                Ok(_) => continue,
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    continue;
                }
                // A stream that is cut off is no worse than one that ends: it goes on behind the last event.
                Err(_) => break,
            }
            match line.trim_end() {
                "" if !id.is_empty() => {
                    let (_, number) = id.rsplit_once('-').context("no number")?;
                    had.numbers.push(number.parse()?);
                    *had.kinds.entry(std::mem::take(&mut kind)).or_default() += 1;
                    last = std::mem::take(&mut id);
                }
                text => {
                    ensure!(!text.starts_with("HTTP/") || text.contains(" 200 "), "{text}");
                    if let Some(text) = text.strip_prefix("id: ") {
                        text.clone_into(&mut id);
                    } else if let Some(text) = text.strip_prefix("event: ") {
                        text.clone_into(&mut kind);
                        ensure!(text != "missed", "events are lost");
                    }
                }
            }
            line.clear();
        }
    }
    Ok(had)
}

/// The numbers of the events that the node has.
fn kept(node: &Node) -> Result<Vec<u64>> {
    let told = node.cli(&["events", "--debug", "--json"])?;
    let told =
        told.lines().map(serde_json::from_str).collect::<serde_json::Result<Vec<serde_json::Value>>>()?;
    Ok(told.iter().filter_map(|event| event["seq"].as_u64()).collect())
}

fn busy(lab: &Lab) -> Result<()> {
    let site =
        Site::new(lab, RouterKind::Frr, "", DNS_SERVICE, &format!("metrics: {{listen: \"{METRICS}\"}}\n"))?;
    wait_route(lab, site.router.as_ref(), DNS, true, SOON)?;
    let before = site.before()?;
    let (over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (waited, asked, scraped, streamed) = thread::scope(|scope| {
        let upgrades = scope.spawn(|| upgrades(&site.node, &over, &done));
        let socket = site.node.socket();
        let asks = scope.spawn(|| asks(socket, &over));
        let scrapes = scope.spawn(|| scrapes(&site.edge, &over));
        let follow = scope.spawn(|| follow(socket, &over));
        let script = script(&site, &before, &done, || upgrades.is_finished());
        over.store(true, Ordering::Relaxed);
        let (waited, asked) = (joined(upgrades), joined(asks));
        let (scraped, streamed) = (joined(scrapes), joined(follow));
        waited.and_then(|waited| script.map(|()| (waited, asked, scraped, streamed)))
    })?;
    let (asked, scraped, streamed) = (asked?, scraped?, streamed?);
    let done = done.into_inner();
    println!(
        "{done} upgrades, {waited} more waited for a reload; {asked} clients, {scraped} scrapes over TCP, {} events in {} streams: {:?}",
        streamed.numbers.len(),
        streamed.streams,
        streamed.kinds
    );
    site.ensure_same_session(&before)?;
    ensure!(site.node.process.pid() == before.pid && site.node.process.is_running(), "another process");
    let first = streamed.numbers.first().copied().context("no events")?;
    let kept: Vec<u64> = kept(&site.node)?.into_iter().filter(|number| *number >= first).collect();
    ensure!(
        kept.starts_with(&streamed.numbers),
        "events were lost or told twice: {:?}\nof {kept:?}",
        streamed.numbers
    );
    ensure!(streamed.streams > done / 2, "{} streams, {done} upgrades", streamed.streams);
    for (kind, count) in
        [("check_down", ROUNDS), ("drain_begins", ROUNDS), ("drain_ends", ROUNDS), ("reloaded", 2)]
    {
        let told = streamed.kinds.get(kind).copied().unwrap_or_default();
        ensure!(told == count, "{told} events {kind}, and not {count}: {:?}", streamed.kinds);
    }
    Ok(())
}

/// Each step waits until the router was told, and in the end it was told nothing else.
fn script(site: &Site<'_>, before: &Before, done: &AtomicUsize, over: impl Fn() -> bool) -> Result<()> {
    let mut told = said(&site.said.text()?);
    let mut step = |what: &str, vip: &str, signs: &str| -> Result<()> {
        told.entry(format!("{vip}/32").parse()?).or_default().push_str(signs);
        let wanted = &told;
        site.lab
            .until(format_args!("{what}: the UPDATEs"), SOON, || {
                let said = said(&site.said.text()?);
                ensure!(said == *wanted || over(), "{said:?} and not {wanted:?}");
                Ok(())
            })
            .with_context(|| story(&site.node))?;
        let so_far = done.load(Ordering::Relaxed);
        site.lab.until(format_args!("{what}: another upgrade"), SOON, || {
            ensure!(done.load(Ordering::Relaxed) > so_far || over(), "{so_far}");
            Ok(())
        })?;
        ensure!(!over(), "{what}: the upgrades have ended");
        site.ensure_same_session(before).context(what.to_owned())
    };
    for _ in 0..ROUNDS {
        site.service.set_health(Health::Bad)?;
        step("a failure", VIP, "-")?;
        site.service.set_health(Health::Good)?;
        step("a recovery", VIP, "+")?;
        site.node.cli(&["drain", "dns", "--for", "2s"])?;
        step("a drain and its end", DNS, "+-+")?;
    }
    for (service, signs) in [(NEW_SERVICE, "+"), ("", "-")] {
        let text = std::fs::read_to_string(site.node.config())?;
        let text = match service.is_empty() {
            true => text.replace(NEW_SERVICE, ""),
            false => text.replace("shutdown:", &format!("{service}shutdown:")),
        };
        std::fs::write(site.node.config(), text)?;
        site.node.cli(&["reload"])?;
        step("a reload", NEW, signs)?;
    }
    Ok(())
}

/// A router that sends routes as fast as it can: all of them are read, each once, and another session has no gap.
fn flooded(lab: &Lab) -> Result<()> {
    const LASTS: Duration = Duration::from_secs(5);
    const ROUTES: u32 = 100_000;
    let edge = lab.host("edge")?;
    let flooding = Speaker::start(&beside(lab, &edge, 1)?, &options(1))?;
    let counting = Speaker::start(&beside(lab, &edge, 2)?, &options(2))?;
    let peers = (peer(1) + &peer(2)).trim().to_owned();
    let node =
        Node::start_by(REPLACEABLE, lab, &edge, &config(&peers, DNS_SERVICE, "").replace("[web]", "[]"))?;
    crate::load::settle(lab, &node)?;
    let since = SystemTime::now();
    let (over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let sent = thread::scope(|scope| {
        let upgrades = scope.spawn(|| upgrades(&node, &over, &done));
        let flood = Flood { routes: ROUTES, together: 40, bursts: 5, burst: 100, lasting: LASTS };
        let flooded = flooding.flood(flood);
        over.store(true, Ordering::Relaxed);
        let waited = joined(upgrades)?;
        ensure!(waited == 0, "{waited} were refused");
        anyhow::Ok(u64::from(ROUTES) * u64::from(flooded?.rounds))
    })?;
    lab.until("all routes to be taken in", SOON, || {
        let received = node.status()?.peers["peer-1"].received;
        ensure!(received == sent, "{received} of {sent}");
        Ok(())
    })?;
    let done = done.into_inner();
    let (flooding, counting) = (flooding.stop()?, counting.stop()?);
    let silence = counting.longest_silence(since);
    println!(
        "{done} upgrades while {sent} routes came in; the longest silence of the other session {silence:?}"
    );
    ensure!(done > 1, "{done} upgrades");
    same_session(&flooding)?;
    same_session(&counting)?;
    for vip in [VIP, DNS] {
        let vip: IpNet = format!("{vip}/32").parse()?;
        let told = |wanted: Event| counting.count(&wanted);
        let counts = (told(Event::Announced(vip)), told(Event::Withdrawn(vip)));
        ensure!(counts == (1, 0), "{vip} was announced and withdrawn {counts:?} times");
    }
    Ok(())
}
