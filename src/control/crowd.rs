//! The clients of the control socket, and the choice of those that must leave for others. Pure, time is an argument.
//!
//! * On the control socket 64 connections at once; 16 of a user, 48 of all users except root, so that no user locks the
//!   others out. Over TCP [`Limits::TCP`], of whatever addresses.
//! * A client that comes without room takes the place of the longest idle connection of the user with the most
//!   connections. A
//!   connection whose command is under way keeps its place.
//! * A client that reads the stream of events stays for as long as nobody needs its place.
//! * Any other client has ten seconds to read an answer and to send the next request; a quarter of a second while unread
//!   answers take
//!   too much memory.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The most connections at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Of all clients.
    pub(super) most: usize,
    /// Of all except root.
    pub(super) most_of_others: usize,
    /// Of one user except root, or of one address.
    pub(super) share: usize,
}

impl Limits {
    /// On the control socket.
    pub(super) const CONTROL: Self = Self { most: 64, most_of_others: 48, share: 16 };
    /// Over TCP. A proxy or a monitoring server may be the only address.
    pub(super) const TCP: Self = Self { most: 1280, most_of_others: 1280, share: 1280 };
}

/// The one whose share a connection takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    /// A user of this host.
    User(u32),
    /// An address.
    Address(IpAddr),
}

impl Whose {
    const ROOT: Self = Self::User(0);
}

/// The longest wait for a client.
const SILENCE: Duration = Duration::from_secs(10);
/// The longest wait when memory is short.
const SHORT_SILENCE: Duration = Duration::from_millis(250);

/// The id of a connection.
pub(super) type Id = u64;

/// All connected clients.
#[derive(Debug)]
pub(super) struct Crowd {
    limits: Limits,
    next: Id,
    present: BTreeMap<Id, Client>,
}

#[derive(Debug)]
struct Client {
    whose: Whose,
    /// The begin of our wait for it to send or to read; `None` while its command is under way.
    silent_since: Option<Instant>,
    /// It reads a stream of events: it may be silent, but gives its place to others.
    streams: bool,
}

/// The admission of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Admitted.
    Free(Id),
    /// Admitted, in place of the other connection.
    InPlaceOf(Id, Id),
    /// Every place is taken by a command under way.
    Refused,
}

