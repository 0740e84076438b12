//! `exec`: a program exits with 0.

mod capture;
mod probe;
pub(crate) mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use vipcast_node::model::Service;
use vipcast_node::names::ServiceName;
use vipcast_node::vip::Vip;

pub(in crate::check) use self::probe::{LastRun, Means, RUNNING, Slots, command, run};
use crate::check::kind::{Asking, Definition, Kind, Probe, Reach, kind};
use crate::check::permit::Attempt;
use crate::check::shared::Shared;
use crate::config::keys::section::section;
use crate::config::keys::shape::{PATH, SOME_TEXT, TEXT, either, list, map, section, some};

section! {
    KEYS("exec", "under `exec`").exactly_one_of(&[&["command", "shell"]]) {
        /// the program, with its absolute path, and its arguments
        command: some(&TEXT) => written("list") called(&["cmd", "program", "script"]);
        /// a command line for `/bin/sh` instead
        shell: SOME_TEXT;
        /// the user of the program, only with its primary group
        user: TEXT => written("user name") default("that of the daemon");
        /// the group of the program
        group: TEXT => written("group name") default("that of the user");
        /// the working directory
        directory: PATH => default("that of the daemon") called(&["cwd", "working_directory", "chdir"]);
        /// its environment; names that begin with `VIPCAST_` are reserved, and values are never shown
        environment: map(&TEXT) => written("map") called(&["env"]);
    }
}

pub(super) static KIND: Kind = kind! {
    /// a program exits with 0
    exec: either(&[list(&TEXT), section(&KEYS)]), [&KEYS], read::read
}
.local();

/// `exec: {command: […]}` or `exec: {shell: "…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ExecCheck {
    /// Program and arguments; a `shell:` string is already wrapped as `/bin/sh -c …`.
    pub command: Vec<String>,
    /// The user of the program, looked up when it runs; `None`: that of the daemon.
    pub user: Option<String>,
    /// Its group; `None`: the primary group of the user, or that of the daemon.
    pub group: Option<String>,
    /// Where it runs; absolute. `None`: where the daemon does.
    pub directory: Option<PathBuf>,
    /// What it finds in its environment beside what is always there.
    pub environment: Environment,
    /// The services that name the check.
    pub services: BTreeSet<ServiceName>,
    /// Their VIPs.
    pub vips: BTreeSet<Vip>,
}

/// `environment:` of an exec check. Values may be secrets, and are not shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Environment(pub BTreeMap<String, String>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Definition for ExecCheck {
    fn reach(&self) -> Reach<'_> {
        Reach::Local
    }

    fn of_services(&self, services: &[(&ServiceName, &Service)]) -> Option<Arc<dyn Definition>> {
        let names = services.iter().map(|(name, _)| (*name).clone()).collect();
        let vips = services.iter().flat_map(|(_, service)| service.vips.iter().copied()).collect();
        Some(Arc::new(Self { services: names, vips, ..self.clone() }))
    }

    fn probe(self: Arc<Self>, shared: &Shared) -> Box<dyn Probe> {
        Box::new(ExecProbe {
            slots: shared.of_kind(|| Slots::new(shared.alive.clone())),
            last_run: LastRun::default(),
            check: self,
        })
    }
}

/// A check of this kind, as it is probed.
#[derive(Debug)]
struct ExecProbe {
    check: Arc<ExecCheck>,
    slots: Arc<Slots>,
    last_run: LastRun,
}

impl Probe for ExecProbe {
    fn ask<'a>(&'a mut self, attempt: Attempt<'a>) -> Asking<'a> {
        Box::pin(async move {
            let service = attempt.service();
            let Attempt { name, check, shared, queue } = attempt;
            let Self { check: exec, slots, last_run } = self;
            let means = Means { slots, file_reader: &shared.file_reader, owner: service.as_str(), last_run };
            probe::probe(exec, name, check.timeout, means, queue).await
        })
    }
}
