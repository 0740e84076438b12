//! What a verdict means to each medium that carries it: a verdict says whether and how well a VIP is served, a medium says
//! what is sent for it. The order in which media and addresses are changed is the plan's alone (`engine::plan`).

pub mod bgp;
