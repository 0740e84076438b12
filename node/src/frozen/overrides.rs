//! The frozen form of operators' overrides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vipcast_bgp::Instant;

use crate::engine;
use crate::names::{PeerName, ServiceName};

/// An override, with its operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// The operator.
    pub by: String,
    /// The operator's reason.
    pub reason: Option<String>,
    /// The begin, on the wall clock.
    pub since: Timestamp,
    /// The end.
    pub ends: Option<Ends>,
}

/// The end of an override.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ends {
    /// On the wall clock.
    pub wall: Timestamp,
    /// On the monotonic clock.
    pub at: Instant,
    /// The latest end of an override from before a reboot.
    pub at_most: Option<Instant>,
}

/// The overrides of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scoped {
    /// The override of everything, and the services for which it was lifted one by one.
    pub everything: Option<(Override, BTreeSet<ServiceName>)>,
    /// Those of services.
    pub services: BTreeMap<ServiceName, Override>,
}

/// All overrides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overrides {
    /// Drains of services.
    pub drains: Scoped,
    /// Services that are forced up.
    pub up: Scoped,
    /// Services that are forced down.
    pub down: Scoped,
    /// Drains of peers.
    pub peers: BTreeMap<PeerName, Override>,
    /// Promotions that wait.
    pub promotions: BTreeMap<ServiceName, Override>,
}

impl From<&engine::Override> for Override {
    fn from(of: &engine::Override) -> Self {
        let engine::Override { order: engine::Order { by, reason }, since, ends } = of;
        let ends = ends.map(|engine::Ends { wall, at, at_most }| Ends { wall, at, at_most });
        Self { by: by.clone(), reason: reason.clone(), since: *since, ends }
    }
}

impl From<&Override> for engine::Override {
    fn from(frozen: &Override) -> Self {
        let Override { by, reason, since, ends } = frozen;
        let ends = ends.map(|Ends { wall, at, at_most }| engine::Ends { wall, at, at_most });
        let order = engine::Order { by: by.clone(), reason: reason.clone() };
        Self { order, since: *since, ends }
    }
}

impl From<&engine::Scoped> for Scoped {
    fn from(of: &engine::Scoped) -> Self {
        let engine::Scoped { everything, services } = of;
        Self {
            everything: everything
                .as_ref()
                .map(|engine::Everything { common, except }| ((&**common).into(), except.clone())),
            services: freeze_all(services),
        }
    }
}

impl From<&Scoped> for engine::Scoped {
    fn from(frozen: &Scoped) -> Self {
        let everything = frozen.everything.as_ref();
        Self {
            everything: everything.map(|(common, except)| engine::Everything {
                common: Arc::new(common.into()),
                except: except.clone(),
            }),
            services: thaw_all(&frozen.services),
        }
    }
}

impl From<&engine::Overrides> for Overrides {
    fn from(of: &engine::Overrides) -> Self {
        let engine::Overrides { drains, forces: engine::Forces { up, down }, peers, promotions } = of;
        Self {
            drains: drains.into(),
            up: up.into(),
            down: down.into(),
            peers: freeze_all(peers),
            promotions: freeze_all(promotions),
        }
    }
}

impl From<&Overrides> for engine::Overrides {
    fn from(frozen: &Overrides) -> Self {
        let Overrides { drains, up, down, peers, promotions } = frozen;
        Self {
            drains: drains.into(),
            forces: engine::Forces { up: up.into(), down: down.into() },
            peers: thaw_all(peers),
            promotions: thaw_all(promotions),
        }
    }
}

fn freeze_all<Name: Ord + Clone>(all: &BTreeMap<Name, Arc<engine::Override>>) -> BTreeMap<Name, Override> {
    all.iter().map(|(name, one)| (name.clone(), (&**one).into())).collect()
}

fn thaw_all<Name: Ord + Clone>(all: &BTreeMap<Name, Override>) -> BTreeMap<Name, Arc<engine::Override>> {
    all.iter().map(|(name, one)| (name.clone(), Arc::new(one.into()))).collect()
}
