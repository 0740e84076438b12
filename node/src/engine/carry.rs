//! Carries out the plan: each step becomes an effect, and is noted as under way.

use vipcast_bgp::Instant;

use super::Engine;
use super::facts::{Asked, Facts};
use super::plan::{Step, plan};
use crate::effect::Effect;
use crate::outbox::Outbox;
use crate::record::What;

impl Engine {
    /// Plans, and starts every step that is possible now; steps under way are not repeated.
    pub(super) fn plan(&mut self, now: Instant, out: &mut Outbox) {
        let unbind_delay = self.unbind_delay();
        self.acted_at = Some(now);
        loop {
            self.actual.settle(&self.facts, unbind_delay, now);
            let steps = plan(&self.desired, &self.actual, &self.facts, unbind_delay, now);
            // A withdrawal without an established peer may be settled at once, and then another step is possible.
            let advertises = steps.iter().any(|step| matches!(step, Step::Advertise(..)));
            out.effects.extend(steps.into_iter().map(|step| self.begin(step)));
            if !advertises || self.facts.told(now) < Some(self.version()) {
                break;
            }
        }
        self.actual.close(&self.desired, &self.facts);
    }

    /// Records once that an interface is missing for VIPs.
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
