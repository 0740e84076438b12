//! The vipcast daemon: announces service addresses (VIPs) over BGP for exactly as long as the service behind them is
//! healthy. This page is the architecture.
//!
//! # One idea
//!
//! Everything that happens is an [`Event`](vipcast_node::engine::Event). The [`Engine`](vipcast_node::engine::Engine) folds it into
//! [`Facts`](vipcast_node::engine::Facts), decides again about the services it touches, and plans the [`Effect`](vipcast_node::effect::Effect)s that
//! lead from what is so to what should be. The engine is pure: time is an argument, and it owns no socket, task or clock.
//!
//! ```text
//!  check::runner ──┐                                                 ┌─► vip      bind, unbind
//!  peers ──────────┤  Event ─► fold ─► Facts ─► decide ─► Verdict    ├─► peers    advertise the whole set
//!  vip (netlink) ──┤                             set (media)         ├─► control  status, explain
//!  control ────────┤                           Desired ─► plan ──────┼─► journal  one line a transition
//!  signals ────────┘                              ▲                  └─► state    drains that survive
//!                                              Actual (what was set in motion)
//! ```
//!
//! Reload, drain, drift, adoption after a crash and shutdown are facts like any other; none has a path of its own.
//! The same shape holds for every machine here: [`vipcast_node::engine::Engine`], [`vipcast_node::health::Health`] and
//! [`vipcast_bgp::fsm::Peer`] all have `handle(input, now) -> Vec<output>` and `deadline()`.
//!
//! # Threads
//!
//! | thread | runs | why |
//! | --- | --- | --- |
//! | main | [`daemon`]: engine, BGP sessions, netlink, control socket | one current-thread runtime, so no locks |
//! | probes | [`check::runner`] | a thousand TLS handshakes or a stuck resolver cannot delay a KEEPALIVE |
//! | bfd | [`bfd`], while a peer has it | load must not look like a dead host |
//! | netlink | [`vip`]: requests | a request waits for whoever configures the network just then |
//! | addresses | [`vip`]: notifications | that an address is gone is known at once, whatever is asked meanwhile |
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
//! | a configuration key | [`config`]: its place in `places.rs`, its reader, its field in [`vipcast_node::model`] |
//! | the text of a configuration error | the reader of its section; [`config::diagnostic`] renders it |
//! | what is looked at on the host, and what follows when it is missing | [`config::Host`], `config::host`, `config::files` |
//! | a kind of check | [`check`]: a variant of [`vipcast_node::model::CheckKind`], a file, an arm in `probe`; its reader in `config::checks` |
//! | whom a name is looked up for, and how long its addresses are used | `check::resolve`, `check::owners` |
//! | what an `http` check takes for an answer | `check::http1`; HTTP/2 in `check::http2` |
//! | rise, fall, intervals, damping | [`vipcast_node::health`] |
//! | latency and error limits | `check::judgement` |
//! | how a check hears of a change | `check::bells`, and the hub of its kind |
//! | what an event changes | `engine::fold` |
//! | when a VIP is announced, and why not | `engine::decide`, [`vipcast_node::engine::Reason`] |
//! | what follows from a decision: routes, addresses, records | `engine::set` |
//! | what a verdict means to BGP routers: attributes, GRACEFUL_SHUTDOWN | [`vipcast_node::media::bgp`] |
//! | when a VIP is called announced, and what is said when no router has it | [`vipcast_node::engine::reach`] |
//! | the order of bind, announce, withdraw, unbind | `engine::plan`, and nowhere else |
//! | what holds a condition, and what degraded means for it | `engine::condition` |
//! | what follows when a service is healthy again | `engine::recovery` |
//! | what SIGTERM does | `engine::shutdown` |
//! | a restart that the routers wait for | `engine::restart`; [`restart`] for the change of process |
//! | how addresses are put on the host, and what is believed of it | [`vip`] |
//! | what an address or interface of the kernel means | `engine::kernel` (folding), `engine::address` (usable or not) |
//! | who keeps taking an address away | `engine::contest` |
//! | that one daemon runs in a network namespace | [`vip::namespace`] |
//! | a BGP message, a timer, a collision | the crate [`vipcast_bgp`] |
//! | which address is a next hop | [`vipcast_bgp::host`] |
//! | which peers run, and what is logged of them | [`peers`] |
//! | how a router that is known by its link is found | [`discovery`] |
//! | what is said of other routing daemons on the host | [`exporters`] |
//! | the hint for a session that is down | [`vipcast_bgp::fsm`], its `hint` |
//! | what BFD means for a peer | [`bfd`]; the protocol is in [`vipcast_bgp::bfd`] |
//! | a log line | [`journal`] for what the engine records, [`log`] for its form |
//! | who may connect to the control socket, how often and how long | `control::crowd`; its file is made in `control::socket` and kept there by `control::upkeep` |
//! | an answer of the control socket | [`control::api`] (types), [`control::view`] (facts to answers) |
//! | what a signal does | [`signals`] |
//! | a command | [`cli`]: one file each |
//! | who is behind a command | `control::caller` |
//! | what may hang, and on which thread | [`blocking`]; for checks `check::looks` (paths), `check::remembered` (certificates, users), `check::netlink` |
//! | how many of one service may hang before the next waits | `check::lanes` |
//! | which addresses the host has, for whom only asks | [`vip`], its `here` |
//! | a state directory that answers late, or is mounted over | [`state`], its `store`; `engine::late` merges |
//! | how a URL is shown without what may be a secret | `check::shown_url` |
//! | what a reload keeps until new checks have settled | `engine::kept` |
//! | what a drain does, and which of two holds | `engine::drains` |
//! | what must survive a restart | [`state`] |

pub mod bfd;
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
pub mod peers;
pub mod restart;
pub mod signals;
pub mod state;
pub mod version;
pub mod vip;
