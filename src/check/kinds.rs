//! The kinds of check, a folder each: the keys (`section!` and `read`), the definition (a
//! [`Definition`](super::kind::Definition)), and the probe (`probe`). The page of a kind, `page.md`, becomes its
//! section of `docs/checks.md`.

use super::kind::Kind;

macro_rules! kinds {
    ($($kind:ident),+ $(,)?) => {
        $(pub(crate) mod $kind;)+

        /// In the order of the reference.
        pub(crate) static KINDS: &[&Kind] = &[$(&$kind::KIND),+];
    };
}

kinds! {
    http,
    tcp,
    tls,
    grpc,
    udp,
    dns,
    redis,
    mysql,
    postgres,
    ntp,
    icmp,
    file,
    exec,
    listener,
    process,
    interface,
    systemd,
}
