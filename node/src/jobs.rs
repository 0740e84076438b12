//! What takes time: a command answers at once, or when its job has ended.
//!
//! ```text
//!  reload ──► reading ──────────► Input::Read ──► in force, or refused ──► everybody who asked is answered
//!               └ who asks meanwhile waits for the next reading: the files may have changed
//!  restart ─► rehearsing ─► Input::Rehearsed ─► noting ─► Input::NoteLeft ─► answered, and the process ends
//!  drain ───► in force at once ─► Input::Saved ─► answered, with a warning if it will not survive a restart
//! ```
//!
//! A node that stops answers what is under way.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::commands::{Answer, Refusal};

/// What the answer to a command is called by; the port that passed the command on has chosen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Ticket(pub u64);

/// How a command is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// At once.
    Now(Answer),
    /// When this has ended.
    When(Job),
}

/// What has to end before a command is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// The drains are saved.
    Saving {
        /// The answer.
        message: String,
        /// What is lost where they are not.
        lost: &'static str,
    },
    /// The configuration is read.
    Reading,
    /// The next process is ready to begin.
    Restarting,
}

/// Why drains are not saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsaved {
    /// They cannot be; the cause in words.
    Failed(String),
    /// The state directory has not answered in time.
    NotYet,
}

/// Why a configuration could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRead {
    /// For whoever asked.
    pub refusal: Refusal,
    /// For the log, where the refusal shows lines of the file.
    pub in_line: Option<String>,
}

impl From<Refusal> for NotRead {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, in_line: None }
    }
}

/// Everything that is under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Jobs {
    /// The reading that is under way, and for whom.
    pub(crate) reading: Option<Vec<Asker>>,
    /// They asked while a reading was under way, which may have missed what they changed.
    pub(crate) waiting: Vec<Asker>,
    /// The restart that is under way.
    pub(crate) restart: Option<Restart>,
    /// Answers that wait for drains to be saved.
    pub(crate) saving: BTreeMap<Ticket, (String, &'static str)>,
}

/// Somebody who wants a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asker {
    /// `None`: SIGHUP, which waits for no answer.
    pub(crate) ticket: Option<Ticket>,
    pub(crate) by: String,
    /// It waits no longer.
    pub(crate) gone: bool,
}

/// A restart that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Restart {
    pub(crate) ticket: Ticket,
    pub(crate) stage: Stage,
    /// Whoever asked waits no longer.
    pub(crate) gone: bool,
}

/// How far a restart has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The program that is to follow is tried out.
    Rehearsing,
    /// What it has to know is being written down.
    Noting,
}

impl Asker {
    pub(crate) fn signal() -> Self {
        Self { ticket: None, by: "SIGHUP".to_owned(), gone: false }
    }

    pub(crate) fn client(ticket: Ticket, by: String) -> Self {
        Self { ticket: Some(ticket), by, gone: false }
    }
}

impl Jobs {
    /// Somebody wants a reload. Whether a reading is to begin now.
    pub(crate) fn ask_for_reload(&mut self, asker: Asker) -> bool {
        let is_signal = asker.ticket.is_none();
        if is_signal && self.waiting.iter().any(|waiting| waiting.ticket.is_none()) {
            return false;
        }
        self.waiting.retain(|asker| !asker.gone);
        self.waiting.push(asker);
        self.begin_reading()
    }

    /// Begins a reading for everybody who waits, unless one is under way.
    pub(crate) fn begin_reading(&mut self) -> bool {
        let begins = self.reading.is_none() && !self.waiting.is_empty();
        if begins {
            self.reading = Some(std::mem::take(&mut self.waiting));
        }
        begins
    }

    /// Whoever holds this ticket waits no longer.
    pub(crate) fn give_up(&mut self, ticket: Ticket) {
        let reading = self.reading.iter_mut().flatten();
        for asker in reading.chain(&mut self.waiting).filter(|asker| asker.ticket == Some(ticket)) {
            asker.gone = true;
        }
        if let Some(restart) = self.restart.as_mut().filter(|restart| restart.ticket == ticket) {
            restart.gone = true;
        }
        self.saving.remove(&ticket);
    }

    /// The tickets of everything that is under way; nothing is from now on.
    pub(crate) fn end(&mut self) -> Vec<Ticket> {
        let Self { reading, waiting, restart, saving } = std::mem::take(self);
        let askers = reading.into_iter().flatten().chain(waiting).filter_map(|asker| asker.ticket);
        askers.chain(restart.map(|restart| restart.ticket)).chain(saving.into_keys()).collect()
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
