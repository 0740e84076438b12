//! Whole vipcast nodes in one deterministic world: routers that are real BGP peers with a model of a RIB, wires, kernels, disks,
//! services and clocks as models. All randomness follows from one seed, so a run can be repeated from its seed.
//!
//! ```text
//!                    schedule (faults, operators) ── from the seed, made before anything begins
//!                                │
//!  ┌── host ─────────────┐       ▼            ┌── router ────────┐
//!  │ kernel  disk  probe │   ┌────────┐       │ fsm::Peer a node │
//!  │   └──────┼──────┘   │◄─►│ world  │◄─────►│ rib              │
//!  │      Node           │   │ agenda │ wires └──────────────────┘
//!  │   fsm::Peer a router│   └────────┘
//!  └─────────────────────┘       │ after every step
//!                                ▼
//!                    truth: the expected state ── rules: the comparison
//! ```
//!
//! | to change | look at |
//! | --- | --- |
//! | the possible actions | [`action`], [`act`](world::World::act), [`schedule`] |
//! | the invariants | [`rules`], [`truth`] |
//! | the configurations of nodes | [`shape`] |
//! | the behaviour of a port | [`kernel`], [`disk`], [`probe`], [`net`] |
//! | the handling of a node's inputs and effects | [`host`], [`checks`] |
//! | the hand-over to the next program | [`handover`] |
//! | a bug that must be found | [`bug`] |
//!
//! `cargo run --profile sim -p vipcast-sim -- seeds 1000` runs seeds; `-- replay FILE` runs a [`scenario`].

pub mod act;
pub mod action;
pub mod agenda;
pub mod bug;
pub mod checks;
pub mod disk;
pub mod handover;
pub mod host;
pub mod kernel;
pub mod net;
pub mod orders;
pub mod probe;
pub mod rib;
pub mod rng;
pub mod router;
pub mod rules;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod shape;
pub mod trace;
pub mod truth;
pub mod words;
pub mod world;
