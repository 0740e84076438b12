//! `process`: a process is alive.

mod probe;
mod read;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use self::probe::Watched;
use crate::check::file_reader::LastRead;
use crate::check::kind::{Asking, Definition, Kind, Probe, Reach, kind};
use crate::check::permit::Attempt;
use crate::check::shared::Shared;
use crate::config::keys::section::section;
use crate::config::keys::shape::{NAME, PATH, number, section};

section! {
    KEYS("process", "under `process`").exactly_one_of(&[&["pid_file", "pid"]]) {
        /// a file with the id of the process on its first line, read at every probe; or
        pid_file: PATH => required();
        /// the id itself
        pid: number(1, 4194304) => required();
        /// the name of its command (as in `ps -o comm`) or program, so that another process with a reused id does not
        /// pass. Under the packaged unit vipcast may not see the program of a process with more capabilities than its
        /// own; then the command counts, or `systemctl edit vipcast` adds CAP_SYS_PTRACE
        name: NAME => written("file name") default("anything") called(&["qname", "query", "domain"]);
    }
}

pub(super) static KIND: Kind = kind! {
    /// a process is alive
    process: section(&KEYS), [&KEYS], read::read
}
.local()
.told_by("the kernel");

/// `process: {pid_file: …}` or `process: {pid: 1234}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessCheck {
    pub process: WhichProcess,
    /// What its command or its program has to be called; `None`: anything.
    pub name: Option<String>,
}

/// Where the id of a process is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WhichProcess {
    /// The first line of a file, read at every probe.
    File(PathBuf),
    /// This one.
    Pid(NonZeroU32),
}

impl Definition for ProcessCheck {
    fn reach(&self) -> Reach<'_> {
        Reach::Local
    }

    fn probe(self: Arc<Self>, _shared: &Shared) -> Box<dyn Probe> {
        Box::new(ProcessProbe { last_read: LastRead::default(), watched: Watched::default(), check: self })
    }
}

/// A check of this kind, as it is probed.
#[derive(Debug)]
struct ProcessProbe {
    check: Arc<ProcessCheck>,
    last_read: LastRead,
    watched: Watched,
}

impl Probe for ProcessProbe {
    fn ask<'a>(&'a mut self, attempt: Attempt<'a>) -> Asking<'a> {
        Box::pin(async move {
            let (limit, service) = (attempt.limit(), attempt.service());
            let reader = attempt.reader(&service, &self.last_read);
            probe::probe(&self.check, &mut self.watched, reader, limit).await
        })
    }

    fn changed(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.watched.ended())
    }
}
