//! The saved form of drains, and the conversion of their times for another process and after a reboot.
//!
//! ```json
//! {"web": {"by": "alice", "since": "…", "until": "…", "ends": {"boot": "…", "uptime_ms": 7200000}},
//!  "/everything": {"by": "bob", "since": "…", "except": ["dns"]}}
//! ```
//!
//! Within a boot the end is a time since the boot, independent of the wall clock. After a reboot the wall clock
//! decides, but at most the whole length of the drain remains: a host without a battery clock may start in another
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
use vipcast_node::engine::{Drain, Drains, Ends, Everything, Order};
use vipcast_node::names::ServiceName;

/// The key of the drain of everything: no service can have this name.
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

/// One drain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredDrain {
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

/// The saved form of the drains.
pub(super) fn store(drains: &Drains, clocks: &Clocks) -> BTreeMap<String, StoredDrain> {
    let stored = |drain: &Drain| StoredDrain {
        by: drain.order.by.clone(),
        reason: drain.order.reason.clone(),
        since: drain.since,
        until: drain.ends.map(|ends| ends.wall),
        ends: drain.ends.map(|ends| {
            let left = ends.at_most.unwrap_or(ends.at).saturating_duration_since(clocks.now);
            StoredEnd {
                boot: clocks.boot.clone(),
                uptime_ms: u64::try_from((clocks.uptime + left).as_millis()).unwrap_or(u64::MAX),
                by_wall: ends.at_most.is_some(),
            }
        }),
        except: BTreeSet::new(),
    };
    let everything = drains.everything.iter().map(|Everything { drain, except }| {
        let except = except.iter().map(ToString::to_string).collect();
        (EVERYTHING.to_owned(), StoredDrain { except, ..stored(drain) })
    });
    let services = drains.services.iter().map(|(service, drain)| (service.to_string(), stored(drain)));
    everything.chain(services).collect()
}

/// The result of reading saved drains.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Restored {
    /// The drains in force.
    pub(super) drains: Drains,
    /// Unreadable entries, each with the cause.
    pub(super) damaged: Vec<(String, String)>,
    /// Whether an entry has fields that this version does not know.
    pub(super) newer: bool,
    /// Whether some drains have ended.
    pub(super) ended: bool,
}

/// Takes all readable drains from a file.
pub(super) fn restore(stored: BTreeMap<String, Value>, clocks: &Clocks) -> Restored {
    let mut restored = Restored::default();
    for (name, value) in stored {
        let stored = match StoredDrain::deserialize(&value) {
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
        let StoredDrain { by, reason, since, except, .. } = stored;
        let drain = Arc::new(Drain { order: Order { by, reason }, since, ends });
        if name == EVERYTHING {
            let except = except.iter().map(|service| ServiceName::from(service.as_str())).collect();
            restored.drains.everything = Some(Everything { drain, except });
        } else {
            restored.drains.services.insert(ServiceName::from(name.as_str()), drain);
        }
    }
    restored
}

impl StoredDrain {
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
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn clocks(boot: &str, uptime: Duration, wall: &str, now: Instant) -> Clocks {
        Clocks { boot: boot.to_owned(), uptime, wall: wall.parse().unwrap(), now }
    }

    /// Drained at noon, an hour after the boot, for two hours.
    fn two_hours(now: Instant) -> BTreeMap<String, StoredDrain> {
        let ends = Ends { wall: "2026-11-22T14:00:00Z".parse().unwrap(), at: now + 2 * HOUR, at_most: None };
        let order = Order { by: "alice".to_owned(), reason: Some("kernel update".to_owned()) };
        let drain = Drain { order, since: "2026-11-22T12:00:00Z".parse().unwrap(), ends: Some(ends) };
        let services = BTreeMap::from([(ServiceName::from("web"), Arc::new(drain.clone()))]);
        let forever = Arc::new(Drain { ends: None, ..drain });
        let everything = Some(Everything { drain: forever, except: BTreeSet::from(["dns".into()]) });
        store(&Drains { everything, services }, &clocks("a", HOUR, "2026-11-22T12:00:00Z", now))
    }

    fn values(stored: &BTreeMap<String, StoredDrain>) -> BTreeMap<String, Value> {
        stored.iter().map(|(name, drain)| (name.clone(), serde_json::to_value(drain).unwrap())).collect()
    }

    /// The rest of the drain of `web` for a process that reads it with these clocks; `None`: it has ended.
    fn left(boot: &str, uptime: Duration, wall: &str) -> Option<Duration> {
        let now = clock::now();
        let clocks = clocks(boot, uptime, wall, now);
        let restored = restore(values(&two_hours(now)), &clocks);
        assert_eq!((restored.damaged, restored.newer), (Vec::new(), false));
        assert_eq!(restored.drains.everything.unwrap().except, BTreeSet::from(["dns".into()]));
        let web = restored.drains.services.get("web")?;
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
        let again = store(&restored.drains, &boot);
        let later = clocks("b", HOUR, "2026-11-22T13:00:00Z", now);
        let web = &restore(values(&again), &later).drains.services["web"];
        assert_eq!(web.ends.unwrap().at - now, HOUR, "the wall clock decides still");
        let set = clocks("b", HOUR, "2026-11-22T15:00:00Z", now);
        assert_eq!(restore(values(&again), &set).drains.services.len(), 0);
    }

    #[test]
    fn what_an_earlier_version_wrote_is_read_and_what_a_newer_one_says_is_noticed() {
        let now = clock::now();
        let clocks = clocks("b", HOUR, "2026-11-22T12:00:00Z", now);
        let earlier =
            r#"{"web": {"by": "alice", "since": "2026-11-22T12:00:00Z", "until": "2026-11-22T14:00:00Z"}}"#;
        let restored = restore(serde_json::from_str(earlier).unwrap(), &clocks);
        assert_eq!(restored.drains.services["web"].ends.unwrap().at, now + 2 * HOUR);
        assert!(!restored.newer);
        let newer = r#"{"web": {"by": "alice", "since": "2026-11-22T12:00:00Z", "level": 3}}"#;
        let restored = restore(serde_json::from_str(newer).unwrap(), &clocks);
        assert!(restored.newer && restored.drains.services.contains_key("web"));
    }

    #[test]
    fn of_a_file_with_one_damaged_drain_the_others_hold() {
        let clocks = clocks("b", HOUR, "2026-11-22T12:00:00Z", clock::now());
        let file = r#"{"dns": 7, "web": {"by": "alice", "since": "2026-11-22T12:00:00Z"}}"#;
        let restored = restore(serde_json::from_str(file).unwrap(), &clocks);
        assert_eq!(restored.drains.services.keys().map(ToString::to_string).collect::<Vec<_>>(), ["web"]);
        assert_eq!(restored.damaged[0].0, "dns");
    }
}
