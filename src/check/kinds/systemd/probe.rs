//! `systemd:` checks: a unit is active.
//!
//! The probe asks systemd over D-Bus (`monitor`), and probes again when systemd reports a change of the unit.
//!
//! systemd does not answer while it reads its units anew (`daemon-reload`, `daemon-reexec`). It announces this, and an
//! active unit is then taken to be still active, for at most [`RELOADING`].

mod monitor;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::check::file_reader::{FileReader, LastRead};
use crate::check::kinds::systemd::SystemdCheck;
use crate::check::limit::{Answer, Limit};
use crate::check::subscriptions::{Subscription, Subscriptions, Topic, WhileUsed};
use crate::check::words;

#[cfg(test)]
mod tests;

/// Where systemd itself listens, for root alone.
const PRIVATE: &str = "/run/systemd/private";
/// Where the bus of the system listens.
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
/// Reading all units again takes no longer.
const RELOADING: Duration = Duration::from_secs(30);

/// Those who ask systemd for all checks, one for each bus.
#[derive(Debug, Clone)]
pub(super) struct Systemds {
    buses: Arc<Mutex<BTreeMap<PathBuf, Arc<Bus>>>>,
    subscriptions: Arc<Subscriptions>,
    file_reader: FileReader,
}

/// A socket that leads to systemd. It is known for good, so that a way to it that hangs is one way, however often checks
/// come and go.
#[derive(Debug, Default)]
struct Bus {
    monitor: WhileUsed<monitor::Systemd>,
    last_read: Arc<LastRead>,
}

impl Systemds {
    pub(super) fn new(file_reader: &FileReader) -> Self {
        Self { buses: Arc::default(), subscriptions: Arc::default(), file_reader: file_reader.clone() }
    }

    /// Rings when the unit of this check has changed.
    pub(super) fn subscribe(&self, check: &SystemdCheck) -> Subscription {
        let bus = bus(check);
        let monitor = self.monitor(&bus);
        self.subscriptions.subscribe(Topic::Unit(bus, check.unit.clone()), monitor)
    }

    fn monitor(&self, bus: &Path) -> Arc<monitor::Systemd> {
        let mut buses = self.buses.lock().unwrap_or_else(PoisonError::into_inner);
        let known = Arc::clone(buses.entry(bus.to_owned()).or_default());
        drop(buses);
        known
            .monitor
            .get(|| monitor::Systemd::start(bus, &self.subscriptions, &self.file_reader, &known.last_read))
    }
}

/// Passes when the unit is active.
pub(super) async fn probe(check: &SystemdCheck, systemds: &Systemds, limit: Limit) -> Answer {
    let bus = bus(check);
    let monitor = systemds.monitor(&bus);
    match limit.within(monitor.ask(&check.unit)).await {
        Some(state) => judge(&check.unit, &state?),
        None => match monitor.silence(&check.unit) {
            monitor::Silence::Reloading => Ok(format!("{} was active; systemd is reloading", check.unit)),
            monitor::Silence::Unreachable(cause) => {
                Err(format!("cannot reach systemd at {}: {cause}", bus.display()))
            }
            monitor::Silence::Silent => Err(limit.exceeded("no answer of systemd")),
        },
    }
}

/// The socket to ask at: what the check says, or that of systemd itself, or the bus of the system.
fn bus(check: &SystemdCheck) -> PathBuf {
    match &check.bus {
        Some(bus) => bus.clone(),
        None if nix::unistd::geteuid().is_root() && Path::new(PRIVATE).exists() => PRIVATE.into(),
        None => SYSTEM_BUS.into(),
    }
}

/// What systemd says of a unit: properties of `org.freedesktop.systemd1.Unit` and `.Service`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct UnitState {
    /// `LoadState`: loaded, not-found, masked, bad-setting, error.
    load: String,
    /// `ActiveState`: active, reloading, inactive, failed, activating, deactivating, maintenance.
    active: String,
    /// `SubState`, which depends on the type of the unit: running, dead, auto-restart.
    sub: String,
    /// `Result` of a service: success, exit-code, signal, core-dump, timeout, oom-kill; empty for other units.
    result: String,
}

fn judge(unit: &str, state: &UnitState) -> Answer {
    let UnitState { load, active, sub, result } = state;
    let passed = matches!(active.as_str(), "active" | "reloading");
    let text = match (load.as_str(), active.as_str()) {
        ("not-found", _) if !passed => "no such unit".into(),
        ("masked", _) if !passed => "masked".into(),
        ("bad-setting" | "error", _) if !passed => format!("the unit file cannot be read ({load})"),
        (_, "failed") if !result.is_empty() => format!("failed (Result={result})"),
        (_, _) => format!("{active} ({sub})"),
    };
    let line = words::one_line(format!("{unit}: {text}"));
    if passed { Ok(line) } else { Err(line) }
}

/// The object that a unit is: `/org/freedesktop/systemd1/unit/nginx_2eservice` (sd_bus_path_encode).
fn path_of(unit: &str) -> String {
    let mut path = String::from("/org/freedesktop/systemd1/unit/");
    for (at, octet) in unit.bytes().enumerate() {
        if octet.is_ascii_alphabetic() || (octet.is_ascii_digit() && at > 0) {
            path.push(char::from(octet));
        } else {
            path.push_str(&format!("_{octet:02x}"));
        }
    }
    path
}
