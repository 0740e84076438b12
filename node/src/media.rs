//! Media: a verdict says whether and how well a VIP is served, and a medium translates it to its protocol. Only the
//! plan (`engine::plan`) knows the order of changes to media and addresses.

pub mod bgp;
