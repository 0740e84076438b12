//! Reading a tree without stopping at the first mistake: what every reader of the configuration works with.
//!
//! | module | |
//! | --- | --- |
//! | [`tree`] | YAML with the place of every key and value |
//! | [`table`] | a map with known keys, lists, and what was expected |
//! | [`value`] | numbers, durations, addresses, words, paths, names |
//! | [`target`] | hosts and ports, sockets |
//! | [`pattern`] | what is sent, and what must be in an answer |
//! | [`near`] | what a mistyped word was meant to be |

pub(crate) mod near;
pub(crate) mod pattern;
pub(crate) mod table;
pub(crate) mod target;
pub(crate) mod tree;
pub(crate) mod value;

pub(crate) use self::table::*;
