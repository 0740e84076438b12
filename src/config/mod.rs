//! Configuration: what the user typed (raw) → what the program needs (model).
pub mod model;
