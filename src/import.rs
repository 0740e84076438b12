//! Configurations of other programs, translated: what `vipcast import` prints.
//!
//! ```text
//! files ─► exabgp │ anycast_healthchecker │ gocast │ pathosd │ keepalived ─► Imported ─► settle ─► text
//! ```
//!
//! * A program is one file that reads its syntax and fills an `Imported`; nothing of a file may be passed over: a
//!   directive either has its place there, or is `Lost` with a reason.
//! * `settle` writes the YAML, reads it as the daemon would, and moves what the daemon refuses to the lost directives. So
//!   the result is always a valid configuration.
//! * A check that cannot be translated becomes one that fails: a service is never announced because its check was lost.

mod anycast_healthchecker;
mod exabgp;
mod gocast;
mod imported;
mod ini;
mod keepalived;
mod nested;
mod pathosd;
mod settle;
mod tree;
mod words;
mod yaml;

use self::imported::Imported;
pub use self::settle::Translation;

/// A program whose configuration can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Program {
    /// ExaBGP 3.4 to 5, with its `healthcheck`
    #[value(name = "exabgp")]
    ExaBgp,
    /// anycast-healthchecker, which tells BIRD
    AnycastHealthchecker,
    /// GoCast
    #[value(name = "gocast")]
    GoCast,
    /// pathosd, in YAML
    Pathosd,
    /// keepalived: VRRP instances and their scripts
    Keepalived,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::ExaBgp, Self::AnycastHealthchecker, Self::GoCast, Self::Pathosd, Self::Keepalived];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ExaBgp => "exabgp",
            Self::AnycastHealthchecker => "anycast-healthchecker",
            Self::GoCast => "gocast",
            Self::Pathosd => "pathosd",
            Self::Keepalived => "keepalived",
        }
    }
}

/// A file: its name, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Shown in comments.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// Translates the configuration of a program.
pub fn translate(program: Program, files: &[Source]) -> Translation {
    let mut imported = Imported::new(files);
    match program {
        Program::ExaBgp => exabgp::read(files, &mut imported),
        Program::AnycastHealthchecker => anycast_healthchecker::read(files, &mut imported),
        Program::GoCast => gocast::read(files, &mut imported),
        Program::Pathosd => pathosd::read(files, &mut imported),
        Program::Keepalived => keepalived::read(files, &mut imported),
    }
    settle::settle(program, imported)
}
