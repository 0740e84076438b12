//! A graceful restart (RFC 4724), the part of the old process: the checks that it loses nothing, and the preparations.

use crate::commands::{Answer, Refusal};
use crate::effect::{Effect, Ending};
use crate::jobs::{Job, Reply, Restart, Stage, Ticket};
use crate::names::PeerName;
use crate::node::Node;
use crate::outbox::Outbox;
use crate::record::What;

impl Node {
    /// A caller asks for a graceful restart.
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

    /// Refuses a graceful restart that would lose traffic.
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
                "stop and start instead, which drains first; or reload without `bfd` before the restart",
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

    /// The next program was tested.
    pub(crate) fn rehearsed(&mut self, result: Result<(), Refusal>, out: &mut Outbox) {
        let is_rehearsing = |restart: &mut Restart| restart.stage == Stage::Rehearsing;
        let Some(restart) = self.jobs.restart.take_if(is_rehearsing) else { return };
        if restart.gone {
            out.tell(What::NotRestarted { reason: "the caller has given up".to_owned() });
            return;
        }
        // The conditions may have changed since the request.
        if let Err(refusal) = result.and_then(|()| self.may_restart()) {
            out.tell(What::NotRestarted { reason: refusal.error.clone() });
            out.push(Effect::Answer(restart.ticket, Answer::Conflict(refusal)));
            return;
        }
        out.push(Effect::LeaveNote(self.engine.announced().collect()));
        self.jobs.restart = Some(Restart { stage: Stage::Noting, ..restart });
    }

    /// The note for the next process is written, or could not be.
    pub(crate) fn note_left(&mut self, result: Result<(), String>, out: &mut Outbox) {
        let is_noting = |restart: &mut Restart| restart.stage == Stage::Noting;
        let Some(restart) = self.jobs.restart.take_if(is_noting) else { return };
        let result = result.map_err(|why| {
            Refusal::new(
                format!("cannot leave a note for the next process: {why}"),
                "nothing was changed; without the note a VIP that is no longer announced would be withdrawn too late",
            )
        });
        match result.and_then(|()| self.may_restart()) {
            Ok(()) => {
                out.push(Effect::Answer(restart.ticket, Answer::done("restarting".to_owned())));
                out.tell(What::Leaving);
                self.exit(Ending::Restart, out);
            }
            Err(refusal) => {
                // Remove the note in any case: no process follows, and a later one must not take itself for the
                // successor.
                out.push(Effect::WithdrawNote);
                out.tell(What::NotRestarted { reason: refusal.error.clone() });
                out.push(Effect::Answer(restart.ticket, Answer::Conflict(refusal)));
            }
        }
    }
}
