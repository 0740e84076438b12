//! Traffic: a client that sends numbered datagrams and counts the lost ones, and a server that answers them.
//!
//! Both are `vipcast-lab-agent` inside a host. The client binds several source ports and uses them in turn, so that
//! routers which hash flows over equal routes spread its datagrams over all nodes.
//!
//! ```text
//! client ──"17"──► VIP:port ──ECMP──► edge-b      answers "edge-b 17"
//! seq   0 1 2 3 4 5 6 7 8 9
//! to    a b a b a b a b a b
//! lost        x   x   x        gaps() = 2..2, 4..4, 6..6; outages(10 ms) = one of 3 lost, 2..6
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};

use crate::agent;
use crate::host::Host;
use crate::process::{Process, Signal};
use crate::wait;

/// How the client sends.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Time between two datagrams; default one millisecond.
    pub interval: Duration,
    /// How many source ports are used in turn; default 32.
    pub source_ports: u16,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { interval: Duration::from_millis(1), source_ports: 32 }
    }
}

/// A client that sends until it is stopped.
#[derive(Debug)]
pub struct Client {
    process: Process,
    report: PathBuf,
    interval: Duration,
}

impl Client {
    /// Starts to send one datagram a millisecond to `target`.
    ///
    /// # Errors
    /// When the agent does not start.
    pub fn start(host: &Host, target: SocketAddr) -> Result<Self> {
        Self::start_with(host, target, &ClientOptions::default())
    }

    /// Starts to send.
    ///
    /// # Errors
    /// When the agent does not start.
    pub fn start_with(host: &Host, target: SocketAddr, options: &ClientOptions) -> Result<Self> {
        let number = host.scene().next_number();
        let report = host.write_file(&format!("client-{number}.report"), "")?;
        let mut command = host.command(agent::path()?);
        command.args(["client", &target.to_string(), &options.interval.as_micros().to_string()]);
        command.arg(options.source_ports.to_string()).arg(&report);
        let process = host.spawn(&format!("client-{number}"), command)?;
        wait_for_line(&process, "sending")?;
        Ok(Self { process, report, interval: options.interval })
    }

    /// The servers that have answered so far.
    pub fn servers(&self) -> BTreeSet<String> {
        let log = self.process.log();
        log.lines().filter_map(|line| line.strip_prefix("server ")).map(str::to_owned).collect()
    }

    /// Waits until all of these have answered at least once.
    ///
    /// # Errors
    /// After `timeout`, with those that did.
    pub fn wait_for_servers(&self, names: &[&str], timeout: Duration) -> Result<()> {
        wait::until(format!("answers from {names:?}"), timeout, || {
            let servers = self.servers();
            ensure!(names.iter().all(|name| servers.contains(*name)), "answers from {servers:?} only");
            Ok(())
        })
    }

    /// Stops sending, waits for the last answers (200 ms at most) and reports.
    ///
    /// # Errors
    /// When the agent does not end well.
    pub fn stop(self) -> Result<Report> {
        self.process.close_stdin();
        let status = self.process.wait_exit(Duration::from_secs(10))?;
        ensure!(status.success(), "the client failed: {status}: {}", self.process.log());
        let text = fs::read_to_string(&self.report).context("cannot read the report of the client")?;
        Report::parse(&text, self.interval)
    }
}

/// A datagram that the client has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Its number, from 0.
    pub sequence: u64,
    /// When it was handed to the kernel.
    pub sent: SystemTime,
    /// Who answered it and how long that took; `None` when it was lost.
    pub answer: Option<Answer>,
}

/// An answer to a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The name of the server.
    pub server: String,
    /// From sending to receiving.
    pub round_trip: Duration,
}

/// Datagrams lost in a row, or nearly so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The first lost.
    pub from: u64,
    /// The last lost.
    pub to: u64,
    /// How many of these were lost.
    pub lost: u64,
    /// When the first lost one was sent.
    pub start: SystemTime,
    /// When the last lost one was sent.
    pub end: SystemTime,
    /// From the sending of the first lost one to the sending of the first one after the last lost.
    pub duration: Duration,
}

/// What became of all datagrams of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// All of them, in the order of their numbers.
    pub datagrams: Vec<Datagram>,
    interval: Duration,
}

impl Report {
    /// How many were sent.
    pub fn sent(&self) -> usize {
        self.datagrams.len()
    }

    /// How many were answered.
    pub fn received(&self) -> usize {
        self.datagrams.iter().filter(|datagram| datagram.answer.is_some()).count()
    }

    /// How many were lost.
    pub fn lost(&self) -> usize {
        self.sent() - self.received()
    }

