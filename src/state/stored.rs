//! The saved form of overrides, and the conversion of their times for another process and after a reboot.
//!
//! ```json
//! {"web": {"by": "alice", "since": "…", "until": "…", "ends": {"boot": "…", "uptime_ms": 7200000}},
//!  "/everything": {"by": "bob", "since": "…", "except": ["dns"]}}
//! ```
//!
//! That is the file of the drains. The other overrides are in a file of their own, which has such an object for each
//! [kind](Others): a version that knows only drains leaves it alone.
//!
//! Within a boot the end is a time since the boot, independent of the wall clock. After a reboot the wall clock
//! decides, but at most the whole length of the override remains: a host without a battery clock may start in another
//! year.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vipcast_bgp::Instant;
use vipcast_bgp::net::clock;
use vipcast_node::engine::{Ends, Everything, Forces, Order, Override, Overrides, Scoped};
use vipcast_node::names::{PeerName, ServiceName};

/// The key of the override of everything: no service can have this name.
const EVERYTHING: &str = "/everything";

/// All clocks, read at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clocks {
    pub(super) boot: String,
    pub(super) uptime: Duration,
    pub(super) wall: Timestamp,
    pub(super) now: Instant,
}

impl Clocks {
    pub(super) fn read() -> io::Result<Self> {
        let unreadable = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let uptime = fs::read_to_string("/proc/uptime")?;
        let seconds = uptime.split(' ').next().and_then(|word| word.parse().ok());
        let uptime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Ok(Self {
            boot: fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned(),
            uptime: uptime.ok_or_else(|| unreadable("/proc/uptime has no time"))?,
            wall: Timestamp::now(),
            now: clock::now(),
        })
    }
}

/// One override.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredOverride {
    by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    since: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ends: Option<StoredEnd>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    except: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StoredEnd {
    boot: String,
    uptime_ms: u64,
    /// Whether it began before that boot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    by_wall: bool,
}

/// The saved form of overrides of one kind.
pub(super) type Stored = BTreeMap<String, StoredOverride>;

/// The saved form of overrides of one kind.
pub(super) fn store(scoped: &Scoped, clocks: &Clocks) -> Stored {
    let everything = scoped.everything.iter().map(|Everything { common, except }| {
        let except = except.iter().map(ToString::to_string).collect();
        (EVERYTHING.to_owned(), StoredOverride { except, ..StoredOverride::of(common, clocks) })
    });
    everything.chain(stored(&scoped.services, clocks)).collect()
}

fn stored<'a, N: ToString + 'a>(
    named: impl IntoIterator<Item = (&'a N, &'a Arc<Override>)>,
    clocks: &Clocks,
) -> impl Iterator<Item = (String, StoredOverride)> {
    named.into_iter().map(|(name, one)| (name.to_string(), StoredOverride::of(one, clocks)))
}

/// The overrides other than drains of services.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Others {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    force_up: Stored,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    force_down: Stored,
    /// Drains of peers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    peers: Stored,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    promotions: Stored,
}

