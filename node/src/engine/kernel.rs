//! Folds the kernel's events about interfaces, addresses and local routes into facts.
//!
//! Only notifications and listings are facts, in the kernel's order. The answer to our request only ends the request: a
//! notification about the change comes before or after it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::vip::Vip;
use vipcast_bgp::Instant;

use super::Engine;
use super::binding::{Binding, BindingFact, Owner};
use super::contest::Contest;
use super::facts::Asked;
use super::fold::Touched;
use super::link::{Link, Listing};
use crate::names::ServiceName;
use crate::outbox::Outbox;
use crate::record::What;

/// The pause before a failed request is repeated.
const RETRY: Duration = Duration::from_secs(1);

impl Engine {
    pub(super) fn fold_listing(&mut self, listing: Listing, now: Instant, out: &mut Outbox) -> Touched {
        let Listing { links, bindings } = listing;
        let known = std::mem::replace(&mut self.facts.is_listed, true);
        let bindings = bindings.into_iter().collect();
        if known && self.facts.bindings == bindings && self.facts.links == links {
            return Touched::Nothing;
        }
        let before = std::mem::replace(&mut self.facts.bindings, bindings);
        let old_links = std::mem::replace(&mut self.facts.links, links);
        if known {
            for (binding, fact) in before.iter() {
                if self.facts.bindings.get(binding).is_none() {
                    let place = binding.place(old_links.name_of(binding.index));
                    self.note_loss(*binding, *fact, place, now, out);
                }
            }
        } else {
            let adopted = self.facts.ours().map(|binding| What::AddressAdopted(self.facts.place(binding)));
            adopted.for_each(|what| out.tell(what));
        }
        let listed: Vec<Vip> = self.facts.bindings.vips().collect();
        for vip in &listed {
            self.note_return(*vip, now);
        }
        self.actual.reopen(before.vips().chain(listed));
        self.actual.reopen(self.desired.bindings.keys().copied());
        if !known {
            self.begin_restart(now, out);
        }
        Touched::All
    }

    /// Folds a change of an interface, which affects its bindings, and VIPs that belong on an interface of its names.
    pub(super) fn fold_link(&mut self, index: u32, link: Option<Link>) -> Touched {
        let before = match link.clone() {
            Some(link) => self.facts.links.insert(index, link),
            None => self.facts.links.remove(index),
        };
        if before == link {
            return Touched::Nothing;
        }
        // Its next absence is news again, whether a service is touched now or not.
        let links = &self.facts.links;
        self.actual.missing_links.retain(|name| links.index_of(name).is_none());
        let on_it = self.facts.bindings.iter().filter(|(binding, _)| binding.index == index);
        let on_it: Vec<Vip> = on_it.map(|(binding, _)| binding.vip()).collect();
        let names: BTreeSet<&String> = before.iter().chain(&link).flat_map(Link::names).collect();
        if self.config.services.values().any(|service| names.contains(&service.interface)) {
            let wanted = self.desired.bindings.iter().filter(|(_, (_, interface))| names.contains(interface));
            self.actual.reopen(wanted.map(|(vip, _)| *vip));
            // A VIP that another program has there may belong on another interface, and is needed there now.
            self.actual.reopen(on_it);
            return Touched::All;
        }
        let services = on_it.iter().filter_map(|vip| self.service_of(vip)).collect::<BTreeSet<_>>();
        if services.is_empty() {
            return Touched::Nothing;
        }
        self.actual.reopen(on_it);
        Touched::services(services)
    }

    pub(super) fn fold_added(&mut self, binding: Binding, fact: BindingFact, now: Instant) -> Touched {
        let mended = self.facts.binding_errors.remove(&binding).is_some();
        let before = self.facts.bindings.insert(binding, fact);
        self.note_return(binding.vip(), now);
        if before == Some(fact) && !mended {
            return Touched::Nothing;
        }
        // No VIP of ours, and none that is about to go.
        if !self.standing.contains_key(&binding.vip()) && fact.owner == Owner::Other && !mended {
            return Touched::Nothing;
        }
        self.vip_of(&binding)
    }

    pub(super) fn fold_removed(&mut self, binding: Binding, now: Instant, out: &mut Outbox) -> Touched {
        let mended = self.facts.binding_errors.remove(&binding).is_some();
        let Some(fact) = self.facts.bindings.remove(&binding) else {
            return if mended { self.vip_of(&binding) } else { Touched::Nothing };
        };
        let place = self.facts.place(&binding);
        self.note_loss(binding, fact, place, now, out);
        self.vip_of(&binding)
    }

