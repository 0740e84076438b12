//! Applies decisions to the desired state. Only this module does; it also notes the changes for the plan, the records
//! and the reach.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::vip::Vip;
use vipcast_bgp::{Instant, RouteAttributes};

use super::binding::Wanted;
use super::{Decision, Engine, Standing};
use crate::media::bgp::ServiceRoutes;
use crate::model::{Config, Service};
use crate::names::ServiceName;
use crate::outbox::Outbox;
use crate::record::What;

impl Engine {
    /// Puts the decisions about the VIPs of a service in force.
    pub(super) fn set(
        &mut self,
        name: &ServiceName,
        service: &Service,
        decisions: Vec<(Vip, Decision)>,
        now: Instant,
        out: &mut Outbox,
    ) {
        let mut routes = ServiceRoutes::new(service);
        for (vip, decision) in decisions {
            self.note_undecided(vip, service, &decision);
            self.note_leaving(&vip, name.as_str(), &decision, now);
            let route = routes.of(&vip, &decision.verdict);
            let wanted = Wanted::by(service, &vip).filter(|_| decision.bind);
            let is_other_route = self.want(vip, route, wanted);
            let is_news = self.stand(vip, name, decision, now, out);
            if (is_news || is_other_route)
                && let Some(standing) = self.standing.get(&vip)
            {
                self.reach.decided(vip, &standing.decision.verdict, now);
            }
        }
    }

    /// Withdraws and drops the VIPs that are no longer configured.
    pub(super) fn forget_unconfigured(&mut self, config: &Config, out: &mut Outbox) {
        let configured: BTreeSet<&Vip> = config.services.values().flat_map(|s| &s.vips).collect();
        let gone: BTreeSet<Vip> =
            self.standing.keys().filter(|vip| !configured.contains(vip)).copied().collect();
        for vip in gone {
            self.forget(vip, out);
        }
    }

    fn forget(&mut self, vip: Vip, out: &mut Outbox) {
        let Some(standing) = self.standing.swap_remove(&vip) else { return };
        self.reach.forget(&vip);
        self.facts.leaving.remove(&vip);
        if let Some(restart) = &mut self.facts.restart {
            restart.undecided.remove(&vip);
        }
        self.want(vip, None, None);
        let from = Some(standing.decision.verdict);
        out.tell(What::Vip { vip, service: standing.service, from, to: None, cause: None });
    }

    /// Sets the desired state of a VIP, notes a change for the plan, and returns whether the route has changed.
    fn want(&mut self, vip: Vip, route: Option<Arc<RouteAttributes>>, wanted: Option<Wanted<'_>>) -> bool {
        let change = self.desired.set(vip, route, wanted);
        let is_other_route = change.route.is_some();
        self.actual.look_at(vip, change);
        is_other_route
    }

    /// Stores a decision, and returns whether the verdict has changed.
    fn stand(
        &mut self,
        vip: Vip,
        service: &ServiceName,
        decision: Decision,
        now: Instant,
        out: &mut Outbox,
    ) -> bool {
        let before = self.standing.get(&vip);
        let same = before.filter(|before| before.decision.verdict == decision.verdict);
        let since = same.map_or(now, |before| before.since);
        let is_news = same.is_none();
        if is_news {
            let from = before.map(|before| before.decision.verdict.clone());
            let to = Some(decision.verdict.clone());
            let verdict = &decision.verdict;
            let cause = verdict.reason().and_then(|reason| self.cause(&vip, service, reason, now));
            let cause = cause.or_else(|| self.upheld(&vip, service, verdict, now));
            out.tell(What::Vip { vip, service: service.clone(), from, to, cause });
        }
        let is_other = before.is_none_or(|before| before.decision != decision || before.service != *service);
        if is_other {
            self.standing.insert(vip, Standing { service: service.clone(), decision, since });
        }
        is_news
    }
}
