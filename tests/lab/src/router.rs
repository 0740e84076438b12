//! Routers of four kinds behind one trait, so that a test can be written once and run against each.
//!
//! A kind is one file: it writes the configuration, starts the daemons, and reads their answers.
//!
//! | | FRR | BIRD | GoBGP | OpenBGPD |
//! | --- | --- | --- | --- | --- |
//! | routes reach the kernel | yes, ECMP | yes, ECMP | no | no |
//! | MED that is absent | `None` | `None` | `None` | `Some(0)` |
//! | extended next hop (RFC 8950) | yes | yes | yes | no |
//! | port of a neighbour | yes | yes | yes | yes |
//! | `ttl_security` above 1 | yes | yes | yes | no |
//! | BFD | yes | yes | no | no |
//! | up again after a Cease, if the neighbour dials | 1 s | 1 s | 5 s | 1 s, then 60 s, 120 s |
//! | … if the neighbour only listens | 2 s | 1 s | 10 to 14 s | 30 s, then 60 s |
//! | … after its neighbour was killed | at once | at once | 5 s | at once |
//! | … after [`Router::clear`] | 2 s | 1 s | 30 s | 2 to 5 s |
//!
//! These times are measured, with neighbours that dial every second. While it waits, GoBGP and OpenBGPD close calls.
//! OpenBGPD waits longer after each NOTIFICATION, whatever it says; a call ends the wait after the first one only, and
//! [`Router::unshut`] ends any.

mod bird;
mod config;
mod frr;
mod gobgp;
mod instance;
mod openbgpd;

pub use config::{Announcement, Bfd, Family, Neighbor, RouterConfig};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use ipnet::IpNet;

use crate::host::Host;
use crate::{lab, wait};

/// What the routes of a router are: by prefix, each with all paths, the best first where the router sorts them.
pub type Routes = BTreeMap<IpNet, Vec<Path>>;

/// A router that runs on a host.
pub trait Router: Send + Sync + fmt::Debug {
    /// Whose software it is.
    fn kind(&self) -> RouterKind;

    /// The host it runs on.
    fn host(&self) -> &Host;

    /// What it was configured with.
    fn config(&self) -> &RouterConfig;

    /// The state of the session in the router's own word.
    ///
    /// # Errors
    /// When the router does not answer or does not know the neighbour.
    fn state(&self, neighbor: IpAddr) -> Result<String>;

    /// All routes of both families: those received and accepted, and its own.
    ///
    /// # Errors
    /// When the router does not answer, or something that is not understood.
    fn routes(&self) -> Result<Routes>;

    /// What the router has counted of a neighbour since it was started.
    ///
    /// # Errors
    /// When the router does not answer, or something that is not understood.
    fn history(&self, neighbor: IpAddr) -> Result<History>;

    /// The last NOTIFICATION that this neighbour sent since the router was started.
    ///
    /// # Errors
    /// When the router does not answer, or something that is not understood.
    fn received_notification(&self, neighbor: IpAddr) -> Result<Option<Notification>>;

    /// The BFD session with a neighbour that has one.
    ///
    /// # Errors
    /// When the router has no BFD, does not answer, or has no session with the neighbour.
    fn bfd(&self, neighbor: IpAddr) -> Result<BfdState>;

    /// Gives the BFD session with a neighbour new timers.
    ///
    /// # Errors
    /// When the router has no BFD, or refuses.
    fn set_bfd(&self, neighbor: IpAddr, bfd: Bfd) -> Result<()>;

    /// Sends the neighbour a ROUTE-REFRESH for each family of the session.
    ///
    /// # Errors
    /// When the router refuses, for example because the session is down.
    fn refresh(&self, neighbor: IpAddr) -> Result<()>;

    /// Resets the session, which then comes back by itself.
    ///
    /// # Errors
    /// When the router refuses.
    fn clear(&self, neighbor: IpAddr) -> Result<()>;

    /// Shuts the session down for good, with a message for the neighbour (RFC 9003).
    ///
    /// # Errors
    /// When the router refuses.
    fn shut(&self, neighbor: IpAddr, message: &str) -> Result<()>;

    /// Ends [`Router::shut`].
    ///
    /// # Errors
    /// When the router refuses.
    fn unshut(&self, neighbor: IpAddr) -> Result<()>;

    /// Runs a command of the router's own command line (`vtysh -c`, `birdc`, `gobgp`, `bgpctl`).
    ///
    /// # Errors
    /// When it fails; what it said is in the message.
    fn cli(&self, command: &str) -> Result<String>;

    /// Starts it again after [`Router::stop`] or [`Router::kill`], and waits until it answers.
    ///
    /// # Errors
    /// When it does not, with its log.
    fn start(&self) -> Result<()>;

