//! The frozen form of a speaker: its peers with their sockets, and its listeners.
//!
//! A socket is a number of the caller's table of descriptors. The form has no key: the kernel keeps those on the sockets,
//! and the caller reads them anew.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::octets::Octets;
use super::route::{Attributes, Socket};
use super::{Error, agree};
use crate::fsm;
use crate::route::{RouteAttributes, Routes};
use crate::time::Instant;

/// A frozen speaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    /// Version 1.
    V1(V1),
}

impl Speaker {
    /// Whether it has a peer with this number.
    pub fn has(&self, id: u64) -> bool {
        let Self::V1(this) = self;
        this.peers.iter().any(|peer| peer.id == id)
    }
}

/// Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct V1 {
    /// The desired sets of the peers, each once.
    pub sets: Vec<Set>,
    /// The watched prefixes of the peers, each set once.
    pub watched: Vec<BTreeSet<IpNet>>,
    /// The peers.
    pub peers: Vec<Peer>,
    /// The listening sockets.
    pub listeners: Vec<Listener>,
    /// The addresses that are not available yet.
    pub waiting: Vec<Waiting>,
}

/// A desired set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// The attributes; routes with equal ones share them.
    pub attributes: Vec<Attributes>,
    /// Prefixes with the index of their attributes.
    pub routes: Vec<(IpNet, u32)>,
}

/// A peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// The caller's number of it.
    pub id: u64,
    /// Its address.
    pub ip: IpAddr,
    /// The interface of its packets.
    pub interface: Option<String>,
    /// The kind of key that the listeners and its connections have.
    pub key: Key,
    /// A listener lacks the key, so its connections are closed.
    pub shut: bool,
    /// Its desired set, an index into [`V1::sets`].
    pub routes: u32,
    /// Its watched prefixes, an index into [`V1::watched`].
    pub watched: u32,
    /// The state of BFD with it, as the machine was last told.
    pub liveness: Liveness,
    /// Later changes, in their order, that it has not been told of. The freeze leaves this empty; the caller adds those
    /// that come in before the end of its process.
    pub untold: Vec<Liveness>,
    /// The machine.
    pub machine: super::Peer,
    /// The sockets of the machine's connections.
    pub connections: Vec<Connection>,
    /// Connections that the machine has ended, and that are not closed yet.
    pub closing: Vec<Closing>,
    /// The sockets of accepted connections that the machine has not been told of.
    pub accepted: Vec<u32>,
}

/// The kind of a key, with what the kernel needs to remove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Key {
    /// No key.
    None,
    /// TCP MD5.
    Md5,
    /// TCP-AO.
    Ao {
        /// SendID.
        send_id: u8,
        /// RecvID.
        receive_id: u8,
    },
}

/// See [`fsm::Liveness`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// No effect.
    Unknown,
    /// Not up yet.
    Awaited,
    /// Packets go both ways.
    Up,
    /// It went down; in words.
    Lost(String),
}

/// A connection of the machine, whose unsent octets are in the frozen machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// The id in the machine.
    pub id: u64,
    /// The socket.
    pub socket: u32,
    /// When it was made.
    pub born: Instant,
    /// Whether an interface had its local address since.
    pub was_seen: bool,
}

/// A connection that is closed when these octets are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    /// The socket.
    pub socket: u32,
    /// The octets, usually of a NOTIFICATION.
    pub queued: Octets,
}

/// A listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// The address that the caller gave.
    pub address: Socket,
    /// The socket.
    pub socket: u32,
}

/// An address that is tried again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    /// The address.
    pub address: Socket,
    /// The last error.
    pub error: String,
}

impl From<&fsm::Liveness> for Liveness {
    fn from(liveness: &fsm::Liveness) -> Self {
        match liveness {
            fsm::Liveness::Unknown => Self::Unknown,
            fsm::Liveness::Awaited => Self::Awaited,
            fsm::Liveness::Up => Self::Up,
            fsm::Liveness::Lost(why) => Self::Lost(why.clone()),
        }
    }
}

impl From<&Liveness> for fsm::Liveness {
    fn from(frozen: &Liveness) -> Self {
        match frozen {
            Liveness::Unknown => Self::Unknown,
            Liveness::Awaited => Self::Awaited,
            Liveness::Up => Self::Up,
            Liveness::Lost(why) => Self::Lost(why.clone()),
        }
    }
}

impl From<&Routes> for Set {
    fn from(routes: &Routes) -> Self {
        let mut attributes: Vec<Attributes> = Vec::new();
        let mut indices = std::collections::BTreeMap::<&RouteAttributes, u32>::new();
        let mut last: Option<(*const RouteAttributes, u32)> = None;
        let mut listed = Vec::with_capacity(routes.len());
        for (prefix, route) in routes {
            // Neighbours often share their attributes.
            let index = match last {
                Some((same, index)) if same == Arc::as_ptr(route) => index,
                Some(_) | None => *indices.entry(route).or_insert_with(|| {
                    attributes.push((&**route).into());
                    u32::try_from(attributes.len() - 1).unwrap_or(u32::MAX)
                }),
            };
            last = Some((Arc::as_ptr(route), index));
            listed.push((*prefix, index));
        }
        Self { attributes, routes: listed }
    }
}

impl TryFrom<&Set> for Routes {
    type Error = Error;

    fn try_from(set: &Set) -> Result<Self, Error> {
        let attributes: Vec<Arc<RouteAttributes>> =
            set.attributes.iter().cloned().map(|attributes| Arc::new(attributes.into())).collect();
        let mut routes = Self::new();
        for (prefix, index) in &set.routes {
            let attributes = usize::try_from(*index).ok().and_then(|index| attributes.get(index));
            let attributes = attributes.ok_or(Error::Range("sets"))?;
            let is_new = routes.insert(*prefix, Arc::clone(attributes)).is_none();
            agree(is_new && prefix.trunc() == *prefix, "sets")?;
        }
        Ok(routes)
    }
}
