//! The vipcast daemon: announces service addresses (VIPs) over BGP for exactly as long as the service behind them is
//! healthy. This page is the architecture.
//!
//! # One idea
//!
//! A node is a value. Ports say what they see as [`Input`](vipcast_node::input::Input)s; the
//! [`Node`](vipcast_node::node::Node) decides; what it wants comes out as [`Effect`](vipcast_node::effect::Effect)s, and what
//! happened as [`Record`](vipcast_node::record::Record)s. The node is pure, and a crate of its own: time, chance and order are
//! handed in, and the compiler sees to it that it has no socket, task, thread, file or clock. The ports are in this crate, and
//! decide nothing.
//!
//! ```text
//!  check::runner ──┐                                                          ┌─► vip       bind, unbind
//!  speaker ────────┤         ┌──────────── vipcast_node ────────────┐         ├─► speaker   sessions, BFD, keys
//!  vip (netlink) ──┤         │ commands ─┐                          │ effects ├─► check     which checks run
//!  control ────────┼─ Input ─► jobs      ├─► Event ─► Engine        ├─────────┼─► state     what survives
//!  signals ────────┤   Now   │ peers ────┘   fold ─► decide         │         ├─► control   answers
//!  state ──────────┤         │               ─► set ─► plan         │ records │
//!  daemon (jobs) ──┘         └──────────────────────────────────────┴─────────┴─► journal ─► log
//! ```
//!
//! Within the engine an event is folded into facts; the services that it touches are decided again; a
//! [`Verdict`](vipcast_node::engine::Verdict) says whether and how well a VIP is served here, and a medium
//! ([`vipcast_node::media`]) what that means to routers; the plan leads from what is so to what should be, and alone knows the
//! order. Reload, drain, drift, adoption after a crash and shutdown are facts like any other; none has a path of its own.
//!
//! The same shape holds for every machine here: [`vipcast_node::node::Node`], [`vipcast_node::health::Health`],
//! [`vipcast_bgp::fsm::Peer`] and [`vipcast_bgp::bfd::Session`] all have `handle(input, now)` and `deadline()`. `tests/sim` puts
//! many of each into one world, with clocks, wires, kernels and disks of its own, and everything that happens follows from one
//! seed.
//!
//! # Threads
//!
//! | thread | runs | why |
//! | --- | --- | --- |
//! | main | [`daemon`]: the node, BGP sessions, netlink | one current-thread runtime, so no locks |
//! | probes | [`check::runner`] | a thousand TLS handshakes or a stuck resolver cannot delay a KEEPALIVE |
//! | api | [`control::server`]: clients of the control socket, and what they are answered | a thousand clients cost the loop a snapshot now and then |
//! | bfd | [`vipcast_bgp::net::bfd`], while a peer has it | load must not look like a dead host |
//! | netlink | [`vip`]: requests | a request waits for whoever configures the network just then |
//! | addresses | [`vip`]: notifications | that an address or a route is gone is known at once, whatever is asked meanwhile |
//! | journal | [`journal`]: what happened, put into words | a thousand lines hold up no withdrawal |
//! | state | [`state`]: what is saved | a disk that hangs costs what is not saved, and nothing else |
//! | note | [`vip`], on kernels before 5.18: which addresses are ours | the same |
//! | log | [`log`] | stderr may take its time, or never take a line again |
//! | lookout | [`vipcast_bgp::net`]: what the sessions know of the host's addresses | a burst of foreign ones costs no session |
//!
//! They meet only through channels.
//!
//! # Where to change what
//!
//! | to change … | see |
//! | --- | --- |
//! | a configuration key | [`config::keys`]: an item of a `section!`; its reader in [`config`], its field in [`vipcast_node::model`] |
//! | the text of a configuration error | the reader of its section; [`config::diagnostic`] renders it |
//! | what is looked at on the host, and what follows when it is missing | [`config::Host`], `config::host`, `config::files` |
//! | a kind of check | [`check`]: a folder of `check::kinds` and its line there |
//! | whom a name is looked up for, and how long its addresses are used | `check::resolve`, `check::owners` |
//! | what an `http` check takes for an answer | `check::kinds::http`; HTTP/2 in `check::http2` |
//! | rise, fall, intervals, damping | [`vipcast_node::health`] |
//! | latency and error limits | `judgement` in [`vipcast_node::health`] |
//! | what of a result is told at once, and what when somebody asks | [`check::telling`] |
//! | how a check hears of a change | `check::subscriptions`, and the monitor of its kind |
//! | what an event changes | `fold` in [`vipcast_node::engine`] |
//! | when a VIP is announced, and why not | `decide` in [`vipcast_node::engine`], [`vipcast_node::engine::Reason`] |
//! | what a verdict means to routers | [`vipcast_node::media`] |
//! | the fact behind a reason, in the log, `explain` and the API | `engine::cause` |
//! | when a VIP is called announced, and what is said when no router has it | [`vipcast_node::engine::reach`] |
//! | how one of thousands is found | [`vipcast_node::table`]; `bindings` in [`vipcast_node::engine`]; routes in [`vipcast_bgp::PrefixMap`] |
//! | the order of bind, announce, withdraw, unbind | `plan` in [`vipcast_node::engine`], and nowhere else |
//! | what holds a condition, and what degraded means for it | `condition` in [`vipcast_node::engine`] |
//! | what follows when a service is healthy again | `recovery` in [`vipcast_node::engine`] |
//! | what SIGTERM does | `shutdown` in [`vipcast_node::engine`] |
//! | a restart that the routers wait for | `restart` in [`vipcast_node::engine`]; [`vipcast_node::handover`] for what has to be ready, [`restart`] for the change of process |
//! | how addresses and local routes are put on the host, and what is believed of it | [`vip`] |
//! | what carries a VIP, and what of someone else's does as well | `binding` in [`vipcast_node::engine`] |
//! | what an address, route or interface of the kernel means | `kernel` (folding) and `binding` (usable or not) in [`vipcast_node::engine`] |
//! | who keeps taking an address or a route away | `contest` in [`vipcast_node::engine`] |
//! | that one daemon runs in a network namespace | [`vip::namespace`] |
//! | a BGP message, a timer, a collision | the crate [`vipcast_bgp`] |
//! | which address is a next hop | [`vipcast_bgp::host`] |
//! | which peers run | [`vipcast_node::peers`]; [`speaker`] runs them |
//! | which of several routers on a link is the peer | `unnumbered` in [`vipcast_node::peers`]; [`discovery`] hears them |
//! | what is said of other routing daemons on the host | [`exporters`] |
//! | the hint for a session that is down | [`vipcast_bgp::fsm`], its `hint`; [`vipcast_bgp::transport`] |
//! | what BFD means for a peer | [`vipcast_node::liveness`]; the protocol is in [`vipcast_bgp::bfd`] |
//! | what ports notice, and nothing follows from | [`vipcast_node::notice`], and its line in [`journal`], its `notices`; of the speaker [`vipcast_bgp::Notice`] |
//! | what a port logs of itself alone: a file, a socket, a thread | [`log`], its `door` |
//! | what is told of all that happens | [`vipcast_node::record`]: a variant of [`What`](vipcast_node::record::What), and its line in [`journal`] |
//! | how often a line may be repeated | [`journal`], its `sessions` |
//! | the form of a log line | [`log`] |
//! | who may connect to the control socket, how often and how long | `control::crowd`; its file is made in `control::socket` and kept there by `control::upkeep` |
//! | a route of the control socket | [`control::routes`]: a row and its handler; the OpenAPI document is made from it ([`control::openapi`]) |
//! | an answer of the control socket | [`control::api`] (types), [`control::view`] (facts to answers) |
//! | what a question costs the loop, and who shares an answer | [`control::snapshot`], `control::board` |
//! | what a signal does | [`signals`] |
//! | a command | [`cli`]: one file each; [`vipcast_node::commands`] for what it does; `tests/run --write` for its pages and completions |
//! | what of a command takes time | [`vipcast_node::jobs`] |
//! | what a reload changes, and what it cannot | [`vipcast_node::reload`] |
//! | who is behind a command | `control::caller` |
//! | what may hang, and on which thread | [`blocking`]; for checks `check::file_reader` (paths), `check::remembered` (certificates, users), `check::netlink` |
//! | how many of one service may hang before the next waits | `check::lanes` |
//! | which addresses the host has, for whom only asks | [`vip`], its `here` |
//! | a state directory that answers late, or is mounted over | [`state`], its `store`; `late` in [`vipcast_node::engine`] merges |
//! | how a URL is shown without what may be a secret | `check::kinds::http::shown_url` |
//! | what a reload keeps until new checks have settled | `kept` in [`vipcast_node::engine`] |
//! | what a drain does, and which of two holds | `drains` in [`vipcast_node::engine`] |
//! | what must survive a restart | [`state`] |
//! | what of the memory goes back when a configuration is in force | [`memory`] |

pub mod blocking;
pub mod check;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod discovery;
pub mod exporters;
pub mod journal;
pub mod log;
pub mod memory;
pub mod restart;
pub mod signals;
pub mod speaker;
pub mod state;
pub mod version;
pub mod vip;
