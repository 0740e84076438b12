//! BGP roles: the relation between two neighbors, so that neither leaks the other's routes (RFC 9234).

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::iana::role as code;

/// The sender's role towards its peer (RFC 9234 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Advertises the peer's routes to all its neighbors.
    Provider,
    /// A route server.
    Rs,
    /// A client of a route server.
    RsClient,
    /// The peer advertises the sender's routes to all its neighbors.
    Customer,
    /// Each advertises the other's routes only to its customers.
    Peer,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Provider, Self::Rs, Self::RsClient, Self::Customer, Self::Peer];

    /// The value of the capability.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Provider => code::PROVIDER,
            Self::Rs => code::RS,
            Self::RsClient => code::RS_CLIENT,
            Self::Customer => code::CUSTOMER,
            Self::Peer => code::PEER,
        }
    }

    /// `None` for a value that is not assigned.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.code() == code)
    }

    /// The only role that the other side may have (RFC 9234 §4.2, table 2).
    #[must_use]
    pub const fn counterpart(self) -> Self {
        match self {
            Self::Provider => Self::Customer,
            Self::Customer => Self::Provider,
            Self::Rs => Self::RsClient,
            Self::RsClient => Self::Rs,
            Self::Peer => Self::Peer,
        }
    }

    /// Whether this role marks the routes it sends with ONLY_TO_CUSTOMER (RFC 9234 §5: sent to a customer, a peer, or
    /// by a route server to its client).
    #[must_use]
    pub const fn marks_routes(self) -> bool {
        match self {
            Self::Provider | Self::Peer | Self::Rs => true,
            Self::Customer | Self::RsClient => false,
        }
    }
}

/// As operators write it: `provider`, `rs`, `rs-client`, `customer`, `peer`.
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(code::name(self.code()).unwrap_or_default())
    }
}

/// The text is not the name of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is provider, customer, peer, rs or rs-client")]
pub struct ParseRoleError;

impl FromStr for Role {
    type Err = ParseRoleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.to_string() == text).ok_or(ParseRoleError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_has_the_value_name_and_counterpart_of_the_rfc() {
        let table = [
            (0, "provider", "customer", true),
            (1, "rs", "rs-client", true),
            (2, "rs-client", "rs", false),
            (3, "customer", "provider", false),
            (4, "peer", "peer", true),
        ];
        for (value, name, counterpart, marks) in table {
            let role = Role::from_code(value).unwrap();
            assert_eq!((role.code(), role.to_string().as_str()), (value, name));
            assert_eq!(name.parse(), Ok(role));
            assert_eq!((role.counterpart().to_string().as_str(), role.marks_routes()), (counterpart, marks));
            assert_eq!(role.counterpart().counterpart(), role);
        }
        assert_eq!((Role::from_code(5), "Provider".parse::<Role>()), (None, Err(ParseRoleError)));
    }
}
