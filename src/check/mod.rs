//! Health checks: from the definition of a check to the reports that the engine decides on.
//!
//! ```text
//!   config::model::Check
//!          │ Runner::set
//!          ▼
//!      [runner]  thread "probes", one task per check
//!          │
//!          ├──► [health]  pure: when to probe, and what the results make of the state
//!          │
//!          └──► [probe]   one question, one answer, one time-out
//!                 ├─ http, grpc ► tls ─┐                  http2 between them where it is spoken
//!                 ├─ tcp ── tls ───┴──► asking ──► resolve    names, sockets, bounded
//!                 └─ exec ──► capture                         process groups, bounded
//!          │
//!          ▼ mpsc
//!      CheckReport ──► engine
//! ```
//!
//! **Tasks**, all on the thread `probes`:
//!
//! | task | owned by | ends |
//! | --- | --- | --- |
//! | `keep_running` | [`runner::Runner`] | when the runner is dropped; it waits for the supervisors |
//! | one per check | `keep_running` | aborted when the check is removed or changed |
//! | a lookup | nobody: it ends by itself | when the resolver answers |
//! | loading certificates | nobody: it ends by itself | when the files are read |
//! | a program's supervisor | nobody; a `Drained` knows whether there is one | when every process of it is reaped |
//!
//! **Cancel safety.** Dropping a check's task drops its probe, and with that its sockets. What cannot be dropped (a blocking
//! lookup, a child process) belongs to the other tasks, which free it by themselves. A dropped probe has no result: nothing
//! is reported that nobody saw.
//!
//! To add a kind of check: a variant of [`CheckKind`](crate::config::model::CheckKind), a file here with a
//! `probe` that says in words what it saw, an arm in `probe::Prober::ask`, and a reader in `config::checks`. A kind that
//! learns of a change by itself has an arm in `probe::Prober::changed`, too.

mod asking;
mod capture;
mod exec;
mod grpc;
pub mod health;
mod http;
mod http2;
mod limit;
pub mod once;
mod pattern;
mod probe;
pub mod report;
mod resolve;
pub mod runner;
mod tcp;
mod tls;
mod words;
