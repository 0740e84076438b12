//! The model of a host's kernel: its interfaces and addresses, and what it says when they change.
//!
//! Only the kernel changes what is on the host. Whoever asks it for something gets an answer, and whoever listens is told of
//! every change; how late, and in which order to each other, is the world's to say.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use vipcast_bgp::Instant;
use vipcast_node::engine::{Address, Asked, Event, Link, Listing, Owner};

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
    /// The addresses, and who put each there.
    pub addresses: BTreeMap<Address, Owner>,
    /// It refuses whatever it is asked for.
    pub refuses: bool,
    /// It does what it is asked for, and the answer is lost.
    pub mumbles: bool,
    /// When an address was last taken away by someone else, and how often since that was last long ago.
    pub taken: BTreeMap<IpAddr, (Instant, u32)>,
    /// When an address last became unusable.
    pub lost: BTreeMap<IpAddr, Instant>,
}

impl Default for Kernel {
    fn default() -> Self {
        let link = |name: &str| Link { name: name.to_owned(), altnames: [].into(), up: true };
        Self {
            links: [(LO, link("lo")), (VIP0, link("vip0"))].into(),
            addresses: BTreeMap::new(),
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
    pub fn work(&mut self, address: Address, asked: Asked, now: Instant) -> Done {
        let refused = |why: &str| Done { answer: Err(why.to_owned()), news: None };
        if self.refuses {
            return refused("not permitted");
        }
        let news = match asked {
            Asked::Bind if !self.links.contains_key(&address.index) => return refused("no such device"),
            Asked::Bind if self.addresses.contains_key(&address) => return refused("it exists"),
            Asked::Bind => {
                self.addresses.insert(address, Owner::Us);
                Some(Event::AddressAdded(address, Owner::Us.into()))
            }
            Asked::Unbind => self.remove(&address, now),
        };
        let answer = if self.mumbles { Err("no answer".to_owned()) } else { Ok(()) };
        Done { answer, news }
    }

    /// Someone else takes an address away, wherever it is.
    pub fn flush(&mut self, ip: IpAddr, now: Instant) -> Vec<Event> {
        let there: Vec<Address> = self.holders(ip).collect();
        if !there.is_empty() {
            let taken = self.taken.entry(ip).or_insert((now, 0));
            let times = if taken.0 + LONG_AGO < now { 1 } else { taken.1 + 1 };
            *taken = (now, times);
        }
        there.iter().filter_map(|address| self.remove(address, now)).collect()
    }

    /// Someone else puts an address on the host.
    pub fn adopt(&mut self, ip: IpAddr) -> Option<Event> {
        let address = Address::host(ip, LO);
        if self.addresses.contains_key(&address) {
            return None;
        }
        self.addresses.insert(address, Owner::Other);
        Some(Event::AddressAdded(address, Owner::Other.into()))
    }

    /// An interface goes up or down.
    pub fn set_link(&mut self, index: u32, up: bool, now: Instant) -> Option<Event> {
        let link = self.links.get_mut(&index).filter(|link| link.up != up)?;
        link.up = up;
        let link = link.clone();
        let on_it: Vec<IpAddr> = self
            .addresses
            .keys()
            .filter(|address| address.index == index)
            .map(|address| address.ip)
            .collect();
        for ip in on_it {
            if !up {
                self.note_loss(ip, now);
            }
        }
        Some(Event::Link(index, Some(link)))
    }

    /// Everything, as it is listed.
    pub fn listing(&self) -> Listing {
        Listing {
            links: self.links.iter().map(|(index, link)| (*index, link.clone())).collect(),
            addresses: self.addresses.iter().map(|(address, owner)| (*address, (*owner).into())).collect(),
        }
    }

    /// Whether packets to an address are delivered.
    pub fn is_usable(&self, ip: IpAddr) -> bool {
        self.holders(ip).any(|address| self.links.get(&address.index).is_some_and(|link| link.up))
    }

    /// Where an address is.
    pub fn holders(&self, ip: IpAddr) -> impl Iterator<Item = Address> {
        self.addresses.keys().filter(move |address| address.ip == ip).copied()
    }

    /// Addresses that a vipcast put there.
    pub fn ours(&self) -> impl Iterator<Item = &Address> {
        self.addresses.iter().filter(|(_, owner)| **owner == Owner::Us).map(|(address, _)| address)
    }

    fn remove(&mut self, address: &Address, now: Instant) -> Option<Event> {
        self.addresses.remove(address)?;
        self.note_loss(address.ip, now);
        Some(Event::AddressRemoved(*address))
    }

    fn note_loss(&mut self, ip: IpAddr, now: Instant) {
        if !self.is_usable(ip) {
            self.lost.insert(ip, now);
        }
    }
}
