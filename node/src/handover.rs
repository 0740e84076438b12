//! A graceful restart (RFC 4724), as far as this process goes: whether one would lose nothing, and what has to be ready
//! before it makes way.

use crate::commands::{Answer, Refusal};
use crate::effect::{Effect, Ending};
use crate::jobs::{Job, Reply, Restart, Stage, Ticket};
use crate::names::PeerName;
use crate::node::Node;
use crate::outbox::Outbox;
use crate::record::What;

impl Node {
    /// Somebody wants this process to make way for the next one.
    pub(crate) fn ask_for_restart(&mut self, ticket: Ticket, by: String, out: &mut Outbox) -> Reply {
        match self.may_restart() {
            Ok(()) => {
                out.tell(What::RestartAsked { by });
                out.push(Effect::Rehearse);
                self.jobs.restart = Some(Restart { ticket, stage: Stage::Rehearsing, gone: false });
                Reply::When(Job::Restarting)
            }
            Err(refusal) => Reply::Now(Answer::Conflict(refusal)),
        }
    }

    /// Whether a graceful restart would lose nothing.
    fn may_restart(&self) -> Result<(), Refusal> {
        let refuse = |error: String, hint: &str| Err(Refusal::new(error, hint));
        if self.engine.facts().shutdown.is_some() {
            return refuse("vipcast is stopping".to_owned(), "start it again when it has stopped");
        }
        if self.jobs.restart.is_some() || self.engine.facts().restart.is_some() {
            return refuse(
                "a restart is under way already".to_owned(),
                "`vipcast status` shows what it waits for",
            );
        }
        let list =
            |names: Vec<&PeerName>| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let watching: Vec<&PeerName> = self.peers.watching().iter().collect();
        if !watching.is_empty() {
            return refuse(
                format!("{} watches us with BFD and would take the restart for a failure", list(watching)),
                "stop and start instead, which drains first; or reload without `bfd` for as long as it takes",
            );
        }
        let without: Vec<&PeerName> = self.peers.forgetful().collect();
        if !without.is_empty() {
            return refuse(
                format!("{} would drop our routes: graceful restart is not negotiated", list(without)),
                "set `graceful_restart: true` for every peer; or stop and start, which drains first",
            );
        }
        Ok(())
    }

    /// The program that is to follow was tried out.
    pub(crate) fn rehearsed(&mut self, result: Result<(), Refusal>, out: &mut Outbox) {
        let is_rehearsing = |restart: &mut Restart| restart.stage == Stage::Rehearsing;
        let Some(restart) = self.jobs.restart.take_if(is_rehearsing) else { return };
        if restart.gone {
            out.tell(What::NotRestarted { reason: "the caller has given up".to_owned() });
            return;
        }
        // Much may have happened since it was asked for.
        if let Err(refusal) = result.and_then(|()| self.may_restart()) {
            out.tell(What::NotRestarted { reason: refusal.error.clone() });
            out.push(Effect::Answer(restart.ticket, Answer::Conflict(refusal)));
            return;
        }
        out.push(Effect::LeaveNote(self.engine.announced().collect()));
        self.jobs.restart = Some(Restart { stage: Stage::Noting, ..restart });
    }

    /// The note for the next process is written, or not.
    pub(crate) fn note_left(&mut self, result: Result<(), String>, out: &mut Outbox) {
        let is_noting = |restart: &mut Restart| restart.stage == Stage::Noting;
        let Some(restart) = self.jobs.restart.take_if(is_noting) else { return };
        let result = result.map_err(|why| {
            Refusal::new(
                format!("cannot leave a note for the next process: {why}"),
                "nothing was changed; the routers would be told too late what is no longer announced",
            )
        });
        match result.and_then(|()| self.may_restart()) {
            Ok(()) => {
                out.push(Effect::Answer(restart.ticket, Answer::done("restarting".to_owned())));
                out.tell(What::Leaving);
                self.exit(Ending::Restart, out);
            }
            Err(refusal) => {
                // Written or not: no process follows, and a later one is not to take itself for it.
                out.push(Effect::WithdrawNote);
                out.tell(What::NotRestarted { reason: refusal.error.clone() });
                out.push(Effect::Answer(restart.ticket, Answer::Conflict(refusal)));
            }
        }
    }
}
