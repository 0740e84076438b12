//! Actions on the world from outside: faults and operators. Each has a line of text, which is parsed back to the same
//! action.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use vipcast_bgp::Instant;
use vipcast_node::engine::Force;

use crate::shape::{Shape, router_name};
use crate::words::{Words, duration, shown};

/// The number of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node(pub usize);

/// The number of a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tor(pub usize);

/// How a probed service behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// It answers.
    Alive,
    /// Nobody listens.
    Dead,
    /// It takes a connection and says nothing.
    Hangs,
    /// Dead and alive in turn, each for so long.
    Flaps(Duration),
}

/// Whose bytes do not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silent {
    /// Those of the node.
    Node,
    /// Those of the router.
    Router,
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A probed service behaves so from now on.
    Behave(Node, String, Behaviour),
    /// Someone takes an address away.
    Flush(Node, IpAddr),
    /// Someone puts an address on the host.
    Adopt(Node, IpAddr),
    /// The interface of VIPs goes down or up.
    Link(Node, bool),
    /// The kernel refuses requests, or no longer.
    KernelRefuses(Node, bool),
    /// The answers of the kernel are lost, or no longer.
    KernelMumbles(Node, bool),
    /// Nothing passes between the two, or does again.
    Cut(Node, Tor, bool),
    /// What one of the two sends does not arrive at the other.
    Silence(Node, Tor, Silent),
    /// Every connection between the two is reset.
    Reset(Node, Tor),
    /// Every connection between the two is dead, and nobody is told.
    HalfOpen(Node, Tor),
    /// Connections to the router are refused, or no longer.
    Refuse(Tor, bool),
    /// The router forgets everything and begins anew.
    RestartRouter(Tor),
    /// The process dies, and systemd starts it again after this time.
    Crash(Node, Duration),
    /// The host loses power, and boots after this time.
    PowerLoss(Node, Duration),
    /// SIGTERM, and a start when it has ended.
    Terminate(Node),
    /// Another SIGTERM to a process that stops.
    Hurry(Node),
    /// `vipcast restart`.
    Restart(Node),
    /// `vipcast upgrade`.
    Upgrade(Node),
    /// The configuration file is this one now, and SIGHUP.
    Reload(Node, Shape),
    /// The configuration file is broken now, and SIGHUP.
    ReloadBroken(Node),
    /// `vipcast drain`: a service, or everything.
    Drain(Node, Option<String>, Option<Duration>),
    /// `vipcast undrain`.
    Undrain(Node, Option<String>),
    /// `vipcast force-up` or `force-down`: a service, or everything.
    Force(Node, Option<String>, Force, Option<Duration>),
    /// `vipcast clear`.
    Clear(Node, Option<String>),
    /// The wall clock is set forward or back.
    Wall(Node, i64),
    /// The disk is full, or no longer.
    DiskFull(Node, bool),
    /// The disk does not answer, or does again.
    DiskHangs(Node, bool),
}

/// When something happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed {
    pub at: Instant,
    pub action: Action,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "edge-{}", self.0 + 1)
    }
}

impl fmt::Display for Tor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&router_name(self.0))
    }
}

impl FromStr for Node {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix("edge-").and_then(|number| number.parse::<usize>().ok());
        let number = number.and_then(|number| number.checked_sub(1));
        number.map(Self).ok_or_else(|| format!("no node: {text:?}"))
    }
}

impl FromStr for Tor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        (0..26).find(|n| router_name(*n) == text).map(Self).ok_or_else(|| format!("no router: {text:?}"))
    }
}

