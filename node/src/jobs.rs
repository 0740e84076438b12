//! Jobs: a command answers at once, or when its job has ended.
//!
//! ```text
//!  reload ──► reading ──────────► Input::Read ──► in force, or refused ──► all callers are answered
//!               └ later callers wait for the next reading: the files may have changed
//!  restart ─► rehearsing ─► Input::Rehearsed ─► noting ─► Input::NoteLeft ─► answered, and the process ends
//!  upgrade ─► reading ─► rehearsing ─► Input::Rehearsed ─► answered ─► Effect::HandOver
//!  drain, force-up, … ─► in force at once ─► Input::Saved ─► answered, with a warning if it will not survive a restart
//! ```
//!
//! A node that stops answers all jobs.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::commands::{Answer, Refusal};

/// The ticket of a command, chosen by the port, for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Ticket(pub u64);

/// The answer to a command, or the job that it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The answer, at once.
    Now(Answer),
    /// The answer follows when this job has ended.
    When(Job),
}

/// A job that must end before a command is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// Saving the overrides.
    Saving {
        /// The answer.
        message: String,
        /// The loss if they are not saved.
        lost: &'static str,
    },
    /// Reading the configuration.
    Reading,
    /// Preparing the next process.
    Replacing,
}

/// The reason why overrides are not saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsaved {
    /// An error, in words.
    Failed(String),
    /// The state directory has not answered in time.
    NotYet,
}

/// The reason why a configuration could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRead {
    /// For the caller.
    pub refusal: Refusal,
    /// For the log, if the refusal shows lines of the file.
    pub in_line: Option<String>,
}

impl From<Refusal> for NotRead {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, in_line: None }
    }
}

/// All running jobs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Jobs {
    /// The callers of the running reading.
    pub(crate) reading: Option<Vec<Asker>>,
    /// Callers for the next reading: the running one may have missed their changes.
    pub(crate) waiting: Vec<Asker>,
    /// The preparations for the next process.
    pub(crate) replacement: Option<Replacement>,
    /// Answers that wait for overrides to be saved.
    pub(crate) saving: BTreeMap<Ticket, (String, &'static str)>,
}

/// A caller of a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asker {
    /// `None`: SIGHUP, which has no answer.
    pub(crate) ticket: Option<Ticket>,
    pub(crate) by: String,
    /// The caller only wants to know what would change.
    pub(crate) dry: bool,
    /// The caller has given up.
    pub(crate) gone: bool,
}

/// A requested change of process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replacement {
    /// `None`: a signal, which has no answer.
    pub(crate) ticket: Option<Ticket>,
    pub(crate) way: Way,
    pub(crate) stage: Stage,
    /// The caller has given up.
    pub(crate) gone: bool,
}

/// The way to the next process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The sessions end, and routers keep our routes meanwhile (RFC 4724).
    GracefulRestart,
    /// The next program gets the state and the sockets of this one, and goes on.
    HandOver {
        /// Only test whether it could.
        dry: bool,
    },
}

/// The stage of a change of process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Hand-over: reading the configuration on disk, which must be the one in force.
    Reading,
    /// Testing the next program.
    Rehearsing,
    /// Graceful restart: writing the note for it.
    Noting,
    /// The port hands over.
    HandingOver,
}

/// A program that was tested, and can take over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// What it is.
    pub program: Program,
    /// It reads only an older form of the state: which, and what that means, in words.
    pub older_form: Option<String>,
}

/// The next program, as it names itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its version.
    pub version: String,
    /// The commit that it was built from, if known.
    pub commit: Option<String>,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.commit {
            Some(commit) => write!(f, "{} ({commit})", self.version),
            None => f.write_str(&self.version),
        }
    }
}

impl Asker {
    pub(crate) fn signal() -> Self {
        Self { ticket: None, by: "SIGHUP".to_owned(), dry: false, gone: false }
    }

    pub(crate) fn client(ticket: Ticket, by: String) -> Self {
        Self { ticket: Some(ticket), by, dry: false, gone: false }
    }
}

impl Jobs {
    /// Takes the request for a reload. Returns whether a reading must begin now.
    pub(crate) fn ask_for_reload(&mut self, asker: Asker) -> bool {
        let is_signal = asker.ticket.is_none();
        if is_signal && self.waiting.iter().any(|waiting| waiting.ticket.is_none()) {
            return false;
        }
        self.waiting.retain(|asker| !asker.gone);
        self.waiting.push(asker);
        self.begin_reading()
    }

    /// Begins a reading for the waiting callers, unless one is running.
    pub(crate) fn begin_reading(&mut self) -> bool {
        let begins = self.reading.is_none() && !self.waiting.is_empty();
        if begins {
            self.reading = Some(std::mem::take(&mut self.waiting));
        }
        begins
    }

    /// The caller with this ticket has given up.
    pub(crate) fn give_up(&mut self, ticket: Ticket) {
        let reading = self.reading.iter_mut().flatten();
        for asker in reading.chain(&mut self.waiting).filter(|asker| asker.ticket == Some(ticket)) {
            asker.gone = true;
        }
        if let Some(replacement) = self.replacement.as_mut().filter(|asked| asked.ticket == Some(ticket)) {
            replacement.gone = true;
        }
        self.saving.remove(&ticket);
    }

    /// Ends all jobs and returns their tickets.
    pub(crate) fn end(&mut self) -> Vec<Ticket> {
        let Self { reading, waiting, replacement, saving } = std::mem::take(self);
        let askers = reading.into_iter().flatten().chain(waiting).filter_map(|asker| asker.ticket);
        askers.chain(replacement.and_then(|asked| asked.ticket)).chain(saving.into_keys()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_while_a_reading_is_under_way_waits_for_the_next_and_300_hang_ups_are_one() {
        let mut jobs = Jobs::default();
        assert!(jobs.ask_for_reload(Asker::signal()), "the first one begins");
        for _ in 0..300 {
            assert!(!jobs.ask_for_reload(Asker::signal()));
        }
        assert!(!jobs.ask_for_reload(Asker::client(Ticket(1), "eve".into())));
        assert_eq!(jobs.reading.take().map(|askers| askers.len()), Some(1));
        assert!(jobs.begin_reading());
        assert_eq!(jobs.reading.as_ref().map(Vec::len), Some(2), "one hang-up and one client");
        jobs.give_up(Ticket(1));
        let askers = jobs.reading.take().unwrap();
        assert_eq!(askers.iter().map(|asker| asker.gone).collect::<Vec<_>>(), [false, true]);
        assert!(!jobs.begin_reading(), "nobody has asked for more");
    }
}