    pub(super) fn fold_answer(
        &mut self,
        binding: Binding,
        result: Result<(), String>,
        now: Instant,
        out: &mut Outbox,
    ) -> Touched {
        let asked = self.facts.asked.remove(&binding);
        let is_held = self.facts.bindings.get(&binding).is_some();
        match (asked, result) {
            (None, _) => return Touched::Nothing,
            (Some(Asked::Bind), Ok(())) if !is_held => {
                // The binding was added, and its removal is already reported: another program removes it at once, so do
                // not race it. Or it is present, and the kernel reports it in a moment.
                let contest = self.facts.contests.entry(binding.vip());
                contest.and_modify(|contest| contest.hurried(now)).or_insert_with(|| Contest::begin(now));
            }
            // Another program was faster: the binding is present, which is enough.
            (Some(Asked::Bind), Err(_)) if is_held => {}
            (Some(Asked::Unbind), Err(_)) if !is_held => {}
            (Some(Asked::Bind | Asked::Unbind), Ok(())) => {}
            (Some(Asked::Bind | Asked::Unbind), Err(error)) => {
                let failed = (error.clone(), now + RETRY);
                let before = self.facts.binding_errors.insert(binding, failed);
                if before.is_none_or(|(before, _)| before != error) {
                    let place = self.facts.place(&binding);
                    out.tell(What::AddressFailed(place, error));
                }
            }
        }
        self.vip_of(&binding)
    }

    /// Ends a request. If the change is not there, it is asked for anew.
    pub(super) fn fold_unanswered(&mut self, binding: Binding) -> Touched {
        match self.facts.asked.remove(&binding) {
            Some(_) => self.vip_of(&binding),
            None => Touched::Nothing,
        }
    }

    /// Ends contests after their quiet time, and returns the touched services.
    pub(super) fn fold_contest_time(&mut self, now: Instant, out: &mut Outbox) -> BTreeSet<ServiceName> {
        let over: Vec<(Vip, Contest)> =
            self.facts.contests.extract_if(.., |_, contest| contest.is_over(now)).collect();
        for (vip, contest) in &over {
            if let Some((binding, _)) = self.facts.holders(*vip).next().filter(|_| contest.is_repeated()) {
                let (place, losses) = (self.facts.place(binding), contest.losses);
                out.tell(What::AddressStays { place, losses });
            }
        }
        let since = self.acted_at;
        let is_due =
            |contest: &Contest| since.is_none_or(|at| contest.deadline(at).is_some_and(|due| due <= now));
        let due = self.facts.contests.iter().filter(|(_, contest)| is_due(contest)).map(|(vip, _)| vip);
        over.iter().map(|(vip, _)| vip).chain(due).filter_map(|vip| self.service_of(vip)).collect()
    }

    /// Notes that a binding is gone. If it was ours and we did not remove it, another program did.
    fn note_loss(
        &mut self,
        binding: Binding,
        fact: BindingFact,
        place: super::Place,
        now: Instant,
        out: &mut Outbox,
    ) {
        let ours = fact.owner == Owner::Us && self.facts.asked.get(&binding) != Some(&Asked::Unbind);
        if !ours {
            return;
        }
        let vip = binding.vip();
        let wanted = self.desired.bindings.contains_key(&vip);
        match self.facts.contests.get_mut(&vip) {
            Some(contest) => contest.lost(now),
            None => {
                out.tell(What::AddressLost(place));
                if wanted {
                    self.facts.contests.insert(vip, Contest::begin(now));
                }
            }
        }
    }

    fn note_return(&mut self, vip: Vip, now: Instant) {
        if let Some(contest) = self.facts.contests.get_mut(&vip) {
            contest.returned(now);
        }
    }

    /// Touches only the VIP of a binding.
    fn vip_of(&mut self, binding: &Binding) -> Touched {
        let vip = binding.vip();
        self.actual.reopen([vip]);
        if self.standing.contains_key(&vip) { Touched::vip(vip) } else { Touched::PLAN }
    }

    fn service_of(&self, vip: &Vip) -> Option<ServiceName> {
        self.standing.get(vip).map(|standing| standing.service.clone())
    }
}