    /// How many each server answered.
    pub fn per_server(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for answer in self.datagrams.iter().filter_map(|datagram| datagram.answer.as_ref()) {
            *counts.entry(answer.server.clone()).or_default() += 1;
        }
        counts
    }

    /// The runs of lost datagrams.
    pub fn gaps(&self) -> Vec<Gap> {
        self.outages(Duration::ZERO)
    }

    /// The runs of lost datagrams, where those that follow each other within `quiet` are one. With ECMP only the
    /// flows to the dead node are lost, so a `quiet` of one round over all source ports shows outages.
    pub fn outages(&self, quiet: Duration) -> Vec<Gap> {
        let mut gaps: Vec<Gap> = Vec::new();
        let lost = self.datagrams.iter().enumerate().filter(|(_, datagram)| datagram.answer.is_none());
        for (index, datagram) in lost {
            let Datagram { sequence, sent, .. } = datagram;
            let next = self.datagrams.get(index + 1).map_or(*sent + self.interval, |next| next.sent);
            match gaps.last_mut() {
                Some(gap) if gap.to + 1 == *sequence || between(gap.end, *sent) <= quiet => {
                    gap.to = *sequence;
                    gap.lost += 1;
                    gap.end = *sent;
                    gap.duration = between(gap.start, next);
                }
                Some(_) | None => gaps.push(Gap {
                    from: *sequence,
                    to: *sequence,
                    lost: 1,
                    start: *sent,
                    end: *sent,
                    duration: between(*sent, next),
                }),
            }
        }
        gaps
    }

    /// The longest of the gaps.
    pub fn longest_gap(&self) -> Option<Gap> {
        self.gaps().into_iter().max_by_key(|gap| gap.duration)
    }

    /// The first datagram that was lost.
    pub fn first_lost(&self) -> Option<&Datagram> {
        self.datagrams.iter().find(|datagram| datagram.answer.is_none())
    }

    /// The last datagram that was lost.
    pub fn last_lost(&self) -> Option<&Datagram> {
        self.datagrams.iter().rev().find(|datagram| datagram.answer.is_none())
    }

    /// How long after `event` (a kill, say) the last lost datagram was sent; zero when none was lost after it.
    pub fn recovered_after(&self, event: SystemTime) -> Duration {
        self.last_lost().map_or(Duration::ZERO, |datagram| between(event, datagram.sent))
    }

    /// The datagrams sent from `start` on alone, for an experiment in the middle of a run.
    #[must_use]
    pub fn since(&self, start: SystemTime) -> Self {
        let datagrams = self.datagrams.iter().filter(|datagram| datagram.sent >= start).cloned().collect();
        Self { datagrams, interval: self.interval }
    }

    /// Counts and the outages, in a few lines.
    pub fn summary(&self) -> String {
        let mut text =
            format!("sent {}, lost {}, answered {:?}", self.sent(), self.lost(), self.per_server());
        for gap in self.outages(Duration::from_millis(100)) {
            text += &format!(
                "\n{} lost within {:?} (datagrams {} to {})",
                gap.lost, gap.duration, gap.from, gap.to
            );
        }
        text
    }

    /// The agent writes the time of its start as nanoseconds since 1970, then a line per datagram:
    /// `<sent> <received> <server>` in nanoseconds since the start, or `<sent>` alone.
    fn parse(text: &str, interval: Duration) -> Result<Self> {
        let mut lines = text.lines();
        let start = lines.next().context("the report of the client is empty")?;
        let start = SystemTime::UNIX_EPOCH + Duration::from_nanos(start.parse()?);
        let mut datagrams = Vec::new();
        for (line, sequence) in lines.zip(0..) {
            let words: Vec<&str> = line.split(' ').collect();
            let (sent, answer) = match words[..] {
                [sent] => (sent.parse()?, None),
                [sent, received, server] => (sent.parse()?, Some((received.parse::<u64>()?, server))),
                _ => bail!("a bad line in the report of the client: {line:?}"),
            };
            let answer = answer.map(|(received, server)| Answer {
                server: server.to_owned(),
                round_trip: Duration::from_nanos(received.saturating_sub(sent)),
            });
            datagrams.push(Datagram { sequence, sent: start + Duration::from_nanos(sent), answer });
        }
        Ok(Self { datagrams, interval })
    }
}

/// A server on a node: answers datagrams with its name, and HTTP health checks.
#[derive(Debug)]
pub struct EchoServer {
    process: Process,
    health: PathBuf,
}

/// What `/healthz` of an [`EchoServer`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Answers 200.
    Good,
    /// Answers 503.
    Bad,
    /// Accepts the connection and never answers.
    Hang,
}

