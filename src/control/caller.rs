//! The identity of a caller. The kernel gives the user of a client (SO_PEERCRED), and for root the login
//! (`/proc/PID/loginuid`, which sudo and su do not change). A client's own claim is used only from root, which could
//! claim anything anyway, and only if the kernel knows no login.
//!
//! The name of a user may come from a directory service, which may hang: names are looked up on separate threads with a
//! short time-out, and without an answer the number of the user is used.

use std::fmt;
use std::fs;
use std::time::Duration;

use nix::unistd::{Uid, User};
use tokio::net::unix::UCred;

use crate::blocking::Threads;

/// The header of a client's claim.
pub(super) const CLAIM: &str = "vipcast-operator";

/// The longest wait of a command for a name.
const PATIENCE: Duration = Duration::from_millis(500);
/// The most look-ups that hang at once.
const LOOKUPS: usize = 4;
/// The longest accepted claim, in characters.
const LONGEST_CLAIM: usize = 64;
/// The kernel's value for a process without a login.
const NO_LOGIN: u32 = u32::MAX;

/// The caller of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user of the client, from the kernel.
    pub uid: u32,
    /// The process, if it is visible from here.
    pub pid: Option<i32>,
    /// The person: `alice` behind sudo, or `uid 1000` without a name.
    pub name: String,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Finds names.
#[derive(Debug, Clone)]
pub(super) struct Names(Threads);

impl Names {
    pub(super) fn new() -> Self {
        Self(Threads::new("names", LOOKUPS))
    }

    /// The caller with these credentials and this claim.
    pub(super) async fn caller(&self, credentials: UCred, claim: Option<&str>) -> Caller {
        let (uid, pid) = (credentials.uid(), credentials.pid());
        let name = match uid {
            0 => self.behind_root(pid, claim).await,
            _ => self.name(uid).await,
        };
        Caller { uid, pid, name }
    }

    async fn behind_root(&self, pid: Option<i32>, claim: Option<&str>) -> String {
        let login = match pid {
            Some(pid) => self.0.within(PATIENCE, move || login(pid)).await.ok().flatten(),
            None => None,
        };
        match (login, claim.filter(|claim| is_name(claim))) {
            (Some(login), _) if login != 0 => self.name(login).await,
            (_, Some(claim)) => claim.to_owned(),
            (_, None) => "root".to_owned(),
        }
    }

    async fn name(&self, uid: u32) -> String {
        let found = self.0.within(PATIENCE, move || User::from_uid(Uid::from_raw(uid))).await;
        match found {
            Ok(Ok(Some(user))) => user.name,
            Ok(Ok(None) | Err(_)) | Err(_) => unnamed(uid),
        }
    }
}

fn unnamed(uid: u32) -> String {
    format!("uid {uid}")
}

/// The user that has logged in, even if the process has changed its user since.
fn login(pid: i32) -> Option<u32> {
    let uid = fs::read_to_string(format!("/proc/{pid}/loginuid")).ok()?.trim().parse().ok()?;
    (uid != NO_LOGIN).then_some(uid)
}

fn is_name(claim: &str) -> bool {
    let fits = (1..=LONGEST_CLAIM).contains(&claim.chars().count());
    fits && !claim.chars().any(|c| c.is_control() || c.is_whitespace() && c != ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_a_short_line_of_text() {
        assert!(is_name("alice"));
        assert!(is_name("deploy 42"));
        for claim in ["", "a\nb", "\u{1b}[31mroot", "a\tb", &"x".repeat(65)] {
            assert!(!is_name(claim), "{claim:?}");
        }
    }

    #[tokio::test]
    async fn root_is_believed_when_it_speaks_for_somebody_and_nobody_else_is() {
        let names = Names::new();
        // No process has this id, so no login is known.
        let none = Some(i32::MAX);
        assert_eq!(names.behind_root(none, Some("alice")).await, "alice");
        assert_eq!(names.behind_root(none, Some("\u{1b}[2J")).await, "root");
        assert_eq!(names.behind_root(None, None).await, "root");
        assert_eq!(names.name(0).await, "root");
        assert_eq!(names.name(4_000_000_000).await, "uid 4000000000");
    }
}
