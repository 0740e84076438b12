//! A record in words: one line, the values as fields, each with its cause. The log and the events are made from it.
//!
//! ```text
//!  Record ─► Lines ─► Told ─┬─► log
//!            (thread        ├─► events: ring, file, stream, hooks
//!             "journal")    └─► metrics
//! ```
//!
//! Only this module leaves out what is repeated too often.

mod notices;
mod sessions;
mod thread;
mod told;

use std::time::Duration;

use tracing::debug;
use vipcast_node::engine::{Order, Override, Place, Verdict};
use vipcast_node::health::report::HealthState;
use vipcast_node::record::{Record, Warning, What};

pub(crate) use self::sessions::Frozen;
use self::sessions::Sessions;
pub use self::thread::Journal;
pub(crate) use self::told::Told;
use self::told::told;
use crate::control::view::verdict_word;

/// Folds records into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    sessions: Sessions,
    /// Whether the daemon only observes.
    observes: bool,
}

impl Lines {
    /// After what the program before has told of sessions.
    pub(crate) fn thaw(observes: bool, before: &Frozen) -> Self {
        Self { sessions: Sessions::thaw(before), observes }
    }

    /// What it has told of sessions.
    pub(crate) fn freeze(&self) -> Frozen {
        self.sessions.freeze()
    }

