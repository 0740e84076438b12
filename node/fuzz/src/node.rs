//! A frozen node from JSON that is damaged.
//!
//! ```text
//!   input ─► 0, text ──────────────┐
//!          ─► story, changes ─► text ┴► frozen::Node ─► thaw ─► refused, or a node that is handed over and lives
//! ```

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;
use vipcast_node::effect::Effect;
use vipcast_node::frozen;
use vipcast_node::input::Input;
use vipcast_node::model::Config;
use vipcast_node::node::{Node, Thawed};
use vipcast_node::now::Now;

use super::json::{Chances, damaged};
use super::story;

/// More than that teaches nothing and costs speed.
const MAX_TICKS: usize = 40;

/// What the text is a change of.
struct Seed {
    document: Value,
    config: Arc<Config>,
    now: Now,
}

/// The first octet chooses: 0, then text; else a story, then changes of its form.
pub fn node(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else { return };
    let seeds = seeds();
    let seed = &seeds[usize::from(*which) % seeds.len()];
    match which {
        0 => thaw(rest, seed),
        _ => thaw(damaged(&seed.document, &mut Chances::new(rest)).as_bytes(), seed),
    }
}

fn seeds() -> &'static [Seed] {
    static SEEDS: OnceLock<Vec<Seed>> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let seed = |story: story::Story| Seed {
            document: serde_json::to_value(story.node.freeze()).expect("JSON has all of it"),
            config: Arc::clone(story.node.engine().config()),
            now: story.now,
        };
        story::stories().into_values().map(seed).collect()
    })
}

fn thaw(text: &[u8], seed: &Seed) {
    let frozen: frozen::Node = match serde_json::from_slice(text) {
        Ok(frozen) => frozen,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let mut now = seed.now;
    let Thawed { node, .. } =
        match Node::thaw(story::birth(Arc::clone(&seed.config)), &frozen, &|_| true, now) {
            Ok(thawed) => thawed,
            Err(error) => {
                assert!(error.to_string().len() > 4, "a refusal names its field");
                return;
            }
        };
    let again = handed_over(&node, now);
    assert_eq!(again.freeze(), node.freeze(), "a second hand-over changes nothing");
    assert_eq!(again.deadline(), node.deadline(), "nor when the node wakes up");
    live(node, &mut now);
}

/// The node after one more hand-over, which does nothing.
fn handed_over(node: &Node, now: Now) -> Node {
    let text = serde_json::to_string(&node.freeze()).expect("JSON has all of it");
    let frozen: frozen::Node = serde_json::from_str(&text).expect("a program reads what it writes");
    let birth = story::birth(Arc::clone(node.engine().config()));
    let thawed = Node::thaw(birth, &frozen, &|_| true, now);
    let Thawed { node, out, .. } = thawed.unwrap_or_else(|error| panic!("{error}: {text}"));
    let acts: Vec<&Effect> = out.effects.iter().filter(|effect| effect.is_felt()).collect();
    assert!(acts.is_empty(), "I13: {acts:?}");
    node
}

/// It lives, and stops.
fn live(mut node: Node, now: &mut Now) {
    for _ in 0..MAX_TICKS {
        let Some(deadline) = node.deadline() else { break };
        let time = deadline.saturating_duration_since(now.mono).min(Duration::from_secs(1 << 20));
        let wall = now.wall.checked_add(time).unwrap_or(now.wall);
        *now = Now { mono: now.mono + time, wall };
        node.handle(Input::Tick, *now);
        assert!(node.deadline().is_none_or(|next| next > now.mono), "a Tick leaves nothing that is due");
    }
    node.handle(Input::Stop, *now);
    node.freeze();
}
