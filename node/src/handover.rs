//! The change of process, the part of the old one: the checks that nothing is lost, and the preparations.
//!
//! * A **graceful restart** (RFC 4724) ends the sessions, and the routers keep our routes meanwhile.
//! * An **upgrade** hands the sessions over: the next program goes on with the state and the sockets of this one (I13).
//!   The configuration on disk must be the one in force, so that the hand-over itself changes nothing.
//!
//! A refusal at any stage changes nothing.

use crate::commands::{Answer, Refusal};
use crate::effect::{Effect, Ending};
use crate::input::Read;
use crate::jobs::{Asker, Job, Jobs, Next, NotRead, Replacement, Reply, Stage, Ticket, Way};
use crate::names::PeerName;
use crate::node::Node;
use crate::outbox::Outbox;
use crate::record::What;

impl Node {
    /// A caller, or a signal, asks for a change of process.
    pub(crate) fn ask_for_replacement(
        &mut self,
        ticket: Option<Ticket>,
        by: String,
        way: Way,
        out: &mut Outbox,
    ) -> Reply {
        if let Err(refusal) = self.none_under_way().and_then(|()| self.may_be_replaced(way)) {
            return Reply::Now(Answer::Conflict(refusal));
        }
        let stage = match way {
            Way::GracefulRestart => {
                out.tell(What::RestartAsked { by });
                out.push(Effect::Rehearse(way));
                Stage::Rehearsing
            }
            Way::HandOver { dry } => {
                out.tell(What::UpgradeAsked { by: by.clone(), dry });
                self.ask_for_reload(Asker { ticket: None, by, dry: true, gone: false }, out);
                Stage::Reading
            }
        };
        self.jobs.replacement = Some(Replacement { ticket, way, stage, gone: false });
        Reply::When(Job::Replacing)
    }

    /// SIGUSR2. Its refusal is a record.
    pub(crate) fn upgrade_by_signal(&mut self, out: &mut Outbox) {
        let way = Way::HandOver { dry: false };
        if let Reply::Now(Answer::Conflict(refusal)) =
            self.ask_for_replacement(None, "SIGUSR2".to_owned(), way, out)
        {
            out.tell(not_replaced(way, refusal));
        }
    }

    fn none_under_way(&self) -> Result<(), Refusal> {
        let under_way = match self.jobs.replacement.map(|replacement| replacement.way) {
            Some(Way::HandOver { .. }) => "an upgrade is under way already",
            Some(Way::GracefulRestart) => "a restart is under way already",
            None => return Ok(()),
        };
        Err(Refusal::new(under_way, "`vipcast status` shows what it waits for"))
    }

    /// Refuses a change of process. What is over in a moment does not count: a hand-over waits for that.
    fn may_be_replaced(&self, way: Way) -> Result<(), Refusal> {
        refused(self.obstacles(way).into_iter().filter(|obstacle| !obstacle.passes))
    }

    /// Refuses a hand-over while something is under way that the next program could not finish. The frozen form has no
    /// place for it.
    ///
    /// # Errors
    /// All reasons, in words.
    pub fn may_hand_over(&self) -> Result<(), Refusal> {
        refused(self.obstacles(Way::HandOver { dry: false }))
    }