impl Others {
    pub(super) fn of(overrides: &Overrides, clocks: &Clocks) -> Self {
        let Overrides { drains: _, forces: Forces { up, down }, peers, promotions } = overrides;
        Self {
            force_up: store(up, clocks),
            force_down: store(down, clocks),
            peers: stored(peers, clocks).collect(),
            promotions: stored(promotions, clocks).collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Takes all readable overrides other than drains of services from a file. The result has no drains.
pub(super) fn restore_others(
    mut stored: BTreeMap<String, BTreeMap<String, Value>>,
    clocks: &Clocks,
) -> (Overrides, Restored) {
    let mut sum = Restored::default();
    let mut section = |name: &str, what: &str| {
        let restored = restore(stored.remove(name).unwrap_or_default(), clocks);
        let damaged = restored.damaged.into_iter().map(|(name, error)| (format!("{what} {name}"), error));
        sum.damaged.extend(damaged);
        sum.newer |= restored.newer;
        sum.ended |= restored.ended;
        restored.scoped
    };
    let (up, down) = (section("force_up", "force-up of"), section("force_down", "force-down of"));
    let peers = section("peers", "drain of peer").services.into_iter();
    let peers = peers.map(|(peer, drain)| (PeerName::from(peer.as_str()), drain)).collect();
    let promotions = section("promotions", "promotion of").services;
    // Kinds of a newer version.
    sum.newer |= !stored.is_empty();
    (Overrides { drains: Scoped::default(), forces: Forces { up, down }, peers, promotions }, sum)
}

/// The result of reading saved overrides of one kind.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Restored {
    /// Those in force.
    pub(super) scoped: Scoped,
    /// Unreadable entries, each with the cause.
    pub(super) damaged: Vec<(String, String)>,
    /// Whether an entry has fields that this version does not know.
    pub(super) newer: bool,
    /// Whether some have ended.
    pub(super) ended: bool,
}

/// Takes all readable overrides of one kind from a file.
pub(super) fn restore(stored: BTreeMap<String, Value>, clocks: &Clocks) -> Restored {
    let mut restored = Restored::default();
    for (name, value) in stored {
        let stored = match StoredOverride::deserialize(&value) {
            Ok(stored) => stored,
            Err(error) => {
                restored.damaged.push((name, error.to_string()));
                continue;
            }
        };
        restored.newer |= says_more(&value, &stored);
        let ends = stored.ends(clocks);
        if ends.is_some_and(|ends| ends.at <= clocks.now) {
            restored.ended = true;
            continue;
        }
        let StoredOverride { by, reason, since, except, .. } = stored;
        let common = Arc::new(Override { order: Order { by, reason }, since, ends });
        if name == EVERYTHING {
            let except = except.iter().map(|service| ServiceName::from(service.as_str())).collect();
            restored.scoped.everything = Some(Everything { common, except });
        } else {
            restored.scoped.services.insert(ServiceName::from(name.as_str()), common);
        }
    }
    restored
}

impl StoredOverride {
    fn of(one: &Override, clocks: &Clocks) -> Self {
        let Override { order: Order { by, reason }, since, ends } = one;
        let end = |ends: &Ends| {
            let left = ends.at_most.unwrap_or(ends.at).saturating_duration_since(clocks.now);
            StoredEnd {
                boot: clocks.boot.clone(),
                uptime_ms: u64::try_from((clocks.uptime + left).as_millis()).unwrap_or(u64::MAX),
                by_wall: ends.at_most.is_some(),
            }
        };
        Self {
            by: by.clone(),
            reason: reason.clone(),
            since: *since,
            until: ends.map(|ends| ends.wall),
            ends: ends.as_ref().map(end),
            except: BTreeSet::new(),
        }
    }

    fn ends(&self, clocks: &Clocks) -> Option<Ends> {
        let wall = self.until?;
        let of_this_boot = self.ends.as_ref().filter(|end| end.boot == clocks.boot);
        let left = match of_this_boot {
            Some(end) => Duration::from_millis(end.uptime_ms).saturating_sub(clocks.uptime),
            None => Duration::try_from(wall.duration_since(self.since)).unwrap_or_default(),
        };
        let at = clocks.now.checked_add(left)?;
        if of_this_boot.is_some_and(|end| !end.by_wall) {
            return Some(Ends { wall, at, at_most: None });
        }
        let ends = Ends { wall, at, at_most: Some(at) };
        Some(Ends { at: ends.wall_at(clocks.wall, clocks.now).min(at), ..ends })
    }
}

/// Whether a newer version has written fields that would be lost.
pub(super) fn says_more(value: &Value, understood: &impl Serialize) -> bool {
    fn more(value: &Value, understood: Option<&Value>) -> bool {
        match (value, understood) {
            (Value::Null, _) => false,
            (Value::Array(all), _) if all.is_empty() => false,
            (Value::Object(all), understood) => {
                all.iter().any(|(key, value)| more(value, understood.and_then(|known| known.get(key))))
            }
            (Value::Bool(false), None) => false,
            (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_), understood) => {
                understood.is_none()
            }
        }
    }
    serde_json::to_value(understood).is_ok_and(|understood| more(value, Some(&understood)))
}

#[cfg(test)]
mod tests {
    use vipcast_node::engine::{Force, Scope};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn clocks(boot: &str, uptime: Duration, wall: &str, now: Instant) -> Clocks {
        Clocks { boot: boot.to_owned(), uptime, wall: wall.parse().unwrap(), now }
    }

    /// Drained at noon, an hour after the boot, for two hours.
    fn two_hours(now: Instant) -> Stored {
        let ends = Ends { wall: "2026-11-22T14:00:00Z".parse().unwrap(), at: now + 2 * HOUR, at_most: None };
        let order = Order { by: "alice".to_owned(), reason: Some("kernel update".to_owned()) };
        let drain = Override { order, since: "2026-11-22T12:00:00Z".parse().unwrap(), ends: Some(ends) };
        let services = BTreeMap::from([(ServiceName::from("web"), Arc::new(drain.clone()))]);
        let forever = Arc::new(Override { ends: None, ..drain });
        let everything = Some(Everything { common: forever, except: BTreeSet::from(["dns".into()]) });
        store(&Scoped { everything, services }, &clocks("a", HOUR, "2026-11-22T12:00:00Z", now))
    }

    fn values(stored: &Stored) -> BTreeMap<String, Value> {
        stored.iter().map(|(name, drain)| (name.clone(), serde_json::to_value(drain).unwrap())).collect()
    }

    /// The rest of the drain of `web` for a process that reads it with these clocks; `None`: it has ended.
    fn left(boot: &str, uptime: Duration, wall: &str) -> Option<Duration> {
        let now = clock::now();
        let clocks = clocks(boot, uptime, wall, now);
        let restored = restore(values(&two_hours(now)), &clocks);
        assert_eq!((restored.damaged, restored.newer), (Vec::new(), false));
        assert_eq!(restored.scoped.everything.unwrap().except, BTreeSet::from(["dns".into()]));
        let web = restored.scoped.services.get("web")?;
        Some(web.ends.unwrap().at - now)
    }

