//! Packets against fixtures, the machine against tables, a clock, and another machine.

mod demux;
mod frozen;
mod packet;
mod properties;
mod support;
mod timers;
mod transitions;
mod world;
