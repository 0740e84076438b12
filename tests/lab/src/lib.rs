//! A rack in network namespaces, described in a few lines.
pub mod addressing;
mod agent;
pub mod capture;
pub mod host;
pub mod lab;
pub mod link;
pub mod process;
pub mod remains;
pub mod router;
pub mod traffic;
pub mod wait;

pub use capture::Capture;
pub use host::{Host, Toggle};
pub use lab::Lab;
pub use link::{Link, Subnet};
pub use process::{Process, Signal};
pub use router::{Announcement, Family, Neighbor, Notification, Path, Router, RouterConfig, RouterKind};
pub use traffic::{Client, EchoServer};
