//! I13 in every story: before each event a copy of the engine is handed over, and does what the engine does.

use super::*;
use crate::engine::frozen::Before;
use crate::frozen;

/// Whether nothing is under way that forbids a hand-over.
pub(super) fn is_allowed(engine: &Engine) -> bool {
    let facts = engine.facts();
    facts.shutdown.is_none() && facts.farewell.is_none() && facts.is_listed && !engine.is_restarting()
}

pub(super) fn outbox(at: Instant) -> Outbox {
    Outbox::new(now(at), 1)
}

/// Frozen, written, read and thawed.
pub(super) fn rewritten(engine: &Engine, now: Instant) -> (Engine, Option<Before>) {
    let text = serde_json::to_string(&engine.freeze()).unwrap();
    let frozen: frozen::engine::Engine = serde_json::from_str(&text).unwrap();
    let thawed = Engine::thaw(Arc::clone(engine.config()), &frozen, now);
    thawed.unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The engine after a hand-over, and its twin without it. A hand-over does as much as a tick.
pub(super) fn handed_over(engine: &Engine, now: Instant) -> (Engine, Engine, Vec<Effect>) {
    let (mut thawed, before) = rewritten(engine, now);
    assert!(before.is_none(), "I13: the configuration is the same");
    let mut twin = engine.clone();
    let (mut out, mut twins) = (outbox(now), outbox(now));
    thawed.resume(before, Vec::new(), now, &mut out);
    twin.handle(Event::Tick, now, &mut twins);
    twins.effects.retain(|effect| !matches!(effect, Effect::Export(_)));
    assert_eq!(restated(out.effects, &thawed), twins.effects, "I13: the effects of a hand-over");
    assert_eq!(out.records, twins.records, "I13: the records of a hand-over");
    are_alike(&thawed, &twin);
    (thawed, twin, twins.effects)
}

pub(super) fn are_alike(thawed: &Engine, twin: &Engine) {
    assert_eq!(thawed.deadline(), twin.deadline(), "I13: the next wake-up");
    assert_eq!(thawed.exports, twin.exports, "I13: the exports");
    let (ours, theirs) = (thawed.freeze(), twin.freeze());
    if ours != theirs {
        // The differing parts alone.
        let parts = |engine| serde_json::to_value(engine).unwrap();
        let (ours, theirs) = (parts(&ours), parts(&theirs));
        for (part, ours) in ours.as_object().unwrap() {
            assert_eq!(ours, &theirs[part], "I13: the state: {part}");
        }
    }
}

/// Without the effects that tell the ports what they have to know in any case.
fn restated(mut effects: Vec<Effect>, engine: &Engine) -> Vec<Effect> {
    assert_eq!(effects.pop(), Some(Effect::SaveHeldBack(Arc::new(engine.saved.clone()))));
    assert_eq!(effects.pop(), Some(Effect::SaveOverrides(Arc::clone(&engine.facts.overrides))));
    let exports = effects.iter().rposition(|effect| matches!(effect, Effect::Export(_)));
    assert_eq!(effects.get(exports.unwrap()), Some(&Effect::Export(engine.exports.clone())));
    effects.retain(|effect| !matches!(effect, Effect::Export(_)));
    effects
}

/// A copy that is handed over does the same after these events.
pub(super) fn i13_nobody_notices(engine: &Engine, events: &[Event], now: Instant) {
    if !is_allowed(engine) {
        return;
    }
    let (mut thawed, mut twin, _) = handed_over(engine, now);
    let (mut out, mut twins) = (outbox(now), outbox(now));
    thawed.handle_all(events.to_vec(), now, &mut out);
    twin.handle_all(events.to_vec(), now, &mut twins);
    assert_eq!(out, twins, "I13: after {events:?}");
    are_alike(&thawed, &twin);
}
