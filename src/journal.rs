//! What the engine records, as log lines: one an event, the values as fields, each with its cause.

mod thread;

use tracing::{debug, info, warn};
use vipcast_node::engine::{Drain, Order, Place, Verdict};
use vipcast_node::health::report::HealthState;
use vipcast_node::record::{Record, What};

pub use self::thread::Journal;
use crate::config::Diagnostics;
use crate::control::view::verdict_word;

/// Writes what was probably not meant in a configuration to the log.
pub fn warn_of(warnings: &Diagnostics) {
    for warning in warnings.iter() {
        let (line, hint) = (warning.span.map(|span| warnings.position(span).0), &warning.hint);
        warn!(file = warnings.file_name(warning.file), line, hint, "configuration: {}", warning.message);
    }
}

/// Writes a record to the log.
fn log(record: &Record) {
    match &record.what {
        What::Vip { vip, service, from, to, cause } => {
            let reason = to.as_ref().and_then(Verdict::reason).map(ToString::to_string);
            let (reason, cause) = (reason.as_deref(), cause.as_deref());
            let (was, now) = (verdict_word(from.as_ref()), verdict_word(to.as_ref()));
            match (from.as_ref().is_some_and(Verdict::is_announced), to) {
                // Before anything is settled every VIP is withheld; that is no news.
                (false, Some(Verdict::Withhold(_))) => {
                    debug!(%vip, %service, was, now, reason, cause, "VIP withheld");
                }
                (true, Some(Verdict::Withhold(_))) => {
                    warn!(%vip, %service, was, now, reason, cause, "VIP withdrawn");
                }
                // That it is announced is said when a router has it: see `What::Reached`.
                (_, Some(Verdict::Announce)) => debug!(%vip, %service, was, now = "ready", "VIP ready"),
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
        What::AddressLost(Place { ip, interface }) => {
            warn!(address = %ip, interface, "address vanished: putting it back");
        }
        What::AddressStays { place: Place { ip, interface }, losses } => {
            info!(address = %ip, interface, losses, "address stays again after it was taken away repeatedly");
        }
        What::AddressAdopted(Place { ip, interface }) => {
            info!(address = %ip, interface, "address of an earlier run found");
        }
        What::AddressFailed(Place { ip, interface }, error) => {
            warn!(address = %ip, interface, error, "cannot change the address");
        }
        What::NoInterface(interface) => {
            warn!(interface, "there is no such interface; VIPs that belong on it are not bound");
        }
        What::AddressesLeft(left) => {
            let (count, first) = (left.len(), left.first().map(|address| address.ip.to_string()));
            warn!(count, first, "addresses are left on the host: the kernel has not removed them");
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
            warn!(undecided, "graceful restart is over by time; what is undecided is withdrawn");
        }
        What::Shutdown(phase) => info!(phase = phase.word(), "shutting down"),
    }
}

fn words(all: impl IntoIterator<Item: ToString>) -> String {
    all.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(",")
}
