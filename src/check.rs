//! Health checks: from the definition of a check to the reports that the engine decides on.
//!
//! ```text
//!   config::model::Check
//!          │ Runner::set
//!          ▼
//!      [runner]  thread "probes", one task per check
//!          │
//!          ├──► [health]  pure: when to probe, and what the results make of the state
//!          │      └─ judgement    pure: latency and errors against their limits
//!          │
//!          └──► [probe]   one question, one answer, one time-out
//!                 ├─ http ──► http1, http2, tls ┐        said   question and connection in one
//!                 ├─ grpc ──► http2, tls ───────┤
//!                 ├─ tls ──► tls ───────────────┤
//!                 ├─ tcp, udp, dns, icmp ───────┴► asking ─► resolve   names and sockets, bounded
//!                 ├─ exec ──► capture                                  process groups, bounded
//!                 ├─ file, process ──► looks                           files that may hang, bounded
//!                 ├─ listener, interface ──► netlink                   the kernel is asked
//!                 └─ systemd ──► dbus                                  systemd is asked
//!                        ▲
//!                        └── bells ◄── hub                             the kernel, or systemd, tells: ask now
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
//! | a lookup | nobody: it ends by itself | when the resolver answers |
//! | a look at a file, also on the way to a socket | nobody: it ends by itself | when the file system answers |
//! | reading certificates, looking up users | nobody: it ends by itself | when the file system or the directory answers |
//! | the hub of a kind | every check of that kind | dropped with the last of them |
//! | a program's supervisor | nobody; a `Drained` knows whether there is one | when every process of it is reaped |
//!
//! **Cancel safety.** Dropping a check's task drops its probe, and with that its sockets. What cannot be dropped (a blocking
//! lookup, a look at a file, a child process) belongs to the other tasks, which free it by themselves. A dropped probe has
//! no result: nothing is reported that nobody saw.
//!
//! To add a kind of check: a variant of [`CheckKind`](vipcast_node::model::CheckKind), a file here with a
//! `probe` that says in words what it saw, an arm in `probe::Prober::ask`, and a reader in `config::checks`. A kind that
//! learns of a change by itself has an arm in `probe::Prober::changed`, too.

mod asking;
mod bells;
mod capture;
mod dbus;
#[cfg(test)]
mod dead_mount;
mod dns;
mod exec;
mod file;
mod grpc;
mod http;
mod http1;
mod http2;
mod icmp;
mod interface;
mod lanes;
pub mod lateness;
mod limit;
mod listener;
mod looks;
mod netlink;
pub mod once;
mod owners;
mod pattern;
mod pool;
mod probe;
mod process;
mod proxy;
mod remembered;
mod resolve;
pub mod runner;
mod said;
mod search;
mod shown_url;
mod stream;
mod systemd;
mod tcp;
pub mod telling;
mod tls;
mod turn;
mod udp;
mod words;