    /// Ends it as an operator would (`SIGTERM`); it may say goodbye to its neighbours.
    ///
    /// # Errors
    /// When it does not end within ten seconds.
    fn stop(&self) -> Result<()>;

    /// Kills all its processes at once (`SIGKILL`), and waits for their end.
    fn kill(&self);

    /// The pid of the process that speaks BGP (to freeze it with `SIGSTOP`, say).
    ///
    /// # Errors
    /// When it does not run.
    fn pid(&self) -> Result<u32>;

    /// What its processes have written since they were last started.
    fn log(&self) -> String;

    /// Everything useful: configuration, sessions, routes. The logs are in the dump of the lab.
    fn dump(&self) -> String;

    /// How many routes it has of a neighbour. The answers of FRR and BIRD cost next to nothing, those of the others
    /// all their routes.
    ///
    /// # Errors
    /// When it does not answer.
    fn count(&self, neighbor: IpAddr) -> Result<usize> {
        let routes = self.routes()?;
        Ok(routes.values().filter(|paths| paths.iter().any(|path| path.peer == Some(neighbor))).count())
    }

    /// Whether the session is Established.
    ///
    /// # Errors
    /// Those of [`Router::state`].
    fn established(&self, neighbor: IpAddr) -> Result<bool> {
        Ok(self.state(neighbor)?.eq_ignore_ascii_case("established"))
    }

    /// Kills it and starts it again.
    ///
    /// # Errors
    /// Those of [`Router::start`].
    fn restart(&self) -> Result<()> {
        self.kill();
        self.start()
    }

    /// Waits until the session is Established.
    ///
    /// # Errors
    /// After `timeout`, with the last state.
    fn wait_established(&self, neighbor: IpAddr, timeout: Duration) -> Result<()> {
        wait::until(format!("{} to be established with {neighbor}", self.host().name()), timeout, || {
            let state = self.state(neighbor)?;
            ensure!(state.eq_ignore_ascii_case("established"), "{state}");
            Ok(())
        })
    }
}

/// Whose software a router is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouterKind {
    /// FRRouting: zebra and bgpd.
    Frr,
    /// BIRD 2.
    Bird,
    /// GoBGP.
    GoBgp,
    /// OpenBGPD, the portable one.
    OpenBgpd,
}

impl RouterKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Frr, Self::Bird, Self::GoBgp, Self::OpenBgpd];

    /// Whether it is installed, and if not, what to install.
    ///
    /// # Errors
    /// Names what is missing and its Debian package.
    pub fn available(self) -> Result<(), String> {
        let (programs, package): (&[&str], &str) = match self {
            Self::Frr => (&["/usr/lib/frr/zebra", "/usr/lib/frr/bgpd", "vtysh"], "frr"),
            Self::Bird => (&["bird", "birdc"], "bird2"),
            Self::GoBgp => (&["gobgpd", "gobgp"], "gobgpd"),
            Self::OpenBgpd => (&["bgpd", "bgpctl"], "openbgpd"),
        };
        match programs.iter().find(|program| lab::find_program(program).is_none()) {
            Some(missing) => Err(format!("{missing} is missing (Debian package {package})")),
            None => Ok(()),
        }
    }

    /// Whether its routes reach the kernel, so that it can forward.
    pub fn forwards(self) -> bool {
        match self {
            Self::Frr | Self::Bird => true,
            Self::GoBgp | Self::OpenBgpd => false,
        }
    }

    /// Whether it speaks BFD.
    pub fn has_bfd(self) -> bool {
        match self {
            Self::Frr | Self::Bird => true,
            Self::GoBgp | Self::OpenBgpd => false,
        }
    }
}

impl fmt::Display for RouterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frr => "frr",
            Self::Bird => "bird",
            Self::GoBgp => "gobgp",
            Self::OpenBgpd => "openbgpd",
        })
    }
}

/// One path to a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The BGP next hop (the global one of two); unspecified for a route of the router's own.
    pub next_hop: IpAddr,
    /// The AS path, nearest first; members of sets are in it like the others.
    pub as_path: Vec<u32>,
    /// MULTI_EXIT_DISC. OpenBGPD shows an absent one as 0.
    pub med: Option<u32>,
    /// LOCAL_PREF, where the router shows one.
    pub local_pref: Option<u32>,
    /// Communities as numbers, `65535:0` for GRACEFUL_SHUTDOWN.
    pub communities: BTreeSet<String>,
    /// Large communities, `65001:1:2`.
    pub large_communities: BTreeSet<String>,
    /// The neighbour it came from; `None` for a route of the router's own.
    pub peer: Option<IpAddr>,
    /// Whether the router prefers it. With ECMP there is still only one best.
    pub best: bool,
}

