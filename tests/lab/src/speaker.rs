//! A BGP peer that misbehaves on purpose, or only counts: floods, asks for all routes all the time, stops reading,
//! sends a byte a second; and writes down the arrival time of each message.
//!
//! It is `vipcast-lab-agent` inside a host, with the codec of `vipcast-bgp` and nothing else of it. It listens on the
//! BGP port and speaks IPv4 unicast; the program under test dials. Commands go to its standard input, one a line:
//!
//! | command | effect |
//! | --- | --- |
//! | `flood ROUTES TOGETHER BURSTS BURST MS` | sends ROUTES distinct routes, TOGETHER in an UPDATE, with bursts of refresh requests among them; repeats until MS have passed |
//! | `ask COUNT` | asks for all routes COUNT times, without waiting for an answer |
//! | `deaf` | stops reading; its KEEPALIVEs go on |
//! | `drip` | sends its next message a byte a second, and nothing else |

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;

use crate::host::Host;
use crate::process::Process;
use crate::{agent, wait};

/// More than a flood takes on a busy machine with nothing optimised.
const PATIENCE: Duration = Duration::from_secs(180);

/// How a speaker is.
#[derive(Debug, Clone)]
pub struct SpeakerOptions {
    /// Its autonomous system.
    pub asn: u32,
    /// Its BGP identifier.
    pub router_id: Ipv4Addr,
    /// Seconds.
    pub hold_time: u16,
    /// Sends its OPEN a byte a second.
    pub drips: bool,
    /// Has small buffers, so that it shows soon when it does not read.
    pub small: bool,
}

impl SpeakerOptions {
    /// A good peer with a hold time of 9 s.
    pub fn new(asn: u32, router_id: Ipv4Addr) -> Self {
        Self { asn, router_id, hold_time: 9, drips: false, small: false }
    }
}

/// A running speaker.
#[derive(Debug)]
pub struct Speaker {
    process: Process,
    report: PathBuf,
    commands: std::cell::Cell<usize>,
}

/// What is sent at full speed.
#[derive(Debug, Clone, Copy)]
pub struct Flood {
    /// Distinct routes.
    pub routes: u32,
    /// Routes in an UPDATE.
    pub together: u32,
    /// Bursts of requests for a refresh, evenly among them.
    pub bursts: u32,
    /// Requests in a burst.
    pub burst: u32,
    /// All of it is sent once, and again until so much time has passed.
    pub lasting: Duration,
}

/// How fast a flood went.
#[derive(Debug, Clone, Copy)]
pub struct Flooded {
    /// How often everything was sent.
    pub rounds: u32,
    /// Until the kernel of the speaker had it all.
    pub written: Duration,
    /// Until a request for a refresh behind it was answered: everything was taken in.
    pub answered: Duration,
}

impl Speaker {
    /// Starts a speaker that listens on the BGP port of `host`.
    ///
    /// # Errors
    /// When the agent does not start.
    pub fn start(host: &Host, options: &SpeakerOptions) -> Result<Self> {
        let number = host.scene().next_number();
        let report = host.write_file(&format!("speaker-{number}.report"), "")?;
        let SpeakerOptions { asn, router_id, hold_time, drips, small } = options;
        let mut command = host.command(agent::path()?);
        command.args(["speaker", "0.0.0.0:179", &asn.to_string(), &router_id.to_string()]);
        command.arg(hold_time.to_string()).arg(&report);
        command.args(drips.then_some("drips")).args(small.then_some("small"));
        let process = host.spawn(&format!("speaker-{number}"), command)?;
        wait::until("the speaker to listen", Duration::from_secs(10), || {
            let log = process.log();
            ensure!(log.lines().any(|line| line == "ready"), "its log: {log}");
            Ok(())
        })?;
        Ok(Self { process, report, commands: 0.into() })
    }

