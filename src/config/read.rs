//! The tools of the readers: they read a tree without stopping at the first mistake.
//!
//! | module | |
//! | --- | --- |
//! | [`tree`] | YAML with the place of every key and value |
//! | [`table`] | maps with known keys, and lists |
//! | [`value`] | numbers, durations, addresses, words, paths, names |
//! | [`target`] | hosts and ports, sockets |
//! | [`pattern`] | bytes to send, and patterns that an answer must contain |
//! | [`near`] | suggestions for a mistyped word |

pub(crate) mod near;
pub(crate) mod pattern;
pub(crate) mod table;
pub(crate) mod target;
pub(crate) mod tree;
pub(crate) mod value;

pub(crate) use self::table::*;
