//! Whom a program runs as: names of a user and a group, looked up by whoever starts it, because that may hang (LDAP). What was
//! found is used for a while, and for as long as nobody answers: a directory that is away stops no check that has run.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::{Group, User};

use crate::config::model::ExecCheck;

/// How long what was found is not looked up again.
const LASTS: Duration = Duration::from_secs(60);

/// What one check knows. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Who(Arc<Mutex<Option<(Ids, Instant)>>>);

/// Whom to run as; `None`: as the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ids {
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

/// The names of a check, and what is known of them.
#[derive(Debug)]
pub(super) struct WhoOf {
    user: Option<String>,
    group: Option<String>,
    known: Who,
}

/// Why there is nobody to run as.
enum Missing {
    /// The host says that there is no such name.
    Nobody(String),
    /// The host does not say.
    NoAnswer(String),
}

impl Who {
    pub(super) fn of(&self, check: &ExecCheck) -> WhoOf {
        WhoOf { user: check.user.clone(), group: check.group.clone(), known: self.clone() }
    }
}

impl WhoOf {
    /// Blocks for as long as the host takes.
    ///
    /// # Errors
    /// In words: `user "svc" does not exist (yet)`.
    pub(super) fn look_up(&self) -> Result<Ids, String> {
        if self.user.is_none() && self.group.is_none() {
            return Ok(Ids::default());
        }
        // Held for the look: two of one check never run at a time.
        let mut known = self.known.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((ids, at)) = *known
            && at.elapsed() < LASTS
        {
            return Ok(ids);
        }
        match self.ask() {
            Ok(ids) => {
                *known = Some((ids, Instant::now()));
                Ok(ids)
            }
            Err(Missing::Nobody(cause)) => {
                *known = None;
                Err(cause)
            }
            Err(Missing::NoAnswer(cause)) => known.map(|(ids, _)| ids).ok_or(cause),
        }
    }

    fn ask(&self) -> Result<Ids, Missing> {
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

fn nobody(what: &str, name: &str) -> Missing {
    Missing::Nobody(format!("{what} \"{name}\" does not exist (yet)"))
}

fn no_answer(what: &str, name: &str, errno: Errno) -> Missing {
    Missing::NoAnswer(format!("cannot look up {what} \"{name}\": {}", errno.desc().to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(user: Option<&str>, group: Option<&str>) -> WhoOf {
        let check = ExecCheck {
            user: user.map(String::from),
            group: group.map(String::from),
            ..ExecCheck::default()
        };
        Who::default().of(&check)
    }

    #[test]
    fn names_are_looked_up_and_one_that_is_missing_is_named() {
        let missing = |what: &str| Err(format!("{what} \"no-such-name\" does not exist (yet)"));
        assert_eq!(who(None, None).look_up(), Ok(Ids::default()));
        assert_eq!(who(Some("root"), None).look_up(), Ok(Ids { uid: Some(0), gid: Some(0) }));
        let daemon = Group::from_name("daemon").unwrap().unwrap().gid.as_raw();
        assert_eq!(who(Some("root"), Some("daemon")).look_up(), Ok(Ids { uid: Some(0), gid: Some(daemon) }));
        assert_eq!(who(None, Some("daemon")).look_up(), Ok(Ids { uid: None, gid: Some(daemon) }));
        assert_eq!(who(Some("no-such-name"), None).look_up(), missing("user"));
        assert_eq!(who(None, Some("no-such-name")).look_up(), missing("group"));
    }
}
