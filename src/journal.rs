//! The log lines of records: one line a record, the values as fields, each with its cause. Only this module leaves out
//! lines that are repeated too often.

mod notices;
mod sessions;
mod thread;

use tracing::{debug, error, info, warn};
use vipcast_node::engine::{Drain, Order, Place, Verdict};
use vipcast_node::health::report::HealthState;
use vipcast_node::record::{Record, Warning, What};

use self::sessions::Sessions;
pub use self::thread::Journal;
use crate::control::view::verdict_word;

/// Folds records into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    sessions: Sessions,
}

impl Lines {
    /// Writes a record to the log.
    fn write(&mut self, record: &Record) {
        match &record.what {
            What::Vip { vip, service, from, to, cause } => {
                let reason = to.as_ref().and_then(Verdict::reason).map(ToString::to_string);
                let (reason, cause) = (reason.as_deref(), cause.as_deref());
                let (was, now) = (verdict_word(from.as_ref()), verdict_word(to.as_ref()));
                match (from.as_ref().is_some_and(Verdict::is_announced), to) {
                    // Before its checks have settled every VIP is withheld, which is no news.
                    (false, Some(Verdict::Withhold(_))) => {
                        debug!(%vip, %service, was, now, reason, cause, "VIP withheld");
                    }
                    (true, Some(Verdict::Withhold(_))) => {
                        warn!(%vip, %service, was, now, reason, cause, "VIP withdrawn");
                    }
                    // The announcement is logged when a router has the VIP: see `What::Reached`.
                    (_, Some(Verdict::Announce)) => {
                        debug!(%vip, %service, was, now = "ready", "VIP ready")
                    }
                    (_, Some(Verdict::Demote { .. })) => {
                        warn!(%vip, %service, was, now, reason, cause, "VIP demoted");
                    }
                    (_, None) => info!(%vip, %service, was, now, "VIP no longer configured"),
                }
            }
            What::Reached { vip, service, routers } => info!(%vip, %service, routers, "VIP announced"),
            What::Unreached { vips, why } => {
                const SHOWN: usize = 5;
                let (count, more) = (vips.len(), vips.len().saturating_sub(SHOWN));
                let vips = words(vips.iter().take(SHOWN));
                let more = (more > 0).then_some(more);
                if count == 1 {
                    warn!(vip = vips, "VIP ready, no router has it: {why}");
                } else {
                    warn!(count, vips, more, "VIPs ready, no router has them: {why}");
                }
            }
            What::Check { check, state, detail } => match state {
                HealthState::Up => info!(%check, detail, "check up"),
                HealthState::Down => warn!(%check, detail, "check down"),
                HealthState::Rising => debug!(%check, detail, "check rising"),
                HealthState::Falling => debug!(%check, detail, "check falling"),
                HealthState::Unknown => debug!(%check, detail, "check not settled yet"),
            },
            What::Degraded { check, limit: Some(limit) } => warn!(%check, limit, "check degraded"),
            What::Degraded { check, limit: None } => info!(%check, "check no longer degraded"),
            What::Promoted(service, Order { by, reason }) => info!(%service, by, reason, "promoted"),
            What::AddressLost(place) => {
                let (address, route, what) = named(place);
                warn!(address, route, interface = place.interface, "{what} vanished: putting it back");
            }
            What::AddressStays { place, losses } => {
                let (address, route, what) = named(place);
                let interface = &place.interface;
                info!(
                    address,
                    route, interface, losses, "{what} stays again after it was taken away repeatedly"
                );
            }
            What::AddressAdopted(place) => {
                let (address, route, what) = named(place);
                info!(address, route, interface = place.interface, "{what} of an earlier run found");
            }
            What::AddressFailed(place, error) => {
                let (address, route, what) = named(place);
                warn!(address, route, interface = place.interface, error, "cannot change the {what}");
            }
            What::NoInterface(interface) => {
                warn!(interface, "there is no such interface; VIPs that belong on it are not bound");
            }
            What::AddressesLeft(left) => {
                let (count, first) = (left.len(), left.first().map(|binding| binding.vip().short()));
                warn!(
                    count,
                    first, "addresses or local routes are left on the host: the kernel has not removed them"
                );
            }
            What::Drained(service, Drain { order: Order { by, reason }, ends, .. }) => {
                let until = ends.map(|ends| format!("{:.0}", ends.wall));
                info!(%service, by, reason, until, "drain begins");
            }
            What::Undrained(service, Some(Order { by, reason })) => {
                info!(%service, by, reason, "drain lifted");
            }
            What::Undrained(service, None) => info!(%service, "drain is over"),
            What::DrainWaits { service, waits: true } => {
                info!(%service, "the service is no longer configured; its drain waits for it to come back");
            }
            What::DrainWaits { service, waits: false } => {
                info!(%service, "the service is back, and still drained");
            }
            What::Restarting { preserved } => {
                let preserved = words(preserved);
                info!(preserved, "graceful restart: End-of-RIB waits until every VIP is decided");
            }
            What::Restarted { undecided } if undecided.is_empty() => {
                info!("graceful restart is over: every VIP is decided");
            }
            What::Restarted { undecided } => {
                let undecided = words(undecided);
                warn!(undecided, "graceful restart is over by time; undecided VIPs are withdrawn");
            }
            What::Shutdown(phase) => info!(phase = phase.word(), "shutting down"),
            What::Started { version, commit, configuration } => {
                info!(version, commit, configuration, "vipcast started");
            }
            What::Warned(Warning { file, line, message, hint }) => {
                warn!(file, line, hint, "configuration: {message}");
            }
            What::Noticed(notice) => notices::write(notice),
            What::Stopped => info!("stopped"),
            What::Leaving => info!("restarting: addresses and routes stay"),
            What::ClockSet { wall } => info!(wall = format!("{wall:.0}"), "the clock was set"),
            What::SpeakerStarted { router_id } => info!(%router_id, "BGP speaker started"),
            What::PeerRenamed { peer, was } => info!(%peer, %was, "peer renamed: its session goes on"),
            What::Session { peer, address, what } => {
                self.sessions.write(peer, *address, what, record.at.mono);
            }
            What::SessionStopped { peer, reason } => info!(%peer, reason, "session stopped"),
            What::HandedOver { peer, version } => {
                debug!(%peer, version = version.0, "everything wanted was handed to the kernel");
            }
            What::Acknowledged { peer, version } => {
                debug!(%peer, version = version.0, "everything wanted was acknowledged");
            }
            What::BfdUp { peer, transition } => info!(%peer, transition, "BFD up"),
            What::BfdDown { peer, transition } => warn!(%peer, transition, "BFD down"),
            What::BfdOutOfService { peer, transition } => info!(%peer, transition, "BFD out of service"),
            What::RouterFound { interface, router } => {
                info!(interface, %router, "router found by its advertisement");
            }
            What::SecondRouter { interface, router, other } => {
                warn!(interface, %router, %other,
                hint = "for several routers on a link, configure a peer with an `address` for each",
                "a second router advertises itself on this link; the first one is used while its session is up");
            }
            What::RouterGivesWay { interface, router, other } => {
                warn!(interface, %router, %other,
                "no session comes up with the router of this link; trying the other one that advertises itself");
            }
            What::KeyFound { peer } => info!(%peer, "the key of the session was found"),
            What::KeyMissing { peer, reason } => warn!(%peer, reason, "no session without its key"),
            What::Commanded { by, command, refused } => debug!(by, command, refused, "command"),
            What::Reloaded { by, message } => info!(by, "{message}"),
            What::NotReloaded { by, error, hint } => {
                error!(by, hint, "not reloaded, the running configuration stays: {error}");
            }
            What::ReloadGivenUp { by } => warn!(by, "not reloaded: the caller has given up"),
            What::RestartAsked { by } => info!(by, "restart"),
            What::NotRestarted { reason } => warn!(reason, "not restarted"),
        }
    }
}

/// The address or the local route, and its kind.
fn named(place: &Place) -> (Option<String>, Option<String>, &'static str) {
    match place.route {
        None => (Some(place.ip.to_string()), None, "address"),
        Some(vip) => (None, Some(vip.to_string()), "local route"),
    }
}

fn words(all: impl IntoIterator<Item: ToString>) -> String {
    all.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
