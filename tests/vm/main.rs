//! The daemon and its package on virtual machines: Debian booted by qemu, with systemd as the first process, disks that fill
//! and a clock that can be set; a rack of which a node and the router are machines; and the demo on older and newer kernels.
//!
//! ```text
//!  qemu (no hardware needed)
//!  ┌───────────────────────────────────────────────────────────┐
//!  │ systemd ── vipcast, web                 namespace `tor`:  │
//!  │            10.0.1.2 ──────────────────── 10.0.1.1 (BIRD)  │
//!  │            agent on the second serial port ◄── the tests  │
//!  └───────────────────────────────────────────────────────────┘
//! ```
//!
//! * [`supplies`] gets kernels, packages and disks ready, in a directory that the run removes.
//! * [`machine`] boots, and runs commands there.
//! * [`site`] is a machine with the package, a router and a service.
//! * [`life`] has the tests of a node's life; they share one machine, one after the other, in any order.
//! * [`rack`] has two nodes and a [`router`], of which one and the router are machines: [`packages`] are installed under load, and
//!   [`reboots`] stops the machine in each way.
//! * [`kernels`] boots other kernels with nothing but the program.

#![expect(clippy::print_stdout, reason = "measurements")]

mod initrd;
mod kernels;
mod life;
mod machine;
mod packages;
mod rack;
mod reboots;
mod router;
mod site;
mod supplies;

use std::process::ExitCode;

use libtest_mimic::Arguments;

use crate::supplies::Supplies;

fn main() -> ExitCode {
    let needs = supplies::available();
    let supplies = match Supplies::new() {
        Ok(supplies) => supplies,
        Err(error) => {
            println!("cannot make a directory for virtual machines: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    // The longest first.
    let mut trials = rack::trials(&needs, &supplies);
    trials.extend(life::trials(&needs, &supplies));
    trials.extend(kernels::trials(&needs, &supplies));
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    supplies.clear();
    conclusion.exit_code()
}
