//! `interface`: the link of an interface is up.

mod probe;
mod read;

use std::pin::Pin;
use std::sync::Arc;

use self::probe::Interfaces;
use crate::check::kind::{Asking, Definition, Kind, Probe, Reach, kind};
use crate::check::permit::Attempt;
use crate::check::shared::Shared;
use crate::check::subscriptions::Subscription;
use crate::config::keys::section::section;
use crate::config::keys::shape::{INTERFACE, either, section};

section! {
    KEYS("interface", "under `interface`") {
        /// the interface: it must be administratively up, have a carrier, and be in the state `up`, or `unknown` from
        /// drivers without a state
        name: INTERFACE => required() called(&["qname", "query", "domain"]);
    }
}

pub(super) static KIND: Kind = kind! {
    /// the link of an interface is up
    interface: either(&[INTERFACE, section(&KEYS)]), [&KEYS], read::read
}
.local()
.told_by("the kernel");

/// `interface: eth0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InterfaceCheck {
    /// Its name, or an alternative one: at most 127 bytes.
    pub name: String,
}

impl Definition for InterfaceCheck {
    fn reach(&self) -> Reach<'_> {
        Reach::Local
    }

    fn probe(self: Arc<Self>, shared: &Shared) -> Box<dyn Probe> {
        let interfaces = shared.of_kind(Interfaces::default);
        let subscription = interfaces.subscribe(&self);
        Box::new(InterfaceProbe { interfaces, subscription, check: self })
    }
}

/// A check of this kind, as it is probed.
#[derive(Debug)]
struct InterfaceProbe {
    check: Arc<InterfaceCheck>,
    interfaces: Arc<Interfaces>,
    subscription: Subscription,
}

impl Probe for InterfaceProbe {
    fn ask<'a>(&'a mut self, attempt: Attempt<'a>) -> Asking<'a> {
        Box::pin(async move { probe::probe(&self.check, &self.interfaces, attempt.limit()).await })
    }

    fn changed(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.subscription.notified())
    }
}
