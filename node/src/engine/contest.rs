//! An address that another program keeps removing: a network script, or a second tool that manages the address.
//!
//! ```text
//!  lost ─► pause ─► put back, announced at once
//!    lost again ─► twice the pause ─► put back ─► announced when it has stayed for two pauses
//!      lost again ─► twice that …                            stays for QUIET ─► over
//! ```
//!
//! A flush goes on until no address is left: an address that is put back before its end is removed again. So there is a
//! pause from the first loss on. The VIP is withdrawn during the pauses, so that routers do not follow momentary
//! changes. Pure: from losses and returns follows when the address may be put back and when it may be announced.

use std::time::Duration;

use vipcast_bgp::Instant;

use crate::frozen::{Error, engine as frozen, past};

/// The first pause. A flush of thousands of addresses is shorter.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// An address that stays for this time is no longer contested. Longer than any pause, so that a pause cannot look like
/// peace.
const QUIET: Duration = Duration::from_secs(15);

/// An address that was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contest {
    /// The number of losses.
    pub losses: u32,
    /// The last loss.
    lost_at: Instant,
    /// The last return.
    back_since: Option<Instant>,
}

impl Contest {
    pub(super) fn freeze(&self) -> frozen::Contest {
        let Self { losses, lost_at, back_since } = *self;
        frozen::Contest { losses, lost_at, back_since }
    }

    pub(super) fn thaw(frozen: &frozen::Contest, now: Instant) -> Result<Self, Error> {
        Ok(Self {
            losses: frozen.losses,
            lost_at: past(frozen.lost_at, now, "contests.lost_at")?,
            back_since: frozen.back_since.map(|at| past(at, now, "contests.back_since")).transpose()?,
        })
    }

    /// The first loss.
    pub(super) fn begin(now: Instant) -> Self {
        Self { losses: 1, lost_at: now, back_since: None }
    }

    /// Notes another loss.
    pub(super) fn lost(&mut self, now: Instant) {
        *self = Self { losses: self.losses.saturating_add(1), ..Self::begin(now) };
    }

    /// Notes a loss before the kernel reported the address: it was removed at once.
    pub(super) fn hurried(&mut self, now: Instant) {
        if self.put_back_at() <= now {
            self.lost(now);
        }
    }

    /// Notes the return of the address.
    pub(super) fn returned(&mut self, now: Instant) {
        self.back_since.get_or_insert(now);
    }

    /// Whether it was lost more than once.
    pub fn is_repeated(&self) -> bool {
        self.losses > 1
    }

    /// When it may be put back.
    pub fn put_back_at(&self) -> Instant {
        self.lost_at + self.pause()
    }

    /// Whether it may be announced when it is bound.
    pub(super) fn may_be_announced(&self, now: Instant) -> bool {
        self.back_since.is_some_and(|since| since + self.trial() <= now)
    }

    /// Whether the address has stayed for [`QUIET`].
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.back_since.is_some_and(|since| since + QUIET.max(2 * self.pause()) <= now)
    }

    /// The next time after `after` at which one of these answers changes.
    pub(super) fn deadline(&self, after: Instant) -> Option<Instant> {
        // Also when the address is back: it may be on another interface, or be a route instead.
        let put_back = Some(self.put_back_at());
        let tried = self.back_since.map(|since| since + self.trial());
        let over = self.back_since.map(|since| since + QUIET.max(2 * self.pause()));
        [put_back, tried, over].into_iter().flatten().filter(|at| *at > after).min()
    }

    fn pause(&self) -> Duration {
        let doubled = 2_u32.checked_pow(self.losses.saturating_sub(1));
        doubled.and_then(|factor| FIRST_PAUSE.checked_mul(factor)).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)
    }

    /// The time that it must stay before it is announced: zero after the first loss, which may be an accident.
    fn trial(&self) -> Duration {
        if self.is_repeated() { 2 * self.pause() } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_double_and_end_at_ten_seconds() {
        let now = Instant::BOOT;
        let mut contest = Contest::begin(now);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            pauses.push(contest.pause().as_millis());
            contest.lost(now);
        }
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        contest.losses = u32::MAX;
        contest.lost(now);
        assert_eq!(contest.pause(), LONGEST_PAUSE);
    }

    #[test]
    fn one_loss_is_an_accident_and_of_two_it_is_waited_whether_it_stays() {
        let at = |ms| Duration::from_millis(ms);
        let now = Instant::BOOT;
        let mut contest = Contest::begin(now);
        assert_eq!((contest.put_back_at(), contest.may_be_announced(now)), (now + at(50), false));
        contest.returned(now);
        assert!(contest.may_be_announced(now) && !contest.is_repeated() && !contest.is_over(now));
        assert_eq!(contest.deadline(now), Some(now + at(50)));
        assert_eq!(contest.deadline(now + at(50)), Some(now + QUIET));
        assert!(contest.is_over(now + QUIET));

        contest.lost(now);
        assert!(contest.is_repeated());
        assert_eq!((contest.put_back_at(), contest.deadline(now)), (now + at(100), Some(now + at(100))));
        contest.returned(now + at(101));
        contest.returned(now + at(150));
        assert!(!contest.may_be_announced(now + at(300)) && contest.may_be_announced(now + at(301)));
        assert_eq!(contest.deadline(now + at(101)), Some(now + at(301)));
        assert_eq!(contest.deadline(now + at(301)), Some(now + at(101) + QUIET));
        assert_eq!(contest.deadline(now + at(101) + QUIET), None);
    }
}
