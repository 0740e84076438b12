//! Every kind of check against real servers, by `vipcast check --probe --json`.
//!
//! | file | contents |
//! | --- | --- |
//! | `server` | a server as a child process in a directory of its own, gone with the test |
//! | `pki` | certificates for them |
//! | `http` | nginx |
//! | `tcp` | redis |
//! | `tls` | openssl |
//! | `grpc` | etcd |
//! | `postgres` | PostgreSQL, a primary and a replica |
//! | `udp` | socat |
//! | `dns` | knot, unbound |
//! | `redis` | redis |
//! | `mysql` | MariaDB |
//! | `ntp` | chrony |
//! | `icmp` | the kernel, over a router in network namespaces |
//! | `exec` | the host's programs |
//! | `limits` | more checks than descriptors |
//! | `file` | the host's own |
//! | `told` | nginx and the host, by the kernel's events: `listener`, `process`, `interface` |
//! | `systemd` | systemd itself, and over dbus-daemon |
//!
//! Without a server's package the tests that need it are counted as ignored and named.

mod dns;
mod exec;
mod file;
mod grpc;
mod http;
mod icmp;
mod limits;
mod mysql;
mod ntp;
mod pki;
mod postgres;
mod redis;
mod server;
mod systemd;
mod tcp;
mod tls;
mod told;
mod udp;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let groups = [
        http::trials(),
        tcp::trials(),
        tls::trials(),
        grpc::trials(),
        postgres::trials(),
        udp::trials(),
        dns::trials(),
        redis::trials(),
        mysql::trials(),
        ntp::trials(),
        icmp::trials(),
        file::trials(),
        told::trials(),
        exec::trials(),
        limits::trials(),
        systemd::trials(),
    ];
    libtest_mimic::run(&arguments, groups.into_iter().flatten().collect()).exit_code()
}
