//! How a connection to a service begins, where it is not a bare one over TCP.

/// `unix:` and `proxy_protocol:` of a check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dial {
    /// The socket on this host that is asked instead of an address: an absolute path, or `@name` for an abstract one.
    pub unix: Option<String>,
    /// What is said before everything else.
    pub proxy: Option<ProxyProtocol>,
}

impl Dial {
    /// A connection with nothing special.
    pub const PLAIN: Self = Self { unix: None, proxy: None };
}

/// Versions of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}