impl EchoServer {
    /// Starts a server which answers as `name` on a UDP address, and HTTP on the TCP address if there is one.
    /// `[::]:port` is every address of both families.
    ///
    /// # Errors
    /// When it cannot bind.
    pub fn start(host: &Host, name: &str, udp: SocketAddr, http: Option<SocketAddr>) -> Result<Self> {
        ensure!(!name.contains(char::is_whitespace), "the name {name:?} has a space in it");
        let number = host.scene().next_number();
        let health = host.write_file(&format!("server-{number}.health"), "200")?;
        let mut command = host.command(agent::path()?);
        command.args(["server", name, &udp.to_string()]).arg(&health);
        command.args(http.map(|address| address.to_string()));
        let process = host.spawn(&format!("server-{number}"), command)?;
        wait_for_line(&process, "ready")?;
        Ok(Self { process, health })
    }

    /// The command line of a server for UDP alone that something else is to start, a service manager say.
    ///
    /// # Errors
    /// When the agent cannot be built, or its file not be written.
    pub fn command_line(host: &Host, name: &str, udp: SocketAddr) -> Result<String> {
        let health = host.write_file(&format!("{name}.health"), "200")?;
        Ok(format!("{} server {name} {udp} {}", agent::path()?.display(), health.display()))
    }

    /// Changes what `/healthz` does from the next request on.
    ///
    /// # Errors
    /// When the file the agent reads cannot be written.
    pub fn set_health(&self, health: Health) -> Result<()> {
        let word = match health {
            Health::Good => "200",
            Health::Bad => "503",
            Health::Hang => "hang",
        };
        // Renamed into place, so that the agent never reads half of it.
        let new = self.health.with_extension("new");
        fs::write(&new, word)
            .and_then(|()| fs::rename(&new, &self.health))
            .context("cannot change the health")
    }

    /// When each HTTP request came.
    pub fn requests(&self) -> Vec<SystemTime> {
        let log = self.process.log();
        let asked = log.lines().filter_map(|line| line.strip_prefix("asked ")?.parse().ok());
        asked.map(|nanoseconds| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds)).collect()
    }

    /// Kills it, and tells when; returns when its sockets are closed.
    ///
    /// # Errors
    /// When it had ended already.
    pub fn kill(&self) -> Result<SystemTime> {
        let now = SystemTime::now();
        self.process.kill(Signal::SIGKILL)?;
        self.process.wait_exit(Duration::from_secs(5))?;
        Ok(now)
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

fn wait_for_line(process: &Process, line: &str) -> Result<()> {
    wait::until(format!("{} to be {line}", process.name()), Duration::from_secs(10), || {
        let log = process.log();
        ensure!(log.lines().any(|candidate| candidate == line), "its log: {log}");
        Ok(())
    })
}

fn between(start: SystemTime, end: SystemTime) -> Duration {
    end.duration_since(start).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sent every millisecond; `x` is lost, letters are servers.
    fn report(pattern: &str) -> Report {
        let mut text = "1000000000\n".to_owned();
        for (index, letter) in pattern.chars().enumerate() {
            let sent = index * 1_000_000;
            text += &match letter {
                'x' => format!("{sent}\n"),
                server => format!("{sent} {} {server}\n", sent + 50_000),
            };
        }
        Report::parse(&text, Duration::from_millis(1)).unwrap()
    }

    fn at(milliseconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_000 + milliseconds)
    }

    #[test]
    fn interleaved_losses_are_many_gaps_but_one_outage() {
        let report = report("abaxaxaxab");
        let gaps: Vec<_> = report.gaps().into_iter().map(|gap| (gap.from, gap.to)).collect();
        assert_eq!(gaps, vec![(3, 3), (5, 5), (7, 7)]);
        let outage =
            Gap { from: 3, to: 7, lost: 3, start: at(3), end: at(7), duration: Duration::from_millis(5) };
        assert_eq!(report.outages(Duration::from_millis(2)), vec![outage]);
        assert_eq!(report.recovered_after(at(2)), Duration::from_millis(5));
        assert_eq!(report.per_server(), BTreeMap::from([("a".to_owned(), 5), ("b".to_owned(), 2)]));
    }

    #[test]
    fn the_longest_gap_is_a_run() {
        let report = report("axxaxxxaax");
        let longest = report.longest_gap().unwrap();
        assert_eq!((longest.from, longest.to, longest.duration), (4, 6, Duration::from_millis(3)));
        assert_eq!(report.gaps().last().unwrap().duration, Duration::from_millis(1));
        assert_eq!((report.sent(), report.received(), report.lost()), (10, 4, 6));
        assert_eq!(report.since(at(7)).gaps().len(), 1);
    }
}