/// A BFD session as a router sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BfdState {
    /// Its state in lower case: `up`.
    pub state: String,
    /// The router sends that often, before jitter.
    pub transmit: Duration,
    /// The router declares the session down after so long a silence.
    pub detection: Duration,
}

/// What a router has counted of a neighbour, and of the BFD session with it.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Its counters, in its own words. They stay as they are for as long as the session stands, and differ afterwards.
    pub session: String,
    /// The same for BFD; `None` without it.
    pub bfd: Option<String>,
    /// Since when they stand, where the router counts nothing.
    pub since: Vec<Since>,
    /// The UPDATEs of the neighbour, or its routes and withdrawals, whatever the router counts.
    pub updates: u64,
}

impl History {
    /// Whether it is the same session, whatever was sent.
    pub fn is_same_session(&self, other: &Self) -> bool {
        (&self.session, &self.bfd, &self.since) == (&other.session, &other.bfd, &other.since)
    }
}

/// A time of day. BIRD computes it anew for each answer, so two are the same within a tenth of a second.
#[derive(Debug, Clone, Copy)]
pub struct Since(Duration);

impl Since {
    /// Reads `12:47:03.279`.
    pub fn read(text: &str) -> Option<Self> {
        let (clock, seconds) = text.rsplit_once(':')?;
        let (hours, minutes) = clock.split_once(':')?;
        let minutes = hours.parse::<u32>().ok()? * 60 + minutes.parse::<u32>().ok()?;
        let seconds = Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?;
        Some(Self(Duration::from_secs(u64::from(minutes) * 60) + seconds))
    }
}

impl PartialEq for Since {
    fn eq(&self, other: &Self) -> bool {
        self.0.abs_diff(other.0) < Duration::from_millis(100)
    }
}

/// A NOTIFICATION that a router has received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The error code: 6 is Cease.
    pub code: u8,
    /// The subcode: 2 is Administrative Shutdown with code 6.
    pub subcode: u8,
    /// The shutdown communication (RFC 9003).
    pub text: Option<String>,
}

pub(crate) fn start(kind: RouterKind, host: &Host, config: &RouterConfig) -> Result<Arc<dyn Router>> {
    kind.available().map_err(|reason| anyhow!("no {kind}: {reason}"))?;
    for password in config.neighbors.iter().filter_map(|neighbor| neighbor.password.as_ref()) {
        ensure!(!password.contains(char::is_whitespace), "FRR ends a password at a space: {password:?}");
    }
    let router: Arc<dyn Router> = match kind {
        RouterKind::Frr => Arc::new(frr::Frr::new(host, config)?),
        RouterKind::Bird => Arc::new(bird::Bird::new(host, config)?),
        RouterKind::GoBgp => Arc::new(gobgp::GoBgp::new(host, config)?),
        RouterKind::OpenBgpd => Arc::new(openbgpd::OpenBgpd::new(host, config)?),
    };
    router.start()?;
    Ok(router)
}

/// A community in numbers, whatever the router calls it (RFC 1997, RFC 7999, RFC 8326, RFC 9494).
fn community(word: &str) -> String {
    let plain: String = word.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    match plain.as_str() {
        "gracefulshutdown" => "65535:0",
        "acceptown" => "65535:1",
        "llgrstale" => "65535:6",
        "nollgr" => "65535:7",
        "blackhole" => "65535:666",
        "noexport" => "65535:65281",
        "noadvertise" => "65535:65282",
        "localas" | "noexportsubconfed" => "65535:65283",
        "nopeer" => "65535:65284",
        _ => word,
    }
    .to_owned()
}

/// The numbers in `65000 {65001 65002}`.
fn as_path(text: &str) -> Result<Vec<u32>> {
    let words = text.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty());
    Ok(words.map(str::parse).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_communities_are_numbers_however_they_are_spelt() {
        for word in ["gracefulShutdown", "graceful-shutdown", "GRACEFUL_SHUTDOWN"] {
            assert_eq!(community(word), "65535:0");
        }
        assert_eq!(community("65001:100"), "65001:100");
    }

    #[test]
    fn times_of_day_are_the_same_within_a_tenth_of_a_second() {
        let since = |text| Since::read(text).unwrap();
        assert_eq!(since("12:47:03.279"), since("12:47:03.280"));
        assert_ne!(since("12:47:03.279"), since("12:47:03.400"));
        assert!(Since::read("2026-11-27").is_none());
    }

    #[test]
    fn an_as_path_with_a_set_is_flattened() {
        assert_eq!(as_path("65000 {65001,65002}").unwrap(), vec![65000, 65001, 65002]);
        assert_eq!(as_path("").unwrap(), Vec::<u32>::new());
    }
}
