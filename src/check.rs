//! Health checks: from the definition of a check to the reports that the engine decides on.
//!
//! ```text
//!   vipcast_node::model::Check
//!          │ Runner::set
//!          ▼
//!      [runner]  thread "probes", one task per check
//!          │
//!          ├──► [health]  pure: the schedule of probes, and the state after each result
//!          │      └─ judgement    pure: latency and errors against their limits
//!          │
//!          └──► [probe]   one question, one answer, one time-out
//!                 └─ [kind]   the interface of a kind; [kinds] has a folder for each
//!                      │ permit        descriptors and programs are bounded
//!                      ▼
//!                 ├─ over the network ──► context ─► resolve    names and sockets, bounded
//!                 │    said, stream, tls, http2, proxy, search, pattern, password
//!                 ├─ of files ──► file_reader                   files that may hang, bounded
//!                 ├─ of the kernel ──► netlink                  sock_diag, rtnetlink
//!                 └─ told ◄── subscriptions ◄── a monitor       an event of the kernel or systemd: probe now
//!          │
//!          ▼
//!      [telling] ─┬─ CheckReport, if it is news ──► engine     mpsc
//!                 └─ else its numbers           ──► status     on demand
//! ```
//!
//! **Tasks**, all on the thread `probes`:
//!
//! | task | owned by | ends |
//! | --- | --- | --- |
//! | `keep_running` | [`runner::Runner`] | when the runner is dropped; it waits for the supervisors |
//! | one per check | `keep_running` | aborted when the check is removed or changed |
//! | a lookup | none; it ends by itself | when the resolver answers |
//! | access to a file, also to the path of a socket | none; it ends by itself | when the file system answers |
//! | reading certificates and passwords, looking up users | none; it ends by itself | when the file system or the directory answers |
//! | the monitor of a kind | every check of that kind | dropped with the last of them |
//! | a program's supervisor | none; a `Drained` knows whether there is one | when all its processes are reaped |
//!
//! **Cancel safety.** Dropping a check's task drops its probe and its sockets. Work that cannot be dropped (a blocking
//! lookup, a look at a file, a child process) belongs to the other tasks, which free it by themselves. A dropped probe
//! has no result.
//!
//! To add a kind of check: a folder of `kinds`, and its line there.

pub(crate) mod base64;
mod context;
#[cfg(test)]
pub(crate) mod dead_mount;
#[cfg(test)]
mod definitions;
mod file_reader;
mod http2;
pub(crate) mod kind;
pub(crate) mod kinds;
mod lanes;
pub mod lateness;
pub(crate) mod lent;
mod limit;
pub(crate) mod listening;
pub(crate) mod netlink;
pub mod once;
mod owners;
pub(crate) mod password;
pub(crate) mod pattern;
mod permit;
mod pool;
pub(crate) mod probe;
mod proxy;
mod quoted;
mod remembered;
mod resolve;
pub mod runner;
mod said;
mod search;
mod shared;
mod stream;
mod subscriptions;
pub(crate) mod tally;
pub(crate) mod target;
pub mod telling;
pub(crate) mod tls;
mod words;
