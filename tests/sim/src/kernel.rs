//! The model of a host's kernel: its interfaces, addresses and local routes, and its notifications.
//!
//! Only the kernel changes the host. It answers requests and notifies listeners of every change; the world chooses the
//! delays and the order of answers and notifications.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use vipcast_bgp::Instant;
use vipcast_node::engine::{Asked, Binding, Event, Link, Listing, Owner};
use vipcast_node::vip::Vip;

/// The loopback interface, where VIPs are by default.
pub const LO: u32 = 1;
/// A dummy interface for VIPs.
pub const VIP0: u32 = 2;

/// Nobody remembers for longer that an address was taken away.
pub const LONG_AGO: Duration = Duration::from_secs(60);

/// A kernel.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The interfaces.
    pub links: BTreeMap<u32, Link>,
    /// The addresses and local routes, and who put each there.
    pub bindings: BTreeMap<Binding, Owner>,
    /// It refuses whatever it is asked for.
    pub refuses: bool,
    /// It does what it is asked for, and the answer is lost.
    pub mumbles: bool,
    /// When a VIP was last taken away by someone else, and how often since that was last long ago.
    pub taken: BTreeMap<Vip, (Instant, u32)>,
    /// When a VIP last became unusable.
    pub lost: BTreeMap<Vip, Instant>,
}

impl Default for Kernel {
    fn default() -> Self {
        let link = |name: &str| Link { name: name.to_owned(), altnames: [].into(), up: true };
        Self {
            links: [(LO, link("lo")), (VIP0, link("vip0"))].into(),
            bindings: BTreeMap::new(),
            refuses: false,
            mumbles: false,
            taken: BTreeMap::new(),
            lost: BTreeMap::new(),
        }
    }
}

/// What came of a request.
pub struct Done {
    /// The answer.
    pub answer: Result<(), String>,
    /// What everybody is told.
    pub news: Option<Event>,
}

impl Kernel {
    /// Does what it is asked.
    pub fn work(&mut self, address: Binding, asked: Asked, now: Instant) -> Done {
        let refused = |why: &str| Done { answer: Err(why.to_owned()), news: None };
        if self.refuses {
            return refused("not permitted");
        }
        let news = match asked {
            Asked::Bind if !self.links.contains_key(&address.index) => return refused("no such device"),
            Asked::Bind if self.bindings.contains_key(&address) => return refused("it exists"),
            Asked::Bind => {
                self.bindings.insert(address, Owner::Us);
                Some(Event::Added(address, Owner::Us.into()))
            }
            Asked::Unbind => self.remove(&address, now),
        };
        let answer = if self.mumbles { Err("no answer".to_owned()) } else { Ok(()) };
        Done { answer, news }
    }

    /// Someone else takes a VIP away, whatever carries it.
    pub fn flush(&mut self, vip: Vip, now: Instant) -> Vec<Event> {
        let there: Vec<Binding> = self.holders(vip).collect();
        if !there.is_empty() {
            let taken = self.taken.entry(vip).or_insert((now, 0));
            let times = if taken.0 + LONG_AGO < now { 1 } else { taken.1 + 1 };
            *taken = (now, times);
        }
        there.iter().filter_map(|address| self.remove(address, now)).collect()
    }

    /// Someone else puts an address on the host.
    pub fn adopt(&mut self, ip: IpAddr) -> Option<Event> {
        let address = Binding::host(ip, LO);
        if self.bindings.contains_key(&address) {
            return None;
        }
        self.bindings.insert(address, Owner::Other);
        Some(Event::Added(address, Owner::Other.into()))
    }

    /// An interface goes up or down.
    pub fn set_link(&mut self, index: u32, up: bool, now: Instant) -> Option<Event> {
        let link = self.links.get_mut(&index).filter(|link| link.up != up)?;
        link.up = up;
        let link = link.clone();
        let on_it: Vec<Vip> =
            self.bindings.keys().filter(|address| address.index == index).map(Binding::vip).collect();
        for vip in on_it {
            if !up {
                self.note_loss(vip, now);
            }
        }
        Some(Event::Link(index, Some(link)))
    }

    /// Everything, as it is listed.
    pub fn listing(&self) -> Listing {
        Listing {
            links: self.links.iter().map(|(index, link)| (*index, link.clone())).collect(),
            bindings: self.bindings.iter().map(|(address, owner)| (*address, (*owner).into())).collect(),
        }
    }

    /// Whether packets to a VIP are delivered.
    pub fn is_usable(&self, vip: Vip) -> bool {
        self.holders(vip).any(|address| self.links.get(&address.index).is_some_and(|link| link.up))
    }

    /// What carries a VIP.
    pub fn holders(&self, vip: Vip) -> impl Iterator<Item = Binding> {
        self.bindings.keys().filter(move |binding| binding.vip() == vip).copied()
    }

    /// What a vipcast put there.
    pub fn ours(&self) -> impl Iterator<Item = &Binding> {
        self.bindings.iter().filter(|(_, owner)| **owner == Owner::Us).map(|(address, _)| address)
    }

    fn remove(&mut self, address: &Binding, now: Instant) -> Option<Event> {
        self.bindings.remove(address)?;
        self.note_loss(address.vip(), now);
        Some(Event::Removed(*address))
    }

    fn note_loss(&mut self, vip: Vip, now: Instant) {
        if !self.is_usable(vip) {
            self.lost.insert(vip, now);
        }
    }
}
