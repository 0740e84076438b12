//! The engine in its world: its inputs, time, and the results of its effects.

use super::*;

impl World {
    /// Time passes, and the timer has not said so yet.
    pub(in crate::engine::tests) fn late(&mut self, time: Duration) {
        self.now += time;
        self.time_passes();
    }

    pub(super) fn tick(&mut self) {
        self.handle(vec![Event::Tick], Concerns::Everyone);
        let next = self.engine.deadline();
        assert!(next.is_none_or(|at| at > self.now), "the deadline is in the past after a tick: a busy loop");
    }

    /// What is over by now.
    pub(super) fn time_passes(&mut self) {
        self.drains.retain(|_, (_, lift_at)| lift_at.is_none_or(|at| at > self.now));
        self.forces.retain(|_, (_, ends)| ends.is_none_or(|at| at > self.now));
        let late: Vec<CheckName> = self
            .pending
            .iter()
            .filter(|(_, until)| **until <= self.now)
            .map(|(check, _)| check.clone())
            .collect();
        let config = Arc::clone(self.engine.config());
        for check in late {
            self.settles(&config, check.as_str(), false);
        }
    }

    /// What the engine is told of addresses, by the letter.
    pub(super) fn note(&mut self, event: &Event) {
        if let Event::Listed(Listing { links, bindings }) = event {
            self.told_links.clone_from(links);
            self.told = bindings.iter().map(|(address, fact)| (*address, fact.owner)).collect();
        } else if let Event::Link(index, Some(link)) = event {
            self.told_links.insert(*index, link.clone());
        } else if let Event::Link(index, None) = event {
            self.told_links.remove(*index);
        } else if let Event::Added(address, fact) = event {
            self.told.insert(*address, fact.owner);
        } else if let Event::Removed(address) = event {
            self.told.remove(address);
        } else if let Event::Answered(address, _) = event {
            self.leaving.remove(address);
        }
    }

    pub(super) fn handle(&mut self, events: Vec<Event>, concerns: Concerns<'_>) {
        if self.exited.is_some() || events.is_empty() {
            return;
        }
        let due = self.engine.deadline().is_some_and(|due| due <= self.now);
        let concerns = if due { Concerns::Everyone } else { concerns };
        self.time_passes();
        self.look_who_holds_what();
        let before = self.engine.clone();
        let mut out = Outbox::new(super::super::now(self.now), 1);
        self.engine.handle_all(events.clone(), self.now, &mut out);
        self.twin_hears(&events, &out);
        let effects = out.effects;
        if let Concerns::Only(service) = concerns
            && before.facts.shutdown.is_none()
        {
            self.i4_others_are_untouched(&before, &effects, service);
        }
        self.perform(effects);
        self.i1_only_what_may_be_is_announced();
        self.a_drain_adds_and_improves_nothing();
        self.i7_the_same_again_does_nothing(events);
    }

    pub(super) fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Configure { config, .. } => self.configure(&config),
                Effect::Bind(address) => self.requests.push_back((address, Asked::Bind)),
                Effect::Unbind(address) => {
                    self.i3_it_is_ours(&address);
                    self.leaving.insert(address);
                    self.i2_nobody_needs_it(&address);
                    self.requests.push_back((address, Asked::Unbind));
                }
                Effect::Advertise(advertised) => {
                    let Advertised { version, routes, extent } = &advertised;
                    let before = &self.advertised;
                    assert!(*version > before.version, "versions go up");
                    let same = (routes, *extent) == (&before.routes, before.extent);
                    assert!(!same, "I7: the same set again");
                    self.i2_all_of_it_is_bound(routes);
                    for router in self.routers.values_mut() {
                        router.wanted = advertised.clone();
                    }
                    self.history.push((self.now, routes.clone()));
                    self.advertised = advertised;
                }
                Effect::StopPeers => {
                    assert!(self.advertised.routes.is_empty(), "I9: sessions end when all is withdrawn");
                    assert!(!self.stopping, "once");
                    self.stopping = true;
                    for (name, router) in std::mem::take(&mut self.routers) {
                        self.closing.push((name, router.known_to_hold()));
                    }
                    if self.closing.is_empty() {
                        self.peers_say.push_back(Event::PeersStopped);
                    }
                }
                Effect::Exit(_) => self.exited = Some(self.now),
                Effect::SaveOverrides(_) | Effect::SaveHeldBack(_) => {}
                of_the_node => unreachable!("the engine wants {of_the_node:?}"),
            }
            self.look_who_holds_what();
        }
        self.look_who_holds_what();
    }

    pub(super) fn configure(&mut self, config: &Config) {
        for (name, router) in self.routers.extract_if(.., |name, _| !config.peers.contains_key(name)) {
            self.stale.remove(&name);
            self.kept.remove(&name);
            self.closing.push((name, router.known_to_hold()));
        }
        for name in config.peers.keys() {
            let wanted = self.advertised.clone();
            self.routers.entry(name.clone()).or_insert(Router { wanted, ..Router::default() });
        }
    }

    /// Notes what is announced of these, because it is about to leave.
    pub(super) fn note_leaving(&mut self, until: Instant, which: impl Fn(&Vip, &ServiceName) -> bool) {
        for (prefix, route) in self.advertised.routes.iter() {
            let vip = Vip::from(*prefix);
            if which(&vip, &self.engine.standing()[&vip].service) {
                self.graceful.entry(vip).or_insert_with(|| (until, Some(Arc::clone(route))));
            }
        }
    }

    /// Whether a router that the engine knows to be up still sends us packets for it.
    pub(super) fn is_held(&self, vip: Vip) -> bool {
        let mut standing = self.routers.values().filter(|router| router.heard_of).map(|router| &router.holds);
        standing.any(|holds| holds.contains_key(&vip.prefix()))
            || self.closing.iter().any(|(_, holds)| holds.contains_key(&vip.prefix()))
            || self.kept.values().any(|(until, holds)| *until > self.now && holds.contains_key(&vip.prefix()))
    }

    pub(super) fn look_who_holds_what(&mut self) {
        for prefix in self.advertised.routes.keys() {
            self.free_since.insert(Vip::from(*prefix), None);
        }
        let vips: Vec<Vip> = self.free_since.keys().copied().collect();
        for vip in vips {
            let taken = self.advertised.routes.contains_key(&vip.prefix()) || self.is_held(vip);
            let since = self.free_since.entry(vip).or_default();
            *since = if taken { None } else { since.or(Some(self.now)) };
        }
    }
}
