//! The vipcast command.
fn main() {}
