//! The fact behind a reason, in words, for the log, the records, `explain` and the API.

use vipcast_bgp::Instant;

use super::{Engine, Held, Override, Reason, Verdict, Wanted};
use crate::names::ServiceName;
use crate::vip::Vip;
use crate::words;

impl Engine {
    /// The reason why a VIP is not announced plainly, with the fact behind it, or the force that alone makes it announced;
    /// `None` if it is announced plainly by its checks, or is not configured.
    pub fn why(&self, vip: &Vip, now: Instant) -> Option<String> {
        let standing = self.standing.get(vip)?;
        let reason = self.why_not(vip, &standing.decision.verdict, now);
        let upheld = self.upheld(vip, &standing.service, &standing.decision.verdict, now);
        let whys: Vec<String> = reason.into_iter().chain(upheld).collect();
        (!whys.is_empty()).then(|| whys.join("; "))
    }

    /// The reason of a verdict about a VIP, with the fact behind it.
    pub fn why_not(&self, vip: &Vip, verdict: &Verdict, now: Instant) -> Option<String> {
        let standing = self.standing.get(vip)?;
        let reason = verdict.reason()?;
        Some(match self.cause(vip, &standing.service, reason, now) {
            Some(cause) => format!("{reason}: {cause}"),
            None => reason.to_string(),
        })
    }

    /// The fact behind the reason of a VIP's verdict, if the reason needs one.
    pub(super) fn cause(
        &self,
        vip: &Vip,
        service: &ServiceName,
        reason: &Reason,
        now: Instant,
    ) -> Option<String> {
        let facts = &self.facts;
        #[expect(clippy::wildcard_enum_match_arm, reason = "the other reasons have no fact behind them")]
        match reason {
            Reason::CheckUnknown { check } | Reason::CheckDown { check } => {
                facts.checks.get(check).map(|fact| fact.outcome.detail.clone())
            }
            Reason::CheckDegraded { check } => facts.checks.get(check)?.degraded.clone(),
            Reason::WarmingUp => {
                let until = facts.recovering.get(vip)?.warm_until?;
                Some(format!("for {} more", left(until, now)))
            }
            Reason::HeldBack => Some(match facts.recovering.get(vip).and_then(|recovery| recovery.held) {
                Some(Held::Until(until)) => {
                    format!("for {} more, or until `vipcast promote`", left(until, now))
                }
                Some(Held::UntilPromoted) | None => "until `vipcast promote`".to_owned(),
            }),
            Reason::NotBound => facts.obstacle(*vip, Wanted::by(self.config.services.get(service)?, vip)?),
            Reason::Contested => {
                facts.contests.get(vip).map(|contest| format!("{} times by now", contest.losses))
            }
            Reason::Draining | Reason::Drained => self.lasting_drain(service).map(words::set),
            Reason::ForcedDown => {
                let (_, force) = facts.overrides.forces.of(service.as_str())?;
                Some(words::set(force))
            }
            _says_it_all => None,
        }
    }

    /// The drain of a service that ends last: an operator's, or one from outside.
    pub fn lasting_drain(&self, service: &ServiceName) -> Option<&Override> {
        let drains = self.facts.overrides.drains.of(service.as_str()).map(|drain| &**drain);
        let drains = drains.chain(self.facts.cordons.values().map(|drain| &**drain));
        drains.reduce(|first, second| if second.outlasts(first) { second } else { first })
    }
}

/// The time until then, in whole seconds.
fn left(until: Instant, now: Instant) -> String {
    format!("{} s", until.saturating_duration_since(now).as_secs_f64().ceil())
}