    #[test]
    fn i12_within_a_boot_no_clock_that_is_set_makes_a_drain_longer_or_shorter() {
        for wall in ["2026-11-22T12:30:00Z", "1986-01-01T00:00:00Z", "2036-01-01T00:00:00Z"] {
            assert_eq!(left("a", HOUR + HOUR / 2, wall), Some(HOUR + HOUR / 2), "{wall}");
        }
        assert_eq!(left("a", 4 * HOUR, "1986-01-01T00:00:00Z"), None);
    }

    #[test]
    fn i12_after_a_reboot_the_wall_clock_decides_and_no_drain_outlasts_its_own_length() {
        assert_eq!(left("b", Duration::ZERO, "2026-11-22T13:00:00Z"), Some(HOUR));
        assert_eq!(left("b", Duration::ZERO, "2026-11-22T14:00:00Z"), None);
        assert_eq!(left("b", Duration::ZERO, "1986-01-01T00:00:00Z"), Some(2 * HOUR));
    }

    #[test]
    fn i12_a_clock_that_is_set_after_a_reboot_ends_what_has_ended_also_for_the_next_process() {
        let now = clock::now();
        let boot = clocks("b", Duration::ZERO, "1986-01-01T00:00:00Z", now);
        let restored = restore(values(&two_hours(now)), &boot);
        let again = store(&restored.scoped, &boot);
        let later = clocks("b", HOUR, "2026-11-22T13:00:00Z", now);
        let web = &restore(values(&again), &later).scoped.services["web"];
        assert_eq!(web.ends.unwrap().at - now, HOUR, "the wall clock decides still");
        let set = clocks("b", HOUR, "2026-11-22T15:00:00Z", now);
        assert_eq!(restore(values(&again), &set).scoped.services.len(), 0);
    }

    #[test]
    fn what_an_earlier_version_wrote_is_read_and_what_a_newer_one_says_is_noticed() {
        let now = clock::now();
        let clocks = clocks("b", HOUR, "2026-11-22T12:00:00Z", now);
        let earlier =
            r#"{"web": {"by": "alice", "since": "2026-11-22T12:00:00Z", "until": "2026-11-22T14:00:00Z"}}"#;
        let restored = restore(serde_json::from_str(earlier).unwrap(), &clocks);
        assert_eq!(restored.scoped.services["web"].ends.unwrap().at, now + 2 * HOUR);
        assert!(!restored.newer);
        let newer = r#"{"web": {"by": "alice", "since": "2026-11-22T12:00:00Z", "level": 3}}"#;
        let restored = restore(serde_json::from_str(newer).unwrap(), &clocks);
        assert!(restored.newer && restored.scoped.services.contains_key("web"));
    }

    #[test]
    fn of_a_file_with_one_damaged_drain_the_others_hold() {
        let clocks = clocks("b", HOUR, "2026-11-22T12:00:00Z", clock::now());
        let file = r#"{"dns": 7, "web": {"by": "alice", "since": "2026-11-22T12:00:00Z"}}"#;
        let restored = restore(serde_json::from_str(file).unwrap(), &clocks);
        assert_eq!(restored.scoped.services.keys().map(ToString::to_string).collect::<Vec<_>>(), ["web"]);
        assert_eq!(restored.damaged[0].0, "dns");
    }

    #[test]
    fn i12_the_other_overrides_have_a_file_of_their_own_and_come_back_from_it() {
        let now = clock::now();
        let clocks = clocks("a", HOUR, "2026-11-22T12:00:00Z", now);
        let ends = Ends { wall: "2026-11-22T14:00:00Z".parse().unwrap(), at: now + 2 * HOUR, at_most: None };
        let order = Order { by: "alice".to_owned(), reason: None };
        let one = Override { order, since: "2026-11-22T12:00:00Z".parse().unwrap(), ends: Some(ends) };
        let mut overrides = Overrides::default();
        overrides.forces.set(&Scope::Service("web".into()), Force::Up, &one);
        overrides.forces.set(&Scope::Everything, Force::Down, &one);
        overrides.peers.insert("tor-a".into(), Arc::new(one.clone()));
        overrides.promotions.insert("dns".into(), Arc::new(Override { ends: None, ..one }));
        let written = serde_json::to_value(Others::of(&overrides, &clocks)).unwrap();
        let (restored, sum) = restore_others(serde_json::from_value(written.clone()).unwrap(), &clocks);
        assert_eq!((restored, sum), (overrides, Restored::default()));
        let mut newer = written;
        newer["dreams"] = serde_json::json!({"web": {}});
        newer["peers"]["tor-b"] = serde_json::json!(7);
        let (_, sum) = restore_others(serde_json::from_value(newer).unwrap(), &clocks);
        assert_eq!((sum.newer, sum.damaged[0].0.as_str()), (true, "drain of peer tor-b"));
    }
}
