//! Carries out what was planned: each step becomes an effect, and is noted as under way.

use vipcast_bgp::Instant;

use super::Engine;
use super::facts::{Asked, Facts};
use super::plan::{Step, plan};
use crate::effect::Effect;
use crate::outbox::Outbox;
use crate::record::What;

impl Engine {
    /// Plans, and sets in motion whatever can be now; what is under way is not asked for again.
    pub(super) fn plan(&mut self, now: Instant, out: &mut Outbox) {
        let unbind_delay = self.unbind_delay();
        self.acted_at = Some(now);
        loop {
            self.actual.settle(&self.facts, unbind_delay, now);
            let steps = plan(&self.desired, &self.actual, &self.facts, unbind_delay, now);
            // A withdrawal that nobody has to be told of may be settled at once, and then something is left to do.
            let advertises = steps.iter().any(|step| matches!(step, Step::Advertise(..)));
            out.effects.extend(steps.into_iter().map(|step| self.begin(step)));
            if !advertises || self.facts.told(now) < Some(self.version()) {
                break;
            }
        }
        self.actual.close(&self.desired, &self.facts);
    }

    /// Says once of an interface that VIPs wait for that it is not there.
    pub(super) fn note_missing_links(&mut self, out: &mut Outbox) {
        let Facts { links, is_listed: true, .. } = &self.facts else { return };
        self.actual.missing_links.retain(|name| links.index_of(name).is_none());
        for vip in &self.actual.open {
            if let Some(wanted) = self.desired.wanted(*vip)
                && links.index_of(wanted.interface).is_none()
                && self.actual.missing_links.insert(wanted.interface.to_owned())
            {
                out.tell(What::NoInterface(wanted.interface.to_owned()));
            }
        }
    }

    fn begin(&mut self, step: Step) -> Effect {
        match step {
            Step::Bind(binding) => {
                self.facts.asked.insert(binding, Asked::Bind);
                Effect::Bind(binding)
            }
            Step::Unbind(binding) => {
                self.facts.asked.insert(binding, Asked::Unbind);
                Effect::Unbind(binding)
            }
            Step::Advertise(advertised) => {
                self.actual.advertise(advertised.clone());
                Effect::Advertise(advertised)
            }
        }
    }
}