impl Crowd {
    /// Nobody, within these limits.
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, next: 0, present: BTreeMap::new() }
    }

    /// Admits a client of this user or address.
    pub(super) fn admit(&mut self, whose: Whose, now: Instant) -> Admission {
        let leaves = match self.place(whose) {
            Place::Free => None,
            Place::Of(Some(id)) => Some(id),
            Place::Of(None) => return Admission::Refused,
        };
        let id = self.next;
        self.next += 1;
        self.present.insert(id, Client { whose, silent_since: Some(now), streams: false });
        match leaves {
            None => Admission::Free(id),
            Some(other) => {
                self.present.remove(&other);
                Admission::InPlaceOf(id, other)
            }
        }
    }

    /// Notes that a connection has left.
    pub(super) fn leave(&mut self, id: Id) {
        self.present.remove(&id);
    }

    /// Notes that its command is under way.
    pub(super) fn works(&mut self, id: Id) {
        if let Some(client) = self.present.get_mut(&id) {
            client.silent_since = None;
        }
    }

    /// Notes that it has its answer.
    pub(super) fn answered(&mut self, id: Id, now: Instant) {
        if let Some(client) = self.present.get_mut(&id) {
            client.silent_since = Some(now);
        }
    }

    /// Notes that it reads a stream of events from now on.
    pub(super) fn streams(&mut self, id: Id, now: Instant) {
        if let Some(client) = self.present.get_mut(&id) {
            (client.silent_since, client.streams) = (Some(now), true);
        }
    }

    /// Removes connections that were silent for too long.
    pub(super) fn overdue(&mut self, memory_is_short: bool, now: Instant) -> Vec<Id> {
        let limit = if memory_is_short { SHORT_SILENCE } else { SILENCE };
        let is_overdue = |client: &Client| {
            !client.streams
                && client.silent_since.is_some_and(|since| now.saturating_duration_since(since) >= limit)
        };
        let overdue: Vec<Id> =
            self.present.iter().filter(|(_, client)| is_overdue(client)).map(|(id, _)| *id).collect();
        for id in &overdue {
            self.present.remove(id);
        }
        overdue
    }

    /// Removes the longest silent connection, when descriptors are short.
    pub(super) fn longest_silent(&mut self) -> Option<Id> {
        let id = self.idlest(|_| true)?;
        self.present.remove(&id);
        Some(id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// The place that a client would take.
    fn place(&self, whose: Whose) -> Place {
        let of = |whose: Whose| self.present.values().filter(|client| client.whose == whose).count();
        let others = self.present.values().filter(|client| client.whose != Whose::ROOT).count();
        if whose != Whose::ROOT && of(whose) >= self.limits.share {
            return Place::Of(self.idlest(|other| other == whose));
        }
        let others_only = whose != Whose::ROOT && others >= self.limits.most_of_others;
        let full = others_only || self.present.len() >= self.limits.most;
        if !full {
            return Place::Free;
        }
        // That of the user with the most; root makes no room if the others have used up their share.
        let mut counts: BTreeMap<Whose, usize> = BTreeMap::new();
        for client in self.present.values() {
            if client.whose != Whose::ROOT || !others_only {
                *counts.entry(client.whose).or_default() += 1;
            }
        }
        let mut greediest: Vec<_> = counts.into_iter().map(|(whose, count)| (count, whose)).collect();
        greediest.sort_unstable_by(|a, b| b.cmp(a));
        Place::Of(greediest.iter().find_map(|(_, whose)| self.idlest(|other| other == *whose)))
    }

    fn idlest(&self, of: impl Fn(Whose) -> bool) -> Option<Id> {
        let silent = self.present.iter().filter(|(_, client)| of(client.whose));
        let since = silent.filter_map(|(id, client)| Some((client.silent_since?, *id)));
        since.min().map(|(_, id)| id)
    }
}

enum Place {
    Free,
    /// The place of this connection, if any may leave.
    Of(Option<Id>),
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = Limits::CONTROL.most;
    const MOST_OF_USERS: usize = Limits::CONTROL.most_of_others;
    const SHARE: usize = Limits::CONTROL.share;
    const SECOND: Duration = Duration::from_secs(1);

    fn fill(crowd: &mut Crowd, uid: u32, count: usize, now: Instant) {
        for _ in 0..count {
            assert!(matches!(crowd.admit(Whose::User(uid), now), Admission::Free(_)));
        }
    }

    #[test]
    fn who_comes_to_a_full_house_takes_the_place_of_the_longest_silent_of_the_user_with_the_most() {
        let (mut crowd, now) = (Crowd::new(Limits::CONTROL), Instant::now());
        fill(&mut crowd, 0, 1, now);
        fill(&mut crowd, 1000, SHARE, now + SECOND);
        fill(&mut crowd, 0, MOST - SHARE - 1, now + 2 * SECOND);
        assert_eq!(
            crowd.admit(Whose::User(1001), now + 3 * SECOND),
            Admission::InPlaceOf(64, 0),
            "root has the most"
        );
        crowd.works(0);
        assert_eq!(crowd.admit(Whose::User(0), now + 3 * SECOND), Admission::InPlaceOf(65, 17));
        assert_eq!(crowd.present.len(), MOST);
    }

    #[test]
    fn a_user_never_takes_more_than_a_share_and_users_leave_room_for_root() {
        let (mut crowd, now) = (Crowd::new(Limits::CONTROL), Instant::now());
        fill(&mut crowd, 1000, SHARE, now);
        assert_eq!(crowd.admit(Whose::User(1000), now), Admission::InPlaceOf(16, 0));
        fill(&mut crowd, 1001, SHARE, now);
        fill(&mut crowd, 1002, SHARE, now);
        for id in 0..100 {
            crowd.works(id);
        }
        assert_eq!(crowd.admit(Whose::User(1000), now), Admission::Refused);
        assert_eq!(crowd.admit(Whose::User(1003), now), Admission::Refused);
        fill(&mut crowd, 0, MOST - MOST_OF_USERS, now);
        assert!(
            matches!(crowd.admit(Whose::User(0), now), Admission::InPlaceOf(_, left) if left >= 49),
            "one of its own"
        );
    }

    #[test]
    fn a_silent_client_is_closed_after_ten_seconds_and_sooner_when_memory_is_short() {
        let (mut crowd, now) = (Crowd::new(Limits::CONTROL), Instant::now());
        fill(&mut crowd, 0, 3, now);
        crowd.works(1);
        crowd.works(2);
        crowd.answered(2, now + 5 * SECOND);
        assert_eq!(crowd.overdue(false, now + 9 * SECOND), Vec::<Id>::new());
        assert_eq!(crowd.overdue(false, now + 10 * SECOND), [0]);
        assert_eq!(crowd.overdue(true, now + 10 * SECOND), [2]);
        assert_eq!(crowd.overdue(true, now + 1000 * SECOND), Vec::<Id>::new(), "a command takes its time");
        crowd.answered(1, now);
        assert_eq!(crowd.overdue(true, now + SECOND), [1]);
        let Admission::Free(id) = crowd.admit(Whose::User(0), now) else { panic!("no place") };
        crowd.streams(id, now);
        assert_eq!(crowd.overdue(true, now + 1000 * SECOND), Vec::<Id>::new(), "a stream goes on");
        assert_eq!(crowd.longest_silent(), Some(id), "and gives its place away");
        assert!(crowd.is_empty());
    }
}