    /// Sends many routes, and waits until they were taken in.
    ///
    /// # Errors
    /// When there is no session, or it ends, or nothing is announced that could be the answer.
    pub fn flood(&self, flood: Flood) -> Result<Flooded> {
        let Flood { routes, together, bursts, burst, lasting } = flood;
        let milliseconds = lasting.as_millis();
        let said = self.order(&format!("flood {routes} {together} {bursts} {burst} {milliseconds}"))?;
        let microseconds = |word: Option<&str>| -> Result<Duration> {
            Ok(Duration::from_micros(word.context("no time")?.parse()?))
        };
        let mut words = said.split(' ');
        Ok(Flooded {
            rounds: words.next().context("no rounds")?.parse()?,
            written: microseconds(words.next())?,
            answered: microseconds(words.next())?,
        })
    }

    /// Asks for all routes `count` times, one after the other.
    ///
    /// # Errors
    /// When there is no session, or it ends.
    pub fn ask(&self, count: u32) -> Result<()> {
        self.order(&format!("ask {count}")).map(drop)
    }

    /// Reads nothing from now on.
    ///
    /// # Errors
    /// When the agent has ended.
    pub fn stop_reading(&self) -> Result<()> {
        self.order("deaf").map(drop)
    }

    /// Sends its next message a byte a second.
    ///
    /// # Errors
    /// When there is no session.
    pub fn drip(&self) -> Result<()> {
        self.order("drip").map(drop)
    }

    /// Ends it, and tells what it has heard.
    ///
    /// # Errors
    /// When the agent does not end well.
    pub fn stop(self) -> Result<Heard> {
        self.process.close_stdin();
        let status = self.process.wait_exit(Duration::from_secs(10))?;
        ensure!(status.success(), "the speaker failed: {status}: {}", self.process.log());
        Heard::parse(&fs::read_to_string(&self.report).context("cannot read the report of the speaker")?)
    }

    fn order(&self, command: &str) -> Result<String> {
        self.process.write_line(command)?;
        self.commands.set(self.commands.get() + 1);
        let done = format!("done {} ", self.commands.get());
        wait::until(format!("the speaker to obey {command:?}"), PATIENCE, || {
            let log = self.process.log();
            let said = log.lines().find_map(|line| line.strip_prefix(&done)).map(str::to_owned);
            if said.is_none() && !self.process.is_running() {
                return Ok(Err(anyhow::anyhow!("the speaker has ended: {log}")));
            }
            said.map(Ok).context(log)
        })?
    }
}

/// What a speaker has heard, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// In the order of time.
    pub events: Vec<(SystemTime, Event)>,
}

/// What may happen to a speaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The session is established.
    Up,
    /// A connection has ended, and how.
    Down(String),
    /// A KEEPALIVE.
    Keepalive,
    /// An UPDATE. What it says follows.
    Update,
    /// A route in it.
    Announced(IpNet),
    /// A route that it ends.
    Withdrawn(IpNet),
    /// A ROUTE-REFRESH.
    Refresh,
    /// A NOTIFICATION, in words.
    Notification(String),
}

impl Heard {
    /// Sessions that were established.
    pub fn sessions(&self) -> usize {
        self.count(&Event::Up)
    }

    /// How often this was heard.
    pub fn count(&self, event: &Event) -> usize {
        self.events.iter().filter(|(_, seen)| seen == event).count()
    }

    /// The longest time of a session between two messages that prove the other side alive, KEEPALIVE or UPDATE (RFC 4271
    /// §8.2.2), of those that came from `since` on.
    pub fn longest_silence(&self, since: SystemTime) -> Duration {
        let mut last: Option<SystemTime> = None;
        let mut longest = Duration::ZERO;
        for (at, event) in self.events.iter().filter(|(at, _)| *at >= since) {
            match event {
                Event::Up | Event::Down(_) => last = None,
                Event::Keepalive | Event::Update => {
                    let silence = last.and_then(|last| at.duration_since(last).ok());
                    longest = longest.max(silence.unwrap_or_default());
                    last = Some(*at);
                }
                Event::Announced(_) | Event::Withdrawn(_) | Event::Refresh | Event::Notification(_) => {}
            }
        }
        longest
    }

