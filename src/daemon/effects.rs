//! The node's effects, each given to its port. None of them waits: a port has a queue, a task or a thread.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::oneshot;
use vipcast_node::effect::Effect;
use vipcast_node::engine::Asked;
use vipcast_node::jobs::Way;
use vipcast_node::outbox::Outbox;
use vipcast_node::vip::Vip;

use super::Daemon;
use crate::restart::Rehearsal;
use crate::{log, memory, restart};

/// The longest wait of a restart for its note.
const NOTE_PATIENCE: Duration = Duration::from_secs(3);

impl Daemon {
    /// Performs the node's effects in their order, and passes on its records.
    pub(super) fn perform(&mut self, mut out: Outbox) {
        loop {
            let mut answers = Vec::new();
            for effect in out.effects {
                let acted = match &mut self.observer {
                    Some(observer) => observer.act(effect),
                    None => Ok(effect),
                };
                match acted {
                    Ok(effect) => self.perform_one(effect),
                    Err(answered) => answers.extend(answered),
                }
            }
            out.records.into_iter().for_each(|record| self.journal.note(record));
            if answers.is_empty() {
                return;
            }
            out = self.node.handle_all(answers, self.now);
        }
    }

    fn perform_one(&mut self, effect: Effect) {
        match effect {
            Effect::Configure { config, restarted: _ } => {
                log::set(config.log);
                self.event_file.set(config.event_file);
                self.hooks.set(&config.hooks);
                if let Some(logind) = &self.logind {
                    logind.set(&config.shutdown);
                }
                self.drain_file.set(config.drain_file.as_deref());
                self.runner.set(config.checks.clone(), &config.services);
                // A daemon that only observes is expected to have others beside it.
                if self.observer.is_none() {
                    self.exporters.look(&config);
                }
                memory::give_back_soon();
            }
            Effect::Bind(address) => self.binder.change(address, Asked::Bind),
            Effect::Unbind(address) => self.binder.change(address, Asked::Unbind),
            Effect::Advertise(advertised) => self.speaker.advertise(&advertised),
            Effect::Listen(listen) => self.speaker.listen(&listen),
            Effect::StartPeer(start) => self.speaker.start_peer(*start),
            Effect::StopPeer(peer, notification) => self.speaker.stop_peer(peer, notification),
            Effect::Tune(peer, tuning) => self.speaker.tune(peer, tuning),
            Effect::Liveness(peer, liveness) => self.speaker.liveness(peer, liveness),
            Effect::Watch(watched) => self.speaker.watch(&watched),
            Effect::Bfd(sessions) => self.speaker.bfd(sessions),
            Effect::ListenForRouters(interfaces) => self.speaker.listen_for_routers(&interfaces),
            Effect::LookForKeys(sources) => self.speaker.look_for_keys(&sources),
            Effect::SaveOverrides(overrides) => {
                self.store.save_overrides(overrides);
            }
            Effect::SaveHeldBack(held_back) => self.store.save_held_back(held_back),
            Effect::Merged(overrides) => self.store.merged(overrides),
            Effect::TellWhenSaved(ticket, patience) => {
                let saved = self.store.overrides_saved(patience);
                self.jobs.saving.spawn(async move { (ticket, saved.await) });
            }
            Effect::ReadConfiguration => {
                self.jobs.reading.begin();
                self.heartbeat.reload_begins(self.now.mono);
            }
            Effect::Rehearse(way) => self.jobs.rehearsal = Some(self.rehearse(way)),
            Effect::HandOver => (self.hands_over, self.not_upgraded) = (true, None),
            Effect::LeaveNote(vips) => self.jobs.note = Some(self.leave_note(vips)),
            Effect::WithdrawNote => self.store.withdraw_announced(),
            Effect::Answer(ticket, answer) => self.waiting.answer(ticket, answer),
            Effect::LetMachineStop => {
                if let Some(logind) = &self.logind {
                    logind.let_go();
                }
            }
            Effect::Stopping(takes) => {
                let takes = u64::try_from(takes.as_micros()).unwrap_or(u64::MAX);
                self.heartbeat.say(format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={takes}"));
                self.beat();
            }
            Effect::Exit(ending) => self.ending = Some(ending),
            // Only between the engine and the peers; it never leaves the node.
            Effect::Export(_) | Effect::StopPeers => {}
        }
    }

    /// Tests the next program; for a hand-over also with a copy of the state.
    fn rehearse(&self, way: Way) -> Rehearsal {
        let copy = match way {
            Way::GracefulRestart => None,
            Way::HandOver { .. } => Some(self.copy()),
        };
        restart::rehearse(&self.config_path, copy)
    }

    /// Writes the note of the announced VIPs for the next process.
    fn leave_note(&self, vips: BTreeSet<Vip>) -> oneshot::Receiver<Result<(), String>> {
        let left = self.store.leave_announced(vips);
        let (told, noted) = oneshot::channel();
        tokio::spawn(async move {
            let left = tokio::time::timeout(NOTE_PATIENCE, left).await;
            let hanging = || Err("the state directory does not answer".to_owned());
            let left = left.map_or_else(|_late| hanging(), |left| left.unwrap_or_else(|_gone| hanging()));
            // The daemon may have ended meanwhile.
            drop(told.send(left));
        });
        noted
    }
}
