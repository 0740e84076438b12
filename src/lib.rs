//! The vipcast daemon: announces service addresses (VIPs) over BGP for exactly as long as the service behind them is
//! healthy. This page is the architecture.
//!
//! # One idea
//!
//! A node is a value. Ports report facts as [`Input`](vipcast_node::input::Input)s; the
//! [`Node`](vipcast_node::node::Node) decides, and returns [`Effect`](vipcast_node::effect::Effect)s for the ports and
//! [`Record`](vipcast_node::record::Record)s for the log. The node is pure, and in its own crate: time, randomness and
//! order are arguments, and the compiler ensures that it has no socket, task, thread, file or clock. The ports are in
//! this crate, and decide nothing.
//!
//! ```text
//!  check::runner ──┐                                                          ┌─► vip       bind, unbind
//!  speaker ────────┤         ┌──────────── vipcast_node ────────────┐         ├─► speaker   sessions, BFD, keys
//!  vip (netlink) ──┤         │ commands ─┐                          │ effects ├─► check     running checks
//!  control ────────┼─ Input ─► jobs      ├─► Event ─► Engine        ├─────────┼─► state     saved state
//!  signals ────────┤   Now   │ peers ────┘   fold ─► decide         │         ├─► control   answers
//!  state ──────────┤         │               ─► set ─► plan         │ records │
//!  daemon (jobs) ──┘         └──────────────────────────────────────┴─────────┴─► journal ─► log, events
//! ```
//!
//! The engine folds an event into facts and decides again about the touched services. A
//! [`Verdict`](vipcast_node::engine::Verdict) says whether and how well a VIP is served here, and a medium
//! ([`vipcast_node::media`]) translates it for routers. The plan leads from the actual to the desired state, and only
//! the plan knows the order. Reload, drain, drift, adoption after a crash and shutdown are facts like any other; none
//! has a separate code path.
//!
//! All machines have the same shape: [`vipcast_node::node::Node`], [`vipcast_node::health::Health`],
//! [`vipcast_bgp::fsm::Peer`] and [`vipcast_bgp::bfd::Session`] have `handle(input, now)` and `deadline()`. `tests/sim`
//! puts many of each into one simulated world of clocks, wires, kernels and disks, where everything follows from one
//! seed.
//!
//! # Threads
//!
//! | thread | runs | why |
//! | --- | --- | --- |
//! | main | [`daemon`]: the node, BGP sessions, netlink | one current-thread runtime, so no locks |
//! | probes | [`check::runner`] | a thousand TLS handshakes or a stuck resolver cannot delay a KEEPALIVE |
//! | api | [`control::server`]: clients of the control socket, and their answers | a thousand clients cost the loop a snapshot now and then |
//! | bfd | [`vipcast_bgp::net::bfd`], while a peer has it | load must not look like a dead host |
//! | drain-file | `drain_file`, while it is configured | a mount that hangs delays no withdrawal |
//! | logind | `logind`, unless the daemon only observes | a bus that hangs delays nothing |
//! | netlink | [`vip`]: requests | a request waits while another program configures the network |
//! | addresses | [`vip`]: notifications | a lost address or route is known at once, even during a slow request |
//! | events | `events::file`, while it is on | a disk that hangs only costs events in the file |
//! | hooks | `hooks`, with the first of them | a program or a receiver that hangs delays no check and no VIP |
//! | journal | [`journal`]: log lines and [`events`] of records | a thousand lines delay no withdrawal |
//! | state | [`state`]: saved state | a disk that hangs only costs unsaved state |
//! | note | [`vip`], on kernels before 5.18: the note of our addresses | the same |
//! | log | [`log`] | stderr may take its time, or never take a line again |
//! | lookout | [`vipcast_bgp::net`]: the host's addresses for the sessions | a burst of foreign addresses delays no session |
//!
//! They meet only through channels.
//!
//! # Where to make a change
//!
//! | to change … | see |
//! | --- | --- |
//! | a configuration key | [`config::keys`]: an item of a `section!`; its reader in [`config`], its field in [`vipcast_node::model`] |
//! | variables in the configuration (`${NAME}`) | `config::variables` |
//! | the text of a configuration error | the reader of its section; [`config::diagnostic`] renders it |
//! | the checks of users, files and programs on the host | [`config::Host`], `config::host`, `config::files` |
//! | a kind of check | [`check`]: a folder of `check::kinds` and its line there |
//! | name look-ups, their isolation by service, the use of old addresses | `check::resolve`, `check::owners` |
//! | the answers that an `http` check accepts | `check::kinds::http`; HTTP/2 in `check::http2` |
//! | rise, fall, intervals, damping | [`vipcast_node::health`] |
//! | latency and error limits | `judgement` in [`vipcast_node::health`] |
//! | the reports of a check: at once, or on demand | [`check::telling`] |
//! | events that trigger a check | `check::subscriptions`, and the monitor of its kind |
//! | the effect of an event on the facts | `fold` in [`vipcast_node::engine`] |
//! | the verdict about a VIP, and its reason | `decide` in [`vipcast_node::engine`], [`vipcast_node::engine::Reason`] |
//! | the route for a verdict | [`vipcast_node::media`] |
//! | the fact behind a reason, in the log, `explain` and the API | `engine::cause` |
//! | the state `announced` or `ready` of a VIP | [`vipcast_node::engine::reach`] |
//! | look-ups among thousands of entries | [`vipcast_node::table`]; `bindings` in [`vipcast_node::engine`]; routes in [`vipcast_bgp::PrefixMap`] |
//! | the order of bind, announce, withdraw, unbind | `plan` in [`vipcast_node::engine`], and nowhere else |
//! | the condition of a service, and degraded checks in it | `condition` in [`vipcast_node::engine`] |
//! | `warm_up` and `preempt` | `recovery` in [`vipcast_node::engine`] |
//! | SIGTERM | `shutdown` in [`vipcast_node::engine`] |
//! | a graceful restart | `restart` in [`vipcast_node::engine`]; [`vipcast_node::handover`] for the preparations, [`restart`] for the change of process |
//! | an upgrade | [`vipcast_node::handover`] for the conditions; `daemon::handing` for the order, `daemon::begin` for the next program, `handover` for the form and the change of process |
//! | the frozen form of a machine | [`vipcast_bgp::frozen`], [`vipcast_node::frozen`]; of the daemon `handover::form` |
//! | adding and removing addresses and local routes | [`vip`] |
//! | the binding of a VIP, and sufficient bindings of other programs | `binding` in [`vipcast_node::engine`] |
//! | the effect of the kernel's events about addresses, routes and interfaces | `kernel` (folding) and `binding` (usable or not) in [`vipcast_node::engine`] |
//! | an address or a route that another program keeps removing | `contest` in [`vipcast_node::engine`] |
//! | a daemon that only observes | [`vipcast_node::observe`] |
//! | the lock for one daemon in a network namespace | [`vip::namespace`] |
//! | a BGP message, a timer, a collision | the crate [`vipcast_bgp`] |
//! | the choice of a next hop | [`vipcast_bgp::host`] |
//! | attributes that differ by peer, such as its MED | `Egress` in [`vipcast_bgp`]; [`Tuning`](vipcast_bgp::fsm::Tuning) for a change under a session |
//! | the running peers | [`vipcast_node::peers`]; [`speaker`] runs them |
//! | the choice among several routers on a link | `unnumbered` in [`vipcast_node::peers`]; [`discovery`] hears them |
//! | warnings about other routing daemons on the host | [`exporters`] |
//! | the hint for a session that is down | [`vipcast_bgp::fsm`], its `hint`; [`vipcast_bgp::transport`] |
//! | the effect of BFD on a peer | [`vipcast_node::liveness`]; the protocol is in [`vipcast_bgp::bfd`] |
//! | a notice of a port | [`vipcast_node::notice`], and its line in [`journal`], its `notices`; of the speaker [`vipcast_bgp::Notice`] |
//! | a log line about a port's own trouble: a file, a socket, a thread | [`log`], its `door` |
//! | a record of an event | [`vipcast_node::record`]: a variant of [`What`](vipcast_node::record::What), and its line in [`journal`] |
//! | the form of an event, the memory for them | [`events`]; its kind in `told!` of [`journal`] |
//! | the file of events | `events::file`; its rotation in `events::file::rotated` |
//! | a hook: its events, its program, its request | `hooks`: `definition`, `worker`; its position among the events in `place`, its counts in `deliveries`; what it takes from the checks is in `check::lent` |
//! | the signature of a webhook | `hooks::signature` |
//! | the stream of events | `events::stream` (daemon), `control::sse` (client) |
//! | the limit on repeated lines | [`journal`], its `sessions` |
//! | the form of a log line | [`log`] |
//! | the limits on clients of the control socket | `control::crowd`; its file is made in `control::socket` and kept there by `control::upkeep` |
//! | a route of the control socket | [`control::routes`]: a row and its handler; the OpenAPI document is made from it ([`control::openapi`]) |
//! | a metric | [`metrics`]: a family in `metrics::families`; counts of records in `metrics::counts`, of results in `check::tally` |
//! | the status page | `control/page.html` |
//! | the sockets of the API over TCP, and what each offers | `control::listener`; `Door` in [`control::routes`] |
//! | an answer of the control socket | [`control::api`] (types), [`control::view`] (facts to answers) |
//! | the loop's cost of a query, and shared answers | [`control::snapshot`], `control::board` |
//! | the effect of a signal | [`signals`] |
//! | the live screen | `cli::top`: `rows` for what a pane says, `draw` for how it looks |
//! | a command | [`cli`]: one file each; [`vipcast_node::commands`] for what it does; `tests/run --write` for its pages and completions |
//! | the router's side of a configuration | [`recipe`]: a file for each kind of router |
//! | the translation of another program's configuration | [`import`]: a file each |
//! | a finding of `vipcast doctor` | [`doctor::finding`]: its row; [`doctor::examine`] finds it; its section in `docs/doctor.md` |
//! | the facts that the doctor has | [`doctor::gathered`], and its step in [`doctor::gather`] |
//! | a command that takes time | [`vipcast_node::jobs`] |
//! | the keys that a reload can and cannot change | [`vipcast_node::reload`] |
//! | the effects that `reload --dry-run` names | [`vipcast_node::preview`] |
//! | the identity of a command's caller | `control::caller` |
//! | work that may hang, and its thread | [`blocking`]; for checks `check::file_reader` (paths), `check::remembered` (certificates, users), `check::netlink` |
//! | the limit on hanging work of one service | `check::lanes` |
//! | the host's addresses for the checks | [`vip`], its `here` |
//! | a state directory that answers late, or is mounted over | [`state`], its `store`; `late` in [`vipcast_node::engine`] merges |
//! | the display of a URL without secrets | `check::kinds::http::shown_url` |
//! | verdicts that a reload keeps until new checks have settled | `kept` in [`vipcast_node::engine`] |
//! | drains, and two drains of one service | `drains` in [`vipcast_node::engine`] |
//! | drains from outside: the drain file, a machine that goes down | `cordons` in [`vipcast_node::engine`]; the file is watched in `drain_file`, the machine in `logind` |
//! | drains of a peer | `peer_drains` in [`vipcast_node::engine`]; [`vipcast_bgp::Export`] of its session |
//! | the state that goes to the next program in a hand-over | [`vipcast_node::frozen`], and the `frozen` module of each part; [`vipcast_bgp::frozen`] for sessions |
//! | `force-up` and `force-down` | `forces` in [`vipcast_node::engine`] |
//! | the scope and the end of an operator's override | `overrides` in [`vipcast_node::engine`] |
//! | state that survives a restart | [`state`] |
//! | memory that goes back to the system after a reload | [`memory`] |

pub mod blocking;
pub mod check;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub(crate) mod dbus;
pub mod discovery;
pub mod doctor;
pub(crate) mod drain_file;
pub mod events;
pub mod exporters;
pub(crate) mod handover;
pub(crate) mod hooks;
pub mod import;
pub mod journal;
pub mod log;
pub(crate) mod logind;
pub mod memory;
pub mod metrics;
pub mod recipe;
pub mod restart;
pub mod signals;
pub mod speaker;
pub mod state;
pub mod version;
pub mod vip;
