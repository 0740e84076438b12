//! What the kernel says of interfaces and addresses, folded into facts.
//!
//! Only its notifications and listings state facts, in its order. An answer to a request of ours closes the question and no
//! more: whatever has happened to the address since is told before or after it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::vip::Vip;
use vipcast_bgp::Instant;

use super::Engine;
use super::address::{Address, AddressFact, Link, Listing, Owner};
use super::contest::Contest;
use super::facts::Asked;
use super::fold::Touched;
use crate::names::ServiceName;
use crate::outbox::Outbox;
use crate::record::What;

/// Pause before an address that could not be bound or unbound is tried again.
const RETRY: Duration = Duration::from_secs(1);

impl Engine {
    pub(super) fn fold_listing(&mut self, listing: Listing, now: Instant, out: &mut Outbox) -> Touched {
        let Listing { links, addresses } = listing;
        let known = std::mem::replace(&mut self.facts.addresses_known, true);
        if known && self.facts.addresses == addresses && self.facts.links == links {
            return Touched::Nothing;
        }
        let before = std::mem::replace(&mut self.facts.addresses, addresses);
        let old_links = std::mem::replace(&mut self.facts.links, links);
        if known {
            for (address, fact) in &before {
                if !self.facts.addresses.contains_key(address) {
                    let place = super::Place { ip: address.ip, interface: old_links.name_of(address.index) };
                    self.note_loss(*address, *fact, place, now, out);
                }
            }
        } else {
            let adopted = self.facts.ours().map(|address| What::AddressAdopted(self.facts.place(address)));
            adopted.for_each(|what| out.tell(what));
        }
        let listed: Vec<IpAddr> = self.facts.addresses.keys().map(|address| address.ip).collect();
        for ip in &listed {
            self.note_return(*ip, now);
        }
        self.actual.reopen(before.keys().map(|address| address.ip).chain(listed));
        self.actual.reopen(self.desired.addresses.keys().copied());
        if !known {
            self.begin_restart(now, out);
        }
        Touched::All
    }

    /// An interface has changed: that matters to what is on it, and to what belongs on an interface of its names.
    pub(super) fn fold_link(&mut self, index: u32, link: Option<Link>) -> Touched {
        let before = match link.clone() {
            Some(link) => self.facts.links.insert(index, link),
            None => self.facts.links.remove(index),
        };
        if before == link {
            return Touched::Nothing;
        }
        let names: BTreeSet<&String> = before.iter().chain(&link).flat_map(Link::names).collect();
        if self.config.services.values().any(|service| names.contains(&service.interface)) {
            let wanted = self.desired.addresses.iter().filter(|(_, interface)| names.contains(interface));
            self.actual.reopen(wanted.map(|(ip, _)| *ip));
            return Touched::All;
        }
        let on_it: Vec<IpAddr> = (self.facts.addresses.keys())
            .filter(|address| address.index == index)
            .map(|address| address.ip)
            .collect();
        let services = on_it.iter().filter_map(|ip| self.service_of(*ip)).collect::<BTreeSet<_>>();
        if services.is_empty() {
            return Touched::Nothing;
        }
        self.actual.reopen(on_it);
        Touched::Services(services)
    }

    pub(super) fn fold_added(&mut self, address: Address, fact: AddressFact, now: Instant) -> Touched {
        let mended = self.facts.address_errors.remove(&address).is_some();
        let before = self.facts.addresses.insert(address, fact);
        self.note_return(address.ip, now);
        if before == Some(fact) && !mended {
            return Touched::Nothing;
        }
        match self.services_of(&address) {
            // Someone else's business.
            touched if touched == Touched::PLAN && fact.owner == Owner::Other && !mended => Touched::Nothing,
            touched => touched,
        }
    }

    pub(super) fn fold_removed(&mut self, address: Address, now: Instant, out: &mut Outbox) -> Touched {
        let mended = self.facts.address_errors.remove(&address).is_some();
        let Some(fact) = self.facts.addresses.remove(&address) else {
            return if mended { self.services_of(&address) } else { Touched::Nothing };
        };
        let place = self.facts.place(&address);
        self.note_loss(address, fact, place, now, out);
        self.services_of(&address)
    }

