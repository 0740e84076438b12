//! The user and group of a program, looked up beside the check (`remembered`), because the look-up may hang (LDAP,
//! SSSD). The ids found are used for a while, and as long as the directory does not answer: a directory that is down or
//! silent stops no check that has run before.

use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{Group, User};

use crate::check::file_reader::FileReader;
use crate::check::kinds::exec::ExecCheck;
use crate::check::limit::Limit;
use crate::check::remembered::{LoadFailure, Remembered};
use crate::check::words;

/// How long what was found is not looked up again.
const LASTS: Duration = Duration::from_secs(60);

/// What one check knows. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Who {
    known: Remembered<Ids>,
    look: fn(&Accounts) -> Result<Ids, LoadFailure>,
}

/// The user and group; `None`: those of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ids {
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

/// The names of a check.
#[derive(Debug)]
struct Accounts {
    user: Option<String>,
    group: Option<String>,
}

impl Default for Who {
    fn default() -> Self {
        Self { known: Remembered::default(), look: Accounts::look_up }
    }
}

impl Who {
    /// The user and group of this check's program, for the service `owner`. Cancel-safe.
    ///
    /// # Errors
    /// In words: `user "svc" does not exist (yet)`.
    pub(super) async fn ids(
        &self,
        check: &ExecCheck,
        file_reader: &FileReader,
        owner: &str,
        limit: Limit,
    ) -> Result<Ids, String> {
        let names = match (&check.user, &check.group) {
            (None, None) => return Ok(Ids::default()),
            (Some(user), _) => format!("user \"{user}\""),
            (None, Some(group)) => format!("group \"{group}\""),
        };
        self.known.renew(LASTS);
        let (wanted, look) = (Accounts { user: check.user.clone(), group: check.group.clone() }, self.look);
        let found = limit.within(self.known.get(file_reader, owner, limit, move || look(&wanted))).await;
        let found = found.ok_or_else(|| {
            let silence = limit.exceeded("no answer of the user directory");
            format!("cannot look up {names}: {silence}")
        })?;
        found.map(|found| *found.what)
    }
}

impl Accounts {
    /// Blocks for as long as the host takes.
    fn look_up(&self) -> Result<Ids, LoadFailure> {
        let mut ids = Ids::default();
        if let Some(name) = &self.user {
            let user = User::from_name(name).map_err(|errno| no_answer("user", name, errno))?;
            let user = user.ok_or_else(|| nobody("user", name))?;
            ids = Ids { uid: Some(user.uid.as_raw()), gid: Some(user.gid.as_raw()) };
        }
        if let Some(name) = &self.group {
            let group = Group::from_name(name).map_err(|errno| no_answer("group", name, errno))?;
            ids.gid = Some(group.ok_or_else(|| nobody("group", name))?.gid.as_raw());
        }
        Ok(ids)
    }
}

fn nobody(what: &str, name: &str) -> LoadFailure {
    LoadFailure::Gone(format!("{what} \"{name}\" does not exist (yet)"))
}

fn no_answer(what: &str, name: &str, errno: Errno) -> LoadFailure {
    LoadFailure::NoAnswer(format!("cannot look up {what} \"{name}\": {}", words::io_error(&errno.into())))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Condvar, Mutex};

    use super::*;
    use crate::check::probe::tests::{PATIENT, SHORT};

    fn check(user: Option<&str>, group: Option<&str>) -> ExecCheck {
        ExecCheck { user: user.map(String::from), group: group.map(String::from), ..ExecCheck::default() }
    }

    #[tokio::test]
    async fn names_are_looked_up_and_one_that_is_missing_is_named() {
        let file_reader = FileReader::default();
        let who = async |user, group| {
            Who::default().ids(&check(user, group), &file_reader, "web", Limit::starting_now(PATIENT)).await
        };
        let missing = |what: &str| Err(format!("{what} \"no-such-name\" does not exist (yet)"));
        assert_eq!(who(None, None).await, Ok(Ids::default()));
        assert_eq!(who(Some("root"), None).await, Ok(Ids { uid: Some(0), gid: Some(0) }));
        let daemon = Group::from_name("daemon").unwrap().unwrap().gid.as_raw();
        assert_eq!(who(Some("root"), Some("daemon")).await, Ok(Ids { uid: Some(0), gid: Some(daemon) }));
        assert_eq!(who(None, Some("daemon")).await, Ok(Ids { uid: None, gid: Some(daemon) }));
        assert_eq!(who(Some("no-such-name"), None).await, missing("user"));
        assert_eq!(who(None, Some("no-such-name")).await, missing("group"));
    }

    #[tokio::test]
    async fn a_directory_that_hangs_takes_nobody_away_who_was_found() {
        static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
        static READS: AtomicUsize = AtomicUsize::new(0);
        const FOUND: Ids = Ids { uid: Some(7), gid: Some(8) };
        let hanging = |names: &Accounts| {
            // The first of these is found at once.
            if READS.fetch_add(1, Ordering::SeqCst) > 0 || names.user.as_deref() != Some("svc") {
                drop(GATE.1.wait_while(GATE.0.lock().unwrap(), |open| !*open).unwrap());
            }
            Ok(FOUND)
        };
        let file_reader = FileReader::default();
        let (svc, new) = (Who { look: hanging, ..Who::default() }, Who { look: hanging, ..Who::default() });
        let ask = async |who: &Who, name| {
            who.ids(&check(Some(name), None), &file_reader, "web", Limit::starting_now(SHORT)).await
        };
        for _ in 0..3 {
            assert_eq!(ask(&svc, "svc").await, Ok(FOUND));
            svc.known.renew(Duration::ZERO);
        }
        let silence = "cannot look up user \"new\": no answer of the user directory within 200 ms";
        for _ in 0..2 {
            assert_eq!(ask(&new, "new").await, Err(silence.to_owned()));
        }
        assert_eq!(READS.load(Ordering::SeqCst), 3, "one look for each name that hangs");
        *GATE.0.lock().unwrap() = true;
        GATE.1.notify_all();
    }
}
