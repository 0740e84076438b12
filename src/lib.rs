//! vipcast
pub mod check;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod engine;
pub mod journal;
pub mod log;
pub mod names;
pub mod peers;
pub mod state;
pub mod vip;
