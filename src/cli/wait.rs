//! `--wait` of `drain` and `undrain`: looks at the status until every router was told.
//!
//! The client polls. A command is in force before it is answered, and a status shows the state after its query, so each
//! look is exact; a job in the node could answer only at the end, and show no progress.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::sleep;
use vipcast_node::plain::plain;

use super::output::{age, print, print_json};
use super::{ClientArgs, Failure, block_on};
use crate::control::api::{Done, Peer, SessionState, Status, Verdict, Vip, VipState};
use crate::control::client::PATIENCE;
use crate::control::routes;

/// The time beyond the drain time for routers to acknowledge, and for checks to settle.
const LONGEST: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// A drain that no router had to be told of.
const NOBODY: &str = "drained, but no router has a session: none was told";
/// The most missing items that are named.
const SHOWN: usize = 5;

/// The end of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// Every router was told the withdrawal.
    Drained,
    /// Routers have the routes again.
    Announced,
}

/// The scope of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    Service(String),
    Peer(String),
}

/// The awaited state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Goal {
    pub(super) until: Until,
    pub(super) scope: Scope,
}

/// A look at the status.
#[derive(Debug, Default, PartialEq, Eq)]
struct Look {
    done: usize,
    /// The number of VIPs, or of routes of the peer.
    of: usize,
    /// The time until the withdrawal.
    left_ms: Option<u64>,
    /// What is missing, in words.
    missing: Vec<String>,
}

/// The result, as JSON.
#[derive(Debug, Serialize)]
struct Waited<'a> {
    message: &'a str,
    warning: &'a Option<String>,
    /// Whether the goal was reached.
    done: bool,
    waited_ms: u64,
    missing: &'a [String],
}

pub(super) fn wait(args: &ClientArgs, done: Done, goal: &Goal) -> Result<(), Failure> {
    if !args.json {
        print(&done.message)?;
    }
    let begun = Instant::now();
    let mut progress = Progress::new(args.json);
    let client = args.client(PATIENCE);
    let mut patience = args.timeout;
    let mut has_router = false;
    let mut look = block_on(async {
        loop {
            let status = client.call(&routes::STATUS, &()).await?;
            has_router |= status.peers.values().any(|peer| peer.state == SessionState::Established);
            let look = look(&status, goal);
            let longest = *patience
                .get_or_insert_with(|| LONGEST + Duration::from_millis(look.left_ms.unwrap_or_default()));
            if look.missing.is_empty() || begun.elapsed() > longest {
                return Ok::<_, Failure>(look);
            }
            progress.show(&look.in_words(goal.until));
            sleep(LOOK_AGAIN).await;
        }
    })??;
    progress.end();
    let told_nobody = look.missing.is_empty() && look.of > 0 && !has_router && goal.tells_routers();
    if told_nobody {
        look.missing.push(NOBODY.to_owned());
    }
    let waited_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let reached = look.missing.is_empty();
    if args.json {
        let Done { message, warning } = &done;
        let missing = &look.missing;
        print_json(&Waited { message, warning, done: reached, waited_ms, missing })?;
    } else if reached {
        print(&format!("{}, after {}", look.in_words(goal.until), age(waited_ms)))?;
    }
    if told_nobody {
        return Err(Failure::ToldNobody(NOBODY));
    }
    if !reached {
        let missing = listed(&look.missing);
        return Err(anyhow::anyhow!("not over after {}: {missing}", age(waited_ms)).into());
    }
    done.warning.map_or(Ok(()), |warning| Err(Failure::HalfDone(warning)))
}

fn look(status: &Status, goal: &Goal) -> Look {
    let name = match &goal.scope {
        Scope::Peer(name) => return look_at_peer(status, name, goal.until),
        Scope::All => None,
        Scope::Service(name) => Some(name),
    };
    let mut look = Look::default();
    for vip in status.vips.iter().filter(|vip| name.is_none_or(|name| vip.service == *name)) {
        look.of += 1;
        let missing = match goal.until {
            Until::Drained => not_withdrawn(vip),
            Until::Announced => not_announced(vip, status),
        };
        look.left_ms = look.left_ms.max(vip.leaving_ms);
        match missing {
            Some(missing) => look.missing.push(format!("{}: {missing}", vip.vip.short())),
            None => look.done += 1,
        }
    }
    look
}

/// The reason why a VIP is not withdrawn from every router.
fn not_withdrawn(vip: &Vip) -> Option<String> {
    match (&vip.verdict, vip.leaving_ms, vip.untold.is_empty()) {
        (Verdict::Withheld, _, true) => None,
        (Verdict::Withheld, _, false) => {
            Some(format!("{} has not acknowledged the withdrawal", vip.untold.join(", ")))
        }
        (_, Some(left), _) => Some(format!("withdrawn in {}", age(left))),
        (_, None, _) => Some("not drained any more".to_owned()),
    }
}

