//! What is used where the configuration says nothing. Written down here and nowhere else.

use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use vipcast_bgp::{HoldTime, RestartTime};

/// `state_dir`.
pub const STATE_DIR: &str = "/var/lib/vipcast";
/// `control.socket`.
pub const CONTROL_SOCKET: &str = "/run/vipcast/control.sock";
/// `interface`: where VIPs are bound.
pub const INTERFACE: &str = LOOPBACK;
/// The interface of local routes, which every Linux calls that.
pub const LOOPBACK: &str = "lo";
/// `port` of a peer and of `listen`.
pub const BGP_PORT: u16 = 179;
/// `hold_time` of a peer, 9 s: a dead session is noticed in seconds, not in the minutes of RFC 4271.
pub const HOLD_TIME: HoldTime = HoldTime::DEFAULT;
/// `connect_retry` of a peer.
pub const CONNECT_RETRY: Duration = Duration::from_secs(1);
/// `graceful_restart.restart_time` of a peer, 20 s: enough to start and to check, and no longer than a host that died may blackhole.
pub const RESTART_TIME: RestartTime = RestartTime::DEFAULT;
/// `bfd.interval` of a peer: slow enough for every router, and a silence of 0.9 s is noticed.
pub const BFD_INTERVAL: Duration = Duration::from_millis(300);
/// `bfd.multiplier` of a peer.
pub const BFD_MULTIPLIER: NonZeroU8 = NonZeroU8::new(3).unwrap();
/// `interval` of a check.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// `fast_interval` of a check, or `interval` where that is shorter.
pub const FAST_INTERVAL: Duration = Duration::from_millis(100);
/// `timeout` of a check, or `interval` where that is shorter.
pub const TIMEOUT: Duration = Duration::from_millis(500);
/// `rise` and `fall` of a check that is polled; where the kernel tells us, one result is enough.
pub const RISE_FALL: NonZeroU32 = NonZeroU32::new(2).unwrap();
/// How many more times than when healthy a demoted route carries our ASN.
pub const DEMOTE_PREPEND: u8 = 3;
/// `shutdown.drain_time`.
pub const DRAIN_TIME: Duration = Duration::from_secs(3);
/// `shutdown.unbind_delay`.
pub const UNBIND_DELAY: Duration = Duration::from_secs(1);
/// `hold_down: true`.
pub const HOLD_DOWN: Duration = Duration::from_secs(10);
/// `most` of `hold_down`.
pub const MOST_HOLD_DOWN: Duration = Duration::from_secs(300);
/// `window` of `latency` and `errors`.
pub const WINDOW: Duration = Duration::from_secs(60);
/// `for` of `latency` that looks at each result: how many in a row.
pub const RESULTS_OVER: NonZeroU32 = NonZeroU32::new(5).unwrap();
/// LOCAL_PREF inside our AS where nothing else is said.
pub const LOCAL_PREF: u32 = 100;
/// `events.max_size`, in bytes.
pub const EVENT_FILE_SIZE: u64 = 16 << 20;
/// `events.keep`.
pub const EVENT_FILES: u8 = 4;
