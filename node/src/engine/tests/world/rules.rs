//! The rules, stated a second time and differently from the engine.

use super::*;

impl World {
    /// What the engine may take for bound.
    pub(in crate::engine::tests) fn bound(&self) -> impl Iterator<Item = &Binding> {
        self.told.keys().filter(|address| !self.leaving.contains(*address))
    }

    fn is_bound(&self, vip: Vip) -> bool {
        self.bound().any(|binding| binding.vip() == vip && is_up(&self.told_links, binding))
    }

    /// Whether it may be announced only while it is bound: a wider prefix has to be where its service says so.
    fn is_carried(&self, vip: &Vip) -> bool {
        let mut services =
            self.engine.config().services.values().filter(|service| service.vips.contains(vip));
        vip.is_host() || services.any(|service| service.bind == BindPolicy::Route)
    }

    /// Why nobody reaches the service at this VIP, if that is so. When it may be announced again that was taken away is
    /// the engine's to know.
    fn obstacle(&self, vip: &Vip) -> Option<&'static str> {
        if !self.is_carried(vip) {
            return None;
        }
        let contest = self.engine.facts().contests.get(vip).filter(|contest| contest.is_repeated());
        if contest.is_some_and(|contest| !contest.may_be_announced(self.now)) {
            Some("contested")
        } else if self.is_bound(*vip) {
            None
        } else if self.bound().any(|binding| binding.vip() == *vip) {
            Some("unusable")
        } else {
            Some("not_bound")
        }
    }

    /// Nothing that was said is unheard: then what is announced is on the host.
    fn i1_it_is_so(&self) {
        if !self.kernel_says.is_empty() {
            return;
        }
        for vip in self.advertised.routes.keys().map(|prefix| Vip::from(*prefix)) {
            if !self.is_carried(&vip) {
                continue;
            }
            let is_there = |binding: &Binding| binding.vip() == vip && is_up(&self.links, binding);
            assert!(self.kernel.keys().any(is_there), "I1: {vip} is announced, and not on the host");
        }
    }

    pub(super) fn i1_only_what_may_be_is_announced(&self) {
        let config = self.engine.config();
        let mut expected = Routes::new();
        let mut count = 0;
        for (name, service) in &config.services {
            for vip in &service.vips {
                count += 1;
                let verdict = &self.engine.standing()[vip].decision.verdict;
                let reason = verdict.reason().map(Reason::name);
                let rule = self.rule(name, service, vip);
                assert_eq!((verdict.word(), reason), rule, "I1: {vip} of {name}: {:?}", self.engine.facts());
                if let Some(attributes) = ServiceRoutes::new(service).of(vip, verdict) {
                    let graceful = matches!(reason, Some("draining" | "shutting_down"));
                    assert_eq!(is_graceful(&attributes), graceful, "I9: GRACEFUL_SHUTDOWN on {vip}");
                    expected.insert(vip.prefix(), attributes);
                }
            }
        }
        assert_eq!(self.engine.standing().len(), count, "no decision outlives its VIP");
        assert_eq!(self.advertised.routes, expected, "what is decided is what is advertised");
        self.i1_it_is_so();
    }

    /// What is to be said of a VIP, by the rules.
    fn rule(&self, name: &ServiceName, service: &Service, vip: &Vip) -> (&'static str, Option<&'static str>) {
        let stopping = match self.engine.facts().shutdown {
            None => false,
            Some(Shutdown::Draining { .. }) => true,
            Some(_) => return ("withheld", Some("shutdown")),
        };
        let drain = self.drains.get(name);
        let leaving = self.graceful.get(vip);
        if drain.is_some() && leaving.is_none_or(|(until, _)| *until <= self.now) {
            return ("withheld", Some("drained"));
        }
        if stopping && leaving.is_none() {
            return ("withheld", Some("shutdown"));
        }
        let force = self.forces.get(name).map(|(to, _)| *to);
        if force == Some(Force::Down) {
            return ("withheld", Some("forced_down"));
        }
        let up = force == Some(Force::Up);
        let bound = self.obstacle(vip).is_none();
        let gone =
            (stopping || drain.is_some()) && leaving.is_some_and(|(_, route)| route.is_none() || !bound);
        // A condition is settled when it does not matter how the unsettled checks turn out.
        let passing = up || self.holds(&service.checks, vip, false);
        let failing = !up && !self.holds(&service.checks, vip, true);
        match (passing, failing, service.on_down) {
            (false, false, _) => ("withheld", Some("check_unknown")),
            (_, true, OnDown::Withdraw) => ("withheld", Some("check_down")),
            _ if drain.is_some() && gone => ("withheld", Some("drained")),
            _ if gone => ("withheld", Some("shutdown")),
            _ if !bound => ("withheld", self.obstacle(vip)),
            _ if drain.is_some() => ("demoted", Some("draining")),
            _ if stopping => ("demoted", Some("shutting_down")),
            (_, true, OnDown::Demote) => ("demoted", Some("check_down")),
            _ if up && service.role == Role::Standby => ("demoted", Some("standby")),
            _ if up => ("announced", None),
            (true, _, _) => self.rule_of_the_healthy(service, vip),
        }
    }

    /// Which of them are recovering is the engine's to know; whether they may be, and what follows, is said here again.
    fn rule_of_the_healthy(&self, service: &Service, vip: &Vip) -> (&'static str, Option<&'static str>) {
        let recovery = self.engine.facts().recovering.get(vip).copied().unwrap_or_default();
        let (held, warm_until) = (recovery.held.is_some(), recovery.warm_until);
        match service.role {
            Role::Standby => assert!(!held, "a standby is held back"),
            Role::Active(preempt) => {
                assert!(!held || preempt != Preempt::AtOnce, "{vip} is held back by no rule")
            }
        }
        assert!(warm_until.is_none() || service.warm_up.is_some(), "{vip} warms up by no rule");
        if held {
            ("demoted", Some("held_back"))
        } else if warm_until.is_some_and(|until| until > self.now) {
            ("demoted", Some("warming_up"))
        } else if service.role == Role::Standby {
            ("demoted", Some("standby"))
        } else {
            ("announced", None)
        }
    }

    fn holds(&self, condition: &Condition, vip: &Vip, unsettled: bool) -> bool {
        let count = |of: &[Condition]| of.iter().filter(|part| self.holds(part, vip, unsettled)).count();
        let kept = |check: &CheckName| {
            let kept = self.keeps.get(vip).filter(|(_, checks)| checks.contains(check));
            kept.map_or(unsettled, |(held, _)| *held)
        };
        match condition {
            Condition::Check(check) => self.verdicts.get(check).copied().unwrap_or_else(|| kept(check)),
            Condition::EachVip(_) => unreachable!("no service of these properties has such a check"),
            Condition::All(of) => count(of) == of.len(),
            Condition::Any(of) => count(of) > 0,
            Condition::AtLeast(needed, of) => count(of) >= *needed,
        }
    }

    /// A reload: what was settled of a VIP is kept until its new checks have settled, each in its time.
    pub(super) fn keep(&mut self, config: &Config) {
        let old = Arc::clone(self.engine.config());
        let services =
            || old.services.values().flat_map(|service| service.vips.iter().map(move |vip| (vip, service)));
        let settled = services().filter_map(|(vip, service)| {
            let [least, most] = [false, true].map(|unsettled| self.holds(&service.checks, vip, unsettled));
            (least == most).then_some((*vip, least))
        });
        let was: BTreeMap<Vip, bool> = settled.collect();
        for (new, check) in config.checks.iter().filter(|(new, _)| !old.checks.contains_key(*new)) {
            let mut gone = old.checks.iter().filter(|(name, _)| !config.checks.contains_key(*name));
            let same = gone.find(|(name, was)| *was == check && self.verdicts.contains_key(*name));
            if let Some(verdict) = same.and_then(|(name, _)| self.verdicts.get(name)).copied() {
                self.verdicts.insert(new.clone(), verdict);
            }
        }
        // An interval of 1 s, a time-out of 500 ms, one result, and 5 s beside.
        let late = self.now + ms(6500);
        self.pending.retain(|check, _| {
            config.checks.contains_key(check) && old.checks.get(check) == config.checks.get(check)
        });
        for (check, _) in config.checks.iter().filter(|(name, check)| old.checks.get(*name) != Some(check)) {
            if self.verdicts.contains_key(check) {
                self.pending.insert(check.clone(), late);
            }
        }
        self.keeps.clear();
        for (vip, service) in
            config.services.values().flat_map(|service| service.vips.iter().map(move |vip| (vip, service)))
        {
            let checks = service.checks.checks(Some(vip)).into_iter();
            let checks: BTreeSet<_> =
                checks.filter(|check| !self.verdicts.contains_key(*check)).cloned().collect();
            if let Some(held) = was.get(vip).filter(|_| !checks.is_empty()) {
                for check in &checks {
                    self.pending.entry(check.clone()).or_insert(late);
                }
                self.keeps.insert(*vip, (*held, checks));
            }
        }
    }

    /// A check settles. When it is down, nothing good is kept for whoever uses it.
    pub(super) fn settles(&mut self, config: &Config, check: &str, verdict: bool) {
        let fails = !verdict && self.verdicts.insert(check.into(), verdict) != Some(false);
        self.verdicts.insert(check.into(), verdict);
        self.pending.remove(check);
        self.keeps.retain(|vip, (held, checks)| {
            checks.remove(check);
            let mut services = config.services.values().filter(|service| service.vips.contains(vip));
            let uses =
                services.any(|service| service.checks.checks(None).iter().any(|used| used.as_str() == check));
            let settled_it = uses && *held && fails;
            !settled_it && !checks.is_empty()
        });
    }

    /// Nothing of a drained service, or of a node that stops, comes back or becomes a better path.
    pub(super) fn a_drain_adds_and_improves_nothing(&mut self) {
        let stops = self.engine.facts().shutdown.is_some();
        for (vip, standing) in self.engine.standing() {
            let drained = self.drains.contains_key(&standing.service);
            let is_over = drained && self.graceful.get(vip).is_some_and(|(until, _)| *until <= self.now);
            if !stops && !drained || is_over {
                self.graceful.remove(vip);
            }
            if !stops && !drained {
                continue;
            }
            let now = self.advertised.routes.get(&vip.prefix());
            if let Some(now) = now {
                let before = self
                    .graceful
                    .get(vip)
                    .and_then(|(_, route)| route.as_ref())
                    .expect("a drain adds nothing");
                assert!(now.as_path_prepend >= before.as_path_prepend, "a drain improves nothing: {vip}");
            }
            if let Some((_, before)) = self.graceful.get_mut(vip) {
                *before = now.cloned();
            }
        }
        let standing = self.engine.standing();
        self.graceful.retain(|vip, _| standing.contains_key(vip));
    }

    pub(super) fn i2_all_of_it_is_bound(&self, routes: &Routes) {
        for vip in routes.keys().map(|prefix| Vip::from(*prefix)) {
            assert!(!self.is_carried(&vip) || self.is_bound(vip), "I2: {vip} is announced and not bound");
        }
    }

    pub(super) fn i2_nobody_needs_it(&self, address: &Binding) {
        let vip = address.vip();
        if self.is_bound(vip) {
            return; // Its other interface goes on, or the other kind.
        }
        if self.advertised.routes.contains_key(&vip.prefix()) && !self.is_carried(&vip) {
            return; // It is announced without being bound, and its service says so.
        }
        assert!(!self.advertised.routes.contains_key(&vip.prefix()), "I2: {vip} is unbound and announced");
        if self.engine.facts().hurry || self.engine.facts().sessions_closed {
            return;
        }
        let unbinding =
            matches!(self.engine.facts().shutdown, Some(Shutdown::Unbinding { .. } | Shutdown::Done));
        assert!(unbinding || !self.is_held(vip), "I2: {vip} is unbound and a router has the route");
        let stale = self.now < self.stale_until && self.stale.values().any(|vips| vips.contains(&vip));
        assert!(unbinding || !stale, "I2: {vip} is unbound and a router keeps the route of before");
        if let (Some(since), false) = (self.free_since.get(&vip), unbinding) {
            let earliest = since.map(|since| since + self.engine.config().shutdown.unbind_delay);
            assert!(earliest.is_some_and(|at| at <= self.now), "I2: {vip} is unbound too early");
        }
    }

    pub(super) fn i3_it_is_ours(&self, address: &Binding) {
        assert_eq!(self.told.get(address), Some(&Owner::Us), "I3: {address:?} is not ours to remove");
    }

    pub(super) fn i4_others_are_untouched(&self, before: &Engine, effects: &[Effect], service: &str) {
        let others = |engine: &Engine| {
            let others = engine.standing.iter().filter(|(_, standing)| standing.service.as_str() != service);
            others.map(|(vip, standing)| (*vip, standing.clone())).collect::<BTreeMap<_, _>>()
        };
        let vips = others(before);
        assert_eq!(vips, others(&self.engine), "I4: an event of {service} alone");
        for effect in effects {
            match effect {
                Effect::Bind(address) | Effect::Unbind(address) => {
                    assert!(
                        !vips.contains_key(&address.vip()),
                        "I4: {effect:?} for an event of {service} alone"
                    );
                }
                Effect::Advertise(Advertised { routes, .. }) => {
                    let of = |routes: &Routes| {
                        let of = routes.iter().filter(|(vip, _)| vips.contains_key(*vip));
                        of.map(|(vip, route)| (*vip, Arc::clone(route))).collect::<Routes>()
                    };
                    assert_eq!(
                        of(routes),
                        of(&self.advertised.routes),
                        "I4: routes for an event of {service} alone"
                    );
                }
                Effect::Configure { .. }
                | Effect::SaveOverrides(_)
                | Effect::SaveHeldBack(_)
                | Effect::StopPeers
                | Effect::Exit(_) => {}
                of_the_node => unreachable!("the engine wants {of_the_node:?}"),
            }
        }
    }

    /// What happens twice in a row happens once; and a tick that nothing waits for does nothing.
    pub(super) fn i7_the_same_again_does_nothing(&self, events: Vec<Event>) {
        let does_something = |told: &Told| match told {
            Told::Record(_) => false,
            Told::Effect(effect) => is_more_than_a_note(effect),
        };
        let mut again = self.engine.clone();
        let effects = handled(&mut again, Event::Tick, self.now);
        assert_eq!(effects, [], "I7: a tick after {events:?}");
        if let [event] = &events[..]
            // The second of two is another one; and an answer may have made way for the next question.
            && !matches!(event, Event::Shutdown | Event::Answered(..))
        {
            let effects = handled(&mut again, event.clone(), self.now);
            assert!(!effects.iter().any(does_something), "I7: {event:?} again: {effects:?}");
        }
    }

    /// Nothing is left to do, for anyone.
    pub(in crate::engine::tests) fn everything_is_as_decided(&self) {
        assert!(self.requests.is_empty() && self.kernel_says.is_empty() && self.closing.is_empty());
        assert!(self.answers.is_empty() && self.engine.facts().asked.is_empty(), "a question is open");
        assert_eq!(self.told, self.kernel, "it was told of everything");
        for (name, router) in &self.routers {
            assert_eq!(router.holds, self.advertised.routes, "{name} has what is advertised");
        }
        let ours: BTreeSet<&Binding> = self
            .kernel
            .iter()
            .filter(|(_, owner)| **owner == Owner::Us)
            .map(|(address, _)| address)
            .collect();
        for address in &ours {
            let vip = address.vip();
            let wanted = self.engine.desired.bindings.get(&vip);
            let ours = wanted.and_then(|(carrier, interface)| {
                Some(Binding::ours(vip, *carrier, self.links.index_of(interface)?))
            });
            assert_eq!(ours, Some(**address), "it was left behind");
        }
        for vip in self.engine.desired.bindings.keys() {
            assert!(self.kernel.keys().any(|binding| binding.vip() == *vip), "{vip} is not bound");
        }
    }
}

fn is_up(links: &Links, address: &Binding) -> bool {
    links.get(address.index).is_some_and(|link| link.up)
}

/// Whether it changes anything outside.
fn is_more_than_a_note(effect: &Effect) -> bool {
    match effect {
        Effect::Configure { .. } | Effect::SaveOverrides(_) | Effect::SaveHeldBack(_) => false,
        Effect::Bind(_) | Effect::Unbind(_) | Effect::Advertise(..) | Effect::StopPeers | Effect::Exit(_) => {
            true
        }
        of_the_node => unreachable!("the engine wants {of_the_node:?}"),
    }
}
