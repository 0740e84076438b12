//! Freeze and thaw of the node.

use std::sync::Arc;

use super::{Birth, Node, is_set};
use crate::effect::{PeerId, Start};
use crate::engine::{Binding, Engine, Event};
use crate::frozen::{Error, node as frozen, past};
use crate::jobs::Jobs;
use crate::now::Now;
use crate::outbox::Outbox;
use crate::peers::Peers;
use crate::record::What;

/// A node that was frozen.
#[derive(Debug)]
pub struct Thawed {
    /// The node.
    pub node: Node,
    /// The peers that go on, with their settings and the desired state now. The speaker thaws exactly these, and makes the
    /// difference to what each had at its own freeze. A peer whose settings have changed is not among them: its sockets
    /// are closed, and `out` starts it anew.
    pub peers: Vec<Start>,
    /// Requests to the kernel that the predecessor has not heard an answer to. The caller reports each
    /// ([`Event::Unanswered`]), after the first listing.
    pub unanswered: Vec<Binding>,
    /// The state of the ports, which begin empty: the configuration and its checks, where to listen, BFD, routers and
    /// keys to look for, and what is to be saved. With the configuration of the freeze there is nothing else in it, and no
    /// record, unless something was due.
    pub out: Outbox,
}

impl Node {
    /// The frozen form of the node. Only of a node that [may be handed over](Self::may_hand_over).
    pub fn freeze(&self) -> frozen::Node {
        let Self {
            engine,
            peers,
            clocks,
            next_record,
            // Nobody hands over while a job waits, or after the end.
            jobs: _,
            over: _,
            // The next program's own.
            path: _,
            version: _,
            // Recorded at the start.
            warnings: _,
            forgotten: _,
            // It follows from the overrides.
            look_at: _,
        } = self;
        frozen::Node::V1(Box::new(frozen::V1 {
            next_record: *next_record,
            clocks: clocks.map(|Now { mono, wall }| (mono, wall)),
            engine: engine.freeze(),
            peers: peers.freeze(),
        }))
    }

    /// The node that was frozen, at `now` of the same boot, with the configuration of `birth`. Its path and its version are
    /// the node's from now on; its warnings are recorded only if the configuration has changed; its state and its seed do
    /// not count, because the frozen form has them. `has_form`: whether the port of sessions has the frozen form of a peer.
    /// One without starts anew.
    ///
    /// # Errors
    /// The frozen form cannot be that of a node. Nothing is half thawed.
    pub fn thaw(
        birth: Birth,
        frozen: &frozen::Node,
        has_form: &dyn Fn(PeerId) -> bool,
        now: Now,
    ) -> Result<Thawed, Error> {
        let frozen::Node::V1(frozen) = frozen;
        let Birth { config, warnings, path, left: _, version, seed: _ } = birth;
        if frozen.next_record > u64::MAX / 2 {
            return Err(Error::Range("next_record"));
        }
        let clocks = match frozen.clocks {
            Some((mono, wall)) => Some(Now { mono: past(mono, now.mono, "clocks")?, wall }),
            None => None,
        };
        let mut out = Outbox::new(now, frozen.next_record);
        let (engine, before) = Engine::thaw(Arc::clone(&config), &frozen.engine, now.mono)?;
        let mut events = Vec::new();
        if clocks.is_some_and(|before| is_set(before, now)) {
            out.tell(What::ClockSet { wall: now.wall });
            events.push(Event::WallClock(now.wall));
        }
        if before.is_some() {
            warnings.into_iter().for_each(|warning| out.tell(What::Warned(warning)));
        }
        out.push(engine.configure());
        let advertised = engine.advertised();
        let (peers, lost) = Peers::thaw(&config, &frozen.peers, advertised, has_form, now.mono, &mut out)?;
        events.extend(lost);
        let mut node = Self {
            engine,
            peers,
            jobs: Jobs::default(),
            path,
            version,
            warnings: Vec::new(),
            forgotten: Vec::new(),
            clocks,
            look_at: None,
            next_record: frozen.next_record,
            over: false,
        };
        let unanswered = node.engine.facts().asked.keys().copied().collect();
        let begin = out.effects.len();
        node.engine.resume(before, events, now.mono, &mut out);
        node.digest(begin, now, &mut out);
        node.peers.start_missing(&mut out);
        let out = node.finish(now, out);
        let peers = node.peers.thawed(&frozen.peers);
        Ok(Thawed { node, peers, unanswered, out })
    }
}
