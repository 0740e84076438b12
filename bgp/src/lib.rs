//! wip
pub mod adj_rib_out;
pub mod fsm;
#[cfg(feature = "net")]
pub mod net;
mod route;
pub mod wire;

pub use fsm::{ConnectMode, HoldTime, PeerConfig, PeerEvent, PeerStatus, Session, State, Version};
pub use route::{NextHops, RouteAttributes, Routes, family_of};