    /// Writes a record to the log, and returns its line. `None`: repeated, or of interest only for debugging.
    pub(crate) fn tell(&mut self, record: &Record) -> Option<Told> {
        Some(match &record.what {
            What::Vip { vip, service, from, to, cause } => {
                let reason = to.as_ref().and_then(Verdict::reason).map(ToString::to_string);
                let (reason, cause) = (reason.as_deref(), cause.as_deref());
                let (was, now) = (verdict_word(from.as_ref()), verdict_word(to.as_ref()));
                match (from.as_ref().is_some_and(Verdict::is_announced), to) {
                    // Before its checks have settled every VIP is withheld, which is no news.
                    (false, Some(Verdict::Withhold(_))) => {
                        told!(debug Withheld: %vip, %service, was, now, reason, cause, "VIP withheld")
                    }
                    (true, Some(Verdict::Withhold(_))) if self.observes => {
                        told!(warn Withheld: %vip, %service, was, now, reason, cause, "VIP would be withdrawn")
                    }
                    (true, Some(Verdict::Withhold(_))) => {
                        told!(warn Withdrawn: %vip, %service, was, now, reason, cause, "VIP withdrawn")
                    }
                    (_, Some(Verdict::Announce)) if self.observes => {
                        told!(info Ready: %vip, %service, was, now = "ready", cause, "VIP would be announced")
                    }
                    // The announcement is logged when a router has the VIP: see `What::Reached`.
                    (_, Some(Verdict::Announce)) => {
                        told!(debug Ready: %vip, %service, was, now = "ready", cause, "VIP ready")
                    }
                    (_, Some(Verdict::Demote { .. })) if self.observes => {
                        told!(warn Ready: %vip, %service, was, now, reason, cause, "VIP would be demoted")
                    }
                    (_, Some(Verdict::Demote { .. })) => {
                        told!(warn Demoted: %vip, %service, was, now, reason, cause, "VIP demoted")
                    }
                    (_, None) => told!(info Removed: %vip, %service, was, now, "VIP no longer configured"),
                }
            }
            What::Reached { vip, service, routers } => {
                told!(info Announced: %vip, %service, routers, "VIP announced")
            }
            What::Unreached { vips, why } => {
                const SHOWN: usize = 5;
                let (count, more) = (vips.len(), vips.len().saturating_sub(SHOWN));
                let vips = words(vips.iter().take(SHOWN));
                let more = (more > 0).then_some(more);
                if count == 1 {
                    told!(warn Unreached: vip = vips, "VIP ready, no router has it: {why}")
                } else {
                    told!(warn Unreached: count, vips, more, "VIPs ready, no router has them: {why}")
                }
            }
            What::Check { check, state, detail } => match state {
                HealthState::Up => told!(info CheckUp: %check, detail, "check up"),
                HealthState::Down => told!(warn CheckDown: %check, detail, "check down"),
                HealthState::Rising => told!(debug CheckRising: %check, detail, "check rising"),
                HealthState::Falling => told!(debug CheckFalling: %check, detail, "check falling"),
                HealthState::Unknown => told!(debug CheckUnknown: %check, detail, "check not settled yet"),
            },
            What::Degraded { check, limit: Some(limit) } => {
                told!(warn CheckDegraded: %check, limit, "check degraded")
            }
            What::Degraded { check, limit: None } => {
                told!(info CheckRecovered: %check, "check no longer degraded")
            }
            What::Promoted(service, Override { order: Order { by, reason }, .. }) => {
                told!(info Promoted: %service, by, reason, "promoted")
            }
            What::AddressLost(place) => {
                let (address, route, what) = named(place);
                told!(warn AddressLost: address, route, interface = place.interface, "{what} vanished: putting it back")
            }
            What::AddressStays { place, losses } => {
                let (address, route, what) = named(place);
                let interface = &place.interface;
                told!(info AddressStays:
                    address,
                    route, interface, losses, "{what} stays again after it was taken away repeatedly"
                )
            }
            What::AddressAdopted(place) => {
                let (address, route, what) = named(place);
                told!(info AddressAdopted: address, route, interface = place.interface, "{what} of an earlier run found")
            }
            What::AddressFailed(place, error) => {
                let (address, route, what) = named(place);
                told!(warn AddressFailed: address, route, interface = place.interface, error, "cannot change the {what}")
            }
            What::NoInterface(interface) => {
                told!(warn InterfaceMissing: interface, "there is no such interface; VIPs that belong on it are not bound")
            }
            What::AddressesLeft(left) => {
                let (count, first) = (left.len(), left.first().map(|binding| binding.vip().short()));
                told!(warn AddressesLeft:
                    count,
                    first, "addresses or local routes are left on the host: the kernel has not removed them"
                )
            }
            What::Drained(service, Override { order: Order { by, reason }, ends, .. }) => {
                let until = ends.map(|ends| format!("{:.0}", ends.wall));
                told!(info DrainBegins: %service, by, reason, until, "drain begins")
            }
            What::Undrained(service, Some(Order { by, reason })) => {
                told!(info DrainEnds: %service, by, reason, "drain lifted")
            }
            What::Undrained(service, None) => told!(info DrainEnds: %service, "drain is over"),
            What::MachineMayStop => {
                told!(info Shutdown: "every router was told: the machine may go down")
            }
            What::DrainWaits { service, waits: true } => {
                told!(info DrainWaits: %service, "the service is no longer configured; its drain waits for it to come back")
            }
            What::DrainWaits { service, waits: false } => {
                told!(info DrainWaits: %service, "the service is back, and still drained")
            }
            What::Forced { scope: service, to, with: Override { order: Order { by, reason }, ends, .. } } => {
                let until = ends.map(|ends| format!("{:.0}", ends.wall));
                told!(warn Forced: %service, by, reason, until, "forced {}", to.word())
            }
            What::Cleared(service, Some(Order { by, reason })) => {
                told!(info Cleared: %service, by, reason, "no longer forced")
            }
            What::Cleared(service, None) => told!(info Cleared: %service, "force is over"),
            What::ForceWaits { service, to, waits: true } => {
                let to = to.word();
                told!(info ForceWaits: %service, to, "the service is no longer configured; its force waits for it to come back")
            }
            What::ForceWaits { service, to, waits: false } => {
                told!(info ForceWaits: %service, "the service is back, and still forced {}", to.word())
            }
            What::PeerDrained(peer, Override { order: Order { by, reason }, ends, .. }) => {
                let until = ends.map(|ends| format!("{:.0}", ends.wall));
                told!(info DrainBegins: %peer, by, reason, until, "drain of a peer begins")
            }
            What::PeerUndrained(peer, Some(Order { by, reason })) => {
                told!(info DrainEnds: %peer, by, reason, "drain of a peer lifted")
            }
            What::PeerUndrained(peer, None) => told!(info DrainEnds: %peer, "drain of a peer is over"),
            What::PeerDrainWaits { peer, waits: true } => {
                told!(info DrainWaits: %peer, "the peer is no longer configured; its drain waits for it to come back")
            }
            What::PeerDrainWaits { peer, waits: false } => {
                told!(info DrainWaits: %peer, "the peer is back, and still drained")
            }
            What::Restarting { preserved } => {
                let preserved = words(preserved);
                told!(info RestartBegins: preserved, "graceful restart: End-of-RIB waits until every VIP is decided")
            }
            What::Restarted { undecided } if undecided.is_empty() => {
                told!(info RestartEnds: "graceful restart is over: every VIP is decided")
            }
            What::Restarted { undecided } => {
                let undecided = words(undecided);
                told!(warn RestartEnds: undecided, "graceful restart is over by time; undecided VIPs are withdrawn")
            }
            What::Shutdown(phase) => told!(info Shutdown: phase = phase.word(), "shutting down"),
            What::Started { version, commit, configuration } => {
                told!(info Started: version, commit, configuration, "vipcast started")
            }
            What::Warned(Warning { file, line, message, hint }) => {
                told!(warn Warning: file, line, hint, "configuration: {message}")
            }
            What::Noticed(notice) => notices::tell(notice),
            What::Stopped => told!(info Stopped: "stopped"),
            What::Leaving => told!(info Leaving: "restarting: addresses and routes stay"),
            What::ClockSet { wall } => told!(info ClockSet: wall = format!("{wall:.0}"), "the clock was set"),
            // It has no peers.
            What::SpeakerStarted { .. } if self.observes => return None,
            What::SpeakerStarted { router_id } => {
                told!(info SpeakerStarted: %router_id, "BGP speaker started")
            }
            What::PeerRenamed { peer, was } => {
                told!(info PeerRenamed: %peer, %was, "peer renamed: its session goes on")
            }
            What::Session { peer, address, what } => {
                return self.sessions.tell(peer, *address, what, record.at.mono);
            }
            What::SessionStopped { peer, reason } => {
                self.sessions.forget(peer);
                told!(info SessionStopped: %peer, reason, "session stopped")
            }
            What::HandedOver { peer, version } => {
                debug!(%peer, version = version.0, "everything wanted was handed to the kernel");
                return None;
            }
            What::Acknowledged { peer, version } => {
                debug!(%peer, version = version.0, "everything wanted was acknowledged");
                return None;
            }
            What::BfdUp { peer, transition } => told!(info BfdUp: %peer, transition, "BFD up"),
            What::BfdDown { peer, transition } => told!(warn BfdDown: %peer, transition, "BFD down"),
            What::BfdOutOfService { peer, transition } => {
                told!(info BfdOutOfService: %peer, transition, "BFD out of service")
            }
            What::RouterFound { interface, router } => {
                told!(info RouterFound: interface, %router, "router found by its advertisement")
            }
            What::SecondRouter { interface, router, other } => {
                told!(warn SecondRouter: interface, %router, %other,
                hint = "for several routers on a link, configure a peer with an `address` for each",
                "a second router advertises itself on this link; the first one is used while its session is up")
            }
            What::RouterGivesWay { interface, router, other } => {
                told!(warn RouterGivesWay: interface, %router, %other,
                "no session comes up with the router of this link; trying the other one that advertises itself")
            }
            What::KeyFound { peer } => told!(info KeyFound: %peer, "the key of the session was found"),
            What::KeyMissing { peer, reason } => {
                told!(warn KeyMissing: %peer, reason, "no session without its key")
            }
            What::Commanded { by, command, refused } => told!(debug Command: by, command, refused, "command"),
            What::Reloaded { by, message } => told!(info Reloaded: by, "{message}"),
            What::NotReloaded { by, error, hint } => {
                told!(error NotReloaded: by, hint, "not reloaded, the running configuration stays: {error}")
            }
            What::ReloadGivenUp { by } => {
                told!(warn NotReloaded: by, "not reloaded: the caller has given up")
            }
            What::RestartAsked { by } => told!(info RestartAsked: by, "restart"),
            What::NotRestarted { reason } => told!(warn NotRestarted: reason, "not restarted"),
            What::UpgradeAsked { by, dry: false } => told!(info UpgradeAsked: by, "upgrade"),
            What::UpgradeAsked { by, dry: true } => told!(info UpgradeAsked: by, "rehearsal of an upgrade"),
            What::Rehearsed { next, older_form } => {
                let to = next.to_string();
                told!(info Rehearsed: to, older_form, "the next program was rehearsed, and can take over")
            }
            What::NotUpgraded { reason, hint } => {
                told!(warn NotUpgraded: hint, "not upgraded, nothing was changed: {reason}")
            }
            What::HandingOver { next } => {
                let to = next.to_string();
                told!(info HandingOver: to, "handing over to the next program: sessions, addresses and routes stay")
            }
            What::Upgraded { from, to, pause } => {
                let (from, to, pause_ms) = (from.to_string(), to.to_string(), milliseconds(*pause));
                told!(info Upgraded: from, to, pause_ms, "upgraded: this program goes on with everything")
            }
            What::NotThawed { reason } => {
                told!(error NotThawed: "the hand-over failed, and vipcast begins anew as after a crash: {reason}")
            }
        })
    }
}

/// The address or the local route, and its kind.
fn named(place: &Place) -> (Option<String>, Option<String>, &'static str) {
    match place.route {
        None => (Some(place.ip.to_string()), None, "address"),
        Some(vip) => (None, Some(vip.to_string()), "local route"),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn words(all: impl IntoIterator<Item: ToString>) -> String {
    all.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
