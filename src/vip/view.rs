//! The host as the kernel has reported it, and the news among its messages. Pure.
//!
//! Notifications come in the kernel's order. A listing is made some time between its request and its arrival, and not
//! even at one moment. So notifications meanwhile are kept, and applied after it: for objects that changed meanwhile
//! the last notification counts, for all others the listing.

use std::mem;

use vipcast_node::defaults::LOOPBACK;
use vipcast_node::engine::{Binding, Event, Listing};

use super::here::Here;
use super::message::Notice;

/// The host as the kernel has reported it.
#[derive(Debug, Default)]
pub(super) struct View {
    known: Listing,
    /// Whether there was ever a listing.
    listed: bool,
    /// Notifications since a listing was requested.
    meanwhile: Option<Vec<Notice>>,
    /// A copy of `known`, for the checks.
    here: Here,
}

impl View {
    /// An empty view, which also updates `here`.
    pub(super) fn new(here: Here) -> Self {
        Self { here, ..Self::default() }
    }

    /// Takes a notification. Returns the news.
    pub(super) fn heard(&mut self, notice: Notice) -> Vec<Event> {
        if let Some(meanwhile) = &mut self.meanwhile {
            meanwhile.push(notice.clone());
        }
        self.here.heard(notice.clone());
        let news = apply(&mut self.known, notice);
        // Before the first listing there are no events: the listing includes them.
        if self.listed { news } else { Vec::new() }
    }

    /// Notes the request of a listing.
    pub(super) fn asks(&mut self) {
        self.meanwhile = Some(Vec::new());
    }

    /// Takes a listing. Returns it if it has news.
    pub(super) fn listed(&mut self, mut listing: Listing) -> Option<Event> {
        for notice in self.meanwhile.take().unwrap_or_default() {
            apply(&mut listing, notice);
        }
        if mem::replace(&mut self.listed, true) && listing == self.known {
            return None;
        }
        self.known.clone_from(&listing);
        self.here.listed(&listing);
        Some(Event::Listed(listing))
    }

    /// Whether a binding is present.
    pub(super) fn has(&self, address: &Binding) -> bool {
        self.known.bindings.contains_key(address)
    }

    /// Whether there was a listing.
    pub(super) fn is_listed(&self) -> bool {
        self.listed
    }

    /// The index of the loopback interface; zero if there is none.
    pub(super) fn loopback(&self) -> u32 {
        self.known.links.index_of(LOOPBACK).unwrap_or_default()
    }

    /// The name of an interface.
    pub(super) fn name_of(&self, index: u32) -> String {
        self.known.links.name_of(index)
    }
}

/// Applies a message to the listing, and returns the changes.
pub(super) fn apply(known: &mut Listing, notice: Notice) -> Vec<Event> {
    match notice {
        Notice::Link(index, Some(link)) => {
            let before = known.links.insert(index, link.clone());
            if before.as_ref() == Some(&link) { Vec::new() } else { vec![Event::Link(index, Some(link))] }
        }
        Notice::Link(index, None) => {
            // Notifications about its addresses usually come first; this handles lost ones.
            let gone: Vec<Binding> =
                known.bindings.extract_if(.., |address, _| address.index == index).map(|(a, _)| a).collect();
            let removed = gone.into_iter().map(Event::Removed);
            let link = known.links.remove(index).map(|_| Event::Link(index, None));
            removed.chain(link).collect()
        }
        Notice::Added(address, fact) => {
            let before = known.bindings.insert(address, fact);
            if before == Some(fact) { Vec::new() } else { vec![Event::Added(address, fact)] }
        }
        Notice::Removed(address) => {
            let removed = known.bindings.remove(&address).map(|_| Event::Removed(address));
            removed.into_iter().collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vipcast_node::engine::{AddressState, BindingFact, Link, Owner};

    const FACT: BindingFact = BindingFact { owner: Owner::Us, state: AddressState::Usable };

    fn vip(last: u8) -> Binding {
        Binding::host([192, 0, 2, last].into(), 1)
    }

    fn added(last: u8) -> Notice {
        Notice::Added(vip(last), FACT)
    }

    fn removed(last: u8) -> Notice {
        Notice::Removed(vip(last))
    }

    fn lo() -> Link {
        Link { name: "lo".to_owned(), altnames: std::collections::BTreeSet::new(), up: true }
    }

    /// A host with these addresses on lo.
    fn listing(vips: &[u8]) -> Listing {
        Listing {
            links: [(1, lo())].into_iter().collect(),
            bindings: vips.iter().map(|last| (vip(*last), FACT)).collect(),
        }
    }

    /// The events, in short.
    fn short(events: Vec<Event>) -> Vec<String> {
        let short = |event| {
            if let Event::Listed(listing) = event {
                format!("all: {}", listing.bindings.len())
            } else if let Event::Added(address, _) = event {
                format!("+{}", address.ip)
            } else if let Event::Removed(address) = event {
                format!("-{}", address.ip)
            } else if let Event::Link(index, link) = event {
                format!("link {index}: {}", link.is_some())
            } else {
                format!("{event:?}")
            }
        };
        events.into_iter().map(short).collect()
    }

    fn view(vips: &[u8]) -> View {
        let mut view = View::default();
        view.asks();
        assert!(view.listed(listing(vips)).is_some());
        view
    }

    #[test]
    fn only_news_is_told_and_nothing_before_the_first_listing() {
        let mut view = View::default();
        view.asks();
        assert_eq!(short(view.heard(added(1))), [""; 0]);
        assert!(!view.is_listed());
        assert_eq!(short(view.listed(listing(&[])).into_iter().collect()), ["all: 1"]);
        assert_eq!(short(view.heard(added(1))), [""; 0]);
        assert_eq!(short(view.heard(removed(2))), [""; 0]);
        assert_eq!(short(view.heard(added(2))), ["+192.0.2.2"]);
        assert_eq!(short(view.heard(Notice::Link(1, Some(lo())))), [""; 0]);
        assert_eq!(
            short(view.heard(Notice::Link(1, None))),
            ["-192.0.2.1", "-192.0.2.2", "link 1: false"],
            "what is on an interface goes with it"
        );
    }

    #[test]
    fn a_listing_that_says_the_same_is_no_news_and_one_that_differs_is() {
        let mut view = view(&[1, 2]);
        view.asks();
        assert!(view.listed(listing(&[1, 2])).is_none());
        view.asks();
        assert_eq!(short(view.listed(listing(&[1])).into_iter().collect()), ["all: 1"]);
    }

    #[test]
    fn what_was_notified_while_a_listing_was_made_comes_after_it() {
        // The listing saw 1 before it went, and did not see 3 that came behind its back.
        let mut view = view(&[1, 2]);
        view.asks();
        assert_eq!(short(view.heard(removed(1))), ["-192.0.2.1"]);
        assert_eq!(short(view.heard(added(3))), ["+192.0.2.3"]);
        assert!(view.listed(listing(&[1, 2])).is_none());
        // It saw 1 that was there only for a moment.
        view.asks();
        view.heard(added(1));
        view.heard(removed(1));
        assert!(view.listed(listing(&[1, 2, 3])).is_none());
        // And one from before the listing was asked for does not come after it.
        view.heard(added(4));
        view.asks();
        assert_eq!(short(view.listed(listing(&[2, 3])).into_iter().collect()), ["all: 2"]);
    }
}
