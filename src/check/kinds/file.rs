//! `file`: a file exists, is absent, or has changed recently.

mod probe;
mod read;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::check::file_reader::LastRead;
use crate::check::kind::{Asking, Definition, Kind, Probe, Reach, kind};
use crate::check::pattern::Pattern;
use crate::check::permit::Attempt;
use crate::check::shared::Shared;
use crate::config::keys::section::section;
use crate::config::keys::shape::{PATH, SECONDS, SOME_TEXT, SWITCH, either, section};
use crate::config::read::pattern::PATTERN;

section! {
    KEYS("file", "under `file`") {
        /// the file
        path: PATH => required();
        /// whether it must exist; with `false`, nothing may have this name, not even a dangling link
        present: SWITCH => default("true");
        /// the longest time since its last change
        max_age: SECONDS => written("1s or more");
        /// a text that its first 64 KiB must contain
        contains: either(&[SOME_TEXT, section(&PATTERN)]) => written("text, or `{regex: \"…\"}`");
    }
}

pub(super) static KIND: Kind = kind! {
    /// a file exists, is absent, or has changed recently
    file: either(&[PATH, section(&KEYS)]), [&KEYS], read::read
}
.local();

/// `file: /path`, or `file: {path: …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileCheck {
    /// Which file; absolute.
    pub path: PathBuf,
    /// What must be so.
    pub wanted: FileWanted,
}

/// What must be so with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileWanted {
    /// Nothing has this name.
    Absent,
    /// It is there, and a file.
    Present {
        /// How long ago it may have been changed, at most.
        max_age: Option<Duration>,
        /// What it must hold.
        contains: Option<Pattern>,
    },
}

impl Definition for FileCheck {
    fn reach(&self) -> Reach<'_> {
        Reach::Local
    }

    fn probe(self: Arc<Self>, _shared: &Shared) -> Box<dyn Probe> {
        Box::new(FileProbe { last_read: LastRead::default(), check: self })
    }
}

/// A check of this kind, as it is probed.
#[derive(Debug)]
struct FileProbe {
    check: Arc<FileCheck>,
    last_read: LastRead,
}

impl Probe for FileProbe {
    fn ask<'a>(&'a mut self, attempt: Attempt<'a>) -> Asking<'a> {
        Box::pin(async move {
            let (limit, service) = (attempt.limit(), attempt.service());
            probe::probe(&self.check, limit, attempt.reader(&service, &self.last_read)).await
        })
    }
}
