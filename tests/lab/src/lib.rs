//! A rack in network namespaces, described in a few lines: hosts, links, real routers, a client that counts losses.
//!
//! ```text
//!                         ┌────────┐  10.0.1.0/24   ┌────────┐
//!  ┌────────┐             │        │ .1          .2 │ edge-a │ 192.0.2.1 on lo
//!  │ client ├─────────────┤  tor   ├────────────────┴────────┘
//!  └────────┘ 10.0.9.0/24 │  FRR   │  10.0.2.0/24   ┌────────┐
//!                         │        ├────────────────┤ edge-b │ 192.0.2.1 on lo
//!                         └────────┘ .1          .2 └────────┘
//! ```
//!
//! ```no_run
//! # use std::{net::Ipv4Addr, time::Duration};
//! # use vipcast_lab::*;
//! # fn main() -> anyhow::Result<()> {
//! Lab::run("one edge dies", |lab| {
//!     let (tor, client) = (lab.host("tor")?, lab.host("client")?);
//!     lab.link(&tor, &client, Subnet::dual(9))?;
//!     client.route(&["default", "via", "10.0.9.1"])?;
//!     let mut config = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1));
//!     let mut running = Vec::new();
//!     for (name, number) in [("edge-a", 1), ("edge-b", 2)] {
//!         let edge = lab.host(name)?;
//!         let link = lab.link(&tor, &edge, Subnet::dual(number))?;
//!         config = config.neighbor(Neighbor::new(link.v4(&edge)?, 65001).password("secret"));
//!         let mut vipcast = edge.command("target/debug/vipcast");
//!         vipcast.arg("run");
//!         running.push((edge.spawn("vipcast", vipcast)?, EchoServer::start(&edge, name, "[::]:7".parse()?, None)?));
//!     }
//!     let tor = lab.router(RouterKind::Frr, &tor, &config)?;
//!     lab.until("two paths", Duration::from_secs(10), || {
//!         let routes = tor.host().routes("192.0.2.1/32".parse()?)?;
//!         anyhow::ensure!(routes.iter().any(|route| route.next_hops.len() == 2), "{routes:?}");
//!         Ok(())
//!     })?;
//!     let client = Client::start(&client, "192.0.2.1:7".parse()?)?;
//!     client.wait_for_servers(&["edge-a", "edge-b"], Duration::from_secs(5))?;
//!     // … kill something …
//!     let report = client.stop()?;
//!     anyhow::ensure!(report.lost() == 0, "{}", report.summary());
//!     Ok(())
//! })
//! # }
//! ```
//!
//! * **Failure shows everything.** A panic, an error of [`Lab::run`] and a time-out of [`Lab::until`] print all
//!   routers, hosts and
//!   logs to standard error before the lab is cleared away.
//! * **Nothing is left**, even after a panic or a `SIGKILL` of the test; see [`remains`].
//! * **A test that cannot run says so**: [`Lab::available_with`] has the reason, and [`trial()`] ignores the test with it.
//! * **Nothing sleeps for an effect**: [`wait::until`] takes a closure whose error is the status so far.
//! * Several labs may run at once, in one process or many. Everything in a lab is named after its process and a number.
//!
//! | To … | see |
//! | --- | --- |
//! | add a kind of router | [`router`]: one file, one `match` arm in [`RouterKind`] and in `router::start` |
//! | change the settings of a new host | `SYSCTLS` in [`host`] |
//! | change how datagrams are counted | [`traffic`]; its part in the namespace is `bin/vipcast-lab-agent` |
//! | let a systemd of the test's own run a service | [`Systemd`] |
//! | boot a host, and install packages there | [`Machine`] |
//! | have the files of another Debian, for a container or a virtual machine | [`debian`] |
//! | make a BGP peer misbehave | [`speaker`]; its part in the namespace is `bin/vipcast-lab-agent` |
//! | know how the agent is found and built | `agent.rs` |

pub mod addressing;
mod agent;
pub mod capture;
pub mod debian;
pub mod host;
pub mod lab;
pub mod link;
mod machine;
pub mod monitor;
pub mod process;
pub mod remains;
pub mod router;
pub mod speaker;
mod systemd;
pub mod traffic;
mod trial;
pub mod usage;
pub mod wait;

pub use agent::path as agent;
pub use capture::Capture;
pub use host::{Host, Toggle};
pub use lab::{Lab, find_program};
pub use link::{Link, Subnet};
pub use machine::Machine;
pub use monitor::RouteMonitor;
pub use process::{Memory, Process, Signal};
pub use router::{
    Announcement, Bfd, BfdState, Family, History, Neighbor, Notification, Path, Router, RouterConfig,
    RouterKind,
};
pub use speaker::{Flood, Speaker, SpeakerOptions};
pub use systemd::Systemd;
pub use traffic::{Client, EchoServer};
pub use trial::trial;
pub use usage::Usage;