    pub(super) fn fold_answer(
        &mut self,
        address: Address,
        result: Result<(), String>,
        now: Instant,
        out: &mut Outbox,
    ) -> Touched {
        let asked = self.facts.asked.remove(&address);
        let is_held = self.facts.addresses.contains_key(&address);
        match (asked, result) {
            (None, _) => return Touched::Nothing,
            (Some(Asked::Bind), Ok(())) if !is_held => {
                // It was there, and is gone again, and that it went was told already: one who is as fast as that is not
                // raced. Or it is there, and the kernel says so in a moment.
                let contest = self.facts.contests.entry(address.ip);
                contest.and_modify(|contest| contest.hurried(now)).or_insert_with(|| Contest::begin(now));
            }
            // Someone else was faster: it is there, and that was all we wanted.
            (Some(Asked::Bind), Err(_)) if is_held => {}
            (Some(Asked::Unbind), Err(_)) if !is_held => {}
            (Some(Asked::Bind | Asked::Unbind), Ok(())) => {}
            (Some(Asked::Bind | Asked::Unbind), Err(error)) => {
                let failed = (error.clone(), now + RETRY);
                let before = self.facts.address_errors.insert(address, failed);
                if before.is_none_or(|(before, _)| before != error) {
                    let place = self.facts.place(&address);
                    out.tell(What::AddressFailed(place, error));
                }
            }
        }
        self.services_of(&address)
    }

    /// Ends the contests that are over, and says whose VIPs may be another thing now.
    pub(super) fn fold_contest_time(&mut self, now: Instant, out: &mut Outbox) -> BTreeSet<ServiceName> {
        let over: Vec<(IpAddr, Contest)> =
            self.facts.contests.extract_if(.., |_, contest| contest.is_over(now)).collect();
        for (ip, contest) in &over {
            if let Some((address, _)) = self.facts.holders(*ip).next().filter(|_| contest.is_repeated()) {
                let (place, losses) = (self.facts.place(address), contest.losses);
                out.tell(What::AddressStays { place, losses });
            }
        }
        let since = self.acted_at;
        let is_due =
            |contest: &Contest| since.is_none_or(|at| contest.deadline(at).is_some_and(|due| due <= now));
        let due = self.facts.contests.iter().filter(|(_, contest)| is_due(contest)).map(|(ip, _)| ip);
        over.iter().map(|(ip, _)| ip).chain(due).filter_map(|ip| self.service_of(*ip)).collect()
    }

    /// Notes that an address is gone. One of ours that nobody of us has asked for was taken away.
    fn note_loss(
        &mut self,
        address: Address,
        fact: AddressFact,
        place: super::Place,
        now: Instant,
        out: &mut Outbox,
    ) {
        let ours = fact.owner == Owner::Us && self.facts.asked.get(&address) != Some(&Asked::Unbind);
        if !ours {
            return;
        }
        let wanted = self.desired.addresses.contains_key(&address.ip);
        match self.facts.contests.get_mut(&address.ip) {
            Some(contest) => contest.lost(now),
            None => {
                out.tell(What::AddressLost(place));
                if wanted {
                    self.facts.contests.insert(address.ip, Contest::begin(now));
                }
            }
        }
    }

    fn note_return(&mut self, ip: IpAddr, now: Instant) {
        if let Some(contest) = self.facts.contests.get_mut(&ip) {
            contest.returned(now);
        }
    }

    /// The service that has the address, which is looked at again.
    fn services_of(&mut self, address: &Address) -> Touched {
        self.actual.reopen([address.ip]);
        Touched::Services(self.service_of(address.ip).into_iter().collect())
    }

    fn service_of(&self, ip: IpAddr) -> Option<ServiceName> {
        self.standing.get(&Vip::from(ip)).map(|standing| standing.service.clone())
    }
}
