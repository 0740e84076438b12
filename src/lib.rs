//! vipcast
pub mod check;
pub mod config;
pub mod engine;
pub mod names;
pub mod vip;