impl fmt::Display for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} {}", shown(self.at - Instant::BOOT), self.action)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = |service: &Option<String>| service.clone().unwrap_or_else(|| "everything".to_owned());
        match self {
            Self::Behave(node, service, Behaviour::Alive) => write!(f, "revive {service} on {node}"),
            Self::Behave(node, service, Behaviour::Dead) => write!(f, "kill {service} on {node}"),
            Self::Behave(node, service, Behaviour::Hangs) => write!(f, "hang {service} on {node}"),
            Self::Behave(node, service, Behaviour::Flaps(each)) => {
                write!(f, "flap {service} on {node} every {}", shown(*each))
            }
            Self::Flush(node, ip) => write!(f, "flush {ip} on {node}"),
            Self::Adopt(node, ip) => write!(f, "add {ip} on {node}"),
            Self::Link(node, false) => write!(f, "link down on {node}"),
            Self::Link(node, true) => write!(f, "link up on {node}"),
            Self::KernelRefuses(node, true) => write!(f, "kernel refuses on {node}"),
            Self::KernelRefuses(node, false) => write!(f, "kernel obeys on {node}"),
            Self::KernelMumbles(node, true) => write!(f, "kernel mumbles on {node}"),
            Self::KernelMumbles(node, false) => write!(f, "kernel answers on {node}"),
            Self::Cut(node, tor, true) => write!(f, "cut {node} from {tor}"),
            Self::Cut(node, tor, false) => write!(f, "mend {node} to {tor}"),
            Self::Silence(node, tor, Silent::Node) => write!(f, "silence {node} to {tor}"),
            Self::Silence(node, tor, Silent::Router) => write!(f, "silence {tor} to {node}"),
            Self::Reset(node, tor) => write!(f, "reset {node} to {tor}"),
            Self::HalfOpen(node, tor) => write!(f, "half-open {node} to {tor}"),
            Self::Refuse(tor, true) => write!(f, "refuse at {tor}"),
            Self::Refuse(tor, false) => write!(f, "accept at {tor}"),
            Self::RestartRouter(tor) => write!(f, "restart router {tor}"),
            Self::Crash(node, after) => write!(f, "crash {node} for {}", shown(*after)),
            Self::PowerLoss(node, after) => write!(f, "power-loss {node} for {}", shown(*after)),
            Self::Terminate(node) => write!(f, "terminate {node}"),
            Self::Hurry(node) => write!(f, "hurry {node}"),
            Self::Restart(node) => write!(f, "restart {node}"),
            Self::Upgrade(node) => write!(f, "upgrade {node}"),
            Self::Reload(node, shape) => write!(f, "reload {node} to {shape}"),
            Self::ReloadBroken(node) => write!(f, "reload {node} broken"),
            Self::Drain(node, service, None) => write!(f, "drain {} on {node}", what(service)),
            Self::Drain(node, service, Some(lasts)) => {
                write!(f, "drain {} on {node} for {}", what(service), shown(*lasts))
            }
            Self::Undrain(node, service) => write!(f, "undrain {} on {node}", what(service)),
            Self::Force(node, service, to, None) => {
                write!(f, "force-{} {} on {node}", to.word(), what(service))
            }
            Self::Force(node, service, to, Some(lasts)) => {
                write!(f, "force-{} {} on {node} for {}", to.word(), what(service), shown(*lasts))
            }
            Self::Clear(node, service) => write!(f, "clear {} on {node}", what(service)),
            Self::Wall(node, seconds) => write!(f, "wall clock {seconds:+} on {node}"),
            Self::DiskFull(node, true) => write!(f, "disk full on {node}"),
            Self::DiskFull(node, false) => write!(f, "disk empty on {node}"),
            Self::DiskHangs(node, true) => write!(f, "disk hangs on {node}"),
            Self::DiskHangs(node, false) => write!(f, "disk answers on {node}"),
        }
    }
}