/// The reason why no router, or not every one with a session, has a VIP.
fn not_announced(vip: &Vip, status: &Status) -> Option<String> {
    let lacks = vip.not_at.iter().find(|(name, _)| {
        let can_have = |peer: &Peer| {
            peer.state == SessionState::Established
                && peer.drain.is_none()
                && !peer.withheld.contains_key(&vip.vip)
        };
        status.peers.get(*name).is_some_and(can_have)
    });
    match (&vip.state, lacks) {
        (VipState::Withheld, _) => Some(vip.why.clone().unwrap_or_else(|| "withheld".to_owned())),
        (_, Some((name, why))) => Some(format!("{name}: {why}")),
        (VipState::Ready, None) => {
            let why: Vec<_> = vip.not_at.iter().map(|(name, why)| format!("{name}: {why}")).collect();
            Some(format!("no router has it: {}", why.join("; ")))
        }
        (VipState::Announced | VipState::Demoted | VipState::Other(_), None) => None,
    }
}

fn look_at_peer(status: &Status, name: &str, until: Until) -> Look {
    // A peer that is not configured has no route.
    let Some(peer) = status.peers.get(name) else { return Look::default() };
    let established = peer.state == SessionState::Established;
    let announced = status.vips.iter().filter(|vip| vip.verdict != Verdict::Withheld);
    match until {
        Until::Drained => {
            let missing = match (&peer.drain, peer.leaving_ms) {
                (None, _) => Some("not drained any more".to_owned()),
                (Some(_), Some(left)) => Some(format!("withdrawn in {}", age(left))),
                (Some(_), None) if established && peer.advertised > 0 => {
                    Some(format!("{name} has not acknowledged the withdrawal of {} routes", peer.advertised))
                }
                (Some(_), None) => None,
            };
            let of = announced.count();
            Look {
                done: if missing.is_none() { of } else { 0 },
                of,
                left_ms: peer.leaving_ms,
                missing: missing.into_iter().collect(),
            }
        }
        Until::Announced => {
            let mut look = Look::default();
            for vip in announced.filter(|vip| !peer.withheld.contains_key(&vip.vip)) {
                look.of += 1;
                match vip.not_at.get(name) {
                    Some(why) => look.missing.push(format!("{}: {why}", vip.vip.short())),
                    None => look.done += 1,
                }
            }
            look
        }
    }
}

impl Goal {
    /// Whether it is reached by telling whichever routers there are.
    fn tells_routers(&self) -> bool {
        self.until == Until::Drained && !matches!(self.scope, Scope::Peer(_))
    }
}

impl Look {
    fn in_words(&self, until: Until) -> String {
        let Self { done, of, left_ms, missing } = self;
        let what = match until {
            Until::Drained => "withdrawn from every router",
            Until::Announced => "announced",
        };
        let left = left_ms.map(|left| format!(", {} left", age(left))).unwrap_or_default();
        let waits = if left_ms.is_none() && !missing.is_empty() {
            format!("; waiting: {}", listed(missing))
        } else {
            String::new()
        };
        format!("{done} of {of} VIPs {what}{left}{waits}")
    }
}

fn listed(missing: &[String]) -> String {
    let more = missing.len().saturating_sub(SHOWN);
    let shown = missing.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if more > 0 { format!("{shown}; and {more} more") } else { shown }
}

/// The progress on stderr: one line of a terminal, or a line for each change.
struct Progress {
    quiet: bool,
    terminal: bool,
    last: String,
}

impl Progress {
    fn new(quiet: bool) -> Self {
        Self { quiet, terminal: io::stderr().is_terminal(), last: String::new() }
    }

    fn show(&mut self, text: &str) {
        let text = plain(text);
        // Without a terminal the seconds that pass are no news.
        let news = if self.terminal { text.as_str() } else { text.split(',').next().unwrap_or_default() };
        if self.quiet || news == self.last {
            return;
        }
        self.last = news.to_owned();
        let width = terminal_size::terminal_size_of(io::stderr()).map_or(80, |(width, _)| width.0);
        let line = if self.terminal {
            let shown: String = text.chars().take(usize::from(width).saturating_sub(1)).collect();
            format!("\r{shown}\x1b[K")
        } else {
            format!("{text}\n")
        };
        // Progress that cannot be shown is dropped.
        drop(io::stderr().write_all(line.as_bytes()));
    }