    /// The agent writes the time of its start as nanoseconds since 1970, then a line an event:
    /// `<nanoseconds since the start> <event> <more>`.
    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        let start = lines.next().context("the report of the speaker is empty")?;
        let start = SystemTime::UNIX_EPOCH + Duration::from_nanos(start.parse()?);
        let parse = |line: &str| -> Result<(SystemTime, Event)> {
            let mut words = line.splitn(3, ' ');
            let at = Duration::from_nanos(words.next().unwrap_or_default().parse()?);
            let (word, more) =
                (words.next().unwrap_or_default(), words.next().unwrap_or_default().to_owned());
            let event = match word {
                "up" => Event::Up,
                "down" => Event::Down(more),
                "keepalive" => Event::Keepalive,
                "update" => Event::Update,
                "announced" => Event::Announced(more.parse()?),
                "withdrawn" => Event::Withdrawn(more.parse()?),
                "refresh" => Event::Refresh,
                "notification" => Event::Notification(more),
                _ => bail!("an unknown event"),
            };
            Ok((start + at, event))
        };
        let events = lines.map(|line| parse(line).with_context(|| format!("a bad line: {line:?}")));
        Ok(Self { events: events.collect::<Result<_>>()? })
    }
}

/// Connects to a BGP port `count` times from `host` and closes at once, every second time after an OPEN.
///
/// # Errors
/// When a connection cannot be made.
pub fn knock(host: &Host, target: SocketAddr, count: u32, options: &SpeakerOptions) -> Result<()> {
    let mut command = host.command(agent::path()?);
    command.args(["knock", &target.to_string(), &count.to_string(), &options.asn.to_string()]);
    command.args([options.router_id.to_string(), options.hold_time.to_string()]);
    run(host, "knock", command).map(drop)
}

/// Connects to a BGP port `count` times from `host`, as somebody whom nobody knows, and stays until closed. Returns how many
/// were sent anything.
///
/// # Errors
/// When a connection cannot be made, or is not closed.
pub fn linger(host: &Host, target: SocketAddr, count: u32) -> Result<u32> {
    let mut command = host.command(agent::path()?);
    command.args(["linger", &target.to_string(), &count.to_string()]);
    let log = run(host, "linger", command)?;
    let answered = log.lines().find_map(|line| line.strip_prefix("closed ")?.split(' ').nth(2));
    Ok(answered.with_context(|| format!("no count in {log}"))?.parse()?)
}

fn run(host: &Host, name: &str, command: std::process::Command) -> Result<String> {
    let process = host.spawn(&format!("{name}-{}", host.scene().next_number()), command)?;
    let status = process.wait_exit(PATIENCE)?;
    ensure!(status.success(), "{name} failed: {status}: {}", process.log());
    Ok(process.log())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_measured_inside_of_sessions_between_signs_of_life() {
        let text = "1000000000\n0 up \n0 keepalive \n100 update \n100 announced 192.0.2.1/32\n350 refresh \n400 keepalive \n\
                    500 notification Cease / Administrative Shutdown\n900 down end of file\n2000 up \n\
                    2000 keepalive \n2200 keepalive \n";
        let heard = Heard::parse(text).unwrap();
        let at = |ns| SystemTime::UNIX_EPOCH + Duration::from_secs(1) + Duration::from_nanos(ns);
        assert_eq!((heard.sessions(), heard.count(&Event::Keepalive)), (2, 4));
        assert_eq!(heard.longest_silence(at(0)), Duration::from_nanos(300));
        assert_eq!(heard.longest_silence(at(400)), Duration::from_nanos(200));
        let cease = Event::Notification("Cease / Administrative Shutdown".to_owned());
        assert_eq!(heard.events[3], (at(100), Event::Announced("192.0.2.1/32".parse().unwrap())));
        assert_eq!(heard.events[6], (at(500), cease));
        assert!(Heard::parse("1\n1 sideways \n").is_err());
    }
}