    /// Everything that is in the way of a change of process now.
    fn obstacles(&self, way: Way) -> Vec<Obstacle> {
        let facts = self.engine.facts();
        let mut all = Vec::new();
        let mut add = |is_so: bool, passes: bool, error: &str, hint: &str| {
            if is_so {
                all.push(Obstacle { refusal: Refusal::new(error, hint), passes });
            }
        };
        let is_stopping = self.over || facts.shutdown.is_some();
        add(is_stopping, false, "vipcast is stopping", "start it again when it has stopped");
        let status = "`vipcast status` shows what it waits for";
        add(facts.restart.is_some(), false, "a restart is under way already", status);
        match way {
            Way::GracefulRestart => all.extend(self.losses().map(Obstacle::lasting)),
            Way::HandOver { .. } => {
                let kept = self.engine.is_restarting() && facts.restart.is_none();
                add(kept, false, "routers may still keep routes of before the last restart", status);
                let goes_down = facts.farewell.is_some();
                let anyway = "the next start takes the new program anyway";
                add(goes_down, false, "the machine is going down", anyway);
                // The upgrade itself is a replacement under way, and refuses any other.
                let Jobs { reading, waiting, replacement: _, saving } = &self.jobs;
                let reloads = reading.is_some() || !waiting.is_empty();
                add(reloads, false, "a reload is under way", "try again when it has ended");
                let soon = "try again in a moment";
                add(!facts.is_listed, true, "the addresses of this host are not known yet", soon);
                add(!saving.is_empty(), true, "a command waits for the state directory", soon);
                add(!facts.asked.is_empty(), true, "a request to the kernel is under way", soon);
                if let Some(peer) = self.peers.stopping() {
                    add(true, true, &format!("the session with {peer} is being closed"), soon);
                }
            }
        }
        all
    }

    /// The traffic that a graceful restart would lose.
    fn losses(&self) -> impl Iterator<Item = Refusal> {
        let refuse = |names: Vec<&PeerName>, error: &str, hint: &str| {
            let names = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            (!names.is_empty()).then(|| Refusal::new(format!("{names} {error}"), hint))
        };
        let watching = refuse(
            self.peers.watching().iter().collect(),
            "watches us with BFD and would take the restart for a failure",
            "`vipcast upgrade` keeps the sessions and BFD; or stop and start, which drains first",
        );
        let forgetful = refuse(
            self.peers.forgetful().collect(),
            "would drop our routes: graceful restart is not negotiated",
            "`vipcast upgrade` keeps the sessions; or set `graceful_restart: true` for every peer",
        );
        watching.into_iter().chain(forgetful)
    }

    /// The configuration on disk was read, or could not be. Without an upgrade that waits for it this does nothing.
    pub(crate) fn read_for_upgrade(&mut self, read: &Result<Read, NotRead>, out: &mut Outbox) {
        let is_reading = |asked: &mut Replacement| asked.stage == Stage::Reading;
        let Some(asked) = self.jobs.replacement.take_if(is_reading) else { return };
        let same = match read {
            Ok(read) if *read.config == **self.engine.config() => Ok(()),
            Ok(_) => Err(Refusal::new(
                format!("{} on disk is not the configuration in force", self.path),
                "`vipcast reload` first; `vipcast reload --dry-run` says what that would change",
            )),
            Err(NotRead { refusal, .. }) => Err(refusal.clone()),
        };
        match same.and_then(|()| self.goes_on(asked)) {
            Ok(()) => {
                out.push(Effect::Rehearse(asked.way));
                self.jobs.replacement = Some(Replacement { stage: Stage::Rehearsing, ..asked });
            }
            Err(refusal) => refuse(asked, refusal, out),
        }
    }

    /// The next program was tested.
    pub(crate) fn rehearsed(&mut self, result: Result<Next, Refusal>, out: &mut Outbox) {
        let is_rehearsing = |asked: &mut Replacement| asked.stage == Stage::Rehearsing;
        let Some(asked) = self.jobs.replacement.take_if(is_rehearsing) else { return };
        let next = match (result, asked.way) {
            (Ok(next), Way::HandOver { .. }) => {
                let Next { program, older_form } = next.clone();
                out.tell(What::Rehearsed { next: program, older_form });
                Ok(next)
            }
            (result, _) => result,
        };
        // The conditions may have changed since the request.
        match next.and_then(|next| self.goes_on(asked).map(|()| next)) {
            Err(refusal) => refuse(asked, refusal, out),
            Ok(Next { program: next, older_form }) => match asked.way {
                Way::GracefulRestart => {
                    out.push(Effect::LeaveNote(self.engine.announced().collect()));
                    self.jobs.replacement = Some(Replacement { stage: Stage::Noting, ..asked });
                }
                Way::HandOver { dry: true } => {
                    let mut message = format!("vipcast {next} could take over{}", by(older_form));
                    // No warning, which would stand for something half done: the upgrade waits for it.
                    if let Err(first) = self.may_hand_over() {
                        message.push_str(&format!("; an upgrade would wait for this first: {}", first.error));
                    }
                    answer(asked, Answer::done(message), out);
                }
                Way::HandOver { dry: false } => {
                    answer(
                        asked,
                        Answer::done(format!("vipcast {next} can take over{}", by(older_form))),
                        out,
                    );
                    out.tell(What::HandingOver { next });
                    out.push(Effect::HandOver);
                    self.jobs.replacement =
                        Some(Replacement { stage: Stage::HandingOver, ticket: None, ..asked });
                }
            },
        }
    }