    fn end(&mut self) {
        if self.terminal && !self.last.is_empty() {
            drop(io::stderr().write_all(b"\r\x1b[K"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A status with one service, and this VIP and this peer in it.
    fn status(vip: serde_json::Value, peer: serde_json::Value) -> Status {
        let mut vip_json = json!({
            "vip": "192.0.2.1/32", "service": "web", "verdict": "withheld", "state": "withheld",
            "since_ms": 0, "reason": null, "why": null, "bound": true, "sent_to": 0, "not_at": {}, "heard": [],
        });
        let mut peer_json = json!({
            "address": "10.0.1.1", "peer_as": 65000, "state": "Established", "since_ms": 0, "hold_time": 9,
            "families": [], "local_address": null, "advertised": 0, "updates_sent": 0, "received": 0,
            "restart_time": null, "bfd": null, "last_error": null, "telling_error": null, "telling_ms": null,
            "reduced_offer": null, "unacknowledged": null, "hint": null, "withheld": {},
        });
        let extend = |all: &mut serde_json::Value, more: serde_json::Value| {
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        };
        extend(&mut vip_json, vip);
        extend(&mut peer_json, peer);
        serde_json::from_value(json!({
            "version": "1", "router_id": null, "uptime_ms": 1, "config": "", "shutdown": null,
            "restarting": false, "peers": {"tor-a": peer_json}, "checks": {},
            "probes": {"started": 0, "late_p50_us": 0, "late_p99_us": 0}, "vips": [vip_json],
        }))
        .unwrap()
    }

    fn missing(until: Until, vip: serde_json::Value) -> Vec<String> {
        let goal = Goal { until, scope: Scope::Service("web".to_owned()) };
        look(&status(vip, json!({})), &goal).missing
    }

    #[test]
    fn a_drain_is_over_when_the_vip_is_withheld_and_every_router_was_told() {
        let leaving = json!({"verdict": "demoted", "state": "demoted", "leaving_ms": 2000});
        let lifted = json!({"verdict": "announced", "state": "announced"});
        let table = [
            (leaving, "192.0.2.1: withdrawn in 2 s"),
            (json!({"untold": ["tor-a"]}), "192.0.2.1: tor-a has not acknowledged the withdrawal"),
            (lifted, "192.0.2.1: not drained any more"),
        ];
        for (vip, expected) in table {
            assert_eq!(missing(Until::Drained, vip), [expected]);
        }
        assert_eq!(missing(Until::Drained, json!({})), [""; 0]);
    }

    #[test]
    fn an_undrained_service_is_back_when_a_router_has_it_and_otherwise_its_checks_say_why_not() {
        let why = "check web is down: refused";
        assert_eq!(missing(Until::Announced, json!({"why": why})), [format!("192.0.2.1: {why}")]);
        let unacknowledged = json!({
            "verdict": "announced", "state": "ready", "not_at": {"tor-a": "its TCP has not acknowledged it yet"},
        });
        assert_eq!(
            missing(Until::Announced, unacknowledged),
            ["192.0.2.1: tor-a: its TCP has not acknowledged it yet"]
        );
        let back = json!({"verdict": "announced", "state": "announced", "sent_to": 1});
        assert_eq!(missing(Until::Announced, back), [""; 0]);
    }

    #[test]
    fn a_drain_of_a_peer_is_over_when_it_has_acknowledged_that_it_has_no_route() {
        let drain = json!({"by": "alice", "reason": null, "since": "2026-11-27T12:00:00Z", "until": null});
        let goal = Goal { until: Until::Drained, scope: Scope::Peer("tor-a".to_owned()) };
        let announced = json!({"verdict": "announced", "state": "announced"});
        let table = [
            (json!({"drain": drain, "leaving_ms": 900, "advertised": 1}), vec!["withdrawn in 900 ms"]),
            (
                json!({"drain": drain, "advertised": 1}),
                vec!["tor-a has not acknowledged the withdrawal of 1 routes"],
            ),
            (json!({"drain": drain, "advertised": 0}), vec![]),
            (json!({"advertised": 1}), vec!["not drained any more"]),
        ];
        for (peer, expected) in table {
            assert_eq!(look(&status(announced.clone(), peer), &goal).missing, expected);
        }
    }

    #[test]
    fn progress_names_the_time_that_is_left_or_what_it_waits_for() {
        let missing = (1..=7).map(|n| format!("192.0.2.{n}: tor-a")).collect();
        let look = Look { done: 1, of: 8, left_ms: None, missing };
        assert_eq!(
            look.in_words(Until::Drained),
            "1 of 8 VIPs withdrawn from every router; waiting: 192.0.2.1: tor-a; 192.0.2.2: tor-a; \
             192.0.2.3: tor-a; 192.0.2.4: tor-a; 192.0.2.5: tor-a; and 2 more"
        );
        let look = Look { left_ms: Some(2000), ..look };
        assert_eq!(look.in_words(Until::Drained), "1 of 8 VIPs withdrawn from every router, 2 s left");
    }
}