impl FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = Words::of(text);
        let action = match words.take()? {
            "revive" => behave(&mut words, Behaviour::Alive)?,
            "kill" => behave(&mut words, Behaviour::Dead)?,
            "hang" => behave(&mut words, Behaviour::Hangs)?,
            "flap" => {
                let (service, node) = (words.take()?.to_owned(), words.after("on")?);
                Self::Behave(node, service, Behaviour::Flaps(duration(words.word_after("every")?)?))
            }
            "flush" => Self::Flush(words.swap("on")?, words.kept()?),
            "add" => Self::Adopt(words.swap("on")?, words.kept()?),
            "link" => {
                let up = words.either("up", "down")?;
                Self::Link(words.after("on")?, up)
            }
            "kernel" => match words.take()? {
                "refuses" => Self::KernelRefuses(words.after("on")?, true),
                "obeys" => Self::KernelRefuses(words.after("on")?, false),
                "mumbles" => Self::KernelMumbles(words.after("on")?, true),
                "answers" => Self::KernelMumbles(words.after("on")?, false),
                other => return Err(format!("a kernel does not {other:?}")),
            },
            "cut" => Self::Cut(words.parse()?, words.after("from")?, true),
            "mend" => Self::Cut(words.parse()?, words.after("to")?, false),
            "silence" if words.peek().is_some_and(|word| word.parse::<Node>().is_ok()) => {
                Self::Silence(words.parse()?, words.after("to")?, Silent::Node)
            }
            "silence" => {
                let tor = words.parse()?;
                Self::Silence(words.after("to")?, tor, Silent::Router)
            }
            "reset" => Self::Reset(words.parse()?, words.after("to")?),
            "half-open" => Self::HalfOpen(words.parse()?, words.after("to")?),
            "refuse" => Self::Refuse(words.after("at")?, true),
            "accept" => Self::Refuse(words.after("at")?, false),
            "restart" if words.peek() == Some("router") => Self::RestartRouter(words.after("router")?),
            "restart" => Self::Restart(words.parse()?),
            "upgrade" => Self::Upgrade(words.parse()?),
            "crash" => Self::Crash(words.parse()?, duration(words.word_after("for")?)?),
            "power-loss" => Self::PowerLoss(words.parse()?, duration(words.word_after("for")?)?),
            "terminate" => Self::Terminate(words.parse()?),
            "hurry" => Self::Hurry(words.parse()?),
            "reload" => {
                let node = words.parse()?;
                match words.take()? {
                    "broken" => Self::ReloadBroken(node),
                    "to" => Self::Reload(node, words.parse()?),
                    other => return Err(format!("a reload is `broken`, or `to` something, not {other:?}")),
                }
            }
            "drain" => {
                let service = scope(words.take()?);
                let node = words.after("on")?;
                let lasts = words.peek().is_some().then(|| words.word_after("for").and_then(duration));
                Self::Drain(node, service, lasts.transpose()?)
            }
            "force-up" => force(&mut words, Force::Up)?,
            "force-down" => force(&mut words, Force::Down)?,
            "clear" => {
                let service = scope(words.take()?);
                Self::Clear(words.after("on")?, service)
            }
            "undrain" => {
                let service = scope(words.take()?);
                Self::Undrain(words.after("on")?, service)
            }
            "wall" => {
                words.expect("clock")?;
                let by = words.take()?.trim_start_matches('+').to_owned();
                let by = by.parse().map_err(|_| format!("no number of seconds: {by:?}"))?;
                Self::Wall(words.after("on")?, by)
            }
            "disk" => match words.take()? {
                "full" => Self::DiskFull(words.after("on")?, true),
                "empty" => Self::DiskFull(words.after("on")?, false),
                "hangs" => Self::DiskHangs(words.after("on")?, true),
                "answers" => Self::DiskHangs(words.after("on")?, false),
                other => return Err(format!("a disk does not {other:?}")),
            },
            other => return Err(format!("no action: {other:?}")),
        };
        words.end()?;
        Ok(action)
    }
}

fn behave(words: &mut Words<'_>, behaviour: Behaviour) -> Result<Action, String> {
    let service = words.take()?.to_owned();
    Ok(Action::Behave(words.after("on")?, service, behaviour))
}

fn force(words: &mut Words<'_>, to: Force) -> Result<Action, String> {
    let service = scope(words.take()?);
    let node = words.after("on")?;
    let lasts = words.peek().is_some().then(|| words.word_after("for").and_then(duration));
    Ok(Action::Force(node, service, to, lasts.transpose()?))
}

fn scope(word: &str) -> Option<String> {
    (word != "everything").then(|| word.to_owned())
}
