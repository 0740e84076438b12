//! What a node wants done. Ports do it, and decide nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use vipcast_bgp::wire::Family;

use crate::engine::{Address, Advertised, Drains, HeldBack};
use crate::model::Config;

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Run exactly the checks and peers of this configuration.
    Configure {
        /// It.
        config: Arc<Config>,
        /// While a restart lasts, the families whose VIPs stayed bound.
        restarted: Option<BTreeSet<Family>>,
    },
    /// Put the address on the host.
    Bind(Address),
    /// Give every peer this set.
    Advertise(Advertised),
    /// Take the address off the host.
    Unbind(Address),
    /// Keep these drains across a restart.
    SaveDrains(Arc<Drains>),
    /// Keep it across a restart which VIPs are held back.
    SaveHeldBack(Arc<HeldBack>),
    /// Close every session with Cease / Administrative Shutdown; answer with
    /// [`Event::PeersStopped`](crate::engine::Event::PeersStopped).
    StopPeers,
    /// End the process.
    Exit,
}
