//! `systemd`: a unit of systemd is active.

mod probe;
pub(crate) mod read;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use self::probe::Systemds;
use crate::check::kind::{Asking, Definition, Kind, Probe, Reach, kind};
use crate::check::permit::Attempt;
use crate::check::shared::Shared;
use crate::check::subscriptions::Subscription;
use crate::config::keys::section::section;
use crate::config::keys::shape::{PATH, UNIT, either, section};

section! {
    KEYS("systemd", "under `systemd`") {
        /// the unit; its ActiveState must be `active` or `reloading`
        unit: UNIT => required() written("unit name, with its suffix");
        /// the socket of systemd itself or of its bus
        bus: PATH =>
            default("`/run/systemd/private` for root where it is there, else `/run/dbus/system_bus_socket`");
    }
}

pub(super) static KIND: Kind = kind! {
    /// a unit of systemd is active
    systemd: either(&[UNIT, section(&KEYS)]), [&KEYS], read::read
}
.local()
.told_by("systemd");

/// `systemd: nginx.service`, or `systemd: {unit: …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SystemdCheck {
    /// The unit, with its suffix.
    pub unit: String,
    /// The socket of the bus, or of systemd itself; `None`: `/run/systemd/private` for root where it is there, else the
    /// bus of the system.
    pub bus: Option<PathBuf>,
}

impl Definition for SystemdCheck {
    fn reach(&self) -> Reach<'_> {
        Reach::Local
    }

    fn probe(self: Arc<Self>, shared: &Shared) -> Box<dyn Probe> {
        let systemds = shared.of_kind(|| Systemds::new(&shared.file_reader));
        let subscription = systemds.subscribe(&self);
        Box::new(SystemdProbe { systemds, subscription, check: self })
    }
}

/// A check of this kind, as it is probed.
#[derive(Debug)]
struct SystemdProbe {
    check: Arc<SystemdCheck>,
    systemds: Arc<Systemds>,
    subscription: Subscription,
}

impl Probe for SystemdProbe {
    fn ask<'a>(&'a mut self, attempt: Attempt<'a>) -> Asking<'a> {
        Box::pin(async move { probe::probe(&self.check, &self.systemds, attempt.limit()).await })
    }

    fn changed(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.subscription.notified())
    }
}