    /// The note for the next process is written, or could not be.
    pub(crate) fn note_left(&mut self, result: Result<(), String>, out: &mut Outbox) {
        let is_noting = |asked: &mut Replacement| asked.stage == Stage::Noting;
        let Some(asked) = self.jobs.replacement.take_if(is_noting) else { return };
        let result = result.map_err(|why| {
            Refusal::new(
                format!("cannot leave a note for the next process: {why}"),
                "nothing was changed; without the note a VIP that is no longer announced would be withdrawn too late",
            )
        });
        match result.and_then(|()| self.may_be_replaced(asked.way)) {
            Ok(()) => {
                answer(asked, Answer::done("restarting".to_owned()), out);
                out.tell(What::Leaving);
                self.exit(Ending::Restart, out);
            }
            Err(refusal) => {
                // Remove the note in any case: no process follows, and a later one must not take itself for the
                // successor.
                out.push(Effect::WithdrawNote);
                refuse(asked, refusal, out);
            }
        }
    }

    /// The port could not hand over, before anything was frozen.
    pub(crate) fn not_handed_over(&mut self, why: String, out: &mut Outbox) {
        if let Some(asked) = self.jobs.replacement.take() {
            refuse(asked, Refusal { error: why, hint: None }, out);
        }
    }

    /// Whether a change of process that was asked for may go on.
    fn goes_on(&self, asked: Replacement) -> Result<(), Refusal> {
        if asked.gone {
            return Err(Refusal { error: "the caller has given up".to_owned(), hint: None });
        }
        self.may_be_replaced(asked.way)
    }
}

/// The older form of the state, as a part of the answer.
fn by(older_form: Option<String>) -> String {
    older_form.map_or_else(String::new, |form| format!(", with {form}"))
}

/// What is in the way of a change of process.
struct Obstacle {
    refusal: Refusal,
    /// Whether it is over in a moment, unless something hangs.
    passes: bool,
}

impl Obstacle {
    fn lasting(refusal: Refusal) -> Self {
        Self { refusal, passes: false }
    }
}

/// One refusal with all errors, and the hint of the first.
fn refused(obstacles: impl IntoIterator<Item = Obstacle>) -> Result<(), Refusal> {
    let mut refusals = obstacles.into_iter().map(|obstacle| obstacle.refusal);
    let Some(first) = refusals.next() else { return Ok(()) };
    Err(refusals.fold(first, |all, next| Refusal { error: format!("{}; {}", all.error, next.error), ..all }))
}

fn refuse(asked: Replacement, refusal: Refusal, out: &mut Outbox) {
    if !asked.gone {
        answer(asked, Answer::Conflict(refusal.clone()), out);
    }
    out.tell(not_replaced(asked.way, refusal));
}

fn answer(asked: Replacement, answer: Answer, out: &mut Outbox) {
    if let Some(ticket) = asked.ticket {
        out.push(Effect::Answer(ticket, answer));
    }
}

fn not_replaced(way: Way, Refusal { error, hint }: Refusal) -> What {
    match way {
        Way::GracefulRestart => What::NotRestarted { reason: error },
        Way::HandOver { .. } => What::NotUpgraded { reason: error, hint },
    }
}
